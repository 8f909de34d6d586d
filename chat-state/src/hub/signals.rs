//! What other Hubs say, and what they are told.
use alloc::vec::Vec;

use chat_proto::{Member, RoomName, ServerFrame};

use super::notices::Notice;
use super::{Actions, Hub};
use crate::config::Peers;
use crate::event::{Action, Recipients, Signal};
use crate::ids::{HubId, MemberId, Mono};
use crate::peers::signal::{RosterPart, Stamp};
use crate::peers::{Change, Cluster, Effect, PeerSlot, Register};
use crate::presence::{Before, RemoteRoster};
use crate::room::RoomId;
use crate::timers::Timer;

/// Rooms that are polled at a time: one read of the log each, in one turn.
const POLL_ROOMS: usize = 512;

impl Hub {
    /// Takes a signal.
    pub(super) fn signalled(&mut self, now: Mono, from: HubId, signal: Signal, out: &mut Actions) {
        match signal {
            Signal::Committed { epoch, room, entries } => {
                if let Some(at) = self.rooms.find(&room) {
                    self.commit_signalled(now, at, &epoch, &entries, out);
                }
            }
            Signal::Grown { epoch, room, last } => {
                if let Some(at) = self.rooms.find(&room) {
                    self.grown(now, at, &epoch, last, out);
                }
            }
            Signal::Resumed { member, attempt } => self.resumed_elsewhere(member, attempt, out),
            Signal::Spent { by, cost, per_window } => {
                self.spent_elsewhere(now, by, (cost, per_window));
            }
            Signal::Revoked(what) => self.end_revoked(&what, out),
            Signal::Typing { room, member, active } => {
                let Some(room) = self.rooms.find(&room).and_then(|at| self.rooms.get(at)) else {
                    return;
                };
                let to = Recipients::All(room.live.roster().clone());
                let frame = ServerFrame::Typing { room: room.name.clone(), member, active };
                out.push_back(Action::Send { to, frame });
            }
            Signal::Alive { service } => self.with_peer(now, from, out, |peers, slot, _| {
                peers.service_told(now, slot, service);
            }),
            Signal::AskRosters { rooms } => self.with_peer(now, from, out, |peers, slot, _| {
                peers.rosters_asked(slot, &rooms);
            }),
            Signal::AskDigest { rooms } => {
                self.with_peer(now, from, out, |peers, slot, effects| {
                    peers.digest_asked(slot, &rooms, effects);
                })
            }
            Signal::Digest(digest) => self.with_peer(now, from, out, |peers, slot, effects| {
                peers.digest(now, slot, &digest, effects);
            }),
            Signal::Came { room, id, member, attempt, stamp } => {
                self.resumed_elsewhere(id, attempt, out);
                if let Some(slot) = self.heard_peer(now, from, out) {
                    self.came(slot, &room, id, member, stamp, out);
                }
            }
            Signal::Went { room, id, member, reason, stamp } => {
                if let Some(slot) = self.heard_peer(now, from, out) {
                    let notice = Notice::Went(member, reason, None);
                    self.went(slot, &room, id, notice, stamp, out);
                }
            }
            Signal::Rosters { parts } => {
                if let Some(slot) = self.heard_peer(now, from, out) {
                    parts.into_iter().for_each(|part| self.part_told(slot, part, out));
                }
            }
            Signal::Sessions { at, covers, counts } => {
                if let Some(slot) = self.heard_peer(now, from, out) {
                    self.sessions_told(slot, at, covers.as_ref(), counts);
                }
            }
        }
    }

    /// Renews the lease of a peer; `None` if what it says does not count.
    fn heard_peer(&mut self, now: Mono, from: HubId, out: &mut Actions) -> Option<PeerSlot> {
        let mut effects = Vec::new();
        let slot = self.peers.heard(now, from, &mut effects);
        self.apply_peer_effects(effects, out);
        slot
    }

    /// Lets the part that keeps the peers take something that a peer has said.
    fn with_peer(
        &mut self,
        now: Mono,
        from: HubId,
        out: &mut Actions,
        take: impl FnOnce(&mut Cluster, PeerSlot, &mut Vec<Effect>),
    ) {
        let Some(slot) = self.heard_peer(now, from, out) else { return };
        let mut effects = Vec::new();
        take(&mut self.peers, slot, &mut effects);
        self.apply_peer_effects(effects, out);
    }

