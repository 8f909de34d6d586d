//! Budgets as the protocol states them: a whole window may be spent at once, and what was spent
//! comes back evenly over the window.
//!
//! The model holds in both directions: a request over a budget is refused, and no other one is.
use chat_proto::{ClientFrame, Dialect, ErrorCode, Limits, Request, ServerFrame, SessionId};
use chat_state::{Action, Actions, CloseReason, ConnId, Event, Mono, Recipients};

/// The window of all budgets, in microseconds: a Hub counts whole ones.
const WINDOW_US: u64 = 10_000_000;
/// The cost of a message.
const MESSAGE: u32 = 1000;

/// How much of a budget is spent, as the time after which it is full again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Level {
    spent_us: u64,
    at: Mono,
}

impl Level {
    /// Returns the level with a cost added. Without a limit nothing is counted.
    fn with(self, now: Mono, cost: u32, per_window: u32) -> Self {
        if per_window == 0 {
            return self;
        }
        let share_us = WINDOW_US * u64::from(cost) / (1000 * u64::from(per_window));
        Self { spent_us: self.left_us(now) + share_us, at: now }
    }

    fn left_us(self, now: Mono) -> u64 {
        self.spent_us.saturating_sub(now.since(self.at) * 1000)
    }

    fn is_over(self) -> bool {
        self.spent_us > WINDOW_US
    }
}

/// The levels that a budget of a Hub may have. Between a resume and its `welcome` there are two:
/// that of the session, if the Hub knows it, and that of the connection, if it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Budget(Vec<(Origin, Level)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Connection,
    Session,
}

impl Default for Budget {
    fn default() -> Self {
        Self(vec![(Origin::Connection, Level::default())])
    }
}

impl Budget {
    /// Records a request that the Hub has let through. Panics if it was over this budget.
    pub(super) fn take(&mut self, now: Mono, cost: u32, per_window: u32) {
        let before = self.clone();
        self.0.iter_mut().for_each(|(_, level)| *level = level.with(now, cost, per_window));
        self.0.retain(|(_, level)| per_window == 0 || !level.is_over());
        assert!(!self.0.is_empty(), "{before:?} let {cost} of {per_window} through at {now:?}");
    }

    /// Records a request that the Hub has refused. Panics if it was within this budget.
    pub(super) fn refuse(&mut self, now: Mono, cost: u32, per_window: u32) {
        let before = self.clone();
        self.0.retain(|(_, level)| level.with(now, cost, per_window).is_over());
        let is_fair = per_window > 0 && !self.0.is_empty();
        assert!(is_fair, "{before:?} refused {cost} of {per_window} at {now:?}");
    }

    /// Returns true if this budget may refuse a request.
    pub(super) fn may_refuse(&self, now: Mono, cost: u32, per_window: u32) -> bool {
        let is_over = |level: &Level| level.with(now, cost, per_window).is_over();
        per_window > 0 && self.0.iter().any(|(_, level)| is_over(level))
    }

    /// Records a frame that cannot be refused. Returns true if the budget is certainly exceeded, by
    /// a millisecond or more.
    pub(super) fn charge(&mut self, now: Mono, cost: u32, per_window: u32) -> bool {
        self.0.iter_mut().for_each(|(_, level)| *level = level.with(now, cost, per_window));
        per_window > 0 && self.0.iter().all(|(_, level)| level.spent_us >= WINDOW_US + 1000)
    }

    /// Records what another Hub has let through. That spends at most two windows.
    pub(super) fn note(&mut self, now: Mono, cost: u32, per_window: u32) {
        for (_, level) in self.0.iter_mut().filter(|_| per_window > 0) {
            let (before, after) = (level.left_us(now), level.with(now, cost, per_window));
            let spent_us = after.spent_us.min(2 * WINDOW_US).max(before);
            *level = Level { spent_us, at: now };
        }
    }

    /// Adds the levels of a session that the connection asks to resume.
    pub(super) fn resume(&mut self, session: &Self) {
        self.0.extend(session.0.iter().map(|(_, level)| (Origin::Session, *level)));
        self.0.sort_unstable();
        self.0.dedup();
    }

