//! What a slow reader costs others: it resumes far behind in many rooms and reads 100 kB a second,
//! while the members of another room talk on the same worker.
//!
//! Run it with `cargo run --release --example slow_reader -- [ROUNDS [SECONDS]]`. Each round
//! measures the neighbours' latency without the slow reader and then with it, from its `hello` on:
//! the shorter the time, the more of it is the resume. The ratio of the medians of the 99th
//! percentiles should be at most 1.3.
use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chat_proto::{
    Body, DisplayName, Epoch, LimitValues, Position, Request, RequestId, Resume, RoomName, Seq,
    SessionId, Timestamp, UserId,
};
use chat_state::{Draft, TimeValues};
use chat_tokio::Server;
use chat_tokio::clock::Clock;
use chat_tokio::log::{MemoryLog, RoomBatch, RoomLog};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::interval;

/// Rooms in which the slow reader is behind, and by how many entries in each.
const ROOMS: usize = 120;
const ENTRIES: usize = 300;

/// Bytes that the slow reader reads in each [`TICK`]: 100 kB a second.
const BYTES_PER_TICK: usize = 1000;
const TICK: Duration = Duration::from_millis(10);

/// What the system keeps for the slow reader.
const BUFFER_BYTES: u32 = 32 * 1024;

const NEIGHBOURS: usize = 50;

/// Time between two messages to the neighbours.
const PACE: Duration = Duration::from_millis(5);

const HOUR_MS: u64 = 3_600_000;

type Failed = Box<dyn Error>;

/// Latencies of deliveries to neighbours.
type Latencies = Arc<Mutex<Vec<Duration>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let mut given = std::env::args().skip(1);
    let mut number = |otherwise| given.next().map_or(Ok(otherwise), |number| number.parse());
    let (rounds, seconds) = (number(5)?.max(1), number(10)?);
    let log = Arc::new(MemoryLog::default());
    let behind = fill(&log).await?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let limits = LimitValues { messages_per_10s: 0, ..LimitValues::default() }.build()?;
    // Nobody here answers a ping.
    let times =
        TimeValues { heartbeat_ms: HOUR_MS, heartbeat_dead_ms: HOUR_MS, ..TimeValues::default() };
    let builder = Server::builder().log(log).limits(limits).times(times.build()?);
    let server = builder.listen_lines(any).start()?;
    let address = server.lines_addr().ok_or("it does not listen")?;
    let (clock, latencies) = (Clock::start(), Latencies::default());
    for _ in 0..NEIGHBOURS {
        tokio::spawn(neighbour(join(address).await?, clock, latencies.clone()));
    }
    let talking = tokio::spawn(talk(join(address).await?, clock));

    let span = Duration::from_secs(seconds);
    let mut p99s = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        let alone = measured(&latencies, span).await;
        let taken = Arc::new(AtomicUsize::new(0));
        let reader = slow_reader(address, format!("round-{round}"), &behind, &taken).await?;
        let beside = measured(&latencies, span).await;
        reader.abort();
        let taken = taken.load(Ordering::Relaxed) / 1000;
        println!("round {round}: alone {alone}; beside a slow reader ({taken} kB) {beside}");
        p99s[0].push(alone.p99);
        p99s[1].push(beside.p99);
    }
    let [alone, beside] = p99s.map(median);
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    println!("medians of p99: alone {alone:.2?}, beside a slow reader {beside:.2?}: {ratio:.2}");
    talking.abort();
    drop(server);
    Ok(())
}

/// Writes the entries that the slow reader is going to miss. Returns where it was before.
async fn fill(log: &MemoryLog) -> Result<BTreeMap<RoomName, Position>, Failed> {
    let mut behind = BTreeMap::new();
    for n in 0..ROOMS {
        let room = RoomName::new(&format!("room {n}"))?;
        let drafts = (0..ENTRIES).map(draft).collect::<Result<_, _>>()?;
        let batches = vec![RoomBatch { room: room.clone(), drafts }];
        let appended = log.append(batches).await.remove(0).map_err(|error| format!("{error:?}"))?;
        let epoch: Epoch = appended.epoch;
        behind.insert(room, Position { epoch, seq: Seq::ZERO });
    }
    Ok(behind)
}

