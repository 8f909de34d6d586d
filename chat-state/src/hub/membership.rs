//! Joins and leaves rooms.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{
    Dialect, Entry, ErrorCode, Joined, LeaveReason, LostReason, RoomName, Seq, ServerFrame,
};

use super::places::Refusal;
use super::{Actions, Hub};
use crate::config::Peers;
use crate::delivery::wire;
use crate::event::Action;
use crate::ids::ConnId;
use crate::log::{Keep, ReadRange};
use crate::reason::CloseReason;
use crate::room::audience::{Attendee, Told};
use crate::room::tail::{Cx, Ends, Tail};
use crate::room::{Room, RoomId};
use crate::session::{Bulk, Joining, Message, Session, State, Subscription};
use crate::timers::Timer;

/// Why a room's log is open: who joins waits for that, and a replaced log ends all joins.
const OPEN: &str = "a join goes on once the log is open";

impl Hub {
    /// Begins a join. Opens the room if it is not open on this Hub.
    pub(super) fn join(
        &mut self,
        conn: ConnId,
        name: RoomName,
        joining: Joining,
        out: &mut Actions,
    ) -> Result<(), Refusal> {
        let rooms = self.config.limits.rooms as usize;
        let session = &self.sessions[conn];
        let found = self.rooms.find(&name);
        if let Some(at) = found
            && session.is_subscribed(at)
        {
            self.in_service()?;
            return self.rejoin(conn, at, joining, out);
        }
        if session.subscriptions.len() >= rooms {
            let why = "leave a room first: limit `rooms`";
            return Err(Refusal::new(ErrorCode::TooManyRooms, why));
        }
        self.may_enter(session, &name)?;
        let at = found.unwrap_or_else(|| self.open(name, out));
        self.begin_joining(conn, at, joining, out);
        Ok(())
    }

    /// Subscribes a session to a room that it is no member of yet.
    pub(super) fn begin_joining(
        &mut self,
        conn: ConnId,
        at: RoomId,
        joining: Joining,
        out: &mut Actions,
    ) {
        let session = &mut self.sessions[conn];
        let room = &mut self.rooms[at];
        room.joining.insert(conn);
        session.subscribe(at, State::Joining(joining.into()));
        self.go_on_joining(conn, at, out);
    }

    /// Begins another join of a room that the session has joined. A member is off the live list
    /// until the reply. An unfinished join is replaced: the client has waited too long for it.
    fn rejoin(
        &mut self,
        conn: ConnId,
        at: RoomId,
        joining: Joining,
        out: &mut Actions,
    ) -> Result<(), Refusal> {
        let end = self.rooms[at].tail.cursor();
        self.drop_work(conn, at);
        let session = &mut self.sessions[conn];
        let dialect = session.dialect;
        let subscription = session.subscription(at).expect("the session has joined the room");
        let reached = match &mut subscription.state {
            State::Joining(_) if dialect == Dialect::Basic => return Ok(()),
            State::Joining(earlier) => {
                let id = core::mem::replace(&mut earlier.id, joining.id);
                earlier.history = joining.history;
                let why = "a later join of the same room has taken its place";
                Self::refuse(conn, id, ErrorCode::LogUnavailable, why, out);
                self.go_on_joining(conn, at, out);
                return Ok(());
            }
            State::Live(_) => end,
            State::Lagging { cursor } => *cursor,
        };
        let joining = Joining { before: Some(reached), ..joining };
        self.stand_behind(conn, at, State::Joining(joining.into()), out);
        self.go_on_joining(conn, at, out);
        Ok(())
    }

    /// Makes a room and asks the log for its end and its newest entries.
    pub(super) fn open(&mut self, name: RoomName, out: &mut Actions) -> RoomId {
        let listed = self.config.limits.members_listed as usize;
        let mut effects = core::mem::take(&mut self.effects);
        let cx = Cx { now: self.now, room: &name, config: &self.tail_config };
        let tail = Tail::new(cx, &mut effects);
        let room = Room::new(name.clone(), tail, listed);
        if self.config.peers == Peers::Some && room.policy().has_roster {
            self.peers.opened(self.now, &name);
        }
        let at = self.rooms.insert(room);
        self.arm_poll();
        out.push_back(Action::Follow { room: name });
        self.apply_tail_effects(at, effects, out);
        at
    }

    /// Continues the joins that have waited for the room to open.
    pub(super) fn continue_joins(&mut self, at: RoomId, out: &mut Actions) {
        let room = &self.rooms[at];
        let waiting: Vec<_> = room.joining.iter().copied().collect();
        for conn in waiting {
            self.go_on_joining(conn, at, out);
        }
    }

