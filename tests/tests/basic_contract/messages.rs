//! What is said: who gets it, and what is dropped without a word.
use chat_tests::client::{BasicClient, Shape};
use chat_tests::process::Spec;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::{on_workers, serve};

on_workers! {
    a_message_goes_to_the_sender_and_the_members_of_its_room_only
    a_message_right_after_join_is_not_lost
}

async fn a_message_goes_to_the_sender_and_the_members_of_its_room_only(spec: Spec) {
    let running = serve(spec).await;
    let mut inside = Vec::new();
    let mut outside = Vec::new();
    for n in 0..4 {
        let mut member = BasicClient::connect(running.server.http(), &format!("in{n}")).await;
        member.join("inside").await;
        inside.push(member);
        let mut other = BasicClient::connect(running.server.http(), &format!("out{n}")).await;
        other.join(&format!("outside {n}")).await;
        outside.push(other);
    }
    inside[0].say("hello").await;
    for member in &mut inside {
        let before = member.until(&Shape::message("inside", "in0", "hello")).await;
        assert!(before.iter().all(|frame| frame.kind == "join"), "{before:?}");
    }
    for (n, other) in outside.iter_mut().enumerate() {
        other.expect_nothing_before_echo(&format!("outside {n}"), "nothing came").await;
    }
}

async fn a_message_right_after_join_is_not_lost(spec: Spec) {
    let running = serve(spec).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    let frames: Vec<String> = (0..50)
        .flat_map(|n| {
            let room = format!("room {n}");
            let content = format!("said in {room}");
            [
                json!({"type": "join", "room": room}).to_string(),
                json!({"type": "message", "content": content}).to_string(),
            ]
        })
        .collect();
    // Each message has to be in the log of the room it was said in, and shown to its sender
    // there, or not at all if the sender has left by then: what counts is the last room.
    ada.socket.send_burst(frames[..2].iter().map(String::as_str)).await;
    ada.expect(&Shape::join("room 0", "ada")).await;
    ada.expect(&Shape::message("room 0", "ada", "said in room 0")).await;
    for n in 1..50 {
        let pair = &frames[2 * n..2 * n + 2];
        ada.socket.send_burst(pair.iter().map(String::as_str)).await;
        let room = format!("room {n}");
        ada.expect(&Shape::join(&room, "ada")).await;
        ada.expect(&Shape::message(&room, "ada", &format!("said in {room}"))).await;
    }
}