fn draft(n: usize) -> Result<Draft, Failed> {
    Ok(Draft {
        user: UserId::new("ada")?,
        username: DisplayName::new("Ada")?,
        key: None,
        ts: Timestamp(1_700_000_000_000),
        body: Body::Message { content: format!("entry {n}").into(), reply_to: None },
    })
}

/// Connects a member of the neighbours' room.
async fn join(address: SocketAddr) -> Result<TcpStream, Failed> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    say(&mut stream, &hello(None)).await?;
    say(&mut stream, &Request::Join { room: RoomName::new("lobby")?, history: 0 }).await?;
    Ok(stream)
}

fn hello(resume: Option<Resume>) -> Request {
    let resume = resume.map(Box::new);
    Request::Hello { name: None, token: None, features: Vec::new(), resume }
}

async fn say(stream: &mut TcpStream, request: &Request) -> Result<(), Failed> {
    let line = request.encode(Some(&RequestId::new("1")?)) + "\n";
    Ok(stream.write_all(line.as_bytes()).await?)
}

/// Takes messages, and notes how long they have taken.
async fn neighbour(stream: TcpStream, clock: Clock, latencies: Latencies) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let now = clock.since_start();
        let sent = line.split_once(r#""content":""#).and_then(|(_, rest)| rest.split_once('"'));
        if let Some(sent) = sent.and_then(|(sent, _)| sent.parse().ok()) {
            let latency = now.saturating_sub(Duration::from_nanos(sent));
            latencies.lock().unwrap_or_else(PoisonError::into_inner).push(latency);
        }
    }
}

/// Says what the time is, and reads what comes.
async fn talk(mut stream: TcpStream, clock: Clock) {
    let (mut pace, mut read) = (interval(PACE), [0; 4096]);
    let room = RoomName::new("lobby").expect("a plain word");
    loop {
        pace.tick().await;
        let content = clock.since_start().as_nanos().to_string().into();
        let message = Request::Message { room: room.clone(), key: None, content, reply_to: None };
        say(&mut stream, &message).await.expect("the server is there");
        while let Ok(1..) = stream.try_read(&mut read) {}
    }
}

/// Starts a reader that is behind.
async fn slow_reader(
    address: SocketAddr,
    session: String,
    behind: &BTreeMap<RoomName, Position>,
    taken: &Arc<AtomicUsize>,
) -> Result<JoinHandle<()>, Failed> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    let mut stream = socket.connect(address).await?;
    let session = SessionId::new(&session)?;
    let resume = Resume { session, attempt: 1, rooms: behind.clone() };
    say(&mut stream, &hello(Some(resume))).await?;
    let taken = taken.clone();
    Ok(tokio::spawn(async move {
        let (mut tick, mut bytes) = (interval(TICK), [0; BYTES_PER_TICK]);
        loop {
            tick.tick().await;
            match stream.read(&mut bytes).await {
                Ok(read @ 1..) => _ = taken.fetch_add(read, Ordering::Relaxed),
                Ok(0) | Err(_) => return eprintln!("the slow reader was cut off"),
            }
        }
    }))
}

/// What was measured in a span of time.
struct Measured {
    deliveries: usize,
    p50: Duration,
    p99: Duration,
    longest: Duration,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { deliveries, p50, p99, longest } = self;
        write!(f, "{deliveries} deliveries, p50 {p50:.2?}, p99 {p99:.2?}, longest {longest:.2?}")
    }
}

/// Measures the neighbours' latencies from now on.
async fn measured(latencies: &Latencies, span: Duration) -> Measured {
    let take = || std::mem::take(&mut *latencies.lock().unwrap_or_else(PoisonError::into_inner));
    take();
    tokio::time::sleep(span).await;
    let mut all = take();
    all.sort_unstable();
    let percentile = |n: usize| all.get(all.len() * n / 100).copied().unwrap_or_default();
    let longest = all.last().copied().unwrap_or_default();
    Measured { deliveries: all.len(), p50: percentile(50), p99: percentile(99), longest }
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}
