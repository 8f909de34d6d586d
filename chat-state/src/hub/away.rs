//! Sessions that have lost their connection: what is kept of them, and for how long.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use chat_proto::{DisplayName, LeaveReason, SessionId, UserId};

use super::auth::{Auth, Proof};
use super::{Actions, Hub};
use crate::ids::{ConnId, MemberId, Mono};
use crate::rate::Bucket;
use crate::reason::{CloseReason, Noted};
use crate::room::RoomId;
use crate::room::audience::Attendee;
use crate::session::{Session, Subscription};
use crate::timers::Timer;

/// What is kept of a session without a connection.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) name: DisplayName,
    pub(super) attempt: u64,
    pub(super) budget: Bucket,
    pub(super) strikes: (u16, Mono),
    pub(super) user: UserId,
    pub(super) session: SessionId,
    pub(super) proof: Proof,
    until: Mono,
}

/// The sessions without a connection, each until its time is over.
#[derive(Debug, Default)]
pub(super) struct Away {
    sessions: BTreeMap<MemberId, Kept>,
    order: BTreeSet<(Mono, MemberId)>,
}

impl Away {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn get(&self, member: MemberId) -> Option<&Kept> {
        self.sessions.get(&member)
    }

    fn insert(&mut self, member: MemberId, kept: Kept) {
        self.order.insert((kept.until, member));
        self.sessions.insert(member, kept);
    }

    fn remove(&mut self, member: MemberId) -> Option<Kept> {
        let kept = self.sessions.remove(&member)?;
        self.order.remove(&(kept.until, member));
        Some(kept)
    }

    /// Finds the sessions of which this is true.
    pub(super) fn find(&self, is: impl Fn(MemberId, &Kept) -> bool) -> Vec<MemberId> {
        let found = self.sessions.iter().filter(|(member, kept)| is(**member, kept));
        found.map(|(member, _)| *member).collect()
    }

    /// The time of a session is over.
    pub(super) fn forget(&mut self, member: MemberId) {
        self.remove(member);
    }

    /// The session whose time is over first.
    fn first(&self) -> Option<MemberId> {
        self.order.first().map(|(_, member)| *member)
    }
}

/// A session that is still shown in rooms although its connection is lost.
#[derive(Debug)]
struct Lingering {
    /// The connection that it had.
    conn: ConnId,
    reason: LeaveReason,
    rooms: Vec<RoomId>,
    due: Mono,
}

/// All sessions that linger. At most as many as the limit `connections`: beyond it the leave of the
/// one that has lingered longest is told early.
#[derive(Debug, Default)]
pub(super) struct LingeringSessions {
    members: BTreeMap<MemberId, Lingering>,
    order: BTreeSet<(Mono, MemberId)>,
}

impl LingeringSessions {
    fn insert(&mut self, member: MemberId, lingering: Lingering) {
        self.order.insert((lingering.due, member));
        let before = self.members.insert(member, lingering);
        assert!(before.is_none(), "a session lingers once");
    }

    fn remove(&mut self, member: MemberId) -> Option<Lingering> {
        let lingering = self.members.remove(&member)?;
        self.order.remove(&(lingering.due, member));
        Some(lingering)
    }

    fn first(&self) -> Option<MemberId> {
        self.order.first().map(|(_, member)| *member)
    }
}

impl Hub {
    /// Keeps a session that has lost its connection. Others see it in its rooms for a moment yet.
    pub(super) fn detach(&mut self, session: Session, why: LeaveReason, out: &mut Actions) {
        let attendee = session.attendee();
        self.keep(&session, out);
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
        // The rooms in which an earlier connection lingers have the same time from now on.
        let before = self.stop_lingering(id);
        rooms.extend(before.into_iter().flat_map(|lingering| lingering.rooms));
        if !rooms.is_empty() {
            self.make_room_to_linger(out);
            let due = self.now.plus(self.config.times.grace_ms);
            self.lingering.insert(id, Lingering { conn, reason: why, rooms, due });
            self.timers.arm(due, Timer::Linger(id));
        }
    }

