//! What a Hub still has to say to its peers, and in which order.
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use chat_proto::RoomName;

use crate::ids::PeerSlot;

/// The largest number of requested parts that wait to be answered. Further requests are ignored;
/// their senders repeat them.
pub(super) const ANSWERS_MAX: usize = 65_536;

/// Signals that wait until [`Pace`](super::pace::Pace) allows them.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Rooms that were just opened: their members elsewhere are requested from all peers. Bounded
    /// by the open rooms.
    pub(super) opened: VecDeque<RoomName>,
    /// Parts of peers to request. Bounded by the parts of open rooms.
    pub(super) requests: BTreeSet<(PeerSlot, RoomName)>,
    /// This Hub's parts that peers have requested. Bounded by [`ANSWERS_MAX`].
    pub(super) answers: BTreeSet<(PeerSlot, RoomName)>,
    /// Summaries of rooms that peers have requested. Bounded like `answers`.
    pub(super) lines: BTreeSet<(PeerSlot, RoomName)>,
    /// Digests of all rooms that peers have requested, each with the last room that it has listed.
    /// Bounded by the peers.
    pub(super) streams: BTreeMap<PeerSlot, Option<RoomName>>,
    /// Rooms of which all peers get a summary. Bounded by the rooms that changed in one interval.
    pub(super) changed: BTreeSet<RoomName>,
    /// The part of the digest of all rooms that all peers get in this interval.
    pub(super) round: Round,
    /// Parts of ended peers that the owner has not dropped yet, with the slot to release then.
    /// Bounded by the parts of open rooms.
    pub(super) ended: VecDeque<Ended>,
}

/// Parts of an ended peer.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) slot: PeerSlot,
    pub(super) rooms: VecDeque<RoomName>,
}

/// The cyclic digest of all rooms.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// The last room that was listed.
    pub(super) after: Option<RoomName>,
    /// How many rooms are left for this interval.
    pub(super) left: usize,
}

impl Outgoing {
    /// Drops what was meant for a peer that has ended.
    pub(super) fn forget(&mut self, slot: PeerSlot) {
        self.requests.retain(|(peer, _)| *peer != slot);
        self.answers.retain(|(peer, _)| *peer != slot);
        self.lines.retain(|(peer, _)| *peer != slot);
        self.streams.remove(&slot);
    }

    /// Returns true if something waits.
    pub(super) fn is_pending(&self) -> bool {
        !(self.opened.is_empty()
            && self.requests.is_empty()
            && self.answers.is_empty()
            && self.lines.is_empty()
            && self.streams.is_empty()
            && self.round.left == 0
            && self.ended.is_empty())
    }
}

/// Takes up to `limit` rooms of the first peer in a queue.
pub(super) fn take_batch(
    queue: &mut BTreeSet<(PeerSlot, RoomName)>,
    limit: usize,
) -> Option<(PeerSlot, Vec<RoomName>)> {
    let slot = queue.first()?.0;
    let mut rooms = Vec::new();
    while rooms.len() < limit && queue.first().is_some_and(|(peer, _)| *peer == slot) {
        rooms.extend(queue.pop_first().map(|(_, room)| room));
    }
    Some((slot, rooms))
}
