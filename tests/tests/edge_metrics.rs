//! Who never reached a worker, and what became of webhooks, as a collector reads it.
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use chat_tests::client::V1Client;
use chat_tests::scrape::{Scrape, get, until};
use chat_tests::tls::Authority;
use chat_tests::wait::{eventually, within};
use chat_tokio::Server;
use chat_tokio::accept::{Admission, ConnectionLimits, ProxyProtocol, TrustedProxies};
use chat_tokio::server::Builder;
use chat_tokio::webhooks::{WebhookOptions, WebhookSecret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn any() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn start(builder: Builder) -> (Server, SocketAddr, SocketAddr) {
    let server = builder.listen(any()).metrics_listen(any()).start().expect("it starts");
    let address = server.local_addr().expect("it listens");
    let watchers = server.metrics_addr().expect("it listens");
    (server, address, watchers)
}

/// Limits that count for this machine, too.
fn limited(in_all: u32, per_address: u32) -> Admission {
    let limits = ConnectionLimits { in_all, per_address, before_hello: 0, exempt: Vec::new() };
    Admission::new(limits, TrustedProxies::default())
}

/// Says something and waits for the end.
async fn last_words(server: SocketAddr, said: &[u8]) {
    let mut tcp = TcpStream::connect(server).await.expect("it connects");
    tcp.write_all(said).await.expect("it is taken");
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = within("the end", tcp.read_to_end(&mut answer)).await;
}

#[tokio::test]
async fn who_is_one_too_many_is_counted_by_the_limit() {
    let (_server, address, watchers) = start(Server::builder().admission(limited(1, 0)));
    let lasting = V1Client::hello(address, "ada").await;
    for _ in 0..3 {
        last_words(address, b"").await;
    }
    let in_all = "chat_connections_refused_total{reason=\"connections\"}";
    let of_address = "chat_connections_refused_total{reason=\"address\"}";
    until(watchers, &[(in_all, 3.0), (of_address, 0.0)]).await;
    drop(lasting);

    let (_server, address, watchers) = start(Server::builder().admission(limited(0, 1)));
    let lasting = V1Client::hello(address, "ada").await;
    assert_eq!(get(address, "/").await.0, 429);
    assert_eq!(get(address, "/").await.0, 429);
    until(watchers, &[(in_all, 0.0), (of_address, 2.0)]).await;
    drop(lasting);
}

#[tokio::test]
async fn who_does_not_keep_to_the_proxy_protocol_is_counted() {
    let builder = Server::builder().proxy_protocol(ProxyProtocol::Required);
    let (_server, address, watchers) = start(builder);
    last_words(address, b"PROXY TCP4 198.51.100.1 10.0.0.1 4711 80\r\n").await;
    until(watchers, &[("chat_connections_refused_total{reason=\"proxy_protocol\"}", 1.0)]).await;
}

#[tokio::test]
async fn handshakes_that_come_to_nothing_are_counted_by_how() {
    let authority = Authority::default();
    let builder = Server::builder().handshake_timeout(Duration::from_millis(300));
    let (_server, address, watchers) = start(builder.tls(authority.identity()));
    let empty = Scrape::of(watchers).await;
    let failed = |reason: &str| format!("chat_handshakes_failed_total{{reason=\"{reason}\"}}");
    // Plain HTTP; no TLS at all; somebody who does not trust the certificate.
    last_words(address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    last_words(address, &[0; 64]).await;
    Authority::default().connect(address).await.expect_err("a stranger");
    until(watchers, &[(&failed("tls"), 3.0)]).await;
    // Silence, before TLS and after it.
    last_words(address, b"").await;
    let mut silent = authority.connect(address).await.expect("a handshake");
    let _ = within("the end", silent.read_to_end(&mut Vec::new())).await;
    // Whoever asks for nothing is not counted when it goes; garbage is.
    let mut polite = authority.connect(address).await.expect("a handshake");
    polite.shutdown().await.expect("an end");
    let mut odd = authority.connect(address).await.expect("a handshake");
    odd.write_all(b"garbage\r\n\r\n").await.expect("it is taken");
    let _ = within("the end", odd.read_to_end(&mut Vec::new())).await;
    let scrape = until(
        watchers,
        &[
            (&failed("tls_timeout"), 1.0),
            (&failed("request_timeout"), 1.0),
            (&failed("request"), 1.0),
            (&failed("tls"), 3.0),
            (&failed("tls_lost"), 0.0),
        ],
    )
    .await;
    empty.check_later(&scrape);
    // In the middle of its first message.
    drop(TcpStream::connect(address).await.expect("it connects"));
    let mut half = TcpStream::connect(address).await.expect("it connects");
    half.write_all(&[22, 3, 1, 2, 0, 1]).await.expect("it is taken");
    drop(half);
    eventually("two that were lost", async || {
        (Scrape::of(watchers).await.value(&failed("tls_lost")) == 2.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_that_has_asked_is_no_failure() {
    let (_server, address, watchers) =
        start(Server::builder().handshake_timeout(Duration::from_millis(300)));
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n");
    last_words(address, request.as_bytes()).await;
    last_words(address, b"").await;
    until(watchers, &[("chat_handshakes_failed_total{reason=\"request_timeout\"}", 1.0)]).await;
}

#[tokio::test]
async fn webhooks_are_counted_by_what_became_of_them() {
    let receiver = TcpListener::bind(any()).await.expect("a port");
    let url = format!("http://{}", receiver.local_addr().expect("an address"));
    let secret = WebhookSecret::parse(&"A".repeat(32)).expect("a secret");
    let options = WebhookOptions::new(&url, secret).expect("an address");
    let options = WebhookOptions { retry: Duration::from_millis(1), ..options };
    let (_server, address, watchers) = start(Server::builder().webhooks(options));
    let mut client = V1Client::hello(address, "ada").await.0;
    client.join("lobby", 0).await;
    client.say("lobby", "hi").await;
    until(watchers, &[("chat_webhook_waiting_events", 3.0)]).await;
    // The connect is told after two failures, the join never, the message is dropped by a 410.
    let wanted = ["500 No", "", "200 OK"].into_iter().chain(["503 Later"; 8]).chain(["410 Gone"]);
    for status in wanted {
        let (mut tcp, _) = within("an attempt", receiver.accept()).await.expect("a connection");
        let mut read = Vec::new();
        while !read.ends_with(b"}}") {
            read.push(tcp.read_u8().await.expect("an event"));
        }
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        if !status.is_empty() {
            tcp.write_all(head.as_bytes()).await.expect("it listens");
        }
    }
    until(
        watchers,
        &[
            ("chat_webhook_waiting_events", 0.0),
            ("chat_webhook_events_total{result=\"delivered\"}", 1.0),
            ("chat_webhook_events_total{result=\"failed\"}", 1.0),
            ("chat_webhook_events_total{result=\"gone\"}", 1.0),
            ("chat_webhook_events_total{result=\"dropped\"}", 0.0),
            ("chat_webhook_retries_total{reason=\"status\"}", 8.0),
            ("chat_webhook_retries_total{reason=\"connection\"}", 1.0),
            ("chat_webhook_retries_total{reason=\"timeout\"}", 0.0),
        ],
    )
    .await;
}
