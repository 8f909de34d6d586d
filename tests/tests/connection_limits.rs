//! No address takes all places, and a place is taken from the first byte to the last.
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use chat_tests::process::{self, Home, Spec};
use chat_tests::wait::eventually;
use chat_tokio::Server;
use chat_tokio::accept::{Admission, ConnectionLimits, Places, ProxyProtocol, TrustedProxies};
use support::{UPGRADE, dial, exchange, frame, header, last_words, read_frame, status, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A server of two workers, and its places. What is said of loopback addresses elsewhere is not
/// said here, or no test could come from one address.
fn start(limits: ConnectionLimits, trusted: &[&str], protocol: ProxyProtocol) -> (Server, Places) {
    let trusted: Vec<_> = trusted.iter().map(|text| text.parse().expect("a network")).collect();
    let admission = Admission::new(limits, TrustedProxies::new(&trusted));
    let places = admission.places().clone();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    // Far beyond the patience of a test, so that it is not the deadline that makes room.
    let server = Server::builder().handshake_timeout(Duration::from_secs(600));
    let server = server.workers(2).listen(any).listen_lines(any);
    let server =
        server.admission(admission).proxy_protocol(protocol).lines_proxy_protocol(protocol);
    (server.start().expect("a server"), places)
}

fn limits(in_all: u32, per_address: u32) -> ConnectionLimits {
    ConnectionLimits { in_all, per_address, exempt: vec![], ..ConnectionLimits::default() }
}

fn web(server: &Server) -> SocketAddr {
    server.local_addr().expect("it listens")
}

async fn free(places: &Places, taken: u32) {
    eventually(format!("{taken} places to be taken"), async || {
        (places.taken() == taken).then_some(())
    })
    .await;
}

/// Asks for a WebSocket; the stream and the answer to it.
async fn ask(address: SocketAddr, before: &str, headers: &str) -> (TcpStream, String) {
    let mut stream = dial(address).await;
    let head = format!("{before}GET /ws HTTP/1.1\r\nHost: localhost\r\n{headers}{UPGRADE}\r\n");
    let answer = exchange(&mut stream, head.as_bytes()).await;
    (stream, answer)
}

/// Opens a WebSocket and joins a room with it.
async fn open(address: SocketAddr, before: &str, headers: &str) -> TcpStream {
    let (mut stream, answer) = ask(address, before, headers).await;
    assert_eq!(status(&answer), 101, "{answer}");
    let join = frame(0x81, br#"{"type":"join","room":"r"}"#);
    stream.write_all(&join).await.expect("it is open");
    assert_eq!(read_frame(&mut stream).await.expect("a notice").0, 0x81);
    stream
}

#[tokio::test]
async fn a_connection_counts_to_its_address_until_its_end() {
    let (server, places) = start(limits(0, 3), &[], ProxyProtocol::Off);
    let address = web(&server);
    // Each in its way: a WebSocket, a request's connection that is kept, and lines.
    let socket = open(address, "", "").await;
    let mut kept = dial(address).await;
    assert_eq!(status(&exchange(&mut kept, GET).await), 200);
    let mut lines = dial(server.lines_addr().expect("it listens")).await;
    free(&places, 3).await;
    let handshake = format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n");
    for request in [GET, handshake.as_bytes()] {
        let answer = last_words(&mut dial(address).await, request).await;
        assert_eq!(status(&answer), 429, "{answer}");
        assert_eq!(header(&answer, "retry-after"), Some("5"), "{answer}");
        assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"), "{answer}");
        assert!(answer.contains("from your address"), "{answer}");
    }
    assert_eq!(last_words(&mut dial(server.lines_addr().unwrap()).await, b"").await, "");
    // Those who are in are not hurt.
    assert_eq!(status(&exchange(&mut kept, GET).await), 200);
    lines.write_all(b"{\"type\":\"join\",\"room\":\"r\"}\n").await.unwrap();
    // Whichever ends, there is room for another one.
    drop(socket);
    free(&places, 2).await;
    let second = open(address, "", "").await;
    drop(kept);
    free(&places, 2).await;
    let third = open(address, "", "").await;
    drop(lines);
    free(&places, 2).await;
    drop((second, third));
    free(&places, 0).await;
}

#[tokio::test]
async fn refusals_in_words_are_few_and_the_others_are_closed() {
    let (server, places) = start(limits(0, 1), &[], ProxyProtocol::Off);
    let _one = open(web(&server), "", "").await;
    // More than both workers together refuse in words at a time; none of them says anything.
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(dial(web(&server)).await);
    }
    let mut closed = 0;
    eventually("those who may not speak to be closed", async || {
        silent.retain(|stream| !matches!(stream.try_read(&mut [0]), Ok(0)));
        closed = 200 - silent.len();
        (closed >= 200 - 2 * 64).then_some(())
    })
    .await;
    assert!(closed < 200, "some of them may speak");
    // They cost nobody a place.
    free(&places, 1).await;
}

#[tokio::test]
async fn the_limit_in_all_is_one_for_all_workers_and_listeners() {
    let (server, places) = start(limits(4, 0), &[], ProxyProtocol::Off);
    let mut open_ones = Vec::new();
    for _ in 0..3 {
        open_ones.push(open(web(&server), "", "").await);
    }
    let mut lines = dial(server.lines_addr().expect("it listens")).await;
    free(&places, 4).await;
    for _ in 0..8 {
        assert_eq!(last_words(&mut dial(web(&server)).await, GET).await, "");
        let more = dial(server.lines_addr().unwrap());
        assert_eq!(last_words(&mut more.await, b"").await, "");
    }
    lines.write_all(b"{\"type\":\"join\",\"room\":\"r\"}\n").await.unwrap();
    open_ones.pop();
    free(&places, 3).await;
    open_ones.push(open(web(&server), "", "").await);
}

#[tokio::test]
async fn behind_a_proxy_the_clients_are_counted() {
    let (server, places) = start(limits(0, 2), &["127.0.0.1"], ProxyProtocol::Off);
    let address = web(&server);
    let of = |client: &str| format!("X-Forwarded-For: 192.0.2.66, {client}\r\n");
    let ada = of("198.51.100.1");
    let first = open(address, "", &ada).await;
    let _second = open(address, "", &ada).await;
    // The proxy itself may have any number, and carry others' requests over one of them.
    let mut kept = dial(address).await;
    let head = format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{ada}{UPGRADE}\r\n");
    let answer = exchange(&mut kept, head.as_bytes()).await;
    assert_eq!(status(&answer), 429, "{answer}");
    assert_eq!(header(&answer, "retry-after"), Some("5"), "{answer}");
    let bob = of("198.51.100.2");
    let head = format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{bob}{UPGRADE}\r\n");
    let answer = exchange(&mut kept, head.as_bytes()).await;
    assert_eq!(status(&answer), 101, "the same connection, another client: {answer}");
    // Networks of IPv6 are one client each.
    let _third = open(address, "", &of("2001:db8:0:1::1")).await;
    let _fourth = open(address, "", &of("2001:db8:0:1:ffff::2")).await;
    assert_eq!(status(&ask(address, "", &of("2001:db8:0:1::3")).await.1), 429);
    let _fifth = open(address, "", &of("2001:db8:0:2::1")).await;
    // Room is made for the client who leaves.
    free(&places, 6).await;
    drop(first);
    free(&places, 5).await;
    let _again = open(address, "", &ada).await;
    assert_eq!(status(&ask(address, "", &ada).await.1), 429);
}

#[tokio::test]
async fn behind_the_proxy_protocol_the_clients_are_counted() {
    let (server, places) = start(limits(0, 1), &["127.0.0.1"], ProxyProtocol::Required);
    let of = |client: &str| format!("PROXY TCP4 {client} 10.0.0.1 1 2\r\n");
    let (ada, bob) = (of("198.51.100.1"), of("198.51.100.2"));
    let first = open(web(&server), &ada, "").await;
    let (_, answer) = ask(web(&server), &ada, "X-Forwarded-For: 198.51.100.3\r\n").await;
    assert_eq!(status(&answer), 429, "{answer}");
    let mut lines = dial(server.lines_addr().expect("it listens")).await;
    assert_eq!(last_words(&mut lines, ada.as_bytes()).await, "");
    let mut lines = dial(server.lines_addr().expect("it listens")).await;
    let join = bob.clone() + "{\"type\":\"join\",\"room\":\"r\"}\n";
    lines.write_all(join.as_bytes()).await.unwrap();
    // Its header has been read, so it counts as a connection of its client.
    assert_eq!(within(lines.read(&mut [0])).await.unwrap(), 1, "a notice");
    free(&places, 2).await;
    assert_eq!(status(&ask(web(&server), &bob, "").await.1), 429);
    drop(first);
    free(&places, 1).await;
    let _again = open(web(&server), &ada, "").await;
}

#[tokio::test]
async fn the_server_is_told_by_its_flags_and_warns_once() {
    let home = Home::default();
    let spec = Spec::default()
        .lines()
        .flag("--trusted-proxy", "127.0.0.1")
        .flag("--proxy-protocol", "yes")
        .flag("--lines-proxy-protocol", "yes")
        .flag("--max-connections", "3")
        .flag("--max-connections-per-address", "2")
        .flag("--allow-host", "chat.example");
    let server = process::Server::start(&home, &spec).await;
    let of = |client: &str| format!("PROXY TCP4 {client} 10.0.0.1 1 2\r\n");
    let (ada, bob) = (of("198.51.100.1"), of("198.51.100.2"));
    let _first = open(server.http(), &ada, "").await;
    let mut second = dial(server.lines()).await;
    second.write_all(ada.as_bytes()).await.unwrap();
    second.write_all(b"{\"type\":\"join\",\"room\":\"r\"}\n").await.unwrap();
    assert_eq!(within(second.read(&mut [0])).await.unwrap(), 1, "a notice");
    let get = "GET / HTTP/1.1\r\nHost: chat.example\r\n\r\n";
    for _ in 0..10 {
        let answer =
            last_words(&mut dial(server.http()).await, (ada.clone() + get).as_bytes()).await;
        assert_eq!(status(&answer), 429, "{answer}");
    }
    let mut third = dial(server.http()).await;
    let answer = exchange(&mut third, (bob.clone() + get).as_bytes()).await;
    assert_eq!(status(&answer), 200, "{answer}");
    for _ in 0..10 {
        let answer =
            last_words(&mut dial(server.http()).await, (bob.clone() + get).as_bytes()).await;
        assert_eq!(answer, "");
    }
    let said = home.stderr();
    let warnings: Vec<_> = said.lines().filter(|line| line.contains("WARN")).collect();
    let [of_address, in_all] = warnings[..] else { panic!("two warnings: {said}") };
    assert!(of_address.contains("too many connections from one address"), "{of_address}");
    assert!(of_address.contains("198.51.100.1") && of_address.contains("limit=2"), "{of_address}");
    assert!(in_all.contains("too many connections;") && in_all.contains("limit=3"), "{in_all}");
}
