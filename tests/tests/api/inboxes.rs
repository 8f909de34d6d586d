//! What a backend says to users.
use std::net::SocketAddr;

use chat_proto::{
    Entry, ErrorCode, HistoryRange, Position, Recovery, Request, Resume, ServerFrame,
};
use chat_tests::client::{ApiClient, JSON, V1Client, message, name};
use chat_tests::process::Home;
use serde_json::{Value, json};

use crate::support::{Served, hello, known_users, process, welcomed};

/// What an entry says, and where.
fn said(entry: &Entry) -> (u64, String) {
    let body = serde_json::to_value(entry).expect("JSON");
    (entry.seq.get(), body["content"].as_str().expect("a text").to_owned())
}

async fn next_said(client: &mut V1Client) -> (u64, String) {
    let entry = client.next_entry().await;
    said(&entry)
}

async fn publish(api: &ApiClient, user: &str, content: &str) -> Value {
    let told = api.post(&format!("/v1/users/{user}/messages"), &json!({"content": content})).await;
    assert_eq!(told.status, 201, "{}", told.text);
    told.body
}

/// Sessions of ada, of which both workers have some.
async fn on_both_workers(chat: SocketAddr, api: &ApiClient) -> Vec<V1Client> {
    let mut sessions = Vec::new();
    loop {
        assert!(sessions.len() < 60, "all connections come to one worker");
        sessions.push(welcomed(chat, "ada").await);
        let all = api.get("/v1/users/ada/sessions").await.ok();
        let second = api.get("/v1/users/ada/sessions?after=1.0").await.ok();
        let count = |part: &Value| part["sessions"].as_array().map_or(0, Vec::len);
        if count(&second) > 0 && count(&second) < count(&all) {
            return sessions;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_to_a_user_reaches_all_of_its_sessions_and_nobody_else() {
    let Served { server: _server, chat, api } = known_users(2);
    let mut sessions = on_both_workers(chat, &api).await;
    for session in &mut sessions {
        let joined = session.join("@ada", 0).await;
        assert_eq!((joined.room.as_str(), joined.members.count), ("@ada", 0));
    }
    let mut bob = welcomed(chat, "bob").await;
    bob.join("@bob", 0).await;
    bob.join("lobby", 0).await;
    for request in [
        Request::Join { room: name("@ada"), history: 10 },
        message("@ada", None, "hi"),
        Request::Typing { room: name("@ada"), active: true },
    ] {
        assert_eq!(bob.refused(&request).await.code, ErrorCode::Forbidden, "{request:?}");
    }
    let range = HistoryRange::Latest;
    let history = Request::History { room: name("@ada"), range, limit: None };
    assert_eq!(bob.refused(&history).await.code, ErrorCode::NotMember);

    for n in 1..=20 {
        let content = format!("number {n}");
        let body = json!({"content": content, "service": "shop", "username": "The shop"});
        let told = api.post("/v1/users/ada/messages", &body).await;
        assert_eq!((told.status, &told.body["room"]), (201, &json!("@ada")), "{}", told.text);
        assert_eq!((&told.body["seq"], &told.body["duplicate"]), (&json!(n), &json!(false)));
        for session in &mut sessions {
            // Nothing but entries comes: no notice of the other sessions.
            let ServerFrame::Entry(entry) = session.next().await else { panic!("no entry") };
            assert_eq!(said(&entry), (n, content.clone()));
            assert_eq!(entry.room, name("@ada"));
            assert_eq!(
                (entry.user.as_str(), entry.username.as_str()),
                ("service.shop", "The shop")
            );
            assert_eq!(told.body["ts"], entry.ts.0);
        }
    }
    // What is written by its user is refused, too, and what bob gets first is his own.
    let refused = sessions[0].refused(&message("@ada", None, "hi")).await;
    assert_eq!((refused.code, refused.retryable), (ErrorCode::Forbidden, false));
    publish(&api, "bob", "for bob").await;
    let ServerFrame::Entry(entry) = bob.next().await else { panic!("no entry") };
    assert_eq!((entry.room.as_str(), said(&entry)), ("@bob", (1, "for bob".to_owned())));

    let rooms: Vec<_> = bob.rooms().await.into_iter().map(|summary| summary.room).collect();
    assert_eq!(rooms, [name("lobby")]);
    let rooms = api.get("/v1/rooms").await.ok();
    assert_eq!(rooms["rooms"].as_array().map(Vec::len), Some(1), "{rooms}");
    let stats = api.get("/v1/stats").await.ok();
    assert_eq!((&stats["rooms"], &stats["members"]), (&json!(1), &json!(1)), "{stats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_offline_reads_it_later_and_a_resume_brings_what_was_missed() {
    let Served { server: _server, chat, api } = known_users(2);
    for n in 1..=3 {
        let told = publish(&api, "ada", &format!("offline {n}")).await;
        assert_eq!((&told["room"], &told["seq"]), (&json!("@ada"), &json!(n)));
    }
    let mut ada = V1Client::connect(chat).await;
    let ServerFrame::Welcome(welcome) = ada.request(&hello("ada")).await else { panic!("refused") };
    let joined = ada.join("@ada", 2).await;
    assert_eq!((joined.head.get(), joined.has_more_before), (3, true));
    let events: Vec<_> = joined.events.iter().map(|entry| said(entry)).collect();
    assert_eq!(events, [(2, "offline 2".to_owned()), (3, "offline 3".to_owned())]);
    let all = ada.history("@ada").await;
    assert_eq!(all.len(), 3);
    // The API has it as well, page by page.
    let page = api.get("/v1/users/ada/history?before=3&limit=1").await.ok();
    assert_eq!((&page["room"], &page["events"][0]["seq"]), (&json!("@ada"), &json!(2)), "{page}");
    assert_eq!((&page["has_more_before"], &page["has_more_after"]), (&json!(true), &json!(true)));
    assert_eq!(api.get("/v1/rooms/@ada").await.ok()["last"], 3);
    assert_eq!(api.get("/v1/users/nobody/history").await.ok()["events"], json!([]));

    ada.socket.reset();
    for n in 4..=6 {
        publish(&api, "ada", &format!("missed {n}")).await;
    }
    // To whichever worker it comes back.
    let mut seen = Position { epoch: joined.epoch.clone(), seq: joined.head };
    for attempt in 1..=6 {
        let rooms = [(name("@ada"), seen.clone())].into();
        let resume = Resume { session: welcome.session.clone(), attempt, rooms };
        let Request::Hello { token, .. } = hello("ada") else { panic!("a hello") };
        let resume = Some(resume.into());
        let resume = Request::Hello { name: None, token, features: vec![], resume };
        let mut back = V1Client::connect(chat).await;
        let ServerFrame::Welcome(welcome) = back.request(&resume).await else { panic!("refused") };
        // Another worker need not know the session; the room is recovered all the same.
        let missed = (6 + attempt - 1) - seen.seq.get();
        let head = Position { seq: seen.seq.plus(missed), ..seen.clone() };
        assert_eq!(welcome.rooms[&name("@ada")], Recovery::Recovered(head.clone()));
        for n in 1..=missed {
            let ServerFrame::Entry(entry) = back.next().await else { panic!("no entry") };
            assert_eq!(entry.seq, seen.seq.plus(n));
        }
        seen = head;
        publish(&api, "ada", "live").await;
        if attempt == 6 {
            assert_eq!(next_said(&mut back).await, (12, "live".to_owned()));
        }
        back.socket.reset();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_once_for_each_user() {
    let Served { server: _server, chat, api } = known_users(2);
    let mut ada = welcomed(chat, "ada").await;
    ada.join("@ada", 0).await;
    let (path, body) = ("/v1/users/ada/messages", json!({"content": "paid", "key": "invoice 7"}));
    let first = api.post(path, &body).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let header = [JSON, ("Idempotency-Key", "invoice 7")];
    for again in [
        api.post(path, &body).await,
        api.ask("POST", path, &header, r#"{"content":"paid"}"#).await,
        // It is the same room by its name.
        api.post("/v1/rooms/@ada/messages", &body).await,
    ] {
        assert_eq!((again.status, &again.body["duplicate"]), (200, &json!(true)), "{}", again.text);
        for same in ["seq", "epoch", "ts", "room"] {
            assert_eq!(again.body[same], first.body[same], "{same}");
        }
    }
    let other = api.post(path, &json!({"content": "not paid", "key": "invoice 7"})).await;
    let _ = other.problem(409);
    assert_eq!(other.body["code"], "idempotency_conflict");
    assert_eq!(api.post("/v1/users/bob/messages", &body).await.status, 201);
    publish(&api, "ada", "last").await;
    assert_eq!(next_said(&mut ada).await, (1, "paid".to_owned()));
    assert_eq!(next_said(&mut ada).await, (2, "last".to_owned()));
}

#[tokio::test]
async fn it_outlives_the_process() {
    let home = Home::default();
    let server = process(&home).await;
    let longest = "z".repeat(64);
    let users = ["ada", &longest];
    for user in users {
        publish(&server.api(), user, "kept").await;
    }
    server.kill().await;
    let server = process(&home).await;
    for user in users {
        let mut session = welcomed(server.http(), user).await;
        let joined = session.join(&format!("@{user}"), 10).await;
        let events: Vec<_> = joined.events.iter().map(|entry| said(entry)).collect();
        assert_eq!(events, [(1, "kept".to_owned())]);
        publish(&server.api(), user, "new").await;
        assert_eq!(next_said(&mut session).await, (2, "new".to_owned()));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_kept_out_of_an_inbox_but_of_the_server() {
    let Served { server: _server, chat, api } = known_users(2);
    let mut ada = welcomed(chat, "ada").await;
    ada.join("@ada", 0).await;
    let ban = api.post("/v1/bans", &json!({"user": "ada", "room": "@ada"})).await;
    assert!(ban.problem(400).contains("ban the user from the server"), "{}", ban.text);
    assert_eq!(api.get("/v1/bans").await.ok(), json!({"bans": []}));
    publish(&api, "ada", "still here").await;
    assert_eq!(next_said(&mut ada).await, (1, "still here".to_owned()));
    assert_eq!(api.post("/v1/bans", &json!({"user": "ada"})).await.status, 201);
    assert_eq!(ada.socket.ending().await, chat_tests::client::Ending::Closed(4301));
    // The log takes what is said to somebody who may not read it at the moment.
    assert_eq!(publish(&api, "ada", "later").await["seq"], 2);
}