#[tokio::test]
async fn a_room_on_a_message_or_a_leave_is_ignored() {
    let running = serve(Spec::default()).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    bob.join("other").await;
    ada.join("lobby").await;
    for room in ["other", "", "@bad"] {
        let frame = json!({"type": "message", "room": room, "content": "x"});
        ada.socket.send_text(&frame.to_string()).await;
        ada.expect(&Shape::message("lobby", "ada", "x")).await;
    }
    bob.expect_nothing_before_echo("other", "nothing came").await;
    ada.socket.send_text(r#"{"type":"leave","room":"other"}"#).await;
    ada.say("outside now").await;
    ada.join("lobby").await;
    ada.expect_nothing_before_echo("lobby", "the leave counted").await;
}

#[tokio::test]
async fn missing_fields_are_legal() {
    let running = serve(Spec::default()).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    ada.join("lobby").await;
    ada.socket.send_text("{}").await;
    ada.socket.send_text(r#"{"type":"join"}"#).await;
    ada.socket.send_text(r#"{"type":"message"}"#).await;
    ada.expect(&Shape::message("lobby", "ada", "")).await;
    let whole = r#"{"type":"message","room":"","username":"","content":"all four","more":[1]}"#;
    ada.socket.send_text(whole).await;
    ada.expect(&Shape::message("lobby", "ada", "all four")).await;
}

#[tokio::test]
async fn a_message_outside_a_room_is_dropped() {
    let running = serve(Spec::default()).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    bob.join("lobby").await;
    ada.say("before any room").await;
    ada.leave().await;
    ada.join("lobby").await;
    bob.expect(&Shape::join("lobby", "ada")).await;
    ada.leave().await;
    bob.expect(&Shape::leave("lobby", "ada")).await;
    ada.say("after the room").await;
    ada.join("lobby").await;
    bob.expect(&Shape::join("lobby", "ada")).await;
    ada.expect_nothing_before_echo("lobby", "in a room").await;
}

#[tokio::test]
async fn unknown_types_and_bad_json_are_dropped_without_closing() {
    let running = serve(Spec::default()).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    bob.join("lobby").await;
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let objects = format!("{}1{}", "{\"type\":".repeat(1000), "}".repeat(1000));
    let junk = [
        "",
        " ",
        "null",
        "[]",
        "7",
        "\"join\"",
        "{",
        "}",
        "{}",
        "not json at all",
        r#"{"type":null}"#,
        r#"{"type":"dance"}"#,
        r#"{"type":"JOIN","room":"elsewhere"}"#,
        r#"{"type":"rooms","id":"1"}"#,
        r#"{"type":"history","id":"1","room":"lobby"}"#,
        r#"{"type":"typing","room":"lobby"}"#,
        r#"{"type":"ping","id":"1"}"#,
        // Only a *first* frame `hello` chooses another dialect.
        r#"{"type":"hello","id":"1","name":"eve"}"#,
        r#"{"type":"join","room":7}"#,
        r#"{"type":"join","room":["elsewhere"]}"#,
        r#"{"type":"message","content":7}"#,
        r#"{"type":"message","content":"\ud800"}"#,
        r#"{"type":"message","content":"\u0000"}"#,
        r#"{"type":"message","type":"leave","content":"x"}"#,
        "{\"type\":\"message\",\"content\":\"a raw \n line feed\"}",
        "{\"type\":\"message\",\"content\":\"x\"}\n{\"type\":\"leave\"}",
        &deep,
        &objects,
    ];
    for text in junk {
        ada.socket.send_text(text).await;
    }
    ada.join("lobby").await;
    bob.expect(&Shape::join("lobby", "ada")).await;
    for text in junk {
        ada.socket.send_text(text).await;
        ada.expect_nothing_before_echo("lobby", "still here").await;
        bob.expect(&Shape::message("lobby", "ada", "still here")).await;
    }
}

#[tokio::test]
async fn contents_are_carried_as_sent() {
    let running = serve(Spec::default()).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    ada.join("lobby").await;
    bob.join("lobby").await;
    ada.expect(&Shape::join("lobby", "bob")).await;
    let long = "ä".repeat(4096);
    for content in [
        "x",
        " spaces  kept ",
        "\t\r\n",
        "\"quotes\" and \\backslashes\\ and /slashes/",
        "\u{1}\u{7f}\u{85}\u{feff}",
        "\u{2028}\u{2029}",
        "e\u{301} is not é",
        "\u{202e}backwards",
        "👩‍👩‍👧‍👦 🇺🇳 名前 עברית",
        "\u{10ffff}",
        "<img src=x onerror=alert(1)>",
        r#"{"type":"leave"}"#,
        &long,
    ] {
        ada.say(content).await;
        for member in [&mut ada, &mut bob] {
            member.expect(&Shape::message("lobby", "ada", content)).await;
        }
    }
    let escaped = r#"{"type":"message","content":"\u0041\ud83e\udd80\/"}"#;
    ada.socket.send_text(escaped).await;
    bob.expect(&Shape::message("lobby", "ada", "A🦀/")).await;
}

/// A page never sends one, so it may be dropped or be answered with the close code that says what
/// was wrong; but it is never taken for a frame.
#[tokio::test]
async fn a_binary_frame_is_not_taken() {
    let running = serve(Spec::default()).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    bob.join("lobby").await;
    ada.join("lobby").await;
    bob.expect(&Shape::join("lobby", "ada")).await;
    let frame = r#"{"type":"message","content":"in binary"}"#;
    ada.socket.send(Message::binary(frame.as_bytes().to_vec())).await;
    // The server may have closed by now; then this fails, and the notice below tells.
    let text = r#"{"type":"message","content":"in text"}"#;
    let sent = ada.socket.try_send(Message::text(text)).await;
    let next = bob.next().await;
    if next == Shape::leave("lobby", "ada") {
        let ending = ada.socket.ending().await;
        assert_eq!(ending, chat_tests::client::Ending::Closed(1003));
    } else {
        sent.expect("the connection goes on");
        assert_eq!(next, Shape::message("lobby", "ada", "in text"));
    }
}
