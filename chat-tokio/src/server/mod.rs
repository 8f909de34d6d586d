//! A server: workers, their listeners, and their end.
pub mod attach;
mod builder;
mod changes;
mod moderation;
mod operate;
mod publish;
mod thread;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

pub use builder::{Builder, StartError};
pub use changes::{Changes, ReconfigureError};
pub use moderation::{Ban, BanError};
pub use operate::{Cursor, Totals};
pub use publish::{Publish, PublishError, Published, SERVICE_PREFIX};

use self::attach::{Attach, AttachError, NewConnection, Refused};
use self::moderation::Moderation;
use self::publish::Publishing;
use crate::auth::Gate;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::http::{FrameBytes, Health, Hosts, HttpState, Identify, Origins, Readiness, Ready};
use crate::live::Live;
use crate::log::RoomLog;
use crate::metrics::Metrics;
#[cfg(feature = "tls")]
use crate::tls::{TlsError, TlsIdentity};
use crate::worker::WorkerHandle;

/// A running server. Dropping it ends it at once; [`Server::shutdown`] ends it well.
#[derive(Debug)]
pub struct Server {
    workers: Vec<RunningWorker>,
    shared: Arc<Shared>,
    metrics: Metrics,
    listening: Option<SocketAddr>,
    lines: Option<SocketAddr>,
    /// Where metrics are served by a thread of their own.
    #[cfg(feature = "metrics")]
    watchers: Option<(SocketAddr, std::thread::JoinHandle<()>)>,
    #[cfg(feature = "api")]
    api: Option<crate::api::Listening>,
    #[cfg(feature = "webhooks")]
    webhooks: Option<std::thread::JoinHandle<()>>,
    drain_timeout: Duration,
    sharing: Sharing,
    /// Becomes true when the listeners are to close.
    leave: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    /// Becomes true when a worker has failed.
    failed: watch::Receiver<bool>,
}

/// With whom a server shares its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    Nobody,
    /// With other servers of the same user.
    Servers,
}

#[derive(Debug)]
struct RunningWorker {
    handle: WorkerHandle,
    drained: Option<oneshot::Receiver<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the server's handles share.
struct Shared {
    handles: Vec<WorkerHandle>,
    next: AtomicUsize,
    readiness: Readiness,
    frame_bytes: FrameBytes,
    message_bytes: AtomicU32,
    gate: Option<Arc<Gate>>,
    log: Arc<dyn RoomLog>,
    broker: Arc<dyn Broker>,
    clock: Clock,
    health: Health,
    moderation: Arc<Moderation>,
    published: Publishing,
    /// Becomes true when somebody asks for a drain.
    drain: watch::Sender<bool>,
    #[cfg(feature = "webhooks")]
    hooks: Option<crate::webhooks::Hooks>,
    #[cfg(feature = "tls")]
    identities: Vec<TlsIdentity>,
    /// Whether HTTP is spoken over TLS.
    secure: bool,
    origins: Live<Origins>,
    hosts: Live<Hosts>,
}

impl Shared {
    /// Returns the longest content of a message, in bytes.
    fn message_bytes(&self) -> u32 {
        self.message_bytes.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("workers", &self.handles.len())
            .field("readiness", &self.readiness)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Begins to describe a server.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns where HTTP and WebSocket are served, with the port that was chosen.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listening
    }

    /// Returns where lines are served, with the port that was chosen.
    #[must_use]
    pub fn lines_addr(&self) -> Option<SocketAddr> {
        self.lines
    }

    /// Returns where metrics are served by a listener of their own, with the port that was chosen.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.watchers.as_ref().map(|(address, _)| *address)
    }

