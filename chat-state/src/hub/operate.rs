//! Carries out an operator's orders: kicks, closes and bans.
use chat_proto::{
    Dialect, ErrorBody, ErrorCode, LeaveReason, LostReason, Resume, RoomName, ServerFrame,
    Timestamp, UserId,
};

use super::{Actions, Hub};
use crate::ids::{ConnId, Now};
use crate::operator::{BANS_MAX, Order, Whom};
use crate::reason::{CloseReason, Noted};
use crate::room::RoomId;
use crate::room::policy::RoomPolicy;
use crate::session::Stage;
use crate::users::bans::Forgotten;

/// The error text for a session that was kicked out of a room.
const KICKED: &str = "an operator took the session out of the room";

impl Hub {
    #[inline(never)]
    pub(super) fn operate(&mut self, now: Now, order: Order, out: &mut Actions) {
        match order {
            Order::Kick { room, whom } => self.kick(&room, &whom, out),
            Order::Close { whom, code } => {
                self.close_sessions(&whom, CloseReason::Ordered(code), out);
            }
            Order::Ban { user, room, until } => self.ban(now, user, room, until, out),
            Order::Unban { user, room } => self.bans.remove(user, room),
        }
    }

    /// Returns true if the user of a session that says `hello` is banned from the server.
    pub(super) fn keeps_out_session(&self, conn: ConnId, resume: Option<&Resume>) -> bool {
        // Skip the hash that yields the user of the session to resume.
        if self.bans.is_empty() {
            return false;
        }
        let Some(session) = self.sessions.get(conn) else { return false };
        let resumed = resume.map(|resume| session.user_of(&resume.session));
        self.bans.hold_for_server(resumed.as_ref().unwrap_or(&session.user), self.now)
    }

    fn ban(
        &mut self,
        now: Now,
        user: UserId,
        room: Option<RoomName>,
        until: Option<Timestamp>,
        out: &mut Actions,
    ) {
        let left = until.map_or(u64::MAX, |until| until.0.saturating_sub(now.wall.0));
        if left == 0 || room.as_ref().is_some_and(|room| !RoomPolicy::of(room.kind()).can_ban()) {
            return;
        }
        let until = now.mono.plus(left);
        let (banned, from) = (user.clone(), room.clone());
        match self.bans.insert(banned, from, until, now.mono, BANS_MAX) {
            Forgotten::None => {}
            Forgotten::One => Self::note(Noted::BanForgotten, out),
        }
        match room {
            Some(room) => self.kick(&room, &Whom::User(user), out),
            None => self.close_sessions(&Whom::User(user), CloseReason::Banned, out),
        }
    }

    fn kick(&mut self, name: &RoomName, whom: &Whom, out: &mut Actions) {
        if let Some(at) = self.rooms.find(name) {
            self.end_lingering_in(at, whom, LeaveReason::Removed, out);
        }
        for conn in self.sessions.conns() {
            let Some(session) = self.sessions.get_mut(conn) else { continue };
            if whom.is(&session.user, session.member_id)
                && let Some(resuming) = &mut session.resuming
            {
                resuming.drop_waiting(name, LostReason::NotMember);
            }
            let Some(at) = self.rooms.find(name) else { continue };
            let Some(session) = self.sessions.get(conn) else { continue };
            if !session.is_subscribed(at) || !whom.is(&session.user, session.member_id) {
                continue;
            }
            match (session.dialect, session.stage) {
                (Dialect::Basic, _) => {
                    self.close(conn, CloseReason::Kicked, out);
                }
                (Dialect::V1, Stage::Resuming) => {
                    let lost = LostReason::NotMember;
                    self.drop_recovery(conn, at, lost, LeaveReason::Removed, out);
                }
                (Dialect::V1, Stage::Fresh | Stage::Checking | Stage::Active) => {
                    self.remove_from_room(conn, at, out);
                }
            }
        }
    }

    fn remove_from_room(&mut self, conn: ConnId, at: RoomId, out: &mut Actions) {
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
        for member in self.kept.find(|member, kept| whom.is(&kept.user, member)) {
            self.kept.take(member);
        }
        for member in self.lingering.find(|member, owner| whom.is(&owner.user, member)) {
            self.end_lingering(member, Some(LeaveReason::Removed), out);
        }
    }
}
