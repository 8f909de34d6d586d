//! Where a Client is in a room's log.
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{Entry, Epoch, Position, Seq};

/// A room's position, and the entries that wait for those before them.
///
/// *Invariant:* what passes is contiguous: each entry or lost range begins right after the cursor.
#[derive(Debug)]
pub(super) struct Place {
    epoch: Epoch,
    /// The last entry that has passed.
    cursor: Seq,
    /// The last entry that is known to exist; at least the cursor.
    head: Seq,
    /// Entries beyond the next one.
    held: BTreeMap<Seq, Arc<Entry>>,
    held_bytes: usize,
}

/// How much may be held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// What has passed, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    Entry(Arc<Entry>),
    Lost { from: Seq, to: Seq },
}

/// What an entry is to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It had passed already.
    Old,
    /// It has passed, with those held that it was missing to.
    Passed,
    /// Others are missing before it.
    Beyond,
}

impl Place {
    pub(super) fn new(Position { epoch, seq }: Position) -> Self {
        Self { epoch, cursor: seq, head: seq, held: BTreeMap::new(), held_bytes: 0 }
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

    /// Tells whether entries are known to exist that have not passed.
    pub(super) fn is_behind(&self) -> bool {
        self.head > self.cursor
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Notes that entries exist up to this one.
    pub(super) fn expect(&mut self, head: Seq) {
        self.head = self.head.max(head);
    }

    /// Takes an entry in: it passes if it is the next one, and is held if it is beyond that.
    pub(super) fn offer(
        &mut self,
        entry: &Arc<Entry>,
        bounds: Bounds,
        passed: &mut Vec<Passed>,
    ) -> Offer {
        if entry.seq <= self.cursor {
            return Offer::Old;
        }
        self.expect(entry.seq);
        if entry.seq == self.cursor.next() {
            self.pass(entry.clone(), passed);
            self.release(passed);
            return Offer::Passed;
        }
        self.hold(entry.clone(), bounds);
        Offer::Beyond
    }

    /// Lets everything up to here pass: what is held of it, and the rest as lost.
    pub(super) fn skip(&mut self, to: Seq, passed: &mut Vec<Passed>) {
        while self.cursor < to {
            let next = self.held.first_key_value().map(|(seq, _)| *seq).filter(|seq| *seq <= to);
            let from = self.cursor.next();
            let last = next.map_or(to, |seq| seq.minus(1));
            if from <= last {
                passed.push(Passed::Lost { from, to: last });
                self.cursor = last;
            }
            self.release(passed);
        }
        self.head = self.head.max(self.cursor);
        self.release(passed);
    }

    /// Tells whether entries came from beyond what is missing.
    pub(super) fn is_proven(&self) -> bool {
        !self.held.is_empty()
    }

    /// Doubts that there are entries which never came: whatever does come counts.
    pub(super) fn doubt(&mut self) {
        self.head = self.held.last_key_value().map_or(self.cursor, |(seq, _)| *seq);
    }

    /// Gives up on what is missing before the first entry that is held, or up to the head.
    pub(super) fn give_up(&mut self, passed: &mut Vec<Passed>) {
        let to = self.held.first_key_value().map_or(self.head, |(seq, _)| seq.minus(1));
        self.skip(to, passed);
    }

    /// Lets those pass that are held and not beyond the next one.
    fn release(&mut self, passed: &mut Vec<Passed>) {
        while let Some(first) = self.held.first_entry() {
            if *first.key() > self.cursor.next() {
                break;
            }
            let entry = first.remove();
            self.held_bytes -= entry.size();
            if entry.seq > self.cursor {
                self.pass(entry, passed);
            }
        }
    }

    fn pass(&mut self, entry: Arc<Entry>, passed: &mut Vec<Passed>) {
        assert_eq!(entry.seq, self.cursor.next(), "entries pass one after the other");
        self.cursor = entry.seq;
        self.head = self.head.max(self.cursor);
        passed.push(Passed::Entry(entry));
    }

    /// Holds an entry; what is too much is dropped from the far end, and fetched again.
    fn hold(&mut self, entry: Arc<Entry>, bounds: Bounds) {
        self.held_bytes += entry.size();
        if let Some(known) = self.held.insert(entry.seq, entry) {
            self.held_bytes -= known.size();
        }
        while self.held.len() > bounds.entries || self.held_bytes > bounds.bytes {
            let Some((_, dropped)) = self.held.pop_last() else { break };
            self.held_bytes -= dropped.size();
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
        let head = (RoomName::new("lobby").unwrap(), seq(n), Timestamp(0));
        let by = (UserId::new("u").unwrap(), DisplayName::new("U").unwrap());
        Entry::new(head, by, None, Body::Message { content: "x".into(), reply_to: None }).into()
    }

    fn place(cursor: u64) -> Place {
        Place::new(Position { epoch: Epoch::new("e").unwrap(), seq: seq(cursor) })
    }

    /// Entries as their numbers, lost ranges as both ends.
    fn offered(place: &mut Place, bounds: Bounds, seqs: &[u64]) -> Vec<(u64, u64)> {
        let mut passed = Vec::new();
        for n in seqs {
            place.offer(&entry(*n), bounds, &mut passed);
        }
        numbers(&passed)
    }

    fn numbers(passed: &[Passed]) -> Vec<(u64, u64)> {
        let number = |passed: &Passed| match passed {
            Passed::Entry(entry) => (entry.seq.get(), entry.seq.get()),
            Passed::Lost { from, to } => (from.get(), to.get()),
        };
        passed.iter().map(number).collect()
    }

    #[test]
    fn entries_pass_in_order_and_once() {
        let mut place = place(2);
        assert_eq!(offered(&mut place, BOUNDS, &[2, 4, 5, 4]), []);
        assert!(place.is_behind());
        assert_eq!(offered(&mut place, BOUNDS, &[3, 5, 3]), [(3, 3), (4, 4), (5, 5)]);
        assert!(!place.is_behind());
        assert_eq!((place.held(), place.held_bytes), (0, 0));
    }

    #[test]
    fn what_is_too_much_to_hold_is_missing_again() {
        let mut place = place(0);
        assert_eq!(offered(&mut place, BOUNDS, &[9, 8, 7, 3, 2]), []);
        assert_eq!(place.held(), 3);
        assert_eq!(offered(&mut place, BOUNDS, &[1]), [(1, 1), (2, 2), (3, 3)]);
        assert!(place.is_behind());
        let snug = Bounds { entries: 9, bytes: entry(6).size() * 2 };
        assert_eq!(offered(&mut place, snug, &[7, 6]), []);
        assert_eq!(place.held(), 2);
        assert_eq!(offered(&mut place, snug, &[5]), []);
        assert_eq!(place.held(), 2);
        let tight = Bounds { entries: 9, bytes: 1 };
        assert_eq!(offered(&mut place, tight, &[5]), []);
        assert_eq!((place.held(), place.held_bytes), (0, 0));
        assert_eq!(offered(&mut place, tight, &[4]), [(4, 4)]);
    }

    #[test]
    fn what_is_held_is_not_lost() {
        let mut place = place(0);
        let mut passed = Vec::new();
        offered(&mut place, BOUNDS, &[3, 6]);
        place.skip(seq(4), &mut passed);
        assert_eq!(numbers(&passed), [(1, 2), (3, 3), (4, 4)]);
        passed.clear();
        place.skip(seq(2), &mut passed);
        assert_eq!(passed, vec![]);
        place.give_up(&mut passed);
        assert_eq!(numbers(&passed), [(5, 5), (6, 6)]);
        passed.clear();
        place.expect(seq(9));
        place.give_up(&mut passed);
        assert_eq!(numbers(&passed), [(7, 9)]);
        assert!(!place.is_behind());
    }

    #[test]
    fn a_skip_up_to_what_is_held_releases_it() {
        let mut place = place(0);
        let mut passed = Vec::new();
        offered(&mut place, BOUNDS, &[3, 4]);
        place.skip(seq(2), &mut passed);
        assert_eq!(numbers(&passed), [(1, 2), (3, 3), (4, 4)]);
    }

    #[test]
    fn the_last_place_of_all_ends_the_log() {
        let mut place = place(chat_proto::SEQ_MAX - 1);
        assert_eq!(offered(&mut place, BOUNDS, &[chat_proto::SEQ_MAX]).len(), 1);
        assert_eq!(offered(&mut place, BOUNDS, &[chat_proto::SEQ_MAX]), []);
        assert!(!place.is_behind());
    }
}