    /// Refuses the joins that have waited for a room that can't be opened.
    pub(super) fn refuse_joins(&mut self, at: RoomId, out: &mut Actions) {
        let room = &self.rooms[at];
        let waiting = room.joining.clone();
        let why = "the room's log can't be read at the moment";
        for conn in waiting {
            let Some(session) = self.sessions.get_mut(conn) else { continue };
            let dialect = session.dialect;
            let Some(subscription) = session.subscription(at) else { continue };
            let State::Joining(joining) = &subscription.state else { continue };
            match dialect {
                Dialect::V1 if joining.resume.is_some() => {
                    self.not_recovered(conn, at, LostReason::Unavailable, out);
                }
                Dialect::V1 => {
                    let id = joining.id.clone();
                    Self::refuse(conn, id, ErrorCode::LogUnavailable, why, out);
                    self.give_up_joining(conn, at, out);
                }
                // `basic` has no errors, and a join must not fail silently.
                Dialect::Basic => {
                    self.close(conn, CloseReason::LogUnavailable, out);
                }
            }
        }
    }

    /// Continues a join if its room is open. A `chat.v1` session gets the reply by its feed.
    pub(super) fn go_on_joining(&mut self, conn: ConnId, at: RoomId, out: &mut Actions) {
        if self.rooms.get(at).is_none_or(|room| room.tail.ends().is_none()) {
            return;
        }
        let session = &mut self.sessions[conn];
        let dialect = session.dialect;
        let subscription = session.subscription(at).expect("the session has joined the room");
        let State::Joining(joining) = &subscription.state else {
            unreachable!("the work of a join goes with it")
        };
        if joining.resume.is_some() {
            self.recover(conn, at, out);
            return self.finish_resume(conn, out);
        }
        match dialect {
            Dialect::Basic => self.serve_join(conn, at, out),
            Dialect::V1 => self.want(conn, Bulk::Join(at), out),
        }
    }

    /// Answers a join from the recent entries, or asks the log for older ones first.
    pub(super) fn serve_join(&mut self, conn: ConnId, at: RoomId, out: &mut Actions) {
        let room = &self.rooms[at];
        let Ends { first, cursor, .. } = room.tail.ends().expect(OPEN);
        let session = &mut self.sessions[conn];
        let subscription = session.subscription(at).expect("the session has joined the room");
        let State::Joining(joining) = &subscription.state else {
            unreachable!("the work of a join goes with it")
        };
        let wanted = u64::from(joining.history.min(self.config.limits.history));
        let from = cursor.next().minus(wanted).max(first);
        let bytes = self.config.limits.page_bytes;
        if room.tail.recent().covers(from, cursor) {
            let events = room.tail.recent().newest(from, cursor, bytes as usize);
            self.finish_join(conn, at, cursor, first, events, out);
            return;
        }
        let limit = wanted as u32;
        let range = ReadRange { from, to: cursor, limit, bytes, keep: Keep::Newest };
        self.read_for(conn, Bulk::Join(at), room.name.clone(), range, out);
    }

    /// Answers a join. Live events begin directly after `head`.
    pub(super) fn finish_join(
        &mut self,
        conn: ConnId,
        at: RoomId,
        head: Seq,
        first: Seq,
        events: Vec<Arc<Entry>>,
        out: &mut Actions,
    ) {
        let room = &mut self.rooms[at];
        let Ends { epoch, cursor, .. } = room.tail.ends().expect(OPEN);
        let epoch = epoch.clone();
        let session = &mut self.sessions[conn];
        let (dialect, attendee) = (session.dialect, session.attendee());
        // A `chat.v1` connection whose outbox takes no more at the moment is fed later.
        let open = session.feed.is_open() || dialect == Dialect::Basic;
        let subscription = session.subscription(at).expect("the session has joined the room");
        let State::Joining(joining) = &mut subscription.state else {
            unreachable!("the work of a join goes with it")
        };
        let held = core::mem::take(&mut joining.held);
        let (id, again) = (joining.id.clone(), joining.before.is_some());
        subscription.state = State::Lagging { cursor: head };
        let (name, member) = (room.name.clone(), attendee.member.clone());
        room.joining.remove(&conn);
        if again {
            room.audience.note_told(conn);
        } else {
            self.audience(at, out, |audience, cx| audience.enter(cx, attendee, Told::View));
        }
        if head == cursor && open {
            self.go_live(conn, at, out);
        } else {
            self.sessions[conn].feed.want(Bulk::CatchUp(at));
        }
        match dialect {
            Dialect::Basic => {
                Self::reply(conn, ServerFrame::Join { room: name, member }, out);
            }
            Dialect::V1 => {
                let has_more_before = match events.first() {
                    Some(oldest) => oldest.seq > first,
                    None => head >= first,
                };
                let (room, members) = (name, self.members_view(at));
                let bytes = events.iter().map(|entry| wire::entry(entry));
                let bytes = bytes.fold(wire::members(members.members.len()), u32::saturating_add);
                self.spend(conn, bytes);
                let joined = Joined { id, room, epoch, head, members, events, has_more_before };
                Self::reply(conn, ServerFrame::Joined(joined.into()), out);
            }
        }
        self.say_held(conn, at, held, out);
    }

