//! What operators are shown.
use std::collections::BTreeSet;

use chat_tests::client::{BasicClient, V1Client};
use chat_tests::wait::eventually;
use serde_json::{Value, json};

use crate::support::{Served, served};

/// All rows of a list, page by page.
async fn all(api: &chat_tests::client::ApiClient, path: &str, rows: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let part = api.get(&format!("{path}?limit=2{after}")).await.ok();
        let some = part[rows].as_array().expect("a list");
        assert!(some.len() <= 2, "{part}");
        all.extend(some.iter().cloned());
        let Some(next) = part["next"].as_str() else { return all };
        after = format!("&after={}", next.replace(' ', "%20"));
    }
}

fn column(rows: &[Value], name: &str) -> BTreeSet<String> {
    rows.iter().map(|row| row[name].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_members_and_sessions_are_those_of_all_workers() {
    let Served { server: _server, chat, api } = served(3);
    let mut people = Vec::new();
    for n in 0..7 {
        let (mut client, welcome) = V1Client::hello(chat, &format!("m{n}")).await;
        client.join("The lobby", 0).await;
        client.join(&format!("room {}", n % 5), 0).await;
        people.push((client, welcome));
    }
    people[0].0.say("the lobby", "one").await;
    let mut basic = BasicClient::connect(chat, "basic").await;
    basic.join("The lobby").await;
    let _silent = V1Client::connect(chat).await;

    let rooms = all(&api, "/v1/rooms", "rooms").await;
    let names: Vec<&str> = rooms.iter().filter_map(|room| room["room"].as_str()).collect();
    let wanted = ["room 0", "room 1", "room 2", "room 3", "room 4", "The lobby"];
    assert_eq!(names, wanted, "in the order of their names");
    let members: Vec<u64> = rooms.iter().filter_map(|room| room["members"].as_u64()).collect();
    assert_eq!(members, [2, 2, 1, 1, 1, 8]);
    assert_eq!((&rooms[5]["seq"], rooms[5]["epoch"].is_string()), (&json!(1), true));
    let state = api.get("/v1/rooms/the%20lobby").await.ok();
    assert_eq!((&state["room"], &state["members"]), (&json!("The lobby"), &json!(8)));
    assert_eq!((&state["first"], &state["last"]), (&json!(1), &json!(1)));
    let empty = api.get("/v1/rooms/nobody").await.ok();
    assert_eq!((&empty["members"], &empty["last"]), (&json!(0), &json!(0)));

    let members = all(&api, "/v1/rooms/room%200/members", "sessions").await;
    assert_eq!(column(&members, "username"), ["m0", "m5"].map(String::from).into());
    assert_eq!(members[0]["rooms"], json!(["room 0", "The lobby"]));
    let sessions = all(&api, "/v1/sessions", "sessions").await;
    assert_eq!(sessions.len(), 8, "who has not said hello is nobody yet");
    assert_eq!(column(&sessions, "session").len(), 8);
    assert_eq!(column(&sessions, "dialect"), ["basic", "chat.v1"].map(String::from).into());
    let user = people[3].1.user.as_str();
    let of_user = all(&api, &format!("/v1/users/{user}/sessions"), "sessions").await;
    assert_eq!(of_user.len(), 1);
    assert_eq!(of_user[0]["rooms"], json!(["room 3", "The lobby"]));
    // The secret by which a session is resumed is not told.
    let text = json!([sessions, members, of_user]).to_string();
    assert!(people.iter().all(|(_, welcome)| !text.contains(welcome.session.as_str())));
    assert!(all(&api, "/v1/users/nobody/sessions", "sessions").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_counted() {
    let Served { server: _server, chat, api } = served(2);
    let before = api.get("/v1/stats").await.ok();
    assert_eq!((&before["connections"], &before["closes"]), (&json!(0), &json!({})));
    let mut people = Vec::new();
    for n in 0..4 {
        people.push(V1Client::member(chat, &format!("m{n}"), "lobby").await.0);
    }
    for _ in 0..5 {
        people[0].say("lobby", "hi").await;
    }
    let _ = api.post("/v1/rooms/lobby/messages", &json!({"content": "hi"})).await.ok();
    for person in &mut people {
        for _ in 0..6 {
            person.next_entry().await;
        }
    }
    let stats = api.get("/v1/stats").await.ok();
    for (name, count) in [("connections", 4), ("rooms", 1), ("members", 4), ("messages", 6)] {
        assert_eq!(stats[name], count, "{name}: {stats}");
    }
    assert!(stats["deliveries"].as_u64() >= Some(24), "{stats}");
    let mut late = V1Client::connect(chat).await;
    late.refused(&chat_proto::Request::Ping).await;
    late.socket.ending().await;
    let closes = eventually("the close", async || {
        let stats = api.get("/v1/stats").await.ok();
        (stats["closes"] != json!({})).then(|| stats["closes"].clone())
    });
    assert_eq!(closes.await, json!({"4000": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_paged_in_both_directions() {
    let Served { server: _server, api, .. } = served(1);
    for n in 1..=7 {
        let body = json!({"content": format!("n{n}")});
        let _ = api.post("/v1/rooms/lobby/messages", &body).await.ok();
    }
    for (query, seqs, more) in [
        ("", vec![1, 2, 3, 4, 5, 6, 7], (false, false)),
        ("?limit=3", vec![5, 6, 7], (true, false)),
        ("?before=5&limit=3", vec![2, 3, 4], (true, true)),
        ("?before=2", vec![1], (false, true)),
        ("?before=1", vec![], (false, true)),
        ("?after=2&limit=3", vec![3, 4, 5], (true, true)),
        ("?after=0&limit=2", vec![1, 2], (false, true)),
        ("?after=7", vec![], (true, false)),
        ("?after=99", vec![], (true, false)),
    ] {
        let page = api.get(&format!("/v1/rooms/Lobby/history{query}")).await.ok();
        let events = page["events"].as_array().expect("a list");
        let got: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
        assert_eq!(got, seqs, "{query}: {page}");
        let told = (page["has_more_before"].as_bool(), page["has_more_after"].as_bool());
        assert_eq!(told, (Some(more.0), Some(more.1)), "{query}: {page}");
        assert!(events.iter().all(|event| event["type"] == "message"), "{page}");
    }
}
