//! Two thousand clients lose their connections at once, and come back spread out, without having
//! missed anything, and without the log being read for each of them.
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use chat_proto::{LimitValues, RoomName, Seq};
use chat_state::{AppendError, Appended, LogHead, LogPage, Mono, ReadError, ReadRange};
use chat_tests::client::V1Client;
use chat_tests::proxy::{Cut, Plan, Proxy};
use chat_tests::wait::within_time;
use chat_tokio::Server;
use chat_tokio::client::{
    Client, Connect, ConnectFuture, Delivery, Events, InProcess, Link, Outcome, Received, State,
    Times, WebSocketUrl,
};
use chat_tokio::clock::Clock;
use chat_tokio::log::{Capabilities, LogFuture, MemoryLog, RoomBatch, RoomLog};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::{Notify, watch};

const CLIENTS: usize = 2000;
const ROOMS: usize = 20;
const MEMBERS: u64 = (CLIENTS / ROOMS) as u64;

/// Lines said in each room before the storm, and while nobody is connected.
const BEFORE: u64 = 3;
const DURING: u64 = 10;

/// The first delay of a client that has lost its connection is anything up to this.
const WINDOW_MS: u64 = 2000;

/// Each client has a socket, the proxy has two for it and the server one.
const SOCKETS: u64 = 4 * CLIENTS as u64 + 256;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A log that counts how often it is read.
struct Counting {
    log: MemoryLog,
    reads: AtomicU64,
    heads: AtomicU64,
}

impl Counting {
    fn counts(&self) -> (u64, u64) {
        (self.reads.load(Ordering::Relaxed), self.heads.load(Ordering::Relaxed))
    }
}

impl RoomLog for Counting {
    fn capabilities(&self) -> Capabilities {
        self.log.capabilities()
    }

    fn append(&self, batches: Vec<RoomBatch>) -> LogFuture<Vec<Result<Appended, AppendError>>> {
        self.log.append(batches)
    }

    fn head(&self, room: RoomName) -> LogFuture<Result<LogHead, ReadError>> {
        self.heads.fetch_add(1, Ordering::Relaxed);
        self.log.head(room)
    }

    fn read(&self, room: RoomName, range: ReadRange) -> LogFuture<Result<LogPage, ReadError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.log.read(room, range)
    }

    fn trim(&self, room: RoomName, before: Seq) -> LogFuture<Result<Seq, ReadError>> {
        self.log.trim(room, before)
    }
}

/// What the clients have seen, all together.
#[derive(Default)]
struct Seen {
    joined: AtomicU64,
    recovered: AtomicU64,
    entries: AtomicU64,
    /// When each loss was to be followed by the first attempt to come back.
    planned: Mutex<Vec<Mono>>,
    wrong: Mutex<Option<String>>,
    changed: Notify,
}

impl Seen {
    fn plan(&self, at: Mono) {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).push(at);
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
        self.changed.notify_one();
    }

    async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        within_time(PATIENCE, what, async {
            loop {
                if let Some(what) = &*self.wrong.lock().unwrap_or_else(PoisonError::into_inner) {
                    panic!("{what}");
                }
                if reached(self) {
                    return;
                }
                self.changed.notified().await;
            }
        })
        .await;
    }
}

/// Reads what one client is shown. Each entry has to be the one after the one before.
async fn read(mut events: Events, client: Client, clock: Clock, seen: Arc<Seen>) {
    // A client has a clock of its own.
    let own = client.clock();
    drop(client);
    let mut at = 0;
    let mut waited = false;
    while let Some(event) = events.next().await {
        match event {
            Delivery::Entry(entry) if entry.seq.get() == at + 1 => {
                at += 1;
                seen.entries.fetch_add(1, Ordering::Relaxed);
            }
            Delivery::Joined { fresh: true, .. } if at == 0 => {
                seen.joined.fetch_add(1, Ordering::Relaxed);
            }
            Delivery::Joined { fresh: false, .. } => {
                seen.recovered.fetch_add(1, Ordering::Relaxed);
            }
            Delivery::State(State::Waiting { until }) if !waited => {
                waited = true;
                seen.plan(Mono(until.0.saturating_add(offset_ms(clock, own))));
            }
            Delivery::State(_)
            | Delivery::Welcome(_)
            | Delivery::Members { .. }
            | Delivery::Settled { outcome: Outcome::Acked { .. }, .. }
            | Delivery::Presence { .. }
            | Delivery::MemberJoined { .. } => {}
            // Others do not even see that a member was gone.
            other => seen.wrong(format!("at {at}: {other:?}")),
        }
        seen.changed.notify_one();
    }
}

