//! What many connections share, attacked over real sockets: the budgets of a user and of an
//! address, the sessions of a user, the rooms of a server.
use std::net::SocketAddr;
use std::time::Duration;

use chat_proto::{ErrorCode, Request, SUBPROTOCOL, ServerFrame, Token};
use chat_tests::client::{Ending, LinesClient, Socket, V1Client, message, name};
use chat_tests::process::{Home, Server, Spec};
use chat_tests::wait::eventually;
use chat_tokio::auth::jwt::{Hmac, SigningKey, TokenSpec};
use chat_tokio::clock::Clock;

const SECRET: &str = "a secret of more than 32 bytes, for tests";

async fn serve(spec: Spec) -> (Home, Server) {
    let home = Home::default();
    let server = Server::start(&home, &spec).await;
    (home, server)
}

/// A server that knows its users by tokens.
async fn serve_known(spec: Spec) -> (Home, Server) {
    let home = Home::default();
    let secret = home.data().with_file_name("secret");
    std::fs::write(&secret, SECRET).expect("a file");
    let spec = spec
        .flag("--auth", "jwt")
        .flag("--jwt-secret-file", secret.to_str().expect("a plain path"))
        .flag("--jwt-issuer", "us")
        .flag("--jwt-audience", "chat");
    let server = Server::start(&home, &spec).await;
    (home, server)
}

async fn enter(server: SocketAddr, user: &str) -> (V1Client, ServerFrame) {
    let key = SigningKey::secret(SECRET.as_bytes(), Hmac::Sha256).expect("long enough");
    let spec = TokenSpec {
        issuer: "us".into(),
        audience: "chat".into(),
        user: user.into(),
        lifetime: Duration::from_secs(600),
        ..TokenSpec::default()
    };
    let token = Some(Token(spec.sign(&key).expect("a token").into()));
    let mut client = V1Client::connect(server).await;
    let hello = Request::Hello { name: None, token, features: Vec::new(), resume: None };
    let answer = client.request(&hello).await;
    (client, answer)
}

async fn entered(server: SocketAddr, user: &str) -> V1Client {
    let (client, answer) = enter(server, user).await;
    assert!(matches!(answer, ServerFrame::Welcome(_)), "{answer:?}");
    client
}

/// What one worker may have let through that it has not told the other yet: a 32nd part, and a
/// request. The other one may do the same.
const UNTOLD: usize = 2 * (64 / 32 + 1);

/// Says something, over and over, from all of these in turn, and counts what is taken. Whoever is
/// refused has to be told when to come back, and by which limit.
async fn flood(clients: &mut [V1Client], times: usize, limit: &str) -> usize {
    let mut taken = 0;
    for n in 0..times {
        for client in &mut *clients {
            match client.request(&message("lobby", None, &n.to_string())).await {
                ServerFrame::Ack { seq: Some(_), .. } => taken += 1,
                ServerFrame::Error(error) => {
                    assert_eq!((error.code, error.retryable), (ErrorCode::RateLimited, true));
                    assert!(error.message.contains(limit), "{}", error.message);
                    assert!(error.retry_after_ms.is_some_and(|ms| (1..=20_000).contains(&ms)));
                }
                other => panic!("neither taken nor refused: {other:?}"),
            }
        }
    }
    taken
}

#[tokio::test]
async fn a_flood_of_one_user_over_many_connections_has_one_budget() {
    let spec = Spec::default().workers(2).limit("user_messages_per_10s", 64);
    let (_home, server) = serve_known(spec).await;
    let mut flooders = Vec::new();
    for _ in 0..20 {
        let mut client = entered(server.http(), "mallory").await;
        // What this costs is paid from the same budget.
        client.join("lobby", 0).await;
        flooders.push(client);
    }
    let clock = Clock::start();
    let begun = clock.now().mono;
    let taken = flood(&mut flooders, 20, "`user_messages_per_10s`").await;
    // What has grown back meanwhile, and what the workers had not told each other, is taken, too.
    let grown = usize::try_from(clock.now().mono.since(begun)).expect("short") * 64 / 10_000;
    assert!((40..64 + 1 + grown + UNTOLD).contains(&taken), "{taken} of 400, {grown}");
    let mut ada = entered(server.http(), "ada").await;
    ada.join("lobby", 0).await;
    ada.say("lobby", "my budget is my own").await;
}

/// Asks for the cheapest things until nothing is left of the budget that all of these share.
async fn spend_the_rest(clients: &mut [V1Client]) {
    for client in clients {
        let leave = Request::Leave { room: name("nowhere") };
        for _ in 0..1000 {
            match client.request(&leave).await {
                ServerFrame::Error(error) if error.code == ErrorCode::RateLimited => break,
                ServerFrame::Error(_) | ServerFrame::Ack { .. } => {}
                other => panic!("neither taken nor refused: {other:?}"),
            }
        }
    }
}

