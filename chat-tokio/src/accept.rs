//! Listening and accepting.
//!
//! hyper is driven directly: `axum::serve` sets no deadline for a request's head, so a few
//! thousand silent sockets would hold a server for ever.
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use axum::Router;
use chat_proto::{Dialect, DisplayName};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::http::{FrameBytes, too_many};
use crate::server::attach::{Attach, NewConnection};
use crate::transport::Lines;

mod accepting;
mod admission;
mod network;
mod peer_key;
mod places;
mod proxy_protocol;

pub use admission::{Admission, Client};
pub use network::{Network, NotANetwork, TrustedProxies};
pub use peer_key::PeerKey;
pub use places::{ConnectionLimits, Full, Place, Places};
pub use proxy_protocol::ProxyProtocol;

use accepting::{Episode, accept_until};
use places::calm_below;

/// Connections that the kernel completes before they are accepted: a whole server's clients come
/// back within seconds after a restart. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Headers of one request. Browsers send about 20.
const HEADERS_MAX: usize = 64;

/// Bytes of a request's head. Cookies and tokens of real sites stay below 8 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long one HTTP connection may live, downloads included: whoever does not read what it asked
/// for must not hold a place for ever.
const HTTP_TIME_MAX: Duration = Duration::from_secs(600);

/// Connections that are refused in words at a time; the others are just closed.
const REFUSALS_MAX: usize = 64;

/// After which silence a peer without pings of its own is asked for a sign of life, and how often.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// What an accept loop for HTTP allows.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// How long a request's head may take, counted from the connection's begin or from the end of
    /// the request before it; so it is also how long a connection may be idle.
    pub head_time: Duration,
    /// Connections of this loop that speak HTTP at a time, handshakes included; one beyond it is
    /// closed at once. A connection that became a WebSocket no longer counts here, only among
    /// [`ConnectionLimits`].
    pub connections: u32,
}

impl Default for HttpLimits {
    /// 5 seconds, and 4096 connections.
    fn default() -> Self {
        Self { head_time: Duration::from_secs(5), connections: 4096 }
    }
}

/// Makes one listener for each of `count` workers on the same address; the kernel spreads new
/// connections over them. Port 0 means that the first picks a port and the others share it.
///
/// The rule: the first socket is bound *without* `SO_REUSEPORT`, so it fails whenever anybody
/// listens there already, also a second server of this kind that would otherwise silently take a
/// share of the connections. Only once it holds the address is the option set on it, which lets
/// the other sockets join, and only those of the same user. So there is no moment in which a
/// stranger could slip in.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] if anybody listens there; [`io::ErrorKind::Unsupported`] for more
/// than one worker where the system has no such listeners; else what the system says.
pub fn listen_reuseport(address: SocketAddr, count: usize) -> io::Result<Vec<StdListener>> {
    let first = bind(address, Share::Nobody)?;
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    if count > 1 {
        share(&first)?;
    }
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(bind(address, Share::SameUser)?);
    }
    sockets.into_iter().map(listen).collect()
}

/// With whom a socket shares its address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    Nobody,
    SameUser,
}

fn bind(address: SocketAddr, with: Share) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a server that has just ended must not keep its successor from the port. (On
    // Windows the option would let anybody take the port.)
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    if with == Share::SameUser {
        share(&socket)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(unix)]
fn share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
fn share(_socket: &Socket) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "one worker only on this system"))
}

fn listen(socket: Socket) -> io::Result<StdListener> {
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts HTTP connections and serves them, until `shutdown` is ready.
///
/// Connections stay on the thread of the current-thread runtime that runs this. Each request
/// carries a [`Client`] as an extension. In the end no more are accepted, those that are idle
/// close, and it waits for requests in flight: at most [`HttpLimits::head_time`] for heads that are
/// coming in, 10 minutes for downloads. Connections that became WebSockets are not its business.
pub async fn serve_http(
    listener: TcpListener,
    router: Router,
    limits: HttpLimits,
    admission: Admission,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.connections as usize));
    let (stop, stopped) = watch::channel(());
    let http = Arc::new(Http::new(router, limits, admission));
    let mut full = Episode::default();
    let accept = |cx: &mut Context<'_>| listener.poll_accept(cx);
    accept_until(shutdown, accept, |(stream, peer)| {
        let Ok(place) = http.admission.places().enter() else { return };
        let Ok(speaks_http) = Arc::clone(&places).try_acquire_owned() else {
            full.begin(|| tracing::warn!("too many HTTP connections; closing new ones"));
            return;
        };
        let used = limits.connections as usize - places.available_permits();
        if used <= calm_below(limits.connections) as usize {
            full.end(|| tracing::info!("HTTP connections are taken again"));
        }
        // At once, where the address is known: many of one address that come together must not
        // take all places even for a moment.
        let known = (!http.admission.has_to_ask()).then(|| peer.ip());
        let place = Some(place).filter(|place| known.is_none_or(|ip| place.settle(ip).is_ok()));
        let (http, stopped) = (Arc::clone(&http), stopped.clone());
        tokio::spawn(async move {
            let _speaks_http = speaks_http;
            http.serve(stream, peer, place, stopped).await;
        });
    })
    .await;
    drop(listener);
    stop.send_replace(());
    // All places are free once all connections are done.
    let _ = places.acquire_many(limits.connections).await;
}

