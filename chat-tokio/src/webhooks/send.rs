//! Sends events, on a thread of its own.
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Request, StatusCode};
use tokio::sync::watch;

use super::WebhookOptions;
use super::queue::{Again, Counts, Receiving, Waiting};
use crate::clock::Clock;
use crate::outgoing::Outgoing;
use crate::random;

/// Attempts of one event: with their pauses about two minutes.
const ATTEMPTS_MAX: u32 = 8;

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Bytes of an answer that are read, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Starts the thread; it ends when it is told to, whatever waits then.
pub(crate) fn start(
    (options, client): (WebhookOptions, Outgoing),
    receiving: Receiving,
    clock: Clock,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("chat-webhooks".to_owned());
    thread.spawn(move || {
        let counts = receiving.counts.clone();
        let sender = Sender { options, client, clock, counts, failing: Cell::new(false) };
        runtime.block_on(async {
            tokio::select! {
                () = run(&sender, receiving) => {}
                // Nobody to tell is the same as having been told.
                _ = stopping.wait_for(|stop| *stop) => {}
            }
        });
    })
}

/// Sends one event after the other, and takes new ones in meanwhile.
async fn run(sender: &Sender, receiving: Receiving) {
    let Receiving { mut receiver, counts } = receiving;
    let mut waiting = Waiting::new(counts.clone());
    loop {
        while let Ok(event) = receiver.try_recv() {
            waiting.push(event);
        }
        let Some(event) = waiting.pop() else {
            let Some(event) = receiver.recv().await else { return };
            waiting.push(event);
            continue;
        };
        let bytes = event.len();
        let sending = sender.send_until_done(event);
        tokio::pin!(sending);
        let done = loop {
            tokio::select! {
                done = &mut sending => break done,
                Some(event) = receiver.recv() => waiting.push(event),
            }
        };
        match done {
            Done::Sent => counts.sent(bytes),
            Done::GivenUp => counts.failed(bytes),
            Done::Gone => counts.gone(bytes),
        }
    }
}

/// What became of an event.
enum Done {
    Sent,
    GivenUp,
    Gone,
}

struct Sender {
    options: WebhookOptions,
    client: Outgoing,
    clock: Clock,
    counts: Arc<Counts>,
    /// The last attempt failed: told once, until one does not.
    failing: Cell<bool>,
}

impl Sender {
    async fn send_until_done(&self, event: Bytes) -> Done {
        let id = format!("msg_{}", random::letters::<26>());
        for attempt in 1..=ATTEMPTS_MAX {
            let sending = self.send(&id, event.clone());
            let (kind, why) = match tokio::time::timeout(self.options.deadline, sending).await {
                Ok(Ok(())) => {
                    if self.failing.replace(false) {
                        tracing::info!("the webhook's receiver takes events again");
                    }
                    return Done::Sent;
                }
                Ok(Err(Failure::Gone)) => {
                    tracing::warn!(id, "the webhook's receiver is gone (410): given up");
                    return Done::Gone;
                }
                Ok(Err(Failure::Again(kind, why))) => (kind, why),
                Err(_) => (Again::Timeout, "it was not answered in time".to_owned()),
            };
            if attempt == ATTEMPTS_MAX {
                tracing::warn!(id, %why, "a webhook event is given up");
                return Done::GivenUp;
            }
            self.counts.again(kind);
            if self.failing.replace(true) {
                tracing::debug!(id, attempt, %why, "a webhook event is sent again later");
            } else {
                tracing::warn!(id, %why, "the webhook's receiver takes no events: they wait");
            }
            tokio::time::sleep(self.pause(attempt)).await;
        }
        Done::GivenUp
    }

    async fn send(&self, id: &str, body: Bytes) -> Result<(), Failure> {
        let unsent = |why: String| Failure::Again(Again::Connection, why);
        let timestamp = (self.clock.now().wall.0 / 1000).to_string();
        let signature = self.options.secret.sign(id, &timestamp, &body);
        let request = Request::post(&self.options.url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("chat-server/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Body::from(body))
            .map_err(|error| unsent(error.to_string()))?;
        let response = self.client.ask(request).await.map_err(unsent)?;
        let status = response.status();
        // It says nothing that counts; once it is read, its connection serves the next event.
        let _ = to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await;
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(Failure::Gone),
            status => Err(Failure::Again(Again::Status, format!("it was answered with {status}"))),
        }
    }

    /// Returns the pause after an attempt: between half and all of what doubles each time.
    fn pause(&self, attempt: u32) -> Duration {
        let whole = self.options.retry.saturating_mul(1 << (attempt - 1).min(16)).min(PAUSE_MAX);
        // Without randomness, the pause is the longest.
        let part = getrandom::u32().map_or(1.0, |n| f64::from(n) / f64::from(u32::MAX));
        whole.mul_f64(part.mul_add(0.5, 0.5))
    }
}

/// Why an attempt is none.
enum Failure {
    Again(Again, String),
    Gone,
}
