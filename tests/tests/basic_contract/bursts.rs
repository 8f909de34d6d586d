//! Many messages at once: one JSON value a text frame, always, and one order for all.
use std::collections::BTreeMap;

use chat_proto::{Request, ServerFrame};
use chat_tests::client::{BasicClient, Shape, V1Client, message, name};
use chat_tests::process::Spec;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{on_workers, serve};

on_workers! {
    a_burst_arrives_one_object_a_frame_and_in_order
    bursts_of_many_have_one_order_for_all
    only_the_four_field_shape_ever_appears
}

fn said(content: &str) -> String {
    json!({"type": "message", "content": content}).to_string()
}

/// Lets `count` members join one room; each has seen all others.
async fn members(http: std::net::SocketAddr, room: &str, count: usize) -> Vec<BasicClient> {
    let mut members: Vec<BasicClient> = Vec::new();
    for n in 0..count {
        let mut newcomer = BasicClient::connect(http, &format!("m{n}")).await;
        newcomer.join(room).await;
        for member in &mut members {
            member.expect(&Shape::join(room, newcomer.name())).await;
        }
        members.push(newcomer);
    }
    members
}

async fn a_burst_arrives_one_object_a_frame_and_in_order(spec: Spec) {
    const BURST: usize = 1000;
    let running = serve(spec).await;
    let mut all = members(running.server.http(), "lobby", 6).await;
    let frames: Vec<String> = (0..BURST).map(|n| said(&format!("number {n}"))).collect();
    // The readers wait until all is sent: what queues for them must not be glued together.
    all[0].socket.send_burst(frames.iter().map(String::as_str)).await;
    let mut readers = JoinSet::new();
    for mut member in all {
        readers.spawn(async move {
            for n in 0..BURST {
                member.expect(&Shape::message("lobby", "m0", &format!("number {n}"))).await;
            }
            member
        });
    }
    let all = readers.join_all().await;
    assert_eq!(all.len(), 6);
}

async fn bursts_of_many_have_one_order_for_all(spec: Spec) {
    const MEMBERS: usize = 6;
    const EACH: usize = 150;
    let running = serve(spec).await;
    let all = members(running.server.http(), "lobby", MEMBERS).await;
    let mut tasks = JoinSet::new();
    for mut member in all {
        tasks.spawn(async move {
            let frames: Vec<String> = (0..EACH).map(|n| said(&n.to_string())).collect();
            member.socket.send_burst(frames.iter().map(String::as_str)).await;
            let mut seen = Vec::new();
            for _ in 0..MEMBERS * EACH {
                seen.push(member.next().await);
            }
            // Kept, or the others would see a leave among the messages.
            (member, seen)
        });
    }
    let (_members, seen): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().unzip();
    let order = &seen[0];
    assert!(seen.iter().all(|other| other == order), "the members saw different orders");
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    for frame in order {
        let expected = next.entry(&frame.username).or_default();
        assert_eq!(frame.content, expected.to_string(), "{}'s own order", frame.username);
        *expected += 1;
    }
    assert!(next.len() == MEMBERS && next.values().all(|&count| count == EACH), "{next:?}");
}

/// All that can happen around a `basic` member, while it reads: the parser of its frames refuses
/// whatever is not exactly type, room, username and content.
async fn only_the_four_field_shape_ever_appears(spec: Spec) {
    let running = serve(spec).await;
    let http = running.server.http();
    let mut page = BasicClient::connect(http, "page").await;
    page.join("lobby").await;
    for round in 0..5 {
        let mut ada = BasicClient::connect(http, "ada").await;
        ada.join("lobby").await;
        ada.say("from basic").await;
        let (mut bob, _) = V1Client::member(http, "bob", "lobby").await;
        for active in [true, false] {
            let typing = Request::Typing { room: name("lobby"), active };
            let reply = bob.request(&typing).await;
            assert!(matches!(reply, ServerFrame::Ack { seq: None, .. }), "{reply:?}");
        }
        let keyed = message("lobby", Some(&format!("key {round}")), "keyed, and an answer");
        let Request::Message { room, key, content, .. } = keyed else { unreachable!() };
        let reply_to = chat_proto::Seq::new(1);
        bob.request(&Request::Message { room, key, content, reply_to }).await;
        let error = bob.refused(&message("elsewhere", None, "not a member")).await;
        assert_eq!(error.code, chat_proto::ErrorCode::NotMember);
        for junk in ["{", r#"{"type":"dance"}"#, r#"{"type":"ping"}"#, r#"{"type":"join"}"#] {
            page.socket.send_text(junk).await;
        }
        if round % 2 == 0 {
            bob.leave("lobby").await;
            ada.socket.reset();
        } else {
            bob.socket.reset();
            ada.leave().await;
        }
        page.say(&format!("end of round {round}")).await;
        let end = Shape::message("lobby", "page", &format!("end of round {round}"));
        let mut kinds: Vec<String> = page.until(&end).await.into_iter().map(|f| f.kind).collect();
        // The last leave may come after our own message.
        while kinds.iter().filter(|kind| *kind == "leave").count() < 2 {
            kinds.push(page.next().await.kind);
        }
        kinds.sort();
        assert_eq!(kinds, ["join", "join", "leave", "leave", "message", "message"]);
    }
}
