//! Whether a server says that it is ready exactly when it is, over real sockets.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chat_proto::{Body, DisplayName, RoomName, Seq, Timestamp, UserId};
use chat_state::{
    AppendError, Appended, Draft, HubId, LogHead, LogPage, ReadError, ReadRange, Signal, SignalTo,
};
use chat_tests::client::V1Client;
use chat_tests::scrape::{Scrape, get};
use chat_tests::wait::{eventually, within};
use chat_tokio::Server;
use chat_tokio::broker::{Broker, LocalBroker, SignalSink};
use chat_tokio::http::Ready;
use chat_tokio::log::{
    Capabilities, LogFuture, MemoryLog, RoomBatch, RoomLog, SqliteLog, SqliteOptions,
};
use chat_tokio::server::Builder;
use tokio::sync::watch;

const WORKS: u8 = 0;
const REFUSES: u8 = 1;
const STALLS: u8 = 2;

/// A log that can be told to refuse, or to keep its answers to itself.
struct Moody {
    log: MemoryLog,
    mood: AtomicU8,
    appends: AtomicU64,
    freed: watch::Sender<bool>,
}

impl Moody {
    fn new(mood: u8) -> Arc<Self> {
        let (log, mood) = (MemoryLog::default(), AtomicU8::new(mood));
        let (appends, freed) = (AtomicU64::new(0), watch::Sender::new(false));
        Arc::new(Self { log, mood, appends, freed })
    }

    fn appends(&self) -> u64 {
        self.appends.load(Ordering::Relaxed)
    }

    /// The probe's room.
    async fn probed(&self) -> LogHead {
        self.log.head(room()).await.expect("a head")
    }
}

fn room() -> RoomName {
    RoomName::server("~health").expect("a reserved name")
}

impl RoomLog for Moody {
    fn capabilities(&self) -> Capabilities {
        self.log.capabilities()
    }

    fn append(&self, batches: Vec<RoomBatch>) -> LogFuture<Vec<Result<Appended, AppendError>>> {
        self.appends.fetch_add(1, Ordering::Relaxed);
        match self.mood.load(Ordering::Relaxed) {
            WORKS => self.log.append(batches),
            REFUSES => {
                let refuse = |_| Err(AppendError::Refused("the disk\nis full".into()));
                Box::pin(std::future::ready(batches.iter().map(refuse).collect()))
            }
            _ => {
                let (answer, mut freed) = (self.log.append(batches), self.freed.subscribe());
                Box::pin(async move {
                    freed.wait_for(|freed| *freed).await.expect("the log lives");
                    answer.await
                })
            }
        }
    }

    fn head(&self, room: RoomName) -> LogFuture<Result<LogHead, ReadError>> {
        self.log.head(room)
    }

    fn read(&self, room: RoomName, range: ReadRange) -> LogFuture<Result<LogPage, ReadError>> {
        self.log.read(room, range)
    }

    fn trim(&self, room: RoomName, before: Seq) -> LogFuture<Result<Seq, ReadError>> {
        self.log.trim(room, before)
    }
}

/// A broker that loses all, without a word.
struct Deaf;

impl Broker for Deaf {
    fn connect(&self, _: HubId, _: Arc<dyn SignalSink>) {}
    fn disconnect(&self, _: HubId) {}
    fn follow(&self, _: HubId, _: &RoomName) {}
    fn unfollow(&self, _: HubId, _: &RoomName) {}
    fn publish(&self, _: HubId, _: &SignalTo, _: Signal) {}
}

/// A broker that counts what each Hub sends.
#[derive(Default)]
struct Counting {
    broker: LocalBroker,
    sent: Mutex<BTreeMap<HubId, u64>>,
}

