//! Whether the server can do its work: `/readyz`.
//!
//! A probe appends an entry to a room of its own, which clients can't name and no list shows, and
//! trims the one before it, so that the room has one entry; and it sends a signal through the
//! broker, which has to come back.
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use chat_proto::{Body, DisplayName, RoomName, Seq, UserId};
use chat_state::{Digest, Draft, HubId, Lost, Outcome, Signal, SignalTo};
use http::StatusCode;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{HttpState, Ready, text};
use crate::broker::{Broker, SignalSink};
use crate::clock::Clock;
use crate::escape::Escaped;
use crate::log::{RoomBatch, RoomLog};
use crate::random;

/// An answer counts for this long: however often somebody asks, this is how often log and broker
/// are.
const FRESH: Duration = Duration::from_secs(1);

/// How long an answer of the log or of the broker may take.
const PROBE_TIME_MAX: Duration = Duration::from_secs(2);

/// As long as a long message: a short one may find a place on a full disk where no other does.
const PROBE_BYTES: usize = 8192;

/// The room of the probe.
const ROOM: &str = "~health";

/// The sender of the probe's signals, which is not a Hub.
const ASKER: HubId = HubId { node: 0, incarnation: 0 };

/// Answers `GET /readyz`.
pub(super) async fn readyz(State(state): State<HttpState>) -> Response {
    let report = match (&state.health, state.readiness.get()) {
        (Some(health), Ready::Ready) => health.check().await,
        (None, Ready::Ready) | (_, Ready::Starting | Ready::Draining) => HealthReport::default(),
    };
    // A drain may have begun in the meantime.
    let troubles = match state.readiness.get() {
        Ready::Ready => report.to_string(),
        Ready::Starting => "starting\n".to_owned(),
        Ready::Draining => "draining\n".to_owned(),
    };
    if troubles.is_empty() {
        return text(StatusCode::OK, "ready\n");
    }
    text(StatusCode::SERVICE_UNAVAILABLE, troubles)
}

/// Finds out whether the log takes appends and the broker brings signals back. Cloning shares it.
#[derive(Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

struct Shared {
    log: Arc<dyn RoomLog>,
    broker: Arc<dyn Broker>,
    clock: Clock,
    /// The id that the probe sends its signals to.
    echo_id: HubId,
    echo: Arc<Echo>,
    log_answer: Answer,
    broker_answer: Answer,
}

/// What a probe has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// What is wrong with the log.
    pub log: Result<(), String>,
    /// What is wrong with the broker.
    pub broker: Result<(), String>,
}

impl Default for HealthReport {
    /// Nothing is wrong.
    fn default() -> Self {
        Self { log: Ok(()), broker: Ok(()) }
    }
}

/// A line for each thing that is wrong.
impl fmt::Display for HealthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, result) in [("log", &self.log), ("broker", &self.broker)] {
            if let Err(why) = result {
                writeln!(f, "{name}: {}", Escaped(why))?;
            }
        }
        Ok(())
    }
}

impl Health {
    /// Probes this log and this broker, to which it connects itself.
    #[must_use]
    pub fn new(log: Arc<dyn RoomLog>, broker: Arc<dyn Broker>, clock: Clock) -> Self {
        let echo = Arc::new(Echo::default());
        let echo_id = random::hub(clock.now().wall);
        broker.connect(echo_id, echo.clone());
        let (log_answer, broker_answer) = (Answer::default(), Answer::default());
        let shared = Shared { log, broker, clock, echo_id, echo, log_answer, broker_answer };
        Self { shared: Arc::new(shared) }
    }

    /// Probes both, unless the last answers are less than a second old. It takes 2 seconds at the
    /// most. A log that does not answer is not asked again until it has.
    ///
    /// Has to be called inside a tokio runtime.
    pub async fn check(&self) -> HealthReport {
        let (log, broker) = tokio::join!(
            self.ask(|shared| &shared.log_answer, Self::probe_log),
            self.ask(|shared| &shared.broker_answer, Self::probe_broker),
        );
        HealthReport { log, broker }
    }

