//! A server: workers, their listeners, and their end.
mod attach;
mod builder;
mod readiness;
mod thread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chat_proto::{Limits, LimitsError};
use tokio::sync::{oneshot, watch};

pub use attach::{Attach, AttachError, NewConnection};
pub use builder::{Builder, StartError};
pub use readiness::Readiness;

use crate::worker::WorkerHandle;

/// A running server. Dropping it ends it at once; [`Server::shutdown`] ends it well.
#[derive(Debug)]
pub struct Server {
    workers: Vec<RunningWorker>,
    shared: Arc<Shared>,
    listening: Option<SocketAddr>,
    lines: Option<SocketAddr>,
    drain_timeout: Duration,
    stop: watch::Sender<bool>,
    /// Becomes true when a worker has failed.
    failed: watch::Receiver<bool>,
}

#[derive(Debug)]
struct RunningWorker {
    handle: WorkerHandle,
    drained: Option<oneshot::Receiver<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the server's handles share.
#[derive(Debug)]
struct Shared {
    handles: Vec<WorkerHandle>,
    next: AtomicUsize,
    readiness: Readiness,
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

    /// Returns a handle for handing in connections: it is cheap to clone and outlives nothing.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Gives all workers new limits.
    ///
    /// # Errors
    /// Names the limit that is out of bounds; nothing has changed then.
    pub async fn reconfigure(&self, limits: Limits) -> Result<(), LimitsError> {
        limits.check()?;
        for worker in &self.workers {
            worker.handle.reconfigure(limits.clone()).await;
        }
        Ok(())
    }

    /// Resolves when a worker has failed, which is a bug of ours: its connections are lost.
    pub async fn failed(&self) {
        let mut failed = self.failed.clone();
        if failed.wait_for(|failed| *failed).await.is_err() {
            // Every worker has ended in order.
            std::future::pending::<()>().await;
        }
    }

    /// Leaves service: not ready, everybody is told to come back elsewhere or later and closed in
    /// turns, what was accepted is acked. Resolves when all are gone or the drain timeout is over.
    pub async fn shutdown(mut self) -> Drained {
        self.shared.readiness.set_draining();
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
        self.shared.readiness.set_draining();
        self.stop.send_replace(true);
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a worker's thread has panicked");
            }
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
    /// Returns whether the server is ready, for a health check.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.shared.readiness.clone()
    }
}

impl Attach for Handle {
    fn attach(&self, new: NewConnection) -> Result<(), AttachError> {
        let turn = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let handles = &self.shared.handles;
        handles[turn % handles.len()].attach(new)
    }
}
