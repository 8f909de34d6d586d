//! What operators do about people.
use std::sync::Arc;

use chat_proto::{ErrorCode, LeaveReason, Request, Resume, ServerFrame};
use chat_tests::client::{BasicClient, Ending, V1Client, name};
use chat_tests::process::{Home, Server as Process, Spec};
use chat_tests::wait::within;
use chat_tokio::Server;
use serde_json::json;

use crate::faulty::Faulty;
use crate::support::{
    Served, hello, known_users, process, refused, serve, served, token, welcomed,
};

/// Reads until the session is told that it is out of a room.
async fn put_out(client: &mut V1Client, room: &str) {
    let told = within("the kick", async {
        loop {
            if let ServerFrame::Error(error) = client.next().await {
                return error;
            }
        }
    });
    let error = told.await;
    assert_eq!((error.id, error.code), (None, ErrorCode::Forbidden));
    assert_eq!(error.room, Some(name(room)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_kicked_is_told_and_may_join_again() {
    let Served { server: _server, chat, api } = served(3);
    let (mut ada, _) = V1Client::member(chat, "ada", "lobby").await;
    let (mut bob, welcome) = V1Client::hello(chat, "bob").await;
    bob.join("lobby", 0).await;
    bob.join("other", 0).await;
    let body = json!({"user": welcome.user.as_str()});
    assert_eq!(api.post("/v1/rooms/Lobby/kick", &body).await.status, 204);
    put_out(&mut bob, "lobby").await;
    let left = within("the leave", async {
        loop {
            if let ServerFrame::Leave { member, reason, .. } = ada.next().await {
                return (member.user, reason);
            }
        }
    });
    assert_eq!(left.await, (welcome.user.clone(), LeaveReason::Removed));
    let error = bob.refused(&chat_tests::client::message("lobby", None, "hi")).await;
    assert_eq!(error.code, ErrorCode::NotMember);
    bob.say("other", "still here").await;
    bob.join("lobby", 0).await;
    bob.say("lobby", "back").await;
    // By the session, which the list of members names; others of the name stay.
    let members = api.get("/v1/rooms/lobby/members").await.ok();
    let members = members["sessions"].as_array().expect("a list");
    let bobs = members.iter().find(|member| member["username"] == "bob").expect("bob is there");
    let body = json!({"session": bobs["session"]});
    assert_eq!(api.post("/v1/rooms/lobby/kick", &body).await.status, 204);
    put_out(&mut bob, "lobby").await;
    ada.say("lobby", "I stay").await;
    // One who can't be told is closed.
    let mut basic = BasicClient::connect(chat, "basic").await;
    basic.join("lobby").await;
    let members = api.get("/v1/rooms/lobby/members").await.ok();
    let members = members["sessions"].as_array().expect("a list");
    let basics = members.iter().find(|member| member["dialect"] == "basic").expect("it is there");
    let body = json!({"session": basics["session"]});
    assert_eq!(api.post("/v1/rooms/lobby/kick", &body).await.status, 204);
    assert_eq!(basic.socket.ending().await, Ending::Closed(4301));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_closed_is_told_whether_to_come_back() {
    let Served { server: _server, chat, api } = served(3);
    let mut ends = Vec::new();
    for reconnect in [true, false] {
        let (mut client, welcome) = V1Client::hello(chat, "ada").await;
        client.join("lobby", 0).await;
        let body = json!({"user": welcome.user.as_str(), "reconnect": reconnect});
        assert_eq!(api.post("/v1/close", &body).await.status, 204);
        ends.push(client.socket.ending().await);
    }
    assert_eq!(ends, [Ending::Closed(4100), Ending::Closed(4301)]);
    assert_eq!(api.get("/v1/stats").await.ok()["away"], 1, "who is not to come back is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_banned_stays_out_of_every_worker() {
    let Served { server: _server, chat, api } = known_users(3);
    let mut of_ada = Vec::new();
    for _ in 0..6 {
        of_ada.push(welcomed(chat, "ada").await);
    }
    let mut bob = welcomed(chat, "bob").await;
    for client in of_ada.iter_mut().chain([&mut bob]) {
        client.join("lobby", 0).await;
        client.join("other", 0).await;
    }
    let ban = api.post("/v1/bans", &json!({"user": "ada", "room": "LOBBY"})).await;
    assert_eq!((ban.status, ban.body), (201, json!({"user": "ada", "room": "LOBBY"})));
    for client in &mut of_ada {
        put_out(client, "lobby").await;
        let error = client.refused(&Request::Join { room: name("lobby"), history: 0 }).await;
        assert_eq!(error.code, ErrorCode::Forbidden);
        assert!(error.message.contains("keeps this user out"), "{}", error.message);
        client.say("other", "still here").await;
    }
    bob.say("lobby", "it is quiet here").await;
    // A resume is no way around it.
    let resume = Resume {
        session: chat_proto::SessionId::new("s").expect("a name"),
        attempt: 1,
        rooms: [(name("lobby"), position())].into(),
    };
    let Request::Hello { token, .. } = hello("ada") else { panic!() };
    let resume =
        Request::Hello { name: None, token, features: vec![], resume: Some(resume.into()) };
    let mut fresh = V1Client::connect(chat).await;
    let ServerFrame::Welcome(welcome) = fresh.request(&resume).await else { panic!("no welcome") };
    let lost = chat_proto::Recovery::Lost(chat_proto::LostReason::NotMember);
    assert_eq!(welcome.rooms[&name("lobby")], lost);

    let ban = api.post("/v1/bans", &json!({"user": "ada", "seconds": 3600})).await.ok();
    assert!(ban["until"].as_u64() > Some(1_700_000_000_000), "{ban}");
    for client in &mut of_ada {
        assert_eq!(client.socket.ending().await, Ending::Closed(4301));
    }
    for _ in 0..6 {
        assert_eq!(refused(chat, "ada").await, (ErrorCode::Forbidden, Ending::Closed(4301)));
    }
    let bans = api.get("/v1/bans").await.ok();
    assert_eq!(bans["bans"].as_array().map(Vec::len), Some(2), "{bans}");
    for path in ["/v1/bans?user=ada", "/v1/bans?user=ada&room=lobby"] {
        assert_eq!(api.ask("DELETE", path, &[], "").await.status, 204, "{path}");
    }
    for _ in 0..6 {
        welcomed(chat, "ada").await.join("lobby", 0).await;
    }
    bob.say("other", "nobody else was concerned").await;
}

fn position() -> chat_proto::Position {
    let epoch = chat_proto::Epoch::new("e").expect("an epoch");
    chat_proto::Position { epoch, seq: chat_proto::Seq::ZERO }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_ends_by_itself() {
    let Served { server: _server, chat, api } = known_users(1);
    let _ = api.post("/v1/bans", &json!({"user": "ada", "seconds": 1})).await.ok();
    assert_eq!(refused(chat, "ada").await.1, Ending::Closed(4301));
    // Each attempt is a round trip, so it ends with the second that was given.
    chat_tests::wait::eventually("the end of the ban", async || {
        let mut client = V1Client::connect(chat).await;
        let reply = client.request(&hello("ada")).await;
        matches!(reply, ServerFrame::Welcome(_)).then_some(())
    })
    .await;
    // The list goes by another clock than the Hub, which may end a millisecond later.
    chat_tests::wait::eventually("the list without it", async || {
        (api.get("/v1/bans").await.ok() == json!({"bans": []})).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_in_as_a_service() {
    let Served { server: _server, chat, .. } = known_users(1);
    let end = refused(chat, "service.api").await;
    assert_eq!(end, (ErrorCode::Unauthorized, Ending::Closed(4001)));
    welcomed(chat, "service").await;
}

#[tokio::test]
async fn bans_and_revocations_outlive_the_process() {
    let home = Home::default();
    let server = process(&home).await;
    let api = server.api();
    let mut dan = welcomed(server.http(), "dan").await;
    for ban in [
        json!({"user": "ada"}),
        json!({"user": "bob", "room": "lobby"}),
        json!({"user": "eve", "room": "lobby"}),
    ] {
        let _ = api.post("/v1/bans", &ban).await.ok();
    }
    let lift = api.ask("DELETE", "/v1/bans?user=eve&room=lobby", &[], "").await;
    assert_eq!(lift.status, 204);
    for what in [json!({"user": "dan"}), json!({"token": "token-of-tom"})] {
        assert_eq!(api.post("/v1/revoke", &what).await.status, 204);
    }
    assert_eq!(dan.socket.ending().await, Ending::Closed(4001));
    let (of_dan, of_tom) = (token("dan"), token("tom"));
    server.kill().await;

    let server = process(&home).await;
    let chat = server.http();
    let bans = server.api().get("/v1/bans").await.ok();
    let wanted = json!({"bans": [{"user": "ada"}, {"user": "bob", "room": "lobby"}]});
    assert_eq!(bans, wanted);
    for _ in 0..4 {
        assert_eq!(refused(chat, "ada").await, (ErrorCode::Forbidden, Ending::Closed(4301)));
        let mut bob = welcomed(chat, "bob").await;
        let error = bob.refused(&Request::Join { room: name("lobby"), history: 0 }).await;
        assert_eq!(error.code, ErrorCode::Forbidden);
        welcomed(chat, "eve").await.join("lobby", 0).await;
    }
    let tom = refused(chat, "tom").await;
    assert_eq!(tom, (ErrorCode::Unauthorized, Ending::Closed(4001)));
    assert_ne!(of_dan, of_tom);
    // What the server keeps for itself is shown to nobody.
    let rooms = server.api().get("/v1/rooms").await.ok();
    assert!(!rooms.to_string().contains("~server"), "{rooms}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bans_are_told_and_lifted_once_the_log_was_read() {
    let log = Arc::new(Faulty::default());
    let before = serve(Server::builder().log(log.clone()));
    for user in ["ada", "bob"] {
        let _ = before.api.post("/v1/bans", &json!({"user": user})).await.ok();
    }
    before.server.shutdown().await;
    log.held.send_replace(true);
    let Served { server: _server, api, .. } = serve(Server::builder().log(log.clone()));
    // In the time of many other requests neither is answered.
    let lift = api.ask("DELETE", "/v1/bans?user=bob", &[], "");
    let list = api.get("/v1/bans");
    let others = async {
        for _ in 0..50 {
            let _ = api.get("/v1/nothing").await.problem(404);
        }
    };
    tokio::pin!(lift, list, others);
    tokio::select! {
        biased;
        lifted = &mut lift => panic!("{}", lifted.text),
        listed = &mut list => panic!("{}", listed.text),
        () = &mut others => {}
    }
    log.held.send_replace(false);
    assert_eq!(lift.await.status, 204);
    let all = list.await.ok();
    assert!(all.to_string().contains(r#""user":"ada""#), "{all}");
    assert_eq!(api.get("/v1/bans").await.ok(), json!({"bans": [{"user": "ada"}]}));
}

#[tokio::test]
async fn a_drain_that_was_asked_for_is_one_as_on_a_signal() {
    let home = Home::default();
    let mut server = Process::start(&home, &Spec::default().workers(2).api()).await;
    let (mut ada, _) = V1Client::member(server.http(), "ada", "lobby").await;
    ada.say("lobby", "acked").await;
    assert_eq!(server.api().post("/v1/drain", &json!({})).await.status, 202);
    let bye = within("the goodbye", async {
        loop {
            if let ServerFrame::Bye { code, reconnect, .. } = ada.next().await {
                return (code, reconnect);
            }
        }
    });
    assert_eq!(bye.await, ("draining".to_owned(), true));
    assert_eq!(ada.socket.ending().await, Ending::Closed(4100));
    assert_eq!(server.ended().await.code(), Some(0), "{}", home.stderr());
    let said = home.stderr();
    assert!(!said.contains(chat_tests::process::API_KEY), "a key is never logged: {said}");
}