    /// Returns what was found lately, or begins a probe and waits for what it finds. The probe goes
    /// on by itself when whoever asked has gone.
    async fn ask<F>(&self, of: fn(&Shared) -> &Answer, probe: impl Fn(Self) -> F) -> Found
    where
        F: Future<Output = Found> + Send + 'static,
    {
        let told = &of(&self.shared).found;
        let mut found = told.subscribe();
        // A probe ends without an answer if its runtime does: then it is begun anew in this one.
        loop {
            let now = self.shared.clock.since_start();
            let mut mine = false;
            told.send_if_modified(|last| {
                mine = !last.probing && !last.is_fresh(now);
                if mine {
                    *last = Last { probing: true, ..Last::default() };
                }
                mine
            });
            if mine {
                let probing = Probing { health: self.clone(), of };
                tokio::spawn(probing.run(probe(self.clone())));
            }
            let settled = found.wait_for(|last| !last.probing || last.found.is_some()).await;
            if let Ok(Last { found: Some((_, found)), .. }) = settled.as_deref() {
                return found.clone();
            }
        }
    }

    async fn probe_log(self) -> Found {
        let Shared { log, clock, .. } = &*self.shared;
        let draft = Draft {
            user: UserId::new("health").expect("a plain word is a user"),
            username: DisplayName::new("health").expect("a plain word is a name"),
            key: None,
            ts: clock.now().wall,
            body: Body::Message { content: "x".repeat(PROBE_BYTES).into(), reply_to: None },
        };
        let room = RoomName::server(ROOM).expect("a reserved name");
        let drafts = vec![draft];
        let mut answers = log.append(vec![RoomBatch { room: room.clone(), drafts }]).await;
        let appended = match answers.pop() {
            Some(Ok(appended)) => appended,
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("it gave no answer to an append".to_owned()),
        };
        let [Outcome::New { seq }] = appended.outcomes[..] else {
            return Err(format!("it made {:?} of a new entry", appended.outcomes));
        };
        tokio::spawn(self.trim(room, seq));
        Ok(())
    }

    /// Leaves the last entry.
    async fn trim(self, room: RoomName, last: Seq) {
        if let Err(error) = self.shared.log.trim(room, last).await {
            tracing::warn!(%error, "the room of the health probe can't be trimmed");
        }
    }

    async fn probe_broker(self) -> Found {
        let Shared { broker, echo_id, echo, .. } = &*self.shared;
        let sent = echo.sent.fetch_add(1, Ordering::Relaxed) + 1;
        let mut came = echo.came.subscribe();
        let signal = Signal::Digest(Digest { at: sent, covers: None, lines: Vec::new() });
        broker.publish(ASKER, &SignalTo::Hub(*echo_id), signal);
        match timeout(PROBE_TIME_MAX, came.wait_for(|came| *came >= sent)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("a signal has not come back within {PROBE_TIME_MAX:?}")),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.broker.disconnect(self.echo_id);
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

type Found = Result<(), String>;

/// What the probes of one part have found, and those who wait for it.
#[derive(Default)]
struct Answer {
    found: watch::Sender<Last>,
}

#[derive(Default)]
struct Last {
    /// A probe has not ended: it may have found that there is no answer yet.
    probing: bool,
    found: Option<(Duration, Found)>,
}

impl Last {
    fn is_fresh(&self, now: Duration) -> bool {
        self.found.as_ref().is_some_and(|(at, _)| now.saturating_sub(*at) < FRESH)
    }
}

/// A probe of one part that has not ended.
struct Probing {
    health: Health,
    of: fn(&Shared) -> &Answer,
}

impl Probing {
    /// Runs the probe to its end, and tells after a time that there is none.
    async fn run(self, probe: impl Future<Output = Found>) {
        let mut probe = std::pin::pin!(probe);
        match timeout(PROBE_TIME_MAX, probe.as_mut()).await {
            Ok(found) => self.tell(found),
            Err(_) => {
                self.tell(Err(format!("it has not answered within {PROBE_TIME_MAX:?}")));
                self.tell(probe.await);
            }
        }
    }

    fn tell(&self, found: Found) {
        let shared = &*self.health.shared;
        let found = Some((shared.clock.since_start(), found));
        (self.of)(shared).found.send_modify(|last| last.found = found);
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        (self.of)(&self.health.shared).found.send_modify(|last| last.probing = false);
    }
}

/// Takes the probe's signals.
struct Echo {
    sent: AtomicU64,
    came: watch::Sender<u64>,
}

impl Default for Echo {
    fn default() -> Self {
        Self { sent: AtomicU64::new(0), came: watch::Sender::new(0) }
    }
}

impl SignalSink for Echo {
    fn signal(&self, from: HubId, signal: Signal) {
        // Signals to all Hubs arrive here, too.
        if let Signal::Digest(digest) = signal
            && from == ASKER
        {
            self.came.send_modify(|came| *came = digest.at.max(*came));
        }
    }

    fn lost(&self, _: Lost) {}
}
