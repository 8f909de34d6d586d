//! What a server counts, as a collector reads it, after traffic of known size.
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chat_proto::{LimitValues, Request, RoomName, ServerFrame};
use chat_state::{HubId, Lost, Signal, SignalTo};
use chat_tests::client::{BasicClient, Ending, Shape, Socket, V1Client, message, name};
use chat_tests::scrape::{Scrape, get, until};
use chat_tests::wait::eventually;
use chat_tokio::broker::{Broker, SignalSink};
use chat_tokio::server::Builder;
use chat_tokio::{Server, StartError};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

/// A server, where it listens, and where it tells its metrics.
fn start(builder: Builder) -> (Server, SocketAddr, SocketAddr) {
    let server = builder.listen(any()).metrics_listen(any()).start().expect("it starts");
    let address = server.local_addr().expect("it listens");
    let watchers = server.metrics_addr().expect("it listens");
    (server, address, watchers)
}

fn limited(limits: LimitValues) -> (Server, SocketAddr, SocketAddr) {
    start(Server::builder().limits(limits.build().expect("within bounds")))
}

/// Bytes of a text as a WebSocket frame of a server.
fn frame_bytes(text: &str) -> f64 {
    (text.len() + if text.len() < 126 { 2 } else { 4 }) as f64
}

