//! What has happened, as one thread counts it, and all of them together.
use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;

/// How often something has happened for which reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reasons(BTreeMap<String, u64>);

impl Reasons {
    pub(crate) fn add(&mut self, reason: impl Into<String>) {
        self.add_many(reason, 1);
    }

    pub(crate) fn add_many(&mut self, reason: impl Into<String>, count: u64) {
        *self.0.entry(reason.into()).or_default() += count;
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(reason, count)| (&**reason, *count))
    }

    pub(crate) fn has(&self, reason: &str) -> bool {
        self.0.contains_key(reason)
    }

    fn merge(&mut self, other: &Self) {
        for (reason, count) in &other.0 {
            self.add_many(reason.clone(), *count);
        }
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (reason, count)) in self.iter().enumerate() {
            let between = if place == 0 { "" } else { "; " };
            write!(f, "{between}{count} × {reason}")?;
        }
        Ok(())
    }
}

/// Times, from a microsecond to an hour, to three digits.
#[derive(Clone, Debug)]
pub(crate) struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let times = Histogram::new_with_bounds(MICROSECOND_NS, HOUR_NS, 3);
        Self(times.expect("these bounds are in order, with three digits"))
    }
}

impl Times {
    pub(crate) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns a quantile in microseconds.
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile).min(self.0.max()) as f64 / MICROSECOND_NS as f64
    }

    pub(crate) fn max_us(&self) -> f64 {
        self.0.max() as f64 / MICROSECOND_NS as f64
    }

    fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }
}

const MICROSECOND_NS: u64 = 1000;
const HOUR_NS: u64 = 3_600_000_000_000;

/// Counts and times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connected: u64,
    pub(crate) connect_times: Times,
    /// Connections that were not made.
    pub(crate) failures: Reasons,
    /// Connections that were made and that the server, or a fault, has ended.
    pub(crate) closes: Reasons,
    pub(crate) joined: u64,
    pub(crate) join_times: Times,
    pub(crate) join_failures: Reasons,
    /// Notices that somebody has joined or left.
    pub(crate) join_notices: u64,
    pub(crate) leave_notices: u64,
    pub(crate) heartbeats: u64,

    pub(crate) sent: u64,
    /// Those of `sent` that the server has refused, by its error.
    pub(crate) refused: Reasons,
    /// Other errors of the server.
    pub(crate) errors: Reasons,
    pub(crate) acked: u64,
    /// Sends that had to wait because the connection did not take them.
    pub(crate) held_back: u64,
    /// Sends that were more than [`LATE_NS`](super::senders::LATE_NS) behind the rate.
    pub(crate) late: u64,
    /// Messages whose sender stopped waiting for them.
    pub(crate) given_up: u64,

    /// Deliveries to those who read, each once.
    pub(crate) received: u64,
    pub(crate) repeated: u64,
    pub(crate) out_of_order: u64,
    /// Deliveries of another room, or another run.
    pub(crate) foreign: u64,
    /// Those of `received` that came while it was measured.
    pub(crate) measured: u64,
    pub(crate) latency: Times,
    /// Entries that the server told members to page for.
    pub(crate) gaps: u64,

    pub(crate) slow: SlowTally,
    pub(crate) reads: u64,
}

/// The same of those who do not read.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlowTally {
    pub(crate) members: u64,
    /// Deliveries that they got in the end.
    pub(crate) received: u64,
    pub(crate) repeated: u64,
    /// Entries that the server told them to page for.
    pub(crate) gaps: u64,
    /// Those that the server has cut off, and how.
    pub(crate) closes: Reasons,
}

impl Tally {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.connect_times.merge(&other.connect_times);
        self.join_times.merge(&other.join_times);
        self.latency.merge(&other.latency);
        for (sum, more) in [
            (&mut self.failures, &other.failures),
            (&mut self.closes, &other.closes),
            (&mut self.join_failures, &other.join_failures),
            (&mut self.refused, &other.refused),
            (&mut self.errors, &other.errors),
            (&mut self.slow.closes, &other.slow.closes),
        ] {
            sum.merge(more);
        }
        for (sum, more) in [
            (&mut self.connected, other.connected),
            (&mut self.joined, other.joined),
            (&mut self.join_notices, other.join_notices),
            (&mut self.leave_notices, other.leave_notices),
            (&mut self.heartbeats, other.heartbeats),
            (&mut self.sent, other.sent),
            (&mut self.acked, other.acked),
            (&mut self.held_back, other.held_back),
            (&mut self.late, other.late),
            (&mut self.given_up, other.given_up),
            (&mut self.received, other.received),
            (&mut self.repeated, other.repeated),
            (&mut self.out_of_order, other.out_of_order),
            (&mut self.foreign, other.foreign),
            (&mut self.measured, other.measured),
            (&mut self.gaps, other.gaps),
            (&mut self.slow.members, other.slow.members),
            (&mut self.slow.received, other.slow.received),
            (&mut self.slow.repeated, other.slow.repeated),
            (&mut self.slow.gaps, other.slow.gaps),
            (&mut self.reads, other.reads),
        ] {
            *sum += more;
        }
    }

    /// Returns the messages that the server has to deliver.
    pub(crate) fn accepted(&self) -> u64 {
        self.sent - self.refused.count()
    }
}
