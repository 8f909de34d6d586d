//! What the workers are made of, and what they share.
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use axum::Router;
use chat_state::{Config, HubId, Peers, TimeValues};
use tokio::sync::{oneshot, watch};

use super::{Builder, StartError};
#[cfg(feature = "tls")]
use crate::accept::Security;
use crate::accept::{HttpLimits, join_reuseport, listen_reuseport};
use crate::auth::{Gate, Revocations};
use crate::broker::{Broker, LocalBroker};
use crate::clock::Clock;
use crate::http::{self, FrameBytes, Health, HttpState, Identify, Page, Readiness};
use crate::log::{MemoryLog, RoomLog};
use crate::metrics::{Edges, Metrics, WorkerCounts};
use crate::random;
use crate::server::moderation::Moderation;
use crate::server::publish::Publishing;
use crate::server::thread::{self, Keeper, Life, LineListener, Listeners};
use crate::server::{RunningWorker, Shared, Sharing};
#[cfg(feature = "tls")]
use crate::tls::TlsIdentity;
use crate::worker::{self, Inbox, Parts, WorkerHandle};

/// How often a worker asks a log that other processes may share where its rooms end.
const SHARED_POLL_MS: u64 = 1000;

/// Both ends of the way to a worker, and what it counts.
pub(super) struct End {
    handle: WorkerHandle,
    inbox: Inbox,
    counts: Arc<WorkerCounts>,
}

impl Default for End {
    fn default() -> Self {
        let (handle, inbox) = worker::channel();
        Self { handle, inbox, counts: Arc::default() }
    }
}

/// Where entries and signals go, and who is told of them.
pub(super) struct Seams {
    pub(super) log: Arc<dyn RoomLog>,
    pub(super) broker: Arc<dyn Broker>,
    #[cfg(feature = "webhooks")]
    pub(super) hooks: Option<crate::webhooks::Hooks>,
    /// The thread that tells.
    #[cfg(feature = "webhooks")]
    pub(super) telling: Option<std::thread::JoinHandle<()>>,
}

/// What all that is started has in common.
pub(super) struct Common {
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Metrics,
    pub(super) life: Life,
}

impl Builder {
    pub(super) fn seams(&self) -> Seams {
        Seams {
            log: self.log.clone().unwrap_or_else(|| Arc::new(MemoryLog::default())),
            broker: self.broker.clone().unwrap_or_else(|| Arc::new(LocalBroker::default())),
            #[cfg(feature = "webhooks")]
            hooks: None,
            #[cfg(feature = "webhooks")]
            telling: None,
        }
    }

    pub(super) fn common(
        &self,
        ends: &[End],
        seams: &Seams,
        (clock, life): (Clock, Life),
    ) -> Common {
        let handles: Vec<_> = ends.iter().map(|end| end.handle.clone()).collect();
        let shared = self.shared(handles, seams, clock);
        let workers = ends.iter().map(|end| (end.handle.clone(), end.counts.clone())).collect();
        let watched = (shared.readiness.clone(), shared.health.clone());
        let edges = Edges {
            door: self.admission.clone(),
            #[cfg(feature = "tls")]
            identities: shared.identities.clone(),
            #[cfg(feature = "webhooks")]
            hooks: shared.hooks.clone(),
        };
        let metrics = Metrics::new(workers, clock, watched, edges);
        Common { shared: Arc::new(shared), metrics, life }
    }

    fn shared(&self, handles: Vec<WorkerHandle>, seams: &Seams, clock: Clock) -> Shared {
        let Seams { log, broker, .. } = seams;
        let revoked = Arc::<Revocations>::default();
        let gate = self.authenticator.clone();
        let gate = gate.map(|known| Arc::new(Gate::new(known, clock, revoked.clone())));
        if let Some(gate) = &gate {
            gate.set_workers(handles.clone());
        }
        let moderation = Moderation::new(log.clone(), clock, handles.clone(), revoked);
        Shared {
            handles,
            next: 0.into(),
            readiness: Readiness::default(),
            health: Health::new(log.clone(), broker.clone(), clock),
            frame_bytes: FrameBytes::new(self.limits.frame_bytes),
            message_bytes: self.limits.message_bytes.into(),
            moderation: moderation.into(),
            gate,
            log: log.clone(),
            broker: broker.clone(),
            clock,
            published: Publishing::default(),
            drain: watch::Sender::new(false),
            #[cfg(feature = "webhooks")]
            hooks: seams.hooks.clone(),
            #[cfg(feature = "tls")]
            identities: self.identities(),
            secure: self.is_secure(),
            origins: self.origins.clone(),
            hosts: self.hosts.clone(),
        }
    }

