//! What requests cost, and who pays: each session, and what connections share, a budget for each
//! user who is known and one for each address.
//!
//! A Hub charges what its own connections ask for exactly. Other Hubs are told of it, a part of the
//! budget at a time, by a signal that may be lost: what several Hubs let through together is above
//! the budget by what was not told yet.
//!
//! *Invariant:* a budget outlives its connections until it is whole again, so nobody gets a fresh
//! one by coming back.
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use chat_proto::{
    CloseCode, Dialect, ErrorBody, ErrorCode, Limits, Request, RequestId, ServerFrame,
};

use super::auth::Auth;
use super::pause::Reason;
use super::{Actions, Hub};
use crate::config::Peers;
use crate::event::{Signal, SignalTo, Spender};
use crate::ids::{ConnId, Mono};
use crate::rate::{self, Bucket, Cost, Verdict};
use crate::reason::CloseReason;
use crate::timers::Timer;

/// Refusals in a row after which a session is closed with 4129 …
const STRIKES_MAX: u16 = 100;
/// … where "in a row" means without this many milliseconds of keeping to the budget.
const STRIKES_QUIET_MS: u64 = 10_000;

/// What the limits of shared budgets are called.
const OF_USER: &str = "user_messages_per_10s";
const OF_ADDRESS: &str = "address_messages_per_10s";

/// Texts that can't be read are borne so often in 10 s where messages have no limit …
const JUNK_PER_10S: u32 = 500;
/// … and beyond that each costs twice what the one before did, so many times: up to 1.28 s in which
/// the connection is not read.
const JUNK_DOUBLINGS: u16 = 6;

/// Other Hubs are told once so many-th part of a budget is spent.
const TOLD_PARTS: u64 = 32;

/// All shared budgets of a Hub.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    found: BTreeMap<Spender, u32>,
    slots: Vec<Option<Shared>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Shared {
    by: Spender,
    bucket: Bucket,
    /// Connections that share it. Without any it stays until it is whole again.
    conns: u32,
    /// What other Hubs were not told of yet, in thousandths of a message.
    untold: u32,
    /// When the timer is set for.
    due: Option<Mono>,
}

/// The shared budgets of one connection, by their place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shares {
    user: Option<u32>,
    peer: Option<u32>,
}

impl Shares {
    #[inline]
    pub(super) fn any(self) -> bool {
        self.user.is_some() || self.peer.is_some()
    }

    #[inline]
    pub(super) fn has_user(self) -> bool {
        self.user.is_some()
    }
}

/// The budgets of a user and of an address, in messages for 10 s.
#[derive(Clone, Copy)]
struct PerWindow {
    user: u32,
    peer: u32,
}

impl PerWindow {
    /// A credential's own budget counts for its user, too: where it is larger, or no limit at all.
    #[inline]
    fn of(own: Option<u32>, limits: &Limits) -> Self {
        let (user, peer) = (limits.user_messages_per_10s, limits.address_messages_per_10s);
        match own {
            None => Self { user, peer },
            Some(0) => Self { user: 0, peer: 0 },
            Some(own) => Self { user: if user == 0 { 0 } else { user.max(own) }, peer },
        }
    }
}

impl Budgets {
    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    fn get(&mut self, at: u32) -> Option<&mut Shared> {
        self.slots.get_mut(at as usize)?.as_mut()
    }

