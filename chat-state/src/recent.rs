//! The newest entries of a room, kept for those who join or lag.
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{Entry, Seq};

/// A contiguous run of entries that ends at the room's cursor, bounded in number and bytes.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

/// The bounds of a [`Recent`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

impl Recent {
    /// Appends the next entry and drops the oldest ones beyond the bounds.
    pub(crate) fn push(&mut self, entry: Arc<Entry>, bounds: Bounds) {
        if let Some(last) = self.entries.back() {
            debug_assert_eq!(last.seq.next(), entry.seq, "the run is contiguous");
        }
        self.bytes += entry.body.size();
        self.entries.push_back(entry);
        while self.entries.len() > bounds.entries || self.bytes > bounds.bytes {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.body.size();
        }
    }

    /// Drops everything: the run is broken.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Tells whether the run has every entry from here to the cursor.
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

    /// Returns the newest entries of a range that fit, in order.
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

    /// Returns the oldest entries of a range that fit, in order.
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
