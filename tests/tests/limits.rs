//! Limits and refusals of `chat.v1` on the wire, and how a server leaves service.
use chat_proto::{ErrorCode, LimitValues, Limits, Request, ServerFrame};
use chat_simulation::history_check::Logged;
use chat_tests::client::{BasicClient, Ending, LinesClient, Shape, V1Client, message, name};
use chat_tests::process::{Home, Log, Server, Spec};
use chat_tests::wait::within;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

async fn serve(spec: &Spec) -> (Home, Server) {
    let home = Home::default();
    let server = Server::start(&home, spec).await;
    (home, server)
}

fn error(frame: ServerFrame) -> chat_proto::ErrorBody {
    match frame {
        ServerFrame::Error(error) => *error,
        other => panic!("no error, but {other:?}"),
    }
}

#[tokio::test]
async fn welcome_states_the_limits() {
    let mut expected = LimitValues::default();
    let mut spec = Spec::default();
    // Each limit gets a value of its own, so that none can stand in for another.
    for (offset, &(name, _, default, min, max)) in (1..).zip(Limits::TABLE) {
        let value = if default + offset <= max { default + offset } else { max };
        assert!(value >= min);
        expected.set(name, value).expect("a limit").expect("within its type");
        spec = spec.limit(name, value);
    }
    let (_home, server) = serve(&spec).await;
    let (_client, welcome) = V1Client::hello(server.http(), "ada").await;
    assert_eq!(welcome.limits, expected);
    assert_eq!(&*welcome.name, "ada");
    assert!(welcome.heartbeat_ms > 0 && !welcome.resumed);
}

