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

use super::moderation::Moderation;
use super::publish::Publishing;
use super::thread::{self, Listeners};
use super::{RunningWorker, Server, Shared};
use crate::accept::{HttpLimits, listen_reuseport};
use crate::auth::{Authenticator, Gate};
use crate::broker::LocalBroker;
use crate::clock::Clock;
use crate::http::{self, FrameBytes, Hosts, HttpState, Identify, Origins, Page, Readiness, Ready};
use crate::log::{MemoryLog, RoomLog};
use crate::worker::{self, Inbox, Parts, WorkerHandle};

/// Workers of one process at most: each is a thread with its own listener.
const WORKERS_MAX: usize = 1024;

/// What a server is made of. Everything has a default: one worker, a log in memory, no listener.
pub struct Builder {
    log: Option<Arc<dyn RoomLog>>,
    limits: Limits,
    times: Times,
    workers: usize,
    listen: Option<SocketAddr>,
    listen_lines: Option<SocketAddr>,
    page: Page,
    origins: Origins,
    hosts: Hosts,
    authenticator: Option<Arc<dyn Authenticator>>,
    auth_cookie: Option<Arc<str>>,
    #[cfg(feature = "api")]
    api: Option<crate::api::ApiOptions>,
    #[cfg(feature = "webhooks")]
    webhooks: Option<crate::webhooks::WebhookOptions>,
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
            page: Page::Embedded,
            origins: Origins::SameHost,
            hosts: Hosts::Any,
            authenticator: None,
            auth_cookie: None,
            #[cfg(feature = "api")]
            api: None,
            #[cfg(feature = "webhooks")]
            webhooks: None,
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

    /// Serves the [API](crate::api) for backends and operators. Default: it is not served.
    #[cfg(feature = "api")]
    #[must_use]
    pub fn api(mut self, api: crate::api::ApiOptions) -> Self {
        self.api = Some(api);
        self
    }

    /// Tells a backend what happens. Default: nobody is told.
    #[cfg(feature = "webhooks")]
    #[must_use]
    pub fn webhooks(mut self, webhooks: crate::webhooks::WebhookOptions) -> Self {
        self.webhooks = Some(webhooks);
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
        let (listening, http) = bind(self.listen, self.workers)?;
        let (lines, line_listeners) = bind(self.listen_lines, self.workers)?;
        let (stop, stopping) = watch::channel(false);
        let (fail, failed) = watch::channel(false);
        let life = thread::Life { stopping, failed: fail };
        let (handles, inboxes): (Vec<_>, Vec<_>) =
            std::iter::repeat_with(worker::channel).take(self.workers).unzip();
        let shared = self.shared(handles);
        #[cfg(feature = "webhooks")]
        let (shared, webhooks) = self.start_webhooks(shared, &life)?;
        let shared = Arc::new(shared);
        let mut server = Server {
            workers: Vec::with_capacity(self.workers),
            shared: shared.clone(),
            listening,
            lines,
            #[cfg(feature = "api")]
            api: None,
            #[cfg(feature = "webhooks")]
            webhooks,
            drain_timeout: self.drain_timeout,
            stop,
            failed,
        };
        let mut listeners = http.into_iter().zip(line_listeners);
        for (index, inbox) in inboxes.into_iter().enumerate() {
            let listeners = listeners.next().unwrap_or_default();
            // What was started before an error ends with the half-made server.
            server.workers.push(self.start_worker((index, inbox), &shared, listeners, &life)?);
        }
        shared.readiness.set(Ready::Ready);
        #[cfg(feature = "api")]
        {
            server.api = self.start_api(server.handle(), &life)?;
        }
        Ok(server)
    }

    #[cfg(feature = "api")]
    fn start_api(
        &self,
        handle: super::Handle,
        life: &thread::Life,
    ) -> Result<Option<crate::api::Listening>, StartError> {
        let Some(options) = &self.api else { return Ok(None) };
        let address = options.listen;
        let mut listeners =
            listen_reuseport(address, 1).map_err(|error| StartError::Listen { address, error })?;
        let Some(listener) = listeners.pop() else { return Ok(None) };
        let router = crate::api::router(handle, options.keys.clone(), options.reload.clone());
        let started = crate::api::start(listener, router, life.stopping.clone());
        started.map(Some).map_err(StartError::Thread)
    }

