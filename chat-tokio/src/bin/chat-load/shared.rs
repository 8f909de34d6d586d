//! What the threads and the one that directs them tell each other.
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::plan::Plan;

/// What is being done; it only goes on, never back. A later phase includes what is left of those
/// before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Connect,
    Join,
    /// All is made and nothing is sent.
    Rest,
    /// Messages are sent, and not measured.
    Warm,
    Measure,
    /// Nothing more is sent; what is on its way comes in.
    Drain,
    /// Those who have not read do so.
    Thaw,
    Leave,
    End,
}

impl Phase {
    const ALL: [Self; 9] = [
        Self::Connect,
        Self::Join,
        Self::Rest,
        Self::Warm,
        Self::Measure,
        Self::Drain,
        Self::Thaw,
        Self::Leave,
        Self::End,
    ];
}

/// One for all threads.
#[derive(Debug)]
pub(crate) struct Shared {
    phase: AtomicU8,
    meters: Vec<Meter>,
}

/// What one thread tells while it runs, once in each round of its loop.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) connected: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) joined: AtomicU64,
    /// Joins that were refused or cut off.
    pub(crate) unjoined: AtomicU64,
    /// Connections that were made and have ended.
    pub(crate) closed: AtomicU64,
    /// Senders that have something left to send, and a connection for it.
    pub(crate) active: AtomicU64,
    /// Deliveries that the sent messages have to cause.
    pub(crate) offered: AtomicU64,
    pub(crate) received: AtomicU64,
    /// Reads that brought something, to see whether anything comes at all.
    pub(crate) reads: AtomicU64,
    /// The same of those who read late.
    pub(crate) slow_received: AtomicU64,
    /// Connections that have not ended, in whatever state.
    pub(crate) open: AtomicU64,
    /// When the last connection was made, in nanoseconds.
    pub(crate) connected_ns: AtomicU64,
    pub(crate) joined_ns: AtomicU64,
    /// When the last delivery came.
    pub(crate) received_ns: AtomicU64,
    /// The phase that all of the above is of. It is written last and read first: what a thread has
    /// done in the phase before is in the other numbers then.
    phase: AtomicU64,
}

impl Shared {
    pub(crate) fn new(plan: &Plan) -> Self {
        let meters = (0..plan.threads).map(|thread| {
            let meter = Meter::default();
            let senders = plan.share(thread).filter(|at| plan.role(*at).sender.is_some()).count();
            meter.active.store(senders as u64, Ordering::Relaxed);
            meter
        });
        Self { phase: AtomicU8::new(0), meters: meters.collect() }
    }

    pub(crate) fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Acquire))]
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Tells whether every thread has gone on so far, and told what it did before.
    pub(crate) fn all_in(&self, phase: Phase) -> bool {
        self.meters.iter().all(|meter| meter.phase.load(Ordering::Acquire) >= phase as u64)
    }

    pub(crate) fn meter(&self, thread: u32) -> &Meter {
        &self.meters[thread as usize]
    }

    pub(crate) fn sum(&self, of: impl Fn(&Meter) -> &AtomicU64) -> u64 {
        self.meters.iter().map(|meter| of(meter).load(Ordering::Acquire)).sum()
    }

    pub(crate) fn latest(&self, of: impl Fn(&Meter) -> &AtomicU64) -> u64 {
        self.meters.iter().map(|meter| of(meter).load(Ordering::Acquire)).max().unwrap_or(0)
    }
}

impl Meter {
    pub(crate) fn reached(&self, phase: Phase) {
        self.phase.store(phase as u64, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_numbered_in_their_order() {
        for (number, phase) in (0..).zip(Phase::ALL) {
            assert_eq!(phase as u8, number);
        }
    }
}
