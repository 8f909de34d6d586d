//! What a Hub is told when it is made.
use chat_proto::{Durability, Limits};

use crate::ids::HubId;

/// Settings of a Hub.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its id among the Hubs that share the log. Restarted Hubs need a new one.
    pub hub: HubId,
    /// Whether there are other Hubs. Alone, it sends no signals.
    pub peers: Peers,
    /// What the log promises, for `welcome`.
    pub durability: Durability,
    /// The limits, already checked.
    pub limits: Limits,
    /// The times.
    pub times: Times,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hub: HubId::default(),
            peers: Peers::None,
            durability: Durability::Memory,
            limits: Limits::default(),
            times: Times::default(),
        }
    }
}

/// Whether other Hubs share the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// This Hub is alone.
    None,
    /// There may be others.
    Some,
}

/// Durations, in milliseconds if not said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long a `chat.v1` connection may take to say `hello`; then it is closed, to come back.
    pub hello_ms: u64,
    /// How long the check of a credential may take; then the client is told to come back later.
    pub auth_ms: u64,
    /// How long before a credential ends its session is told, or half of the time that it has if
    /// that is less.
    pub auth_warn_ms: u64,
    /// How often a `chat.v1` peer gets a `ping`. Proxies cut connections that are idle for 60 s.
    pub heartbeat_ms: u64,
    /// A `chat.v1` peer of which nothing was heard for this long is gone.
    pub heartbeat_dead_ms: u64,
    /// How often a `basic` peer gets a WebSocket ping.
    pub basic_heartbeat_ms: u64,
    /// A `basic` peer of which nothing was heard for this long is gone.
    pub basic_dead_ms: u64,
    /// An append that is not answered by then has an unknown outcome.
    pub append_ms: u64,
    /// How long a missing entry may take to come by a signal before the log is asked.
    pub hole_ms: u64,
    /// How long to wait before a failed read of the log is tried again.
    pub retry_ms: u64,
    /// How long changed room counts are collected before other Hubs are told.
    pub census_ms: u64,
    /// How long comings and goings of a room that has more than `notice_members` are gathered
    /// before they are told; longer in rooms of more than 20 000, by 1 ms for each 20 members.
    pub presence_ms: u64,
    /// How often one member's typing is passed on at most.
    pub typing_ms: u64,
    /// How long a `chat.v1` session outlives its connection: its budget, and the
    /// count of its connections, by which an older one is known.
    pub session_ms: u64,
    /// How long others do not see that a connection was lost: time to come back.
    pub grace_ms: u64,
    /// How long a resume waits for the log; rooms that are not recovered by then have to be joined.
    pub resume_ms: u64,
    /// Every so many pings one tells where rooms end. 0: none does.
    pub heads_every: u32,
    /// How often the log is asked where rooms end (512 at a time, in turn), since the signal
    /// of a room's last entry may be lost without notice. Only where there are other Hubs.
    pub poll_ms: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            hello_ms: 10_000,
            auth_ms: 10_000,
            auth_warn_ms: 60_000,
            heartbeat_ms: 25_000,
            heartbeat_dead_ms: 35_000,
            basic_heartbeat_ms: 54_000,
            basic_dead_ms: 60_000,
            append_ms: 30_000,
            hole_ms: 20,
            retry_ms: 500,
            census_ms: 1000,
            presence_ms: 1000,
            typing_ms: 3000,
            session_ms: 120_000,
            grace_ms: 10_000,
            resume_ms: 5000,
            heads_every: 4,
            poll_ms: 5000,
        }
    }
}
