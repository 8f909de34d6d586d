//! Entries that have arrived before their turn.
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{Entry, Seq};

/// Entries that may wait for their turn. What is dropped is read from the log.
pub(super) const ENTRIES_MAX: usize = 1024;
/// Bytes ([`Entry::size`]) that may wait for their turn.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// Entries beyond the cursor, bounded by [`ENTRIES_MAX`] and [`BYTES_MAX`]. Those that are nearest
/// to the cursor are kept.
#[derive(Debug, Default)]
pub(super) struct OutOfOrder {
    entries: BTreeMap<Seq, Arc<Entry>>,
    bytes: usize,
}

impl OutOfOrder {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn insert(&mut self, entry: Arc<Entry>) {
        self.bytes += entry.size();
        if let Some(repeated) = self.entries.insert(entry.seq, entry) {
            self.bytes -= repeated.size();
        }
    }

    /// Drops the furthest entry if there are too many.
    pub(super) fn drop_excess(&mut self) -> Option<Seq> {
        if self.entries.len() <= ENTRIES_MAX && self.bytes <= BYTES_MAX {
            return None;
        }
        let (seq, furthest) = self.entries.pop_last()?;
        self.bytes -= furthest.size();
        Some(seq)
    }

    /// Takes the entry at a place and drops those before it.
    pub(super) fn take(&mut self, seq: Seq) -> Option<Arc<Entry>> {
        while let Some(first) = self.entries.first_entry()
            && *first.key() <= seq
        {
            let entry = first.remove();
            self.bytes -= entry.size();
            if entry.seq == seq {
                return Some(entry);
            }
        }
        None
    }

    /// Drops the entries after a place and returns their places.
    pub(super) fn drop_after(&mut self, place: Seq) -> Vec<Seq> {
        let dropped = self.entries.split_off(&place.next());
        self.bytes -= dropped.values().map(|entry| entry.size()).sum::<usize>();
        dropped.into_keys().collect()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::tail::tests::{entry, seq};

    fn keep(waiting: &mut OutOfOrder, n: u64, text: &str) {
        waiting.insert(entry(n, text));
        while waiting.drop_excess().is_some() {}
    }

    #[test]
    fn entries_are_bounded_in_number_and_the_nearest_are_kept() {
        let mut waiting = OutOfOrder::default();
        (2..=3000).rev().for_each(|n| keep(&mut waiting, n, "x"));
        assert_eq!(waiting.entries.len(), ENTRIES_MAX);
        (2..2 + ENTRIES_MAX as u64)
            .for_each(|n| assert_eq!(waiting.take(seq(n)).unwrap().seq, seq(n)));
        assert!(waiting.is_empty());
        assert_eq!(waiting.bytes, 0);
    }

    #[test]
    fn entries_are_bounded_in_bytes() {
        let text = "x".repeat(100_000);
        let mut waiting = OutOfOrder::default();
        (1..=100).for_each(|n| keep(&mut waiting, n, &text));
        assert!(waiting.bytes <= BYTES_MAX);
        assert!(waiting.bytes > BYTES_MAX - 200_000);
        assert!(waiting.entries.contains_key(&seq(1)));
    }

    #[test]
    fn a_repeated_entry_counts_once() {
        let mut waiting = OutOfOrder::default();
        waiting.insert(entry(5, "five"));
        let bytes = waiting.bytes;
        waiting.insert(entry(5, "five"));
        assert_eq!((waiting.entries.len(), waiting.bytes), (1, bytes));
    }

    #[test]
    fn taking_a_place_drops_what_lies_before_it() {
        let mut waiting = OutOfOrder::default();
        [3, 4, 7].into_iter().for_each(|n| waiting.insert(entry(n, "x")));
        assert!(waiting.take(seq(6)).is_none());
        assert_eq!(waiting.take(seq(7)).unwrap().seq, seq(7));
        assert!(waiting.is_empty());
    }

    #[test]
    fn what_lies_after_a_place_can_be_dropped() {
        let mut waiting = OutOfOrder::default();
        [3, 5, 7].into_iter().for_each(|n| waiting.insert(entry(n, "x")));
        assert_eq!(waiting.drop_after(seq(4)), [seq(5), seq(7)]);
        assert!(waiting.take(seq(3)).is_some());
        assert_eq!((waiting.is_empty(), waiting.bytes), (true, 0));
    }
}
