//! A connection between a peer and a node: frames on their way, and all that can happen to them.
use std::collections::VecDeque;

use chat_proto::{CloseCode, Decoder, Dialect, Encoded};
use chat_state::ConnId;
use chat_state::client::LinkId;

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

/// What is on its way to the peer.
#[derive(Clone, Debug)]
pub(super) enum Down {
    Frame(Encoded),
    /// Not on the wire: here the Hub has taken a `basic` peer's `leave`, which has no reply.
    Left,
    Close(CloseCode),
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
    /// As the Hub knows it; `None` before it was accepted and after it is gone there.
    pub(super) conn: Option<ConnId>,
    /// The peer counts on it.
    pub(super) is_wanted: bool,
    /// Nothing travels any more.
    pub(super) is_cut: bool,
    pub(super) stalled_until: u64,
    /// How long each frame to the peer takes.
    pub(super) slow_ms: u64,
    pub(super) decoder: Decoder,
    pub(super) up: VecDeque<Up>,
    pub(super) up_at: u64,
    /// Arrivals that wait until the Hub reads again.
    pub(super) unread: usize,
    /// The node's outbox, and its frames' bytes.
    pub(super) outbox: VecDeque<Down>,
    pub(super) bytes: usize,
    pub(super) is_pumping: bool,
    pub(super) flight: VecDeque<Down>,
    pub(super) flight_at: u64,
    pub(super) is_paused: bool,
    pub(super) is_congested: bool,
    pub(super) awaits_drain: bool,
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
            conn: None,
            is_wanted: true,
            is_cut: false,
            stalled_until: 0,
            slow_ms: 0,
            decoder: Decoder::new(dialect),
            up: VecDeque::new(),
            up_at: 0,
            unread: 0,
            outbox: VecDeque::new(),
            bytes: 0,
            is_pumping: false,
            flight: VecDeque::new(),
            flight_at: 0,
            is_paused: false,
            is_congested: false,
            awaits_drain: false,
            bye: None,
            view: View::new(name),
            swallows: 0,
            is_leaky: false,
        }
    }

    /// Tells whether the node takes frames from it.
    pub(super) fn is_read(&self) -> bool {
        !self.is_paused && !self.is_congested
    }

    /// Takes what the wire has room for; returns it in order.
    pub(super) fn pull(&mut self) -> Vec<Down> {
        let count = if self.slow_ms == 0 { self.outbox.len() } else { 1 };
        let pulled: Vec<_> = self.outbox.drain(..count.min(self.outbox.len())).collect();
        for item in &pulled {
            if let Down::Frame(encoded) = item {
                self.bytes -= encoded.as_str().len();
            }
        }
        pulled
    }

    /// Nothing of it counts for the node any more.
    pub(super) fn forget_node(&mut self) {
        self.conn = None;
        self.unread = 0;
        (self.is_paused, self.is_congested, self.awaits_drain) = (false, false, false);
    }
}
