//! Graceful shutdown: disconnects clients in turns, and waits for their requests in flight.
use alloc::string::String;

use chat_proto::{CloseCode, Dialect, ServerFrame};

use super::state::Draining;
use super::{Actions, Hub};
use crate::event::Action;
use crate::ids::{ConnId, Mono};
use crate::peers::signal::Service;
use crate::reason::CloseReason;
use crate::timers::Timer;

/// The last part of the drain's time, which is reserved for connections whose acks are late.
const RESERVE_PERCENT: u64 = 30;
/// How often a connection with unanswered requests is checked again.
const GRACE_MS: u64 = 50;
/// Turns are spread over at most a day, even if the deadline is later.
const SPREAD_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// The reconnects of clients are spread over at least this time.
const RETURN_SPREAD_MS: u64 = 2000;

/// Tells a client when to come back.
pub(super) fn bye(after_ms: u64) -> ServerFrame {
    let code = String::from(CloseCode::Draining.reason());
    ServerFrame::Bye { code, reconnect: true, after_ms }
}

impl Hub {
    /// Starts a drain. Each connection gets a turn to be closed, spread over the time until the
    /// deadline, and each client is told when to reconnect.
    pub(super) fn drain(&mut self, deadline: Mono, out: &mut Actions) {
        if self.draining.is_some() {
            return;
        }
        self.draining = Some(Draining { deadline, reported: false });
        self.tell_service(Service::Draining, out);
        self.forget_away(out);
        let conns = self.sessions.conns();
        let spread = deadline.since(self.now).min(SPREAD_MS_MAX) * (100 - RESERVE_PERCENT) / 100;
        let count = conns.len() as u64;
        for (i, conn) in conns.into_iter().enumerate() {
            let turn = spread * i as u64 / count;
            let after_ms = turn + RETURN_SPREAD_MS * i as u64 / count;
            if self.sessions.get(conn).is_some_and(|s| s.dialect == Dialect::V1) {
                Self::reply(conn, bye(after_ms), out);
            }
            self.timers.arm(self.now.plus(turn), Timer::DrainClose(conn));
        }
    }

    /// Closes one connection, unless it waits for a reply and there is time left.
    pub(super) fn drain_close_due(&mut self, conn: ConnId, out: &mut Actions) {
        let Some(Draining { deadline, .. }) = self.draining else { return };
        let Some(session) = self.sessions.get(conn) else { return };
        if session.in_flight > 0 && self.now < deadline {
            let later = self.now.plus(GRACE_MS).min(deadline);
            self.timers.arm(later, Timer::DrainClose(conn));
        } else {
            self.close(conn, CloseReason::Draining, out);
        }
    }

    /// Reports once that no session and no room is left.
    pub(super) fn report_drained(&mut self, out: &mut Actions) {
        let empty = self.sessions.len == 0 && self.rooms.len() == 0;
        if let Some(draining) = &mut self.draining
            && empty
            && !draining.reported
        {
            draining.reported = true;
            self.tell_service(Service::Stopped, out);
            out.push_back(Action::DrainedAll);
        }
    }
}
