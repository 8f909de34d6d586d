//! A `basic` peer gets a WebSocket ping every 54 s and is dead after 60 s without traffic. In real
//! time: the times of this dialect are a contract, not an option.
use std::time::Duration;

use chat_tests::client::{BasicClient, Shape};
use chat_tests::process::Spec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::serve;

/// The first bytes of an empty ping of a server, and of a close.
const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;
const HEARTBEAT_TIMEOUT: [u8; 2] = 4201_u16.to_be_bytes();

/// A socket that reads and answers nothing, so that no library pongs for it.
async fn mute(address: std::net::SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("the server listens");
    let request = format!(
        "GET /ws?username=mute HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.expect("it takes the request");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("the answer has a head"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    socket
}

async fn frame(socket: &mut TcpStream) -> (u8, Vec<u8>) {
    let first = socket.read_u8().await.expect("a frame begins");
    let length = socket.read_u8().await.expect("a short frame has a length");
    let mut payload = vec![0; usize::from(length)];
    socket.read_exact(&mut payload).await.expect("the frame is whole");
    (first, payload)
}

#[tokio::test]
async fn a_silent_peer_is_pinged_after_54_s_and_cut_off_after_60() {
    let running = serve(Spec::default()).await;
    let http = running.server.http();
    let mut bob = BasicClient::connect(http, "bob").await;
    bob.join("lobby").await;
    let mut socket = mute(http).await;
    // A masked text with a mask of zeros; after it nothing is ever written again.
    let join = br#"{"type":"join","room":"lobby"}"#;
    let mut frame_bytes = vec![0x81, 0x80 | u8::try_from(join.len()).expect("short"), 0, 0, 0, 0];
    frame_bytes.extend_from_slice(join);
    socket.write_all(&frame_bytes).await.expect("it takes the join");
    bob.expect(&Shape::join("lobby", "mute")).await;
    let (first, notice) = frame(&mut socket).await;
    assert_eq!(first, 0x81, "{}", String::from_utf8_lossy(&notice));
    let early = timeout(Duration::from_secs(52), frame(&mut socket)).await;
    assert!(early.is_err(), "sent before its time: {early:?}");
    // Bob does not read meanwhile, so no library pongs for him either; any traffic counts.
    bob.say("still here").await;
    let ping = timeout(Duration::from_secs(6), frame(&mut socket)).await;
    let (first, said) = ping.expect("Bob's message");
    assert_eq!(first, 0x81, "{}", String::from_utf8_lossy(&said));
    let ping = timeout(Duration::from_secs(6), frame(&mut socket)).await;
    assert_eq!(ping.expect("a ping after 54 s").0, PING);
    let early = timeout(Duration::from_secs(4), frame(&mut socket)).await;
    assert!(early.is_err(), "cut off before its time: {early:?}");
    let close = timeout(Duration::from_secs(6), frame(&mut socket)).await;
    let (first, payload) = close.expect("a close after 60 s");
    assert_eq!((first, payload.get(..2)), (CLOSE, Some(&HEARTBEAT_TIMEOUT[..])));
    bob.expect(&Shape::message("lobby", "bob", "still here")).await;
    bob.expect(&Shape::leave("lobby", "mute")).await;
}
