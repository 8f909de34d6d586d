//! The way of an event from a worker to the one who sends it.
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use chat_proto::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc;

use super::{Told, WebhookEvent};

/// Events that wait to be put into the queue: a burst of one turn of all workers.
const HANDED_MAX: usize = 4096;

/// Events that wait to be sent.
const WAITING_MAX: usize = 10_000;

/// Bytes of those, and of those that wait to be put there.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// What became of events since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookCounts {
    /// Taken by the receiver.
    pub sent: u64,
    /// Given up: after their last attempt, or since the receiver was gone.
    pub failed: u64,
    /// Of these, those of which the receiver said that it was gone (410).
    pub gone: u64,
    /// Dropped, since too many waited.
    pub dropped: u64,
    /// That wait, the one that is being sent included.
    pub waiting: u64,
    /// Attempts that are made again, by why they failed.
    pub retried: WebhookRetries,
}

/// Attempts that failed and are made again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookRetries {
    /// There was no connection, or none that could be trusted.
    pub connection: u64,
    /// There was no answer in time.
    pub timeout: u64,
    /// The answer was none of success.
    pub status: u64,
}

/// Where workers put events. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Hooks {
    sender: mpsc::Sender<Bytes>,
    events: Arc<[WebhookEvent]>,
    counts: Arc<Counts>,
}

/// Where the one who sends takes them.
pub(crate) struct Receiving {
    pub(super) receiver: mpsc::Receiver<Bytes>,
    pub(super) counts: Arc<Counts>,
}

#[derive(Default)]
pub(super) struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
    gone: AtomicU64,
    dropped: AtomicU64,
    waiting: AtomicU64,
    /// In the order of [`Again`].
    retried: [AtomicU64; 3],
    bytes: AtomicUsize,
}

/// Why an attempt is made again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Again {
    Connection,
    Timeout,
    Status,
}

/// Makes the way of events.
pub(crate) fn channel(events: &[WebhookEvent]) -> (Hooks, Receiving) {
    let (sender, receiver) = mpsc::channel(HANDED_MAX);
    let counts = Arc::new(Counts::default());
    (
        Hooks { sender, events: events.into(), counts: counts.clone() },
        Receiving { receiver, counts },
    )
}

impl Hooks {
    /// Tells whether an event is to be sent.
    pub(crate) fn wants(&self, event: WebhookEvent) -> bool {
        self.events.contains(&event)
    }

    /// Sends an event some time, or drops it; it never waits.
    pub(crate) fn push(&self, event: WebhookEvent, ts: Timestamp, data: impl Serialize) {
        if !self.wants(event) {
            return;
        }
        let Ok(body) = serde_json::to_vec(&Told::new(event, ts, data)) else { return };
        let body = Bytes::from(body);
        let bytes = body.len();
        // Twice the bound: the one who sends drops the oldest at the bound itself.
        let before = self.counts.enters(bytes);
        if before + bytes > 2 * WAITING_BYTES_MAX || self.sender.try_send(body).is_err() {
            self.counts.leaves(bytes);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> WebhookCounts {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { sent, failed, gone, dropped, waiting, retried, .. } = &*self.counts;
        let [connection, timeout, status] = retried.each_ref().map(get);
        WebhookCounts {
            sent: get(sent),
            failed: get(failed),
            gone: get(gone),
            dropped: get(dropped),
            waiting: get(waiting),
            retried: WebhookRetries { connection, timeout, status },
        }
    }
}

impl Counts {
    fn enters(&self, bytes: usize) -> usize {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed)
    }

    fn leaves(&self, bytes: usize) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.leaves(bytes);
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, bytes: usize) {
        self.leaves(bytes);
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn gone(&self, bytes: usize) {
        self.gone.fetch_add(1, Ordering::Relaxed);
        self.failed(bytes);
    }

    pub(super) fn again(&self, why: Again) {
        self.retried[why as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Events that wait to be sent, the oldest first.
pub(super) struct Waiting {
    events: VecDeque<Bytes>,
    bytes: usize,
    counts: Arc<Counts>,
    /// Events are being dropped: told once, until none has been for a while.
    dropping: bool,
}

impl Waiting {
    pub(super) fn new(counts: Arc<Counts>) -> Self {
        Self { events: VecDeque::new(), bytes: 0, counts, dropping: false }
    }

    pub(super) fn push(&mut self, event: Bytes) {
        self.bytes += event.len();
        self.events.push_back(event);
        while self.events.len() > WAITING_MAX || self.bytes > WAITING_BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.len();
            self.counts.leaves(oldest.len());
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            if !std::mem::replace(&mut self.dropping, true) {
                tracing::warn!("too many webhook events wait: the oldest are dropped");
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let Some(event) = self.events.pop_front() else {
            if std::mem::take(&mut self.dropping) {
                let dropped = self.counts.dropped.load(Ordering::Relaxed);
                tracing::info!(dropped, "webhook events are sent again");
            }
            return None;
        };
        self.bytes -= event.len();
        Some(event)
    }
}
