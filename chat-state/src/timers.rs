//! Timers and their deadlines.
use alloc::collections::{BTreeMap, BTreeSet};

use crate::ids::{ConnId, Mono};
use crate::room::RoomId;
use crate::room::tail::TailTimer;

/// Names a timer of the Hub. Spurious calls are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The deadline for `hello`, or for the authority's answer.
    Hello(ConnId),
    /// A grant ends soon, or has ended.
    Auth(ConnId),
    /// A ping is due, or the peer is dead.
    Heartbeat(ConnId),
    /// A connection that was over its budget may be read again.
    Budget(ConnId),
    /// The connection's turn to leave has come.
    DrainClose(ConnId),
    /// A deadline of a room's tail.
    Tail(RoomId, TailTimer),
    /// A read for a connection has failed and may be tried again.
    CatchUp(ConnId),
    /// The deadline for the log's answer to a read for a connection.
    Read(ConnId),
    /// A resume has waited long enough for the log.
    Resume(ConnId),
    /// Notices of joins and leaves are due in a room.
    Audience(RoomId),
    /// The heads of some rooms are polled, in case the signal of their last entry was lost.
    Poll,
}

impl Timer {
    /// Returns the timers that end with a connection.
    pub(crate) fn of_connection(conn: ConnId) -> [Self; 8] {
        [
            Self::Hello(conn),
            Self::Auth(conn),
            Self::Heartbeat(conn),
            Self::Budget(conn),
            Self::DrainClose(conn),
            Self::CatchUp(conn),
            Self::Read(conn),
            Self::Resume(conn),
        ]
    }
}

/// The armed timers.
#[derive(Debug)]
pub(crate) struct Timers<T = Timer> {
    due: BTreeMap<T, Mono>,
    order: BTreeSet<(Mono, T)>,
    /// The first deadline, cached: it is read far more often than it changes.
    next: Option<Mono>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), order: BTreeSet::new(), next: None }
    }
}

impl<T: Copy + Ord> Timers<T> {
    /// Arms a timer. If it is armed already, replaces its deadline.
    pub(crate) fn arm(&mut self, at: Mono, timer: T) {
        if let Some(before) = self.due.insert(timer, at) {
            self.order.remove(&(before, timer));
        }
        self.order.insert((at, timer));
        self.update_next();
    }

    /// Disarms a timer. Does nothing if it is not armed.
    pub(crate) fn disarm(&mut self, timer: T) {
        if let Some(at) = self.due.remove(&timer) {
            self.order.remove(&(at, timer));
            self.update_next();
        }
    }

    /// Returns when a timer is due, if it is armed.
    pub(crate) fn due(&self, timer: T) -> Option<Mono> {
        self.due.get(&timer).copied()
    }

    /// Returns when the first timer is due.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.next
    }

    /// Removes and returns the first timer that is due.
    pub(crate) fn pop_due(&mut self, now: Mono) -> Option<T> {
        if self.next? > now {
            return None;
        }
        let (_, timer) = self.order.pop_first()?;
        self.due.remove(&timer);
        self.update_next();
        Some(timer)
    }

    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }

    fn update_next(&mut self) {
        self.next = self.order.first().map(|(at, _)| *at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_has_one_deadline_and_fires_once() {
        let mut timers = Timers::default();
        timers.arm(Mono(5), 'a');
        timers.arm(Mono(3), 'b');
        timers.arm(Mono(7), 'b');
        assert_eq!(
            (timers.next(), timers.due('b'), timers.len()),
            (Some(Mono(5)), Some(Mono(7)), 2)
        );
        assert_eq!(timers.pop_due(Mono(4)), None);
        assert_eq!(timers.pop_due(Mono(9)), Some('a'));
        assert_eq!(timers.pop_due(Mono(9)), Some('b'));
        assert_eq!((timers.pop_due(Mono(9)), timers.next(), timers.len()), (None, None, 0));
    }

    #[test]
    fn a_timer_that_was_disarmed_does_not_fire() {
        let mut timers = Timers::default();
        timers.arm(Mono(5), 'a');
        timers.arm(Mono(6), 'b');
        timers.disarm('a');
        timers.disarm('c');
        assert_eq!((timers.next(), timers.due('a')), (Some(Mono(6)), None));
        assert_eq!(timers.pop_due(Mono(9)), Some('b'));
        assert_eq!(timers.pop_due(Mono(9)), None);
    }
}
