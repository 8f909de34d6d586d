//! The thread of the API.
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::accept::{Admission, HttpLimits, serve_http};

/// Connections at a time: backends keep some open.
const CONNECTIONS_MAX: u32 = 256;

/// How long a request in flight has when the server ends.
const GRACE: Duration = Duration::from_secs(1);

/// A running API.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) thread: Option<JoinHandle<()>>,
}

/// Serves the router on a thread of its own until it is told to stop.
pub(crate) fn start(
    listener: StdListener,
    router: Router,
    stopping: watch::Receiver<bool>,
) -> io::Result<Listening> {
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = async move {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the API's listener can't be used"),
        };
        let limits = HttpLimits { connections: CONNECTIONS_MAX, ..HttpLimits::default() };
        let patience = async {
            stopped(stopping.clone()).await;
            tokio::time::sleep(GRACE).await;
        };
        let served =
            serve_http(listener, router, limits, Admission::default(), stopped(stopping.clone()));
        tokio::select! {
            () = served => {}
            () = patience => {}
        }
    };
    let thread = std::thread::Builder::new().name("chat-api".to_owned());
    let thread = thread.spawn(move || runtime.block_on(serve))?;
    Ok(Listening { address, thread: Some(thread) })
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // Nobody to tell is the same as having been told.
    let _ = stopping.wait_for(|stop| *stop).await;
}
