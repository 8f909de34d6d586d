//! Entering and leaving rooms.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{
    CloseCode, Dialect, Entry, ErrorCode, Joined, LeaveReason, LostReason, Member, MembersView,
    RoomName, Seq, ServerFrame,
};

use super::history::HistoryLoad;
use super::notices::Notice;
use super::places::Refusal;
use super::{Actions, Hub, Pending};
use crate::config::Peers;
use crate::event::{Action, Signal, SignalTo};
use crate::ids::{ConnId, MemberId, Mono};
use crate::log::{Keep, ReadRange};
use crate::room::{Departure, LogState, Queued, Room, RoomId};
use crate::session::{Feed, Joining, OutboxState, Session, State};
use crate::timers::Timer;

impl Hub {
    /// Begins a join: opens the room if nobody here is in it.
    pub(super) fn join(
        &mut self,
        conn: ConnId,
        (name, joining): (RoomName, Joining),
        out: &mut Actions,
    ) -> Result<(), Refusal> {
        let rooms = self.config.limits.rooms as usize;
        let Some(session) = self.sessions.get(conn) else { return Ok(()) };
        let found = self.rooms.find(&name);
        if let Some(at) = found
            && session.is_member(at)
        {
            self.in_service()?;
            return self.rejoin((conn, at), joining, out);
        }
        if session.subscriptions.len() >= rooms {
            return Err((ErrorCode::TooManyRooms, "leave a room first: limit `rooms`"));
        }
        self.may_enter(session, &name)?;
        let at = found.unwrap_or_else(|| self.open(name, out));
        self.begin_joining((conn, at), joining, out);
        Ok(())
    }

