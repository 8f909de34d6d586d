//! The Client's position in a room's log, and the entries that arrived out of order.
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{Entry, Epoch, Position, Seq};

/// The position in a room's log.
///
/// *Invariant:* the output is contiguous: each entry or lost range begins right after the cursor.
#[derive(Debug)]
pub(super) struct LogPosition {
    epoch: Epoch,
    /// The last entry that was delivered.
    cursor: Seq,
    /// The last entry that is known to exist; at least the cursor.
    head: Seq,
    /// Entries that arrived before the entries in front of them. Bounded by [`Bounds`].
    buffered: BTreeMap<Seq, Arc<Entry>>,
    buffered_bytes: usize,
}

/// Limits of the buffer for entries that arrive out of order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// The next part of a room's log, ready to be delivered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ready {
    Entry(Arc<Entry>),
    Lost { from: Seq, to: Seq },
}

/// What became of an entry that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    /// It was delivered before.
    Duplicate,
    /// It is ready, together with the buffered entries that follow it.
    InOrder,
    /// Entries before it are missing.
    OutOfOrder,
}

impl LogPosition {
    pub(super) fn new(Position { epoch, seq }: Position) -> Self {
        Self { epoch, cursor: seq, head: seq, buffered: BTreeMap::new(), buffered_bytes: 0 }
    }

    pub(super) fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    pub(super) fn cursor(&self) -> Seq {
        self.cursor
    }

    pub(super) fn position(&self) -> Position {
        Position { epoch: self.epoch.clone(), seq: self.cursor }
    }

    /// Returns true if entries are known to exist that were not delivered.
    pub(super) fn is_behind(&self) -> bool {
        self.head > self.cursor
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffered.len()
    }

    /// Records that entries exist up to this one.
    pub(super) fn raise_head(&mut self, head: Seq) {
        self.head = self.head.max(head);
    }

    /// Accepts an entry. The next one in order is ready at once; a later one is buffered.
    pub(super) fn accept(
        &mut self,
        entry: &Arc<Entry>,
        bounds: Bounds,
        ready: &mut Vec<Ready>,
    ) -> Accepted {
        if entry.seq <= self.cursor {
            return Accepted::Duplicate;
        }
        self.raise_head(entry.seq);
        if entry.seq == self.cursor.next() {
            self.advance(entry.clone(), ready);
            self.release(ready);
            return Accepted::InOrder;
        }
        self.buffer(entry.clone(), bounds);
        Accepted::OutOfOrder
    }

    /// Moves the cursor to `to` or beyond: buffered entries are delivered, the others are lost.
    pub(super) fn skip(&mut self, to: Seq, ready: &mut Vec<Ready>) {
        while self.cursor < to {
            let next = self.buffered.first_key_value().map(|(seq, _)| *seq);
            let last = next.filter(|seq| *seq <= to).map_or(to, |seq| seq.minus(1));
            let from = self.cursor.next();
            if from <= last {
                ready.push(Ready::Lost { from, to: last });
                self.cursor = last;
            }
            self.release(ready);
        }
        self.raise_head(self.cursor);
        self.release(ready);
    }

    /// Delivers the buffered entries that follow the cursor.
    fn release(&mut self, ready: &mut Vec<Ready>) {
        while let Some(first) = self.buffered.first_entry() {
            if *first.key() > self.cursor.next() {
                break;
            }
            let entry = first.remove();
            self.buffered_bytes -= entry.size();
            if entry.seq > self.cursor {
                self.advance(entry, ready);
            }
        }
    }

    fn advance(&mut self, entry: Arc<Entry>, ready: &mut Vec<Ready>) {
        assert_eq!(entry.seq, self.cursor.next(), "entries are delivered in order");
        self.cursor = entry.seq;
        self.raise_head(entry.seq);
        ready.push(Ready::Entry(entry));
    }

