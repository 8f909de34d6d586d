//! Somebody well-behaved: reads everything, and in each room one says something now and then.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chat_proto::{Body, Joined, ServerFrame};
use tokio::time::{Interval, interval};

use super::{Shared, over};
use crate::client::{V1Client, message};

/// How often somebody says something in a room.
const EVERY: Duration = Duration::from_millis(500);

/// How long the deliveries of one phase took, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Seen {
    latencies: Mutex<Vec<u32>>,
}

impl Seen {
    /// Begins a phase and returns what was seen in the one before.
    pub(super) fn begin(&self) -> Vec<u32> {
        std::mem::take(&mut *self.latencies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(took);
    }
}

/// What became of a member.
#[derive(Debug)]
pub(super) struct Told {
    /// What was wrong, if anything was.
    pub(super) fault: Option<String>,
    pub(super) delivered: u64,
    pub(super) said: u64,
    pub(super) acked: u64,
}

pub(super) async fn run(
    (mut client, joined): (V1Client, Joined),
    (room, talks): (String, bool),
    shared: Arc<Shared>,
) -> Told {
    let mut told = Told { fault: None, delivered: 0, said: 0, acked: 0 };
    let mut at = joined.head.get();
    let mut stop = shared.stop.subscribe();
    let mut every = interval(EVERY);
    let mut stopped = false;
    // Who talks waits for the answer to the last thing, and then leaves.
    while told.fault.is_none() && (!stopped || told.acked < told.said) {
        tokio::select! {
            frame = client.next_untimed() => match frame {
                Some(ServerFrame::Entry(entry)) => {
                    at += 1;
                    if entry.seq.get() != at {
                        told.fault = Some(format!("{room}: {} instead of {at}", entry.seq));
                    }
                    told.delivered += 1;
                    if let Body::Message { content, .. } = &entry.body {
                        let sent = Duration::from_micros(content.parse().unwrap_or_default());
                        shared.seen.note(shared.clock.since_start().saturating_sub(sent));
                    }
                }
                Some(ServerFrame::Ack { seq: Some(_), .. }) => told.acked += 1,
                Some(ServerFrame::Join { .. } | ServerFrame::Leave { .. }) => {}
                Some(ServerFrame::Members { id: None, .. }) => {}
                Some(other) => told.fault = Some(format!("{room}: {other:?}")),
                None => told.fault = Some(format!("{room}: {:?}", client.socket.ending().await)),
            },
            () = due(&mut every, talks && !stopped) => {
                let stamp = shared.clock.since_start().as_micros().to_string();
                client.send(&message(&room, None, &stamp)).await;
                told.said += 1;
            }
            () = over(&mut stop), if !stopped => stopped = true,
        }
    }
    if told.fault.is_none() {
        client.socket.close().await;
    }
    told
}

async fn due(every: &mut Interval, talks: bool) {
    if talks {
        every.tick().await;
    } else {
        std::future::pending::<()>().await;
    }
}
