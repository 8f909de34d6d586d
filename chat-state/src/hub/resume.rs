//! Going on with a session on a new connection.
//!
//! A position outlives its session, and what a session is (its user, its name among Hubs) follows
//! from its secret name: so a session goes on on any Hub, whether that has ever met it or not.
//!
//! *Invariant:* a room is recovered only if the log has everything after the given position; then
//! the member lags from there, and nothing newer comes first.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use chat_proto::{
    CloseCode, DisplayName, LeaveReason, LostReason, Position, Recovery, RequestId, Resume,
    RoomName, Seq,
};

use super::{Actions, Hub, auth};
use crate::event::{Signal, SignalTo};
use crate::ids::{ConnId, Mono};
use crate::room::audience::Told;
use crate::room::{LogState, RoomId};
use crate::session::{Feed, Joining, Recovering, Stage, State, Subscription};
use crate::timers::Timer;

/// What the `welcome` of a resume waits for.
#[derive(Debug)]
pub(crate) struct Resuming {
    id: Option<RequestId>,
    features: Vec<String>,
    /// What became of each room, as far as that is decided.
    rooms: BTreeMap<RoomName, Option<Recovery>>,
    /// When it waits no longer.
    pub(super) due: Mono,
}

impl Hub {
    /// Gives a session to a connection that knows its secret name.
    pub(super) fn resume(
        &mut self,
        conn: ConnId,
        (id, features, name): (Option<RequestId>, Vec<String>, Option<DisplayName>),
        resume: Resume,
        out: &mut Actions,
    ) {
        let Some(session) = self.sessions.get(conn) else { return };
        let member = auth::member_of(session, &resume.session);
        let kept = self.away.get(member).map(|kept| kept.attempt);
        let held = self.sessions.of(member).map(|session| session.attempt);
        if kept.max(held).is_some_and(|newest| resume.attempt < newest) {
            // It was held up on its way, and the client has given it up.
            return self.close(conn, CloseCode::Superseded, LeaveReason::Disconnected, out);
        }
        self.fence(member, out);
        let kept = self.take_away(member);
        let due = self.now.plus(self.config.times.resume_ms);
        let Some(session) = self.sessions.get_mut(conn) else { return };
        session.user = auth::user_of(session, &resume.session);
        session.id = resume.session;
        session.member_id = member;
        session.attempt = resume.attempt;
        if let Some(kept) = kept {
            session.name = kept.name;
            session.budget = kept.budget;
            session.strikes = kept.strikes;
        }
        if let Some(name) = name {
            session.name = name;
        }
        session.stage = Stage::Resuming;
        let rooms = resume.rooms.keys().map(|room| (room.clone(), None)).collect();
        session.resuming = Some(Box::new(Resuming { id, features, rooms, due }));
        self.sessions.name(member, conn);
        self.timers.arm(due, Timer::Resume(conn));
        let attempt = resume.attempt;
        self.signal(SignalTo::Everyone, || Signal::Resumed { member, attempt }, out);
        for (room, position) in resume.rooms {
            self.begin_recovery(conn, (room, position), out);
        }
        self.finish_resume(conn, out);
    }

    fn begin_recovery(
        &mut self,
        conn: ConnId,
        (name, position): (RoomName, Position),
        out: &mut Actions,
    ) {
        let limit = self.config.limits.rooms as usize;
        let Some(session) = self.sessions.get(conn) else { return };
        let (member, rooms) = (session.member_id, session.subscriptions.len());
        let found = self.rooms.find(&name);
        let lingers = found
            .and_then(|at| self.rooms.get(at))
            .is_some_and(|room| room.audience.is_away(member));
        let may = auth::allows(session, &name)
            && !self.keeps_out(&session.user, Some(&name))
            && (lingers || self.has_place(&name).is_ok());
        if rooms >= limit || !may {
            return self.decide(conn, &name, Recovery::Lost(LostReason::NotMember));
        }
        let at = found.unwrap_or_else(|| self.open(name, out));
        self.begin_joining((conn, at), Joining::resumed(position), out);
    }

    /// Decides about one room, or waits for the log if it does not know the position.
    pub(super) fn recover(&mut self, (conn, at): (ConnId, RoomId), out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        let LogState::Open { epoch, first, cursor } = &room.log else { return };
        let (first, cursor) = (*first, *cursor);
        let subscription = self.sessions.get_mut(conn).and_then(|s| s.subscription(at));
        let Some(recovering) = subscription.and_then(Subscription::recovering) else { return };
        let Recovering { position, asked, answered } = recovering;
        let other_log = position.epoch != *epoch;
        let unknown = position.seq > room.known.max(cursor);
        if (other_log || unknown) && !*answered {
            // Another Hub may have seen more than this one: only the log can say.
            let ask = !core::mem::replace(asked, true);
            room.ahead.insert(conn);
            if ask {
                self.ask_head(at, out);
            }
            return;
        }
        let behind = cursor.get().saturating_sub(position.seq.get());
        let from = position.seq;
        if other_log || unknown {
            self.not_recovered((conn, at), LostReason::EpochChanged, out);
        } else if from > cursor {
            // The missing entries are being fetched.
            room.ahead.insert(conn);
        } else if from.next() < first {
            self.not_recovered((conn, at), LostReason::Truncated, out);
        } else if behind > u64::from(self.config.limits.behind_entries) {
            self.not_recovered((conn, at), LostReason::TooFar, out);
        } else {
            self.recovered((conn, at), from, out);
        }
    }

