//! From where a connection comes, told by sockets and by proxies that are trusted or not.
mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use chat_tests::client::LinesClient;
use chat_tokio::accept::{
    Admission, ConnectionLimits, HttpLimits, ProxyProtocol, TrustedProxies, serve_lines,
};
use chat_tokio::http::{FrameBytes, HttpState, Page};
use support::{
    Peers, Server, UPGRADE, connect, dial, exchange, last_words, read_frame, serve_admitting,
    status,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

fn trusting(networks: &[&str]) -> Admission {
    let networks: Vec<_> = networks.iter().map(|text| text.parse().expect("a network")).collect();
    Admission::new(ConnectionLimits::default(), TrustedProxies::new(&networks))
}

async fn http(admission: Admission) -> Server {
    let state = HttpState::new(Arc::new(Peers));
    serve_admitting(state, Page::None, HttpLimits::default(), admission).await
}

async fn lines(admission: Admission) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let admission = (admission, HttpLimits::default().head_time);
    let frame_bytes = FrameBytes::default();
    let never = std::future::pending();
    tokio::spawn(serve_lines(listener, Arc::new(Peers), frame_bytes, admission, never));
    address
}

/// Opens a WebSocket behind `before` and answers which address the server has taken it for.
async fn address_of(server: &Server, before: &[u8], headers: &str) -> String {
    let mut stream = connect(server).await;
    let head = format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{headers}{UPGRADE}\r\n");
    let answer = exchange(&mut stream, &[before, head.as_bytes()].concat()).await;
    assert_eq!(status(&answer), 101, "{answer}");
    let (_, text) = read_frame(&mut stream).await.expect("an address");
    String::from_utf8(text).expect("text")
}

const FORWARDED: &str = "X-Forwarded-For: 192.0.2.66, 198.51.100.1\r\n";

#[tokio::test]
async fn nobody_is_believed_by_default() {
    let server = http(Admission::default()).await;
    assert_eq!(address_of(&server, b"", "").await, "127.0.0.1");
    assert_eq!(address_of(&server, b"", FORWARDED).await, "127.0.0.1");
    let other = http(trusting(&["127.0.0.2", "10.0.0.0/8"])).await;
    assert_eq!(address_of(&other, b"", FORWARDED).await, "127.0.0.1");
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_its_client_is_not() {
    let server = http(trusting(&["127.0.0.1", "10.0.0.0/8"])).await;
    for (headers, address) in [
        ("", "127.0.0.1"),
        (FORWARDED, "198.51.100.1"),
        ("X-Forwarded-For: 198.51.100.1, 10.9.9.9\r\n", "198.51.100.1"),
        ("X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 10.9.9.9\r\n", "198.51.100.1"),
        ("X-Forwarded-For: ::ffff:198.51.100.1\r\n", "198.51.100.1"),
        ("X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1"),
        ("X-Forwarded-For: 198.51.100.1, <script>\r\n", "127.0.0.1"),
        ("X-Real-IP: 198.51.100.1\r\n", "127.0.0.1"),
    ] {
        assert_eq!(address_of(&server, b"", headers).await, address, "{headers}");
    }
}

const V1: &[u8] = b"PROXY TCP4 198.51.100.1 10.0.0.1 4711 80\r\n";
const V1_SELF: &[u8] = b"PROXY UNKNOWN\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x01\x0a\0\0\x01\x12\x67\0\x50";

#[tokio::test]
async fn the_proxy_protocol_is_spoken_by_trusted_proxies() {
    let server = http(trusting(&["127.0.0.1"]).proxy_protocol(ProxyProtocol::Required)).await;
    for header in [V1, V2] {
        assert_eq!(address_of(&server, header, "").await, "198.51.100.1");
        // The client behind it is nobody's proxy.
        assert_eq!(address_of(&server, header, FORWARDED).await, "198.51.100.1");
    }
    assert_eq!(address_of(&server, V1_SELF, "").await, "127.0.0.1");
    let get = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = last_words(&mut connect(&server).await, &[V2, get].concat()).await;
    assert_eq!(status(&answer), 200, "{answer}");
    // Without the header, with two of them, or with half of one.
    for bad in [&get[..], &[V1, V1, &get[..]].concat(), b"PROXY TCP4 198.51\r\n", b"PROXY\r\n\r\n"]
    {
        let mut stream = connect(&server).await;
        stream.write_all(bad).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = last_words(&mut stream, b"").await;
        assert!(matches!(status(&answer), 0 | 400), "{answer}");
    }
}

#[tokio::test]
async fn the_header_of_a_stranger_is_not_read() {
    let server = http(trusting(&["10.0.0.0/8"]).proxy_protocol(ProxyProtocol::Required)).await;
    let get = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for request in [&get[..], &[V1, get].concat(), &[V2, get].concat()] {
        assert_eq!(last_words(&mut connect(&server).await, request).await, "");
    }
    let off = http(trusting(&["127.0.0.1"])).await;
    let answer = last_words(&mut connect(&off).await, &[V1, get].concat()).await;
    assert_eq!(status(&answer), 400, "where it is off it is no request: {answer}");
}

#[tokio::test]
async fn a_header_has_to_come_in_time() {
    let limits =
        HttpLimits { head_time: std::time::Duration::from_millis(200), ..HttpLimits::default() };
    let admission = trusting(&["127.0.0.1"]).proxy_protocol(ProxyProtocol::Required);
    let state = HttpState::new(Arc::new(Peers));
    let server = serve_admitting(state, Page::None, limits, admission.clone()).await;
    for begin in [&b""[..], b"P", &V1[..20], &V2[..5], &V2[..20], V1, V2] {
        let mut stream = connect(&server).await;
        assert_eq!(last_words(&mut stream, begin).await, "", "{begin:?}");
    }
    let places = admission.places();
    chat_tests::wait::eventually("all places to be free", async || {
        (places.taken() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn lines_tell_their_address_too() {
    let plain = lines(Admission::default()).await;
    assert_eq!(LinesClient::connect(plain).await.next().await.as_deref(), Some("127.0.0.1"));
    let proxied = lines(trusting(&["127.0.0.1"]).proxy_protocol(ProxyProtocol::Required)).await;
    for (header, address) in [(V1, "198.51.100.1"), (V2, "198.51.100.1"), (V1_SELF, "127.0.0.1")] {
        let mut client = LinesClient::connect(proxied).await;
        client.send_raw(&[header, b"early\n"].concat()).await;
        assert_eq!(client.next().await.as_deref(), Some(address));
        assert_eq!(client.next().await.as_deref(), Some("early"));
    }
    assert_eq!(
        last_words(&mut dial(proxied).await, b"{\"type\":\"join\",\"room\":\"r\"}\n").await,
        ""
    );
    let closed = lines(trusting(&["10.0.0.0/8"]).proxy_protocol(ProxyProtocol::Required)).await;
    assert_eq!(last_words(&mut dial(closed).await, V1).await, "");
}
