//! What no honest client sends, to a real server and in both dialects: whoever sends it is told and
//! ends, or is told and goes on; the others in the room notice nothing else.
use std::io::ErrorKind;
use std::net::SocketAddr;

use chat_proto::{ErrorCode, Limits, SUBPROTOCOL, ServerFrame};
use chat_tests::client::raw::{self, CONTINUE_END, TEXT, TEXT_BEGIN, frame};
use chat_tests::client::{BasicClient, Ending, LinesClient, Shape, V1Client, message};
use chat_tests::hostile::{FRAME_BYTES, Flood, broken_frames, broken_json, floods};
use chat_tests::process::{Home, Server, Spec};
use chat_tests::wait::within;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One worker: whoever holds it up holds up everybody.
async fn serve() -> (Home, Server) {
    let home = Home::default();
    let server = Server::start(&home, &Spec::default().workers(1)).await;
    (home, server)
}

async fn send(stream: &mut TcpStream, value: &Value) {
    stream.write_all(&frame(TEXT, value.to_string().as_bytes())).await.expect("it is taken");
}

/// Reads frames until a text of this type.
async fn until(stream: &mut TcpStream, kind: &str) -> Value {
    loop {
        let (_, payload) = raw::read_frame(stream).await.expect("the connection is open");
        let value: Value = serde_json::from_slice(&payload).expect("a frame is JSON");
        if value["type"] == kind {
            return value;
        }
    }
}

/// Where a connection may stand when it turns hostile.
#[derive(Clone, Copy, Debug)]
enum Place {
    BasicAtOnce,
    BasicMember,
    V1AtOnce,
    V1Member,
}

const PLACES: [Place; 4] =
    [Place::BasicAtOnce, Place::BasicMember, Place::V1AtOnce, Place::V1Member];

/// Connects by hand, as `eve`, and joins the lobby if that is wanted.
async fn eve(server: SocketAddr, place: Place) -> TcpStream {
    let protocol = match place {
        Place::BasicAtOnce | Place::BasicMember => None,
        Place::V1AtOnce | Place::V1Member => Some(SUBPROTOCOL),
    };
    let upgrade = raw::upgrade(server, "?username=eve", protocol);
    let mut stream = within("a handshake", upgrade).await.expect("it is accepted");
    match place {
        Place::BasicAtOnce | Place::V1AtOnce => {}
        Place::BasicMember => {
            send(&mut stream, &json!({"type": "join", "room": "lobby"})).await;
            until(&mut stream, "join").await;
        }
        Place::V1Member => {
            send(&mut stream, &json!({"type": "hello", "name": "eve"})).await;
            send(&mut stream, &json!({"type": "join", "room": "lobby"})).await;
            until(&mut stream, "joined").await;
        }
    }
    stream
}

#[tokio::test]
async fn a_broken_frame_ends_its_connection_with_its_code_and_nothing_else() {
    // Others see at once that somebody is gone.
    let home = Home::default();
    let spec = Spec::default().workers(1).flag("--leave-grace", "0");
    let server = Server::start(&home, &spec).await;
    let mut ada = BasicClient::connect(server.http(), "ada").await;
    ada.join("lobby").await;
    let before = home.stderr().lines().count();
    for (what, bytes, code) in broken_frames() {
        for place in PLACES {
            let mut eve = eve(server.http(), place).await;
            eve.write_all(&bytes).await.expect("it is taken");
            let (told, reason) = raw::close(&mut eve).await.unwrap_or_default();
            assert_eq!(told, code, "{what}, {place:?}: {reason}");
            let limit = format!("too_big: frame_bytes is {FRAME_BYTES}");
            assert!(code != 1009 || reason == limit, "{what}, {place:?}: {reason}");
            let end = within("the end", eve.read(&mut [0])).await.unwrap_or(0);
            assert_eq!(end, 0, "{what}, {place:?}: nothing follows a close");
            if matches!(place, Place::BasicMember | Place::V1Member) {
                ada.expect(&Shape::join("lobby", "eve")).await;
                ada.expect(&Shape::leave("lobby", "eve")).await;
            }
        }
    }
    ada.expect_nothing_before_echo("lobby", "all is well").await;
    let said = home.stderr();
    assert_eq!(said.lines().count(), before, "strangers fill no log: {said}");
}

