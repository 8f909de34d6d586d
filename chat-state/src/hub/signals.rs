//! What Hubs tell each other.
use alloc::vec::Vec;

use chat_proto::{RoomName, ServerFrame};

use super::tail::Effects;
use super::{Actions, Hub};
use crate::config::Peers;
use crate::event::{Signal, SignalTo};
use crate::ids::{HubId, Mono};
use crate::room::audience::{Part, Say};
use crate::room::tail::{Cx, Tail};
use crate::timers::Timer;
use crate::users::budgets::Spent;

/// Rooms that are polled at a time: one read of the log each, in one turn.
const POLL_ROOMS: usize = 512;

/// Rooms whose counts are told in one turn …
const TOLD_ROOMS: usize = 512;
/// … and how long after it come the next ones.
const GO_ON_MS: u64 = 10;

impl Hub {
    pub(super) fn signalled(&mut self, now: Mono, from: HubId, signal: Signal, out: &mut Actions) {
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
                let Some(at) = self.rooms.find(&room) else { return };
                self.with_tail(at, out, |tail, cx, effects| tail.grown(cx, &epoch, last, effects));
            }
            Signal::Came { room, id, member, version } => {
                self.peer_said(from, &room, Say::Came { id, member, version }, out);
            }
            Signal::Went { room, id, member, reason, version } => {
                self.peer_said(from, &room, Say::Went { id, member, reason, version }, out);
            }
            Signal::Leaving { room, version } => {
                self.peer_said(from, &room, Say::Leaving { version }, out);
            }
            Signal::AskRoster { room } => self.tell_roster(from, &room, out),
            Signal::Roster { room, count, members, version } => {
                self.peer_part(from, &room, Part { version, count, members }, out);
            }
            Signal::Resumed { member, attempt } => self.resumed_elsewhere(member, attempt, out),
            Signal::Spent { by, cost, per_window } => {
                self.spent_elsewhere(now, Spent { by, cost, per_window });
            }
            Signal::Sessions { counts } => self.sessions_told(from, counts),
            Signal::Revoked(what) => self.end_revoked(&what, out),
            Signal::Census { room, count } => {
                let rooms_max = self.config.limits.rooms_total as usize;
                let is_here = |room: &RoomName| self.rooms.find(room).is_some();
                self.directory.note((from, room, count), rooms_max, is_here);
            }
            Signal::AskCensus => {
                self.tell_sessions_again();
                let names = self.rooms.listed_after(None).map(|room| room.name.clone());
                self.census.extend(names);
            }
            Signal::Typing { room, member, active } => {
                let Some(room) = self.rooms.find(&room).and_then(|at| self.rooms.get(at)) else {
                    return;
                };
                let frame = ServerFrame::Typing { room: room.name.clone(), member, active };
                self.show_typing(room, None, frame, out);
            }
        }
    }

    /// Asks for everything that lost signals could have said.
    pub(super) fn signals_lost(&mut self, now: Mono, out: &mut Actions) {
        self.directory.clear();
        self.doubt_sessions();
        for at in self.rooms.ids() {
            self.check_head(at, out);
            self.doubt_rosters(now, at, out);
        }
        self.signal(SignalTo::Everyone, || Signal::AskCensus, out);
    }

    /// Tells how many members some rooms have, and the rest soon: all at once might be more than
    /// another Hub can take.
    pub(super) fn census_due(&mut self, out: &mut Actions) {
        for _ in 0..TOLD_ROOMS {
            let Some(room) = self.census.pop_first() else { break };
            let here = self.rooms.find(&room).and_then(|at| self.rooms.get(at));
            let count = here.map_or(0, |room| room.audience.count_here());
            self.signal(SignalTo::Everyone, || Signal::Census { room, count }, out);
        }
        self.census_armed = !self.census.is_empty();
        if self.census_armed {
            self.timers.arm(self.now.plus(GO_ON_MS), Timer::Census);
        }
    }

    /// Asks where some rooms end, in turn: the signal of a last entry may be lost.
    pub(super) fn poll_due(&mut self, out: &mut Actions) {
        self.poll_armed = false;
        let after = self.rooms.after(self.polled.as_ref());
        let names: Vec<RoomName> = after.take(POLL_ROOMS).map(|room| room.name.clone()).collect();
        self.polled = if names.len() == POLL_ROOMS { names.last().cloned() } else { None };
        for name in names {
            if let Some(at) = self.rooms.find(&name) {
                self.check_head(at, out);
            }
        }
    }

    /// Arms the poll where a signal can be lost.
    pub(super) fn arm_poll(&mut self, now: Mono) {
        if !self.poll_armed && self.config.peers == Peers::Some && self.rooms.len() > 0 {
            self.poll_armed = true;
            self.timers.arm(now.plus(self.config.times.poll_ms.max(1)), Timer::Poll);
        }
    }

    /// Notes that other Hubs should be told a room's count.
    pub(super) fn count_changed(&mut self, name: RoomName) {
        if self.config.peers == Peers::Some {
            self.census.insert(name);
        }
    }

    /// Arms the census timer if there is something to tell.
    pub(super) fn arm_census(&mut self, now: Mono) {
        if !self.census_armed && !self.census.is_empty() {
            self.census_armed = true;
            self.timers.arm(now.plus(self.config.times.census_ms), Timer::Census);
        }
    }
}
