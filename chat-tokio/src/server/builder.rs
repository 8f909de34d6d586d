//! Describing and starting a server.
#[cfg(feature = "metrics")]
mod watchers;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chat_proto::{Limits, LimitsError};
use chat_state::{Config, HubId, Peers, Times};
use tokio::sync::{oneshot, watch};

use super::thread::{self, LineListener, Listeners};
use super::{RunningWorker, Server, Shared, Sharing};
use crate::accept::{
    Admission, HttpLimits, ProxyProtocol, Security, join_reuseport, listen_reuseport,
};
use crate::auth::{Authenticator, Gate};
use crate::broker::{Broker, LocalBroker};
use crate::clock::Clock;
use crate::http::{
    self, FrameBytes, Health, Hosts, HttpState, Identify, Origins, Page, Readiness, Ready,
};
use crate::live::Live;
use crate::log::{MemoryLog, RoomLog};
use crate::metrics::{Metrics, WorkerCounts};
#[cfg(feature = "tls")]
use crate::tls::{Spoken, TlsIdentity};
use crate::worker::{self, Inbox, Parts, WorkerHandle};

/// Workers of one process at most: each is a thread with its own listener.
const WORKERS_MAX: usize = 1024;

/// How often a worker asks a log that other processes may share where its rooms end.
const SHARED_POLL_MS: u64 = 1000;

/// What a server is made of. Everything has a default: one worker, a log in memory, no listener.
pub struct Builder {
    log: Option<Arc<dyn RoomLog>>,
    broker: Option<Arc<dyn Broker>>,
    limits: Limits,
    times: Times,
    workers: usize,
    listen: Option<SocketAddr>,
    listen_lines: Option<SocketAddr>,
    #[cfg(feature = "metrics")]
    metrics_listen: Option<SocketAddr>,
    trace_sample: Option<NonZeroU32>,
    http_security: Security,
    lines_security: Security,
    sharing: Sharing,
    page: Page,
    origins: Live<Origins>,
    hosts: Live<Hosts>,
    authenticator: Option<Arc<dyn Authenticator>>,
    auth_cookie: Option<Arc<str>>,
    admission: Admission,
    proxy_protocol: ProxyProtocol,
    lines_proxy_protocol: ProxyProtocol,
    handshake_timeout: Duration,
    drain_timeout: Duration,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            log: None,
            broker: None,
            limits: Limits::default(),
            times: Times::default(),
            workers: 1,
            listen: None,
            listen_lines: None,
            #[cfg(feature = "metrics")]
            metrics_listen: None,
            trace_sample: None,
            http_security: Security::Plain,
            lines_security: Security::Plain,
            sharing: Sharing::Nobody,
            page: Page::Embedded,
            origins: Live::default(),
            hosts: Live::default(),
            authenticator: None,
            auth_cookie: None,
            admission: Admission::default(),
            proxy_protocol: ProxyProtocol::Off,
            lines_proxy_protocol: ProxyProtocol::Off,
            handshake_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Builder {
    /// Keeps entries in this log. Default: a [`MemoryLog`], which forgets them with the process.
    #[must_use]
    pub fn log(mut self, log: Arc<dyn RoomLog>) -> Self {
        self.log = Some(log);
        self
    }

    /// Carries signals between the workers, and to whoever else it reaches, over this broker.
    /// Default: a [`LocalBroker`]. The workers are Hubs 0, 1, 2 and so on of it.
    #[must_use]
    pub fn broker(mut self, broker: Arc<dyn Broker>) -> Self {
        self.broker = Some(broker);
        self
    }

    /// Sets the limits; they are checked at the start.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets heartbeats, deadlines and the like.
    #[must_use]
    pub fn times(mut self, times: Times) -> Self {
        self.times = times;
        self
    }

    /// Runs this many workers, 1 to 1024. Each is a thread with a Hub.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Serves HTTP and WebSocket here; port 0 lets the system choose.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Serves lines of JSON over TCP here; port 0 lets the system choose.
    #[must_use]
    pub fn listen_lines(mut self, address: SocketAddr) -> Self {
        self.listen_lines = Some(address);
        self.lines_security = Security::Plain;
        self
    }

    /// Speaks TLS under this identity where HTTP and WebSocket are served. Pages of the same host
    /// then have to come by `https`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, identity: TlsIdentity) -> Self {
        self.http_security = Security::Tls(identity, Spoken::Http);
        self
    }

