//! What is said arrives, and ends well.
use std::net::SocketAddr;

use chat_proto::{Body, CloseCode};
use chat_tests::process::{Home, Server, Spec};
use chat_tests::tls::{Authority, Files};
use chat_tests::wait::within;
use chat_tokio::client::{Client, Connect, ConnectFuture, Delivery, Events, Link, WebSocketUrl};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{member, room, url};

const JOIN: &str = r#"{"type":"join","room":"lobby"}"#;

type Basic = WebSocketStream<TlsStream<TcpStream>>;

/// A connection of `basic` that has joined the room.
async fn basic(server: SocketAddr, authority: &Authority, name: &str) -> Basic {
    let io = authority.connect(server).await.unwrap();
    let uri = format!("wss://{server}/ws?username={name}");
    let (mut socket, _) = client_async(uri, io).await.unwrap();
    socket.send(Message::text(JOIN)).await.unwrap();
    reads(&mut socket, "joined the room").await;
    socket
}

async fn reads(socket: &mut Basic, text: &str) {
    within(text, async {
        while !socket.next().await.unwrap().unwrap().to_text().unwrap().contains(text) {}
    })
    .await;
}

#[tokio::test]
async fn both_dialects_and_lines_meet_in_a_room_and_a_drain_ends_them_well() {
    let (home, authority) = (Home::default(), Authority::default());
    let files = Files::of(&authority);
    let server = Server::start(&home, &Spec::default().tls(&files).lines()).await;
    let (ada, mut events) = member(server.http(), &authority).await;
    let mut bob = basic(server.http(), &authority, "bob").await;
    let mut eve = BufReader::new(authority.connect(server.lines()).await.unwrap());
    eve.get_mut().write_all(format!("{JOIN}\n").as_bytes()).await.unwrap();
    reads(&mut bob, "anonymous joined").await;

    ada.send(&room(), "from chat.v1").await.unwrap();
    reads(&mut bob, "from chat.v1").await;
    bob.send(Message::text(r#"{"type":"message","content":"from basic"}"#)).await.unwrap();
    said(&mut events, "from basic").await;
    within("the lines", async {
        let mut lines = (&mut eve).lines();
        while !lines.next_line().await.unwrap().unwrap().contains("from basic") {}
    })
    .await;

    server.terminate();
    let ended = within("the end", async {
        loop {
            match bob.next().await.unwrap().unwrap() {
                Message::Close(frame) => return frame.unwrap().code,
                _ => continue,
            }
        }
    });
    assert_eq!(u16::from(ended.await), CloseCode::Draining.number());
    // TLS says that the end is one, so that nobody can cut a conversation short.
    assert!(within("the end of the stream", bob.next()).await.is_none());
    let rest = within("the end of the lines", eve.read_to_end(&mut Vec::new())).await;
    rest.expect("an end that is said");
}

async fn said(events: &mut Events, text: &str) {
    within(text, async {
        while contents(&events.next().await.unwrap()).is_none_or(|(_, said)| said != text) {}
    })
    .await;
}

/// The place and the text of a message.
fn contents(event: &Delivery) -> Option<(u64, &str)> {
    let Delivery::Entry(entry) = event else { return None };
    let Body::Message { content, .. } = &entry.body else { return None };
    Some((entry.seq.get(), content))
}

#[tokio::test]
async fn a_client_talks_to_whom_its_authority_knows_only() {
    let (known, stranger) = (Authority::default(), Authority::default());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = chat_tokio::Server::builder().listen(any).tls(known.identity()).start().unwrap();
    let address = server.local_addr().unwrap();
    let trusting = |authority| async move { url(address, authority).connect().await.map(drop) };
    within("a connection", trusting(&known)).await.unwrap();
    let refused = within("a refusal", trusting(&stranger)).await.unwrap_err();
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    // The system's authorities don't know it either.
    let plain = WebSocketUrl::parse(&format!("wss://localhost:{}", address.port())).unwrap();
    within("a refusal", plain.connect()).await.map(drop).unwrap_err();
    // The name counts as well.
    let named = WebSocketUrl::parse(&format!("wss://[::ffff:127.0.0.1]:{}", address.port()));
    let refused = within("a refusal", named.unwrap().roots(known.roots()).connect()).await;
    let refused = refused.map(drop).unwrap_err();
    assert!(refused.to_string().contains("not valid for name"), "{refused}");
}

#[tokio::test]
async fn pages_of_the_same_host_have_to_come_by_https() {
    let authority = Authority::default();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server =
        chat_tokio::Server::builder().listen(any).tls(authority.identity()).start().unwrap();
    let address = server.local_addr().unwrap();
    for (scheme, allowed) in [("https", true), ("http", false), ("wss", false)] {
        let mut request = format!("wss://{address}/ws").into_client_request().unwrap();
        let origin = HeaderValue::from_str(&format!("{scheme}://{address}")).unwrap();
        request.headers_mut().insert("Origin", origin);
        let io = authority.connect(address).await.unwrap();
        match within("an answer", client_async(request, io)).await {
            Ok(_) => assert!(allowed, "{scheme}"),
            Err(Error::Http(answer)) => {
                assert_eq!((allowed, answer.status().as_u16()), (false, 403), "{scheme}");
            }
            Err(other) => panic!("{scheme}: {other}"),
        }
    }
}

/// Connects with a receive buffer as small as the system allows, so that who does not read is
/// noticed after few bytes.
fn narrow(server: SocketAddr, authority: &Authority) -> impl Fn() -> ConnectFuture + use<> {
    let (url, roots) = (url(server, authority), authority.roots());
    move || {
        let (url, roots) = (url.clone(), roots.clone());
        Box::pin(async move {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(4096)?;
            let tcp = socket.connect(server).await?;
            let name = "localhost".try_into().expect("a name");
            let connector = tokio_rustls::TlsConnector::from(roots.config().clone());
            let io = connector.connect(name, tcp).await?;
            Ok(Box::new(url.upgrade(io).await?) as Box<dyn Link>)
        })
    }
}

#[tokio::test]
async fn slow_readers_of_a_flood_miss_nothing() {
    const MESSAGES: u64 = 400;
    const READERS: usize = 12;
    let authority = Authority::default();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let builder = chat_tokio::Server::builder().listen(any).workers(2).tls(authority.identity());
    let server = builder.start().unwrap();
    let address = server.local_addr().unwrap();
    let (go, gone) = watch::channel(false);
    let mut readers = Vec::new();
    for n in 0..READERS {
        let (client, events) = Client::options().events(64).start_over(narrow(address, &authority));
        within("a connection", client.online()).await.unwrap();
        within("a member", client.join(&room())).await.unwrap();
        let mut gone = gone.clone();
        readers.push(tokio::spawn(async move {
            // Every other one reads only when all has been said.
            if n % 2 == 1 {
                gone.wait_for(|gone| *gone).await.unwrap();
            }
            read(client, events, MESSAGES).await
        }));
    }
    let (speaker, mut events) = Client::options()
        .window(50)
        .outbox(1000, 4 * 1024 * 1024)
        .start_over(url(address, &authority));
    speaker.online().await.unwrap();
    speaker.join(&room()).await.unwrap();
    let text = "x".repeat(4000);
    for _ in 0..MESSAGES {
        speaker.post(&room(), &*text).await.unwrap();
    }
    within("all outcomes", async {
        let mut settled = 0;
        while settled < MESSAGES {
            settled += u64::from(matches!(events.next().await.unwrap(), Delivery::Settled { .. }));
        }
    })
    .await;
    go.send_replace(true);
    for reader in readers {
        let seen = within("a reader", reader).await.unwrap();
        assert_eq!(seen, (1..=MESSAGES).collect::<Vec<_>>());
    }
}

/// Reads so many messages; their places.
async fn read(client: Client, mut events: Events, count: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    while (seen.len() as u64) < count {
        let event = events.next().await.unwrap();
        assert!(!matches!(event, Delivery::Lost { .. }), "{event:?}");
        seen.extend(contents(&event).map(|(seq, _)| seq));
    }
    client.close().await;
    seen
}
