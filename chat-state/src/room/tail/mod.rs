//! Follows the log of one room.
//!
//! A tail opens the log, keeps a cursor at the last delivered entry and moves it with the entries
//! that its own appends, peers and reads yield. It appends drafts in batches, one at a time. It
//! knows neither sessions nor connections: a draft carries an opaque ticket, which comes back with
//! the draft's outcome. A call pushes [`Effect`]s, which the owner applies in order.
//!
//! *Invariant:* entries are delivered in the order of their `seq`. None is missing between two of
//! them, except those that an [`Effect::Skipped`] names.
//!
//! *Invariant:* at most one question of each [`Purpose`] is in flight, and each has a deadline. An
//! answer to an older question is late: it is ignored, but a late append still means that the log
//! has grown.
mod appends;
mod backoff;
mod effect;
mod heads;
mod hole;
mod opening;
mod order;
mod out_of_order;
mod recent;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use chat_proto::{Epoch, Seq};

use self::appends::Appends;
pub(crate) use self::effect::{
    Ask, AskId, Cx, Effect, NotAppended, Purpose, TailConfig, TailTimer,
};
use self::heads::Heads;
pub(crate) use self::heads::{Located, Lookup};
use self::hole::Hole;
use self::opening::Opening;
use self::out_of_order::OutOfOrder;
pub(crate) use self::recent::{Bounds, Recent};
use crate::log::LogHead;

/// A position at the end of one room's log, and what it takes to follow that end.
#[derive(Debug)]
pub(crate) struct Tail<T> {
    log: Log,
    appends: Appends<T>,
    recent: Recent,
    out_of_order: OutOfOrder,
    /// The newest place that is known to be taken.
    known: Seq,
    heads: Heads,
    /// Questions so far.
    asks: u32,
}

#[derive(Debug)]
enum Log {
    Opening(Opening),
    Open(Open),
}

#[derive(Debug)]
struct Open {
    epoch: Epoch,
    /// The oldest entry that the log had when it last answered.
    first: Seq,
    /// The last entry that was delivered or skipped.
    cursor: Seq,
    hole: Hole,
}

/// The ends of an open log, as far as this tail follows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<'a> {
    pub(crate) epoch: &'a Epoch,
    /// The oldest entry that is left; `cursor + 1` if none is.
    pub(crate) first: Seq,
    /// The last entry that was delivered.
    pub(crate) cursor: Seq,
}

/// The log that a page was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageOf {
    ThisLog,
    /// The page cannot be used. If the log was replaced, its head will tell.
    AnotherLog,
}

impl<T> Tail<T> {
    /// Makes a tail that opens its log.
    pub(crate) fn new(cx: Cx<'_>, out: &mut Vec<Effect<T>>) -> Self {
        let id = AskId { purpose: Purpose::Open, number: 0 };
        Self {
            log: Log::Opening(Opening::begin(cx, id, out)),
            appends: Appends::default(),
            recent: Recent::default(),
            out_of_order: OutOfOrder::default(),
            known: Seq::ZERO,
            heads: Heads::default(),
            asks: 1,
        }
    }

    /// Returns the ends of the log, or `None` while it is being opened.
    pub(crate) fn ends(&self) -> Option<Ends<'_>> {
        match &self.log {
            Log::Opening(_) => None,
            Log::Open(Open { epoch, first, cursor, .. }) => {
                Some(Ends { epoch, first: *first, cursor: *cursor })
            }
        }
    }

    /// Returns the last entry that was delivered, 0 while the log is being opened.
    pub(crate) fn cursor(&self) -> Seq {
        match &self.log {
            Log::Opening(_) => Seq::ZERO,
            Log::Open(open) => open.cursor,
        }
    }

    /// Returns the newest entries; they end at the cursor.
    pub(crate) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Returns true if no draft waits for the log and peers know of all appends.
    pub(crate) fn is_settled(&self) -> bool {
        self.appends.is_empty() && !self.heads.has_to_tell()
    }

    /// Notes the ends of the log that came with a page which the owner has read for itself.
    pub(crate) fn note_ends(
        &mut self,
        cx: Cx<'_>,
        head: &LogHead,
        out: &mut Vec<Effect<T>>,
    ) -> PageOf {
        match &mut self.log {
            Log::Open(open) if open.epoch == head.epoch => {
                open.note_first(head);
                PageOf::ThisLog
            }
            Log::Open(_) => {
                self.check_head(cx, out);
                PageOf::AnotherLog
            }
            Log::Opening(_) => PageOf::AnotherLog,
        }
    }

    /// Handles a deadline. Spurious calls are harmless.
    pub(crate) fn timer_due(&mut self, cx: Cx<'_>, timer: TailTimer, out: &mut Vec<Effect<T>>) {
        match timer {
            TailTimer::Append => self.append_due(cx, out),
            TailTimer::Open => self.open_due(cx, out),
            TailTimer::Hole => self.hole_due(cx, out),
            TailTimer::Head => self.head_due(cx, out),
        }
    }

    fn next_ask(&mut self, purpose: Purpose) -> AskId {
        let id = AskId { purpose, number: self.asks };
        self.asks = self.asks.wrapping_add(1);
        id
    }

    fn is_open(&self) -> bool {
        matches!(self.log, Log::Open(_))
    }
}

impl Open {
    fn note_first(&mut self, head: &LogHead) {
        self.first = self.first.max(first_of(head));
    }
}

/// Returns the oldest place of a log, at most the one after its end.
fn first_of(head: &LogHead) -> Seq {
    head.first.min(head.last.next())
}