/// By how much the first clock is ahead of the other, which was started later.
fn offset_ms(clock: Clock, own: Clock) -> u64 {
    let zero = Mono(0);
    (own.instant(zero) - clock.instant(zero)).as_millis() as u64
}

/// How the clients reach the server, and lose it.
enum Net {
    Sockets(Proxy),
    Memory(InProcess, watch::Sender<()>),
}

impl Net {
    fn connect(&self) -> Box<dyn Connect> {
        match self {
            Self::Sockets(proxy) => {
                let url = format!("ws://{}/ws", proxy.address());
                Box::new(WebSocketUrl::parse(&url).expect("an address"))
            }
            Self::Memory(server, cut) => {
                let (server, cut) = (server.clone(), cut.clone());
                Box::new(move || -> ConnectFuture {
                    let (connecting, mut cut) = (server.connect(), cut.subscribe());
                    Box::pin(async move {
                        let link = connecting.await?;
                        let cut = Box::pin(async move { drop(cut.changed().await) });
                        Ok(Box::new(Cuttable { link, cut }) as Box<dyn Link>)
                    })
                })
            }
        }
    }

    fn cut_all(&self) {
        match self {
            Self::Sockets(proxy) => assert_eq!(proxy.cut_all(Cut::Reset), CLIENTS),
            Self::Memory(_, cut) => {
                cut.send_replace(());
            }
        }
    }
}

/// A link that ends when it is told to.
struct Cuttable {
    link: Box<dyn Link>,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Link for Cuttable {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Received::Closed(None)),
            Poll::Pending => self.link.poll_recv(cx),
        }
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut std::collections::VecDeque<String>,
    ) -> Poll<std::io::Result<()>> {
        self.link.poll_send(cx, outbox)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, code: u16) -> Poll<()> {
        self.link.poll_close(cx, code)
    }
}

fn room(n: usize) -> RoomName {
    RoomName::new(&format!("room {}", n % ROOMS)).expect("a name")
}

/// When each attempt to connect was made.
type Attempts = Arc<Mutex<Vec<Mono>>>;

/// Starts a client that notes each attempt.
fn start(net: &Net, clock: Clock, attempts: &Attempts, seen: &Arc<Seen>) -> Client {
    let times =
        Times { backoff_base_ms: WINDOW_MS, backoff_max_ms: 2 * WINDOW_MS, ..Times::default() };
    let (connect, attempts) = (net.connect(), Arc::clone(attempts));
    let noting = move || {
        attempts.lock().unwrap_or_else(PoisonError::into_inner).push(clock.now().mono);
        connect.connect()
    };
    let options = Client::options().times(times).history(0).events(64);
    let (client, events) = options.start_over(noting);
    tokio::spawn(read(events, client.clone(), clock, Arc::clone(seen)));
    client
}

/// How many of the instants fall into each twentieth of the window, and behind it: a loss takes
/// its time to be noticed.
fn spread(instants: &[Mono], from: Mono) -> Vec<usize> {
    let mut parts = vec![0; 20];
    for instant in instants {
        let part = ((instant.0 - from.0) * 20 / WINDOW_MS) as usize;
        parts.resize(parts.len().max(part + 1), 0);
        parts[part] += 1;
    }
    parts
}

/// Instants are spread out if no twentieth of the window has more than `most` of them, and they
/// reach over nearly all of it.
fn assert_spread(instants: &[Mono], parts: &[usize], most: usize) {
    assert!(parts.iter().all(|n| *n <= most), "{parts:?}");
    let (first, last) = (instants.iter().min(), instants.iter().max());
    let reach = last.zip(first).map_or(0, |(last, first)| last.0 - first.0);
    assert!(reach >= WINDOW_MS * 9 / 10, "they reach over {reach} ms: {parts:?}");
}

