//! Describing and starting a server.
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::{Limits, LimitsError};
use chat_state::{Config, HubId, Peers, Times};
use tokio::sync::watch;

use super::thread::{self, Listeners};
use super::{Readiness, RunningWorker, Server, Shared};
use crate::broker::{Broker, LocalBroker};
use crate::clock::Clock;
use crate::log::{MemoryLog, RoomLog};
use crate::worker::{self, Parts};

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
    pub fn start(self) -> Result<Server, StartError> {
        self.limits.check().map_err(StartError::Limits)?;
        if self.workers == 0 || self.workers > WORKERS_MAX {
            return Err(StartError::Workers(self.workers));
        }
        let log = self.log.clone().unwrap_or_else(|| Arc::new(MemoryLog::default()));
        let broker: Arc<dyn Broker> = Arc::new(LocalBroker::default());
        let clock = Clock::start();
        let readiness = Readiness::default();
        let (stop, stopping) = watch::channel(false);
        let (fail, failed) = watch::channel(false);
        let mut workers = Vec::with_capacity(self.workers);
        for index in 0..self.workers {
            let (handle, inbox) = worker::channel();
            let (drained_tx, drained) = tokio::sync::oneshot::channel();
            let hub = HubId(u32::try_from(index).unwrap_or(u32::MAX));
            broker.connect(hub, Arc::new(handle.clone()));
            let peers = if self.workers > 1 { Peers::Some } else { Peers::None };
            let config = Config {
                hub,
                peers,
                durability: log.capabilities().durability,
                limits: self.limits.clone(),
                times: self.times.clone(),
            };
            let parts = Parts {
                config,
                log: Arc::clone(&log),
                broker: Arc::clone(&broker),
                clock,
                drained: drained_tx,
            };
            let life = thread::Life { stopping: stopping.clone(), failed: fail.clone() };
            let thread = thread::start(index, (parts, inbox), Listeners::default(), life)
                .map_err(StartError::Thread)?;
            workers.push(RunningWorker { handle, drained: Some(drained), thread: Some(thread) });
        }
        readiness.set_ready();
        let handles = workers.iter().map(|worker| worker.handle.clone()).collect();
        let shared = Arc::new(Shared { handles, next: 0.into(), readiness });
        Ok(Server {
            workers,
            shared,
            listening: None,
            lines: None,
            drain_timeout: self.drain_timeout,
            stop,
            failed,
        })
    }
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
    /// An allowed origin is none.
    Origin(String),
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
            Self::Origin(why) => f.write_str(why),
            Self::Thread(error) => write!(f, "cannot start a worker: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