    /// Finds a budget, or makes a whole one.
    fn place(&mut self, by: Spender) -> u32 {
        if let Some(at) = self.found.get(&by) {
            return *at;
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("each has a connection, or had one")
        });
        let bucket = Bucket::default();
        let shared = Shared { by: by.clone(), bucket, conns: 0, untold: 0, due: None };
        self.slots[at as usize] = Some(shared);
        self.found.insert(by, at);
        at
    }

    fn remove(&mut self, at: u32) {
        let slot = self.slots.get_mut(at as usize);
        if let Some(shared) = slot.and_then(Option::take) {
            self.found.remove(&shared.by);
            self.free.push(at);
        }
    }

    /// Takes the cost from both budgets, or from none.
    #[inline]
    fn take(&mut self, now: Mono, cost: Cost, shares: Shares, per: PerWindow) -> Verdict {
        match (shares.user, shares.peer) {
            (None, Some(at)) => self.take_one(now, cost, (at, per.peer, OF_ADDRESS)),
            (Some(at), None) => self.take_one(now, cost, (at, per.user, OF_USER)),
            _ => self.take_both(now, cost, shares, per),
        }
    }

    /// Takes the cost from the one budget that there is.
    #[inline]
    fn take_one(
        &mut self,
        now: Mono,
        cost: Cost,
        (at, per_window, limit): (u32, u32, &'static str),
    ) -> Verdict {
        let Some(shared) = self.get(at) else { return Verdict::Within };
        let verdict = shared.bucket.take(now, cost, per_window, limit);
        if verdict == Verdict::Within {
            shared.untold = shared.untold.saturating_add(cost.0);
        }
        verdict
    }

    fn take_both(&mut self, now: Mono, cost: Cost, shares: Shares, per: PerWindow) -> Verdict {
        let (Some(user), Some(peer)) = (shares.user, shares.peer) else { return Verdict::Within };
        let Some(shared) = self.get(user) else { return Verdict::Within };
        let before = (shared.bucket, shared.untold);
        if self.take_one(now, cost, (user, per.user, OF_USER)) == Verdict::Within {
            if self.take_one(now, cost, (peer, per.peer, OF_ADDRESS)) == Verdict::Within {
                return Verdict::Within;
            }
            if let Some(shared) = self.get(user) {
                (shared.bucket, shared.untold) = before;
            }
        }
        self.why_not_both(now, cost, shares, per)
    }

    /// Tells of the two budgets the one that has to be waited for longer.
    #[cold]
    #[inline(never)]
    fn why_not_both(&self, now: Mono, cost: Cost, shares: Shares, per: PerWindow) -> Verdict {
        let (_, user_wait) = self.after(now, cost, (shares.user, per.user));
        let (_, peer_wait) = self.after(now, cost, (shares.peer, per.peer));
        if user_wait >= peer_wait {
            Verdict::Over { retry_after_ms: user_wait, limit: OF_USER }
        } else {
            Verdict::Over { retry_after_ms: peer_wait, limit: OF_ADDRESS }
        }
    }

    /// Takes the cost in any case and tells how long to stay quiet for it.
    fn charge(&mut self, now: Mono, cost: Cost, shares: Shares, per: PerWindow) -> u64 {
        let (user, user_wait) = self.after(now, cost, (shares.user, per.user));
        let (peer, peer_wait) = self.after(now, cost, (shares.peer, per.peer));
        self.set(shares.user, user, cost);
        self.set(shares.peer, peer, cost);
        user_wait.max(peer_wait)
    }

    /// What would be left after the cost, and how long to wait for that.
    #[inline]
    fn after(&self, now: Mono, cost: Cost, (at, per): (Option<u32>, u32)) -> (Bucket, u64) {
        let shared = at.and_then(|at| self.slots.get(at as usize)?.as_ref());
        let Some(shared) = shared else { return (Bucket::default(), 0) };
        let mut bucket = shared.bucket;
        let wait = bucket.charge(now, cost, per);
        (bucket, wait)
    }

    #[inline]
    fn set(&mut self, at: Option<u32>, bucket: Bucket, cost: Cost) {
        if let Some(shared) = at.and_then(|at| self.get(at)) {
            shared.bucket = bucket;
            shared.untold = shared.untold.saturating_add(cost.0);
        }
    }
}

impl Hub {
    /// Charges a request to the session's budget; answers whether it may go on.
    #[inline]
    pub(super) fn admit(
        &mut self,
        now: Mono,
        conn: ConnId,
        (id, cost): (&Option<RequestId>, Cost),
        out: &mut Actions,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(conn) else { return false };
        let own = session.auth.as_deref().and_then(Auth::messages_per_10s);
        let per_window = own.unwrap_or(self.config.limits.messages_per_10s);
        let before = session.budget;
        let mut verdict = session.budget.take(now, cost, per_window, "messages_per_10s");
        let shares = session.shares;
        if shares.any() && verdict == Verdict::Within {
            let per = PerWindow::of(own, &self.config.limits);
            verdict = self.budgets.take(now, cost, shares, per);
            if verdict != Verdict::Within {
                session.budget = before;
            }
            if self.config.peers != Peers::None {
                self.tell_spent(shares, per, out);
            }
        }
        let Verdict::Over { retry_after_ms, limit } = verdict else { return true };
        self.refuse_for_budget(now, conn, (id, retry_after_ms, limit), out);
        false
    }