    /// Puts a session on its way into a room.
    pub(super) fn begin_joining(
        &mut self,
        (conn, at): (ConnId, RoomId),
        joining: Joining,
        out: &mut Actions,
    ) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(room) = self.rooms.get_mut(at) else { return };
        // A leave that was not told yet is told before the new join.
        let earlier = room.departing.iter().position(|d| d.id == session.member_id);
        let earlier = earlier.map(|i| room.departing.remove(i));
        room.joining.insert(conn);
        session.subscribe(at, State::Joining(joining.into()));
        if let Some(departure) = earlier {
            self.announce_went(at, departure, out);
        }
        self.go_on_joining(conn, at, out);
    }

    /// A member joins again: it is taken off the live list and comes back by the same way. Where an
    /// earlier join is not done yet, the later one takes its place: it has waited too long.
    fn rejoin(
        &mut self,
        (conn, at): (ConnId, RoomId),
        joining: Joining,
        out: &mut Actions,
    ) -> Result<(), Refusal> {
        let Some(end) = self.rooms.get(at).map(Room::cursor) else { return Ok(()) };
        let Some(session) = self.sessions.get_mut(conn) else { return Ok(()) };
        let dialect = session.dialect;
        let Some(subscription) = session.subscription(at) else { return Ok(()) };
        let reached = match &mut subscription.state {
            State::Joining(_) if dialect == Dialect::Basic => return Ok(()),
            State::Joining(earlier) => {
                let id = core::mem::replace(&mut earlier.id, joining.id);
                earlier.history = joining.history;
                earlier.load = None;
                let why = "a later join of the same room has taken its place";
                Self::refuse(conn, id, ErrorCode::LogUnavailable, why, out);
                self.go_on_joining(conn, at, out);
                return Ok(());
            }
            State::Live(_) => end,
            State::Lagging { cursor, .. } => *cursor,
        };
        let joining = Joining { before: Some(reached), ..joining };
        let before = core::mem::replace(&mut subscription.state, State::Joining(joining.into()));
        self.take_off(conn, at, &before);
        if let Some(room) = self.rooms.get_mut(at) {
            room.lagging.insert(conn);
        }
        self.go_on_joining(conn, at, out);
        Ok(())
    }

    /// Makes a room and asks the log for its end and its newest entries.
    pub(super) fn open(&mut self, name: RoomName, out: &mut Actions) -> RoomId {
        let room = Room::new(name.clone(), self.config.limits.members_listed as usize);
        if self.config.peers == Peers::Some && room.has_roster() {
            self.peers.opened(self.now, &name);
        }
        let at = self.rooms.insert(room);
        out.push_back(Action::Follow { room: name });
        self.load_open(at, out);
        at
    }

    /// Asks the log for a room's end and its newest entries.
    pub(super) fn load_open(&mut self, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get(at) else { return };
        let name = room.name.clone();
        let limits = &self.config.limits;
        let range = ReadRange {
            from: Seq::ZERO.next(),
            to: Seq::ZERO.plus(u64::MAX),
            limit: limits.recent_entries,
            bytes: limits.recent_bytes,
            keep: Keep::Newest,
        };
        self.load(name, range, Pending::Open(at), out);
    }

    /// Lets in those who waited for the room to open.
    pub(super) fn let_in(&mut self, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get(at) else { return };
        let waiting: Vec<_> = room.joining.iter().copied().collect();
        for conn in waiting {
            self.go_on_joining(conn, at, out);
        }
    }

    /// Refuses those who waited for a room that can't be opened.
    pub(super) fn turn_away(&mut self, now: Mono, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        let drafts = core::mem::take(&mut room.drafts);
        let waiting = room.joining.clone();
        let why = "the room's log can't be read at the moment";
        self.unpause_stalled(now, at, out);
        for Queued { conn, id, .. } in drafts {
            if let Some(room) = self.rooms.get_mut(at) {
                room.answered(conn);
            }
            self.ended(now, conn, out);
            match self.sessions.get(conn).map(|s| s.dialect) {
                Some(Dialect::V1) => Self::refuse(conn, id, ErrorCode::LogUnavailable, why, out),
                // The dialect has no errors, and a message must not vanish in silence.
                Some(Dialect::Basic) => {
                    self.close(conn, CloseCode::Overloaded, LeaveReason::Disconnected, out);
                }
                None => {}
            }
        }
        for conn in waiting {
            let Some(session) = self.sessions.get_mut(conn) else { continue };
            let dialect = session.dialect;
            let Some(subscription) = session.subscription(at) else { continue };
            let State::Joining(joining) = &subscription.state else { continue };
            match dialect {
                Dialect::V1 if joining.resume.is_some() => {
                    self.not_recovered((conn, at), LostReason::Unavailable, out);
                }
                Dialect::V1 => {
                    let id = joining.id.clone();
                    Self::refuse(conn, id, ErrorCode::LogUnavailable, why, out);
                    self.give_up_joining(conn, at, out);
                }
                // The dialect has no errors, and a join must not vanish in silence.
                Dialect::Basic => {
                    self.close(conn, CloseCode::Overloaded, LeaveReason::Disconnected, out);
                }
            }
        }
    }

    /// Answers a join from the recent entries, or asks the log for older ones first.
    pub(super) fn go_on_joining(&mut self, conn: ConnId, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get(at) else { return };
        let LogState::Open { first, cursor, .. } = room.log else { return };
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(subscription) = session.subscription(at) else { return };
        let State::Joining(joining) = &subscription.state else { return };
        if joining.resume.is_some() {
            self.recover((conn, at), out);
            return self.finish_resume(conn, out);
        }
        let wanted = u64::from(joining.history.min(self.config.limits.history));
        let from = cursor.next().minus(wanted).max(first);
        let bytes = self.config.limits.page_bytes;
        if room.recent.covers(from, cursor) {
            let events = room.recent.newest(from, cursor, bytes as usize);
            self.finish_join((conn, at), (cursor, first), events, out);
            return;
        }
        let limit = wanted as u32;
        let range = ReadRange { from, to: cursor, limit, bytes, keep: Keep::Newest };
        let pending = Pending::Join(conn, at, HistoryLoad { id: joining.id.clone(), range });
        let token = self.load(room.name.clone(), range, pending, out);
        if let Some(subscription) = self.sessions.get_mut(conn).and_then(|s| s.subscription(at))
            && let State::Joining(joining) = &mut subscription.state
        {
            joining.load = Some(token);
        }
    }

    /// Answers a join. Live events begin directly after `head`.
    pub(super) fn finish_join(
        &mut self,
        (conn, at): (ConnId, RoomId),
        (head, first): (Seq, Seq),
        events: Vec<Arc<Entry>>,
        out: &mut Actions,
    ) {
        let Some(id) = self.sessions.get(conn).map(|session| session.member_id) else { return };
        let back = self.is_back(id, at);
        let Some(room) = self.rooms.get_mut(at) else { return };
        let LogState::Open { epoch, cursor, .. } = &room.log else { return };
        let (epoch, cursor) = (epoch.clone(), *cursor);
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let (dialect, member, outbox) = (session.dialect, session.member(), session.outbox);
        let Some(subscription) = session.subscription(at) else { return };
        let State::Joining(joining) = &subscription.state else { return };
        let (id, known) = (joining.id.clone(), back || joining.before.is_some());
        room.joining.remove(&conn);
        room.untold_of.remove(&conn);
        // One that takes nothing at the moment is fed once it does. (`basic` can't be.)
        let open = outbox == OutboxState::Open || dialect == Dialect::Basic;
        subscription.state = if head == cursor && open {
            room.lagging.remove(&conn);
            State::Live(room.live.push(conn, || member.clone()))
        } else {
            room.lagging.insert(conn);
            State::Lagging { cursor: head, feed: Feed::Ready }
        };
        let name = room.name.clone();
        let mut told = None;
        match dialect {
            Dialect::Basic => {
                let frame = ServerFrame::Join { room: name.clone(), member: member.clone() };
                Self::reply(conn, frame, out);
            }
            Dialect::V1 => {
                let has_more_before = match events.first() {
                    Some(oldest) => oldest.seq > first,
                    None => head >= first,
                };
                let Some(members) = self.members_view(at) else { return };
                told = Some(members.count);
                let room = name.clone();
                let joined = Joined { id, room, epoch, head, members, events, has_more_before };
                Self::reply(conn, ServerFrame::Joined(joined.into()), out);
            }
        }
        if !known {
            self.announce_came(conn, at, (name, member), out);
        }
        if let Some(count) = told {
            self.one_was_told(at, count);
        }
        if head != cursor {
            self.catch_up(conn, out);
        }
    }

    /// Tells others of a new member, unless they have never seen it go.
    pub(super) fn announce_came(
        &mut self,
        conn: ConnId,
        at: RoomId,
        (name, member): (RoomName, Member),
        out: &mut Actions,
    ) {
        let Some(session) = self.sessions.get(conn) else { return };
        let (id, attempt) = (session.member_id, session.attempt);
        let Some(room) = self.rooms.get_mut(at).filter(|room| room.has_roster()) else { return };
        let moved = room.is_elsewhere(id, None);
        if self.config.peers == Peers::Some {
            room.has_moved_here(id, |slot| self.peers.shuts_down(slot));
            let stamp = self.peers.change_here(self.now, &name);
            let (to, room, member) = (SignalTo::Followers(name.clone()), name, member.clone());
            let signal = Signal::Came { room, id, member, attempt, stamp };
            out.push_back(Action::Signal { to, signal });
        }
        if moved {
            self.reconcile(at);
        } else {
            self.notice(at, Notice::Came(member, Some(conn)), out);
        }
    }

    /// Takes a member out of a room and tells the others.
    pub(super) fn leave(
        &mut self,
        conn: ConnId,
        at: RoomId,
        reason: LeaveReason,
        out: &mut Actions,
    ) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(subscription) = session.unsubscribe(at) else { return };
        let (dialect, member) = (session.dialect, session.member());
        let id = session.member_id;
        if let (Dialect::V1, State::Joining(joining)) = (dialect, &subscription.state) {
            let why = "the room was left before the join was done";
            Self::refuse(conn, joining.id.clone(), ErrorCode::NotMember, why, out);
        }
        self.depart((conn, at), &subscription.state, (id, member), reason, out);
    }

    /// Takes a session that is gone out of all its rooms.
    pub(super) fn leave_all(&mut self, session: Session, why: LeaveReason, out: &mut Actions) {
        let (conn, id, member) = (session.conn, session.member_id, session.member());
        for subscription in session.subscriptions {
            let place = (conn, subscription.room);
            self.depart(place, &subscription.state, (id, member.clone()), why, out);
        }
    }

    pub(super) fn depart(
        &mut self,
        (conn, at): (ConnId, RoomId),
        state: &State,
        (id, member): (MemberId, Member),
        reason: LeaveReason,
        out: &mut Actions,
    ) {
        self.take_off(conn, at, state);
        let Some(room) = self.rooms.get_mut(at) else { return };
        room.joining.remove(&conn);
        room.ahead.remove(&conn);
        let known = state.is_known();
        if known {
            self.say_farewell(at, Departure { conn, id, member, reason }, out);
        }
        self.forget_if_idle(at, out);
    }

    /// Tells of one who has left, once the log has answered all that it said before.
    pub(super) fn say_farewell(&mut self, at: RoomId, departure: Departure, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at).filter(|room| room.has_roster()) else { return };
        if departure.reason == LeaveReason::Draining {
            // A member that a shutdown disconnects comes back at once: others need not see it go.
        } else if room.has_drafts_of(departure.conn) {
            room.departing.push(departure);
        } else {
            self.announce_went(at, departure, out);
        }
    }

    /// Tells of those who have left, each once the log has answered all that it said before.
    pub(super) fn announce_departures(&mut self, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.departing.is_empty() {
            return;
        }
        let departing = core::mem::take(&mut room.departing);
        let (still, gone) = departing.into_iter().partition(|d| room.has_drafts_of(d.conn));
        room.departing = still;
        for departure in gone {
            self.announce_went(at, departure, out);
        }
    }

    /// Tells others that a member is gone from here, unless it is known to be elsewhere.
    pub(super) fn announce_went(&mut self, at: RoomId, departure: Departure, out: &mut Actions) {
        let elsewhere = |room: &Room| room.is_elsewhere(departure.id, None);
        let shown = !self.rooms.get(at).is_some_and(elsewhere);
        self.count_out(at, departure, shown, out);
    }

    /// Takes a member out of this Hub's part of a roster.
    pub(super) fn count_out(
        &mut self,
        at: RoomId,
        departure: Departure,
        shown: bool,
        out: &mut Actions,
    ) {
        let Departure { conn, id, member, reason } = departure;
        let Some(room) = self.rooms.get_mut(at) else { return };
        if self.config.peers == Peers::Some {
            let (room, member) = (room.name.clone(), member.clone());
            let stamp = self.peers.change_here(self.now, &room);
            let to = SignalTo::Followers(room.clone());
            let signal = Signal::Went { room, id, member, reason, stamp };
            out.push_back(Action::Signal { to, signal });
        }
        if shown {
            self.notice(at, Notice::Went(member, reason, Some(conn)), out);
        } else {
            self.reconcile(at);
        }
    }

    /// Takes a connection off the list that it is on.
    pub(super) fn take_off(&mut self, conn: ConnId, at: RoomId, state: &State) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        match state {
            // One that joins again is listed as one that lags.
            State::Joining(_) | State::Lagging { .. } => {
                room.lagging.remove(&conn);
                room.untold_of.remove(&conn);
            }
            State::Live(place) => {
                let sessions = &self.sessions;
                let member = |conn| sessions.get(conn).map(Session::member);
                let Some(moved) = room.live.swap_remove(*place, member) else { return };
                let Some(session) = self.sessions.get_mut(moved) else { return };
                if let Some(subscription) = session.subscription(at) {
                    debug_assert!(matches!(subscription.state, State::Live(_)));
                    subscription.state = State::Live(*place);
                }
            }
        }
    }

    /// Forgets a room that nobody needs; its log stays.
    pub(super) fn forget_if_idle(&mut self, at: RoomId, out: &mut Actions) {
        if self.rooms.get(at).is_some_and(Room::is_idle)
            && let Some(room) = self.rooms.remove(at)
        {
            if let Some(crowd) = &room.crowd {
                self.timers.disarm(crowd.due, Timer::Presence(at));
            }
            if self.config.peers == Peers::Some && room.has_roster() {
                self.peers.closed(self.now, &room.name);
            }
            out.push_back(Action::Unfollow { room: room.name });
        }
    }

    /// Lists a room's members: those here first, then those of other Hubs. Whoever has just moved
    /// from one Hub to another counts once. An inbox shows nobody.
    pub(super) fn members_view(&self, at: RoomId) -> Option<MembersView> {
        let room = self.rooms.get(at)?;
        if !room.has_roster() {
            return Some(MembersView { count: 0, members: Arc::default() });
        }
        let listed = self.config.limits.members_listed as usize;
        let mut members = self.listed_here(room, listed);
        let mut count = room.members();
        for (slot, part) in &room.remote {
            for (id, member) in &part.members {
                let before = room.remote.range(..slot);
                let twice = self.is_here(*id, at)
                    || before.into_iter().any(|(_, part)| part.members.contains_key(id));
                if twice {
                    count = count.saturating_sub(1);
                } else if members.len() < listed {
                    Arc::make_mut(&mut members).push(member.clone());
                }
            }
        }
        Some(MembersView { count, members })
    }

    fn listed_here(&self, room: &Room, listed: usize) -> Arc<Vec<Member>> {
        let others = !room.lagging.is_empty() || !room.away.is_empty();
        if let Some(known) = room.live.listed(listed)
            && (known.len() == listed || !others)
        {
            return known.clone();
        }
        let here = room.live.iter().chain(room.lagging.iter().copied());
        let here = here.filter_map(|conn| self.sessions.get(conn).map(Session::member));
        let here = here.chain(room.away.values().cloned());
        Arc::new(here.take(listed).collect())
    }

    /// Tells whether a member is in a room on this Hub.
    pub(super) fn is_here(&self, id: MemberId, at: RoomId) -> bool {
        self.rooms.get(at).is_some_and(|room| room.away.contains_key(&id))
            || self.sessions.of(id).is_some_and(|session| session.is_in(at))
    }

    /// Takes back a join whose history can't be read; a member stays what it was.
    pub(super) fn give_up_joining(&mut self, conn: ConnId, at: RoomId, out: &mut Actions) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        if let Some(subscription) = session.subscription(at)
            && let State::Joining(joining) = &subscription.state
            && let Some(cursor) = joining.before
        {
            subscription.state = State::Lagging { cursor, feed: Feed::Ready };
            return self.catch_up(conn, out);
        }
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(subscription) = session.unsubscribe(at) else { return };
        let member = (session.member_id, session.member());
        let reason = LeaveReason::Left;
        self.depart((conn, at), &subscription.state, member, reason, out);
    }
}
