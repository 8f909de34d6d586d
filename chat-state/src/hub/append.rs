//! Takes messages of members for the log.
use chat_proto::{Dialect, ErrorCode, RequestId};

use super::pause::Reason;
use super::{Actions, Hub};
use crate::ids::ConnId;
use crate::log::Draft;
use crate::reason::CloseReason;
use crate::room::tail::Offered;
use crate::room::{RoomId, Ticket};
use crate::session::{Message, State};

impl Hub {
    /// Takes a message, which is appended with the others of this turn. A `chat.v1` message that
    /// follows an unfinished join is held until the join is decided.
    pub(super) fn say(&mut self, conn: ConnId, at: RoomId, message: Message, out: &mut Actions) {
        let session = &mut self.sessions[conn];
        let (dialect, many) = (session.dialect, session.began(self.config.limits.in_flight));
        let (user, username) = (session.user.clone(), session.name.clone());
        let subscription = session.subscription(at).expect("the sender was found in the room");
        if let State::Joining(joining) = &mut subscription.state
            && joining.before.is_none()
            && dialect == Dialect::V1
        {
            joining.held.push(message);
            if many {
                self.pause(conn, Reason::InFlight, out);
            }
            return;
        }
        subscription.typing = None;
        let room = &mut self.rooms[at];
        let full = room.tail.is_full(&self.tail_config);
        let Message { id, key, ts, body } = message;
        if full && dialect == Dialect::V1 {
            return self.refuse_for_drafts(conn, id, out);
        }
        if full && room.tail.queued() >= 2 * self.tail_config.drafts_max {
            // Those who come and go could queue without end.
            return self.close(conn, CloseReason::LogUnavailable, out);
        }
        let draft = Draft { user, username, key, ts, body };
        let offered = room.tail.offer(&self.tail_config, Ticket { conn, id }, draft);
        if full {
            // `basic` has no errors: take this message, and stop reading the connection.
            room.stalled.insert(conn);
            self.pause(conn, Reason::Drafts, out);
        }
        match offered {
            Offered::Waits => {}
            Offered::Ready => self.to_offer.push(at),
            Offered::Full => self.append_batch(at, out),
        }
        if many {
            self.pause(conn, Reason::InFlight, out);
        }
    }

    #[inline(never)]
    fn refuse_for_drafts(&mut self, conn: ConnId, id: Option<RequestId>, out: &mut Actions) {
        self.ended(conn, out);
        let why = "the room has too many messages waiting for the log";
        Self::refuse(conn, id, ErrorCode::LogUnavailable, why, out);
    }
}
