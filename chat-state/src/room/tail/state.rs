//! What a tail knows of its log.
use alloc::vec::Vec;

use chat_proto::{Epoch, Position, Seq};

use super::appends::Appends;
use super::heads::Heads;
use super::hole::Hole;
use super::newest::Newest;
use super::opening::Opening;
use super::out_of_order::OutOfOrder;
use super::{AskId, Cx, Effect, Purpose, Recent};
use crate::log::LogHead;

/// A position at the end of one room's log, and what it takes to follow that end.
#[derive(Debug)]
pub(crate) struct Tail<T> {
    pub(super) log: Log,
    pub(super) appends: Appends<T>,
    pub(super) recent: Recent,
    pub(super) out_of_order: OutOfOrder,
    pub(super) newest: Newest,
    pub(super) heads: Heads,
    /// Questions so far.
    asks: u32,
}

#[derive(Debug)]
pub(super) enum Log {
    Opening(Opening),
    Open(Open),
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) epoch: Epoch,
    /// The oldest entry that the log had when it last answered.
    pub(super) first: Seq,
    /// The last entry that was delivered or skipped.
    pub(super) cursor: Seq,
    pub(super) hole: Hole,
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
            newest: Newest::default(),
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

    /// Returns the newest place that is known to be taken, or `None` while the log is being opened.
    pub(crate) fn known(&self) -> Option<Position> {
        let Ends { epoch, cursor, .. } = self.ends()?;
        Some(Position { epoch: epoch.clone(), seq: self.newest.place().max(cursor) })
    }

    /// Returns the newest entries; they end at the cursor.
    pub(crate) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Returns true if no draft waits for the log and peers know of all appends.
    pub(crate) fn is_settled(&self) -> bool {
        self.appends.is_empty() && !self.heads.has_to_tell()
    }

    pub(super) fn next_ask(&mut self, purpose: Purpose) -> AskId {
        let id = AskId { purpose, number: self.asks };
        self.asks = self.asks.wrapping_add(1);
        id
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.log, Log::Open(_))
    }
}

impl Open {
    pub(super) fn note_first(&mut self, head: &LogHead) {
        self.first = self.first.max(first_of(head));
    }
}

/// Returns the oldest place of a log, at most the one after its end.
pub(super) fn first_of(head: &LogHead) -> Seq {
    head.first.min(head.last.next())
}