/// What the HTTP connections of one loop share.
struct Http {
    router: Router,
    builder: http1::Builder,
    limits: HttpLimits,
    admission: Admission,
    /// Connections that are told that their address has too many.
    refusing: Arc<Semaphore>,
}

impl Http {
    fn new(router: Router, limits: HttpLimits, admission: Admission) -> Self {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .keep_alive(true);
        let refusing = Arc::new(Semaphore::new(REFUSALS_MAX));
        Self { router, builder, limits, admission, refusing }
    }

    /// Serves one connection to its end.
    async fn serve(
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
        let Some(place) = place.filter(|place| place.settle(address).is_ok()) else {
            return self.refuse(stream, address).await;
        };
        let place = Arc::new(place);
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(|mut request: Request<Incoming>| {
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
            tracing::debug!(peer = %address, %error, "an HTTP connection ended");
        }
    }

    /// Tells a client that its address has too many connections, if that costs no others a place.
    async fn refuse(&self, stream: TcpStream, address: IpAddr) {
        let Ok(_refusing) = Arc::clone(&self.refusing).try_acquire_owned() else { return };
        let mut builder = self.builder.clone();
        let service = service_fn(|_| std::future::ready(Ok::<_, Infallible>(too_many())));
        let connection = builder.keep_alive(false).serve_connection(TokioIo::new(stream), service);
        let ended = tokio::time::timeout(self.limits.head_time * 2, connection).await;
        tracing::debug!(peer = %address, ?ended, "a connection was refused");
    }
}

/// Accepts TCP connections that speak [lines](Lines), until `shutdown` is ready. A header of the
/// PROXY protocol may take `header_time`.
pub async fn serve_lines(
    listener: TcpListener,
    attach: Arc<dyn Attach>,
    frame_bytes: FrameBytes,
    (admission, header_time): (Admission, Duration),
    shutdown: impl Future<Output = ()>,
) {
    let accept = |cx: &mut Context<'_>| listener.poll_accept(cx);
    let admission = Arc::new(admission);
    accept_until(shutdown, accept, |(mut stream, peer)| {
        let Ok(place) = admission.places().enter() else { return };
        without_delay(&stream);
        keep_alive(&stream);
        let (attach, frame_bytes) = (Arc::clone(&attach), frame_bytes.clone());
        let take = move |stream, address: IpAddr| match place.settle(address) {
            Ok(()) => attach_lines(&*attach, stream, (Some(address), place), frame_bytes.get()),
            Err(full) => tracing::debug!(peer = %address, why = %full, "a connection was refused"),
        };
        if !admission.has_to_ask() {
            return take(stream, peer.ip().to_canonical());
        }
        let admission = Arc::clone(&admission);
        tokio::spawn(async move {
            let address = admission.address(&mut stream, peer, header_time).await;
            address.map(|address| take(stream, address))
        });
    })
    .await;
}

/// Accepts connections on a Unix socket that speak [lines](Lines), until `shutdown` is ready. They
/// have no address, and so are limited in all only.
#[cfg(unix)]
pub async fn serve_unix_lines(
    listener: tokio::net::UnixListener,
    attach: Arc<dyn Attach>,
    frame_bytes: FrameBytes,
    admission: Admission,
    shutdown: impl Future<Output = ()>,
) {
    let accept = |cx: &mut Context<'_>| listener.poll_accept(cx);
    accept_until(shutdown, accept, |(stream, _)| {
        let Ok(place) = admission.places().enter() else { return };
        attach_lines(&*attach, stream, (None, place), frame_bytes.get());
    })
    .await;
}

fn attach_lines<IO>(
    attach: &dyn Attach,
    io: IO,
    (peer, place): (Option<IpAddr>, Place),
    frame_bytes: u32,
) where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let new = NewConnection {
        name: DisplayName::new("anonymous").ok(),
        peer,
        place: Some(Arc::new(place)),
        ..NewConnection::new(Box::new(Lines::new(io, frame_bytes)), Dialect::Basic)
    };
    if let Err(refused) = attach.attach(new) {
        tracing::debug!(why = %refused.why, "a connection was refused");
    }
}

/// Notices peers that are gone without a word: lines have no pings, and who changes networks a few
/// times must not find all places of the old address taken by itself.
fn keep_alive(stream: &TcpStream) {
    let often = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&often) {
        tracing::debug!(%error, "SO_KEEPALIVE can't be set");
    }
}

/// A chat's frames are small and somebody waits for each.
fn without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY can't be set");
    }
}
