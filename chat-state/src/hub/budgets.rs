//! Charges what connections ask for to their own budgets and to those that they share.
use alloc::format;

use chat_proto::{CloseCode, Dialect, ErrorBody, ErrorCode, RequestId, ServerFrame};

use super::pause::Reason;
use super::{Actions, Hub};
use crate::config::Peers;
use crate::event::{Signal, SignalTo};
use crate::ids::ConnId;
use crate::limits::bucket::Verdict;
use crate::limits::cost::{Cost, MESSAGE};
use crate::limits::strikes;
use crate::reason::CloseReason;
use crate::session::Auth;
use crate::timers::Timer;
use crate::users::budgets::{Rates, Shares, Spent};

/// A session with more strikes in a row is closed with 4129.
const STRIKES_MAX: u8 = 100;

/// The name of a session's own budget in error texts.
const OWN_LIMIT: &str = "messages_per_10s";

/// Malformed frames allowed per 10 s where messages have no limit.
const MALFORMED_PER_10S: u32 = 500;

/// Beyond [`MALFORMED_PER_10S`] each malformed frame costs twice as much as the one before. After
/// this many doublings one frame costs 1.28 s in which the connection is not read.
const MALFORMED_DOUBLINGS: u8 = 6;

impl Hub {
    /// Charges a request to the session's budgets. Returns true if they allow it. Otherwise the
    /// session is told when to try again.
    #[inline]
    pub(super) fn admit(
        &mut self,
        conn: ConnId,
        id: &Option<RequestId>,
        cost: Cost,
        out: &mut Actions,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(conn) else { return false };
        let own = session.auth.as_deref().and_then(Auth::messages_per_10s);
        let per_window = own.unwrap_or(self.config.limits.messages_per_10s);
        let mut budget = session.budget;
        let verdict = budget.take(self.now, cost, per_window, OWN_LIMIT);
        if let Verdict::Over { retry_after_ms, limit } = verdict {
            self.refuse_for_budget(conn, id, retry_after_ms, limit, out);
            return false;
        }
        let shares = session.shares;
        if shares.any() {
            let rates = Rates::of(own, &self.config.limits);
            let verdict = self.budgets.take(shares, rates, self.now, cost);
            if let Verdict::Over { retry_after_ms, limit } = verdict {
                self.refuse_for_budget(conn, id, retry_after_ms, limit, out);
                return false;
            }
            session.budget = budget;
            if self.config.peers != Peers::None {
                self.report_spent(shares, rates, out);
            }
        } else {
            session.budget = budget;
        }
        true
    }

    /// Tells a session that it is over a budget. Closes it if it has ignored that too often.
    #[inline(never)]
    fn refuse_for_budget(
        &mut self,
        conn: ConnId,
        id: &Option<RequestId>,
        retry_after_ms: u64,
        limit: &str,
        out: &mut Actions,
    ) {
        let session = self.sessions.get_mut(conn).expect("a session has sent the request");
        if session.strikes.add(self.now) > STRIKES_MAX {
            let (code, after_ms) = (CloseCode::RateLimited.reason().into(), strikes::QUIET_MS);
            Self::reply(conn, ServerFrame::Bye { code, reconnect: true, after_ms }, out);
            return self.close(conn, CloseReason::BudgetExceeded, out);
        }
        let why = format!("too many requests: limit `{limit}`");
        let mut error = ErrorBody::new(id.clone(), ErrorCode::RateLimited, why);
        error.retry_after_ms = Some(retry_after_ms);
        Self::reply(conn, ServerFrame::Error(error.into()), out);
    }

