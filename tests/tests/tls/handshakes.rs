//! Who is no client, or takes too long to become one.
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_tests::tls::Authority;
use chat_tests::wait::{eventually, within};
use chat_tokio::Server;
use chat_tokio::accept::{Admission, HttpLimits, serve_https};
use chat_tokio::http::{HttpState, Page, router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::member;

fn server(authority: &Authority, handshake: Duration) -> Server {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let builder = Server::builder().handshake_timeout(handshake).tls(authority.identity());
    let lines = authority.identity();
    builder.listen(any).listen_tls_lines(any, lines).start().unwrap()
}

/// Says something, and returns all that comes until the end.
async fn answer(server: SocketAddr, said: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(server).await.unwrap();
    tcp.write_all(said).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end, too: the server need not read all that nobody should have said.
    let _ = within("the end", tcp.read_to_end(&mut answer)).await;
    answer
}

/// The first message of somebody who speaks TLS 1.1 at most.
fn hello_of_tls_1_1() -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    // No session, two ciphers, no compression, one kind of signatures.
    body.extend([0, 0, 4, 0xC0, 0x13, 0, 0x2F, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let mut hello = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    hello.extend(body);
    hello
}

#[tokio::test]
async fn whoever_does_not_speak_tls_is_closed_and_does_no_harm() {
    let authority = Authority::default();
    let server = server(&authority, Duration::from_secs(30));
    let (http, lines) = (server.local_addr().unwrap(), server.lines_addr().unwrap());
    let said = answer(http, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("https://"), "{said}");
    let (_, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(said.contains(&format!("Content-Length: {}\r\n", body.len())), "{said}");

    let garbage = [vec![0; 64], vec![0xFF; 70_000], b"\x16\x03\x01\xFF\xFFgarbage".to_vec()];
    for address in [http, lines] {
        for bytes in &garbage {
            let answer = answer(address, bytes).await;
            // An alert at most.
            assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
        }
        let answer = answer(address, &hello_of_tls_1_1()).await;
        assert_eq!((answer[0], answer.len()), (21, 7), "a fatal alert: {answer:?}");
        assert_eq!(answer[5..], [2, 70], "the version is not supported: {answer:?}");
    }
    let answer = answer(lines, b"{\"type\":\"join\",\"room\":\"lobby\"}\n").await;
    assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    within("a member", member(http, &authority)).await;
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_dropped() {
    let authority = Authority::default();
    let server = server(&authority, Duration::from_millis(300));
    for address in [server.local_addr().unwrap(), server.lines_addr().unwrap()] {
        // Silence; a part of a first message; one who looked plain and does not end.
        for said in [&b""[..], &hello_of_tls_1_1()[..20]] {
            assert_eq!(answer(address, said).await, b"", "after {said:?}");
        }
    }
    within("a member", member(server.local_addr().unwrap(), &authority)).await;
}

#[tokio::test]
async fn a_handshake_takes_a_place_of_http() {
    let authority = Authority::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let inner = Server::builder().listen(any).start().unwrap();
    let state = HttpState::new(Arc::new(inner.handle()));
    let limits = HttpLimits { connections: 1, ..HttpLimits::default() };
    let limits = HttpLimits { head_time: Duration::from_secs(60), ..limits };
    let router = router(state, Page::None).unwrap();
    tokio::spawn(serve_https(
        listener,
        authority.identity(),
        router,
        limits,
        Admission::default(),
        pending(),
    ));

    // It has a place once the next one is closed.
    let silent = TcpStream::connect(address).await.unwrap();
    eventually("no place to be left", async || {
        let other = authority.connect(address).await;
        other.is_err().then_some(())
    })
    .await;
    // And as long as it is silent, none is.
    for _ in 0..5 {
        assert!(authority.connect(address).await.is_err(), "two have the one place");
    }
    drop(silent);
    // As a WebSocket it has none any more, so that the next one finds it.
    let first = eventually("a place to be free", async || {
        let io = authority.connect(address).await.ok()?;
        let uri = format!("wss://{address}/ws");
        tokio_tungstenite::client_async(uri, io).await.ok()
    });
    let (first, _) = first.await;
    let again = eventually("another place", async || authority.connect(address).await.ok());
    drop((first, again.await));
}