    /// Drops the levels that a `welcome` rules out. With `None`, it does not tell whether the Hub
    /// knew the session.
    pub(super) fn welcome(&mut self, knew_session: Option<bool>) {
        let before = self.clone();
        self.0.retain(|(origin, _)| {
            knew_session.is_none_or(|knew| knew == (*origin == Origin::Session))
        });
        assert!(!self.0.is_empty(), "{before:?}: the Hub knew the session: {knew_session:?}");
        self.0.iter_mut().for_each(|(origin, _)| *origin = Origin::Connection);
    }
}

/// What an event asks for on behalf of a connection.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) conn: ConnId,
    pub(super) dialect: Dialect,
    /// In thousandths of a message.
    pub(super) cost: u32,
    /// The session that it asks to resume.
    pub(super) resumes: Option<SessionId>,
}

impl Asked {
    /// Returns what an event asks for, if it costs something.
    pub(super) fn by(event: &Event, limits: &Limits) -> Option<Self> {
        let (conn, dialect, cost, resumes) = match event {
            Event::Received { conn, frame: ClientFrame::Basic(_) } => {
                (conn, Dialect::Basic, MESSAGE, None)
            }
            Event::Received { conn, frame: ClientFrame::V1 { request, .. } } => {
                let resumes = match request {
                    Request::Hello { resume, .. } => resume.as_ref().map(|r| r.session.clone()),
                    _ => None,
                };
                (conn, Dialect::V1, cost(request, limits), resumes)
            }
            Event::Malformed { conn, dialect, .. } => (conn, *dialect, MESSAGE, None),
            _ => return None,
        };
        Some(Self { conn: *conn, dialect, cost, resumes })
    }

    /// Returns what a `basic` frame asks for.
    pub(super) fn of_basic(conn: ConnId) -> Self {
        Self { conn, dialect: Dialect::Basic, cost: MESSAGE, resumes: None }
    }

    /// Returns true if the connection was closed before what it asks for was looked at.
    pub(super) fn is_turned_away(&self, actions: &Actions) -> bool {
        let is_basic = self.dialect == Dialect::Basic;
        actions.iter().any(|action| match action {
            Action::Close { conn, reason, .. } if *conn == self.conn => match reason {
                CloseReason::GrantEnded => true,
                CloseReason::Unauthorized
                | CloseReason::AuthUnavailable
                | CloseReason::Banned
                | CloseReason::TooManySessions => is_basic,
                _ => false,
            },
            _ => false,
        })
    }

    /// Returns true if the Hub has refused the request for a budget.
    pub(super) fn is_refused(&self, actions: &Actions) -> bool {
        actions.iter().any(|action| match action {
            Action::Send { to: Recipients::One(to), frame: ServerFrame::Error(error) } => {
                *to == self.conn && error.code == ErrorCode::RateLimited
            }
            Action::Close { conn, reason, .. } => {
                *conn == self.conn && *reason == CloseReason::BudgetExceeded
            }
            _ => false,
        })
    }

    /// Returns the size of the session's own budget.
    pub(super) fn own_limit(&self, limits: &Limits) -> u32 {
        match self.dialect {
            Dialect::Basic => limits.basic_messages_per_10s,
            Dialect::V1 => limits.messages_per_10s,
        }
    }
}

fn cost(request: &Request, limits: &Limits) -> u32 {
    match request {
        Request::Message { .. } => MESSAGE,
        Request::Hello { resume: Some(resume), .. } => {
            let rooms = u32::try_from(resume.rooms.len()).expect("few rooms");
            let price = limits.cost_hello + rooms * limits.cost_leave;
            // At most half of a budget, or else many rooms could never be resumed.
            let budgets = [limits.messages_per_10s, limits.address_messages_per_10s];
            let halves = budgets.iter().filter(|messages| **messages > 0).map(|m| m * MESSAGE / 2);
            halves.fold(price, u32::min).max(limits.cost_hello)
        }
        Request::Hello { resume: None, .. } | Request::Auth { .. } => limits.cost_hello,
        Request::Join { .. } => limits.cost_join,
        Request::History { .. } => limits.cost_history,
        Request::Members { .. } | Request::Rooms { .. } => limits.cost_members,
        Request::Leave { .. } | Request::Typing { .. } | Request::Ping => limits.cost_leave,
        Request::Pong => limits.cost_pong,
        other => panic!("nobody asks for {other:?}"),
    }
}
