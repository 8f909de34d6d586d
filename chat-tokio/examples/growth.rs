//! Whether the cost of a delivery stays the same while rooms get larger and more.
//!
//! Run it with `cargo run --release --example growth -- [IN FLIGHT]`: how many messages are on
//! their way at a time (1, if it is not told otherwise), in as many rooms as there are.
//!
//! Each line is a process of its own with one worker, and sessions of `basic` that have no socket,
//! so that nothing but the server is seen, and nothing but memory limits how many there are. The
//! CPU time is that of the worker's thread, by the kernel's account of it: known on Linux only. In
//! a small room the message itself costs more than its deliveries, so both are told.
mod crowd;

use std::error::Error;
use std::fs;
use std::process::Command;
use std::time::Duration;

use chat_tokio::Server;
use chat_tokio::transport::memory::MemoryPeer;

/// Rooms and members of each.
const LINES: [(usize, usize); 11] = [
    (1, 10),
    (1, 100),
    (1, 1000),
    (1, 10_000),
    (1, 100_000),
    (1, 2),
    (10, 2),
    (100, 2),
    (1000, 2),
    (10_000, 2),
    (100_000, 2),
];

/// Deliveries of each line; a large room has no less than [`MESSAGES_MIN`].
const DELIVERIES: usize = 400_000;
const MESSAGES_MIN: usize = 30;

/// Messages that come first, in the rooms in turn, and are not counted.
const UNCOUNTED: usize = 5;

const CONTENT_BYTES: usize = 128;

/// With fewer sessions their memory is lost in the server's own.
const SESSIONS_SHOWN: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let given: Result<Vec<usize>, _> = std::env::args().skip(1).map(|text| text.parse()).collect();
    match given?[..] {
        [] => all(1),
        [in_flight] => all(in_flight),
        [in_flight, rooms, members] if members > 0 => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(line(in_flight.max(1), rooms, members))
        }
        _ => Err("growth [IN FLIGHT [ROOMS MEMBERS]]".into()),
    }
}

fn all(in_flight: usize) -> Result<(), Box<dyn Error>> {
    println!("{in_flight} in flight, {CONTENT_BYTES} bytes");
    println!("  rooms members  ns/delivery   ns/message  bytes of a session, both ends");
    for (rooms, members) in LINES {
        let words = [in_flight, rooms, members].map(|number| number.to_string());
        let ended = Command::new(std::env::current_exe()?).args(words).status()?;
        if !ended.success() {
            println!("{rooms:>7} {members:>7}  could not be done: {ended}");
        }
    }
    Ok(())
}

async fn line(in_flight: usize, rooms: usize, members: usize) -> Result<(), Box<dyn Error>> {
    let sessions = rooms * members;
    let server = Server::builder().limits(crowd::limits(sessions)?).workers(1).start()?;
    let before = crowd::resident_bytes();
    let mut peers = crowd::join(&server.handle(), sessions, members).await?;
    crowd::settle(&mut peers).await;
    let after = crowd::resident_bytes();
    let bytes = after.zip(before).map(|(after, before)| after.saturating_sub(before) / sessions);

    let mut talk = Talk { members, in_flight, next: 0, peers };
    talk.go_on(UNCOUNTED.max(rooms)).await?;
    let messages = MESSAGES_MIN.max(DELIVERIES / members);
    let began = worker_cpu();
    talk.go_on(messages).await?;
    let cpu = worker_cpu().zip(began).map(|(now, then)| now.saturating_sub(then));

    let each = |count: usize| match cpu {
        Some(cpu) => format!("{:.0}", cpu.as_nanos() as f64 / count as f64),
        None => "?".into(),
    };
    let (delivery, message) = (each(messages * members), each(messages));
    let bytes = match bytes.filter(|_| sessions >= SESSIONS_SHOWN) {
        Some(bytes) => bytes.to_string(),
        None => "-".into(),
    };
    println!("{rooms:>7} {members:>7} {delivery:>12} {message:>12}  {bytes}");
    drop(talk);
    server.shutdown().await;
    Ok(())
}

/// The first member of each room sends, one room after the other, and all members read.
struct Talk {
    peers: Vec<MemoryPeer>,
    members: usize,
    in_flight: usize,
    /// The room whose turn it is.
    next: usize,
}

impl Talk {
    /// Goes on for so many messages.
    async fn go_on(&mut self, messages: usize) -> Result<(), Box<dyn Error>> {
        let rooms = self.peers.len() / self.members;
        let content = "x".repeat(CONTENT_BYTES);
        let text = format!(r#"{{"type":"message","content":"{content}"}}"#);
        let mut left = messages;
        while left > 0 {
            let wave = left.min(self.in_flight);
            left -= wave;
            let first = self.next;
            for n in first..first + wave {
                self.peers[n % rooms * self.members].send(text.clone()).await?;
            }
            self.next = (first + wave) % rooms;
            for n in first..first + wave {
                let room = n % rooms * self.members;
                for peer in &mut self.peers[room..room + self.members] {
                    while !peer.recv().await.ok_or("the server has closed")?.contains(&content) {}
                }
            }
        }
        Ok(())
    }
}

/// Returns the CPU time of the worker's thread.
fn worker_cpu() -> Option<Duration> {
    for task in fs::read_dir("/proc/self/task").ok()? {
        let path = task.ok()?.path();
        if fs::read_to_string(path.join("comm")).ok()?.trim() == "chat-worker-0" {
            let stat = fs::read_to_string(path.join("schedstat")).ok()?;
            return Some(Duration::from_nanos(stat.split_whitespace().next()?.parse().ok()?));
        }
    }
    None
}
