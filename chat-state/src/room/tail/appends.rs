//! Drafts on their way to the log: a queue and one batch in flight.
use alloc::vec::Vec;

use super::{AskId, Effect, NotAppended};
use crate::ids::Mono;
use crate::log::Draft;

/// The largest number of drafts in one batch. A batch waits for one fsync, and its answer is
/// handled in one turn.
pub(super) const BATCH_DRAFTS: usize = 256;
/// The largest size of the bodies in one batch; one draft always fits.
pub(super) const BATCH_BYTES: usize = 1 << 20;

/// The largest capacity of a list that is kept for the next batch.
const SPARE_MAX: usize = 16;

/// Drafts on their way to the log.
#[derive(Debug)]
pub(super) struct Appends<T> {
    /// Drafts that wait. At most [`TailConfig::drafts_max`](super::TailConfig::drafts_max), and one
    /// of each author that the owner has not refused but stopped reading.
    pub(super) queue: Vec<Queued<T>>,
    pub(super) in_flight: Option<Batch<T>>,
    /// An empty list that the next batch reuses, to save an allocation.
    spare: Vec<Queued<T>>,
    /// The owner was told since the last batch that drafts can be appended.
    pub(super) ready: bool,
    /// The deadline for which the timer is armed. It often belongs to an earlier batch that was
    /// answered: to arm the timer for each batch would cost every message a search of the timers.
    pub(super) armed: Option<Mono>,
}

#[derive(Debug)]
pub(super) struct Queued<T> {
    pub(super) ticket: T,
    pub(super) draft: Draft,
}

#[derive(Debug)]
pub(super) struct Batch<T> {
    pub(super) id: AskId,
    pub(super) due: Mono,
    pub(super) drafts: Vec<Queued<T>>,
}

impl<T> Default for Appends<T> {
    fn default() -> Self {
        Self { queue: Vec::new(), in_flight: None, spare: Vec::new(), ready: false, armed: None }
    }
}

impl<T> Appends<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_none()
    }

    /// Settles the drafts that wait, because they cannot be appended.
    pub(super) fn refuse_queue(&mut self, out: &mut Vec<Effect<T>>) {
        settle_all(&mut self.queue, NotAppended::Refused, out);
    }

    pub(super) fn push(&mut self, queued: Queued<T>) {
        if self.queue.capacity() == 0 {
            // Most rooms have one message at a time.
            self.queue.reserve_exact(1);
        }
        self.queue.push(queued);
    }

    /// Takes the drafts of the next batch.
    pub(super) fn next_batch(&mut self) -> Vec<Queued<T>> {
        let count = batch_len(&self.queue);
        let mut batch = core::mem::take(&mut self.spare);
        if count == self.queue.len() {
            core::mem::swap(&mut batch, &mut self.queue);
        } else {
            batch.extend(self.queue.drain(..count));
        }
        batch
    }

    /// Keeps the list of a settled batch, unless it is larger than most batches need.
    pub(super) fn keep(&mut self, batch: Vec<Queued<T>>) {
        debug_assert!(batch.is_empty(), "a settled batch");
        if batch.capacity() <= SPARE_MAX {
            self.spare = batch;
        }
    }

    /// Returns the deadline for which the timer is to be armed, if it is not armed early enough.
    pub(super) fn arm(&mut self, due: Mono) -> Option<Mono> {
        if self.armed.is_some_and(|armed| armed <= due) {
            return None;
        }
        self.armed = Some(due);
        Some(due)
    }
}

pub(super) fn settle_all<T>(
    batch: &mut Vec<Queued<T>>,
    why: NotAppended,
    out: &mut Vec<Effect<T>>,
) {
    let settled = |Queued { ticket, draft }| {
        let ts = draft.ts;
        Effect::Settled { ticket, ts, outcome: Err(why) }
    };
    out.extend(batch.drain(..).map(settled));
}

/// Counts the drafts of the next batch.
fn batch_len<T>(queue: &[Queued<T>]) -> usize {
    let mut bytes = 0;
    for (count, queued) in queue.iter().take(BATCH_DRAFTS).enumerate() {
        bytes += queued.draft.body.size() + 1;
        if bytes > BATCH_BYTES && count > 0 {
            return count;
        }
    }
    queue.len().min(BATCH_DRAFTS)
}