    fn recovered(&mut self, (conn, at): (ConnId, RoomId), from: Seq, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        let LogState::Open { epoch, cursor, .. } = &room.log else { return };
        let head = Position { epoch: epoch.clone(), seq: *cursor };
        room.joining.remove(&conn);
        room.ahead.remove(&conn);
        let name = room.name.clone();
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let attendee = session.attendee();
        self.set_state(conn, at, State::Lagging { cursor: from, feed: Feed::Ready });
        self.audience(at, out, |audience, cx| audience.enter(cx, attendee, Told::Nothing));
        self.decide(conn, &name, Recovery::Recovered(head));
    }

    /// The room has to be joined again; until then others do not see the member leave.
    pub(super) fn not_recovered(
        &mut self,
        (conn, at): (ConnId, RoomId),
        reason: LostReason,
        out: &mut Actions,
    ) {
        let Some(name) = self.rooms.get(at).map(|room| room.name.clone()) else { return };
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(subscription) = session.unsubscribe(at) else { return };
        let attendee = session.attendee();
        self.depart(at, attendee, &subscription.state, LeaveReason::Left, out);
        self.decide(conn, &name, Recovery::Lost(reason));
        self.finish_resume(conn, out);
    }

    fn decide(&mut self, conn: ConnId, name: &RoomName, recovery: Recovery) {
        let session = self.sessions.get_mut(conn);
        let Some(resuming) = session.and_then(|session| session.resuming.as_mut()) else { return };
        // The room's own spelling is the one to go on with.
        resuming.rooms.remove(name);
        resuming.rooms.insert(name.clone(), Some(recovery));
    }

    /// The log has answered, or entries have come: looks again at those who waited for that.
    pub(super) fn recover_waiting(&mut self, at: RoomId, answered: bool, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.ahead.is_empty() {
            return;
        }
        for conn in core::mem::take(&mut room.ahead) {
            let subscription = self.sessions.get_mut(conn).and_then(|s| s.subscription(at));
            if let Some(recovering) = subscription.and_then(Subscription::recovering) {
                recovering.answered |= answered;
                self.recover((conn, at), out);
                self.finish_resume(conn, out);
            }
        }
    }

    /// The log has not answered in time.
    pub(super) fn resume_due(&mut self, now: Mono, conn: ConnId, out: &mut Actions) {
        let Some(session) = self.sessions.get(conn) else { return };
        if session.resuming.as_ref().is_none_or(|resuming| resuming.due > now) {
            return;
        }
        let waiting = |state: &State| matches!(state, State::Joining(_));
        let waiting = session.subscriptions.iter().filter(|s| waiting(&s.state));
        let waiting: Vec<RoomId> = waiting.map(|s| s.room).collect();
        for at in waiting {
            self.not_recovered((conn, at), LostReason::Unavailable, out);
        }
        self.finish_resume(conn, out);
    }

    /// Says `welcome` once everything is decided, and then feeds what was missed.
    pub(super) fn finish_resume(&mut self, conn: ConnId, out: &mut Actions) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let undecided = |resuming: &Resuming| resuming.rooms.values().any(Option::is_none);
        if session.resuming.as_deref().is_none_or(undecided) {
            return;
        }
        let Some(resuming) = session.resuming.take() else { return };
        let Resuming { id, features, rooms, due } = *resuming;
        self.timers.disarm(due, Timer::Resume(conn));
        let rooms: BTreeMap<_, _> =
            rooms.into_iter().filter_map(|(room, recovery)| Some((room, recovery?))).collect();
        let recovered = |r: &&RoomName| matches!(rooms.get(*r), Some(Recovery::Recovered(_)));
        let recovered: Vec<RoomName> = rooms.keys().filter(recovered).cloned().collect();
        self.welcome(conn, (id, &features), Some(rooms), out);
        // An inbox has nobody to be told of.
        for room in recovered.into_iter().filter(|room| !room.is_inbox()) {
            let at = self.rooms.find(&room).expect("a room outlives its members");
            self.tell_members(conn, at, out);
        }
        self.catch_up(conn, out);
    }
}
