//! What Hubs tell each other.
use alloc::vec::Vec;

use chat_proto::{Member, RoomName, ServerFrame};

use super::notices::Notice;
use super::{Actions, Hub};
use crate::config::Peers;
use crate::event::{Signal, SignalTo};
use crate::ids::{HubId, MemberId, Mono};
use crate::presence::Change;
use crate::room::{Room, RoomId};
use crate::timers::Timer;

/// Rooms that are polled at a time: one read of the log each, in one turn.
const POLL_ROOMS: usize = 512;

/// Rooms whose counts are told in one turn …
const TOLD_ROOMS: usize = 512;
/// … and how long after it come the next ones.
const GO_ON_MS: u64 = 10;

impl Hub {
    pub(super) fn signalled(&mut self, now: Mono, from: HubId, signal: Signal, out: &mut Actions) {
        let listed = self.config.limits.members_listed as usize;
        match signal {
            Signal::Committed { epoch, room, entries } => {
                if let Some(at) = self.rooms.find(&room) {
                    self.commit_signalled(now, at, &epoch, &entries, out);
                }
            }
            Signal::Grown { epoch, room, last } => {
                let Some(at) = self.rooms.find(&room) else { return };
                self.grown(now, at, &epoch, last, out);
            }
            Signal::Came { room, id, member, version } => {
                self.came(now, from, (room, version), (id, member), out);
            }
            Signal::Went { room, id, member, reason, version } => {
                let Some((at, part)) = self.remote(&room, from) else { return };
                let change = part.went(version, id);
                let moved = self.is_known(id, at, from);
                let notice = (!moved).then_some(Notice::Went(member, reason, None));
                self.presence_changed(now, (from, at), change, notice, out);
            }
            Signal::Resumed { member, attempt } => self.resumed_elsewhere(member, attempt, out),
            Signal::Spent { by, cost, per_window } => {
                self.spent_elsewhere(now, by, (cost, per_window));
            }
            Signal::Sessions { counts } => self.sessions_told(from, counts),
            Signal::Revoked(what) => self.end_revoked(&what, out),
            Signal::AskRoster { room } => self.tell_roster(from, &room, out),
            Signal::Roster { room, count, members, version } => {
                let Some((at, part)) = self.remote(&room, from) else { return };
                let changed = part.replace(version, count, members, listed);
                self.ask_if_missing(now, from, at, out);
                if changed {
                    self.notice(at, Notice::Anew, out);
                }
            }
            Signal::Leaving { room, version } => {
                let grace = self.config.times.grace_ms;
                let Some((at, part)) = self.remote(&room, from) else { return };
                if part.leave(version) {
                    self.timers.arm(now.plus(grace), Timer::Left(at, from));
                }
            }
            Signal::Census { room, count } => {
                let rooms_max = self.config.limits.rooms_total as usize;
                let is_here = |room: &RoomName| self.rooms.find(room).is_some();
                self.directory.note((from, room, count), rooms_max, is_here);
            }
            Signal::AskCensus => {
                self.tell_sessions_again();
                let names = self.rooms.after(None).map(|room| room.name.clone());
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

    /// Another Hub has a new member.
    fn came(
        &mut self,
        now: Mono,
        from: HubId,
        (room, version): (RoomName, u64),
        (id, member): (MemberId, Member),
        out: &mut Actions,
    ) {
        let listed = self.config.limits.members_listed as usize;
        let Some((at, part)) = self.remote(&room, from) else { return };
        let change = part.came(version, (id, member.clone()), listed);
        if change == Change::Stale {
            // It may have come and gone long ago: nobody has moved because of it.
            return self.ask_if_missing(now, from, at, out);
        }
        // Whoever is known to be in the room, here or on another Hub, has only moved.
        let moved = self.moved_away(id, at, out) || self.is_known(id, at, from);
        if let Some(room) = self.rooms.get_mut(at) {
            room.has_moved_here(id);
        }
        let notice = (!moved).then_some(Notice::Came(member, None));
        self.presence_changed(now, (from, at), change, notice, out);
    }

    /// The time to come back is over for those whose Hub has left service.
    pub(super) fn left_due(&mut self, at: RoomId, from: HubId, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.remote.get(&from).is_some_and(|part| part.leaving)
            && let Some(part) = room.remote.remove(&from)
            && part.is_shown()
        {
            self.notice(at, Notice::Anew, out);
        }
    }

    /// Tells whether a member is in a room here, or on another Hub than this.
    fn is_known(&self, id: MemberId, at: RoomId, but: HubId) -> bool {
        self.is_here(id, at)
            || self.rooms.get(at).is_some_and(|room| room.is_elsewhere(id, Some(but)))
    }

    fn remote(
        &mut self,
        room: &RoomName,
        from: HubId,
    ) -> Option<(RoomId, &mut crate::presence::RemoteRoster)> {
        let at = self.rooms.find(room)?;
        let room = self.rooms.get_mut(at)?;
        Some((at, room.remote.entry(from).or_default()))
    }

    /// Shows a change of another Hub's part; asks for the whole if changes before it are missing.
    fn presence_changed(
        &mut self,
        now: Mono,
        (from, at): (HubId, RoomId),
        change: Change,
        notice: Option<Notice>,
        out: &mut Actions,
    ) {
        match notice {
            Some(notice) if change != Change::Stale => self.notice(at, notice, out),
            Some(_) => {}
            None => self.reconcile(at),
        }
        self.ask_if_missing(now, from, at, out);
    }

    fn ask_if_missing(&mut self, now: Mono, from: HubId, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.remote.get_mut(&from).is_some_and(|part| part.ask(now)) {
            let room = room.name.clone();
            self.signal(SignalTo::Hub(from), || Signal::AskRoster { room }, out);
        }
    }

    fn tell_roster(&mut self, from: HubId, name: &RoomName, out: &mut Actions) {
        let Some(room) = self.rooms.find(name).and_then(|at| self.rooms.get(at)) else { return };
        let listed = self.config.limits.members_listed as usize;
        let here = room.live.iter().chain(room.lagging.iter().copied());
        let here = here.filter_map(|conn| self.sessions.get(conn));
        let here = here.map(|session| (session.member_id, session.member()));
        let away = room.away.iter().map(|(id, member)| (*id, member.clone()));
        let departing = room.departing.iter().map(|d| (d.id, d.member.clone()));
        let members: Vec<_> = here.chain(away).chain(departing).take(listed).collect();
        let (room, count, version) = (room.name.clone(), room.members_here(), room.version);
        let signal = || Signal::Roster { room, count, members, version };
        self.signal(SignalTo::Hub(from), signal, out);
    }

    /// Signals may be missing: ask for everything that they could have said. Hubs that have left a
    /// room meanwhile do not answer, so what they had counts no more.
    pub(super) fn signals_lost(&mut self, now: Mono, out: &mut Actions) {
        self.directory.clear();
        self.doubt_sessions();
        for at in self.rooms.ids() {
            self.ask_head(at, out);
            let Some(room) = self.rooms.get_mut(at).filter(|room| room.has_roster()) else {
                continue;
            };
            let doubted = room.remote.values_mut().map(|part| part.doubt(now));
            let shown = doubted.fold(false, |any, shown| any | shown);
            let name = room.name.clone();
            if shown {
                // Not every Hub will answer, and those that do need a moment.
                self.gather(at, Notice::Anew);
            }
            let to = SignalTo::Followers(name.clone());
            self.signal(to, || Signal::AskRoster { room: name }, out);
        }
        self.signal(SignalTo::Everyone, || Signal::AskCensus, out);
    }

    /// Tells how many members some rooms have, and the rest soon: all at once might be more than
    /// another Hub can take.
    pub(super) fn census_due(&mut self, out: &mut Actions) {
        for _ in 0..TOLD_ROOMS {
            let Some(room) = self.census.pop_first() else { break };
            let here = self.rooms.find(&room).and_then(|at| self.rooms.get(at));
            let count = here.map_or(0, Room::members_here);
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
        let polled = self.polled.as_ref();
        // The inboxes come last.
        let others = (!polled.is_some_and(RoomName::is_inbox)).then(|| self.rooms.after(polled));
        let after = others.into_iter().flatten().chain(self.rooms.inboxes_after(polled));
        let names: Vec<RoomName> = after.take(POLL_ROOMS).map(|room| room.name.clone()).collect();
        self.polled = if names.len() == POLL_ROOMS { names.last().cloned() } else { None };
        for name in names {
            if let Some(at) = self.rooms.find(&name) {
                self.ask_head(at, out);
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

    /// Tells other Hubs that nobody is left, where leaving was not told.
    pub(super) fn tell_empty(&mut self, room: &Room, out: &mut Actions) {
        let version = room.version + 1;
        self.changes = self.changes.max(version);
        let name = room.name.clone();
        let leaving = || Signal::Leaving { room: name, version };
        self.signal(SignalTo::Followers(room.name.clone()), leaving, out);
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