    /// Returns where the API is served, with the port that was chosen.
    #[cfg(feature = "api")]
    #[must_use]
    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.api.as_ref().map(|api| api.address)
    }

    /// Returns what reads the metrics, with or without a listener.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Returns a handle for handing in connections. It is cheap to clone; once the server has ended
    /// it refuses.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Resolves when a worker has failed, which is a bug of ours: its connections are lost.
    pub async fn failed(&self) {
        let mut failed = self.failed.clone();
        if failed.wait_for(|failed| *failed).await.is_err() {
            // Every worker has ended in order.
            std::future::pending::<()>().await;
        }
    }

    /// Resolves when somebody has [asked for a drain](Handle::ask_drain).
    pub async fn drain_asked(&self) {
        let mut asked = self.shared.drain.subscribe();
        // The sender is there as long as the server.
        let _ = asked.wait_for(|asked| *asked).await;
    }

    /// Leaves service: not ready, everybody is told to come back elsewhere or later and closed in
    /// turns, what was accepted is acked. It goes on listening, so that it can say that it is not
    /// ready, unless the address is [shared](Builder::share_port). Resolves when all are gone or
    /// the drain timeout is over.
    pub async fn shutdown(mut self) -> Drained {
        self.shared.readiness.set(Ready::Draining);
        if self.sharing == Sharing::Servers {
            // Whoever is told to come back finds the others.
            self.leave.send_replace(true);
        }
        for worker in &self.workers {
            worker.handle.drain(self.drain_timeout).await;
        }
        let all = async {
            for worker in &mut self.workers {
                if let Some(drained) = worker.drained.take() {
                    // A worker that is gone has nobody left.
                    let _ = drained.await;
                }
            }
        };
        // The Hub closes the last ones at the deadline; they get a moment to hear it.
        let patience = self.drain_timeout + Duration::from_millis(500);
        match tokio::time::timeout(patience, all).await {
            Ok(()) => Drained::All,
            Err(_) => Drained::DeadlinePassed,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.readiness.set(Ready::Draining);
        self.stop.send_replace(true);
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a worker's thread has panicked");
            }
        }
        #[cfg(feature = "metrics")]
        if let Some((_, thread)) = self.watchers.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the metrics has panicked");
        }
        #[cfg(feature = "api")]
        if let Some(thread) = self.api.as_mut().and_then(|api| api.thread.take())
            && thread.join().is_err()
        {
            tracing::error!("the API's thread has panicked");
        }
        #[cfg(feature = "webhooks")]
        if let Some(thread) = self.webhooks.take()
            && thread.join().is_err()
        {
            tracing::error!("the webhooks' thread has panicked");
        }
    }
}

/// How a drain has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everybody is gone, everything accepted was answered.
    All,
    /// Time was up before.
    DeadlinePassed,
}

/// Hands connections to a server's workers, in turns.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Reads the certificates of the listeners from their files now, for connections that come from
    /// now on. It reads files, and so blocks for a moment.
    ///
    /// # Errors
    /// The first file that can't be used, and why; its identity is as before.
    #[cfg(feature = "tls")]
    pub fn reload_tls(&self) -> Result<(), TlsError> {
        let results: Vec<_> = self.shared.identities.iter().map(TlsIdentity::reload).collect();
        results.into_iter().collect()
    }

    /// Makes the state of an HTTP router that hands its WebSockets to this server, for mounting
    /// [`crate::http::router`] in a program of one's own.
    #[must_use]
    pub fn http_state(&self) -> HttpState {
        HttpState {
            frame_bytes: self.shared.frame_bytes.clone(),
            readiness: self.shared.readiness.clone(),
            health: Some(self.shared.health.clone()),
            origins: self.shared.origins.clone(),
            hosts: self.shared.hosts.clone(),
            identify: match self.shared.gate {
                Some(_) => Identify::ByHeader,
                None => Identify::ByName,
            },
            ..HttpState::new(Arc::new(self.clone()))
        }
    }

    fn next(&self) -> &WorkerHandle {
        let turn = self.shared.next.fetch_add(1, Ordering::Relaxed);
        &self.shared.handles[turn % self.shared.handles.len()]
    }
}

impl Attach for Handle {
    fn attach(&self, new: NewConnection) -> Result<(), Refused> {
        self.next().attach(new)
    }

    fn would_attach(&self) -> Result<(), AttachError> {
        match self.shared.readiness.get() {
            Ready::Draining => Err(AttachError::Closed),
            Ready::Starting | Ready::Ready => Ok(()),
        }
    }
}
