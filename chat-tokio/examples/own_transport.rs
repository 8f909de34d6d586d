//! A server with a transport of one's own: frames with a length before them, over TCP.
//!
//! Run it with `cargo run --example own_transport`: it starts a server inside the program, lets two
//! clients speak over the transport, and prints what they see.
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use chat_proto::{CloseCode, Dialect};
use chat_tokio::server::attach::{Attach, NewConnection};
use chat_tokio::transport::{Framing, Inbound, Properties, Transport, Utf8Bytes};
use chat_tokio::{Outbox, Server};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of the longest frame that is taken from a peer.
const FRAME_BYTES_MAX: usize = 16 * 1024;

/// Frames as `length: u32, big-endian` and that many bytes of UTF-8.
struct LengthPrefixed {
    stream: TcpStream,
    input: BytesMut,
    /// What is left of the frame that is being written.
    output: BytesMut,
}

impl LengthPrefixed {
    /// Takes the next whole frame out of what was read.
    fn frame(&mut self) -> Option<Inbound> {
        let length = self.input.get(..4)?.try_into().map(u32::from_be_bytes).ok()? as usize;
        if length > FRAME_BYTES_MAX {
            return Some(Inbound::Violation(CloseCode::TooBig));
        }
        if self.input.len() < 4 + length {
            return None;
        }
        self.input.advance(4);
        Some(match Utf8Bytes::try_from(self.input.split_to(length).freeze()) {
            Ok(text) => Inbound::Text(text),
            Err(_) => Inbound::Violation(CloseCode::InvalidUtf8),
        })
    }
}

impl Transport for LengthPrefixed {
    fn properties(&self) -> Properties {
        Properties { framing: Framing::Text, pings: false }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Inbound> {
        loop {
            if let Some(frame) = self.frame() {
                return Poll::Ready(frame);
            }
            let mut chunk = [0; 1024];
            let mut buffer = ReadBuf::new(&mut chunk);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.input.put(buffer.filled()),
                Ok(()) | Err(_) => return Poll::Ready(Inbound::Closed),
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<io::Result<()>> {
        loop {
            if self.output.is_empty() {
                let Some(frame) = outbox.pop() else { return Poll::Ready(Ok(())) };
                self.output.put_u32(u32::try_from(frame.len()).map_err(io::Error::other)?);
                self.output.put(frame);
            }
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))?;
            self.output.advance(written);
        }
    }

    fn ping(&mut self) {}

    fn poll_close(&mut self, cx: &mut Context<'_>, code: CloseCode) -> Poll<()> {
        // This transport has no place for a code; the `bye` frame has told it if it matters.
        let _ = code;
        Pin::new(&mut self.stream).poll_shutdown(cx).map(|_| ())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::builder().workers(2).start()?;
    let handle = server.handle();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (input, output) = Default::default();
            let transport = Box::new(LengthPrefixed { stream, input, output });
            let new = NewConnection::new(transport, Dialect::Basic);
            if let Err(refused) = handle.attach(new) {
                refused.close().await;
            }
        }
    });

    let mut ada = Client::connect(address, "Ada").await?;
    let mut bob = Client::connect(address, "Bob").await?;
    ada.send(r#"{"type":"message","id":"3","room":"lobby","content":"Hi Bob!"}"#).await?;
    bob.wait_for("Hi Bob!").await?;
    ada.wait_for(r#""type":"ack""#).await?;

    drop((ada, bob));
    println!("shutdown: {:?}", server.shutdown().await);
    Ok(())
}

struct Client {
    name: &'static str,
    stream: TcpStream,
}

impl Client {
    async fn connect(address: std::net::SocketAddr, name: &'static str) -> io::Result<Self> {
        let mut client = Self { name, stream: TcpStream::connect(address).await? };
        client.send(&format!(r#"{{"type":"hello","id":"1","name":"{name}"}}"#)).await?;
        client.wait_for("welcome").await?;
        client.send(r#"{"type":"join","id":"2","room":"lobby","history":10}"#).await?;
        client.wait_for("joined").await?;
        Ok(client)
    }

    async fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_u32(text.len() as u32).await?;
        self.stream.write_all(text.as_bytes()).await
    }

    /// Prints frames until one has the text.
    async fn wait_for(&mut self, what: &str) -> io::Result<()> {
        loop {
            let mut frame = vec![0; self.stream.read_u32().await? as usize];
            self.stream.read_exact(&mut frame).await?;
            let frame = String::from_utf8_lossy(&frame);
            println!("{} sees {frame}", self.name);
            if frame.contains(what) {
                return Ok(());
            }
        }
    }
}
