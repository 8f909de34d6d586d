//! The deadlines of a Client.
use alloc::collections::{BTreeMap, BTreeSet};

use chat_proto::RoomName;

use crate::ids::Mono;

/// What a deadline is for. A spurious call of a timer is harmless.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The phase of the connection has timed out.
    Phase,
    /// The server was silent for too long.
    Liveness,
    /// Requests are allowed again after `rate_limited`.
    RateLimit,
    /// A message expires.
    Expiry,
    /// A query times out or may be repeated.
    Queries,
    /// A request was not answered.
    Request(u64),
    /// A room has something to request.
    Room(RoomName),
}

/// All deadlines, at most one for each timer.
#[derive(Debug, Default)]
pub(super) struct Timers {
    deadlines: BTreeMap<Timer, Mono>,
    order: BTreeSet<(Mono, Timer)>,
}

impl Timers {
    /// Sets a timer, replacing its earlier deadline.
    pub(super) fn set(&mut self, at: Mono, timer: Timer) {
        self.clear(&timer);
        self.deadlines.insert(timer.clone(), at);
        self.order.insert((at, timer));
    }

    pub(super) fn clear(&mut self, timer: &Timer) {
        if let Some(at) = self.deadlines.remove(timer) {
            self.order.remove(&(at, timer.clone()));
        }
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.order.pop_first()?;
        self.deadlines.remove(&timer);
        Some(timer)
    }

    pub(super) fn len(&self) -> usize {
        self.deadlines.len()
    }
}
