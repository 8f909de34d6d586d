//! What a backend says in rooms.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chat_proto::{Seq, Timestamp, UserId};
use chat_tests::client::{BasicClient, JSON, Shape, V1Client};
use chat_tests::wait::{eventually, within};
use chat_tokio::Server;
use serde_json::json;

use crate::faulty::{FORGET_ANSWER, Faulty, HANG, REFUSE};
use crate::support::{Served, serve, served};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_says_is_a_message_like_any_other() {
    let Served { server: _server, chat, api } = served(3);
    let mut members = Vec::new();
    for n in 0..9 {
        members.push(V1Client::member(chat, &format!("m{n}"), "Lobby").await.0);
    }
    let mut basic = BasicClient::connect(chat, "basic").await;
    basic.join("Lobby").await;
    let mut wanted = Vec::new();
    for n in 0..20_u64 {
        // In turns with members of all workers: the room has one order.
        let said = members[(n % 9) as usize].say("lobby", &format!("member {n}")).await;
        wanted.push((said, format!("member {n}")));
        let body = json!({"content": format!("service {n}"), "service": "billing",
            "username": "Billing", "reply_to": said});
        let told = api.post("/v1/rooms/lobby/messages", &body).await;
        assert_eq!(told.status, 201, "{}", told.text);
        assert_eq!((&told.body["room"], &told.body["duplicate"]), (&json!("Lobby"), &json!(false)));
        let seq = told.body["seq"].as_u64().and_then(Seq::new).expect("a place");
        wanted.push((seq, format!("service {n}")));
    }
    for member in &mut members {
        for (n, (seq, content)) in wanted.iter().enumerate() {
            let entry = member.next_entry().await;
            assert_eq!(entry.seq.get(), n as u64 + 1, "no hole, nothing twice");
            assert_eq!((entry.seq, entry.room.as_str()), (*seq, "Lobby"));
            let body = serde_json::to_value(&*entry).expect("JSON");
            assert_eq!(body["content"], *content);
            if content.starts_with("service") {
                assert_eq!((entry.user.as_str(), entry.username.as_str()), SERVICE);
                assert_eq!(body["reply_to"], seq.get() - 1);
            }
        }
    }
    let last = Shape::message("Lobby", "Billing", "service 19");
    assert_eq!(basic.until(&last).await.iter().filter(|shape| shape.kind == "message").count(), 39);
}

const SERVICE: (&str, &str) = ("service.billing", "Billing");

#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_once() {
    let Served { server: _server, api, .. } = served(2);
    let path = "/v1/rooms/nobody%20here%2Fyet/messages";
    let body = json!({"content": "paid", "key": "invoice 7"});
    let first = api.post(path, &body).await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_eq!(first.body["room"], "nobody here/yet");
    let again = api.post(path, &body).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(again.body["duplicate"], true);
    for same in ["seq", "epoch", "ts", "room"] {
        assert_eq!(again.body[same], first.body[same], "{same}");
    }
    let header = [JSON, ("Idempotency-Key", "invoice 7")];
    let named = api.ask("POST", path, &header, r#"{"content":"paid"}"#).await.ok();
    assert_eq!(named["seq"], first.body["seq"]);
    let both = api.ask("POST", path, &header, r#"{"content":"paid","key":"8"}"#).await;
    assert!(both.problem(400).contains("`key` says another one"));
    for reply_to in [0, 1_u64 << 53] {
        let body = json!({"content": "an answer to nothing", "reply_to": reply_to});
        let refused = api.post(path, &body).await;
        assert!(refused.problem(400).contains("`reply_to` has to be from 1"), "{reply_to}");
    }
    let other = api.post(path, &json!({"content": "not paid", "key": "invoice 7"})).await;
    let _ = other.problem(409);
    assert_eq!(other.body["code"], "idempotency_conflict");
    // The key is the service's own.
    let service = json!({"content": "not paid", "key": "invoice 7", "service": "other"});
    assert_eq!(api.post(path, &service).await.status, 201);
    let history = api.get("/v1/rooms/nobody%20here%2Fyet/history").await.ok();
    let contents: Vec<_> = history["events"].as_array().expect("a list").iter().collect();
    assert_eq!(contents.len(), 2, "{history}");
    assert_eq!(api.get("/v1/stats").await.ok()["messages"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_does_not_take_or_does_not_tell_is_no_success() {
    let log = Arc::new(Faulty::default());
    let Served { server: _server, chat, api } = serve(Server::builder().log(log.clone()));
    let fault = &log.fault;
    let (mut member, _) = V1Client::member(chat, "ada", "lobby").await;
    let path = "/v1/rooms/lobby/messages";
    fault.store(REFUSE, Ordering::Relaxed);
    let refused = api.post(path, &json!({"content": "refused"})).await;
    assert!(refused.problem(503).contains("the disk is full"));
    assert_eq!(refused.body["code"], "log_unavailable");
    assert!(api.post("/v1/bans", &json!({"user": "ada"})).await.problem(503).contains("disk"));
    assert_eq!(api.get("/v1/bans").await.ok(), json!({"bans": []}));
    fault.store(FORGET_ANSWER, Ordering::Relaxed);
    let body = json!({"content": "taken all the same", "key": "k"});
    let unknown = api.post(path, &body).await;
    let _ = unknown.problem(504);
    assert_eq!(unknown.body["code"], "unknown_outcome");
    // What is in the log is shown, whoever knows of it; and the key tells.
    let entry = within("the entry", member.next_entry()).await;
    assert_eq!(entry.user, UserId::new("service.api").expect("an id"));
    fault.store(0, Ordering::Relaxed);
    let told = api.post(path, &body).await.ok();
    assert_eq!((&told["seq"], &told["duplicate"]), (&json!(entry.seq.get()), &json!(true)));
    assert_ne!(entry.ts, Timestamp(0));
    // A log that hangs does not hold up the server.
    fault.store(HANG, Ordering::Relaxed);
    let hangs = tokio::spawn({
        let api = api.clone();
        async move { api.post(path, &json!({"content": "hangs"})).await }
    });
    eventually("an answer meanwhile", async || {
        (api.get("/v1/stats").await.status == 200).then_some(())
    })
    .await;
    let _ = hangs.await.expect("an answer").problem(504);
}
