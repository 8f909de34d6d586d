//! Which entries of a room a read answers with.
use chat_proto::Seq;
use chat_state::{LogHead, ReadRange};

/// Returns the first and the last place of a range that the log holds, or `None` if it holds none.
pub(crate) fn clip(range: &ReadRange, head: &LogHead) -> Option<(Seq, Seq)> {
    let (from, to) = (range.from.max(head.first), range.to.min(head.last));
    (range.limit > 0 && from <= to).then_some((from, to))
}

/// What a read may still take.
#[derive(Debug)]
pub(crate) struct Budget {
    entries: u32,
    bytes: u64,
    untouched: bool,
}

impl Budget {
    /// Takes the limits of a range.
    pub(crate) fn of(range: &ReadRange) -> Self {
        Self { entries: range.limit, bytes: range.bytes.into(), untouched: true }
    }

    /// Tells whether one more entry, whose body has this many bytes, fits, and counts it. The
    /// first always fits, whatever its size.
    pub(crate) fn admits(&mut self, size: usize) -> bool {
        let size = size as u64;
        if self.entries == 0 || (size > self.bytes && !self.untouched) {
            return false;
        }
        self.entries -= 1;
        self.bytes = self.bytes.saturating_sub(size);
        self.untouched = false;
        true
    }
}
