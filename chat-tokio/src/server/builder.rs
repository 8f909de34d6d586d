//! Describing and starting a server.
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chat_proto::{Limits, LimitsError};
use chat_state::{Config, HubId, Peers, Times};
use tokio::sync::{oneshot, watch};

use super::thread::{self, Listeners};
use super::{RunningWorker, Server, Shared, Sharing};
use crate::accept::{HttpLimits, join_reuseport, listen_reuseport};
use crate::auth::{Authenticator, Gate};
use crate::broker::{Broker, LocalBroker};
use crate::clock::Clock;
use crate::http::{self, FrameBytes, Hosts, HttpState, Identify, Origins, Page, Readiness, Ready};
use crate::log::{MemoryLog, RoomLog};
use crate::worker::{self, Parts, WorkerHandle};

/// Workers of one process at most: each is a thread with its own listener.
const WORKERS_MAX: usize = 1024;

/// How often a worker asks a log that other processes may share where its rooms end.
const SHARED_POLL_MS: u64 = 1000;

/// What a server is made of. Everything has a default: one worker, a log in memory, no listener.
pub struct Builder {
    log: Option<Arc<dyn RoomLog>>,
    limits: Limits,
    times: Times,
    workers: usize,
    listen: Option<SocketAddr>,
    listen_lines: Option<SocketAddr>,
    sharing: Sharing,
    page: Page,
    origins: Origins,
    hosts: Hosts,
    authenticator: Option<Arc<dyn Authenticator>>,
    auth_cookie: Option<Arc<str>>,
    handshake_timeout: Duration,
    drain_timeout: Duration,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            log: None,
            limits: Limits::default(),
            times: Times::default(),
            workers: 1,
            listen: None,
            listen_lines: None,
            sharing: Sharing::Nobody,
            page: Page::Embedded,
            origins: Origins::SameHost,
            hosts: Hosts::Any,
            authenticator: None,
            auth_cookie: None,
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
        self.origins = origins;
        self
    }

    /// Sets by which names the server may be called. Default: any.
    #[must_use]
    pub fn hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
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

    /// A request's head, and a `chat.v1` client's `hello`, may take this long. Default: 10 s.
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
        let (stop, stopping) = watch::channel(false);
        let (leave, leaving) = watch::channel(false);
        let (fail, failed) = watch::channel(false);
        let clock = Clock::start();
        let gate = self.authenticator.clone().map(|known| Arc::new(Gate::new(known, clock)));
        let common = Common {
            log: self.log.clone().unwrap_or_else(|| Arc::new(MemoryLog::default())),
            broker: Arc::new(LocalBroker::default()),
            clock,
            gate,
            readiness: Readiness::default(),
            frame_bytes: FrameBytes::new(self.limits.frame_bytes),
            life: thread::Life { stopping, leaving, failed: fail },
        };
        let mut server = Server {
            workers: Vec::with_capacity(self.workers),
            shared: Arc::default(),
            listening,
            lines,
            drain_timeout: self.drain_timeout,
            sharing: self.sharing,
            leave,
            stop,
            failed,
        };
        let mut listeners = http.into_iter().zip(line_listeners);
        for index in 0..self.workers {
            let listeners = listeners.next().unwrap_or_default();
            // What was started before an error ends with the half-made server.
            server.workers.push(self.start_worker(index, &common, listeners)?);
        }
        common.readiness.set(Ready::Ready);
        let handles = server.workers.iter().map(|worker| worker.handle.clone()).collect();
        let Common { readiness, frame_bytes, gate, .. } = common;
        server.shared = Arc::new(Shared { handles, next: 0.into(), readiness, frame_bytes, gate });
        Ok(server)
    }

    fn start_worker(
        &self,
        index: usize,
        common: &Common,
        (http, lines): (Option<StdListener>, Option<StdListener>),
    ) -> Result<RunningWorker, StartError> {
        let (handle, inbox) = worker::channel();
        let (drained_tx, drained) = oneshot::channel();
        let hub = HubId(u32::try_from(index).unwrap_or(u32::MAX));
        common.broker.connect(hub, Arc::new(handle.clone()));
        let mut config = Config { hub, ..Config::default() };
        let log = common.log.capabilities();
        config.peers = if self.workers > 1 || log.shared { Peers::Some } else { Peers::None };
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
            drained: drained_tx,
        };
        let mut listeners = Listeners::default();
        if let Some(listener) = http {
            let router = self.router(common, &handle)?;
            let limits = HttpLimits { head_time: self.handshake_timeout, ..HttpLimits::default() };
            listeners.http = Some((listener, router, limits));
        }
        if let Some(listener) = lines {
            listeners.lines = Some((listener, handle.clone(), common.frame_bytes.clone()));
        }
        let thread = thread::start(index, (parts, inbox), listeners, common.life.clone())
            .map_err(StartError::Thread)?;
        Ok(RunningWorker { handle, drained: Some(drained), thread: Some(thread) })
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
        let state = HttpState {
            attach: Arc::new(handle.clone()),
            origins: Arc::new(self.origins.clone()),
            hosts: Arc::new(self.hosts.clone()),
            identify: self.identify(),
            frame_bytes: common.frame_bytes.clone(),
            readiness: common.readiness.clone(),
        };
        http::router(state, self.page.clone()).map_err(|error| match &self.page {
            Page::Folder(path) => StartError::WebDir { path: path.clone(), error },
            Page::Embedded | Page::None => StartError::Thread(error),
        })
    }
}

/// What all workers share.
struct Common {
    log: Arc<dyn RoomLog>,
    broker: Arc<dyn Broker>,
    clock: Clock,
    gate: Option<Arc<Gate>>,
    readiness: Readiness,
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