    /// A peer has a new member.
    fn came(
        &mut self,
        slot: PeerSlot,
        room: &RoomName,
        id: MemberId,
        member: Member,
        stamp: Stamp,
        out: &mut Actions,
    ) {
        let listed = self.config.limits.members_listed as usize;
        let Some(at) = self.rooms.find(room) else { return };
        let change = self.peers.came(slot, room, stamp);
        if change == Change::Stale {
            // It may have come and gone long ago: nobody has moved because of it.
            return;
        }
        // A member that is in the room on this or another Hub has only moved.
        let is_known = self.is_known(id, at, slot);
        let room = self.rooms.get_mut(at).expect("it was just found");
        room.has_moved_here(id, |slot| self.peers.shuts_down(slot));
        let part = room.remote.entry(slot).or_default();
        // What was there before the first member has gone without a word.
        let was_shown = change == Change::First && part.is_shown();
        if change == Change::First {
            *part = RemoteRoster::default();
        }
        let before = if change == Change::Missed { Before::Missing } else { Before::Complete };
        part.came(id, member.clone(), listed, before);
        let moved = self.moved_away(id, at, out) || is_known;
        if was_shown {
            self.notice(at, Notice::Anew, out);
        } else if moved {
            self.reconcile(at);
        } else {
            self.notice(at, Notice::Came(member, None), out);
        }
    }

    /// A peer has a member less.
    fn went(
        &mut self,
        slot: PeerSlot,
        room: &RoomName,
        id: MemberId,
        notice: Notice,
        stamp: Stamp,
        out: &mut Actions,
    ) {
        let Some(at) = self.rooms.find(room) else { return };
        let before = match self.peers.went(slot, room, stamp) {
            Change::Stale => return,
            Change::Applied | Change::First => Before::Complete,
            Change::Missed => Before::Missing,
        };
        let room = self.rooms.get_mut(at).expect("it was just found");
        let part = room.remote.entry(slot).or_default();
        part.went(id);
        part.doubt(before);
        if self.is_known(id, at, slot) {
            self.reconcile(at);
        } else {
            self.notice(at, notice, out);
        }
    }

    /// A peer has told the whole of its part of a roster.
    fn part_told(&mut self, slot: PeerSlot, part: RosterPart, out: &mut Actions) {
        let RosterPart { room, version, count, members } = part;
        let listed = self.config.limits.members_listed as usize;
        let Some(at) = self.rooms.find(&room) else { return };
        if self.peers.whole(slot, &Register { room, version }, count) {
            let room = self.rooms.get_mut(at).expect("it was just found");
            if room.remote.entry(slot).or_default().replace(count, members, listed) {
                self.notice(at, Notice::Anew, out);
            }
        }
    }

    /// A peer has no members in a room any more.
    pub(super) fn part_ended(&mut self, at: RoomId, slot: PeerSlot, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.remote.remove(&slot).as_ref().is_some_and(RemoteRoster::is_shown) {
            self.notice(at, Notice::Anew, out);
        }
    }

    /// Tells whether a member is in a room here, or on another Hub than this.
    fn is_known(&self, id: MemberId, at: RoomId, but: PeerSlot) -> bool {
        self.is_here(id, at)
            || self.rooms.get(at).is_some_and(|room| room.is_elsewhere(id, Some(but)))
    }

    /// Asks where some rooms end, in turn: the signal of a last entry may be lost.
    pub(super) fn poll_due(&mut self, out: &mut Actions) {
        self.poll_armed = false;
        let polled = self.polled.take();
        self.polled = self.check_heads(polled.as_ref(), POLL_ROOMS, out);
    }

    /// Asks where up to `limit` rooms after a name end, inboxes last, and returns the last one;
    /// `None` if there are no more.
    pub(super) fn check_heads(
        &mut self,
        after: Option<&RoomName>,
        limit: usize,
        out: &mut Actions,
    ) -> Option<RoomName> {
        let others = (!after.is_some_and(RoomName::is_inbox)).then(|| self.rooms.after(after));
        let rooms = others.into_iter().flatten().chain(self.rooms.inboxes_after(after));
        let names: Vec<RoomName> = rooms.take(limit).map(|room| room.name.clone()).collect();
        for name in &names {
            if let Some(at) = self.rooms.find(name) {
                self.ask_head(at, out);
            }
        }
        if names.len() == limit { names.last().cloned() } else { None }
    }

    /// Arms the poll where a signal can be lost.
    pub(super) fn arm_poll(&mut self, now: Mono) {
        if !self.poll_armed && self.config.peers == Peers::Some && self.rooms.len() > 0 {
            self.poll_armed = true;
            self.timers.arm(now.plus(self.config.times.poll_ms.max(1)), Timer::Poll);
        }
    }
}
