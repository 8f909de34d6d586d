//! Which rule of a Client wants to be called when.
use alloc::collections::BTreeMap;

use chat_proto::RoomName;

use crate::ids::Mono;
use crate::timers::Timers;

/// A rule that waits. Whatever it finds when it is called, a call too many changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The connection's phase has lasted long enough.
    Phase,
    /// Nothing was heard for a while.
    Heard,
    /// The budget has recovered.
    Quiet,
    /// A send is too old.
    Expiry,
    /// A question is too old, or may be asked again.
    Asks,
    /// A request was not answered.
    Request(u64),
    /// A room has something to do.
    Room(RoomName),
}

/// All deadlines. Each rule has at most one.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    at: BTreeMap<Timer, Mono>,
    order: Timers<Timer>,
}

impl Alarms {
    /// Sets a rule's deadline, in place of the one that it had.
    pub(super) fn set(&mut self, at: Mono, timer: Timer) {
        self.clear(&timer);
        self.at.insert(timer.clone(), at);
        self.order.arm(at, timer);
    }

    pub(super) fn clear(&mut self, timer: &Timer) {
        if let Some(at) = self.at.remove(timer) {
            self.order.disarm(at, timer.clone());
        }
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.order.next()
    }

    /// Takes the first timer that is due.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Timer> {
        let timer = self.order.pop_due(now)?;
        self.at.remove(&timer);
        Some(timer)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}
