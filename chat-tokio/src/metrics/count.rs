//! What a worker counts: numbers that one thread changes and others read.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chat_proto::{CloseCode, Dialect, ErrorCode};
use chat_state::{AppendError, Appended, Outcome};

use super::kinds::{Received, Sent, place_of};

/// A number that only one thread changes, which needs no locked instruction for that.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}

/// How long something took, in microseconds: how often up to each of [`BOUNDS_US`], and longer.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) buckets: [Count; BOUNDS_US.len() + 1],
    pub(crate) sum_us: Count,
}

/// From what a local fan-out takes to what an append may take.
pub(crate) const BOUNDS_US: [u64; 18] = [
    50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

impl Times {
    pub(crate) fn note(&self, took: Duration) {
        let us = micros(took);
        self.buckets[BOUNDS_US.partition_point(|bound| *bound < us)].add(1);
        self.sum_us.add(us);
    }
}

/// Frames of one dialect.
#[derive(Debug)]
pub(crate) struct Frames<const KINDS: usize> {
    pub(crate) frames: [Count; KINDS],
    pub(crate) bytes: [Count; KINDS],
}

impl<const KINDS: usize> Default for Frames<KINDS> {
    fn default() -> Self {
        let none = || std::array::from_fn(|_| Count::default());
        Self { frames: none(), bytes: none() }
    }
}

/// What one worker has counted since it began. Its own cache lines: no other thread writes there.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct WorkerCounts {
    pub(crate) opened: Count,
    /// Connections beyond the limit.
    pub(crate) turned_away: Count,
    pub(crate) received: [Frames<{ Received::COUNT }>; 2],
    pub(crate) sent: [Frames<{ Sent::COUNT }>; 2],
    /// Replies by their code, in the order of [`ErrorCode::ALL`], then all others.
    pub(crate) errors: [Count; ErrorCode::ALL.len() + 1],
    /// Closes from this side, in the order of [`CloseCode::ALL`].
    pub(crate) closes: [Count; CloseCode::ALL.len()],
    /// Peers that said goodbye.
    pub(crate) left: Count,
    /// Connections that broke.
    pub(crate) lost: Count,
    /// Connections whose outbox went over its mark.
    pub(crate) congestions: Count,
    /// How often a connection was not read for a while.
    pub(crate) pauses: Count,
    pub(crate) drafts: Count,
    /// Messages that the log took, without those that it had already.
    pub(crate) messages: Count,
    /// Batches that the log took, refused, and those of which it did not know.
    pub(crate) appends: [Count; 3],
    /// Reads that the log answered, and those that failed.
    pub(crate) reads: [Count; 2],
    pub(crate) signals_sent: Count,
    pub(crate) signals_received: Count,
    /// How often signals were lost.
    pub(crate) signal_losses: Count,
    /// A call of the log's `append`.
    pub(crate) append: Times,
    /// From a message's receipt to its commit, to its last outbox, to its last write.
    pub(crate) commit: Times,
    pub(crate) enqueue: Times,
    pub(crate) write: Times,
    busy: Busy,
}

impl WorkerCounts {
    pub(crate) fn note_received(&self, dialect: Dialect, kind: Received, bytes: usize) {
        let of = &self.received[place_of(dialect)];
        of.frames[kind as usize].add(1);
        of.bytes[kind as usize].add(bytes as u64);
    }

    /// Some outboxes got a frame of so many bytes.
    pub(crate) fn note_sent(&self, dialect: Dialect, kind: Sent, bytes: u64, outboxes: u64) {
        let of = &self.sent[place_of(dialect)];
        of.frames[kind as usize].add(outboxes);
        of.bytes[kind as usize].add(bytes * outboxes);
    }

    pub(crate) fn note_error(&self, code: ErrorCode) {
        let known = ErrorCode::ALL.iter().position(|known| *known == code);
        self.errors[known.unwrap_or(ErrorCode::ALL.len())].add(1);
    }

    pub(crate) fn note_close(&self, code: CloseCode) {
        if let Some(at) = CloseCode::ALL.iter().position(|known| *known == code) {
            self.closes[at].add(1);
        }
    }

    /// Returns how many frames of a kind were put in outboxes.
    pub(crate) fn sent(&self, kind: Sent) -> u64 {
        self.sent.iter().map(|of| of.frames[kind as usize].get()).sum()
    }

    /// Returns how many connections were closed with each code.
    pub(crate) fn closes(&self) -> impl Iterator<Item = (CloseCode, u64)> {
        CloseCode::ALL.iter().zip(&self.closes).map(|(code, count)| (*code, count.get()))
    }

    /// The log has answered a call that took so long.
    pub(crate) fn note_appends(&self, results: &[Result<Appended, AppendError>], took: Duration) {
        self.append.note(took);
        let outcomes = results.iter().flatten().flat_map(|appended| &appended.outcomes);
        let new = outcomes.filter(|outcome| matches!(outcome, Outcome::New { .. }));
        self.messages.add(new.count() as u64);
        for result in results {
            self.appends[match result {
                Ok(_) => 0,
                Err(AppendError::Refused(_)) => 1,
                Err(AppendError::Unknown(_)) => 2,
            }]
            .add(1);
        }
    }

    pub(crate) fn note_read<T, E>(&self, result: &Result<T, E>) {
        self.reads[usize::from(result.is_err())].add(1);
    }

    /// The worker's thread goes on at this time of its clock.
    pub(crate) fn wakes(&self, now: Duration) {
        self.busy.since_us.set(micros(now));
    }

    /// The worker's thread has nothing to do from this time on.
    pub(crate) fn rests(&self, now: Duration) {
        self.busy.total_us.set(micros(self.busy(now)));
        self.busy.since_us.set(micros(now));
    }

    /// Returns how long the thread has worked. Asked by itself, while it works.
    pub(crate) fn busy(&self, now: Duration) -> Duration {
        let running = micros(now).saturating_sub(self.busy.since_us.get());
        Duration::from_micros(self.busy.total_us.get() + running)
    }
}

/// The time that a worker's thread did not wait.
#[derive(Debug, Default)]
struct Busy {
    total_us: Count,
    /// When it last went on, by the server's clock.
    since_us: Count,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_up_to_its_bound() {
        let times = Times::default();
        for us in [0, 50, 51, 30_000_000, 30_000_001] {
            times.note(Duration::from_micros(us));
        }
        let counted = |at: usize| times.buckets[at].get();
        assert_eq!((counted(0), counted(1), counted(17), counted(18)), (2, 1, 1, 1));
        assert_eq!(times.sum_us.get(), 60_000_102);
    }

    #[test]
    fn a_thread_that_rests_is_not_busy() {
        let counts = WorkerCounts::default();
        let at = Duration::from_micros;
        counts.wakes(at(10));
        assert_eq!(counts.busy(at(15)), at(5));
        counts.rests(at(20));
        counts.wakes(at(100));
        assert_eq!(counts.busy(at(100)), at(10));
        counts.rests(at(101));
        counts.wakes(at(500));
        assert_eq!(counts.busy(at(501)), at(12));
    }
}
