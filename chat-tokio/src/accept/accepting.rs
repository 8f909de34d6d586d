//! Accepting, whatever happens.
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::task::yield_now;

use super::BACKLOG;

/// Accepts until `shutdown` is ready. An error never ends it.
pub(super) async fn accept_until<T>(
    shutdown: impl Future<Output = ()>,
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    mut take: impl FnMut(T),
) {
    let mut shutdown = pin!(shutdown);
    let mut pause = PAUSE_MIN;
    let mut failing = Episode::default();
    loop {
        // Short of descriptors, each that becomes free lets one connection in and the next one
        // fail. It is over once nobody waits any more.
        let mut next = |cx: &mut Context<'_>| {
            let accepted = accept(cx);
            if accepted.is_pending() && pause == PAUSE_MIN {
                failing.end(|| tracing::info!("accepting connections again"));
            }
            accepted
        };
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return take_waiting(accept, take).await,
            accepted = poll_fn(&mut next) => accepted,
        };
        let error = match accepted {
            Ok(connection) => {
                pause = PAUSE_MIN;
                take(connection);
                continue;
            }
            Err(error) => error,
        };
        if concerns_one_connection(&error) {
            tracing::debug!(%error, "a connection was gone before it was accepted");
            continue;
        }
        failing.begin(|| tracing::warn!(%error, "can't accept connections"));
        tokio::select! {
            () = &mut shutdown => return,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
        }
    }
}

/// Takes the connections that the kernel has ready: it would reset them when the listener closes.
async fn take_waiting<T>(
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    mut take: impl FnMut(T),
) {
    for _ in 0..2 {
        let all = poll_fn(|cx| {
            for _ in 0..BACKLOG {
                match accept(cx) {
                    Poll::Ready(Ok(connection)) => take(connection),
                    Poll::Ready(Err(error)) if concerns_one_connection(&error) => {}
                    Poll::Ready(Err(_)) | Poll::Pending => break,
                }
            }
            Poll::Ready(())
        });
        // The budget that makes tasks yield would look like the end of the queue.
        unconstrained(all).await;
        // The runtime may not have heard yet of the last ones.
        yield_now().await;
    }
}

/// Whether the next connection may fare better at once. Otherwise the process is short of
/// something (descriptors, memory).
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
    )
}

/// Something that lasts, told once when it begins and once when it ends.
#[derive(Debug, Default)]
pub(super) struct Episode {
    lasts: bool,
}

impl Episode {
    pub(super) fn begin(&mut self, tell: impl FnOnce()) {
        if !self.lasts {
            tell();
        }
        self.lasts = true;
    }

    pub(super) fn end(&mut self, tell: impl FnOnce()) {
        if self.lasts {
            tell();
        }
        self.lasts = false;
    }
}

/// The pause after an error that accepting again at once would only repeat, as long as it lasts.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