    /// Tells a session that it is over a budget, or closes it if it does not care.
    #[inline(never)]
    fn refuse_for_budget(
        &mut self,
        now: Mono,
        conn: ConnId,
        (id, retry_after_ms, limit): (&Option<RequestId>, u64, &str),
        out: &mut Actions,
    ) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let (strikes, last) = session.strikes;
        let strikes = if now.since(last) > STRIKES_QUIET_MS { 1 } else { strikes + 1 };
        session.strikes = (strikes, now);
        if strikes > STRIKES_MAX {
            let code = CloseCode::RateLimited;
            let (reason, after_ms) = (code.reason().into(), STRIKES_QUIET_MS);
            let bye = ServerFrame::Bye { code: reason, reconnect: true, after_ms };
            Self::reply(conn, bye, out);
            return self.close(conn, CloseReason::BudgetExceeded, out);
        }
        let why = format!("too many requests: limit `{limit}`");
        let mut error = ErrorBody::new(id.clone(), ErrorCode::RateLimited, why);
        error.retry_after_ms = Some(retry_after_ms);
        Self::reply(conn, ServerFrame::Error(error.into()), out);
    }

    /// Charges a `basic` frame; over the budget the connection is not read for a while.
    pub(super) fn slow_down(&mut self, now: Mono, conn: ConnId, cost: Cost, out: &mut Actions) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let own = session.auth.as_deref().and_then(Auth::messages_per_10s);
        let per_window = own.unwrap_or(self.config.limits.basic_messages_per_10s);
        let mut wait = session.budget.charge(now, cost, per_window);
        if session.shares.any() {
            let shares = session.shares;
            wait = wait.max(self.charge_shared(now, cost, (shares, own), out));
        }
        self.rest(now, conn, wait, out);
    }

    /// Charges a text that can't be read where messages have no limit: whoever goes on with such
    /// texts is read ever more slowly. Who sends a few of them, now and then, is not.
    #[inline(never)]
    pub(super) fn slow_down_for_junk(&mut self, now: Mono, conn: ConnId, out: &mut Actions) {
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
        let (strikes, last) = session.strikes;
        let strikes = if now.since(last) > STRIKES_QUIET_MS { 0 } else { strikes };
        let cost = Cost(rate::MESSAGE.0 << strikes.min(JUNK_DOUBLINGS));
        let wait = session.budget.charge(now, cost, JUNK_PER_10S);
        if wait > 0 {
            session.strikes = (strikes.max(JUNK_DOUBLINGS.min(strikes + 1)), now);
            self.rest(now, conn, wait, out);
        }
    }

    /// Does not read a connection for so many milliseconds, or for as long as it has to rest
    /// already.
    fn rest(&mut self, now: Mono, conn: ConnId, wait: u64, out: &mut Actions) {
        if wait == 0 {
            return;
        }
        let Some(session) = self.sessions.get_mut(conn) else { return };
        // Frames that were read before the pause make it longer.
        let at = now.plus(wait).max(session.budget_at.unwrap_or(now));
        if let Some(before) = session.budget_at.replace(at) {
            self.timers.disarm(before, Timer::Budget(conn));
        }
        self.timers.arm(at, Timer::Budget(conn));
        self.pause(conn, Reason::Budget, out);
    }

    pub(super) fn budget_due(&mut self, now: Mono, conn: ConnId, out: &mut Actions) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        session.budget_at = None;
        self.unpause(now, conn, Reason::Budget, out);
    }

    /// One budget over all verbs, so that no verb is a way around it.
    #[inline]
    pub(super) fn cost(&self, request: &Request) -> Cost {
        let limits = &self.config.limits;
        Cost(match request {
            Request::Message { .. } => return rate::MESSAGE,
            Request::Hello { resume, .. } => match resume {
                Some(resume) => Self::cost_of_resume(limits, resume.rooms.len()),
                None => limits.cost_hello,
            },
            Request::Auth { .. } => limits.cost_hello,
            Request::Join { .. } => limits.cost_join,
            Request::History { .. } => limits.cost_history,
            Request::Members { .. } | Request::Rooms { .. } => limits.cost_members,
            Request::Leave { .. } | Request::Typing { .. } | Request::Ping => limits.cost_leave,
            Request::Pong => limits.cost_pong,
            // Open for later versions.
            _ => return rate::MESSAGE,
        })
    }

    /// A resume costs `cost_leave` for each room that it names, but never more than half of what a
    /// session or an address may spend in a window: otherwise it could not be paid at all.
    #[inline(never)]
    fn cost_of_resume(limits: &Limits, rooms: usize) -> u32 {
        let rooms = u32::try_from(rooms).unwrap_or(u32::MAX);
        let price = limits.cost_leave.saturating_mul(rooms).saturating_add(limits.cost_hello);
        let windows = [limits.messages_per_10s, limits.address_messages_per_10s];
        let affordable = windows.into_iter().filter(|messages| *messages > 0);
        let affordable = affordable.map(|messages| messages.saturating_mul(rate::MESSAGE.0 / 2));
        affordable.min().unwrap_or(u32::MAX).min(price).max(limits.cost_hello)
    }

    /// Lets a connection share the budget of its address.
    pub(super) fn share_of_peer(&mut self, by: Spender) -> Shares {
        Shares { user: None, peer: Some(self.join_budget(by)) }
    }

    /// Lets a connection share the budget of its user.
    pub(super) fn share_of_user(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get(conn) else { return };
        if session.shares.user.is_some() {
            return;
        }
        let by = Spender::User(session.user.clone());
        let at = self.join_budget(by);
        if let Some(session) = self.sessions.get_mut(conn) {
            session.shares.user = Some(at);
        }
    }

    fn join_budget(&mut self, by: Spender) -> u32 {
        let at = self.budgets.place(by);
        if let Some(shared) = self.budgets.get(at) {
            shared.conns += 1;
            if let Some(due) = shared.due.take() {
                self.timers.disarm(due, Timer::Shared(at));
            }
        }
        at
    }

    /// A connection is gone.
    pub(super) fn leave_budgets(&mut self, shares: Shares) {
        for at in [shares.user, shares.peer].into_iter().flatten() {
            if let Some(shared) = self.budgets.get(at) {
                shared.conns -= 1;
            }
            self.shared_due(at);
        }
    }

    /// Forgets a budget that is whole again and that nobody shares, or waits until it is.
    pub(super) fn shared_due(&mut self, at: u32) {
        let now = self.now;
        let crowded = self.budgets.len() > 4 * self.config.limits.connections as usize;
        let Some(shared) = self.budgets.get(at).filter(|shared| shared.conns == 0) else { return };
        if let Some(due) = shared.due.take() {
            self.timers.disarm(due, Timer::Shared(at));
        }
        let whole = shared.bucket.whole_at();
        if whole <= now || crowded {
            return self.budgets.remove(at);
        }
        shared.due = Some(whole);
        self.timers.arm(whole, Timer::Shared(at));
    }

    /// Tells how many connections of its user there are here, this one among them.
    pub(super) fn sessions_of_user(&self, shares: Shares) -> u32 {
        let shared = shares.user.and_then(|at| self.budgets.slots.get(at as usize)?.as_ref());
        shared.map_or(0, |shared| shared.conns)
    }

    /// Charges a frame that can't be refused; answers how long to stay quiet for it.
    #[inline(never)]
    fn charge_shared(
        &mut self,
        now: Mono,
        cost: Cost,
        (shares, own): (Shares, Option<u32>),
        out: &mut Actions,
    ) -> u64 {
        let per = PerWindow::of(own, &self.config.limits);
        let wait = self.budgets.charge(now, cost, shares, per);
        if self.config.peers != Peers::None {
            self.tell_spent(shares, per, out);
        }
        wait
    }

    #[inline(never)]
    fn tell_spent(&mut self, shares: Shares, per: PerWindow, out: &mut Actions) {
        for (at, per_window) in [(shares.user, per.user), (shares.peer, per.peer)] {
            let Some(shared) = at.and_then(|at| self.budgets.get(at)) else { continue };
            let part = u64::from(per_window) * 1000 / TOLD_PARTS;
            if per_window == 0 || u64::from(shared.untold) < part {
                continue;
            }
            let cost = core::mem::take(&mut shared.untold);
            let by = shared.by.clone();
            let spent = || Signal::Spent { by, cost, per_window };
            self.signal(SignalTo::Everyone, spent, out);
        }
    }

    /// Another Hub has let through what shares a budget with connections here, or with some that
    /// may come.
    pub(super) fn spent_elsewhere(
        &mut self,
        now: Mono,
        by: Spender,
        (cost, per_window): (u32, u32),
    ) {
        let is_new = !self.budgets.found.contains_key(&by);
        if is_new && self.budgets.len() >= 4 * self.config.limits.connections as usize {
            return;
        }
        let at = self.budgets.place(by);
        if let Some(shared) = self.budgets.get(at) {
            shared.bucket.note(now, Cost(cost), per_window);
        }
        self.shared_due(at);
    }
}