    fn make_room_to_linger(&mut self, out: &mut Actions) {
        while self.lingering.members.len() >= self.config.limits.connections as usize {
            let first = self.lingering.first().expect("more than none linger");
            self.end_lingering(first, None, out);
        }
    }

    fn keep(&mut self, session: &Session, out: &mut Actions) {
        if self.config.times.session_ms == 0 {
            return;
        }
        while self.away.len() >= self.config.limits.connections as usize {
            let Some(first) = self.away.first() else { break };
            self.take_away(first);
            Self::note(Noted::SessionForgotten, out);
        }
        let until = self.now.plus(self.config.times.session_ms);
        let kept = Kept {
            name: session.name.clone(),
            attempt: session.attempt,
            budget: session.budget,
            strikes: session.strikes,
            user: session.user.clone(),
            session: session.id.clone(),
            proof: session.auth.as_deref().map(Auth::proof).unwrap_or_default(),
            until,
        };
        self.take_away(session.member_id);
        self.away.insert(session.member_id, kept);
        self.timers.arm(until, Timer::Away(session.member_id));
    }

    /// Takes out what is kept of a session.
    pub(super) fn take_away(&mut self, member: MemberId) -> Option<Kept> {
        let kept = self.away.remove(member)?;
        self.timers.disarm(kept.until, Timer::Away(member));
        Some(kept)
    }

    fn stop_lingering(&mut self, member: MemberId) -> Option<Lingering> {
        let lingering = self.lingering.remove(member)?;
        self.timers.disarm(lingering.due, Timer::Linger(member));
        Some(lingering)
    }

    /// The time to come back is over.
    pub(super) fn linger_due(&mut self, member: MemberId, out: &mut Actions) {
        self.end_lingering(member, None, out);
    }

    /// Tells others that a member is gone for good, for this reason or for that of its connection.
    pub(super) fn end_lingering(
        &mut self,
        id: MemberId,
        reason: Option<LeaveReason>,
        out: &mut Actions,
    ) {
        let Some(lingering) = self.stop_lingering(id) else { return };
        let Lingering { conn, reason: lost, rooms, .. } = lingering;
        for at in rooms {
            let room = self.rooms.get(at).expect("a room outlives its members");
            let farewell = room.farewell(conn, reason.unwrap_or(lost));
            self.audience(at, out, |audience, cx| audience.end_away(cx, id, farewell));
            self.forget_if_idle(at, out);
        }
    }

    /// Records that a member does not linger in a room any more: it is back, here or elsewhere.
    pub(super) fn stop_lingering_in(&mut self, id: MemberId, at: RoomId) {
        let lingering = self.lingering.members.get_mut(&id).expect("a member that is away lingers");
        lingering.rooms.retain(|room| *room != at);
        if lingering.rooms.is_empty() {
            self.stop_lingering(id);
        }
    }

    /// A newer connection has the session: nothing that comes from the older one counts.
    pub(super) fn fence(&mut self, member: MemberId, out: &mut Actions) {
        if let Some(conn) = self.sessions.of(member).map(|session| session.conn) {
            self.close(conn, CloseReason::Superseded, out);
        }
    }

    /// Another Hub has the session now.
    pub(super) fn resumed_elsewhere(&mut self, member: MemberId, attempt: u64, out: &mut Actions) {
        if self.sessions.of(member).is_some_and(|session| session.attempt < attempt) {
            self.fence(member, out);
        }
        if self.away.get(member).is_some_and(|kept| kept.attempt < attempt) {
            self.take_away(member);
        }
    }

    /// Forgets all sessions without a connection, since nobody can come back here.
    pub(super) fn forget_away(&mut self, out: &mut Actions) {
        while let Some(first) = self.away.first() {
            self.take_away(first);
        }
        while let Some(member) = self.lingering.first() {
            self.end_lingering(member, Some(LeaveReason::Draining), out);
        }
    }
}