/// Enters a room as one that a proxy has passed on from this address.
async fn forwarded(server: SocketAddr, from: &str, who: &str) -> V1Client {
    let headers = [("X-Forwarded-For", from)];
    let socket = Socket::open_with(server, ("", Some(SUBPROTOCOL)), &headers).await;
    let mut client = V1Client::over(socket.expect("it is accepted"));
    client.say_hello(who).await;
    client.join("lobby", 0).await;
    client
}

#[tokio::test]
async fn all_connections_of_an_address_have_one_budget() {
    let spec = Spec::default().workers(2).lines().limit("address_messages_per_10s", 64);
    let spec = spec.flag("--trusted-proxy", "127.0.0.1").flag("--lines-proxy-protocol", "yes");
    let (_home, server) = serve(spec).await;
    let mut guests = Vec::new();
    for n in 0..10 {
        guests.push(forwarded(server.http(), "192.0.2.7", &format!("g{n}")).await);
    }
    let clock = Clock::start();
    let begun = clock.now().mono;
    let taken = flood(&mut guests, 40, "`address_messages_per_10s`").await;
    let grown = usize::try_from(clock.now().mono.since(begun)).expect("short") * 64 / 10_000;
    assert!((40..64 + 1 + grown + UNTOLD).contains(&taken), "{taken} of 400, {grown}");
    // Lines come from the same address, and so does who says `hello` only now. What that costs has
    // grown again after 78 ms, which a busy machine may need to ask.
    let mut answers = Vec::new();
    for _ in 0..20 {
        spend_the_rest(&mut guests).await;
        let mut lines = LinesClient::connect(server.lines()).await;
        lines.send_raw(b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 5000\r\n").await;
        lines.send(r#"{"type":"hello","id":"0","name":"late"}"#).await;
        answers.push(lines.next().await.expect("a line"));
        if answers.last().is_some_and(|answer| answer.contains("rate_limited")) {
            break;
        }
    }
    let answer = answers.last().expect("it has asked");
    assert!(answer.contains("rate_limited") && answer.contains("retry_after_ms"), "{answers:?}");
    // A neighbour's budget is whole.
    forwarded(server.http(), "192.0.2.8", "neighbour").await.say("lobby", "not me").await;
    // A `basic` peer is not refused: it is read once there is something for it again.
    let (query, headers) = ("?username=page", [("X-Forwarded-For", "192.0.2.7")]);
    let page = Socket::open_with(server.http(), (query, None), &headers).await;
    let mut page = page.expect("it is accepted");
    page.send_text(r#"{"type":"join","room":"lobby","username":"page"}"#).await;
    let joined = page.next_text().await.expect("a frame");
    assert!(joined.contains("page joined the room"), "{joined}");
}

#[tokio::test]
async fn who_comes_from_this_machine_has_no_budget_of_an_address() {
    let (_home, server) = serve(Spec::default().limit("address_messages_per_10s", 4)).await;
    let mut guests = Vec::new();
    for n in 0..3 {
        guests.push(V1Client::member(server.http(), &format!("g{n}"), "lobby").await.0);
    }
    assert_eq!(flood(&mut guests, 40, "none").await, 120);
}

#[tokio::test]
async fn one_who_does_not_care_gets_a_bye_and_4129_and_others_stay() {
    let spec = Spec::default().limit("user_messages_per_10s", 20);
    let (_home, server) = serve_known(spec).await;
    let (mut mallory, mut calm) =
        (entered(server.http(), "mallory").await, entered(server.http(), "mallory").await);
    let mut bye = None;
    'flood: for _ in 0..1000 {
        let frame = message("lobby", None, "again").encode(None);
        if mallory.socket.try_send(frame.into()).await.is_err() {
            break;
        }
        loop {
            match mallory.next_untimed().await {
                None => break 'flood,
                Some(ServerFrame::Bye { code, reconnect, .. }) => bye = Some((code, reconnect)),
                Some(ServerFrame::Error(_)) => break,
                Some(_) => {}
            }
        }
    }
    assert_eq!(bye, Some(("rate_limited".to_owned(), true)));
    assert_eq!(mallory.socket.ending().await, Ending::Closed(4129));
    // Its twin has to wait as long, but it is not closed for that.
    match calm.request(&Request::Rooms { after: None }).await {
        ServerFrame::Rooms { .. } => {}
        ServerFrame::Error(error) => assert_eq!(error.code, ErrorCode::RateLimited),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_user_has_so_many_sessions_and_gets_their_places_back() {
    let (_home, server) = serve_known(Spec::default().limit("user_sessions", 3)).await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(entered(server.http(), "ada").await);
    }
    for _ in 0..20 {
        let (mut more, answer) = enter(server.http(), "ada").await;
        let ServerFrame::Error(error) = answer else { panic!("{answer:?}") };
        assert_eq!((error.code, error.retryable), (ErrorCode::TooManySessions, true));
        assert!(error.message.contains("`user_sessions` (3)"), "{}", error.message);
        assert_eq!(more.socket.ending().await, Ending::Closed(4101));
    }
    entered(server.http(), "bob").await;
    gives_back(server.http(), all).await;
}

/// The kernel spreads connections over the workers: with each of them counting alone, a user would
/// have as many sessions on each.
#[tokio::test]
async fn a_user_has_so_many_sessions_over_all_workers() {
    let spec = Spec::default().workers(4).limit("user_sessions", 3);
    let (_home, server) = serve_known(spec).await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(entered(server.http(), "ada").await);
    }
    // Whatever worker has it, the next one is refused once it has been told of the others.
    eventually("the workers to tell each other", async || {
        let answers: Vec<_> = refused_or_kept(server.http(), 12).await;
        answers.into_iter().all(|was_refused| was_refused).then_some(())
    })
    .await;
    for client in &mut all {
        client.join("lobby", 0).await;
    }
    gives_back(server.http(), all).await;
}

/// Ends ada's sessions, and waits until there is place for one of hers again.
async fn gives_back(server: SocketAddr, all: Vec<V1Client>) {
    for client in all {
        client.socket.close().await;
    }
    eventually("their places", async || {
        let (_, answer) = enter(server, "ada").await;
        matches!(answer, ServerFrame::Welcome(_)).then_some(())
    })
    .await;
}

/// Tries so many sessions more, all at a time; tells which of them were refused.
async fn refused_or_kept(server: SocketAddr, times: usize) -> Vec<bool> {
    let mut all = Vec::new();
    for _ in 0..times {
        all.push(enter(server, "ada").await);
    }
    let refused = |answer: &ServerFrame| match answer {
        ServerFrame::Error(error) => error.code == ErrorCode::TooManySessions,
        _ => false,
    };
    all.iter().map(|(_, answer)| refused(answer)).collect()
}

#[tokio::test]
async fn a_server_has_so_many_rooms_and_forgets_those_that_are_left() {
    let spec = Spec::default().limit("rooms_total", 5);
    let (_home, server) = serve(spec).await;
    let (mut ada, _) = V1Client::hello(server.http(), "ada").await;
    let (mut bob, _) = V1Client::hello(server.http(), "bob").await;
    // Rooms that are made and left again and again leave nothing behind.
    for round in 0..20 {
        let rooms: Vec<String> = (0..5).map(|n| format!("{round} {n}")).collect();
        for room in &rooms {
            ada.join(room, 0).await;
        }
        let error = bob.refused(&Request::Join { room: name("more"), history: 0 }).await;
        assert_eq!((error.code, error.retryable), (ErrorCode::RoomsExhausted, true));
        assert!(error.message.ends_with("(5 at most)"), "{}", error.message);
        bob.join(&rooms[0], 0).await;
        bob.leave(&rooms[0]).await;
        for room in &rooms {
            ada.leave(room).await;
        }
        assert!(bob.rooms().await.is_empty());
    }
}

/// Tries to join this room with each of them, and leaves it again; returns how many got in.
async fn join_in_turns(clients: &mut [V1Client], room: &str) -> usize {
    let mut joined = 0;
    for client in clients {
        match client.request(&Request::Join { room: name(room), history: 0 }).await {
            ServerFrame::Joined(_) => {
                joined += 1;
                client.leave(room).await;
            }
            ServerFrame::Error(error) => {
                assert_eq!((error.code, error.retryable), (ErrorCode::RoomsExhausted, true));
            }
            other => panic!("{other:?}"),
        }
    }
    joined
}

/// The kernel spreads connections over the workers: with each of them counting alone, there would
/// be place on the others.
#[tokio::test]
async fn a_server_has_so_many_rooms_over_all_workers() {
    let spec = Spec::default().workers(2).limit("rooms_total", 4).limit("messages_per_10s", 0);
    let (_home, server) = serve(spec).await;
    let (mut ada, _) = V1Client::hello(server.http(), "ada").await;
    let rooms: Vec<String> = (0..4).map(|n| format!("room {n}")).collect();
    for room in &rooms {
        ada.join(room, 0).await;
    }
    let mut others = Vec::new();
    for n in 0..12 {
        others.push(V1Client::hello(server.http(), &format!("g{n}")).await.0);
    }
    eventually("the workers to tell each other", async || {
        (join_in_turns(&mut others, "more").await == 0).then_some(())
    })
    .await;
    for room in &rooms {
        assert_eq!(join_in_turns(&mut others, room).await, 12, "it is there already");
    }
    ada.leave(&rooms[0]).await;
    eventually("a place", async || (join_in_turns(&mut others, "more").await == 12).then_some(()))
        .await;
}
