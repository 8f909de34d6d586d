//! Every transport keeps the promises of the cut.
#![expect(clippy::unwrap_used, reason = "a test ends where something fails")]
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::CloseCode;
use chat_tests::kit::transport::{Factory, Peer, check};
use chat_tests::tls::Authority;
use chat_tokio::accept::{Admission, HttpLimits, serve_https, serve_tls_lines};
use chat_tokio::http::{FrameBytes, HttpState, Page, router};
use chat_tokio::server::attach::{Attach, NewConnection, Refused};
use chat_tokio::transport::memory::{self, MemoryPeer};
use chat_tokio::transport::{Inbound, Lines, Transport, WebSocket};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, ReadHalf,
    WriteHalf,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::{WebSocketStream, client_async};

const FRAME_BYTES: usize = 4096;

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    server.set_nodelay(true).unwrap();
    client.set_nodelay(true).unwrap();
    (server, client)
}

struct WebSocketPeer<IO> {
    stream: WebSocketStream<IO>,
    code: Option<u16>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> WebSocketPeer<IO> {
    async fn new(io: IO) -> Self {
        let stream = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
        Self { stream, code: None }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Peer for WebSocketPeer<IO> {
    async fn send(&mut self, text: String) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    async fn recv(&mut self) -> Option<String> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(Message::Close(frame))) => self.code = frame.map(|f| f.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    fn close_code(&self) -> Option<u16> {
        self.code
    }

    async fn ping(&mut self) {
        self.stream.send(Message::Ping("hi".into())).await.unwrap();
        let answer = self.stream.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::Pong("hi".into()));
    }
}

struct OverDuplex {
    buffer_bytes: usize,
}

impl Factory for OverDuplex {
    type Peer = WebSocketPeer<DuplexStream>;
    const FRAME_BYTES: usize = FRAME_BYTES;
    const CODES: bool = true;

    async fn pair(&self) -> (Box<dyn Transport>, Self::Peer) {
        let (server, client) = tokio::io::duplex(self.buffer_bytes);
        let transport = Box::new(WebSocket::new(server, &[], FRAME_BYTES as u32));
        (transport, WebSocketPeer::new(client).await)
    }
}

#[tokio::test]
async fn websocket_over_a_pipe() {
    check(&OverDuplex { buffer_bytes: 8192 }).await;
}

#[tokio::test]
async fn websocket_over_a_pipe_that_splits_every_frame() {
    check(&OverDuplex { buffer_bytes: 37 }).await;
}

struct WebSocketOverTcp;

impl Factory for WebSocketOverTcp {
    type Peer = WebSocketPeer<TcpStream>;
    const FRAME_BYTES: usize = FRAME_BYTES;
    const CODES: bool = true;

    async fn pair(&self) -> (Box<dyn Transport>, Self::Peer) {
        let (server, client) = tcp().await;
        let transport = Box::new(WebSocket::new(server, &[], FRAME_BYTES as u32));
        (transport, WebSocketPeer::new(client).await)
    }
}

#[tokio::test]
async fn websocket_over_tcp() {
    check(&WebSocketOverTcp).await;
}

struct LinesPeer<IO> {
    reads: BufReader<ReadHalf<IO>>,
    writes: WriteHalf<IO>,
    line_end: &'static str,
}

impl<IO: AsyncRead + AsyncWrite> Peer for LinesPeer<IO> {
    async fn send(&mut self, text: String) {
        let line = text + self.line_end;
        self.writes.write_all(line.as_bytes()).await.unwrap();
    }

    async fn recv(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.reads.read_line(&mut line).await.unwrap_or(0);
        (count > 0).then(|| line.strip_suffix('\n').unwrap().to_owned())
    }

    fn close_code(&self) -> Option<u16> {
        None
    }

    async fn ping(&mut self) {}
}

struct LinesOverTcp {
    line_end: &'static str,
}

impl Factory for LinesOverTcp {
    type Peer = LinesPeer<TcpStream>;
    const FRAME_BYTES: usize = FRAME_BYTES;
    const CODES: bool = false;

    async fn pair(&self) -> (Box<dyn Transport>, Self::Peer) {
        let (server, client) = tcp().await;
        let (reads, writes) = tokio::io::split(client);
        let peer = LinesPeer { reads: BufReader::new(reads), writes, line_end: self.line_end };
        (Box::new(Lines::new(server, FRAME_BYTES as u32)), peer)
    }
}

#[tokio::test]
async fn lines_over_tcp() {
    check(&LinesOverTcp { line_end: "\n" }).await;
    check(&LinesOverTcp { line_end: "\r\n" }).await;
}

struct LinesOverUnix;

impl Factory for LinesOverUnix {
    type Peer = LinesPeer<tokio::net::UnixStream>;
    const FRAME_BYTES: usize = FRAME_BYTES;
    const CODES: bool = false;

    async fn pair(&self) -> (Box<dyn Transport>, Self::Peer) {
        let (server, client) = tokio::net::UnixStream::pair().unwrap();
        let (reads, writes) = tokio::io::split(client);
        let peer = LinesPeer { reads: BufReader::new(reads), writes, line_end: "\n" };
        (Box::new(Lines::new(server, FRAME_BYTES as u32)), peer)
    }
}

#[tokio::test]
async fn lines_over_a_unix_socket() {
    check(&LinesOverUnix).await;
}

#[tokio::test]
async fn an_empty_line_is_a_sign_of_life_and_bad_text_a_violation() {
    let (server, mut client) = tokio::io::duplex(64);
    let mut lines = Lines::new(server, 64);
    let mut recv = async || std::future::poll_fn(|cx| lines.poll_recv(cx)).await;
    client.write_all(b"\n\r\n").await.unwrap();
    assert_eq!(recv().await, Inbound::Alive);
    client.write_all(b"\r\na\nhalf").await.unwrap();
    assert_eq!(recv().await, Inbound::Text("a".into()));
    client.write_all(b"\xff\n").await.unwrap();
    assert_eq!(recv().await, Inbound::Violation(CloseCode::InvalidUtf8));
}

struct MemoryEnd(MemoryPeer);

impl Peer for MemoryEnd {
    async fn send(&mut self, text: String) {
        self.0.send(text).await.unwrap();
    }

    async fn recv(&mut self) -> Option<String> {
        self.0.recv().await.map(|text| text.to_string())
    }

    fn close_code(&self) -> Option<u16> {
        self.0.close_code().map(CloseCode::number)
    }

    async fn ping(&mut self) {}
}

struct Memory;

impl Factory for Memory {
    type Peer = MemoryEnd;
    const FRAME_BYTES: usize = FRAME_BYTES;
    const CODES: bool = true;

    async fn pair(&self) -> (Box<dyn Transport>, Self::Peer) {
        let (transport, peer) = memory::pair(FRAME_BYTES);
        (Box::new(transport), MemoryEnd(peer))
    }
}

#[tokio::test]
async fn in_memory() {
    check(&Memory).await;
}

#[tokio::test]
async fn a_vanished_peer_is_neither_heard_nor_heard_of() {
    let (mut transport, peer) = memory::pair(64);
    peer.vanish();
    let mut outbox = chat_tokio::Outbox::default();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(transport.poll_recv(&mut cx).is_pending());
    for _ in 0..3 {
        outbox.push(bytes::Bytes::from_static(&[b'x'; 40]));
    }
    assert!(transport.poll_send(&mut cx, &mut outbox).is_pending());
    assert!(!outbox.is_empty());
}

/// Gives the transport of each connection to the test.
struct Taken(mpsc::Sender<Box<dyn Transport>>);

impl Attach for Taken {
    fn attach(&self, new: NewConnection) -> Result<(), Refused> {
        self.0.try_send(new.transport).expect("the test takes one at a time");
        Ok(())
    }
}

/// What the server's own listeners make of connections over TLS.
struct OverTls {
    authority: Authority,
    address: SocketAddr,
    taken: Mutex<mpsc::Receiver<Box<dyn Transport>>>,
}

impl OverTls {
    async fn listen() -> (TcpListener, Arc<Taken>, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (take, taken) = mpsc::channel(1);
        let taken = Mutex::new(taken);
        (listener, Arc::new(Taken(take)), Self { authority: Authority::default(), address, taken })
    }

    async fn take(&self) -> Box<dyn Transport> {
        self.taken.lock().await.recv().await.unwrap()
    }
}

struct WebSocketOverTls(OverTls);

impl Factory for WebSocketOverTls {
    type Peer = WebSocketPeer<TlsStream<TcpStream>>;
    const FRAME_BYTES: usize = FRAME_BYTES;
    const CODES: bool = true;

    async fn pair(&self) -> (Box<dyn Transport>, Self::Peer) {
        let io = self.0.authority.connect(self.0.address).await.unwrap();
        let (stream, _) = client_async(format!("wss://{}/ws", self.0.address), io).await.unwrap();
        (self.0.take().await, WebSocketPeer { stream, code: None })
    }
}

#[tokio::test]
async fn websocket_over_tls() {
    let (listener, taken, over) = OverTls::listen().await;
    let state =
        HttpState { frame_bytes: FrameBytes::new(FRAME_BYTES as u32), ..HttpState::new(taken) };
    let router = router(state, Page::None).unwrap();
    let identity = over.authority.identity();
    let served = serve_https(
        listener,
        identity,
        router,
        HttpLimits::default(),
        Admission::default(),
        pending(),
    );
    tokio::spawn(served);
    check(&WebSocketOverTls(over)).await;
}

struct LinesOverTls(OverTls);

impl Factory for LinesOverTls {
    type Peer = LinesPeer<TlsStream<TcpStream>>;
    const FRAME_BYTES: usize = FRAME_BYTES;
    const CODES: bool = false;

    async fn pair(&self) -> (Box<dyn Transport>, Self::Peer) {
        let io = self.0.authority.connect(self.0.address).await.unwrap();
        let (reads, writes) = tokio::io::split(io);
        let peer = LinesPeer { reads: BufReader::new(reads), writes, line_end: "\n" };
        (self.0.take().await, peer)
    }
}

#[tokio::test]
async fn lines_over_tls() {
    let (listener, taken, over) = OverTls::listen().await;
    let (identity, bytes) = (over.authority.identity(), FrameBytes::new(FRAME_BYTES as u32));
    let patience = Duration::from_secs(10);
    let admission = (Admission::default(), patience);
    tokio::spawn(serve_tls_lines(listener, identity, taken, bytes, admission, pending()));
    check(&LinesOverTls(over)).await;
}

#[test]
fn a_pair_in_memory_is_small() {
    // A million of them have to fit into one process.
    let pair = size_of::<memory::MemoryTransport>() + size_of::<MemoryPeer>();
    assert!(pair <= 48, "{pair}");
}
