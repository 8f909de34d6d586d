//! One current room: joins, leaves and their notices.
use chat_proto::ServerFrame;
use chat_tests::client::{BasicClient, Shape, V1Client, name};
use chat_tests::process::Spec;
use chat_tests::wait::eventually;

use crate::{on_workers, serve};

on_workers! {
    a_joiner_and_the_others_get_the_join_notice
    the_others_get_the_leave_notice_but_not_the_one_who_leaves
    a_join_leaves_the_old_room
    joining_the_current_room_again_is_a_no_op
    an_emptied_room_is_forgotten
}

async fn a_joiner_and_the_others_get_the_join_notice(spec: Spec) {
    let running = serve(spec).await;
    let mut members: Vec<BasicClient> = Vec::new();
    for n in 0..8 {
        let mut newcomer = BasicClient::connect(running.server.http(), &format!("m{n}")).await;
        newcomer.send_join("lobby").await;
        let notice = Shape {
            kind: "join".into(),
            room: "lobby".into(),
            username: format!("m{n}"),
            content: format!("m{n} joined the room"),
        };
        newcomer.expect(&notice).await;
        for member in &mut members {
            member.expect(&notice).await;
        }
        members.push(newcomer);
    }
}

async fn the_others_get_the_leave_notice_but_not_the_one_who_leaves(spec: Spec) {
    let running = serve(spec).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    let mut others = Vec::new();
    ada.join("lobby").await;
    for n in 0..6 {
        let name = format!("m{n}");
        let mut other = BasicClient::connect(running.server.http(), &name).await;
        other.join("lobby").await;
        ada.expect(&Shape::join("lobby", &name)).await;
        others.push(other);
    }
    ada.leave().await;
    let notice = Shape {
        kind: "leave".into(),
        room: "lobby".into(),
        username: "ada".into(),
        content: "ada left the room".into(),
    };
    for other in &mut others {
        other.until(&notice).await;
    }
    // A second leave is a leave outside a room: nothing happens, to nobody.
    ada.leave().await;
    ada.join("elsewhere").await;
    ada.expect_nothing_before_echo("elsewhere", "no notice of my own leave").await;
    let last = others.last_mut().expect("there are others");
    last.expect_nothing_before_echo("lobby", "and only one for me").await;
}

async fn a_join_leaves_the_old_room(spec: Spec) {
    let running = serve(spec).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    let mut old = BasicClient::connect(running.server.http(), "old").await;
    let mut new = BasicClient::connect(running.server.http(), "new").await;
    old.join("first").await;
    new.join("second").await;
    ada.join("first").await;
    old.expect(&Shape::join("first", "ada")).await;
    ada.join("second").await;
    old.expect(&Shape::leave("first", "ada")).await;
    new.expect(&Shape::join("second", "ada")).await;
    old.expect_nothing_before_echo("first", "not for ada").await;
    ada.expect_nothing_before_echo("second", "not for old").await;
    new.expect(&Shape::message("second", "ada", "not for old")).await;
    old.expect_nothing_before_echo("first", "nothing came").await;
}

/// Seen by somebody who is in both rooms, on one worker: nothing is promised across workers.
#[tokio::test]
async fn a_join_is_first_a_leave_in_the_old_room() {
    let running = serve(Spec::default()).await;
    let (mut watcher, _) = V1Client::member(running.server.http(), "watcher", "first").await;
    watcher.join("second", 0).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    ada.join("first").await;
    ada.join("second").await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match watcher.next().await {
            ServerFrame::Join { room, member } if &*member.username == "ada" => {
                seen.push(format!("join {room}"));
            }
            ServerFrame::Leave { room, member, .. } if &*member.username == "ada" => {
                seen.push(format!("leave {room}"));
            }
            ServerFrame::Join { member, .. } if &*member.username == "watcher" => {}
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(seen, ["join first", "leave first", "join second"]);
}

async fn joining_the_current_room_again_is_a_no_op(spec: Spec) {
    let running = serve(spec).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    bob.join("Lobby").await;
    ada.join("Lobby").await;
    bob.expect(&Shape::join("Lobby", "ada")).await;
    // Names are compared case-folded, so the last of these is the same room too.
    for again in ["Lobby", "Lobby", "  Lobby ", "lOBBY"] {
        ada.send_join(again).await;
        ada.expect_nothing_before_echo("Lobby", again).await;
        bob.expect(&Shape::message("Lobby", "ada", again)).await;
    }
}

#[tokio::test]
async fn an_empty_or_invalid_room_name_is_refused() {
    let running = serve(Spec::default()).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    let long = "x".repeat(65);
    let bad = ["", "   ", "\u{3000}", "@ada", "~x", "a\nb", "a\0b", "a\u{202e}b", &long];
    // Outside a room first: it must not have joined anything.
    for room in bad {
        ada.send_join(room).await;
        ada.say("outside").await;
    }
    bob.join("lobby").await;
    ada.join("lobby").await;
    bob.expect(&Shape::join("lobby", "ada")).await;
    for room in bad {
        ada.send_join(room).await;
        ada.expect_nothing_before_echo("lobby", "still here").await;
        bob.expect(&Shape::message("lobby", "ada", "still here")).await;
    }
    for frame in [r#"{"type":"join"}"#, r#"{"type":"join","room":null}"#] {
        ada.socket.send_text(frame).await;
        ada.expect_nothing_before_echo("lobby", frame).await;
        bob.expect(&Shape::message("lobby", "ada", frame)).await;
    }
}

#[tokio::test]
async fn a_room_comes_back_as_it_was_spelled() {
    let running = serve(Spec::default()).await;
    for room in ["General", "Straße Café", "名前", "a/b?c#d\"e", &"x".repeat(64)] {
        let mut ada = BasicClient::connect(running.server.http(), "ada").await;
        let mut bob = BasicClient::connect(running.server.http(), "bob").await;
        bob.join(room).await;
        ada.join(room).await;
        bob.expect(&Shape::join(room, "ada")).await;
        ada.expect_nothing_before_echo(room, "hi").await;
        bob.expect(&Shape::message(room, "ada", "hi")).await;
        ada.leave().await;
        bob.expect(&Shape::leave(room, "ada")).await;
    }
}

#[tokio::test]
async fn two_spellings_are_one_room() {
    let running = serve(Spec::default()).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    ada.join("General").await;
    bob.send_join("gENERAL").await;
    for member in [&mut ada, &mut bob] {
        let notice = member.next().await;
        assert_eq!(notice.room.to_lowercase(), "general");
        assert_eq!((&*notice.kind, &*notice.username), ("join", "bob"));
    }
}

async fn an_emptied_room_is_forgotten(spec: Spec) {
    let running = serve(spec).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    let (mut watcher, _) = V1Client::hello(running.server.http(), "watcher").await;
    ada.join("short-lived").await;
    bob.join("short-lived").await;
    let mut members = async |wanted: u64| {
        eventually(format!("{wanted} members in the room list"), async || {
            let rooms = watcher.rooms().await;
            let found = rooms.iter().find(|summary| summary.room == name("short-lived"));
            assert!(rooms.iter().all(|summary| summary.members > 0), "an empty room: {rooms:?}");
            (found.map_or(0, |summary| summary.members) == wanted).then_some(())
        })
        .await;
    };
    members(2).await;
    ada.leave().await;
    members(1).await;
    // However the last one goes, the room goes with it.
    bob.socket.reset();
    members(0).await;
    ada.send_join("short-lived").await;
    members(1).await;
    ada.send_join("elsewhere").await;
    members(0).await;
}
