//! Sends events, on a thread of its own.
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;

use super::WebhookOptions;
use super::queue::{Receiving, Waiting};
use crate::clock::Clock;
use crate::random;

/// Attempts of one event: with their pauses about two minutes.
const ATTEMPTS_MAX: u32 = 8;

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Bytes of an answer that are read, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Starts the thread; it ends when it is told to, whatever waits then.
pub(crate) fn start(
    options: WebhookOptions,
    receiving: Receiving,
    clock: Clock,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("chat-webhooks".to_owned());
    thread.spawn(move || {
        let sender = Sender::new(options, clock);
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
        }
    }
}

/// What became of an event.
enum Done {
    Sent,
    GivenUp,
}

struct Sender {
    options: WebhookOptions,
    client: Client<HttpConnector, Body>,
    clock: Clock,
}

impl Sender {
    fn new(options: WebhookOptions, clock: Clock) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        Self { options, client, clock }
    }

    async fn send_until_done(&self, event: Bytes) -> Done {
        let id = format!("msg_{}", random::letters::<26>());
        for attempt in 1..=ATTEMPTS_MAX {
            let sending = self.send(&id, event.clone());
            let why = match tokio::time::timeout(self.options.deadline, sending).await {
                Ok(Ok(())) => return Done::Sent,
                Ok(Err(Failure::Gone)) => {
                    tracing::warn!(id, "the webhook's receiver is gone (410): given up");
                    return Done::GivenUp;
                }
                Ok(Err(Failure::Again(why))) => why,
                Err(_) => "it was not answered in time".to_owned(),
            };
            if attempt == ATTEMPTS_MAX {
                tracing::warn!(id, %why, "a webhook event is given up");
                return Done::GivenUp;
            }
            tracing::debug!(id, attempt, %why, "a webhook event is sent again later");
            tokio::time::sleep(self.pause(attempt)).await;
        }
        Done::GivenUp
    }

    async fn send(&self, id: &str, body: Bytes) -> Result<(), Failure> {
        let again = |why: &dyn std::fmt::Display| Failure::Again(why.to_string());
        let timestamp = (self.clock.now().wall.0 / 1000).to_string();
        let signature = self.options.secret.sign(id, &timestamp, &body);
        let request = Request::post(&self.options.url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("chat-server/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Body::from(body))
            .map_err(|error| again(&error))?;
        let response = self.client.request(request).await.map_err(|error| again(&error))?;
        let status = response.status();
        // It says nothing that counts; once it is read, its connection serves the next event.
        let _ = to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await;
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(Failure::Gone),
            status => Err(Failure::Again(format!("it was answered with {status}"))),
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
    Again(String),
    Gone,
}