    /// Serves lines of JSON over TLS here, instead of over bare TCP; port 0 lets the system choose.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn listen_tls_lines(mut self, address: SocketAddr, identity: TlsIdentity) -> Self {
        self.listen_lines = Some(address);
        self.lines_security = Security::Tls(identity, Spoken::Lines);
        self
    }

    /// Serves metrics at `/metrics` here, beside `/healthz` and `/readyz`, on a thread of its own;
    /// port 0 lets the system choose. At the address of [`listen`](Self::listen) they are beside
    /// the page. Default: nowhere.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics_listen(mut self, address: SocketAddr) -> Self {
        self.metrics_listen = Some(address);
        self
    }

    /// Makes a `tracing` span for one of so many requests, at the level `INFO`: with the request's
    /// id, the session and the room, until the reply. Default: for none.
    #[must_use]
    pub fn trace_sample(mut self, one_of: Option<NonZeroU32>) -> Self {
        self.trace_sample = one_of;
        self
    }

    /// Shares the addresses with another server of the same user that does so, too, so that one can
    /// take the other's place: both are given new connections until one begins to shut down; from
    /// then on it listens no more. What the two have in common is the log: it has to be one that
    /// processes can share, or each has rooms of its own. Default: nobody else may listen there.
    #[must_use]
    pub fn share_port(mut self) -> Self {
        self.sharing = Sharing::Servers;
        self
    }

    /// Serves this at `/`. Default: the page in the crate.
    #[must_use]
    pub fn page(mut self, page: Page) -> Self {
        self.page = page;
        self
    }

    /// Sets which web pages may connect. Default: those of the same host.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins.into();
        self
    }

    /// Sets by which names the server may be called. Default: `localhost` and IP addresses.
    #[must_use]
    pub fn hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts.into();
        self
    }

    /// Lets in whom this knows. Default: everybody, under the name that they choose.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Takes the credential from the cookie of this name, too, from pages whose origin is allowed.
    /// It counts only with an [`authenticator`](Self::authenticator).
    #[must_use]
    pub fn auth_cookie(mut self, name: &str) -> Self {
        self.auth_cookie = Some(name.into());
        self
    }

    /// Sets how many connections there may be and which proxies are trusted. Default: 1000 of each
    /// address but this machine's, and no proxies.
    #[must_use]
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// Sets whether connections for HTTP begin with a header of the PROXY protocol. Default: no.
    #[must_use]
    pub fn proxy_protocol(mut self, proxy_protocol: ProxyProtocol) -> Self {
        self.proxy_protocol = proxy_protocol;
        self
    }

    /// Sets the same for lines. Default: no.
    #[must_use]
    pub fn lines_proxy_protocol(mut self, proxy_protocol: ProxyProtocol) -> Self {
        self.lines_proxy_protocol = proxy_protocol;
        self
    }

    /// A header of the PROXY protocol, a handshake of TLS, a request's head, and a `chat.v1`
    /// client's `hello` may each take this long. Default: 10 s.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// A shutdown takes at most this long. Default: 10 s.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Binds the listeners and starts the workers.
    ///
    /// # Errors
    /// Says what can't be done and why. Nothing is left running then.
    pub fn start(mut self) -> Result<Server, StartError> {
        self.limits.check().map_err(StartError::Limits)?;
        if self.workers == 0 || self.workers > WORKERS_MAX {
            return Err(StartError::Workers(self.workers));
        }
        self.times.hello_ms = self.handshake_timeout.as_millis().try_into().unwrap_or(u64::MAX);
        let (listening, http) = bind(self.listen, self.workers, self.sharing)?;
        let (lines, line_listeners) = bind(self.listen_lines, self.workers, self.sharing)?;
        #[cfg(feature = "metrics")]
        let watching = self.bind_metrics()?;
        let (stop, stopping) = watch::channel(false);
        let (leave, leaving) = watch::channel(false);
        let (fail, failed) = watch::channel(false);
        let ends: Vec<End> = (0..self.workers).map(|_| End::default()).collect();
        let origins = (*self.origins.get()).clone().over(self.is_secure());
        self.origins.set(origins.into());
        let common = self.common(&ends, thread::Life { stopping, leaving, failed: fail });
        let mut server = Server {
            workers: Vec::with_capacity(self.workers),
            shared: Arc::default(),
            metrics: common.metrics.clone(),
            listening,
            lines,
            #[cfg(feature = "metrics")]
            watchers: None,
            drain_timeout: self.drain_timeout,
            sharing: self.sharing,
            leave,
            stop,
            failed,
        };
        #[cfg(feature = "metrics")]
        if let Some((address, listener)) = watching {
            server.watchers = Some((address, self.serve_metrics(listener, &common, &ends)?));
        }
        let mut listeners = http.into_iter().zip(line_listeners);
        for (index, end) in ends.into_iter().enumerate() {
            let listeners = listeners.next().unwrap_or_default();
            // What was started before an error ends with the half-made server.
            server.workers.push(self.start_worker((index, end), &common, listeners)?);
        }
        common.readiness.set(Ready::Ready);
        let handles: Vec<_> = server.workers.iter().map(|worker| worker.handle.clone()).collect();
        let Common { readiness, frame_bytes, gate, health, .. } = common;
        if let Some(gate) = &gate {
            gate.set_workers(handles.clone());
        }
        let shared = Shared {
            handles,
            next: 0.into(),
            readiness,
            frame_bytes,
            gate,
            health,
            #[cfg(feature = "tls")]
            identities: self.identities(),
            secure: self.is_secure(),
            origins: self.origins,
            hosts: self.hosts,
        };
        server.shared = Arc::new(shared);
        Ok(server)
    }

    fn common(&self, ends: &[End], life: thread::Life) -> Common {
        let clock = Clock::start();
        let log = self.log.clone().unwrap_or_else(|| Arc::new(MemoryLog::default()));
        let broker = self.broker.clone().unwrap_or_else(|| Arc::new(LocalBroker::default()));
        let health = Health::new(log.clone(), broker.clone(), clock);
        let readiness = Readiness::default();
        let workers = ends.iter().map(|end| (end.handle.clone(), end.counts.clone())).collect();
        let metrics = Metrics::new(workers, clock, (readiness.clone(), health.clone()));
        let gate = self.authenticator.clone().map(|known| Arc::new(Gate::new(known, clock)));
        let frame_bytes = FrameBytes::new(self.limits.frame_bytes);
        let health = Some(health);
        Common { log, broker, clock, gate, readiness, health, metrics, frame_bytes, life }
    }

    fn start_worker(
        &self,
        (index, end): (usize, End),
        common: &Common,
        (http, lines): (Option<StdListener>, Option<StdListener>),
    ) -> Result<RunningWorker, StartError> {
        let End { handle, inbox, counts } = end;
        let (drained_tx, drained) = oneshot::channel();
        let hub = HubId(u32::try_from(index).unwrap_or(u32::MAX));
        common.broker.connect(hub, Arc::new(handle.clone()));
        let mut config = Config { hub, ..Config::default() };
        let log = common.log.capabilities();
        let alone = self.workers == 1 && self.broker.is_none() && !log.shared;
        config.peers = if alone { Peers::None } else { Peers::Some };
        config.durability = log.durability;
        config.limits = self.limits.clone();
        config.times = self.times.clone();
        if log.shared {
            // No signal comes from another process.
            config.times.poll_ms = config.times.poll_ms.min(SHARED_POLL_MS);
        }
        let parts = Parts {
            config,
            log: Arc::clone(&common.log),
            broker: Arc::clone(&common.broker),
            clock: common.clock,
            gate: common.gate.clone(),
            counts,
            trace_sample: self.trace_sample,
            drained: drained_tx,
        };
        let mut listeners = Listeners::default();
        if let Some(listener) = http {
            let router = self.router(common, &handle)?;
            let limits = HttpLimits { head_time: self.handshake_timeout, ..HttpLimits::default() };
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
                frame_bytes: common.frame_bytes.clone(),
                admission: (admission, self.handshake_timeout),
            });
        }
        #[cfg(feature = "tls")]
        if index == 0 {
            listeners.watched = self.identities();
        }
        let thread = thread::start(index, (parts, inbox), listeners, common.life.clone())
            .map_err(StartError::Thread)?;
        Ok(RunningWorker { handle, drained: Some(drained), thread: Some(thread) })
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

    /// Tells whether HTTP is spoken over TLS.
    fn is_secure(&self) -> bool {
        !matches!(self.http_security, Security::Plain)
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

    fn http_state(&self, common: &Common, handle: &WorkerHandle) -> HttpState {
        HttpState {
            attach: Arc::new(handle.clone()),
            origins: self.origins.clone(),
            hosts: self.hosts.clone(),
            identify: self.identify(),
            frame_bytes: common.frame_bytes.clone(),
            readiness: common.readiness.clone(),
            health: common.health.clone(),
            metrics: None,
        }
    }

    #[cfg(not(feature = "metrics"))]
    #[expect(clippy::unused_self, reason = "with the feature it has a meaning")]
    const fn has_metrics_beside(&self) -> bool {
        false
    }
}

