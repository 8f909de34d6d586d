//! The HTTP part: the page, the WebSocket handshake, and the answers for load balancers.
//!
//! [`router`] makes a plain axum `Router`; it works behind this crate's own
//! [accept loop](crate::accept) as well as mounted in somebody else's server. Clients' addresses
//! are known, and their connections are counted, behind this crate's own only.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use tower_http::services::ServeDir;

use crate::accept::Full;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::server::attach::Attach;

mod assets;
mod credentials;
pub(crate) mod harden;
mod health;
mod origin;
mod upgrade;

pub use assets::CONTENT_SECURITY_POLICY_VALUE;
#[cfg(feature = "api")]
pub(crate) use assets::respond;
pub use credentials::Identify;
pub use health::{Health, HealthReport};
pub use origin::{Hosts, NotAnOrigin, Origin, Origins};

#[cfg(feature = "server")]
pub(crate) use origin::is_host_name;

/// What the handlers share. Cloning shares it.
#[derive(Clone)]
pub struct HttpState {
    /// Who takes the connections.
    pub attach: Arc<dyn Attach>,
    /// Which pages may connect.
    pub origins: Live<Origins>,
    /// By which names the server may be called.
    pub hosts: Live<Hosts>,
    /// Where a handshake may bring a credential.
    pub identify: Identify,
    /// Bytes of the longest message that a new connection takes.
    pub frame_bytes: FrameBytes,
    /// What `/readyz` answers.
    pub readiness: Readiness,
    /// What `/readyz` asks before it says that the server is ready; `None`: nothing.
    pub health: Option<Health>,
    /// What `/metrics` answers, with the feature `metrics`; `None`: there is no such page.
    pub metrics: Option<Metrics>,
}

impl HttpState {
    /// Makes the state with its defaults: pages of the same host, called by an address or as
    /// `localhost`, names that are chosen, 16 KiB, starting, without probes and metrics.
    #[must_use]
    pub fn new(attach: Arc<dyn Attach>) -> Self {
        Self {
            attach,
            origins: Live::default(),
            hosts: Live::default(),
            identify: Identify::default(),
            frame_bytes: FrameBytes::default(),
            readiness: Readiness::default(),
            health: None,
            metrics: None,
        }
    }
}

impl std::fmt::Debug for HttpState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpState")
            .field("origins", &self.origins)
            .field("hosts", &self.hosts)
            .field("identify", &self.identify)
            .field("frame_bytes", &self.frame_bytes)
            .field("readiness", &self.readiness)
            .field("metrics", &self.metrics)
            .finish_non_exhaustive()
    }
}

/// The longest message that a new connection takes; may change while the server runs.
#[derive(Clone, Debug)]
pub struct FrameBytes(Arc<AtomicU32>);

impl FrameBytes {
    /// Starts with so many bytes.
    #[must_use]
    pub fn new(bytes: u32) -> Self {
        Self(Arc::new(AtomicU32::new(bytes)))
    }

    /// Returns the limit in bytes.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Changes the limit for connections that come from now on.
    pub fn set(&self, bytes: u32) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

impl Default for FrameBytes {
    fn default() -> Self {
        Self::new(chat_proto::Limits::default().frame_bytes)
    }
}

/// Whether a load balancer should send connections here. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

/// What a server is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It starts.
    Starting,
    /// It takes connections.
    Ready,
    /// It leaves service.
    Draining,
}

impl Readiness {
    /// Returns what the server is ready for.
    #[must_use]
    pub fn get(&self) -> Ready {
        match self.0.load(Ordering::Acquire) {
            0 => Ready::Starting,
            1 => Ready::Ready,
            _ => Ready::Draining,
        }
    }

    /// Says what the server is ready for.
    pub fn set(&self, ready: Ready) {
        let number = match ready {
            Ready::Starting => 0,
            Ready::Ready => 1,
            Ready::Draining => 2,
        };
        self.0.store(number, Ordering::Release);
    }
}

/// What is served at `/`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Page {
    /// The page of the program itself.
    #[default]
    Embedded,
    /// The files of a folder, without this program's ideas about what a page may do.
    Folder(PathBuf),
    /// Nothing: somebody else serves the page.
    None,
}