    /// Makes what all workers share.
    fn shared(&self, handles: Vec<WorkerHandle>) -> Shared {
        let clock = Clock::start();
        let log = self.log.clone().unwrap_or_else(|| Arc::new(MemoryLog::default()));
        let gate = self.authenticator.clone().map(|known| Arc::new(Gate::new(known, clock)));
        Shared {
            handles,
            next: 0.into(),
            readiness: Readiness::default(),
            frame_bytes: FrameBytes::new(self.limits.frame_bytes),
            message_bytes: self.limits.message_bytes.into(),
            moderation: Arc::new(Moderation::new(log.clone(), clock, gate.clone())),
            gate,
            log,
            broker: Arc::new(LocalBroker::default()),
            clock,
            published: Publishing::default(),
            drain: watch::Sender::new(false),
            #[cfg(feature = "webhooks")]
            hooks: None,
        }
    }

    /// Listens to the log and the broker for what a backend is to be told.
    #[cfg(feature = "webhooks")]
    fn start_webhooks(
        &self,
        mut shared: Shared,
        life: &thread::Life,
    ) -> Result<(Shared, Option<std::thread::JoinHandle<()>>), StartError> {
        use crate::webhooks::{self, TappedBroker, TappedLog};
        let Some(options) = &self.webhooks else { return Ok((shared, None)) };
        let (hooks, receiving) = webhooks::channel(&options.events);
        let log = shared.log.clone();
        shared.log = Arc::new(TappedLog { log, hooks: hooks.clone() });
        let broker = TappedBroker::new(LocalBroker::default(), hooks.clone(), shared.clock);
        shared.broker = Arc::new(broker);
        shared.hooks = Some(hooks);
        let stopping = life.stopping.clone();
        let started = webhooks::start(options.clone(), receiving, shared.clock, stopping);
        let started = started.map_err(StartError::Thread)?;
        Ok((shared, Some(started)))
    }

    /// Tells whether Hubs say who comes and goes; a single one does not by itself.
    fn peers(&self) -> Peers {
        #[cfg(feature = "webhooks")]
        if self.webhooks.is_some() {
            return Peers::Some;
        }
        if self.workers > 1 { Peers::Some } else { Peers::None }
    }

    fn start_worker(
        &self,
        (index, inbox): (usize, Inbox),
        shared: &Shared,
        (http, lines): (Option<StdListener>, Option<StdListener>),
        life: &thread::Life,
    ) -> Result<RunningWorker, StartError> {
        let handle = shared.handles[index].clone();
        let (drained_tx, drained) = oneshot::channel();
        let hub = HubId(u32::try_from(index).unwrap_or(u32::MAX));
        shared.broker.connect(hub, Arc::new(handle.clone()));
        let mut config = Config { hub, ..Config::default() };
        config.peers = self.peers();
        config.durability = shared.log.capabilities().durability;
        config.limits = self.limits.clone();
        config.times = self.times.clone();
        let parts = Parts {
            config,
            log: Arc::clone(&shared.log),
            broker: Arc::clone(&shared.broker),
            clock: shared.clock,
            gate: shared.gate.clone(),
            drained: drained_tx,
            #[cfg(feature = "webhooks")]
            hooks: shared.hooks.clone(),
        };
        let mut listeners = Listeners::new(Arc::clone(&shared.moderation));
        if let Some(listener) = http {
            let router = self.router(shared, &handle)?;
            let limits = HttpLimits { head_time: self.handshake_timeout, ..HttpLimits::default() };
            listeners.http = Some((listener, router, limits));
        }
        if let Some(listener) = lines {
            listeners.lines = Some((listener, handle.clone(), shared.frame_bytes.clone()));
        }
        let thread = thread::start(index, (parts, inbox), listeners, life.clone())
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
    fn router(&self, shared: &Shared, handle: &WorkerHandle) -> Result<Router, StartError> {
        let state = HttpState {
            attach: Arc::new(handle.clone()),
            origins: Arc::new(self.origins.clone()),
            hosts: Arc::new(self.hosts.clone()),
            identify: self.identify(),
            frame_bytes: shared.frame_bytes.clone(),
            readiness: shared.readiness.clone(),
        };
        http::router(state, self.page.clone()).map_err(|error| match &self.page {
            Page::Folder(path) => StartError::WebDir { path: path.clone(), error },
            Page::Embedded | Page::None => StartError::Thread(error),
        })
    }
}

/// One listener a worker, or none.
type Bound = (Option<SocketAddr>, Vec<Option<StdListener>>);

fn bind(address: Option<SocketAddr>, workers: usize) -> Result<Bound, StartError> {
    let Some(address) = address else {
        return Ok((None, std::iter::repeat_with(|| None).take(workers).collect()));
    };
    let listeners = listen_reuseport(address, workers)
        .map_err(|error| StartError::Listen { address, error })?;
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