#[tokio::test]
async fn broken_json_is_answered_and_the_connection_goes_on() {
    let (home, server) = serve().await;
    let (mut ada, _) = V1Client::member(server.http(), "ada", "lobby").await;
    let mut page = BasicClient::connect(server.http(), "page").await;
    page.join("lobby").await;
    let mut eve = eve(server.http(), Place::V1Member).await;
    page.expect(&Shape::join("lobby", "eve")).await;
    let before = home.stderr().lines().count();
    for (what, text, code) in broken_json() {
        assert!(text.len() <= FRAME_BYTES, "{what} is a frame");
        eve.write_all(&frame(TEXT, text.as_bytes())).await.expect("it is taken");
        let error = until(&mut eve, "error").await;
        assert_eq!(error["code"], code.as_str(), "{what}: {error}");
        assert_eq!(error["retryable"], false, "{what}");
        let told = error["message"].as_str().unwrap_or_default();
        assert!(!told.is_empty() && told.len() <= 300, "{what}: {told}");
        send(&mut eve, &json!({"type": "ping", "id": what})).await;
        assert_eq!(until(&mut eve, "pong").await["id"], what, "it goes on");
        // In `basic` there are no errors.
        page.socket.send_text(&text).await;
        page.expect_nothing_before_echo("lobby", what).await;
    }
    ada.say("lobby", "all is well").await;
    let said = home.stderr();
    assert_eq!(said.lines().count(), before, "strangers fill no log: {said}");
}

#[tokio::test]
async fn a_long_message_in_a_frame_that_fits_is_an_error() {
    let (_home, server) = serve().await;
    let most = Limits::default().message_bytes as usize;
    let (mut ada, _) = V1Client::member(server.http(), "ada", "lobby").await;
    for content in ["x".repeat(most + 1), "ä".repeat(most / 2 + 1)] {
        let error = ada.refused(&message("lobby", None, &content)).await;
        assert_eq!((error.code, error.retryable), (ErrorCode::TooLarge, false));
        assert!(error.message.contains("message_bytes"), "{}", error.message);
        // In `basic` nothing else could tell.
        let mut page = BasicClient::connect(server.http(), "page").await;
        page.join("lobby").await;
        page.say(&content).await;
        assert_eq!(page.socket.ending().await, Ending::Closed(1009));
    }
    let mut page = BasicClient::connect(server.http(), "page").await;
    page.join("lobby").await;
    ada.say("lobby", &"x".repeat(most)).await;
    page.expect(&Shape::message("lobby", "ada", &"x".repeat(most))).await;
    // What counts for a frame is its text, whatever it is cut into.
    let text = json!({"type": "message", "room": "lobby", "content": "cut"}).to_string();
    let padded = format!("{text}{}", " ".repeat(FRAME_BYTES - text.len()));
    let mut eve = eve(server.http(), Place::V1Member).await;
    let (first, rest) = padded.as_bytes().split_at(7);
    let whole = [frame(TEXT_BEGIN, first), frame(CONTINUE_END, rest)].concat();
    eve.write_all(&whole).await.expect("it is taken");
    until(&mut eve, "ack").await;
}

/// Floods from one connection until `enough` is ready, then goes on until the server closes, if it
/// has to.
async fn floods_until(mut stream: TcpStream, flood: &Flood, enough: impl Future<Output = ()>) {
    stream.write_all(&flood.begin).await.expect("it is taken");
    let (mut reads, mut writes) = stream.split();
    let writing = async { while writes.write_all(&flood.part).await.is_ok() {} };
    // It takes its pongs, so that it is not cut off for leaving them.
    let reading = async {
        let mut close = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = reads.read(&mut bytes).await {
            close = bytes[..count].to_vec();
        }
        close
    };
    let flooding = async { tokio::join!(writing, reading).1 };
    tokio::pin!(flooding);
    tokio::pin!(enough);
    let ended = tokio::select! {
        ended = &mut flooding => {
            enough.await;
            Some(ended)
        }
        () = &mut enough => None,
    };
    match (ended, flood.ends) {
        (None, false) => {}
        (Some(last), false) => panic!("{}: it is slowed, not cut off: {last:?}", flood.what),
        (ended, true) => {
            let last = match ended {
                Some(last) => last,
                None => within("the flood's end", flooding).await,
            };
            let told = String::from_utf8_lossy(&last).into_owned();
            assert!(told.contains("too_big"), "{}: {told}", flood.what);
        }
    }
}

