//! How fast messages are acked that survive a loss of power, against what SQLite does alone on the
//! same disk.
//!
//! Run it with `cargo run --release --example durable -- [DIRECTORY [SECONDS]]`: a folder on the
//! disk that is meant (this one, if it is not told otherwise), and how long each turn lasts (3 s).
//! In turn, three times:
//!
//! * the *loop*: a bare table with the columns of an entry, prepared inserts of one thread, 100 in
//!   a transaction;
//! * the *server*: 64 senders of `chat.v1`, each in a room of its own, over connections without a
//!   socket, with 1, 8 and 64 messages of each on their way. A message counts when its ack has
//!   come.
//!
//! Both with WAL and `synchronous=FULL`, where a commit is one flush of the file. Then one sender
//! alone, whose commits are counted in the write-ahead log.
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::{Dialect, LimitValues};
use chat_tokio::Server;
use chat_tokio::clock::Clock;
use chat_tokio::log::{SqliteLog, SqliteOptions};
use chat_tokio::server::attach::{Attach, NewConnection};
use chat_tokio::transport::memory::{MemoryPeer, pair};
use rusqlite::{Connection, params};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes of a message's content.
const CONTENT_BYTES: usize = 128;

const SENDERS: usize = 64;

/// Messages of each sender on their way.
const WINDOWS: [usize; 3] = [1, 8, 64];

const INSERTS_PER_TRANSACTION: u32 = 100;

const ROUNDS: usize = 3;

/// Acks of the sender alone: few enough that the write-ahead log does not start over meanwhile.
const ALONE: usize = 100;

/// Bytes of one direction: more than one of these senders has under way.
const CAPACITY_BYTES: usize = 64 * 1024;

/// That of `chat-server`.
#[cfg(all(unix, feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let mut given = std::env::args().skip(1);
    let place = given.next().unwrap_or_else(|| ".".into());
    let seconds = given.next().map_or(Ok(3.0), |seconds| seconds.parse())?;
    let time = Duration::try_from_secs_f64(seconds)?;
    let dir = tempfile::tempdir_in(place)?;
    let (mut bare, mut acked) = (Vec::new(), WINDOWS.map(|window| (window, Vec::new())));
    for round in 0..ROUNDS {
        let file = |name: &str| dir.path().join(format!("{name}-{round}.db"));
        bare.push(inserts_per_second(&file("loop"), time)?);
        for (window, rates) in &mut acked {
            let file = file(&format!("server-{window}"));
            rates.push(acks_per_second(&file, *window, time).await?);
        }
    }
    let bare = median(bare);
    println!("loop    {bare:.0} inserts/s, {INSERTS_PER_TRANSACTION} in a transaction");
    for (window, rates) in acked {
        let rate = median(rates);
        let ratio = rate / bare;
        println!(
            "server  {rate:.0} acks/s, {SENDERS} senders, {window} in flight: {ratio:.2} × the loop"
        );
    }
    alone(&dir.path().join("alone.db")).await
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn inserts_per_second(file: &Path, time: Duration) -> Outcome<f64> {
    let conn = Connection::open(file)?;
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.execute_batch(
        "CREATE TABLE entries (room INTEGER, seq INTEGER, ts INTEGER, user TEXT, username TEXT,
         body TEXT, PRIMARY KEY (room, seq)) WITHOUT ROWID",
    )?;
    let mut insert = conn.prepare("INSERT INTO entries VALUES (1, ?1, ?2, ?3, ?4, ?5)")?;
    let body = format!(r#"{{"type":"message","content":"{}"}}"#, "x".repeat(CONTENT_BYTES));
    let (began, mut count) = (Clock::start(), 0_u32);
    while began.since_start() < time {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..INSERTS_PER_TRANSACTION {
            count += 1;
            insert.execute(params![count, 1_700_000_000_000_i64, "guest.1", "ada", body])?;
        }
        conn.execute_batch("COMMIT")?;
    }
    Ok(f64::from(count) / began.since_start().as_secs_f64())
}

async fn acks_per_second(file: &Path, window: usize, time: Duration) -> Outcome<f64> {
    let (server, log) = start(file)?;
    let mut senders = Vec::new();
    for n in 0..SENDERS {
        senders.push(Sender::join(&server, n).await?);
    }
    let began = Clock::start();
    let running: Vec<_> = senders
        .into_iter()
        .map(|mut sender| {
            tokio::spawn(async move {
                let mut acked = 0;
                for _ in 0..window {
                    sender.say().await?;
                }
                while began.since_start() < time {
                    sender.acked().await?;
                    acked += 1;
                    sender.say().await?;
                }
                Outcome::Ok(acked)
            })
        })
        .collect();
    let mut acked = 0;
    for sender in running {
        acked += sender.await??;
    }
    let took = began.since_start();
    server.shutdown().await;
    log.close();
    Ok(f64::from(acked) / took.as_secs_f64())
}

