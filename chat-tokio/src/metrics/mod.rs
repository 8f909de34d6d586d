//! What a server counts: [`Metrics`] reads it, [`Snapshot`] holds it.
//!
//! Each worker counts for itself, in memory that nobody else writes to; whoever reads adds up. What
//! would have to be kept up to date with each delivery (how much waits in outboxes, how many are
//! congested) is not counted but looked at, by the worker, when it is asked for.
//!
//! Times from the receipt of a message on are those of one message at a time on each worker: the
//! next one that comes after the last write of the one before. Only the worker's own members count.
//!
//! ```
//! use chat_tokio::Server;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder().start()?;
//! let snapshot = server.metrics().snapshot().await;
//! assert_eq!(snapshot.value("chat_connections", &[("dialect", "basic")]), Some(0.0));
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `metrics` there are `Snapshot::encode`, the text of Prometheus, and
//! `Builder::metrics_listen`, a listener that serves it.
mod count;
mod edges;
#[cfg(feature = "metrics")]
mod encode;
mod families;
mod family;
mod kinds;
#[cfg(feature = "metrics")]
mod serve;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

pub use self::family::{Family, Kind, Sample, Value};
use crate::clock::Clock;
use crate::http::{Health, HealthReport, Readiness, Ready};
use crate::worker::{Look, WorkerHandle};

pub(crate) use self::count::WorkerCounts;
pub(crate) use self::edges::Edges;
#[cfg(feature = "metrics")]
pub use self::encode::CONTENT_TYPE;
pub(crate) use self::kinds::{DIALECTS, Received, Sent, place_of};
#[cfg(feature = "metrics")]
pub(crate) use self::serve::{answer, start};

/// Reads what a server counts, for as long as the server exists and after. Cloning shares it.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    workers: Vec<(WorkerHandle, Arc<WorkerCounts>)>,
    /// What the workers last answered.
    looked: Mutex<Looked>,
    clock: Clock,
    readiness: Readiness,
    health: Health,
    edges: Edges,
}

/// What there was when somebody last looked.
#[derive(Default)]
struct Looked {
    at: Option<Duration>,
    gauges: Vec<Gauges>,
}

/// What a worker has at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauges {
    /// Whether the worker has answered; if not, the rest is what it said before.
    pub(crate) answered: bool,
    pub(crate) connections: [u64; 2],
    pub(crate) outbox_bytes: u64,
    pub(crate) congested: u64,
    pub(crate) sessions: u64,
    pub(crate) away: u64,
    pub(crate) rooms: u64,
    pub(crate) members: u64,
    pub(crate) catch_ups: u64,
    pub(crate) busy: Duration,
}

/// What a snapshot is made of.
struct Seen<'a> {
    workers: Vec<(&'a WorkerCounts, &'a Gauges)>,
    ready: Ready,
    health: HealthReport,
    edges: &'a Edges,
}

/// A worker looks at each of its connections and rooms to answer, so it is not asked more often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A worker that takes longer is in trouble, which the metrics have to tell.
const LOOK_TIME_MAX: Duration = Duration::from_secs(1);

impl Metrics {
    pub(crate) fn new(
        workers: Vec<(WorkerHandle, Arc<WorkerCounts>)>,
        clock: Clock,
        (readiness, health): (Readiness, Health),
        edges: Edges,
    ) -> Self {
        let looked = Mutex::default();
        Self { shared: Arc::new(Shared { workers, looked, clock, readiness, health, edges }) }
    }

    /// Reads everything. Workers, log and broker are asked how they are, those at most once in
    /// 0.1 s and these in 1 s; it takes a few seconds if one of them does not answer.
    ///
    /// Has to be called inside a tokio runtime.
    pub async fn snapshot(&self) -> Snapshot {
        let shared = &*self.shared;
        let health = shared.health.check().await;
        let mut looked = shared.looked.lock().await;
        let now = shared.clock.since_start();
        if looked.at.is_none_or(|at| now.saturating_sub(at) >= LOOK_EVERY) {
            shared.look(&mut looked.gauges).await;
            looked.at = Some(shared.clock.since_start());
        }
        let counts = shared.workers.iter().map(|(_, counts)| &**counts);
        let workers = counts.zip(&looked.gauges).collect();
        let ready = shared.readiness.get();
        let seen = Seen { workers, ready, health, edges: &shared.edges };
        Snapshot { families: families::families(&seen) }
    }
}

impl Shared {
    /// Asks all workers at once.
    async fn look(&self, gauges: &mut Vec<Gauges>) {
        gauges.resize(self.workers.len(), Gauges::default());
        let ask = |(handle, _): &(WorkerHandle, _)| {
            let handle = handle.clone();
            tokio::time::timeout(LOOK_TIME_MAX, async move { handle.ask(Look::Gauges).await })
        };
        let answers = futures_util::future::join_all(self.workers.iter().map(ask)).await;
        for (gauges, answer) in gauges.iter_mut().zip(answers) {
            match answer {
                Ok(Some(answer)) => *gauges = answer,
                Ok(None) | Err(_) => gauges.answered = false,
            }
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("workers", &self.shared.workers.len()).finish()
    }
}

/// What a server had counted at some time.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    families: Vec<Family>,
}

impl Snapshot {
    /// Returns all metrics. Each has its samples, also those that are 0.
    #[must_use]
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// Returns a value by the metric's name and all its labels, in any order; of a histogram how
    /// many there were. `None`: there is no such metric, or none with these labels.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let family = self.families.iter().find(|family| family.name == name)?;
        let sample = family.samples.iter().find(|sample| {
            sample.labels.len() == labels.len()
                && sample.labels.iter().all(|(name, value)| labels.contains(&(*name, &**value)))
        })?;
        Some(sample.value.as_f64())
    }
}
