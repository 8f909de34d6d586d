//! The thread of one worker.
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::moderation::Moderation;
#[cfg(feature = "tls")]
use crate::accept::serve_tls_lines;
use crate::accept::{self, Admission, HttpLimits, Security, serve_lines};
use crate::http::FrameBytes;
#[cfg(feature = "tls")]
use crate::tls::{LOOK_EVERY, TlsIdentity};
use crate::worker::{Inbox, Parts, Worker, WorkerHandle};

/// What a worker listens on, once it knows whom to keep out.
pub(super) struct Listeners {
    moderation: Arc<Moderation>,
    pub(super) keeper: Keeper,
    pub(super) http: Option<(StdListener, Security, Router, HttpLimits, Admission)>,
    pub(super) lines: Option<LineListener>,
    /// Identities whose files this worker looks at, for all.
    #[cfg(feature = "tls")]
    pub(super) watched: Vec<TlsIdentity>,
}

/// Which worker keeps what operators order and what the log says of it the same, for all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    This,
    Another,
}

/// Where lines are spoken, and how.
pub(super) struct LineListener {
    pub(super) listener: StdListener,
    pub(super) security: Security,
    pub(super) handle: WorkerHandle,
    pub(super) frame_bytes: FrameBytes,
    /// Who is taken, and how long a header of the PROXY protocol and a handshake may take.
    pub(super) admission: (Admission, Duration),
}

impl Listeners {
    pub(super) fn new(moderation: Arc<Moderation>) -> Self {
        Self {
            moderation,
            keeper: Keeper::Another,
            http: None,
            lines: None,
            #[cfg(feature = "tls")]
            watched: Vec::new(),
        }
    }
}

/// How a worker hears of the end, and tells of its own.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) leaving: watch::Receiver<bool>,
    pub(super) failed: watch::Sender<bool>,
}

impl Life {
    /// Resolves when the server stops.
    pub(super) fn stop(&self) -> impl Future<Output = ()> + use<> {
        told(self.stopping.clone())
    }

    /// Resolves when the server takes no more connections.
    fn leave(&self) -> impl Future<Output = ()> + use<> {
        let (leaving, stopping) = (told(self.leaving.clone()), self.stop());
        async move {
            tokio::select! {
                () = leaving => {}
                () = stopping => {}
            }
        }
    }
}

async fn told(mut word: watch::Receiver<bool>) {
    // Nobody to tell is the same as having been told.
    let _ = word.wait_for(|word| *word).await;
}

/// Starts a worker's thread.
pub(super) fn start(
    index: usize,
    (parts, inbox): (Parts, Inbox),
    listeners: Listeners,
    life: Life,
) -> io::Result<JoinHandle<()>> {
    let (clock, counts) = (parts.clock, parts.counts.clone());
    let rests = counts.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || rests.rests(clock.since_start()))
        .on_thread_unpark({
            let counts = counts.clone();
            move || counts.wakes(clock.since_start())
        })
        .build()?;
    std::thread::Builder::new().name(format!("chat-worker-{index}")).spawn(move || {
        counts.wakes(clock.since_start());
        let local = LocalSet::new();
        let stop = life.stop();
        let worker = local.run_until(async {
            let worker = Worker::new(parts);
            tokio::task::spawn_local(open(worker.clone(), listeners, life.clone()));
            Worker::run(worker, inbox, stop).await
        });
        if runtime.block_on(worker).is_err() {
            tracing::error!(worker = index, "a worker has failed");
            life.failed.send_replace(true);
        }
    })
}

/// Tells a worker whom to keep out, and lets the others in.
async fn open(worker: Rc<RefCell<Worker>>, listeners: Listeners, life: Life) {
    for order in listeners.moderation.load().await {
        worker.borrow_mut().operate(order);
    }
    if listeners.keeper == Keeper::This {
        let (moderation, stop) = (Arc::clone(&listeners.moderation), life.stop());
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = moderation.keep() => {}
                () = stop => {}
            }
        });
    }
    if let Err(error) = listen(listeners, &life) {
        tracing::error!(%error, "a listener can't be used");
        life.failed.send_replace(true);
    }
}

/// Starts accepting on this thread.
fn listen(listeners: Listeners, life: &Life) -> io::Result<()> {
    if let Some((listener, security, router, limits, admission)) = listeners.http {
        let listener = TcpListener::from_std(listener)?;
        let served = accept::serve((listener, security), router, limits, admission, life.leave());
        tokio::task::spawn_local(served);
    }
    if let Some(lines) = listeners.lines {
        listen_lines(lines, life)?;
    }
    #[cfg(feature = "tls")]
    for identity in listeners.watched {
        let stop = life.stop();
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = watch(&identity) => {}
                () = stop => {}
            }
        });
    }
    Ok(())
}

fn listen_lines(lines: LineListener, life: &Life) -> io::Result<()> {
    let LineListener { listener, security, handle, frame_bytes, admission } = lines;
    let listener = TcpListener::from_std(listener)?;
    let (handle, stop) = (Arc::new(handle), life.leave());
    match security {
        Security::Plain => {
            tokio::task::spawn_local(serve_lines(listener, handle, frame_bytes, admission, stop));
        }
        #[cfg(feature = "tls")]
        Security::Tls(identity, _) => {
            let served = serve_tls_lines(listener, identity, handle, frame_bytes, admission, stop);
            tokio::task::spawn_local(served);
        }
    }
    Ok(())
}

/// Looks at an identity's files as long as it has any.
#[cfg(feature = "tls")]
async fn watch(identity: &TlsIdentity) {
    while identity.look().await {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
