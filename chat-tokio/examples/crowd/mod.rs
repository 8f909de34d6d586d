//! Many sessions in one process, without sockets: what several examples measure.
use std::error::Error;
use std::time::Duration;

use chat_proto::{Dialect, DisplayName, LimitValues, Limits};
use chat_tokio::Handle;
use chat_tokio::server::attach::{Attach, AttachError, NewConnection};
use chat_tokio::transport::memory::{MemoryPeer, pair};

/// Bytes of one direction: many times what one of these peers leaves unread.
const CAPACITY_BYTES: usize = 4096;

/// Peers that are busy at a time.
const AT_ONCE: usize = 1000;

/// The limits of a server that has room for so many sessions.
pub(crate) fn limits(sessions: usize) -> Result<Limits, Box<dyn Error>> {
    let limits = LimitValues {
        connections: u32::try_from(sessions + 1)?.max(1000),
        members: u32::try_from(sessions + 1)?.max(1000),
        rooms_total: 1_000_000,
        ..LimitValues::default()
    };
    Ok(limits.build()?)
}

/// Lets so many join rooms of so many members: `r0`, `r1` and so on, in order.
pub(crate) async fn join(
    server: &Handle,
    sessions: usize,
    members: usize,
) -> Result<Vec<MemoryPeer>, Box<dyn Error>> {
    let mut peers = Vec::with_capacity(sessions);
    while peers.len() < sessions {
        let first = peers.len();
        let last = sessions.min(first + AT_ONCE);
        for n in first..last {
            peers.push(connect(server).await?);
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
    Ok(peers)
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
pub(crate) async fn settle(peers: &mut [MemoryPeer]) {
    // Members of large rooms are told together, after a time that grows with the room.
    let longest = Duration::from_millis(1500 + peers.len() as u64 / 20);
    tokio::time::sleep(longest).await;
    peers.iter_mut().for_each(drain);
}

/// Returns how many bytes of this process are in memory. Known on Linux only.
pub(crate) fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: usize = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
