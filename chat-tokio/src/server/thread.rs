//! The thread of one worker.
use std::future::Future;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::accept::{HttpLimits, serve_http, serve_lines};
use crate::http::FrameBytes;
use crate::worker::{Inbox, Parts, Worker, WorkerHandle};

/// What a worker listens on.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) http: Option<(StdListener, Router, HttpLimits)>,
    pub(super) lines: Option<(StdListener, WorkerHandle, FrameBytes)>,
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
    fn stop(&self) -> impl Future<Output = ()> + use<> {
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("chat-worker-{index}")).spawn(move || {
        let local = LocalSet::new();
        let stop = life.stop();
        let worker = local.run_until(async {
            if let Err(error) = listen(listeners, &life) {
                tracing::error!(%error, "a listener can't be used");
                life.failed.send_replace(true);
            }
            Worker::run(Worker::new(parts), inbox, stop).await
        });
        if runtime.block_on(worker).is_err() {
            tracing::error!(worker = index, "a worker has failed");
            life.failed.send_replace(true);
        }
    })
}

/// Starts accepting on this thread.
fn listen(listeners: Listeners, life: &Life) -> io::Result<()> {
    if let Some((listener, router, limits)) = listeners.http {
        let listener = TcpListener::from_std(listener)?;
        tokio::task::spawn_local(serve_http(listener, router, limits, life.leave()));
    }
    if let Some((listener, handle, frame_bytes)) = listeners.lines {
        let listener = TcpListener::from_std(listener)?;
        let handle = Arc::new(handle);
        tokio::task::spawn_local(serve_lines(listener, handle, frame_bytes, life.leave()));
    }
    Ok(())
}
