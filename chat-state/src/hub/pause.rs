//! Stops and starts reading from connections.
use chat_proto::Dialect;

use super::{Actions, Hub};
use crate::event::Action;
use crate::ids::ConnId;
use crate::room::RoomId;
use crate::session::Paused;

/// A reason not to read a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reason {
    InFlight,
    Budget,
    Drafts,
    Identity,
}

impl Hub {
    /// Counts a request in flight. At the limit, the connection is no longer read.
    pub(super) fn began(&mut self, conn: ConnId, out: &mut Actions) {
        let limit = self.config.limits.in_flight;
        let Some(session) = self.sessions.get_mut(conn) else { return };
        if session.began(limit) {
            self.pause(conn, Reason::InFlight, out);
        }
    }

    /// Counts a request in flight as answered. Returns the dialect for the reply, or `None` if the
    /// connection is gone.
    pub(super) fn ended(&mut self, conn: ConnId, out: &mut Actions) -> Option<Dialect> {
        let limit = self.config.limits.in_flight;
        let session = self.sessions.get_mut(conn)?;
        let dialect = session.dialect;
        debug_assert!(session.in_flight > 0, "a reply without a request");
        session.in_flight = session.in_flight.saturating_sub(1);
        if session.paused.in_flight && session.in_flight <= limit / 2 {
            self.unpause(conn, Reason::InFlight, out);
        }
        Some(dialect)
    }

    pub(super) fn pause(&mut self, conn: ConnId, reason: Reason, out: &mut Actions) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let before = session.paused.any();
        *flag(&mut session.paused, reason) = true;
        if !before {
            out.push_back(Action::Pause { conn });
        }
    }

    pub(super) fn unpause(&mut self, conn: ConnId, reason: Reason, out: &mut Actions) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let before = session.paused.any();
        *flag(&mut session.paused, reason) = false;
        if before && !session.paused.any() {
            // The connection was not read, so its silence does not count.
            session.heard = self.now;
            out.push_back(Action::Unpause { conn });
        }
    }

    /// Unpauses the connections that wait for a room's drafts, once the drafts are at half their
    /// limit or below.
    pub(super) fn unpause_stalled(&mut self, at: RoomId, out: &mut Actions) {
        let half = self.config.limits.room_drafts as usize / 2;
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.tail.queued() <= half {
            for conn in core::mem::take(&mut room.stalled) {
                self.unpause(conn, Reason::Drafts, out);
            }
        }
    }
}

fn flag(paused: &mut Paused, reason: Reason) -> &mut bool {
    match reason {
        Reason::InFlight => &mut paused.in_flight,
        Reason::Budget => &mut paused.budget,
        Reason::Drafts => &mut paused.drafts,
        Reason::Identity => &mut paused.identity,
    }
}