    /// Charges a `basic` frame, which cannot be refused. Beyond the budgets the connection is not
    /// read for a while.
    pub(super) fn slow_down(&mut self, conn: ConnId, cost: Cost, out: &mut Actions) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let own = session.auth.as_deref().and_then(Auth::messages_per_10s);
        let per_window = own.unwrap_or(self.config.limits.basic_messages_per_10s);
        let mut wait_ms = session.budget.charge(self.now, cost, per_window);
        let shares = session.shares;
        if shares.any() {
            let rates = Rates::of(own, &self.config.limits);
            wait_ms = wait_ms.max(self.budgets.charge(shares, rates, self.now, cost));
            if self.config.peers != Peers::None {
                self.report_spent(shares, rates, out);
            }
        }
        self.pause_for(conn, wait_ms, out);
    }

    /// Charges a malformed frame where messages have no limit. A connection that goes on sending
    /// malformed frames is read more and more slowly.
    #[inline(never)]
    pub(super) fn slow_down_for_malformed(&mut self, conn: ConnId, out: &mut Actions) {
        let limits = &self.config.limits;
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let per_window = match session.dialect {
            Dialect::Basic => limits.basic_messages_per_10s,
            Dialect::V1 => limits.messages_per_10s,
        };
        let own = session.auth.as_deref().and_then(Auth::messages_per_10s);
        if own.unwrap_or(per_window) > 0 {
            return;
        }
        let doublings = session.strikes.count(self.now).min(MALFORMED_DOUBLINGS);
        let cost = Cost(MESSAGE.0 << doublings);
        let wait_ms = session.budget.charge(self.now, cost, MALFORMED_PER_10S);
        if wait_ms > 0 {
            session.strikes.add_up_to(self.now, MALFORMED_DOUBLINGS);
            self.pause_for(conn, wait_ms, out);
        }
    }

    /// Stops reading a connection for this long. A frame that was read before the pause can only
    /// make it longer.
    fn pause_for(&mut self, conn: ConnId, wait_ms: u64, out: &mut Actions) {
        if wait_ms == 0 {
            return;
        }
        let timer = Timer::Budget(conn);
        let at = self.now.plus(wait_ms).max(self.timers.due(timer).unwrap_or(self.now));
        self.timers.arm(at, timer);
        self.pause(conn, Reason::Budget, out);
    }

    /// Reads all connections again that were over a budget, after the limits have changed. Those
    /// that are still over it are paused by their next frame.
    pub(super) fn forget_pauses(&mut self, out: &mut Actions) {
        for conn in self.sessions.conns() {
            if self.sessions[conn].paused.budget {
                self.timers.disarm(Timer::Budget(conn));
                self.unpause(conn, Reason::Budget, out);
            }
        }
    }

    /// Makes a connection share the budget of its user.
    pub(super) fn share_of_user(&mut self, conn: ConnId) {
        let max = self.budgets_max();
        let Some(session) = self.sessions.get_mut(conn) else { return };
        if !session.shares.has_user() {
            self.budgets.join_user(&mut session.shares, session.user.clone(), max);
        }
    }

    /// Ends the shares of a connection that is gone.
    pub(super) fn leave_budgets(&mut self, shares: Shares) {
        self.budgets.leave(shares, self.now, self.budgets_max());
    }

    /// Returns the number of shared budgets beyond which those without a connection are forgotten.
    pub(super) fn budgets_max(&self) -> usize {
        4 * self.config.limits.connections as usize
    }

    /// Returns how many connections on this Hub share the budget of a connection's user.
    pub(super) fn sessions_of_user(&self, shares: Shares) -> u32 {
        self.budgets.conns_of_user(shares)
    }

    #[inline(never)]
    fn report_spent(&mut self, shares: Shares, rates: Rates, out: &mut Actions) {
        for spent in self.budgets.report(shares, rates).into_iter().flatten() {
            let Spent { by, cost, per_window } = spent;
            self.signal(SignalTo::Everyone, || Signal::Spent { by, cost, per_window }, out);
        }
    }

    /// Charges what another Hub has let through.
    pub(super) fn spent_elsewhere(&mut self, spent: Spent) {
        self.budgets.spent_elsewhere(spent, self.now, self.budgets_max());
    }
}
