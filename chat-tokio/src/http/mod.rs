//! The HTTP part: the page, the WebSocket handshake, and the answers for load balancers.
//!
//! [`router`] makes a plain axum `Router`; it works behind this crate's own
//! [accept loop](crate::accept) as well as mounted in somebody else's server.
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, StatusCode};
use tower_http::services::ServeDir;

use crate::live::Live;
use crate::server::attach::Attach;

mod assets;
mod credentials;
mod origin;
mod upgrade;

pub use assets::CONTENT_SECURITY_POLICY_VALUE;
pub use credentials::Identify;
pub use origin::{Hosts, NotAnOrigin, Origin, Origins};

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
}

impl HttpState {
    /// Makes the state with its defaults: pages of the same host, any name, names that are chosen,
    /// 16 KiB, starting.
    #[must_use]
    pub fn new(attach: Arc<dyn Attach>) -> Self {
        Self {
            attach,
            origins: Live::default(),
            hosts: Live::default(),
            identify: Identify::default(),
            frame_bytes: FrameBytes::default(),
            readiness: Readiness::default(),
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
            .finish_non_exhaustive()
    }
}

/// The address that a request comes from, in the request's extensions. The crate's own accept loop
/// sets it; a program that mounts the router may do so, too. Connections of the same address share
/// a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub IpAddr);

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

/// Makes the router: `/ws`, `/healthz`, `/readyz` and the page.
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
        .fallback_service(pages)
        .layer(middleware::from_fn_with_state(state.clone(), check_host));
    // Health is asked for by address or under a name of the balancer's own, and tells no secret.
    Ok(Router::new()
        .route("/healthz", get(|| async { text(StatusCode::OK, "ok\n") }))
        .route("/readyz", get(readyz))
        .fallback_service(named.with_state(state.clone()))
        .with_state(state))
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
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        },
    )))
}

async fn check_host(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let named = state.hosts.get();
    let is_old = request.version() < http::Version::HTTP_11;
    match host.map(HeaderValue::to_str) {
        None if is_old && *named == Hosts::Any => next.run(request).await,
        Some(Ok(host)) if more.is_none() && named.allow(host) => next.run(request).await,
        Some(Ok(_)) if more.is_none() => text(
            StatusCode::MISDIRECTED_REQUEST,
            "this server is not called by that name: add it to the option `hosts`\n",
        ),
        None | Some(_) => text(StatusCode::BAD_REQUEST, "exactly one `Host` has to be given\n"),
    }
}

async fn readyz(State(state): State<HttpState>) -> Response {
    match state.readiness.get() {
        Ready::Ready => text(StatusCode::OK, "ready\n"),
        Ready::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Ready::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

async fn not_found(method: Method) -> Response {
    tracing::trace!(%method, "nothing is served there");
    text(StatusCode::NOT_FOUND, "not found\n")
}

/// Makes an answer for people.
fn text(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
