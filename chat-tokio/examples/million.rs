//! How much a session costs, without sockets: many sessions in one process, in rooms of ten or in
//! one room of all, and a message to one of the rooms.
//!
//! Run it with `cargo run --release --example million -- [SESSIONS [MEMBERS OF A ROOM]]`: a million
//! in one room, if it is not told otherwise. It prints what a session takes
//! of the process's memory, both of its ends together, and how long a message took to reach all.
//! The memory is read from `/proc`, so it is known on Linux only.
use std::error::Error;
use std::time::Duration;

use chat_proto::{Dialect, DisplayName, Limits};
use chat_tokio::clock::Clock;
use chat_tokio::server::attach::{Attach, AttachError, NewConnection};
use chat_tokio::transport::memory::{MemoryPeer, pair};
use chat_tokio::{Handle, Server};

/// Bytes of one direction: many times what one of these peers leaves unread.
const CAPACITY_BYTES: usize = 4096;

/// Peers that are busy at a time.
const AT_ONCE: usize = 1000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut given = std::env::args().skip(1);
    let mut number = |otherwise| given.next().map_or(Ok(otherwise), |number| number.parse());
    let sessions = number(1_000_000)?;
    let members = number(sessions)?.clamp(1, sessions.max(1));
    let limits = Limits {
        connections: u32::try_from(sessions + 1)?.max(1000),
        members: u32::try_from(sessions + 1)?.max(1000),
        rooms_total: 1_000_000,
        ..Limits::default()
    };
    let server = Server::builder().limits(limits).workers(1).start()?;
    let handle = server.handle();
    let mut peers = Vec::with_capacity(sessions);
    let before = resident_bytes();
    let began = Clock::start();
    while peers.len() < sessions {
        let first = peers.len();
        let last = sessions.min(first + AT_ONCE);
        for n in first..last {
            peers.push(connect(&handle).await?);
            let room = n / members;
            peers[n].send(format!(r#"{{"type":"join","room":"r{room}"}}"#)).await?;
        }
        for (n, peer) in peers.iter_mut().enumerate().skip(first) {
            let told = peer.recv().await.ok_or("the server has closed")?;
            assert!(told.contains(r#""type":"join""#), "{n}: {told}");
        }
        // What the others are told stays unread no longer than this.
        peers.iter_mut().skip(first.saturating_sub(members.min(AT_ONCE))).for_each(drain);
    }
    let joined = began.since_start();
    settle(&mut peers).await;
    println!("{sessions} sessions joined rooms of {members} in {:.1} s", joined.as_secs_f64());
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        println!("  {} bytes for each, both ends", after.saturating_sub(before) / sessions);
    }
    let began = Clock::start();
    peers[0].send(r#"{"type":"message","content":"hello, all of you"}"#).await?;
    for peer in peers.iter_mut().take(members) {
        loop {
            let told = peer.recv().await.ok_or("the server has closed")?;
            if told.contains("hello, all of you") {
                break;
            }
        }
    }
    let took = began.since_start();
    println!(
        "  a message to {members} took {:.1} ms, {:.0} ns for each",
        took.as_secs_f64() * 1e3,
        took.as_nanos() as f64 / members as f64
    );
    drop(peers);
    server.shutdown().await;
    Ok(())
}

async fn connect(server: &Handle) -> Result<MemoryPeer, Box<dyn Error>> {
    let (transport, peer) = pair(CAPACITY_BYTES);
    let mut new = NewConnection::new(Box::new(transport), Dialect::Basic);
    new.name = Some(DisplayName::new("u")?);
    loop {
        match server.attach(new) {
            Ok(()) => return Ok(peer),
            Err(refused) if refused.why == AttachError::Full => {
                new = refused.connection;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(refused) => return Err(refused.why.into()),
        }
    }
}

fn drain(peer: &mut MemoryPeer) {
    while peer.try_recv().is_some() {}
}

/// Waits until nothing more is told, and takes it.
async fn settle(peers: &mut [MemoryPeer]) {
    // Members of large rooms are told together, after a time that grows with the room.
    let longest = Duration::from_millis(1500 + peers.len() as u64 / 20);
    tokio::time::sleep(longest).await;
    peers.iter_mut().for_each(drain);
}

fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: usize = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
