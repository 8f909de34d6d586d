//! Taking messages of members.
use chat_proto::{Dialect, ErrorCode};

use super::pause::Reason;
use super::{Actions, Hub};
use crate::ids::{ConnId, Mono};
use crate::log::Draft;
use crate::room::tail::Cx;
use crate::room::{RoomId, Ticket};
use crate::session::{Message, State};

impl Hub {
    /// Takes a message. It is appended with the others of this turn. If the join of the room is
    /// not decided yet, the message of a `chat.v1` session is held until it is.
    pub(super) fn say(
        &mut self,
        now: Mono,
        (conn, at): (ConnId, RoomId),
        message: Message,
        out: &mut Actions,
    ) {
        let limits = &self.config.limits;
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let (dialect, many) = (session.dialect, session.began(limits.in_flight));
        let subscription = session.subscription(at).expect("the sender was found in the room");
        match &mut subscription.state {
            State::Joining(joining) if joining.before.is_none() && dialect == Dialect::V1 => {
                joining.held.push(message);
            }
            State::Joining(_) | State::Live(_) | State::Lagging { .. } => {
                subscription.typing = None;
                self.queue_message(now, (conn, at), message, out);
            }
        }
        if many {
            self.pause(conn, Reason::InFlight, out);
        }
    }

    /// Hands a member's message to the room's tail; it counts as in flight already.
    pub(super) fn queue_message(
        &mut self,
        now: Mono,
        (conn, at): (ConnId, RoomId),
        message: Message,
        out: &mut Actions,
    ) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(room) = self.rooms.get_mut(at) else { return };
        let Message { id, key, ts, body } = message;
        let cx = Cx { now, room: &room.name, config: &self.tail_config };
        let full = room.tail.is_full(cx);
        let slow = full && session.dialect == Dialect::Basic;
        if full && !slow {
            self.ended(now, conn, out);
            let why = "the room has too many messages that wait for the log";
            return Self::refuse(conn, id, ErrorCode::LogUnavailable, why, out);
        }
        let (user, username) = (session.user.clone(), session.name.clone());
        let draft = Draft { user, username, key, ts, body };
        let mut effects = core::mem::take(&mut self.effects);
        room.tail.offer(cx, Ticket { conn, id }, draft, &mut effects);
        if slow {
            // The dialect has no errors, so this message is taken, and no more are read.
            room.stalled.insert(conn);
            self.pause(conn, Reason::Drafts, out);
        }
        self.apply_tail_effects(at, effects, out);
    }
}
