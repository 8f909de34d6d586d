//! The newest entries of a room, kept for members that join or lag.
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{Entry, Seq};

/// A contiguous run of entries that ends at the room's cursor, bounded by [`Bounds`].
#[derive(Debug, Default)]
pub(crate) struct Recent {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

/// The bounds of a [`Recent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) entries: u32,
    /// Bytes of the bodies.
    pub(crate) bytes: u32,
}

impl Recent {
    /// Appends the next entry and drops the oldest ones beyond the bounds.
    pub(super) fn push(&mut self, entry: Arc<Entry>, bounds: Bounds) {
        if let Some(last) = self.entries.back() {
            debug_assert_eq!(last.seq.next(), entry.seq, "the run is contiguous");
        }
        self.bytes += entry.body.size();
        self.entries.push_back(entry);
        while self.entries.len() > bounds.entries as usize || self.bytes > bounds.bytes as usize {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.body.size();
        }
    }

    /// Replaces the run by a page that ends at `last`. A page with holes, or with another end, is
    /// not used.
    pub(super) fn fill(&mut self, page: Vec<Arc<Entry>>, last: Seq, bounds: Bounds) {
        self.clear();
        let is_run = page.windows(2).all(|pair| pair[0].seq.next() == pair[1].seq);
        if is_run && page.last().is_some_and(|newest| newest.seq == last) {
            page.into_iter().for_each(|entry| self.push(entry, bounds));
        }
    }

    /// Drops all entries.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns true if the run has every entry from `from` to the cursor.
    pub(crate) fn covers(&self, from: Seq, cursor: Seq) -> bool {
        from > cursor || self.entries.front().is_some_and(|first| first.seq <= from)
    }

    /// Returns the entries of a range that the run covers.
    pub(crate) fn range(&self, from: Seq, to: Seq) -> impl Iterator<Item = &Arc<Entry>> {
        let first = self.entries.front().map_or(0, |e| e.seq.get());
        let start = usize::try_from(from.get().saturating_sub(first)).unwrap_or(usize::MAX);
        let end = usize::try_from((to.get() + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let end = end.min(self.entries.len());
        self.entries.range(start.min(end)..end)
    }

    /// Returns the newest entries of a range that fit into `bytes`, in order; at least one.
    pub(crate) fn newest(&self, from: Seq, to: Seq, bytes: usize) -> Vec<Arc<Entry>> {
        let all: Vec<_> = self.range(from, to).cloned().collect();
        let mut left = bytes;
        let fits = all.iter().rev().enumerate().take_while(|(i, entry)| {
            let fit = entry.body.size() <= left || *i == 0;
            left = left.saturating_sub(entry.body.size());
            fit
        });
        let count = fits.count();
        all[all.len() - count..].to_vec()
    }

    /// Returns the oldest entries of a range that fit into `bytes`, in order; at least one.
    pub(crate) fn oldest(&self, from: Seq, to: Seq, bytes: usize) -> Vec<Arc<Entry>> {
        let mut left = bytes;
        let fits = self.range(from, to).enumerate().take_while(|(i, entry)| {
            let fit = entry.body.size() <= left || *i == 0;
            left = left.saturating_sub(entry.body.size());
            fit
        });
        fits.map(|(_, entry)| entry.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::tail::tests::{entry, seq};

    fn run(from: u64, to: u64, bounds: Bounds) -> Recent {
        let mut recent = Recent::default();
        (from..=to).for_each(|n| recent.push(entry(n, "four"), bounds));
        recent
    }

    fn seqs<'a>(entries: impl IntoIterator<Item = &'a Arc<Entry>>) -> Vec<u64> {
        entries.into_iter().map(|entry| entry.seq.get()).collect()
    }

    #[test]
    fn the_oldest_entries_beyond_the_bounds_are_dropped() {
        let by_count = run(1, 10, Bounds { entries: 3, bytes: 1000 });
        assert_eq!(seqs(by_count.range(Seq::ZERO, seq(99))), [8, 9, 10]);
        assert!(by_count.covers(seq(8), seq(10)) && !by_count.covers(seq(7), seq(10)));
        let by_bytes = run(1, 10, Bounds { entries: 99, bytes: 9 });
        assert_eq!(seqs(by_bytes.range(Seq::ZERO, seq(99))), [9, 10]);
        let none = run(1, 10, Bounds { entries: 0, bytes: 0 });
        assert!(!none.covers(seq(10), seq(10)) && none.covers(seq(11), seq(10)));
    }

    #[test]
    fn ranges_are_cut_to_what_fits() {
        let recent = run(4, 9, Bounds { entries: 99, bytes: 1000 });
        assert_eq!(seqs(recent.range(seq(5), seq(7))), [5, 6, 7]);
        assert_eq!(seqs(&recent.newest(seq(4), seq(8), 9)), [7, 8]);
        assert_eq!(seqs(&recent.oldest(seq(5), seq(9), 9)), [5, 6]);
        assert_eq!(seqs(&recent.newest(seq(4), seq(8), 0)), [8]);
        assert_eq!(seqs(&recent.oldest(seq(5), seq(9), 0)), [5]);
        assert_eq!(seqs(&recent.newest(seq(8), seq(7), 9)), [] as [u64; 0]);
    }

    #[test]
    fn a_page_that_is_no_run_up_to_the_head_is_not_used() {
        let bounds = Bounds { entries: 99, bytes: 1000 };
        let page = |seqs: &[u64]| seqs.iter().map(|n| entry(*n, "x")).collect::<Vec<_>>();
        let mut recent = Recent::default();
        recent.fill(page(&[3, 4, 5]), seq(5), bounds);
        assert!(recent.covers(seq(3), seq(5)));
        recent.fill(page(&[3, 5]), seq(5), bounds);
        assert!(!recent.covers(seq(5), seq(5)));
        recent.fill(page(&[3, 4]), seq(5), bounds);
        assert!(!recent.covers(seq(5), seq(5)));
    }
}
