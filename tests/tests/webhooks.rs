//! What a backend is told, over real sockets.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chat_proto::{Request, Resume, ServerFrame};
use chat_tests::client::{BasicClient, V1Client, message};
use chat_tests::process::{Home, Spec};
use chat_tests::wait::{eventually, within};
use chat_tokio::Server;
use chat_tokio::webhooks::{WebhookEvent, WebhookOptions, WebhookSecret};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SECRET: &[u8] = b"more than thirty-two bytes of shared secret";

fn secret() -> String {
    format!("whsec_{}", STANDARD.encode(SECRET))
}

/// One attempt of the server to tell something.
struct Attempt {
    stream: TcpStream,
    id: String,
    body: Value,
}

/// Someone who is told, by hand.
struct Receiver(TcpListener);

impl Receiver {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    fn url(&self) -> String {
        format!("http://{}/hook?a=b", self.0.local_addr().expect("an address"))
    }

    /// Takes the next attempt, whose signature is checked by its own means.
    async fn next(&self) -> Attempt {
        within("an attempt", async {
            let (stream, _) = self.0.accept().await.expect("a connection");
            attempt(stream).await
        })
        .await
    }

    /// Takes the next event: an attempt that is answered with 200.
    async fn take(&self) -> Value {
        let mut attempt = self.next().await;
        attempt.answer("200 OK").await;
        attempt.body
    }

    /// Takes events until one is of this type and room.
    async fn until(&self, kind: &str, room: &str) -> Value {
        loop {
            let told = self.take().await;
            if told["type"] == kind && told["data"]["room"] == room {
                return told;
            }
        }
    }
}

async fn attempt(mut stream: TcpStream) -> Attempt {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    let head = String::from_utf8(head).expect("text");
    assert!(head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{head}");
    let header = |name: &str| {
        let found = head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        });
        found.unwrap_or_else(|| panic!("no {name} in {head}"))
    };
    assert_eq!(header("content-type"), "application/json");
    let mut body = vec![0; header("content-length").parse().expect("a number")];
    stream.read_exact(&mut body).await.expect("a body");
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let mut code = Hmac::<sha2::Sha256>::new_from_slice(SECRET).expect("any length");
    code.update(format!("{id}.{timestamp}.").as_bytes());
    code.update(&body);
    let wanted = format!("v1,{}", STANDARD.encode(code.finalize().into_bytes()));
    assert_eq!(header("webhook-signature"), wanted);
    assert!(timestamp.parse::<u64>().is_ok_and(|seconds| seconds > 1_700_000_000));
    Attempt { stream, id, body: serde_json::from_slice(&body).expect("JSON") }
}

impl Attempt {
    async fn answer(&mut self, status: &str) {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        self.stream.write_all(answer.as_bytes()).await.expect("the server listens");
    }
}

fn options(url: &str) -> WebhookOptions {
    let secret = WebhookSecret::parse(&secret()).expect("a secret");
    let options = WebhookOptions::new(url, secret).expect("an address");
    WebhookOptions { retry: Duration::from_millis(1), ..options }
}