#[tokio::test]
async fn a_long_message_is_too_large_and_the_connection_goes_on() {
    let spec = Spec::default().limit("message_bytes", 100);
    let (_home, server) = serve(&spec).await;
    let (mut ada, _) = V1Client::member(server.http(), "ada", "lobby").await;
    // Bytes are counted, not characters.
    for content in ["x".repeat(101), "ä".repeat(51)] {
        let error = ada.refused(&message("lobby", None, &content)).await;
        assert_eq!((error.code, error.retryable), (ErrorCode::TooLarge, false));
    }
    for content in ["", "a\0b"] {
        let error = ada.refused(&message("lobby", None, content)).await;
        assert_eq!(error.code, ErrorCode::InvalidContent);
    }
    assert_eq!(ada.say("lobby", &"ä".repeat(50)).await.get(), 1);
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_with_1009() {
    let (_home, server) = serve(&Spec::default()).await;
    let (mut ada, _) = V1Client::hello(server.http(), "ada").await;
    let limit = Limits::default().frame_bytes as usize;
    ada.socket.send_text(&"x".repeat(limit + 1)).await;
    assert_eq!(ada.socket.ending().await, Ending::Closed(1009));
}

#[tokio::test]
async fn a_binary_frame_closes_with_1003() {
    let (_home, server) = serve(&Spec::default()).await;
    let (mut ada, _) = V1Client::hello(server.http(), "ada").await;
    ada.socket.send(Message::binary(br#"{"type":"ping","id":"1"}"#.to_vec())).await;
    assert_eq!(ada.socket.ending().await, Ending::Closed(1003));
}

#[tokio::test]
async fn who_is_over_the_budget_is_told_when_to_come_back() {
    let spec = Spec::default().limit("messages_per_10s", 20);
    let (_home, server) = serve(&spec).await;
    let (mut ada, _) = V1Client::member(server.http(), "ada", "lobby").await;
    let (mut bob, _) = V1Client::member(server.http(), "bob", "lobby").await;
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(ada.send(&message("lobby", None, &n.to_string())).await);
    }
    let mut acked = Vec::new();
    let mut limited = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        match ada.reply(id).await {
            ServerFrame::Ack { seq: Some(_), .. } => acked.push(n.to_string()),
            other => limited.push(error(other)),
        }
    }
    // Joining has cost a part of a message, and some of the budget may have grown back.
    assert!((18..=25).contains(&acked.len()), "{} of 30 were taken", acked.len());
    for error in &limited {
        assert_eq!((error.code, error.retryable), (ErrorCode::RateLimited, true));
        let wait = error.retry_after_ms.expect("it says when to come back");
        assert!((1..=10_000).contains(&wait), "{wait} ms");
    }
    // What was refused is nowhere; one's budget is no other's.
    bob.say("lobby", "my budget is my own").await;
    let mut shown = Vec::new();
    while shown.len() <= acked.len() {
        shown.push(Logged::from(&*bob.next_entry().await).content);
    }
    assert_eq!(shown.pop().as_deref(), Some("my budget is my own"));
    assert_eq!(shown, acked);
}

#[tokio::test]
async fn who_stays_over_the_budget_is_closed_with_4129() {
    let spec = Spec::default().limit("messages_per_10s", 20);
    let (_home, server) = serve(&spec).await;
    let (mut ada, _) = V1Client::member(server.http(), "ada", "lobby").await;
    let frame = message("lobby", None, "again and again").encode(None);
    let mut sent = 0;
    // It reads every answer: that it is cut off is not for being slow.
    within("the server to have enough of it", async {
        while ada.socket.try_send(Message::text(frame.clone())).await.is_ok() {
            sent += 1;
            loop {
                match ada.next_untimed().await {
                    None => return,
                    Some(ServerFrame::Ack { .. } | ServerFrame::Error(_)) => break,
                    Some(_) => {}
                }
            }
        }
    })
    .await;
    let ending = ada.socket.ending().await;
    assert_eq!(ending, Ending::Closed(4129), "after {sent} messages");
}

#[tokio::test]
async fn a_session_may_have_so_many_rooms() {
    let spec = Spec::default().limit("rooms", 3);
    let (_home, server) = serve(&spec).await;
    let (mut ada, _) = V1Client::hello(server.http(), "ada").await;
    for room in ["a", "b", "c"] {
        ada.join(room, 0).await;
    }
    let error = ada.refused(&Request::Join { room: name("d"), history: 0 }).await;
    assert_eq!(error.code, ErrorCode::TooManyRooms);
    // Being in a room already costs no place, leaving one gives it back.
    ada.join("A", 0).await;
    ada.leave("b").await;
    ada.join("d", 0).await;
}

#[tokio::test]
async fn a_room_takes_so_many_members() {
    let spec = Spec::default().limit("members", 2);
    let (_home, server) = serve(&spec).await;
    let (_ada, _) = V1Client::member(server.http(), "ada", "lobby").await;
    let (mut bob, _) = V1Client::member(server.http(), "bob", "lobby").await;
    let (mut eve, _) = V1Client::hello(server.http(), "eve").await;
    let join = Request::Join { room: name("lobby"), history: 0 };
    let error = eve.refused(&join).await;
    assert_eq!((error.code, error.retryable), (ErrorCode::RoomFull, true));
    bob.leave("lobby").await;
    eve.join("lobby", 0).await;
}

#[tokio::test]
async fn only_members_may_speak_read_and_look() {
    let (_home, server) = serve(&Spec::default()).await;
    let (mut ada, _) = V1Client::member(server.http(), "ada", "lobby").await;
    ada.say("lobby", "among us").await;
    let (mut eve, _) = V1Client::hello(server.http(), "eve").await;
    let room = || name("lobby");
    let range = chat_proto::HistoryRange::Latest;
    for request in [
        message("lobby", None, "from outside"),
        Request::History { room: room(), range, limit: None },
        Request::Members { room: room() },
        Request::Typing { room: room(), active: true },
    ] {
        let error = eve.refused(&request).await;
        assert_eq!((error.code, error.retryable), (ErrorCode::NotMember, false), "{request:?}");
    }
}

#[tokio::test]
async fn a_broken_name_is_refused_with_the_id() {
    let (_home, server) = serve(&Spec::default()).await;
    let (mut ada, _) = V1Client::hello(server.http(), "ada").await;
    for room in ["", " ", "@Ada", "~x", "a\u{202e}b", &"x".repeat(65)] {
        let text = json!({"type": "join", "id": "my id", "room": room}).to_string();
        let error = error(ada.request_text(&text, "my id").await);
        assert_eq!((error.code, error.retryable), (ErrorCode::InvalidName, false), "{room:?}");
        assert!(error.message.contains("room"), "it names the field: {}", error.message);
    }
}

#[tokio::test]
async fn bad_json_is_answered_with_its_place_and_unknown_types_with_their_id() {
    let (_home, server) = serve(&Spec::default()).await;
    let (mut ada, _) = V1Client::hello(server.http(), "ada").await;
    ada.socket.send_text(r#"{"type":"join","id":}"#).await;
    let broken = error(ada.next().await);
    assert_eq!((broken.code, broken.id), (ErrorCode::BadFrame, None));
    assert!(broken.message.contains("column 21"), "{}", broken.message);
    let typed = r#"{"type":"join","id":"7","room":7}"#;
    let wrong = error(ada.request_text(typed, "7").await);
    assert_eq!(wrong.code, ErrorCode::BadFrame);
    let unknown = r#"{"type":"dance","id":"8","room":"lobby"}"#;
    let unknown = error(ada.request_text(unknown, "8").await);
    assert_eq!((unknown.code, unknown.retryable), (ErrorCode::UnknownType, false));
    ada.join("lobby", 0).await;
}

#[tokio::test]
async fn hello_comes_first_and_once() {
    let (_home, server) = serve(&Spec::default()).await;
    let mut early = V1Client::connect(server.http()).await;
    let early = error(early.request(&Request::Join { room: name("lobby"), history: 0 }).await);
    assert_eq!(early.code, ErrorCode::HelloExpected);
    let (mut ada, _) = V1Client::hello(server.http(), "ada").await;
    let again = Request::Hello { name: None, token: None, features: Vec::new(), resume: None };
    assert_eq!(ada.refused(&again).await.code, ErrorCode::AlreadyWelcome);
    ada.join("lobby", 0).await;
}

/// A key sent again gets the first reply again; with other words it is refused.
#[tokio::test]
async fn a_key_names_one_send() {
    let (_home, server) = serve(&Spec::default().log(Log::Sqlite)).await;
    let (mut ada, _) = V1Client::member(server.http(), "ada", "lobby").await;
    let request = message("lobby", Some("k"), "once");
    let ServerFrame::Ack { seq: first, duplicate, .. } = ada.request(&request).await else {
        panic!("no ack");
    };
    assert!(!duplicate);
    let ServerFrame::Ack { seq, duplicate, .. } = ada.request(&request).await else {
        panic!("no ack");
    };
    assert_eq!((seq, duplicate), (first, true));
    let error = ada.refused(&message("lobby", Some("k"), "twice")).await;
    assert_eq!(error.code, ErrorCode::IdempotencyConflict);
    assert_eq!(ada.history("lobby").await.len(), 1);
}

#[tokio::test]
async fn lines_speak_both_dialects() {
    let (_home, server) = serve(&Spec::default().lines()).await;
    let mut page = BasicClient::connect(server.http(), "page").await;
    page.join("lobby").await;
    let mut basic = LinesClient::connect(server.lines()).await;
    // Two frames at once, and one in pieces: lines are lines, however they arrive.
    basic.send_raw(b"{\"type\":\"join\",\"room\":\"lobby\"}\n{\"type\":\"mess").await;
    let joined = basic.next().await.expect("a line");
    assert_eq!(Shape::parse(&joined), Ok(Shape::join("lobby", "anonymous")));
    basic.send_raw(b"age\",\"content\":\"in pieces\"}\r\n").await;
    let said = basic.next().await.expect("a line");
    assert_eq!(Shape::parse(&said), Ok(Shape::message("lobby", "anonymous", "in pieces")));
    page.until(&Shape::message("lobby", "anonymous", "in pieces")).await;
    let mut v1 = LinesClient::connect(server.lines()).await;
    v1.send(r#"{"type":"hello","id":"0","name":"ada"}"#).await;
    let welcome: Value = serde_json::from_str(&v1.next().await.expect("a line")).expect("JSON");
    assert_eq!((&welcome["type"], &welcome["id"]), (&json!("welcome"), &json!("0")));
    v1.send(r#"{"type":"join","id":"1","room":"lobby","history":1}"#).await;
    let joined: Value = serde_json::from_str(&v1.next().await.expect("a line")).expect("JSON");
    assert_eq!(joined["events"][0]["content"], json!("in pieces"));
    page.expect(&Shape::join("lobby", "ada")).await;
    v1.shutdown().await;
    page.expect(&Shape::leave("lobby", "ada")).await;
}

/// A drain tells everybody when to come back, closes with 4100, ends with 0, and keeps what it
/// has acked.
#[tokio::test]
async fn a_drain_says_bye_and_keeps_what_was_acked() {
    let home = Home::default();
    let spec = Spec::default().workers(2).log(Log::Sqlite).flag("--drain-timeout", "5");
    let mut server = Server::start(&home, &spec).await;
    let mut page = BasicClient::connect(server.http(), "page").await;
    page.join("lobby").await;
    let mut clients = Vec::new();
    for n in 0..6 {
        clients.push(V1Client::member(server.http(), &format!("m{n}"), "lobby").await.0);
    }
    for (client, _) in clients.iter_mut().zip(0..3) {
        for n in 0..40 {
            client.send(&message("lobby", None, &format!("before the end {n}"))).await;
        }
    }
    server.terminate();
    let mut acked = 0;
    for client in &mut clients {
        let mut bye = None;
        while let Some(frame) = within("bye and the end", client.next_untimed()).await {
            match frame {
                // What was under way still comes; a second `bye` would be a contradiction.
                ServerFrame::Bye { .. } if bye.is_some() => panic!("after bye came {frame:?}"),
                ServerFrame::Ack { seq: Some(_), .. } => acked += 1,
                ServerFrame::Bye { code, reconnect, after_ms } => {
                    assert_eq!((code.as_str(), reconnect), ("draining", true));
                    bye = Some(after_ms);
                }
                ServerFrame::Error(error) => assert_eq!(error.code, ErrorCode::Draining),
                ServerFrame::Entry(_)
                | ServerFrame::Join { .. }
                | ServerFrame::Leave { .. }
                | ServerFrame::Presence { .. }
                | ServerFrame::Members { id: None, .. } => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
        assert!(
            bye.is_some_and(|after_ms| after_ms <= 60_000),
            "no bye, or a strange one: {bye:?}"
        );
        assert_eq!(client.socket.ending().await, Ending::Closed(4100));
    }
    assert_eq!(page.socket.ending().await, Ending::Closed(4100));
    let status = server.ended().await;
    assert_eq!(status.code(), Some(0), "{status}");
    let server = Server::start(&home, &spec).await;
    let (mut reader, _) = V1Client::member(server.http(), "reader", "lobby").await;
    let kept = reader.history("lobby").await.len();
    assert!((acked..=120).contains(&kept), "{acked} were acked, {kept} were kept");
    server.stop().await;
}

/// The drain waits for connections, not for its own timeout.
#[tokio::test]
async fn a_drain_with_nobody_there_ends_at_once() {
    let home = Home::default();
    let spec = Spec::default().flag("--drain-timeout", "3600");
    Server::start(&home, &spec).await.stop().await;
}