#[tokio::test]
async fn floods_are_cut_off_or_slowed_and_others_on_the_same_worker_are_served() {
    const TRIPS: usize = 50;
    let (home, server) = serve().await;
    let before = home.stderr().lines().count();
    for flood in floods() {
        for place in [Place::BasicMember, Place::V1Member] {
            let (mut ada, _) = V1Client::member(server.http(), "ada", "calm").await;
            let eve = eve(server.http(), place).await;
            let talks = async {
                for n in 0..TRIPS {
                    ada.say("calm", &format!("{} {n}", flood.what)).await;
                }
            };
            let what = format!("the others to be served during {}, {place:?}", flood.what);
            within(what, floods_until(eve, &flood, talks)).await;
        }
    }
    let said = home.stderr();
    assert_eq!(said.lines().count(), before, "strangers fill no log: {said}");
}

/// Texts that can't be read cost as much as others: who goes on with them is told, slowed, and in
/// `chat.v1` closed.
#[tokio::test]
async fn a_flood_of_junk_ends_and_others_are_served() {
    let (_home, server) = serve().await;
    let (mut ada, _) = V1Client::member(server.http(), "ada", "calm").await;
    let eve = eve(server.http(), Place::V1Member).await;
    let (mut reads, mut writes) = eve.into_split();
    let part = frame(TEXT, b"{").repeat(500);
    let writing = tokio::spawn(async move { while writes.write_all(&part).await.is_ok() {} });
    let (mut rest, mut bytes) = (Vec::new(), [0; 4096]);
    let reading = async {
        while let Ok(count @ 1..) = reads.read(&mut bytes).await {
            rest = bytes[..count].to_vec();
        }
        rest
    };
    let talks = async {
        for n in 0..50 {
            ada.say("calm", &format!("{n}")).await;
        }
    };
    let (last, ()) = within("the end of the flood", async { tokio::join!(reading, talks) }).await;
    let told = String::from_utf8_lossy(&last).into_owned();
    assert!(told.ends_with("rate_limited"), "it is closed with the reason: {told}");
    within("the writer's end", writing).await.expect("it ends");
    match ada.request(&message("calm", None, "still here")).await {
        ServerFrame::Ack { seq: Some(seq), .. } => assert_eq!(seq.get(), 51),
        other => panic!("no ack, but {other:?}"),
    }
}

/// The same in `basic`, over WebSocket and over lines, where messages have no limit by default: the
/// peer is read ever more slowly, and not closed.
#[tokio::test]
async fn a_flood_of_junk_in_basic_is_read_ever_more_slowly() {
    let home = Home::default();
    let server = Server::start(&home, &Spec::default().workers(1).lines()).await;
    let mut page = BasicClient::connect(server.http(), "page").await;
    page.join("lobby").await;
    // What is borne at once, and as much again as costs more than four minutes.
    let (borne, more) = (500, 200);
    let join = br#"{"type":"join","room":"lobby"}"#;
    let mut eve = eve(server.http(), Place::BasicAtOnce).await;
    let mut lines = LinesClient::connect(server.lines()).await;
    let flood = [frame(TEXT, b"{").repeat(borne + more), frame(TEXT, join)].concat();
    eve.write_all(&flood).await.expect("it is taken");
    lines.send_raw(&[b"{\n".repeat(borne + more), join.to_vec(), b"\n".to_vec()].concat()).await;
    for n in 0..200 {
        page.expect_nothing_before_echo("lobby", &format!("{n}")).await;
    }
    // Both are still connected, and so is who has sent almost as much and then speaks sense.
    let mut bytes = [0];
    assert_eq!(eve.try_read(&mut bytes).expect_err("open").kind(), ErrorKind::WouldBlock);
    let mut calm = LinesClient::connect(server.lines()).await;
    calm.send_raw(&[b"{\n".repeat(borne - 2), join.to_vec(), b"\n".to_vec()].concat()).await;
    page.expect(&Shape::join("lobby", "anonymous")).await;
    lines.send("{}").await;
}