fn serve(workers: usize, options: WebhookOptions) -> (Server, SocketAddr) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::builder().workers(workers).listen(any).webhooks(options);
    let server = server.start().expect("a server");
    let address = server.local_addr().expect("it listens");
    (server, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_an_inbox_is_told_to_nobody() {
    let receiver = Receiver::new().await;
    let (server, chat) = serve(2, options(&receiver.url()));
    let (mut ada, welcome) = V1Client::hello(chat, "ada").await;
    assert_eq!(receiver.take().await["type"], "connect");
    let (inbox, handle) = (chat_proto::RoomName::own(&welcome.user), server.handle());
    ada.join(inbox.as_str(), 0).await;
    for room in [inbox.clone(), chat_tests::client::name("lobby")] {
        let what = chat_tokio::server::Publish {
            room,
            service: "shop".into(),
            username: chat_proto::DisplayName::new("The shop").expect("a name"),
            key: None,
            content: "between us".into(),
            reply_to: None,
        };
        handle.publish(what).await.expect("it is taken");
    }
    assert_eq!(ada.next_entry().await.room, inbox);
    ada.leave(inbox.as_str()).await;
    // Events are told in order: the first one is the lobby's.
    let told = receiver.take().await;
    assert_eq!((&told["type"], &told["data"]["room"]), (&json!("message"), &json!("lobby")));
    ada.join("lobby", 0).await;
    let told = receiver.take().await;
    assert_eq!((&told["type"], &told["data"]["room"]), (&json!("join"), &json!("lobby")));
}

async fn counts(server: &Server) -> chat_tokio::webhooks::WebhookCounts {
    server.handle().totals().await.webhooks.expect("it has webhooks")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_in_order_and_once() {
    for workers in [1, 3] {
        let receiver = Receiver::new().await;
        let (_server, chat) = serve(workers, options(&receiver.url()));
        let (mut ada, welcome) = V1Client::hello(chat, "Ada").await;
        let told = receiver.take().await;
        assert_eq!(told["type"], "connect");
        let user = json!({"user": welcome.user, "username": "Ada"});
        assert_eq!(told["data"], user);
        assert!(told["ts"].as_u64() > Some(1_700_000_000_000));
        let joined = ada.join("Lobby", 0).await;
        let told = receiver.take().await;
        assert_eq!(told["type"], "join");
        let place = json!({"room": "Lobby", "user": welcome.user, "username": "Ada"});
        assert_eq!(told["data"], place);
        for n in 1..=20 {
            ada.request(&message("Lobby", Some(&format!("k{n}")), &format!("m{n}"))).await;
            // Sent again, it is the same message.
            ada.request(&message("Lobby", Some(&format!("k{n}")), &format!("m{n}"))).await;
        }
        for n in 1..=20 {
            let told = receiver.take().await;
            assert_eq!(told["type"], "message");
            let data = &told["data"];
            assert_eq!((&data["seq"], &data["content"]), (&json!(n), &json!(format!("m{n}"))));
            assert_eq!(
                (&data["epoch"], &data["key"]),
                (&json!(joined.epoch), &json!(format!("k{n}")))
            );
            assert_eq!((&data["user"], &data["ts"]), (&json!(welcome.user), &told["ts"]));
        }
        let mut basic = BasicClient::connect(chat, "bob").await;
        basic.join("Lobby").await;
        assert_eq!(receiver.take().await["data"]["username"], "bob");
        basic.say("hi").await;
        assert_eq!(receiver.take().await["data"]["content"], "hi");
        // A member whose connection is cut and who comes back, to whichever worker, was never gone.
        let position = chat_proto::Position { epoch: joined.epoch.clone(), seq: joined.head };
        ada.socket.reset();
        let mut ada = None;
        for attempt in 1..=6 {
            let rooms = [(chat_tests::client::name("lobby"), position.clone())].into();
            let resume = Resume { session: welcome.session.clone(), attempt, rooms };
            let resume = Some(resume.into());
            // A worker that has never met the session learns the name from here.
            let name = chat_proto::DisplayName::new("Ada").ok();
            let hello = Request::Hello { name, token: None, features: vec![], resume };
            let mut back = V1Client::connect(chat).await;
            let reply = back.request(&hello).await;
            assert!(matches!(&reply, ServerFrame::Welcome(_)), "{reply:?}");
            ada = Some(back);
        }
        ada.expect("six came back").leave("Lobby").await;
        let told = receiver.take().await;
        assert_eq!((&told["type"], &told["data"]["reason"]), (&json!("leave"), &json!("left")));
        assert_eq!(told["data"]["username"], "Ada");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_sent_again_before_anything_else() {
    let receiver = Receiver::new().await;
    let (server, chat) = serve(1, options(&receiver.url()));
    let (mut ada, _) = V1Client::member(chat, "ada", "lobby").await;
    ada.say("lobby", "first").await;
    ada.say("lobby", "second").await;
    receiver.until("join", "lobby").await;
    let mut ids = Vec::new();
    for how in ["500 Oh no", "302 Found", "404 Not Found", "", "200 OK"] {
        let mut attempt = receiver.next().await;
        assert_eq!(attempt.body["data"]["content"], "first", "{how}");
        ids.push(attempt.id.clone());
        if !how.is_empty() {
            attempt.answer(how).await;
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "the id is the same for each attempt");
    let mut attempt = receiver.next().await;
    assert_eq!(attempt.body["data"]["content"], "second");
    assert_ne!(attempt.id, ids[0]);
    attempt.answer("410 Gone").await;
    ada.say("lobby", "third").await;
    // Eight failures are enough, and the next event gets its turn.
    for _ in 0..8 {
        let mut attempt = receiver.next().await;
        assert_eq!(attempt.body["data"]["content"], "third");
        attempt.answer("503 Later").await;
    }
    ada.say("lobby", "fourth").await;
    assert_eq!(receiver.take().await["data"]["content"], "fourth");
    let counts = eventually("the counts", async || {
        let counts = counts(&server).await;
        (counts.waiting == 0).then_some(counts)
    });
    let counts = counts.await;
    // The connect, the join, "first" and "fourth"; "second" and "third".
    assert_eq!((counts.sent, counts.failed, counts.dropped), (4, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_or_is_gone_delays_nobody_and_what_is_dropped_is_counted() {
    let receiver = Receiver::new().await;
    let deadline = Duration::from_secs(3600);
    let events = vec![WebhookEvent::Message];
    let url = receiver.url();
    let (server, chat) = serve(2, WebhookOptions { deadline, events, ..options(&url) });
    let (mut ada, _) = V1Client::member(chat, "ada", "lobby").await;
    let (mut bob, _) = V1Client::member(chat, "bob", "lobby").await;
    ada.say("lobby", "hangs").await;
    bob.next_entry().await;
    let hanging = receiver.next().await;
    assert_eq!(hanging.body["data"]["content"], "hangs");
    // Over the API's way, which has no budget: more than may wait.
    let content: Arc<str> = "x".repeat(8000).into();
    let service = |n: u64| chat_tokio::server::Publish {
        room: chat_tests::client::name("lobby"),
        service: "test".into(),
        username: chat_proto::DisplayName::new("test").expect("a name"),
        key: None,
        content: content.clone(),
        reply_to: chat_proto::Seq::new(n),
    };
    let said = 4000;
    for n in 1..=said {
        server.handle().publish(service(n)).await.expect("the log takes it");
        // It is delivered although nobody takes what is told.
        assert_eq!(within("the entry", bob.next_entry()).await.seq.get(), n + 1);
    }
    let waiting = eventually("the queue", async || {
        let counts = counts(&server).await;
        (counts.dropped > 0 && counts.waiting + counts.dropped == said + 1).then_some(counts)
    });
    let counted = waiting.await;
    // 16 MiB wait, of some 8200 bytes each, the one that hangs, and what is on its way.
    assert!((1900..2200).contains(&counted.waiting), "{counted:?}");
    assert_eq!((counted.sent, counted.failed), (0, 0));
    // It disappears: the event that hung is sent again, then the oldest that was kept.
    drop(hanging);
    assert_eq!(receiver.take().await["data"]["content"], "hangs");
    let next = receiver.take().await;
    // Some may have been on their way into the queue when it was counted.
    let dropped = counts(&server).await.dropped;
    assert_eq!(next["data"]["reply_to"], json!(dropped + 1), "the oldest were dropped");
    // Gone for good, it is no matter either.
    drop(receiver);
    bob.say("lobby", "we are still here").await;
    within("the entry", ada.next_entry()).await;
    drop(server);
}

#[tokio::test]
async fn the_reference_server_tells_what_its_settings_name() {
    let home = Home::default();
    let receiver = Receiver::new().await;
    let file = home.data().with_file_name("webhook-secret");
    std::fs::write(&file, secret()).expect("a file");
    let spec = Spec::default()
        .api()
        .flag("--webhook-url", &receiver.url())
        .flag("--webhook-secret-file", file.to_str().expect("a plain path"))
        .flag("--webhook-events", "join,message");
    let server = chat_tests::process::Server::start(&home, &spec).await;
    let (mut ada, _) = V1Client::member(server.http(), "ada", "lobby").await;
    assert_eq!(receiver.take().await["type"], "join");
    let body = json!({"content": "from a service", "service": "billing"});
    let _ = server.api().post("/v1/rooms/lobby/messages", &body).await.ok();
    let told = receiver.take().await;
    assert_eq!(
        (&told["type"], &told["data"]["user"]),
        (&json!("message"), &json!("service.billing"))
    );
    // What the server keeps for itself is told nobody.
    let _ = server.api().post("/v1/bans", &json!({"user": "eve"})).await.ok();
    ada.leave("lobby").await;
    ada.join("lobby", 0).await;
    assert_eq!(receiver.take().await["type"], "join");
    let stats = eventually("the counts", async || {
        let stats = server.api().get("/v1/stats").await.ok();
        (stats["webhooks"]["waiting"] == 0).then(|| stats["webhooks"].clone())
    });
    let counts = json!({"sent": 3, "failed": 0, "dropped": 0, "waiting": 0});
    assert_eq!(stats.await, counts);
    server.stop().await;
    assert!(!home.stderr().contains(&secret()), "a secret is never logged");
}
