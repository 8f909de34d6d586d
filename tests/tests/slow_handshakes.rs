//! Who takes its time to come in keeps nobody else out, and is gone after the deadline.
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat_proto::{SUBPROTOCOL, Token, UserId};
use chat_state::{AuthError, Grant};
use chat_tests::client::{BasicClient, Ending, LinesClient, Shape, Socket};
use chat_tests::wait::eventually;
use chat_tokio::accept::{Admission, ConnectionLimits, Places, ProxyProtocol, TrustedProxies};
use chat_tokio::auth::{AuthFuture, Authenticator};
use chat_tokio::{Builder, Server};
use support::{dial, exchange, status, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

fn server(limits: ConnectionLimits, more: impl Fn(Builder) -> Builder) -> (Server, Places) {
    let proxies = TrustedProxies::new(&["127.0.0.1".parse().expect("an address")]);
    let admission = Admission::new(limits, proxies);
    let places = admission.places().clone();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let builder = Server::builder().workers(2).listen(any).listen_lines(any).admission(admission);
    (more(builder).start().expect("a server"), places)
}

async fn taken(places: &Places, number: u32) {
    eventually(format!("{number} places to be taken"), async || {
        (places.taken() == number).then_some(())
    })
    .await;
}

/// Keeps those that the server has not closed.
fn keep_open(streams: &mut Vec<TcpStream>) {
    streams.retain(|stream| match stream.try_read(&mut [0; 64]) {
        Ok(count) => count > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    });
}

#[tokio::test]
async fn silent_and_dribbling_peers_keep_nobody_out_and_are_gone_in_time() {
    const EACH: usize = 300;
    let deadline = Duration::from_secs(2);
    let (server, places) =
        server(ConnectionLimits::default(), |builder| builder.handshake_timeout(deadline));
    let address = server.local_addr().expect("it listens");
    let mut member = BasicClient::connect(address, "ada").await;
    member.join("r").await;
    let (mut silent, mut dribbling) = (Vec::new(), Vec::new());
    for _ in 0..EACH {
        silent.push(dial(address).await);
        dribbling.push(dial(address).await);
    }
    let begin = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
    let mut head = begin.iter().copied().chain(std::iter::repeat(b'x'));
    let (mut rounds, mut met) = (0, 0);
    within(async {
        while !silent.is_empty() || !dribbling.is_empty() {
            let byte = [head.next().unwrap()];
            // A write into a connection that is gone fails at the next one.
            for stream in &dribbling {
                let _ = stream.try_write(&byte);
            }
            // Whoever comes now gets in, and who is in talks.
            let answer = exchange(
                &mut dial(address).await,
                b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            )
            .await;
            assert_eq!(status(&answer), 200);
            let content = rounds.to_string();
            member.say(&content).await;
            member.expect(&Shape::message("r", "ada", &content)).await;
            rounds += 1;
            keep_open(&mut silent);
            keep_open(&mut dribbling);
            met += u32::from(silent.len() + dribbling.len() > EACH);
        }
    })
    .await;
    assert!(met > 0, "nobody was there beside them");
    taken(&places, 1).await;
}

#[tokio::test]
async fn one_address_that_holds_on_leaves_room_for_others() {
    // Slow enough that it is not the deadline that makes room.
    let limits = ConnectionLimits {
        in_all: 40,
        per_address: 20,
        exempt: vec![],
        ..ConnectionLimits::default()
    };
    let (server, places) = server(limits, |builder| {
        builder.handshake_timeout(Duration::from_secs(600)).proxy_protocol(ProxyProtocol::Required)
    });
    let address = server.local_addr().expect("it listens");
    let header = |of: &str| format!("PROXY TCP6 {of} 2001:db8:ffff::1 1 2\r\n");
    let mut silent = Vec::new();
    let get = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for host in 0..100 {
        let mut stream = dial(address).await;
        // Another address for each, all of one network.
        let header = header(&format!("2001:db8::{host:x}"));
        if host < 20 {
            stream.write_all(header.as_bytes()).await.unwrap();
            taken(&places, host + 1).await;
        } else {
            let request = [header.as_bytes(), get].concat();
            assert_eq!(status(&exchange(&mut stream, &request).await), 429);
        }
        silent.push(stream);
    }
    let good = [header("2001:db8:1::1").as_bytes(), get].concat();
    let mut stream = dial(address).await;
    assert_eq!(status(&exchange(&mut stream, &good).await), 200);
    taken(&places, 21).await;
    drop((silent, stream));
    taken(&places, 0).await;
}

/// Knows `good`, and thinks for ever about anything else.
struct Thinks;

impl Authenticator for Thinks {
    fn authenticate(&self, credentials: &Token) -> AuthFuture {
        let granted = match credentials.0.as_ref() {
            "good" => Ok(Grant::new(UserId::new("ada").expect("an id"))),
            "bad" => Err(AuthError::Invalid),
            _ => return Box::pin(std::future::pending()),
        };
        Box::pin(std::future::ready(granted))
    }
}

/// Says this at once, if it is not closed before that, and is closed.
async fn is_closed(web: SocketAddr, protocol: Option<&str>, token: &str, said: Vec<Message>) {
    let header = [("Authorization", token)];
    let header = if token.is_empty() { &[][..] } else { &header[..] };
    let mut socket = Socket::open_with(web, ("", protocol), header).await.expect("a connection");
    for message in said {
        let _ = socket.try_send(message).await;
    }
    while socket.next_text().await.is_some() {}
    assert_eq!(socket.ending().await, Ending::Closed(4201), "{protocol:?} {token}");
}

async fn line_is_closed(lines: SocketAddr, said: &[u8]) {
    let mut line = LinesClient::connect(lines).await;
    line.send_raw(said).await;
    assert_eq!(line.next().await, None);
}

#[tokio::test]
async fn who_shows_no_credential_in_time_is_closed() {
    // Long enough for one who is in time on a busy machine; the others wait for it together.
    let deadline = Duration::from_secs(3);
    let (server, places) = server(ConnectionLimits::default(), |builder| {
        builder.authenticator(Arc::new(Thinks)).handshake_timeout(deadline)
    });
    let (web, lines) = (server.local_addr().unwrap(), server.lines_addr().unwrap());
    let bearer = [("Authorization", "Bearer good")];
    let mut good = Socket::open_with(web, ("", None), &bearer).await.expect("a connection");
    good.send_text(r#"{"type":"join","room":"r"}"#).await;
    good.next_text().await.expect("a notice");
    // Signs of life and nonsense are no credential, nor is one that is still looked into.
    let ping = || Message::Ping(Bytes::new());
    let alive = || vec![ping(), Message::text("nonsense"), ping()];
    let all = [None, Some(SUBPROTOCOL)].map(|protocol| async move {
        tokio::join!(
            is_closed(web, protocol, "", vec![]),
            is_closed(web, protocol, "", alive()),
            is_closed(web, protocol, "Bearer unknown", alive()),
        )
    });
    let all = futures_util::future::join_all(all);
    tokio::join!(all, line_is_closed(lines, b""), line_is_closed(lines, b"\n\n\n"));
    taken(&places, 1).await;
    good.send_text(r#"{"type":"message","content":"still here"}"#).await;
    assert!(good.next_text().await.expect("a message").contains("still here"));
}