async fn storm(net: Net, (server, workers): (&Server, usize), log: &Counting) {
    let clock = Clock::start();
    let (attempts, seen) = (Attempts::default(), Arc::new(Seen::default()));
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let client = start(&net, clock, &attempts, &seen);
        client.join(&room(n)).await.expect("it lives");
        clients.push(client);
    }
    let all = CLIENTS as u64;
    seen.until("all to join", |seen| seen.joined.load(Ordering::Relaxed) == all).await;
    for client in clients.iter().enumerate().filter(|(n, _)| *n < ROOMS) {
        for _ in 0..BEFORE {
            client.1.send(&room(client.0), "before the storm").await.expect("it is said");
        }
    }
    let due = BEFORE * MEMBERS * ROOMS as u64;
    seen.until("all to be shown", |seen| seen.entries.load(Ordering::Relaxed) == due).await;

    // Those who are not cut go on talking.
    let (direct, _) = V1Client::hello(server.local_addr().expect("it listens"), "Calm").await;
    let mut direct = direct;
    for n in 0..ROOMS {
        direct.join(room(n).as_str(), 0).await;
    }
    let before = log.counts();
    attempts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let cut = clock.now().mono;
    net.cut_all();
    for line in 0..DURING {
        for n in 0..ROOMS {
            direct.say(room(n).as_str(), &format!("in the storm {line}")).await;
        }
    }
    // What was asked for while nobody was connected goes out as well.
    for (n, client) in clients.iter().enumerate().take(ROOMS) {
        client.post(&room(n), "from the storm").await.expect("it lives");
    }
    let due = (BEFORE + DURING + 1) * MEMBERS * ROOMS as u64;
    let whole = |seen: &Seen| {
        let back = seen.recovered.load(Ordering::Relaxed) == all;
        back && seen.entries.load(Ordering::Relaxed) == due
    };
    seen.until("all to be back and to have seen all", whole).await;
    let took = clock.now().mono.0 - cut.0;
    let after = log.counts();
    let (reads, heads) = (after.0 - before.0, after.1 - before.1);
    let planned = std::mem::take(&mut *seen.planned.lock().unwrap_or_else(PoisonError::into_inner));
    let made = std::mem::take(&mut *attempts.lock().unwrap_or_else(PoisonError::into_inner));
    let (planned_parts, made_parts) = (spread(&planned, cut), spread(&made, cut));
    println!("planned {planned_parts:?}\nmade {made_parts:?} ({} in all)", made.len());
    println!("{took} ms; reads {reads}, heads {heads} for {CLIENTS} clients in {ROOMS} rooms");

    assert_eq!(planned.len(), CLIENTS, "each was cut once");
    // 100 of 2000 in each part; 160 is six standard deviations away.
    assert_spread(&planned, &planned_parts, 160);
    // On a busy machine some come later than planned, but never all at once.
    assert_spread(&made, &made_parts, CLIENTS / 4);
    // Workers that are not alone ask now and then where their rooms end.
    let most = 2 * (ROOMS * workers) as u64;
    assert!(reads + heads <= most, "{reads} reads and {heads} heads");
}

fn builder(log: &Arc<Counting>) -> chat_tokio::server::Builder {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let limits = LimitValues { messages_per_10s: 0, ..LimitValues::default() }
        .build()
        .expect("within bounds");
    Server::builder().log(Arc::<Counting>::clone(log)).limits(limits).listen(any)
}

fn counting() -> Arc<Counting> {
    let log = MemoryLog::default();
    Arc::new(Counting { log, reads: AtomicU64::new(0), heads: AtomicU64::new(0) })
}

/// Asks the system for as many open files as the test needs.
fn may_open(files: u64) -> bool {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        limit.current = limit.maximum.map_or(Some(files), |maximum| Some(maximum.min(files)));
        if setrlimit(Resource::Nofile, limit).is_err() {
            return false;
        }
    }
    getrlimit(Resource::Nofile).current.is_none_or(|current| current >= files)
}

fn in_memory(server: &Server) -> Net {
    Net::Memory(InProcess::new(Arc::new(server.handle()), 64 * 1024), watch::Sender::new(()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_sockets_with_two_workers() {
    let log = counting();
    let server = builder(&log).workers(2).start().expect("a server");
    let net = if may_open(SOCKETS) {
        let direct = server.local_addr().expect("it listens");
        Net::Sockets(Proxy::start(direct, Plan::Nothing))
    } else {
        eprintln!("NO SOCKETS: {SOCKETS} files may not be open; memory is used instead");
        in_memory(&server)
    };
    storm(net, (&server, 2), &log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_with_one_worker() {
    let log = counting();
    let server = builder(&log).start().expect("a server");
    storm(in_memory(&server), (&server, 1), &log).await;
}
