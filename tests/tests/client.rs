//! What the async client adds to its machine: transports, back pressure, answers, credentials, its
//! own end.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chat_proto::{
    Body, CloseCode, DisplayName, Entry, ErrorBody, ErrorCode, HistoryRange, Request, RoomName,
    Seq, ServerFrame, Timestamp, Token, UserId,
};
use chat_tests::by_hand::{Peer, by_hand};
use chat_tests::client::V1Client;
use chat_tests::proxy::{Cut, Plan, Proxy};
use chat_tests::wait::{eventually, within};
use chat_tokio::Server;
use chat_tokio::client::{
    Client, ConnectError, ConnectFuture, Delivery, Error, Events, InProcess, LeftReason, LinesLink,
    Link, Options, Outcome, State, StopReason, Times,
};
use chat_tokio::transport::Inbound;
use tokio::net::TcpStream;

fn name(room: &str) -> RoomName {
    RoomName::new(room).expect("a room")
}

/// Times of a network without distances.
fn quick() -> Times {
    Times {
        backoff_base_ms: 5,
        backoff_max_ms: 20,
        resume_spread_ms: 5,
        retry_min_ms: 1,
        grace_ms: 20,
        ..Times::default()
    }
}

fn options() -> Options {
    Client::options().times(quick())
}

fn server() -> Server {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Server::builder().listen(any).listen_lines(any).start().expect("a server")
}

fn url(address: Option<SocketAddr>) -> String {
    format!("ws://{}/ws", address.expect("it listens"))
}

/// Reads events up to the first for which there is an answer.
async fn until<T>(events: &mut Events, mut wanted: impl FnMut(Delivery) -> Option<T>) -> T {
    within("an event", async {
        loop {
            let event = events.next().await.expect("the client goes on");
            if let Some(answer) = wanted(event) {
                return answer;
            }
        }
    })
    .await
}

fn said(event: Delivery) -> Option<(u64, String)> {
    match event {
        Delivery::Entry(entry) => match &entry.body {
            Body::Message { content, .. } => Some((entry.seq.get(), content.to_string())),
            _ => None,
        },
        _ => None,
    }
}

/// Everything that an application does, over one kind of transport.
async fn a_visit(client: Client, mut events: Events) {
    let room = name("lobby");
    within("a connection", client.online()).await.expect("it is taken");
    client.join(&room).await.expect("it lives");
    let reading = tokio::spawn(async move {
        let (mut seen, mut settled) = (Vec::new(), Vec::new());
        until(&mut events, |event| {
            match event {
                Delivery::Settled { ticket, outcome } => settled.push((ticket, outcome)),
                other => seen.extend(said(other)),
            }
            (seen.len() == 3 && settled.len() == 1).then_some(())
        })
        .await;
        (events, seen, settled)
    });
    let first = client.send(&room, "one").await.expect("it is said");
    assert_eq!((first.seq.get(), first.duplicate), (1, false));
    let second = client.reply(&room, first.seq, "two").await.expect("it is said");
    assert_eq!(second.seq.get(), 2);
    let page = client.history(&room, HistoryRange::After(first.seq), Some(10)).await;
    let page = page.expect("a page");
    assert_eq!((page.events.len(), page.has_more_before), (1, true));
    let Body::Message { reply_to, .. } = &page.events[0].body else { panic!("{page:?}") };
    assert_eq!(*reply_to, Some(first.seq));
    assert_eq!(client.members(&room).await.expect("a list").count, 1);
    let rooms = client.rooms(None).await.expect("a list");
    assert_eq!((rooms.rooms.len(), rooms.has_more), (1, false));
    assert_eq!(client.rooms(Some(&room)).await.expect("a list").rooms, []);
    client.typing(&room).await.expect("it lives");
    client.typing_stopped(&room).await.expect("it lives");
    let ticket = client.post(&room, "three").await.expect("it lives");

    let read = within("three entries", reading).await.expect("no panic");
    let (mut events, seen, settled) = read;
    let expected = [(1, "one"), (2, "two"), (3, "three")];
    assert_eq!(seen, expected.map(|(seq, text)| (seq, text.to_owned())));
    // Only what was posted is settled by an event.
    let [(posted, Outcome::Acked { seq, duplicate: false, .. })] = settled.as_slice() else {
        panic!("{settled:?}");
    };
    assert_eq!((*posted, seq.get()), (ticket, 3));
    // What is refused comes back as an error.
    let refused = client.send(&room, "").await.expect_err("an empty text is no message");
    assert!(matches!(&refused, Error::Refused(body) if body.code == ErrorCode::InvalidContent));
    let absent = client.send(&name("elsewhere"), "x").await.expect_err("it has not joined");
    assert!(matches!(&absent, Error::Refused(body) if body.code == ErrorCode::NotMember));

    client.leave(&room).await.expect("it lives");
    let left = until(&mut events, |event| match event {
        Delivery::Left { why, .. } => Some(why),
        _ => None,
    });
    assert_eq!(left.await, LeftReason::Asked);
    let stats = client.stats().await.expect("it lives");
    assert_eq!((stats.rooms, stats.outbox_entries, stats.queries, stats.buffered), (0, 0, 0, 0));
    let other = client.clone();
    within("the close", client.close()).await;
    assert_eq!(other.send(&room, "late").await, Err(Error::Stopped));
    let stopped = State::Stopped { why: StopReason::Asked };
    assert_eq!(other.state(), stopped);
    let mut last = None;
    while let Some(event) = within("the end", events.next()).await {
        last = Some(event);
    }
    assert_eq!(last, Some(Delivery::State(stopped)));
}