/// Makes the router: `/ws`, `/healthz`, `/readyz` and the page; `/metrics`, if the state has them.
///
/// # Errors
/// When the folder of the page can't be read.
pub fn router(state: HttpState, page: Page) -> io::Result<Router> {
    let pages = match page {
        Page::Embedded => Router::new().fallback(assets::embedded),
        Page::Folder(folder) => folder_of(&folder)?,
        Page::None => Router::new().fallback(not_found),
    };
    let named = Router::new()
        .route("/ws", get(upgrade::websocket))
        .merge(metrics_page(&state))
        .fallback_service(pages)
        .layer(middleware::from_fn_with_state(state.clone(), check_host));
    Ok(hardened(health_pages(&state).fallback_service(named.with_state(state))))
}

fn hardened(router: Router) -> Router {
    router.layer(middleware::map_response(async |response| harden::harden(response)))
}

/// `/healthz` and `/readyz`.
fn health_pages(state: &HttpState) -> Router {
    // Health is asked for by address or under a name of the balancer's own, and tells no secret.
    Router::new()
        .route("/healthz", get(|| async { text(StatusCode::OK, "ok\n") }))
        .route("/readyz", get(health::readyz))
        .with_state(state.clone())
}

/// Makes the router of a listener for those who watch: `/metrics`, `/healthz` and `/readyz`.
#[cfg(feature = "metrics")]
pub(crate) fn watchers(state: &HttpState) -> Router {
    let pages = metrics_page(state).with_state(state.clone());
    hardened(health_pages(state).merge(pages).fallback(not_found))
}

#[cfg(feature = "metrics")]
fn metrics_page(state: &HttpState) -> Router<HttpState> {
    let Some(metrics) = state.metrics.clone() else { return Router::new() };
    Router::new().route("/metrics", get(move || crate::metrics::answer(metrics.clone())))
}

#[cfg(not(feature = "metrics"))]
fn metrics_page(_state: &HttpState) -> Router<HttpState> {
    Router::new()
}

fn folder_of(folder: &Path) -> io::Result<Router> {
    let folder = folder.canonicalize()?;
    if !folder.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let files = ServeDir::new(&folder);
    let guard = middleware::from_fn(move |request: Request, next: Next| {
        assets::inside(folder.clone(), request, next)
    });
    Ok(Router::new().fallback_service(files).layer(guard).layer(middleware::map_response(
        |mut response: Response| async move {
            let headers = response.headers_mut();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response.extensions_mut().insert(harden::OwnPage);
            response
        },
    )))
}

async fn check_host(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let named = state.hosts.get();
    let is_old = request.version() < http::Version::HTTP_11;
    // A request that was meant for a proxy names the host twice. Whom of two would one believe?
    let target = request.uri().authority().map(|target| target.as_str().as_bytes());
    if let (Some(target), Some(host)) = (target, host)
        && !target.eq_ignore_ascii_case(host.as_bytes())
    {
        return text(StatusCode::BAD_REQUEST, "the request's target is not that of `Host`\n");
    }
    match host.map(HeaderValue::to_str) {
        None if is_old && *named == Hosts::Any => next.run(request).await,
        Some(Ok(host)) if more.is_none() && named.allow(host) => next.run(request).await,
        Some(Ok(_)) if more.is_none() => text(
            StatusCode::MISDIRECTED_REQUEST,
            "this server is not called by that name; whoever runs it may allow it: --allow-host\n",
        ),
        None | Some(_) => text(StatusCode::BAD_REQUEST, "exactly one `Host` has to be given\n"),
    }
}

async fn not_found(method: Method) -> Response {
    tracing::trace!(%method, "nothing is served there");
    text(StatusCode::NOT_FOUND, "not found\n")
}

/// Answers somebody whose address has too many connections.
pub(crate) fn too_many() -> Response {
    let why = format!("{}; try again later\n", Full::OfAddress);
    harden::harden(later(text(StatusCode::TOO_MANY_REQUESTS, why)))
}

/// Says when to try again.
fn later(mut response: Response) -> Response {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
    response
}

/// Seconds. Connections end at any time, so there is no better guess than a short one.
const RETRY_AFTER_S: &str = "5";

/// Makes an answer for people.
fn text(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Tells whether an address is spoken to in plain HTTP on this machine.
#[cfg(any(feature = "jwt", feature = "webhooks"))]
pub(crate) fn is_loopback(uri: &http::Uri) -> bool {
    let Some(host) = uri.host().filter(|_| uri.scheme_str() == Some("http")) else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