    pub(super) fn start_worker(
        &self,
        (index, end): (usize, End),
        common: &Common,
        listeners: (Option<StdListener>, Option<StdListener>),
    ) -> Result<RunningWorker, StartError> {
        let End { handle, inbox, counts } = end;
        let shared = &common.shared;
        let (drained_tx, drained) = oneshot::channel();
        let hub = random::hub(shared.clock.now().wall);
        shared.broker.connect(hub, Arc::new(handle.clone()));
        let parts = Parts {
            index,
            config: self.config(hub, &*shared.log),
            log: Arc::clone(&shared.log),
            broker: Arc::clone(&shared.broker),
            clock: shared.clock,
            gate: shared.gate.clone(),
            counts,
            trace_sample: self.trace_sample,
            drained: drained_tx,
            #[cfg(feature = "webhooks")]
            hooks: shared.hooks.clone(),
        };
        let mut listeners = self.listeners(common, &handle, listeners)?;
        if index == 0 {
            listeners.keeper = Keeper::This;
            #[cfg(feature = "tls")]
            {
                listeners.watched = self.identities();
            }
        }
        let thread = thread::start(index, (parts, inbox), listeners, common.life.clone()).map_err(
            |error| {
                shared.broker.disconnect(hub);
                StartError::Thread(error)
            },
        )?;
        Ok(RunningWorker { handle, drained: Some(drained), thread: Some(thread) })
    }

    fn config(&self, hub: HubId, log: &dyn RoomLog) -> Config {
        let mut config = Config { hub, ..Config::default() };
        let log = log.capabilities();
        let alone = self.workers == 1 && self.broker.is_none() && !log.shared;
        // A single Hub does not say by itself who comes and goes.
        #[cfg(feature = "webhooks")]
        let alone = alone && self.webhooks.is_none();
        config.peers = if alone { Peers::None } else { Peers::Some };
        config.durability = log.durability;
        config.limits = self.limits.clone();
        config.times = self.times.clone();
        if log.shared {
            // No signal comes from another process.
            let poll_ms = config.times.poll_ms.min(SHARED_POLL_MS);
            let times = TimeValues { poll_ms, ..config.times.values().clone() };
            config.times = times.build().expect("both intervals are within bounds");
        }
        config
    }

    fn listeners(
        &self,
        common: &Common,
        handle: &WorkerHandle,
        (http, lines): (Option<StdListener>, Option<StdListener>),
    ) -> Result<Listeners, StartError> {
        let mut listeners = Listeners::new(Arc::clone(&common.shared.moderation));
        if let Some(listener) = http {
            let router = self.router(common, handle)?;
            let (head_time, connections) = (self.handshake_timeout, self.http_connections);
            let limits = HttpLimits { head_time, connections };
            let admission = self.admission.clone().proxy_protocol(self.proxy_protocol);
            let security = self.http_security.clone();
            listeners.http = Some((listener, security, router, limits, admission));
        }
        if let Some(listener) = lines {
            let admission = self.admission.clone().proxy_protocol(self.lines_proxy_protocol);
            listeners.lines = Some(LineListener {
                listener,
                security: self.lines_security.clone(),
                handle: handle.clone(),
                frame_bytes: common.shared.frame_bytes.clone(),
                admission: (admission, self.handshake_timeout),
            });
        }
        Ok(listeners)
    }

    /// The identities of the listeners, each once.
    #[cfg(feature = "tls")]
    fn identities(&self) -> Vec<TlsIdentity> {
        let mut all: Vec<TlsIdentity> = Vec::new();
        for security in [&self.http_security, &self.lines_security] {
            if let Security::Tls(identity, _) = security
                && !all.iter().any(|other| other.shares_files_with(identity))
            {
                all.push(identity.clone());
            }
        }
        all
    }

    fn identify(&self) -> Identify {
        match (&self.authenticator, &self.auth_cookie) {
            (None, _) => Identify::ByName,
            (Some(_), None) => Identify::ByHeader,
            (Some(_), Some(name)) => Identify::ByCookie(name.clone()),
        }
    }

    /// A worker's connections stay on its thread, so each worker has a router of its own.
    fn router(&self, common: &Common, handle: &WorkerHandle) -> Result<Router, StartError> {
        let mut state = self.http_state(common, handle);
        state.metrics = Some(common.metrics.clone()).filter(|_| self.has_metrics_beside());
        http::router(state, self.page.clone()).map_err(|error| match &self.page {
            Page::Folder(path) => StartError::WebDir { path: path.clone(), error },
            Page::Embedded | Page::None => StartError::Thread(error),
        })
    }

    pub(super) fn http_state(&self, common: &Common, handle: &WorkerHandle) -> HttpState {
        HttpState {
            attach: Arc::new(handle.clone()),
            origins: self.origins.clone(),
            hosts: self.hosts.clone(),
            identify: self.identify(),
            frame_bytes: common.shared.frame_bytes.clone(),
            readiness: common.shared.readiness.clone(),
            health: Some(common.shared.health.clone()),
            metrics: None,
        }
    }

    #[cfg(not(feature = "metrics"))]
    #[expect(clippy::unused_self, reason = "with the feature it has a meaning")]
    const fn has_metrics_beside(&self) -> bool {
        false
    }
}

/// One listener a worker, or none.
type Bound = (Option<SocketAddr>, Vec<Option<StdListener>>);

pub(super) fn bind(
    address: Option<SocketAddr>,
    workers: usize,
    sharing: Sharing,
) -> Result<Bound, StartError> {
    let Some(address) = address else {
        return Ok((None, std::iter::repeat_with(|| None).take(workers).collect()));
    };
    let listeners = match sharing {
        Sharing::Nobody => listen_reuseport(address, workers),
        Sharing::Servers => join_reuseport(address, workers),
    };
    let listeners = listeners.map_err(|error| StartError::Listen { address, error })?;
    let chosen = listeners.first().and_then(|first| first.local_addr().ok());
    Ok((chosen, listeners.into_iter().map(Some).collect()))
}
