//! How connections end, and what the others see of it.
use chat_proto::Limits;
use chat_tests::client::{BasicClient, Ending, Shape};
use chat_tests::process::Spec;
use chat_tests::wait::within;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::{on_workers, serve};

on_workers! {
    a_member_that_is_cut_off_leaves_with_a_notice
    a_member_that_closes_leaves_with_a_notice
    a_frame_over_the_limit_closes_with_1009
    a_stuck_reader_is_cut_off_and_the_others_get_everything
}

async fn a_member_that_is_cut_off_leaves_with_a_notice(spec: Spec) {
    let running = serve(spec).await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    bob.join("lobby").await;
    for _ in 0..4 {
        let mut ada = BasicClient::connect(running.server.http(), "ada").await;
        ada.join("lobby").await;
        bob.expect(&Shape::join("lobby", "ada")).await;
        ada.socket.reset();
        bob.expect(&Shape::leave("lobby", "ada")).await;
    }
    bob.expect_nothing_before_echo("lobby", "one leave each").await;
}

async fn a_member_that_closes_leaves_with_a_notice(spec: Spec) {
    let running = serve(spec).await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    bob.join("lobby").await;
    for _ in 0..4 {
        let mut ada = BasicClient::connect(running.server.http(), "ada").await;
        ada.join("lobby").await;
        bob.expect(&Shape::join("lobby", "ada")).await;
        // What was said before the close is said.
        ada.say("bye").await;
        ada.socket.close().await;
        bob.expect(&Shape::message("lobby", "ada", "bye")).await;
        bob.expect(&Shape::leave("lobby", "ada")).await;
    }
    // A connection outside a room ends without a word.
    BasicClient::connect(running.server.http(), "eve").await.socket.close().await;
    bob.expect_nothing_before_echo("lobby", "one leave each").await;
}

/// Makes a message whose frame has this many bytes, most of them in a field that nobody reads.
fn padded(bytes: usize) -> String {
    let (head, tail) = (r#"{"type":"message","content":"padded","pad":""#, r#""}"#);
    format!("{head}{}{tail}", "x".repeat(bytes - head.len() - tail.len()))
}

async fn a_frame_over_the_limit_closes_with_1009(spec: Spec) {
    let limit = Limits::default().frame_bytes as usize;
    let running = serve(spec).await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    bob.join("lobby").await;
    let whole = |bytes| vec![Message::text(padded(bytes))];
    let fragments = |bytes| {
        let text = padded(bytes).into_bytes();
        let (first, second) = text.split_at(text.len() / 2);
        let frame = |bytes: &[u8], kind, last| {
            Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(kind), last))
        };
        vec![frame(first, Data::Text, false), frame(second, Data::Continue, true)]
    };
    let sends: [&dyn Fn(usize) -> Vec<Message>; 2] = [&whole, &fragments];
    for send in sends {
        let mut ada = BasicClient::connect(running.server.http(), "ada").await;
        ada.join("lobby").await;
        bob.expect(&Shape::join("lobby", "ada")).await;
        for message in send(limit) {
            ada.socket.send(message).await;
        }
        ada.expect(&Shape::message("lobby", "ada", "padded")).await;
        bob.expect(&Shape::message("lobby", "ada", "padded")).await;
        for message in send(limit + 1) {
            ada.socket.send(message).await;
        }
        assert_eq!(ada.socket.ending().await, Ending::Closed(1009));
        bob.expect(&Shape::leave("lobby", "ada")).await;
    }
    // Far over it, and announced only: the end comes before the bytes do.
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    ada.join("lobby").await;
    bob.expect(&Shape::join("lobby", "ada")).await;
    ada.socket.send(Message::text(padded(64 * limit))).await;
    assert_eq!(ada.socket.ending().await, Ending::Closed(1009));
    bob.expect(&Shape::leave("lobby", "ada")).await;
}

#[tokio::test]
async fn a_text_that_is_not_utf8_closes_with_1007() {
    let running = serve(Spec::default()).await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    bob.join("lobby").await;
    ada.join("lobby").await;
    bob.expect(&Shape::join("lobby", "ada")).await;
    let bytes = b"{\"type\":\"message\",\"content\":\"\xff\"}".to_vec();
    let frame = Frame::message(bytes, OpCode::Data(Data::Text), true);
    ada.socket.send(Message::Frame(frame)).await;
    assert_eq!(ada.socket.ending().await, Ending::Closed(1007));
    bob.expect(&Shape::leave("lobby", "ada")).await;
}

#[tokio::test]
async fn a_websocket_ping_is_answered_with_its_pong() {
    let running = serve(Spec::default()).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    for payload in ["", "in no room", &"x".repeat(125)] {
        ada.socket.send(Message::Ping(payload.to_owned().into())).await;
        let pong = within("the pong", ada.socket.next()).await;
        assert_eq!(pong, Some(Message::Pong(payload.to_owned().into())));
    }
    ada.join("lobby").await;
    ada.socket.send(Message::Ping("in a room".into())).await;
    let pong = within("the pong", ada.socket.next()).await;
    assert_eq!(pong, Some(Message::Pong("in a room".into())));
}

/// The stuck one has a tiny receive buffer and stops reading. The talker goes on only when all who
/// read have got the last message, so nobody else is ever late.
async fn a_stuck_reader_is_cut_off_and_the_others_get_everything(spec: Spec) {
    // The kernel buffers some megabytes for a connection before the server's own outbox fills.
    const MESSAGES_MAX: usize = 4000;
    let spec = spec.limit("outbox_high_bytes", 32_768).limit("outbox_bytes", 65_536);
    let running = serve(spec).await;
    let http = running.server.http();
    let mut readers = Vec::new();
    for n in 0..3 {
        let mut reader = BasicClient::connect(http, &format!("reader{n}")).await;
        reader.join("lobby").await;
        readers.push(reader);
    }
    let mut stuck = BasicClient::connect_narrow(http, "stuck").await;
    stuck.join("lobby").await;
    for reader in &mut readers {
        reader.until(&Shape::join("lobby", "stuck")).await;
    }
    let leave = Shape::leave("lobby", "stuck");
    let mut told = vec![false; readers.len()];
    let mut said = 0;
    while !told.iter().any(|told| *told) {
        assert!(said < MESSAGES_MAX, "the stuck reader is never cut off");
        let content = format!("{said} {}", "x".repeat(8000));
        readers[0].say(&content).await;
        said += 1;
        for (reader, told) in readers.iter_mut().zip(&mut told) {
            let mut next = reader.next().await;
            if next == leave && !*told {
                *told = true;
                next = reader.next().await;
            }
            assert_eq!(next, Shape::message("lobby", "reader0", &content));
        }
    }
    for (reader, told) in readers.iter_mut().zip(&told) {
        if !told {
            reader.expect(&leave).await;
        }
    }
    // It may read what was on its way, but then it ends.
    let ending = stuck.socket.ending().await;
    assert!(matches!(ending, Ending::Closed(4200) | Ending::Cut(_)), "{ending:?}");
    for reader in &mut readers[1..] {
        let own = Shape::message("lobby", reader.name(), "we go on");
        reader.say("we go on").await;
        reader.until(&own).await;
    }
}
