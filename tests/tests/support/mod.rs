//! A server that only echoes, and bytes by hand.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "not every test uses all of it, and a test ends where something fails"
)]
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::{CloseCode, Encoded};
pub use chat_tests::client::raw::{close_code, frame, read_frame};
use chat_tokio::Outbox;
use chat_tokio::accept::{Admission, HttpLimits, serve_http};
use chat_tokio::http::{HttpState, Page, router};
use chat_tokio::server::attach::{Attach, NewConnection, Refused};
use chat_tokio::transport::Inbound;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Echoes each text; the first line is what was negotiated.
pub struct Echo;

impl Attach for Echo {
    fn attach(&self, new: NewConnection) -> Result<(), Refused> {
        tokio::spawn(echo(new));
        Ok(())
    }
}

/// Echoes each text; the first line is from where the connection comes.
pub struct Peers;

impl Attach for Peers {
    fn attach(&self, new: NewConnection) -> Result<(), Refused> {
        let peer = new.peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string());
        tokio::spawn(echo_after(peer, new));
        Ok(())
    }
}

async fn echo(new: NewConnection) {
    let hello = format!("{:?} {}", new.dialect, new.name.as_deref().unwrap_or("-"));
    echo_after(hello, new).await;
}

async fn echo_after(hello: String, new: NewConnection) {
    let NewConnection { mut transport, place: _place, .. } = new;
    let mut outbox = Outbox::default();
    let framing = transport.properties().framing;
    outbox.push(framing.of(&Encoded::text_frame(&hello)));
    let code = loop {
        if poll_fn(|cx| transport.poll_send(cx, &mut outbox)).await.is_err() {
            return;
        }
        match poll_fn(|cx| transport.poll_recv(cx)).await {
            Inbound::Text(text) if text.as_str() == "bye" => break CloseCode::Draining,
            Inbound::Text(text) => outbox.push(framing.of(&Encoded::text_frame(&text))),
            Inbound::Alive => {}
            Inbound::Violation(code) => break code,
            Inbound::Left | Inbound::Closed => break CloseCode::Normal,
        }
    };
    poll_fn(|cx| transport.poll_close(cx, code)).await;
}

/// A server on a port of its own; it stops when this is dropped.
pub struct Server {
    pub address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

pub async fn serve(state: HttpState, page: Page, limits: HttpLimits) -> Server {
    serve_admitting(state, page, limits, Admission::default()).await
}

pub async fn serve_admitting(
    state: HttpState,
    page: Page,
    limits: HttpLimits,
    admission: Admission,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let router = router(state, page).unwrap();
    tokio::spawn(serve_http(listener, router, limits, admission, shutdown));
    Server { address, _stop: stop }
}

pub fn state() -> HttpState {
    HttpState::new(Arc::new(Echo))
}

pub async fn default_server() -> Server {
    serve(state(), Page::Embedded, HttpLimits::default()).await
}

/// Long enough for any machine; a test that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it took too long")
}

pub async fn connect(server: &Server) -> TcpStream {
    dial(server.address).await
}

pub async fn dial(address: SocketAddr) -> TcpStream {
    let stream = within(TcpStream::connect(address)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends bytes and reads the answer up to the end of its head and of its stated body.
pub async fn exchange(stream: &mut TcpStream, request: &[u8]) -> String {
    // The server may refuse and close before it has read all.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        match within(stream.read(&mut byte)).await {
            Ok(1) => answer.push(byte[0]),
            _ => break,
        }
    }
    let head = String::from_utf8(answer).unwrap();
    let length = header(&head, "content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body =
        vec![0; if request.starts_with(b"HEAD") || head.contains(" 304 ") { 0 } else { length }];
    let _ = within(stream.read_exact(&mut body)).await;
    head + &String::from_utf8_lossy(&body)
}

pub async fn get(server: &Server, path: &str, more: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", server.address);
    exchange(&mut connect(server).await, request.as_bytes()).await
}

pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// Sends bytes and expects the end of the connection, after whatever answer; the answer.
pub async fn last_words(stream: &mut TcpStream, request: &[u8]) -> String {
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

pub const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A WebSocket by hand, past its handshake and the echo server's first frame.
pub async fn websocket(server: &Server) -> TcpStream {
    let mut stream = connect(server).await;
    let request = format!("GET /ws HTTP/1.1\r\nHost: {}\r\n{UPGRADE}\r\n", server.address);
    let answer = exchange(&mut stream, request.as_bytes()).await;
    assert_eq!(status(&answer), 101, "{answer}");
    assert_eq!(read_frame(&mut stream).await, Some((0x81, b"Basic anonymous".to_vec())));
    stream
}
