//! Resumes sessions on new connections.
//!
//! A session can be resumed on any Hub, even on one that has never seen it: the client brings its
//! positions, and the member id follows from the session id, which is secret.
//!
//! *Invariant:* a room is recovered only if the log has everything after the given position. The
//! member lags from there, so nothing newer is delivered first.
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use chat_proto::{
    DisplayName, LeaveReason, LostReason, Position, Recovery, RequestId, Resume, RoomName, Seq,
};

use super::{Actions, Hub};
use crate::event::{Signal, SignalTo};
use crate::ids::{ConnId, MemberId};
use crate::reason::CloseReason;
use crate::room::RoomId;
use crate::room::audience::Told;
use crate::room::tail::{Cx, Ends, Located};
use crate::session::{Bulk, Joining, Resumed, Resuming, Stage, State, Subscription};
use crate::timers::Timer;

impl Hub {
    /// Gives a session to a connection that knows its secret id.
    pub(super) fn resume(
        &mut self,
        conn: ConnId,
        id: Option<RequestId>,
        name: Option<DisplayName>,
        resume: Resume,
        out: &mut Actions,
    ) {
        let session = &self.sessions[conn];
        let member = session.member_of(&resume.session);
        let kept = self.kept.get(member).map(|kept| kept.attempt);
        let held = self.sessions.of(member).map(|session| session.attempt);
        let newest = kept.max(held).unwrap_or(0);
        // A client that does not count its attempts leaves the field out: then the later one wins.
        let counts = resume.attempt > 0;
        if counts && resume.attempt < newest {
            // The connection was delayed, and the client has given it up.
            return self.close(conn, CloseReason::Superseded, out);
        }
        let is_elsewhere = self.is_known_to_peers(member, resume.rooms.keys());
        let is_live = held.is_some();
        self.supersede(member, out);
        let kept = self.kept.take(member);
        let due = self.now.plus(self.config.times.resume_ms);
        let session = &mut self.sessions[conn];
        session.user = session.user_of(&resume.session);
        session.id = resume.session;
        session.member_id = member;
        session.attempt = newest.max(resume.attempt);
        let is_kept = kept.is_some();
        if let Some(kept) = kept {
            session.name = kept.name;
            session.budget = kept.budget;
            session.strikes = kept.strikes;
        }
        if let Some(name) = name {
            session.name = name;
        }
        session.stage = Stage::Resuming;
        session.resuming = Some(Box::new(Resuming {
            id,
            known: is_live || is_kept || is_elsewhere,
            waiting: resume.rooms.into_iter().collect(),
            undecided: BTreeSet::new(),
            is_opening: false,
            decided: BTreeMap::new(),
        }));
        self.sessions.name(member, conn);
        self.timers.arm(due, Timer::Resume(conn));
        let attempt = resume.attempt;
        self.signal(SignalTo::Everyone, || Signal::Resumed { member, attempt }, out);
        self.finish_resume(conn, out);
    }

