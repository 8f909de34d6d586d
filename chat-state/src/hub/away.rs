//! Sessions that have lost their connection: they can be resumed for a while, and their rooms show
//! them for a shorter while.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use chat_proto::{LeaveReason, RoomName};

use super::{Actions, Hub};
use crate::ids::{ConnId, MemberId, Mono};
use crate::operator::Whom;
use crate::reason::{CloseReason, Noted};
use crate::room::RoomId;
use crate::room::audience::Attendee;
use crate::session::{Auth, Session, Subscription};
use crate::users::kept::KeptSession;
use crate::users::lingering::{Lingering, Owner};

impl Hub {
    /// Keeps a session that has lost its connection. The members of its rooms still see it for the
    /// grace period.
    pub(super) fn detach(&mut self, session: Session, why: LeaveReason, out: &mut Actions) {
        let attendee = session.attendee();
        self.keep(&session, out);
        let owner = Owner {
            session: session.id.clone(),
            user: session.user.clone(),
            credential: session.auth.as_deref().map(Auth::credential_ids).unwrap_or_default(),
        };
        let undecided = undecided(&session);
        let mut rooms = Vec::new();
        for Subscription { room: at, state, .. } in session.subscriptions {
            let attendee = attendee.clone();
            match state.spot().filter(|_| self.config.times.grace_ms > 0) {
                Some(spot) => {
                    self.audience(at, out, |audience, cx| audience.lose(cx, attendee, spot, why));
                    rooms.push(at);
                }
                None => self.depart(at, attendee, &state, why, out),
            }
        }
        let Attendee { conn, id, .. } = attendee;
        let mut until = self.now.plus(self.config.times.grace_ms);
        // The session has lingered since an earlier connection in rooms that it has not come back
        // to. It goes on lingering in those that it was about to recover.
        if let Some(end) = self.lingering.end_of(id)
            && let Some(before) = self.lingering.take(id)
        {
            for at in before.rooms {
                if undecided.contains(&self.rooms[at].name) {
                    until = end;
                    rooms.push(at);
                } else {
                    self.end_away(before.conn, id, at, before.reason, out);
                }
            }
        }
        if !rooms.is_empty() {
            while let Some(first) = self.lingering.surplus(self.config.limits.connections as usize)
            {
                self.end_lingering(first, None, out);
            }
            self.lingering.insert(id, Lingering { owner, conn, reason: why, rooms }, until);
        }
    }

    fn keep(&mut self, session: &Session, out: &mut Actions) {
        if self.config.times.session_ms == 0 {
            return;
        }
        let kept = KeptSession {
            session: session.id.clone(),
            user: session.user.clone(),
            name: session.name.clone(),
            attempt: session.attempt,
            budget: session.budget,
            strikes: session.strikes,
            credential: session.auth.as_deref().map(Auth::credential_ids).unwrap_or_default(),
        };
        let until = self.now.plus(self.config.times.session_ms);
        let max = self.config.limits.connections as usize;
        for _ in 0..self.kept.keep(session.member_id, kept, until, max) {
            Self::note(Noted::SessionForgotten, out);
        }
    }

    /// Ends the lingering members, kept sessions and shared budgets that are due.
    pub(super) fn end_users(&mut self, out: &mut Actions) {
        while let Some(member) = self.lingering.due(self.now) {
            self.end_lingering(member, None, out);
        }
        self.kept.expire(self.now);
        self.budgets.expire(self.now);
    }

    /// Returns when [`end_users`](Self::end_users) is due.
    pub(super) fn users_end(&self) -> Option<Mono> {
        let ends = [self.lingering.next_end(), self.kept.next_end(), self.budgets.next_end()];
        ends.into_iter().flatten().min()
    }

    /// Shows a lingering session as gone in its rooms, with this reason or else with the one for
    /// which its connection was lost.
    pub(super) fn end_lingering(
        &mut self,
        id: MemberId,
        reason: Option<LeaveReason>,
        out: &mut Actions,
    ) {
        let Some(lingering) = self.lingering.take(id) else { return };
        let Lingering { conn, reason: lost, rooms, .. } = lingering;
        for at in rooms {
            self.end_away(conn, id, at, reason.unwrap_or(lost), out);
        }
    }

    /// Shows that somebody is gone from a room, in which their sessions only lingered.
    pub(super) fn end_lingering_in(
        &mut self,
        at: RoomId,
        whom: &Whom,
        reason: LeaveReason,
        out: &mut Actions,
    ) {
        for id in self.lingering.in_room(&at) {
            let room = &self.rooms[at];
            let member = room.audience.away(id).expect("it lingers in the room");
            if whom.is(&member.user, id) {
                let conn = self.lingering.take_room(id, &at);
                self.end_away(conn, id, at, reason, out);
            }
        }
    }

    fn end_away(
        &mut self,
        conn: ConnId,
        id: MemberId,
        at: RoomId,
        reason: LeaveReason,
        out: &mut Actions,
    ) {
        let room = &self.rooms[at];
        let farewell = room.farewell(conn, reason);
        self.audience(at, out, |audience, cx| audience.end_away(cx, id, farewell));
        self.forget_if_idle(at, out);
    }

    /// Records that a member does not linger in a room any more: it is back, here or elsewhere.
    pub(super) fn stop_lingering_in(&mut self, id: MemberId, at: RoomId) {
        self.lingering.take_room(id, &at);
    }

    /// Registers a session that begins. If a driver gives several connections the same session id,
    /// the newest has the session.
    pub(super) fn begin_session(&mut self, conn: ConnId, out: &mut Actions) {
        let member = self.sessions[conn].member_id;
        if self.sessions.of(member).is_some_and(|session| session.conn != conn) {
            self.supersede(member, out);
        }
        self.kept.take(member);
        self.sessions.name(member, conn);
    }

    /// Closes the connection that has a session, since a newer one has it.
    pub(super) fn supersede(&mut self, member: MemberId, out: &mut Actions) {
        if let Some(conn) = self.sessions.of(member).map(|session| session.conn) {
            self.close(conn, CloseReason::Superseded, out);
        }
    }

    /// Gives up a session that another Hub has resumed.
    pub(super) fn resumed_elsewhere(&mut self, member: MemberId, attempt: u64, out: &mut Actions) {
        if self.sessions.of(member).is_some_and(|session| session.attempt < attempt) {
            self.supersede(member, out);
        }
        if self.kept.get(member).is_some_and(|kept| kept.attempt < attempt) {
            self.kept.take(member);
        }
    }

    /// Forgets all sessions without a connection: a Hub that drains resumes none.
    pub(super) fn forget_away(&mut self, out: &mut Actions) {
        self.kept.clear();
        while let Some(member) = self.lingering.first() {
            self.end_lingering(member, Some(LeaveReason::Draining), out);
        }
    }
}

/// Returns the rooms of a resume that are not decided yet.
fn undecided(session: &Session) -> BTreeSet<RoomName> {
    let Some(resuming) = &session.resuming else { return BTreeSet::new() };
    let waiting = resuming.waiting.iter().map(|(name, _)| name);
    waiting.chain(&resuming.undecided).cloned().collect()
}
