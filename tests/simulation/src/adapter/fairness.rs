//! The budget of an address, as a plain model has it: what it lets through a Hub must not be more.
use chat_proto::{ClientFrame, Dialect, ErrorCode, Limits, Request, ServerFrame};
use chat_state::{Action, Actions, CloseReason, ConnId, Event, Mono, Recipients};

/// What one address was let do on one Hub: a level that rises with each request and sinks with
/// time, in ten-thousandths of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ledger {
    level: u64,
    at: Mono,
}

/// Who asks for something, and what that costs in thousandths of a message; `None`: it costs
/// nothing.
pub(super) fn asked(event: &Event, limits: &Limits) -> Option<(ConnId, Dialect, u64)> {
    match event {
        Event::Received { conn, frame: ClientFrame::Basic(_) } => {
            Some((*conn, Dialect::Basic, 1000))
        }
        Event::Received { conn, frame: ClientFrame::V1 { request, .. } } => {
            Some((*conn, Dialect::V1, u64::from(cost(request, limits))))
        }
        Event::Malformed { conn, dialect, .. } => Some((*conn, *dialect, 1000)),
        _ => None,
    }
}

fn cost(request: &Request, limits: &Limits) -> u32 {
    match request {
        Request::Message { .. } => 1000,
        Request::Hello { .. } | Request::Auth { .. } => limits.cost_hello,
        Request::Join { .. } => limits.cost_join,
        Request::History { .. } => limits.cost_history,
        Request::Members { .. } | Request::Rooms { .. } => limits.cost_members,
        Request::Leave { .. } | Request::Typing { .. } | Request::Ping => limits.cost_leave,
        Request::Pong => limits.cost_pong,
        other => panic!("nobody asks for {other:?}"),
    }
}

/// Whether the Hub has refused the request for the budget.
pub(super) fn was_refused(conn: ConnId, actions: &Actions) -> bool {
    actions.iter().any(|action| match action {
        Action::Send { to: Recipients::One(to), frame: ServerFrame::Error(error) } => {
            *to == conn && error.code == ErrorCode::RateLimited
        }
        Action::Close { conn: closed, reason, .. } => {
            *closed == conn && *reason == CloseReason::BudgetExceeded
        }
        _ => false,
    })
}

impl Ledger {
    /// Takes note of a request that was let through.
    pub(super) fn take(&mut self, now: Mono, (dialect, cost): (Dialect, u64), per_window: u32) {
        let sunk = now.since(self.at) * u64::from(per_window);
        self.level = self.level.saturating_sub(sunk) + cost * 10;
        self.at = now;
        // What `basic` peers say is read before it can be known that it is too much.
        let most = u64::from(per_window) * 10_000 + ROUNDING;
        assert!(
            dialect == Dialect::Basic || self.level <= most,
            "an address was let do more than its budget: {} of {most}",
            self.level
        );
    }
}

/// The Hub counts whole microseconds.
const ROUNDING: u64 = 100;