    /// Returns true if another Hub is known to have the session as a member of one of the rooms.
    fn is_known_to_peers<'a>(
        &self,
        member: MemberId,
        mut rooms: impl Iterator<Item = &'a RoomName>,
    ) -> bool {
        rooms.any(|name| {
            let room = self.rooms.find(name).and_then(|at| self.rooms.get(at));
            room.is_some_and(|room| room.audience.is_elsewhere(member))
        })
    }

    fn begin_recovery(
        &mut self,
        conn: ConnId,
        name: RoomName,
        position: Position,
        out: &mut Actions,
    ) {
        let limit = self.config.limits.rooms as usize;
        let session = &self.sessions[conn];
        let (member, rooms) = (session.member_id, session.subscriptions.len());
        let found = self.rooms.find(&name);
        let lingers = found
            .and_then(|at| self.rooms.get(at))
            .is_some_and(|room| room.audience.is_away(member));
        let may = session.may_join(&name)
            && !self.bans.hold_for_room(&session.user, &name, self.now)
            && (lingers || self.has_place(&name).is_ok());
        if rooms >= limit || !may {
            return self.decide(conn, name, Recovery::Lost(LostReason::NotMember));
        }
        let at = found.unwrap_or_else(|| self.open(name, out));
        self.begin_joining(conn, at, Joining::resumed(position), out);
    }

    /// Decides about one room, or waits until the log tells where the position lies.
    pub(super) fn recover(&mut self, conn: ConnId, at: RoomId, out: &mut Actions) {
        let room = &mut self.rooms[at];
        let subscription = self.sessions.get_mut(conn).and_then(|s| s.subscription(at));
        let Some(lookup) = subscription.and_then(Subscription::recovering) else { return };
        let mut effects = core::mem::take(&mut self.effects);
        let cx = Cx { now: self.now, room: &room.name, config: &self.tail_config };
        let located = room.tail.locate(cx, lookup, &mut effects);
        let from = lookup.position.seq;
        let behind = room.tail.cursor().get().saturating_sub(from.get());
        if located == Located::Pending {
            room.ahead.insert(conn);
        }
        self.apply_tail_effects(at, effects, out);
        match located {
            Located::Pending => {}
            Located::OtherLog | Located::Beyond => {
                self.not_recovered(conn, at, LostReason::EpochChanged, out);
            }
            Located::Truncated => self.not_recovered(conn, at, LostReason::Truncated, out),
            Located::Reached if behind > u64::from(self.config.limits.behind_entries) => {
                self.not_recovered(conn, at, LostReason::TooFar, out);
            }
            Located::Reached => self.recovered(conn, at, from, out),
        }
    }

    fn recovered(&mut self, conn: ConnId, at: RoomId, from: Seq, out: &mut Actions) {
        let room = &mut self.rooms[at];
        let Ends { epoch, cursor, .. } = room.tail.ends().expect("a position was located in it");
        let head = Position { epoch: epoch.clone(), seq: cursor };
        room.joining.remove(&conn);
        room.ahead.remove(&conn);
        let (name, has_roster) = (room.name.clone(), room.policy().has_roster);
        self.set_state(conn, at, State::Lagging { cursor: from });
        let session = &mut self.sessions[conn];
        if has_roster {
            session.feed.want(Bulk::Presence(at));
        }
        session.feed.want(Bulk::CatchUp(at));
        let attendee = session.attendee();
        self.audience(at, out, |audience, cx| audience.enter(cx, attendee, Told::Nothing));
        self.decide(conn, name, Recovery::Recovered(head));
    }

    /// Gives up a room of a resume, which the client has to join again. A member that lingers there
    /// goes on lingering.
    pub(super) fn not_recovered(
        &mut self,
        conn: ConnId,
        at: RoomId,
        reason: LostReason,
        out: &mut Actions,
    ) {
        self.drop_recovery(conn, at, reason, LeaveReason::Left, out);
    }

    /// Takes a session that is being resumed out of a room.
    pub(super) fn drop_recovery(
        &mut self,
        conn: ConnId,
        at: RoomId,
        lost: LostReason,
        left: LeaveReason,
        out: &mut Actions,
    ) {
        let name = self.rooms[at].name.clone();
        let session = &mut self.sessions[conn];
        let subscription = session.unsubscribe(at).expect("the session has joined the room");
        let attendee = session.attendee();
        self.drop_work(conn, at);
        self.depart(at, attendee, &subscription.state, left, out);
        self.decide(conn, name, Recovery::Lost(lost));
        self.finish_resume(conn, out);
    }

    /// Records what became of a room, under the client's own spelling of it.
    fn decide(&mut self, conn: ConnId, name: RoomName, recovery: Recovery) {
        let resuming = self.resuming(conn).expect("its rooms are being decided");
        let name = resuming.undecided.take(&name).unwrap_or(name);
        resuming.decided.insert(name, recovery);
    }

    /// Decides again about the resumes that have waited for the room's log.
    pub(super) fn recover_waiting(&mut self, at: RoomId, out: &mut Actions) {
        let room = &mut self.rooms[at];
        if room.ahead.is_empty() {
            return;
        }
        for conn in core::mem::take(&mut room.ahead) {
            self.recover(conn, at, out);
            self.finish_resume(conn, out);
        }
    }

    /// Gives up the rooms that were not decided in time.
    pub(super) fn resume_due(&mut self, conn: ConnId, out: &mut Actions) {
        if let Some(resuming) = self.sessions.get_mut(conn).and_then(|s| s.resuming.as_mut()) {
            for (room, _) in core::mem::take(&mut resuming.waiting) {
                resuming.decided.insert(room, Recovery::Lost(LostReason::Unavailable));
            }
        }
        let Some(session) = self.sessions.get(conn) else { return };
        let waiting = |state: &State| matches!(state, State::Joining(_));
        let waiting = session.subscriptions.iter().filter(|s| waiting(&s.state));
        let waiting: Vec<RoomId> = waiting.map(|s| s.room).collect();
        for at in waiting {
            self.not_recovered(conn, at, LostReason::Unavailable, out);
        }
        self.finish_resume(conn, out);
    }

    /// Opens the next rooms of a resume, a few at a time, and sends `welcome` once all are decided.
    /// Missed entries and member lists follow at the pace of the connection's feed.
    pub(super) fn finish_resume(&mut self, conn: ConnId, out: &mut Actions) {
        let Some(resuming) = self.resuming(conn) else { return };
        if core::mem::replace(&mut resuming.is_opening, true) {
            // The loop below is running: it has opened a room that was decided at once.
            return;
        }
        while let Some((room, position)) = self.resuming(conn).and_then(Resuming::next_room) {
            self.begin_recovery(conn, room, position, out);
        }
        let resuming = self.resuming(conn).expect("only this function ends it");
        resuming.is_opening = false;
        if !resuming.undecided.is_empty() {
            return;
        }
        let session = &mut self.sessions[conn];
        let resuming = session.resuming.take().expect("it was found above");
        let Resuming { id, known, decided, .. } = *resuming;
        let member = session.member_id;
        let known = known || self.is_known_to_peers(member, decided.keys());
        self.timers.disarm(Timer::Resume(conn));
        self.welcome(conn, id, Resumed::Asked { known, rooms: decided }, out);
        self.warn_of_end(conn, out);
        self.serve(conn, out);
    }

    fn resuming(&mut self, conn: ConnId) -> Option<&mut Resuming> {
        self.sessions.get_mut(conn)?.resuming.as_deref_mut()
    }
}