/// Both ends of the way to a worker, and what it counts.
struct End {
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

/// What all workers share.
struct Common {
    log: Arc<dyn RoomLog>,
    broker: Arc<dyn Broker>,
    clock: Clock,
    gate: Option<Arc<Gate>>,
    readiness: Readiness,
    health: Option<Health>,
    metrics: Metrics,
    frame_bytes: FrameBytes,
    life: thread::Life,
}

/// One listener a worker, or none.
type Bound = (Option<SocketAddr>, Vec<Option<StdListener>>);

fn bind(
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

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("workers", &self.workers)
            .field("listen", &self.listen)
            .field("listen_lines", &self.listen_lines)
            .finish_non_exhaustive()
    }
}

/// Why a server does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A limit is out of bounds.
    Limits(LimitsError),
    /// That many workers are not possible.
    Workers(usize),
    /// An address can't be listened on.
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The folder of the user's own page can't be served.
    WebDir {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The system gives no thread or no runtime.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limits(error) => error.fmt(f),
            Self::Workers(n) => write!(f, "{n} workers are not possible: 1 to {WORKERS_MAX} are"),
            Self::Listen { address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "cannot listen on {address}: the port is in use")
            }
            Self::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::WebDir { path, error } => {
                write!(f, "cannot serve the folder {}: {error}", path.display())
            }
            Self::Thread(error) => write!(f, "cannot start a worker: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
