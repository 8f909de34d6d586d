//! `/metrics`, on a listener of its own or beside the chat.
use std::future::{Future, pending};
use std::io;
use std::net::TcpListener as StdListener;
use std::thread::JoinHandle;

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tokio::net::TcpListener;

use super::Metrics;
use crate::accept::{Admission, HttpLimits, serve_http};

/// A few collectors, and people who look.
const CONNECTIONS_MAX: u32 = 64;

/// Answers `GET /metrics`.
pub(crate) async fn answer(metrics: Metrics) -> Response {
    let text = metrics.snapshot().await.encode();
    let headers = [(CONTENT_TYPE, super::CONTENT_TYPE), (CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

/// Serves on a thread of its own, which answers also while all workers are busy.
pub(crate) fn start(
    listener: StdListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = async move {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the listener for metrics can't be used"),
        };
        let limits = HttpLimits { connections: CONNECTIONS_MAX, ..HttpLimits::default() };
        tokio::select! {
            () = serve_http(listener, router, limits, Admission::default(), pending()) => {}
            () = stop => {}
        }
    };
    std::thread::Builder::new().name("chat-metrics".into()).spawn(move || runtime.block_on(serve))
}