    /// Buffers an entry. Beyond the bounds the last entries are dropped; they are fetched later.
    fn buffer(&mut self, entry: Arc<Entry>, bounds: Bounds) {
        self.buffered_bytes += entry.size();
        if let Some(replaced) = self.buffered.insert(entry.seq, entry) {
            self.buffered_bytes -= replaced.size();
        }
        while self.buffered.len() > bounds.entries || self.buffered_bytes > bounds.bytes {
            let (_, dropped) = self.buffered.pop_last().expect("an empty buffer is within bounds");
            self.buffered_bytes -= dropped.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_proto::{Body, DisplayName, RoomName, Timestamp, UserId};
    use std::vec;

    const BOUNDS: Bounds = Bounds { entries: 3, bytes: 100_000 };

    fn seq(n: u64) -> Seq {
        Seq::new(n).unwrap()
    }

    fn entry(n: u64) -> Arc<Entry> {
        let (room, seq, ts) = (RoomName::new("lobby").unwrap(), seq(n), Timestamp(0));
        let (user, username) = (UserId::new("u").unwrap(), DisplayName::new("U").unwrap());
        Entry::new(
            room,
            seq,
            ts,
            user,
            username,
            None,
            Body::Message { content: "x".into(), reply_to: None },
        )
        .into()
    }

    fn position(cursor: u64) -> LogPosition {
        LogPosition::new(Position { epoch: Epoch::new("e").unwrap(), seq: seq(cursor) })
    }

    /// Accepts entries and returns what is ready, each as its first and last seq.
    fn accepted(position: &mut LogPosition, bounds: Bounds, seqs: &[u64]) -> Vec<(u64, u64)> {
        let mut ready = Vec::new();
        for n in seqs {
            position.accept(&entry(*n), bounds, &mut ready);
        }
        ranges(&ready)
    }

    fn ranges(ready: &[Ready]) -> Vec<(u64, u64)> {
        let range = |ready: &Ready| match ready {
            Ready::Entry(entry) => (entry.seq.get(), entry.seq.get()),
            Ready::Lost { from, to } => (from.get(), to.get()),
        };
        ready.iter().map(range).collect()
    }

    #[test]
    fn entries_are_delivered_once_and_in_order() {
        let mut position = position(2);
        assert_eq!(accepted(&mut position, BOUNDS, &[2, 4, 5, 4]), []);
        assert!(position.is_behind());
        assert_eq!(accepted(&mut position, BOUNDS, &[3, 5, 3]), [(3, 3), (4, 4), (5, 5)]);
        assert!(!position.is_behind());
        assert_eq!((position.buffered(), position.buffered_bytes), (0, 0));
    }

    #[test]
    fn entries_beyond_the_bounds_are_dropped_and_still_missing() {
        let mut position = position(0);
        assert_eq!(accepted(&mut position, BOUNDS, &[9, 8, 7, 3, 2]), []);
        assert_eq!(position.buffered(), 3);
        assert_eq!(accepted(&mut position, BOUNDS, &[1]), [(1, 1), (2, 2), (3, 3)]);
        assert!(position.is_behind());
        let snug = Bounds { entries: 9, bytes: entry(6).size() * 2 };
        assert_eq!(accepted(&mut position, snug, &[7, 6]), []);
        assert_eq!(position.buffered(), 2);
        assert_eq!(accepted(&mut position, snug, &[5]), []);
        assert_eq!(position.buffered(), 2);
        let tight = Bounds { entries: 9, bytes: 1 };
        assert_eq!(accepted(&mut position, tight, &[5]), []);
        assert_eq!((position.buffered(), position.buffered_bytes), (0, 0));
        assert_eq!(accepted(&mut position, tight, &[4]), [(4, 4)]);
    }

    #[test]
    fn a_skip_delivers_buffered_entries_and_loses_the_others() {
        let mut position = position(0);
        let mut ready = Vec::new();
        accepted(&mut position, BOUNDS, &[3, 6]);
        position.skip(seq(4), &mut ready);
        assert_eq!(ranges(&ready), [(1, 2), (3, 3), (4, 4)]);
        ready.clear();
        position.skip(seq(2), &mut ready);
        assert_eq!(ready, vec![]);
        position.skip(seq(9), &mut ready);
        assert_eq!(ranges(&ready), [(5, 5), (6, 6), (7, 9)]);
        assert!(!position.is_behind());
    }

    #[test]
    fn a_skip_up_to_a_buffered_entry_delivers_it() {
        let mut position = position(0);
        let mut ready = Vec::new();
        accepted(&mut position, BOUNDS, &[3, 4]);
        position.skip(seq(2), &mut ready);
        assert_eq!(ranges(&ready), [(1, 2), (3, 3), (4, 4)]);
    }

    #[test]
    fn the_largest_seq_ends_the_log() {
        let mut position = position(chat_proto::SEQ_MAX - 1);
        assert_eq!(accepted(&mut position, BOUNDS, &[chat_proto::SEQ_MAX]).len(), 1);
        assert_eq!(accepted(&mut position, BOUNDS, &[chat_proto::SEQ_MAX]), []);
        assert!(!position.is_behind());
    }
}