impl Counting {
    fn total(&self) -> u64 {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Broker for Counting {
    fn connect(&self, hub: HubId, sink: Arc<dyn SignalSink>) {
        self.broker.connect(hub, sink);
    }

    fn disconnect(&self, hub: HubId) {
        self.broker.disconnect(hub);
    }

    fn follow(&self, hub: HubId, room: &RoomName) {
        self.broker.follow(hub, room);
    }

    fn unfollow(&self, hub: HubId, room: &RoomName) {
        self.broker.unfollow(hub, room);
    }

    fn publish(&self, from: HubId, to: &SignalTo, signal: Signal) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *sent.entry(from).or_default() += 1;
        drop(sent);
        self.broker.publish(from, to, signal);
    }
}

fn start(builder: Builder) -> Server {
    let any = || "127.0.0.1:0".parse().expect("an address");
    builder.listen(any()).metrics_listen(any()).start().expect("it starts")
}

async fn readyz(server: &Server) -> (u16, String) {
    get(server.local_addr().expect("it listens"), "/readyz").await
}

fn is(status: u16, body: &str) -> (u16, String) {
    (status, body.to_owned())
}

#[tokio::test]
async fn a_ready_server_has_appended_and_heard_its_signal_and_leaves_one_entry() {
    let (log, broker) = (Moody::new(WORKS), Arc::new(Counting::default()));
    let server = start(Server::builder().log(log.clone()).broker(broker.clone()));
    assert_eq!((log.appends(), broker.total()), (0, 0), "nobody has asked");
    assert_eq!(readyz(&server).await, is(200, "ready\n"));
    assert_eq!((log.appends(), broker.total()), (1, 1));
    // Until the answer is old, asking costs nothing; then there is another probe.
    let last = |n| Seq::new(n).expect("a place");
    let asked = eventually("another probe", async || {
        assert_eq!(readyz(&server).await, is(200, "ready\n"));
        (log.appends() == 3).then_some(log.appends())
    });
    asked.await;
    let head = eventually("the trim", async || {
        tokio::task::yield_now().await;
        let head = log.probed().await;
        (head.first == head.last).then_some(head)
    });
    assert_eq!(head.await.last, last(3), "one entry is left");
    // Nobody sees the room, or comes near it.
    let address = server.local_addr().expect("it listens");
    let (mut ada, _) = V1Client::member(address, "Ada", "lobby").await;
    let rooms: Vec<String> = ada.rooms().await.iter().map(|room| room.room.to_string()).collect();
    assert_eq!(rooms, ["lobby"]);
    let join = r#"{"type":"join","id":"j","room":"~health"}"#;
    let reply = ada.request_text(join, "j").await;
    assert!(matches!(reply, chat_proto::ServerFrame::Error(_)), "{reply:?}");
}

#[tokio::test]
async fn many_who_ask_cause_one_probe() {
    let log = Moody::new(STALLS);
    let server = start(Server::builder().log(log.clone()));
    let asking = (0..20).map(|_| readyz(&server));
    let told = is(503, "log: it has not answered within 2s\n");
    for answer in futures_util::future::join_all(asking).await {
        assert_eq!(answer, told);
    }
    // While it has not answered it is not asked again: its queue would fill up.
    for _ in 0..3 {
        assert_eq!(readyz(&server).await, told);
    }
    assert_eq!(log.appends(), 1);
    log.mood.store(WORKS, Ordering::Relaxed);
    log.freed.send_replace(true);
    eventually("the log to be well again", async || {
        let answer = readyz(&server).await;
        assert!(answer == told || answer == is(200, "ready\n"), "{answer:?}");
        (answer.0 == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_has_a_line_for_each_thing() {
    let refused = "log: the log refused: the disk\\u{a}is full\n";
    let unheard = "broker: a signal has not come back within 2s\n";
    let log = Moody::new(REFUSES);
    let server = start(Server::builder().log(log.clone()));
    assert_eq!(readyz(&server).await, is(503, refused));
    let watchers = server.metrics_addr().expect("it listens");
    assert_eq!(get(watchers, "/readyz").await, is(503, refused), "there, too");
    assert_eq!(get(watchers, "/healthz").await, is(200, "ok\n"), "the process lives");
    let scrape = Scrape::of(watchers).await;
    assert_eq!((scrape.value("chat_log_up"), scrape.value("chat_broker_up")), (0.0, 1.0));
    log.mood.store(WORKS, Ordering::Relaxed);
    eventually("the log to be well again", async || {
        let answer = readyz(&server).await;
        assert!(answer == is(503, refused) || answer == is(200, "ready\n"), "{answer:?}");
        (answer.0 == 200).then_some(())
    })
    .await;

    let server = start(Server::builder().broker(Arc::new(Deaf)));
    assert_eq!(readyz(&server).await, is(503, unheard));
    let scrape = Scrape::of(server.metrics_addr().expect("it listens")).await;
    assert_eq!((scrape.value("chat_log_up"), scrape.value("chat_broker_up")), (1.0, 0.0));
    let server = start(Server::builder().broker(Arc::new(Deaf)).log(Moody::new(REFUSES)));
    assert_eq!(readyz(&server).await, is(503, &format!("{refused}{unheard}")));
}

#[tokio::test]
async fn a_full_disk_is_told_and_so_is_its_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = SqliteOptions::default();
    options.pages_max = Some(64);
    let log = SqliteLog::open(dir.path().join("log"), &options).expect("a log");
    let log = Arc::new(log);
    let server = start(Server::builder().log(log.clone()));
    assert_eq!(readyz(&server).await, is(200, "ready\n"));
    let lobby = RoomName::new("lobby").expect("a room");
    let mut last = Seq::ZERO;
    // Large ones first, then small ones into what is left.
    for bytes in [4000, 1] {
        loop {
            let drafts = vec![draft(bytes)];
            let batch = RoomBatch { room: lobby.clone(), drafts };
            match within("an append", log.append(vec![batch])).await.remove(0) {
                Ok(_) => last = last.next(),
                Err(_) => break,
            }
        }
    }
    let answer = eventually("it to be told", async || {
        let answer = readyz(&server).await;
        (answer.0 == 503).then_some(answer.1)
    });
    let answer = answer.await;
    assert!(answer.starts_with("log: the log ") && answer.contains("full"), "{answer}");
    let gone = within("a trim", log.trim(lobby, last.next())).await;
    gone.expect("room is made");
    eventually("room to be noticed", async || (readyz(&server).await.0 == 200).then_some(())).await;
    // The next process finds the probe's room in the file, and goes on with it.
    drop(server);
    log.close();
    let log = Arc::new(SqliteLog::open(dir.path().join("log"), &options).expect("a log"));
    let server = start(Server::builder().log(log));
    assert_eq!(readyz(&server).await, is(200, "ready\n"));
}

fn draft(bytes: usize) -> Draft {
    Draft {
        user: UserId::new("ada").expect("a user"),
        username: DisplayName::new("Ada").expect("a name"),
        key: None,
        ts: Timestamp(1),
        body: Body::Message { content: "x".repeat(bytes).into(), reply_to: None },
    }
}

#[tokio::test]
async fn a_server_that_drains_says_only_that() {
    let log = Moody::new(REFUSES);
    let server = start(Server::builder().log(log.clone()));
    let watchers = server.metrics_addr().expect("it listens");
    assert_eq!(Scrape::of(watchers).await.value("chat_in_service"), 1.0);
    let asked = log.appends();
    server.handle().http_state().readiness.set(Ready::Draining);
    assert_eq!(readyz(&server).await, is(503, "draining\n"));
    assert_eq!(log.appends(), asked, "there is nothing to find out");
    assert_eq!(Scrape::of(watchers).await.value("chat_in_service"), 0.0);
}