/// One sender, one message after the other.
async fn alone(file: &Path) -> Outcome<()> {
    let (server, log) = start(file)?;
    let mut sender = Sender::join(&server, 0).await?;
    // The room is made with its first message.
    sender.say().await?;
    sender.acked().await?;
    let before = Commits::of(file)?;
    let began = Clock::start();
    for _ in 0..ALONE {
        sender.say().await?;
        sender.acked().await?;
    }
    let took = began.since_start().as_secs_f64();
    let commits = Commits::of(file)?.since(&before)?;
    server.shutdown().await;
    log.close();
    let (rate, each) = (ALONE as f64 / took, commits as f64 / ALONE as f64);
    println!("alone   {rate:.0} acks/s, {each:.2} commits, each one flush, for an ack");
    Ok(())
}

fn start(file: &Path) -> Outcome<(Server, Arc<SqliteLog>)> {
    let log = Arc::new(SqliteLog::open(file, &SqliteOptions::default())?);
    // All are guests without an address.
    let limits = LimitValues {
        messages_per_10s: 0,
        user_messages_per_10s: 0,
        address_messages_per_10s: 0,
        ..LimitValues::default()
    };
    let limits = limits.build()?;
    let server = Server::builder().workers(1).limits(limits).log(log.clone()).start()?;
    Ok((server, log))
}

struct Sender {
    peer: MemoryPeer,
    message: String,
    number: u64,
}

impl Sender {
    async fn join(server: &Server, n: usize) -> Outcome<Self> {
        let (transport, peer) = pair(CAPACITY_BYTES);
        let new = NewConnection::new(Box::new(transport), Dialect::V1);
        server.handle().attach(new).map_err(|refused| refused.why)?;
        let message = format!(r#""room":"r{n}","content":"{}""#, "x".repeat(CONTENT_BYTES));
        let mut sender = Self { peer, message, number: 0 };
        sender.peer.send(format!(r#"{{"type":"hello","id":"h","name":"s{n}"}}"#)).await?;
        sender.until("welcome").await?;
        sender.peer.send(format!(r#"{{"type":"join","id":"j","room":"r{n}"}}"#)).await?;
        sender.until("joined").await?;
        Ok(sender)
    }

    async fn say(&mut self) -> Outcome<()> {
        self.number += 1;
        let Self { message, number, .. } = self;
        let text = format!(r#"{{"type":"message","id":"{number}","key":"k{number}",{message}}}"#);
        Ok(self.peer.send(text).await?)
    }

    async fn acked(&mut self) -> Outcome<()> {
        self.until("ack").await
    }

    /// Reads until a frame of this type.
    async fn until(&mut self, kind: &str) -> Outcome<()> {
        let (wanted, error) = (format!(r#""type":"{kind}""#), r#""type":"error""#);
        loop {
            let told = self.peer.recv().await.ok_or("the server has closed")?;
            if told.contains(&wanted) {
                return Ok(());
            }
            if told.contains(error) {
                return Err(format!("the server refuses: {told}").into());
            }
        }
    }
}

/// What the write-ahead log of a database says: <https://sqlite.org/fileformat2.html#walformat>.
struct Commits {
    /// Another one after each time that the log starts over.
    salt: [u8; 8],
    count: usize,
}

impl Commits {
    fn of(file: &Path) -> Outcome<Self> {
        let wal = fs::read(format!("{}-wal", file.display()))?;
        let (header, frames) = wal.split_at_checked(32).ok_or("there is no write-ahead log")?;
        let page = u32::from_be_bytes(header[8..12].try_into()?) as usize;
        let salt = header[16..24].try_into()?;
        // A frame has the salt of its time, and ends a transaction if it says how long the file is.
        let count = frames
            .chunks_exact(24 + page)
            .take_while(|frame| frame[8..16] == salt)
            .filter(|frame| frame[4..8] != [0; 4])
            .count();
        Ok(Self { salt, count })
    }

    fn since(&self, earlier: &Self) -> Outcome<usize> {
        if self.salt == earlier.salt {
            Ok(self.count - earlier.count)
        } else {
            Err("the write-ahead log has started over".into())
        }
    }
}
