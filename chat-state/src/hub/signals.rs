//! Handles the signals of other Hubs, and polls the ends of logs in case signals are lost.
use alloc::vec::Vec;

use chat_proto::{Epoch, RoomName, Seq, ServerFrame};

use super::state::Effects;
use super::{Actions, Hub};
use crate::config::Peers;
use crate::event::Signal;
use crate::ids::{HubId, PeerSlot};
use crate::peers::{Cluster, Effect};
use crate::room::audience::Say;
use crate::room::tail::{Cx, Tail};
use crate::timers::Timer;
use crate::users::budgets::Spent;

/// The largest number of rooms in one poll. Each costs a read of the log, all in one turn.
const POLL_ROOMS: usize = 512;

impl Hub {
    /// Handles a signal.
    pub(super) fn signalled(&mut self, from: HubId, signal: Signal, out: &mut Actions) {
        match signal {
            Signal::Committed { epoch, room, entries } => {
                if let Some(at) = self.rooms.find(&room) {
                    let committed = |tail: &mut Tail<_>, cx: Cx<'_>, effects: &mut Effects| {
                        tail.committed(cx, &epoch, &entries, effects);
                    };
                    self.with_tail(at, out, committed);
                }
            }
            Signal::Grown { epoch, room, last } => {
                self.room_grown(&room, &epoch, last, out);
            }
            Signal::Resumed { member, attempt } => self.resumed_elsewhere(member, attempt, out),
            Signal::Spent { by, cost, per_window } => {
                self.spent_elsewhere(Spent { by, cost, per_window });
            }
            Signal::Revoked(what) => self.end_revoked(&what, out),
            Signal::Typing { room, member, active } => {
                let room = self.rooms.find(&room).and_then(|at| self.rooms.get(at));
                if let Some(room) = room {
                    let frame = ServerFrame::Typing { room: room.name.clone(), member, active };
                    self.show_typing(room, None, frame, out);
                }
            }
            Signal::Alive { service } => {
                if let Some(slot) = self.heard_peer(from, out) {
                    self.peers.service_told(self.now, slot, service);
                }
            }
            Signal::AskRosters { rooms } => {
                self.with_peer(from, out, |peers, slot, _| {
                    peers.rosters_asked(slot, &rooms);
                });
            }
            Signal::AskDigest { rooms } => {
                self.with_peer(from, out, |peers, slot, effects| {
                    peers.digest_asked(slot, &rooms, effects);
                });
            }
            Signal::Digest(digest) => {
                self.with_peer(from, out, |peers, slot, effects| {
                    peers.digest(slot, &digest, effects);
                });
            }
            Signal::Came { room, id, member, attempt, stamp } => {
                self.resumed_elsewhere(id, attempt, out);
                if let Some(slot) = self.heard_peer(from, out) {
                    let change = self.peers.came(slot, &room, stamp);
                    self.peer_said(slot, &room, change, Say::Came { id, member }, out);
                }
            }
            Signal::Went { room, id, member, reason, stamp } => {
                if let Some(slot) = self.heard_peer(from, out) {
                    let change = self.peers.went(slot, &room, stamp);
                    self.peer_said(slot, &room, change, Say::Went { id, member, reason }, out);
                }
            }
            Signal::Rosters { parts } => {
                if let Some(slot) = self.heard_peer(from, out) {
                    parts.into_iter().for_each(|part| self.part_told(slot, part, out));
                }
            }
            Signal::Sessions { at, covers, counts } => {
                if let Some(slot) = self.heard_peer(from, out) {
                    self.sessions_told(slot, at, covers.as_ref(), counts);
                }
            }
        }
    }

    /// Takes a hint that a room's log has grown.
    pub(super) fn room_grown(
        &mut self,
        room: &RoomName,
        epoch: &Epoch,
        last: Seq,
        out: &mut Actions,
    ) {
        if let Some(at) = self.rooms.find(room) {
            self.with_tail(at, out, |tail, cx, effects| tail.grown(cx, epoch, last, effects));
        }
    }

    /// Renews the lease of a peer. Returns `None` if its signal must be ignored.
    fn heard_peer(&mut self, from: HubId, out: &mut Actions) -> Option<PeerSlot> {
        let mut effects = Vec::new();
        let slot = self.peers.heard(self.now, from, &mut effects);
        self.apply_peer_effects(effects, out);
        slot
    }

    /// Passes a peer's signal to the [`Cluster`] and applies the effects.
    fn with_peer(
        &mut self,
        from: HubId,
        out: &mut Actions,
        take: impl FnOnce(&mut Cluster, PeerSlot, &mut Vec<Effect>),
    ) {
        let Some(slot) = self.heard_peer(from, out) else { return };
        let mut effects = Vec::new();
        take(&mut self.peers, slot, &mut effects);
        self.apply_peer_effects(effects, out);
    }

    /// Asks the log where the next rooms end, since the signal of a last entry may be lost.
    pub(super) fn poll_due(&mut self, out: &mut Actions) {
        self.poll_armed = false;
        let polled = self.polled.take();
        self.polled = self.check_heads(polled.as_ref(), POLL_ROOMS, out);
        self.arm_poll();
    }

    /// Asks the log where up to `limit` rooms after a name end. Returns the last of these rooms, or
    /// `None` if there are no more.
    pub(super) fn check_heads(
        &mut self,
        after: Option<&RoomName>,
        limit: usize,
        out: &mut Actions,
    ) -> Option<RoomName> {
        let rooms = self.rooms.after(after);
        let names: Vec<RoomName> = rooms.take(limit).map(|room| room.name.clone()).collect();
        for name in &names {
            let at = self.rooms.find(name).expect("it was just listed");
            self.check_head(at, out);
        }
        if names.len() == limit { names.last().cloned() } else { None }
    }

    /// Arms the timer of the poll, if there are peers whose signals can be lost.
    pub(super) fn arm_poll(&mut self) {
        if !self.poll_armed && self.config.peers == Peers::Some && self.rooms.len() > 0 {
            self.poll_armed = true;
            self.timers.arm(self.now.plus(self.config.times.poll_ms.max(1)), Timer::Poll);
        }
    }
}
