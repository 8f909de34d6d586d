//! Servers that share a log follow what is ordered at another one.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chat_proto::{ErrorCode, ServerFrame};
use chat_tests::client::{Answer, ApiClient, Ending, V1Client};
use chat_tests::process::{Home, Server as Process};
use chat_tests::wait::{eventually, within};
use chat_tokio::Server;
use serde_json::json;

use crate::faulty::{REFUSE, Shared};
use crate::support::{Served, hello, known, known_spec, refused, welcomed};

/// Two processes on one port, which the kernel lets take turns.
struct Pair {
    _home: Home,
    old: Process,
    new: Process,
    chat: SocketAddr,
}

impl Pair {
    async fn start() -> Self {
        let home = Home::default();
        let spec = known_spec(&home).flag("--share-port", "yes");
        let old = Process::start(&home, &spec).await;
        let chat = old.http();
        let new = Process::start(&home, &spec.listen(&chat.to_string())).await;
        assert_eq!(new.http(), chat);
        Self { _home: home, old, new, chat }
    }

    /// Comes in again and again until it is at both; returns all of its sessions.
    async fn enter(&self, user: &str) -> Vec<V1Client> {
        let mut all = Vec::new();
        let enter = async {
            while connections(&self.old).await == 0 || connections(&self.new).await == 0 {
                let mut client = V1Client::connect(self.chat).await;
                if let ServerFrame::Welcome(_) = client.request(&hello(user)).await {
                    all.push(client);
                }
            }
        };
        within("sessions at both", enter).await;
        all
    }

    /// Waits until nobody is left.
    async fn are_empty(&self) {
        let left = async || connections(&self.old).await + connections(&self.new).await;
        eventually("the ends", async || (left().await == 0).then_some(())).await;
    }

    /// Tries so often that both are asked; tells what came of it.
    async fn refuse(&self, user: &str) -> (ErrorCode, Ending) {
        let first = refused(self.chat, user).await;
        for _ in 0..15 {
            assert_eq!(refused(self.chat, user).await, first);
        }
        first
    }
}

async fn connections(server: &Process) -> u64 {
    let stats = server.api().get("/v1/stats").await.ok();
    stats["connections"].as_u64().expect("a number")
}

async fn lift(api: &ApiClient, user: &str) -> Answer {
    api.ask("DELETE", &format!("/v1/bans?user={user}"), &[], "").await
}

#[tokio::test]
async fn a_ban_at_one_process_holds_at_the_other_and_so_does_its_end() {
    let pair = Pair::start().await;
    for (orders, other) in [(&pair.old, &pair.new), (&pair.new, &pair.old)] {
        let sessions = pair.enter("ada").await;
        let mut bob = welcomed(pair.chat, "bob").await;
        assert_eq!(orders.api().post("/v1/bans", &json!({"user": "ada"})).await.status, 201);
        for mut client in sessions {
            assert_eq!(client.socket.ending().await, Ending::Closed(4301));
        }
        assert_eq!(pair.refuse("ada").await, (ErrorCode::Forbidden, Ending::Closed(4301)));
        bob.join("lobby", 0).await;
        bob.socket.close().await;
        pair.are_empty().await;
        // Whoever lifts it there does not have to wait until the other has heard of it.
        let bans = other.api().get("/v1/bans").await.ok();
        assert_eq!(bans, json!({"bans": [{"user": "ada"}]}));
        assert_eq!(lift(&orders.api(), "ada").await.status, 204);
        for client in pair.enter("ada").await {
            client.socket.close().await;
        }
        pair.are_empty().await;
    }
}

#[tokio::test]
async fn what_is_revoked_at_one_process_ends_at_the_other() {
    let pair = Pair::start().await;
    for (what, user) in [(json!({"user": "ada"}), "ada"), (json!({"token": "token-of-tom"}), "tom")]
    {
        let sessions = pair.enter(user).await;
        assert_eq!(pair.old.api().post("/v1/revoke", &what).await.status, 204);
        for mut client in sessions {
            assert_eq!(client.socket.ending().await, Ending::Closed(4001));
        }
        pair.are_empty().await;
    }
    // Of ada, a newer one counts.
    assert_eq!(pair.refuse("tom").await, (ErrorCode::Unauthorized, Ending::Closed(4001)));
    pair.enter("ada").await;
}

/// Two servers with the same log, and the second one's way to it.
fn two() -> (Served, Served, Arc<Shared>) {
    let one = Arc::new(Shared::default());
    let other = one.again();
    let serve = |log| known(Server::builder().workers(2).log(log));
    (serve(one), serve(other.clone()), other)
}

async fn closed(client: &mut V1Client) {
    assert_eq!(client.socket.ending().await, Ending::Closed(4301));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_read_for_a_while_is_followed_again() {
    let (one, other, way) = two();
    let (mut ada, mut bob) = (welcomed(other.chat, "ada").await, welcomed(other.chat, "bob").await);
    way.reads.store(REFUSE, Ordering::Relaxed);
    let _ = one.api.post("/v1/bans", &json!({"user": "ada"})).await.ok();
    // It does not know what holds, so it does not say.
    assert_eq!(other.api.get("/v1/bans").await.status, 503);
    ada.rooms().await;
    way.reads.store(0, Ordering::Relaxed);
    closed(&mut ada).await;
    bob.join("lobby", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_trimmed_before_it_was_read_is_made_good() {
    let (one, other, way) = two();
    for user in ["ada", "bob"] {
        let _ = one.api.post("/v1/bans", &json!({"user": user})).await.ok();
    }
    eventually("both to be refused", async || {
        let bans = other.api.get("/v1/bans").await.ok();
        (bans["bans"].as_array().map(Vec::len) == Some(2)).then_some(())
    })
    .await;
    let mut eve = welcomed(other.chat, "eve").await;
    way.reads.store(REFUSE, Ordering::Relaxed);
    assert_eq!(lift(&one.api, "ada").await.status, 204);
    let _ = one.api.post("/v1/bans", &json!({"user": "eve"})).await.ok();
    // Whoever starts writes anew what holds: bob and eve.
    let third = known(Server::builder().log(way.again()));
    let head = || third.server.handle();
    let room = chat_proto::RoomName::server("~server").expect("a name");
    eventually("the trim", async || {
        let head = head().head(&room).await.expect("it can be read");
        (head.first == head.last).then_some(())
    })
    .await;
    way.reads.store(0, Ordering::Relaxed);
    closed(&mut eve).await;
    welcomed(other.chat, "ada").await;
    for user in ["bob", "eve"] {
        assert_eq!(refused(other.chat, user).await.0, ErrorCode::Forbidden, "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_begins_anew_takes_nothing_back() {
    let (one, other, way) = two();
    let mut eve = welcomed(other.chat, "eve").await;
    let _ = one.api.post("/v1/bans", &json!({"user": "ada"})).await.ok();
    eventually("ada to be refused", async || {
        let bans = other.api.get("/v1/bans").await.ok();
        (bans["bans"].as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
    way.lose_all();
    let _ = one.api.post("/v1/bans", &json!({"user": "eve"})).await.ok();
    closed(&mut eve).await;
    for user in ["ada", "eve"] {
        assert_eq!(refused(other.chat, user).await.0, ErrorCode::Forbidden, "{user}");
    }
    // The new log is told what held before.
    let third = || known(Server::builder().log(way.again()));
    eventually("the log to have both", async || {
        let bans = third().api.get("/v1/bans").await.ok();
        (bans["bans"].as_array().map(Vec::len) == Some(2)).then_some(())
    })
    .await;
}