#[tokio::test]
async fn three_members_and_five_messages_are_fifteen_deliveries() {
    let (_server, address, watchers) = start(Server::builder());
    let empty = Scrape::of(watchers).await;
    let mut ada = BasicClient::connect(address, "Ada").await;
    ada.join("lobby").await;
    let mut bob = BasicClient::connect(address, "Bob").await;
    bob.join("lobby").await;
    ada.expect(&Shape::join("lobby", "Bob")).await;
    let (mut cleo, _) = V1Client::member(address, "Cleo", "lobby").await;
    ada.expect(&Shape::join("lobby", "Cleo")).await;
    bob.expect(&Shape::join("lobby", "Cleo")).await;
    let (asked, mut told) = (r#"{"type":"message","content":"hi"}"#, 0.0);
    for _ in 0..5 {
        ada.socket.send_text(asked).await;
        ada.expect(&Shape::message("lobby", "Ada", "hi")).await;
        told = frame_bytes(&bob.socket.next_text().await.expect("a message"));
        cleo.next_entry().await;
    }
    let scrape = until(
        watchers,
        &[
            ("chat_connections{dialect=\"basic\"}", 2.0),
            ("chat_connections{dialect=\"chat.v1\"}", 1.0),
            ("chat_connections_opened_total", 3.0),
            ("chat_sessions", 3.0),
            ("chat_rooms", 1.0),
            ("chat_members", 3.0),
            ("chat_deliveries_total{dialect=\"basic\"}", 10.0),
            ("chat_deliveries_total{dialect=\"chat.v1\"}", 5.0),
            ("chat_received_frames_total{dialect=\"basic\",type=\"join\"}", 2.0),
            ("chat_received_frames_total{dialect=\"basic\",type=\"message\"}", 5.0),
            ("chat_received_frames_total{dialect=\"chat.v1\",type=\"hello\"}", 1.0),
            ("chat_received_frames_total{dialect=\"chat.v1\",type=\"join\"}", 1.0),
            (
                "chat_received_bytes_total{dialect=\"basic\",type=\"message\"}",
                5.0 * asked.len() as f64,
            ),
            ("chat_sent_frames_total{dialect=\"basic\",type=\"join\"}", 2.0 + 1.0 + 2.0),
            ("chat_sent_frames_total{dialect=\"basic\",type=\"message\"}", 10.0),
            ("chat_sent_frames_total{dialect=\"chat.v1\",type=\"welcome\"}", 1.0),
            ("chat_sent_frames_total{dialect=\"chat.v1\",type=\"joined\"}", 1.0),
            ("chat_sent_frames_total{dialect=\"chat.v1\",type=\"message\"}", 5.0),
            ("chat_sent_bytes_total{dialect=\"basic\",type=\"message\"}", 10.0 * told),
            ("chat_log_drafts_total", 5.0),
            ("chat_log_appends_total{result=\"ok\"}", 5.0),
            ("chat_append_seconds_count", 5.0),
            ("chat_commit_seconds_count", 5.0),
            ("chat_fanout_enqueue_seconds_count", 5.0),
            ("chat_fanout_write_seconds_count", 5.0),
            ("chat_outbox_bytes", 0.0),
            ("chat_worker_up{worker=\"0\"}", 1.0),
            ("chat_in_service", 1.0),
        ],
    )
    .await;
    empty.check_later(&scrape);
    let sum = |of: &str| scrape.value(&format!("chat_{of}_seconds_sum"));
    assert!(sum("commit") > 0.0 && sum("commit") <= sum("fanout_enqueue"));
    assert!(sum("fanout_enqueue") <= sum("fanout_write"));
    let busy = "chat_worker_busy_seconds_total{worker=\"0\"}";
    assert!(scrape.value(busy) > empty.value(busy), "a worker that works is busy");
    // A question to the log is counted; a room that is left is forgotten.
    let reads = scrape.value("chat_log_reads_total{result=\"ok\"}");
    cleo.join("attic", 0).await;
    until(watchers, &[("chat_log_reads_total{result=\"ok\"}", reads + 1.0), ("chat_rooms", 2.0)])
        .await;
    cleo.leave("attic").await;
    until(watchers, &[("chat_rooms", 1.0), ("chat_members", 3.0)]).await;
}

#[tokio::test]
async fn refusals_and_limits_have_a_count_each() {
    let limits = LimitValues { rooms: 1, members: 2, message_bytes: 10, ..LimitValues::default() };
    let (_server, address, watchers) = limited(LimitValues { rooms_total: 2, ..limits });
    let empty = Scrape::of(watchers).await;
    let (mut ada, _) = V1Client::member(address, "Ada", "lobby").await;
    let (mut bob, _) = V1Client::member(address, "Bob", "lobby").await;
    let (mut cleo, _) = V1Client::hello(address, "Cleo").await;
    let join = |room| Request::Join { room: name(room), history: 0 };
    ada.refused(&join("second")).await;
    ada.refused(&message("lobby", None, "more than ten")).await;
    cleo.refused(&join("lobby")).await;
    cleo.refused(&message("lobby", None, "hi")).await;
    cleo.refused(&message("lobby", None, "hi")).await;
    cleo.join("second", 0).await;
    let (mut dora, _) = V1Client::hello(address, "Dora").await;
    dora.refused(&join("third")).await;
    // Whatever its type is called, it is one of the others.
    for kind in ["new", "newer", "\\u001b\\n"] {
        bob.request_text(&format!(r#"{{"type":"{kind}","id":"x"}}"#), "x").await;
    }
    bob.request_text(r#"{"type":"join","id":"y","room":7}"#, "y").await;
    let scrape = until(
        watchers,
        &[
            ("chat_errors_total{code=\"too_many_rooms\"}", 1.0),
            ("chat_errors_total{code=\"too_large\"}", 1.0),
            ("chat_errors_total{code=\"room_full\"}", 1.0),
            ("chat_errors_total{code=\"not_member\"}", 2.0),
            ("chat_errors_total{code=\"rooms_exhausted\"}", 1.0),
            ("chat_errors_total{code=\"unknown_type\"}", 3.0),
            ("chat_errors_total{code=\"bad_frame\"}", 1.0),
            ("chat_sent_frames_total{dialect=\"chat.v1\",type=\"error\"}", 10.0),
            ("chat_limits_hit_total{limit=\"rooms\"}", 1.0),
            ("chat_limits_hit_total{limit=\"message_bytes\"}", 1.0),
            ("chat_limits_hit_total{limit=\"members\"}", 1.0),
            ("chat_limits_hit_total{limit=\"rooms_total\"}", 1.0),
            ("chat_received_frames_total{dialect=\"chat.v1\",type=\"other\"}", 3.0),
            ("chat_received_frames_total{dialect=\"chat.v1\",type=\"broken\"}", 1.0),
        ],
    )
    .await;
    empty.check_later(&scrape);
}

#[tokio::test]
async fn a_budget_is_refused_or_waited_for() {
    let limits =
        LimitValues { messages_per_10s: 1, basic_messages_per_10s: 1, ..LimitValues::default() };
    let (_server, address, watchers) = limited(limits);
    let (mut ada, _) = V1Client::hello(address, "Ada").await;
    let mut refused = 0.0;
    while refused == 0.0 {
        if let ServerFrame::Error(_) = ada.request(&Request::Ping).await {
            refused += 1.0;
        }
    }
    let mut bob = BasicClient::connect(address, "Bob").await;
    bob.join("lobby").await;
    bob.say("one").await;
    bob.say("two").await;
    until(
        watchers,
        &[
            ("chat_errors_total{code=\"rate_limited\"}", refused),
            ("chat_limits_hit_total{limit=\"messages_per_10s\"}", refused),
            ("chat_pauses_total", 1.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_end_of_each_connection_is_counted_once() {
    let limits = LimitValues {
        connections: 3,
        frame_bytes: 256,
        message_bytes: 100,
        ..LimitValues::default()
    };
    let (_server, address, watchers) = limited(limits);
    let mut polite = BasicClient::connect(address, "Ada").await;
    let rude = BasicClient::connect(address, "Bob").await;
    let mut loud = BasicClient::connect(address, "Cleo").await;
    until(watchers, &[("chat_connections{dialect=\"basic\"}", 3.0)]).await;
    let mut late = BasicClient::connect(address, "Dora").await;
    assert_eq!(late.socket.ending().await, Ending::Closed(4101));
    loud.say(&"x".repeat(300)).await;
    assert_eq!(loud.socket.ending().await, Ending::Closed(1009));
    let goodbye = CloseFrame { code: 1000.into(), reason: "".into() };
    polite.socket.send(Message::Close(Some(goodbye))).await;
    rude.socket.reset();
    until(
        watchers,
        &[
            ("chat_connections_opened_total", 4.0),
            ("chat_connections{dialect=\"basic\"}", 0.0),
            ("chat_closes_total{code=\"4101\",reason=\"overloaded\"}", 1.0),
            ("chat_limits_hit_total{limit=\"connections\"}", 1.0),
            ("chat_closes_total{code=\"1009\",reason=\"too_big\"}", 1.0),
            ("chat_limits_hit_total{limit=\"frame_bytes\"}", 1.0),
            ("chat_disconnects_total{reason=\"goodbye\"}", 1.0),
            ("chat_disconnects_total{reason=\"lost\"}", 1.0),
        ],
    )
    .await;
}

/// Two members of a room, of whom one does not read, and is congested.
async fn congested(address: SocketAddr, watchers: SocketAddr) -> (V1Client, V1Client) {
    let (mut ada, _) = V1Client::member(address, "Ada", "lobby").await;
    let mut slow = V1Client::over(Socket::open_narrow(address, "").await);
    let hello = r#"{"type":"hello","id":"h","name":"Slow"}"#;
    slow.request_text(hello, "h").await;
    slow.join("lobby", 0).await;
    until(watchers, &[("chat_sessions", 2.0), ("chat_members", 2.0)]).await;
    let text = "x".repeat(4000);
    eventually("an outbox over its mark", async || {
        ada.say("lobby", &text).await;
        (Scrape::of(watchers).await.value("chat_congested_connections") == 1.0).then_some(())
    })
    .await;
    (ada, slow)
}

#[tokio::test]
async fn who_does_not_keep_up_is_seen_and_so_is_its_return() {
    let limits =
        LimitValues { outbox_high_bytes: 65_536, messages_per_10s: 0, ..LimitValues::default() };
    let (_server, address, watchers) = limited(limits);
    let (mut ada, mut slow) = congested(address, watchers).await;
    let last = ada.say("lobby", "last").await;
    let scrape = until(watchers, &[("chat_congestions_total", 1.0)]).await;
    let waiting = scrape.value("chat_outbox_bytes");
    assert!((65_536.0..=131_072.0 + 8192.0).contains(&waiting), "{waiting} bytes");
    let before = scrape.value("chat_catch_ups_total");
    while slow.next_entry().await.seq != last {}
    let back = until(
        watchers,
        &[
            ("chat_congested_connections", 0.0),
            ("chat_outbox_bytes", 0.0),
            ("chat_gaps_total", 0.0),
        ],
    )
    .await;
    let catch_ups = back.value("chat_catch_ups_total") - before;
    assert!(catch_ups >= 1.0, "it was fed and is live again");
}

#[tokio::test]
async fn who_is_hopelessly_behind_is_counted_as_a_gap() {
    let limits =
        LimitValues { outbox_high_bytes: 65_536, messages_per_10s: 0, ..LimitValues::default() };
    let (_server, address, watchers) = limited(LimitValues { behind_entries: 2, ..limits });
    let (mut ada, mut slow) = congested(address, watchers).await;
    for _ in 0..4 {
        ada.say("lobby", "more").await;
    }
    while !matches!(slow.next().await, ServerFrame::Gap { .. }) {}
    until(watchers, &[("chat_gaps_total", 1.0), ("chat_catch_ups_total", 1.0)]).await;
}

#[tokio::test]
async fn a_page_that_does_not_read_is_closed_and_counted() {
    let limits =
        LimitValues { outbox_bytes: 8192, outbox_high_bytes: 8192, ..LimitValues::default() };
    let (_server, address, watchers) = limited(LimitValues { messages_per_10s: 0, ..limits });
    let mut slow = BasicClient::connect_narrow(address, "Slow").await;
    slow.join("lobby").await;
    let (mut ada, _) = V1Client::member(address, "Ada", "lobby").await;
    let text = "x".repeat(4000);
    let closed = "chat_closes_total{code=\"4200\",reason=\"slow_consumer\"}";
    eventually("the slow one to be closed", async || {
        ada.say("lobby", &text).await;
        (Scrape::of(watchers).await.value(closed) == 1.0).then_some(())
    })
    .await;
    until(watchers, &[("chat_limits_hit_total{limit=\"outbox_bytes\"}", 1.0)]).await;
}

#[tokio::test]
async fn sessions_that_may_come_back_are_away() {
    let (_server, address, watchers) = start(Server::builder());
    let (ada, _) = V1Client::member(address, "Ada", "lobby").await;
    until(watchers, &[("chat_sessions", 1.0), ("chat_sessions_away", 0.0)]).await;
    ada.socket.reset();
    until(watchers, &[("chat_sessions", 0.0), ("chat_sessions_away", 1.0)]).await;
}

/// A broker that passes nothing on, and signals what the test wants.
#[derive(Default)]
struct Scripted {
    /// The worker: the last one that connects, after the probe of health.
    worker: Mutex<Option<(HubId, Arc<dyn SignalSink>)>>,
    published: AtomicU64,
}

impl Broker for Scripted {
    fn connect(&self, hub: HubId, sink: Arc<dyn SignalSink>) {
        *self.worker.lock().expect("nobody has panicked") = Some((hub, sink));
    }
    fn disconnect(&self, _: HubId) {}
    fn follow(&self, _: HubId, _: &RoomName) {}
    fn unfollow(&self, _: HubId, _: &RoomName) {}
    fn publish(&self, from: HubId, _: &SignalTo, _: Signal) {
        let worker = self.worker.lock().expect("nobody has panicked");
        let is_worker = worker.as_ref().is_some_and(|(hub, _)| *hub == from);
        self.published.fetch_add(u64::from(is_worker), Ordering::Relaxed);
    }
}

#[tokio::test]
async fn signals_are_counted_in_both_directions_and_so_are_losses() {
    let broker = Arc::new(Scripted::default());
    let (_server, address, watchers) = start(Server::builder().broker(broker.clone()));
    let (mut ada, _) = V1Client::member(address, "Ada", "lobby").await;
    ada.say("lobby", "hi").await;
    let worker = broker.worker.lock().expect("nobody has panicked").clone();
    let (_, sink) = worker.expect("the worker is connected");
    let peer = HubId { node: 7, incarnation: 1 };
    sink.signal(peer, Signal::AskRosters { rooms: vec![name("elsewhere")] });
    sink.signal(peer, Signal::AskRosters { rooms: vec![name("elsewhere")] });
    sink.lost(Lost::All);
    until(
        watchers,
        &[("chat_broker_signals_total{direction=\"in\"}", 2.0), ("chat_broker_losses_total", 1.0)],
    )
    .await;
    let sent = "chat_broker_signals_total{direction=\"out\"}";
    let published = eventually("both counts to be the same", async || {
        let before = broker.published.load(Ordering::Relaxed);
        (Scrape::of(watchers).await.value(sent) == before as f64).then_some(before)
    });
    assert!(published.await >= 2, "a member has come, and an entry was committed");
}

/// A server that tells its metrics beside the page. That takes a port that is known before, and
/// anybody may take it meanwhile.
fn beside() -> (Server, SocketAddr) {
    for _ in 0..100 {
        let free = std::net::TcpListener::bind(any()).and_then(|free| free.local_addr());
        let address = free.expect("a port");
        match Server::builder().workers(2).listen(address).metrics_listen(address).start() {
            Ok(server) => return (server, address),
            Err(StartError::Listen { error, .. }) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => panic!("it does not start: {error}"),
        }
    }
    panic!("a port that was free is always taken by another");
}

#[tokio::test]
async fn metrics_stand_beside_the_page_only_if_that_is_wanted() {
    let (server, address, watchers) = start(Server::builder());
    assert_eq!(get(address, "/metrics").await.0, 404, "they have a listener of their own");
    assert_eq!(get(watchers, "/").await.0, 404, "and it has nothing else");
    drop(server);
    let server = Server::builder().listen(any()).start().expect("it starts");
    assert_eq!(server.metrics_addr(), None);
    let address = server.local_addr().expect("it listens");
    assert_eq!(get(address, "/metrics").await.0, 404, "nobody wants them");
    drop(server);
    let (_server, address) = beside();
    let scrape = Scrape::of(address).await;
    assert_eq!(scrape.value("chat_worker_up{worker=\"1\"}"), 1.0);
}

#[tokio::test]
async fn a_snapshot_needs_no_listener() {
    let server = Server::builder().listen(any()).start().expect("it starts");
    let address = server.local_addr().expect("it listens");
    let (mut ada, _) = V1Client::member(address, "Ada", "lobby").await;
    ada.say("lobby", "hi").await;
    let metrics = server.metrics();
    let snapshot = eventually("the delivery", async || {
        let snapshot = metrics.snapshot().await;
        let deliveries = snapshot.value("chat_deliveries_total", &[("dialect", "chat.v1")]);
        (deliveries == Some(1.0)).then_some(snapshot)
    });
    let snapshot = snapshot.await;
    assert_eq!(snapshot.value("chat_append_seconds", &[]), Some(1.0));
    assert_eq!(snapshot.value("chat_deliveries_total", &[]), None, "a label is missing");
    let read = Scrape::parse(&snapshot.encode()).expect("well formed");
    let families: Vec<&str> = snapshot.families().iter().map(|family| family.name).collect();
    assert_eq!(read.names().len(), families.len());
    assert!(families.iter().all(|name| read.names().contains(name)));
    // It may be asked also when the server has gone.
    drop(server);
    eventually("the worker's end to be noticed", async || {
        let gone = metrics.snapshot().await;
        (gone.value("chat_worker_up", &[("worker", "0")]) == Some(0.0)).then_some(())
    })
    .await;
}
