//! Serving the HTTP connections of a loop.
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

use super::{
    Admission, HEAD_BYTES_MAX, HEADERS_MAX, HTTP_TIME_MAX, HttpLimits, Place, REFUSALS_MAX,
    Security, Stream, without_delay,
};
use crate::accept::Failure;
use crate::http::too_many;

/// What the HTTP connections of one loop share.
pub(super) struct Http {
    router: Router,
    security: Security,
    builder: http1::Builder,
    limits: HttpLimits,
    pub(super) admission: Admission,
    /// Connections that are told that their address has too many.
    refusing: Arc<Semaphore>,
}

impl Http {
    pub(super) fn new(
        router: Router,
        security: Security,
        limits: HttpLimits,
        admission: Admission,
    ) -> Self {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .keep_alive(true);
        let refusing = Arc::new(Semaphore::new(REFUSALS_MAX));
        Self { router, security, builder, limits, admission, refusing }
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        place: Option<Place>,
        mut stopped: watch::Receiver<()>,
    ) {
        without_delay(&stream);
        let address = self.admission.address(&mut stream, peer, self.limits.head_time).await;
        let Some(address) = address else { return };
        // Who is refused has no place, or one address would take all of them after all.
        let place = place.filter(|place| place.settle(address).is_ok());
        let begun = tokio::select! {
            begun = self.security.begin(stream, self.limits.head_time) => begun,
            _ = stopped.changed() => return,
        };
        let stream = match begun {
            Ok(stream) => stream,
            Err(error) => {
                self.admission.turned_away().fail(Failure::of_tls(&error));
                return tracing::debug!(peer = %address, %error, "a handshake has failed");
            }
        };
        let Some(place) = place else { return self.refuse(stream, address).await };
        let place = Arc::new(place);
        let router = TowerToHyperService::new(self.router.clone());
        let asked = AtomicBool::new(false);
        let service = service_fn(|mut request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let client = self.admission.client(address, request.headers(), &place);
            request.extensions_mut().insert(client);
            router.call(request)
        });
        let io = TokioIo::new(stream);
        let mut connection = pin!(self.builder.serve_connection(io, service).with_upgrades());
        let result = tokio::select! {
            result = connection.as_mut() => result,
            _ = stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(HTTP_TIME_MAX, connection).await {
                    Ok(result) => result,
                    Err(_) => return,
                }
            }
            () = tokio::time::sleep(HTTP_TIME_MAX) => return,
        };
        if let Err(error) = result {
            let failure = Failure::of_request(&error).filter(|_| !asked.load(Ordering::Relaxed));
            failure.inspect(|failure| self.admission.turned_away().fail(*failure));
            tracing::debug!(peer = %address, %error, "an HTTP connection ended");
        }
    }

    /// Tells a client that its address has too many connections, if that costs no others a place.
    async fn refuse(&self, stream: Stream, address: IpAddr) {
        let Ok(_refusing) = Arc::clone(&self.refusing).try_acquire_owned() else { return };
        let mut builder = self.builder.clone();
        let service = service_fn(|_| std::future::ready(Ok::<_, Infallible>(too_many())));
        let connection = builder.keep_alive(false).serve_connection(TokioIo::new(stream), service);
        let ended = tokio::time::timeout(self.limits.head_time * 2, connection).await;
        tracing::debug!(peer = %address, ?ended, "a connection was refused");
    }
}
