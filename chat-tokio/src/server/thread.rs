//! The thread of one worker.
use std::io;
use std::thread::JoinHandle;

use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::worker::{Inbox, Parts, Worker};

/// What a worker listens on.
#[derive(Default)]
pub(super) struct Listeners {}

/// How a worker hears of the end, and tells of its own.
pub(super) struct Life {
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) failed: watch::Sender<bool>,
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
        let Life { mut stopping, failed } = life;
        let stop = async move {
            // Nobody to tell is the same as having been told.
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        let worker = local.run_until(async move {
            let _ = listeners;
            Worker::run(Worker::new(parts), inbox, stop).await
        });
        if runtime.block_on(worker).is_err() {
            tracing::error!(worker = index, "a worker has failed");
            failed.send_replace(true);
        }
    })
}
