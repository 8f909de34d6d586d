//! A connection between a peer and a node: frames on their way, and all that can happen to them.
use std::collections::VecDeque;

use chat_proto::Dialect;
use chat_state::ConnId;
use chat_state::client::LinkId;

use crate::adapter::{Item, Port};
use crate::world::View;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A person's Client, by the name that it gave the link.
    Person { who: usize, link: LinkId },
    /// A `basic` peer.
    Plain { who: usize },
}

/// What is on its way to the node.
#[derive(Clone, Debug)]
pub(super) enum Up {
    Text(String),
    Close(u16),
}

/// One connection. Each frame in `up` and in `flight` has an event of its own that lets the first
/// of them arrive.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Peer,
    /// The peer's process; a later one does not know this link.
    pub(super) peer_life: u32,
    pub(super) node: usize,
    pub(super) node_life: u32,
    /// The node's end.
    pub(super) port: Port,
    /// The peer counts on it.
    pub(super) is_wanted: bool,
    /// Nothing travels any more.
    pub(super) is_cut: bool,
    pub(super) stalled_until: u64,
    /// How long each frame to the peer takes.
    pub(super) slow_ms: u64,
    pub(super) up: VecDeque<Up>,
    pub(super) up_at: u64,
    /// Arrivals that wait until the Hub reads again.
    pub(super) unread: usize,
    pub(super) is_pumping: bool,
    pub(super) flight: VecDeque<Item>,
    pub(super) flight_at: u64,
    /// The server has said goodbye on it, and when to come back at the earliest.
    pub(super) bye: Option<u64>,
    /// What was told on it, held against the log.
    pub(super) view: View,
    /// Something on the way swallows this many frames to the peer.
    pub(super) swallows: u32,
    /// Something on the way has swallowed frames: what was told has holes.
    pub(super) is_leaky: bool,
}

impl Link {
    pub(super) fn new(
        (peer, peer_life): (Peer, u32),
        (node, node_life): (usize, u32),
        dialect: Dialect,
        name: &str,
    ) -> Self {
        Self {
            peer,
            peer_life,
            node,
            node_life,
            port: Port::new(dialect),
            is_wanted: true,
            is_cut: false,
            stalled_until: 0,
            slow_ms: 0,
            up: VecDeque::new(),
            up_at: 0,
            unread: 0,
            is_pumping: false,
            flight: VecDeque::new(),
            flight_at: 0,
            bye: None,
            view: View::new(name),
            swallows: 0,
            is_leaky: false,
        }
    }

    /// Returns what the Hub calls it.
    pub(super) fn conn(&self) -> ConnId {
        self.port.conn.expect("a Hub has accepted it")
    }

    /// Takes what the wire has room for; returns it in order.
    pub(super) fn pull(&mut self) -> Vec<Item> {
        let count = if self.slow_ms == 0 { usize::MAX } else { 1 };
        std::iter::from_fn(|| self.port.pull()).take(count).collect()
    }

    /// Nothing of it counts for the node any more.
    pub(super) fn forget_node(&mut self) {
        self.port.forget();
        self.unread = 0;
    }
}