#[tokio::test]
async fn a_visit_over_websocket() {
    let server = server();
    let (client, events) = options().start(&url(server.local_addr())).expect("an address");
    a_visit(client, events).await;
}

#[tokio::test]
async fn a_visit_over_lines() {
    let server = server();
    let address = server.lines_addr().expect("it listens");
    let connect = move || -> ConnectFuture {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            Ok(Box::new(LinesLink::new(stream, 1 << 20)) as Box<dyn Link>)
        })
    };
    let (client, events) = options().start_over(connect);
    a_visit(client, events).await;
}

#[tokio::test]
async fn a_visit_in_the_same_process() {
    let server = Server::builder().workers(2).start().expect("a server");
    let (client, events) =
        options().start_over(InProcess::new(Arc::new(server.handle()), 64 * 1024));
    a_visit(client, events).await;
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_once() {
    let error = Client::connect("https://localhost/ws").await.expect_err("it is a page");
    assert!(matches!(&error, ConnectError::Url(_)), "{error}");
    assert_eq!(error.to_string(), "the scheme has to be `ws` or `wss`, not `https`");
}

#[tokio::test]
async fn others_see_who_closes_leave_at_once() {
    let server = server();
    let (mut other, _) =
        V1Client::member(server.local_addr().expect("it listens"), "Bob", "lobby").await;
    let options = options().name(DisplayName::new("Ada").expect("a name"));
    let (client, events) = options.start(&url(server.local_addr())).expect("an address");
    client.join(&name("lobby")).await.expect("it lives");
    let leaves = async |other: &mut V1Client| loop {
        match other.next().await {
            ServerFrame::Join { member, .. } => assert_eq!(member.username.as_str(), "Ada"),
            ServerFrame::Leave { reason, .. } => return reason,
            _ => {}
        }
    };
    eventually("Ada", async || {
        let there = client.members(&name("lobby")).await.ok()?;
        (there.count == 2).then_some(())
    })
    .await;
    // The last handle that is dropped is as good as a close.
    drop((client, events));
    assert_eq!(leaves(&mut other).await, chat_proto::LeaveReason::Left);
}

#[tokio::test]
async fn it_comes_back_after_a_cut_and_has_missed_nothing() {
    let server = server();
    let direct = server.local_addr().expect("it listens");
    let proxy = Proxy::start(direct, Plan::Nothing);
    let (client, mut events) = options().start(&url(Some(proxy.address()))).expect("an address");
    let room = name("lobby");
    client.join(&room).await.expect("it lives");
    client.send(&room, "before").await.expect("it is said");
    let (mut other, _) = V1Client::member(direct, "Bob", "lobby").await;
    proxy.refuse();
    assert_eq!(proxy.cut_all(Cut::Reset), 1);
    until(&mut events, |event| match event {
        Delivery::State(State::Waiting { .. }) => Some(()),
        _ => None,
    })
    .await;
    let meanwhile = client.post(&room, "from afar").await.expect("it lives");
    other.say("lobby", "meanwhile").await;
    proxy.admit();
    let mut seen = Vec::new();
    let mut fresh = 0;
    until(&mut events, |event| {
        match event {
            Delivery::Joined { fresh: true, .. } => fresh += 1,
            Delivery::Settled { ticket, .. } => assert_eq!(ticket, meanwhile),
            other => seen.extend(said(other)),
        }
        (seen.len() == 2).then_some(())
    })
    .await;
    let expected = [(2, "meanwhile"), (3, "from afar")];
    assert_eq!(seen, expected.map(|(seq, text)| (seq, text.to_owned())));
    assert_eq!(fresh, 0, "its position was lost");
    client.close().await;
}

#[tokio::test]
async fn what_comes_to_the_inbox_is_read_over_a_cut_and_nothing_is_said_there() {
    let server = server();
    let proxy = Proxy::start(server.local_addr().expect("it listens"), Plan::Nothing);
    let options = options().features(["typing".to_owned()]);
    let (client, mut events) = options.start(&url(Some(proxy.address()))).expect("an address");
    let welcome = until(&mut events, |event| match event {
        Delivery::Welcome(welcome) => Some(welcome),
        _ => None,
    });
    let inbox = RoomName::own(&welcome.await.user);
    client.join(&inbox).await.expect("it lives");
    until(&mut events, |event| matches!(event, Delivery::Joined { .. }).then_some(())).await;
    let refused = client.send(&inbox, "hello?").await.expect_err("it is read only");
    assert!(matches!(&refused, Error::Refused(body) if body.code == ErrorCode::Forbidden));
    // This is refused, too, which does not mean that it is out of the room.
    client.typing(&inbox).await.expect("it lives");
    let publish = async |content: &str| {
        let what = chat_tokio::server::Publish {
            room: inbox.clone(),
            service: "shop".into(),
            username: DisplayName::new("The shop").expect("a name"),
            key: None,
            content: content.into(),
            reply_to: None,
        };
        server.handle().publish(what).await.expect("it is taken");
    };
    let next_said = |event| match event {
        Delivery::Left { .. } | Delivery::Reset { .. } => panic!("{event:?}"),
        other => said(other),
    };
    publish("one").await;
    assert_eq!(until(&mut events, next_said).await, (1, "one".to_owned()));
    proxy.refuse();
    assert_eq!(proxy.cut_all(Cut::Reset), 1);
    publish("two").await;
    proxy.admit();
    assert_eq!(until(&mut events, next_said).await, (2, "two".to_owned()));
    publish("three").await;
    assert_eq!(until(&mut events, next_said).await, (3, "three".to_owned()));
    client.close().await;
}

fn entry(room: &RoomName, seq: u64) -> ServerFrame {
    let (room, seq, ts) = (room.clone(), Seq::new(seq).expect("a place"), Timestamp(seq));
    let (user, username) =
        (UserId::new("bob").expect("a user"), DisplayName::new("Bob").expect("a name"));
    let body = Body::Message { content: format!("line {seq}").into(), reply_to: None };
    ServerFrame::Entry(Arc::new(Entry::new(room, seq, ts, user, username, None, body)))
}

/// Lets the client do all that it can do without the test.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

/// A peer with a client in a room.
async fn in_a_room(peer: &mut Peer, client: &Client) -> RoomName {
    let room = name("lobby");
    client.join(&room).await.expect("it lives");
    peer.welcome(25_000).await;
    peer.let_in().await
}

#[tokio::test]
async fn an_application_that_does_not_read_stops_the_server() {
    const EVENTS: u64 = 8;
    let (connect, mut server) = by_hand(1024);
    let (client, mut events) = options().events(EVENTS as usize).start_over(connect);
    let mut peer = server.accept().await;
    let room = in_a_room(&mut peer, &client).await;
    let mut sent = 0;
    loop {
        sent += 1;
        if !peer.try_send(&entry(&room, sent)).await {
            settle().await;
            if !peer.try_send(&entry(&room, sent + 1)).await {
                sent += 1;
                break;
            }
            sent += 1;
        }
        assert!(sent < 1000, "the client goes on reading");
    }
    // It is alive all the same, and takes what it is asked to do.
    let asked = client.history(&room, HistoryRange::Latest, None);
    let question = async {
        loop {
            if let (_, Request::History { .. }) = peer.request().await {
                return;
            }
        }
    };
    tokio::select! {
        answer = asked => panic!("nobody has answered: {answer:?}"),
        () = question => {}
    }
    // Once it is read, all of it comes, in order.
    let rest = async { peer.flush().await };
    let read = async {
        let mut next = 1;
        while next <= sent {
            let (seq, _) = until(&mut events, said).await;
            assert_eq!(seq, next);
            next += 1;
        }
    };
    within("all entries", async { tokio::join!(rest, read) }).await;
    assert!(sent > EVENTS, "{sent}");
}

#[tokio::test]
async fn a_server_that_is_not_read_is_not_taken_for_dead() {
    let times = Times { probe_ms: 20, ..quick() };
    let (connect, mut server) = by_hand(512);
    let (client, mut events) = Client::options().times(times).events(1).start_over(connect);
    client.join(&name("lobby")).await.expect("it lives");
    let mut peer = server.accept().await;
    peer.welcome(30).await;
    let room = peer.let_in().await;
    let mut sent = 1;
    while peer.try_send(&entry(&room, sent)).await {
        settle().await;
        sent += 1;
    }
    // A client asks a silent server after 1.5 s at the earliest: it would have been given up.
    let patience = Duration::from_millis(2500);
    let again = tokio::time::timeout(patience, server.accept_untimed()).await;
    assert!(again.is_err(), "the client has given up a server that it does not read");
    let rest = async { peer.flush().await };
    let read = async {
        for next in 1..=sent {
            assert_eq!(until(&mut events, said).await.0, next);
        }
    };
    within("all entries", async { tokio::join!(rest, read) }).await;
}

#[tokio::test]
async fn credentials_are_made_when_they_are_needed() {
    let made = Arc::new(AtomicU64::new(0));
    let makes = Arc::clone(&made);
    let options = options().tokens(move || {
        let number = makes.fetch_add(1, Ordering::Relaxed);
        async move { (number < 3).then(|| Token(format!("token {number}").into())) }
    });
    let (connect, mut server) = by_hand(4096);
    let (client, _events) = options.start_over(connect);
    let shown = async |peer: &mut Peer| match peer.request().await {
        (id, Request::Hello { token, .. }) => (id, token.expect("a credential").0.to_string()),
        (_, other) => panic!("no hello, but {other:?}"),
    };
    let mut peer = server.accept().await;
    let (id, token) = shown(&mut peer).await;
    assert_eq!(token, "token 0");
    let refusal = ErrorBody::new(id, ErrorCode::Unauthorized, "it is too old");
    peer.send(&ServerFrame::Error(Box::new(refusal))).await;
    peer.close(CloseCode::Unauthorized).await;
    let mut peer = server.accept().await;
    assert_eq!(shown(&mut peer).await.1, "token 1");
    peer.close(CloseCode::Unauthorized).await;
    // A fresh one was refused as well: to try on would not help.
    let error = within("the refusal", client.online()).await.expect_err("it has stopped");
    assert_eq!(error, ConnectError::Stopped(StopReason::Unauthorized));
    client.restart().await.expect("it lives");
    let mut peer = server.accept().await;
    let hello = peer.welcome(25_000).await;
    assert!(matches!(&hello, Request::Hello { token: Some(_), .. }), "{hello:?}");
    within("a connection", client.online()).await.expect("it is taken");
}

#[tokio::test]
async fn a_client_that_is_closed_says_goodbye_and_settles_what_waits() {
    let (connect, mut server) = by_hand(4096);
    let (client, mut events) = options().start_over(connect);
    let mut peer = server.accept().await;
    let room = in_a_room(&mut peer, &client).await;
    let sending = tokio::spawn({
        let (client, room) = (client.clone(), room.clone());
        async move { client.send(&room, "unheard").await }
    });
    let (_, request) = peer.request().await;
    assert!(matches!(request, Request::Message { .. }), "{request:?}");
    let posted = client.post(&room, "unheard too").await.expect("it lives");
    within("the close", client.close()).await;
    assert_eq!(peer.end().await, Inbound::Left, "it has not said goodbye");
    let outcome = within("the outcome", sending).await.expect("no panic");
    assert_eq!(outcome, Err(Error::Stopped));
    let settled = until(&mut events, |event| match event {
        Delivery::Settled { ticket, outcome } => Some((ticket, outcome)),
        _ => None,
    });
    assert_eq!(settled.await, (posted, Outcome::Stopped));
}

#[tokio::test]
async fn to_wake_up_is_not_to_wait() {
    let times = Times { backoff_base_ms: 3_600_000, backoff_max_ms: 3_600_000, ..quick() };
    let (connect, mut server) = by_hand(4096);
    let (client, mut events) = Client::options().times(times).start_over(connect);
    let mut peer = server.accept().await;
    peer.welcome(25_000).await;
    drop(peer);
    until(&mut events, |event| match event {
        Delivery::State(State::Waiting { .. }) => Some(()),
        _ => None,
    })
    .await;
    client.wake().await.expect("it lives");
    server.accept().await.welcome(25_000).await;
}

#[tokio::test]
async fn a_later_process_goes_on_where_an_earlier_one_was() {
    let server = server();
    let room = name("lobby");
    let address = url(server.local_addr());
    let (client, mut events) = options().start(&address).expect("an address");
    client.join(&room).await.expect("it lives");
    client.send(&room, "seen").await.expect("it is said");
    until(&mut events, said).await;
    let resume = client.resume().await.expect("it lives").expect("a session");
    assert_eq!(resume.rooms[&room].seq.get(), 1);
    client.send(&room, "not seen").await.expect("it is said");

    // The session is taken over, and the earlier one stays away.
    let (later, mut later_events) = options().resume(resume).start(&address).expect("an address");
    assert_eq!(until(&mut later_events, said).await, (2, "not seen".into()));
    let why = until(&mut events, |event| match event {
        Delivery::State(State::Stopped { why }) => Some(why),
        _ => None,
    });
    let why = why.await;
    let superseded = CloseCode::Superseded.number();
    assert!(matches!(why, StopReason::Closed { code, .. } if code == superseded), "{why:?}");
    let outcome = later.send(&room, "on").await.expect("it is said");
    assert_eq!(outcome.seq.get(), 3);
}
