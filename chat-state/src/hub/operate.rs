//! What an operator orders: kicks, closes and bans.
use alloc::collections::BTreeMap;

use chat_proto::{
    Dialect, ErrorBody, ErrorCode, LeaveReason, LostReason, Resume, RoomName, ServerFrame,
    Timestamp, UserId,
};

use super::{Actions, Hub, auth};
use crate::ids::{ConnId, Mono, Now};
use crate::operator::{BANS_MAX, Order, Whom};
use crate::reason::{CloseReason, Noted};
use crate::room::RoomId;
use crate::session::Stage;

/// What one who is banned is told.
pub(super) const KEPT_OUT: &str = "an operator keeps this user out";

/// What one who is kicked is told.
const KICKED: &str = "an operator took the session out of the room";

/// Whom an operator keeps out, and until when: at most [`BANS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Bans(BTreeMap<(UserId, Option<RoomName>), Mono>);

impl Bans {
    fn insert(
        &mut self,
        user: UserId,
        room: Option<RoomName>,
        until: Mono,
        now: Mono,
    ) -> Forgotten {
        let mut forgotten = Forgotten::None;
        if self.0.len() >= BANS_MAX {
            self.0.retain(|_, until| *until > now);
        }
        let first = |bans: &BTreeMap<_, Mono>| {
            bans.iter().min_by_key(|(_, until)| **until).map(|(ban, _)| Clone::clone(ban))
        };
        if self.0.len() >= BANS_MAX
            && let Some(first) = first(&self.0)
        {
            self.0.remove(&first);
            forgotten = Forgotten::One;
        }
        self.0.insert((user, room), until);
        forgotten
    }
}

/// Whether another ban had to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forgotten {
    None,
    One,
}

impl Hub {
    #[inline(never)]
    pub(super) fn operate(&mut self, now: Now, order: Order, out: &mut Actions) {
        match order {
            Order::Kick { room, whom } => self.kick(&room, &whom, out),
            Order::Close { whom, code } => {
                self.close_sessions(&whom, CloseReason::Ordered(code), out)
            }
            Order::Ban { user, room, until } => self.ban(now, (user, room), until, out),
            Order::Unban { user, room } => {
                self.bans.0.remove(&(user, room));
            }
        }
    }

    /// Tells whether a user may not enter a room, or the server.
    pub(super) fn keeps_out(&self, user: &UserId, room: Option<&RoomName>) -> bool {
        if self.bans.0.is_empty() {
            return false;
        }
        let holds = |room| self.bans.0.get(&(user.clone(), room)).is_some_and(|t| *t > self.now);
        holds(None) || room.is_some_and(|room| holds(Some(room.clone())))
    }

    /// Tells whether the user of a session that greets may not enter the server.
    pub(super) fn keeps_out_session(&self, conn: ConnId, resume: Option<&Resume>) -> bool {
        // Whose session is to be resumed takes a hash to know.
        if self.bans.0.is_empty() {
            return false;
        }
        let Some(session) = self.sessions.get(conn) else { return false };
        let resumed = resume.map(|resume| auth::user_of(session, &resume.session));
        self.keeps_out(resumed.as_ref().unwrap_or(&session.user), None)
    }

    fn ban(
        &mut self,
        now: Now,
        (user, room): (UserId, Option<RoomName>),
        until: Option<Timestamp>,
        out: &mut Actions,
    ) {
        let left = until.map_or(u64::MAX, |until| until.0.saturating_sub(now.wall.0));
        if left == 0 || room.as_ref().is_some_and(RoomName::is_inbox) {
            return;
        }
        let until = now.mono.plus(left);
        if self.bans.insert(user.clone(), room.clone(), until, now.mono) == Forgotten::One {
            Self::note(Noted::BanForgotten, out);
        }
        match room {
            Some(room) => self.kick(&room, &Whom::User(user), out),
            None => self.close_sessions(&Whom::User(user), CloseReason::Banned, out),
        }
    }

    fn kick(&mut self, name: &RoomName, whom: &Whom, out: &mut Actions) {
        for conn in self.sessions.conns() {
            let Some(at) = self.rooms.find(name) else { return };
            let Some(session) = self.sessions.get(conn) else { continue };
            if !session.is_member(at) || !whom.is(&session.user, session.member_id) {
                continue;
            }
            match (session.dialect, session.stage) {
                (Dialect::Basic, _) => {
                    self.close(conn, CloseReason::Kicked, out);
                }
                (Dialect::V1, Stage::Resuming) => {
                    self.not_recovered((conn, at), LostReason::NotMember, out);
                }
                (Dialect::V1, Stage::Fresh | Stage::Checking | Stage::Active) => {
                    self.put_out(conn, at, out);
                }
            }
        }
    }

    fn put_out(&mut self, conn: ConnId, at: RoomId, out: &mut Actions) {
        let room = self.rooms.get(at).map(|room| room.name.clone());
        self.leave(conn, at, LeaveReason::Removed, out);
        let error = ErrorBody::new(None, ErrorCode::Forbidden, KICKED);
        Self::reply(conn, ServerFrame::Error(ErrorBody { room, ..error }.into()), out);
    }

    fn close_sessions(&mut self, whom: &Whom, reason: CloseReason, out: &mut Actions) {
        for conn in self.sessions.conns() {
            let Some(session) = self.sessions.get(conn) else { continue };
            if whom.is(&session.user, session.member_id) {
                self.close(conn, reason, out);
            }
        }
        if reason.keeps_session() {
            return;
        }
        for member in self.away.find(|member, kept| whom.is(&kept.user, member)) {
            self.take_away(member);
            self.end_lingering(member, Some(LeaveReason::Removed), out);
        }
    }
}