    /// Appends the messages that were held until the join was done. They are in flight already.
    fn say_held(&mut self, conn: ConnId, at: RoomId, held: Vec<Message>, out: &mut Actions) {
        for message in held {
            let session = &mut self.sessions[conn];
            session.in_flight -= 1;
            self.say(conn, at, message, out);
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
        let session = &mut self.sessions[conn];
        let mut subscription = session.unsubscribe(at).expect("the session has joined the room");
        let (dialect, attendee) = (session.dialect, session.attendee());
        if let State::Joining(joining) = &mut subscription.state {
            let why = "the room was left before the join was done";
            let held = core::mem::take(&mut joining.held);
            if dialect == Dialect::V1 {
                Self::refuse(conn, joining.id.clone(), ErrorCode::NotMember, why, out);
            }
            self.refuse_held(conn, held, out);
        }
        self.drop_work(conn, at);
        self.depart(at, attendee, &subscription.state, reason, out);
    }

    /// Takes a session that is gone out of all its rooms.
    pub(super) fn leave_all(&mut self, session: Session, why: LeaveReason, out: &mut Actions) {
        let attendee = session.attendee();
        for Subscription { room, state, .. } in session.subscriptions {
            self.depart(room, attendee.clone(), &state, why, out);
        }
    }

    /// Takes a session that has unsubscribed out of a room.
    pub(super) fn depart(
        &mut self,
        at: RoomId,
        attendee: Attendee,
        state: &State,
        reason: LeaveReason,
        out: &mut Actions,
    ) {
        let conn = attendee.conn;
        let room = &mut self.rooms[at];
        room.joining.remove(&conn);
        room.ahead.remove(&conn);
        room.stalled.remove(&conn);
        let farewell = room.farewell(conn, reason);
        if let Some(spot) = state.spot() {
            self.audience(at, out, |audience, cx| audience.leave(cx, attendee, spot, farewell));
        }
        self.forget_if_idle(at, out);
    }

    /// Drops a room that nobody needs. Its log stays.
    pub(super) fn forget_if_idle(&mut self, at: RoomId, out: &mut Actions) {
        if !self.rooms.get(at).is_some_and(Room::is_idle) {
            return;
        }
        let room = self.rooms.remove(at).expect("it was found above");
        self.forget_tail(at, &room);
        if self.config.peers == Peers::Some && room.policy().has_roster {
            self.peers.closed(self.now, &room.name);
        }
        self.timers.disarm(Timer::Audience(at));
        out.push_back(Action::Unfollow { room: room.name });
    }

    /// Refuses the messages that followed a join which has failed.
    fn refuse_held(&mut self, conn: ConnId, held: Vec<Message>, out: &mut Actions) {
        for Message { id, .. } in held {
            self.ended(conn, out);
            let why = "the join that this message followed has failed";
            Self::refuse(conn, id, ErrorCode::NotMember, why, out);
        }
    }

    /// Gives up a join whose history can't be read. A session that was a member stays one.
    pub(super) fn give_up_joining(&mut self, conn: ConnId, at: RoomId, out: &mut Actions) {
        let session = &mut self.sessions[conn];
        if let Some(subscription) = session.subscription(at)
            && let State::Joining(joining) = &subscription.state
            && let Some(cursor) = joining.before
        {
            subscription.state = State::Lagging { cursor };
            return self.want(conn, Bulk::CatchUp(at), out);
        }
        let session = &mut self.sessions[conn];
        let mut subscription = session.unsubscribe(at).expect("the session has joined the room");
        let attendee = session.attendee();
        if let State::Joining(joining) = &mut subscription.state {
            let held = core::mem::take(&mut joining.held);
            self.refuse_held(conn, held, out);
        }
        self.drop_work(conn, at);
        self.depart(at, attendee, &subscription.state, LeaveReason::Left, out);
    }
}
