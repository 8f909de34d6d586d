//! Frames on their way: latency, stalls, slow readers, cuts.
use chat_proto::LeaveReason;

use super::link::{Peer, Up};
use super::{Due, Sim};
use crate::adapter::Item;

/// A frame takes up to this long, each way.
const LATENCY_MS: u64 = 40;
/// The end of a connection takes up to this long to be noticed.
const NOTICE_MS: u64 = 3000;

impl Sim {
    /// Returns when something that is sent now over a link arrives.
    pub(super) fn arrival(&mut self, index: usize) -> u64 {
        let at = self.now + 1 + self.random.below(LATENCY_MS);
        at.max(self.links[index].stalled_until)
    }

    /// A peer sends.
    pub(super) fn transmit(&mut self, index: usize, up: Up) {
        let at = self.arrival(index).max(self.links[index].up_at);
        let link = &mut self.links[index];
        if link.is_cut {
            return;
        }
        link.up_at = at;
        link.up.push_back(up);
        self.due(at, Due::Arrive { link: index });
    }

    /// A node puts something into a connection's outbox.
    pub(super) fn push(&mut self, index: usize, item: Item) {
        let link = &mut self.links[index];
        link.port.put(item);
        if link.port.bytes > self.limits.outbox_bytes as usize {
            link.is_cut = true;
            self.due(self.now + 1, Due::PeerNotice { link: index });
            return self.due(self.now, Due::TooSlow { link: index });
        }
        if !link.is_pumping && !link.is_cut {
            link.is_pumping = true;
            let at = (self.now + link.slow_ms).max(link.stalled_until);
            self.due(at, Due::Pump { link: index });
        }
        self.water(index);
    }

    /// The wire takes what it has room for.
    pub(super) fn pump(&mut self, index: usize) {
        let link = &mut self.links[index];
        link.is_pumping = false;
        if link.is_cut {
            return;
        }
        if link.stalled_until > self.now {
            link.is_pumping = true;
            let at = link.stalled_until;
            return self.due(at, Due::Pump { link: index });
        }
        for item in link.pull() {
            let at = self.arrival(index).max(self.links[index].flight_at);
            let link = &mut self.links[index];
            link.flight_at = at;
            link.flight.push_back(item);
            self.due(at, Due::Land { link: index });
        }
        let link = &mut self.links[index];
        if !link.port.outbox.is_empty() {
            link.is_pumping = true;
            let at = self.now + link.slow_ms;
            self.due(at, Due::Pump { link: index });
        }
        self.water(index);
    }

    /// Tells the Hub whether an outbox is fuller or emptier than its marks.
    pub(super) fn water(&mut self, index: usize) {
        let high = self.limits.outbox_high_bytes as usize;
        let link = &mut self.links[index];
        let (node, life) = (link.node, link.node_life);
        let Some(event) = link.port.water(high) else { return };
        self.due(self.now, Due::Tell { node, life, event: Box::new(event) });
        self.read_on(index);
    }

    /// The node reads on, if it does.
    pub(super) fn read_on(&mut self, index: usize) {
        if !self.links[index].port.is_read() {
            return;
        }
        for _ in 0..std::mem::take(&mut self.links[index].unread) {
            self.due(self.now, Due::Arrive { link: index });
        }
    }

    /// Cuts a link. Of `silent`, the first bit keeps the node from noticing, the second the peer.
    pub(super) fn cut(&mut self, index: usize, silent: usize) {
        let link = &mut self.links[index];
        if link.is_cut {
            return;
        }
        link.is_cut = true;
        let is_plain = matches!(link.peer, Peer::Plain { .. });
        if silent & 1 == 0 {
            let at = self.now + self.random.below(NOTICE_MS);
            self.due(at, Due::NodeNotice { link: index });
        }
        // A `basic` peer has no timers that would tell it later.
        if silent & 2 == 0 || is_plain {
            let at = self.now + self.random.below(NOTICE_MS);
            self.due(at, Due::PeerNotice { link: index });
        }
    }

    /// The node has noticed that a link is cut.
    pub(super) fn node_notice(&mut self, index: usize, why: LeaveReason) {
        let link = &self.links[index];
        if self.nodes[link.node].life == link.node_life {
            self.lose(index, why);
        }
    }

    /// A link that something can happen to, by number.
    pub(super) fn live_link(&self, n: u8) -> Option<usize> {
        let live = |index: &usize| {
            let link = &self.links[*index];
            link.is_wanted && !link.is_cut
        };
        let live: Vec<usize> = (0..self.links.len()).filter(live).collect();
        live.get(usize::from(n).checked_rem(live.len())?).copied()
    }
}
