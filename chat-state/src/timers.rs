//! Which rule wants to be called when.
use alloc::collections::BTreeSet;

use crate::ids::{ConnId, Mono};
use crate::room::RoomId;
use crate::room::tail::TailTimer;

/// A rule that waits. Whatever it finds when it is called, a call too many changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The connection has to have said `hello`, or the authority to have answered.
    Hello(ConnId),
    /// A grant ends soon, or has ended.
    Auth(ConnId),
    /// A ping is due, or the peer is dead.
    Heartbeat(ConnId),
    /// A slowed-down connection may be read again.
    Budget(ConnId),
    /// The connection's turn to leave has come.
    DrainClose(ConnId),
    /// A deadline of a room's tail.
    Tail(RoomId, TailTimer),
    /// A read for a connection has failed and may be tried again.
    CatchUp(ConnId),
    /// The log has not answered a read for a connection.
    Read(ConnId),
    /// A resume has waited long enough for the log.
    Resume(ConnId),
    /// A room's members have to be told who comes and goes.
    Audience(RoomId),
    /// Some rooms' heads are to be asked for, in case the signal of their last entry was lost.
    Poll,
}

/// All deadlines, in order.
#[derive(Debug)]
pub(crate) struct Timers<T = Timer> {
    all: BTreeSet<(Mono, T)>,
    /// The first deadline: it is asked for far more often than it changes.
    next: Option<Mono>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { all: BTreeSet::new(), next: None }
    }
}

impl<T: Ord> Timers<T> {
    pub(crate) fn arm(&mut self, at: Mono, timer: T) {
        if self.next.is_none_or(|next| at < next) {
            self.next = Some(at);
        }
        self.all.insert((at, timer));
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        self.next
    }

    /// Takes the first timer that is due.
    pub(crate) fn pop_due(&mut self, now: Mono) -> Option<T> {
        if self.next? > now {
            return None;
        }
        let (_, timer) = self.all.pop_first()?;
        self.look();
        Some(timer)
    }

    pub(crate) fn disarm(&mut self, at: Mono, timer: T) {
        self.all.remove(&(at, timer));
        if self.next == Some(at) {
            self.look();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    fn look(&mut self) {
        self.next = self.all.first().map(|(at, _)| *at);
    }
}
