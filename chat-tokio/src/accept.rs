//! Listening and accepting.
//!
//! hyper is driven directly: `axum::serve` sets no deadline for a request's head, so a few
//! thousand silent sockets would hold a server for ever.
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use axum::Router;
use chat_proto::{Dialect, DisplayName};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

pub(crate) use self::stream::{Security, Stream};
pub(crate) use self::turned_away::{Failure, Refusal};
use crate::http::FrameBytes;
use crate::server::attach::{Attach, NewConnection};
#[cfg(feature = "tls")]
use crate::tls::{Spoken, TlsIdentity};
use crate::transport::Lines;

mod accepting;
mod admission;
#[cfg(feature = "tls")]
mod handshake;
mod network;
mod peer_key;
mod places;
mod proxy_protocol;
mod serving;
mod strangers;
mod stream;
mod turned_away;

pub use admission::{Admission, Client};
pub use network::{Network, NotANetwork, TrustedProxies};
pub use peer_key::PeerKey;
pub use places::{ConnectionLimits, Full, Place, Places};
pub use proxy_protocol::ProxyProtocol;
pub(crate) use strangers::Stranger;

use accepting::{Episode, accept_until};
use places::calm_below;
use serving::Http;

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

/// How long those that were accepted last have to ask for something when the listener closes.
const FIRST_REQUEST_TIME: Duration = Duration::from_millis(200);

/// After which silence a peer without pings of its own is asked for a sign of life, and how often.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Handshakes of TLS at a time, before lines.
#[cfg(feature = "tls")]
const HANDSHAKES_MAX: usize = 4096;

/// What an accept loop for HTTP allows.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// How long a request's head may take, counted from the connection's begin or from the end of
    /// the request before it; so it is also how long a connection may be idle. A handshake of TLS
    /// may take as long before.
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
    if count > 1 {
        share(&first)?;
    }
    listen_beside(first, address, count)
}

/// As [`listen_reuseport`], but joins another server of the same user that listens there, and lets
/// others join: for one that is to take the other's place. The other one has to be of this kind,
/// with several workers or made by this function.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] if somebody listens there who does not share;
/// [`io::ErrorKind::Unsupported`] where the system has no such listeners; else what the system
/// says.
pub fn join_reuseport(address: SocketAddr, count: usize) -> io::Result<Vec<StdListener>> {
    listen_beside(bind(address, Share::SameUser)?, address, count)
}

/// Binds the other workers' sockets beside the first, and listens on all.
fn listen_beside(first: Socket, address: SocketAddr, count: usize) -> io::Result<Vec<StdListener>> {
    let address = first.local_addr()?.as_socket().unwrap_or(address);
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
/// carries a [`Client`] as an extension. In the end those that wait are still taken but no more,
/// those that are idle close, and it waits for requests in flight: at most
/// [`HttpLimits::head_time`] for heads that are coming in, 10 minutes for downloads. Connections
/// that became WebSockets are not its business.
pub async fn serve_http(
    listener: TcpListener,
    router: Router,
    limits: HttpLimits,
    admission: Admission,
    shutdown: impl Future<Output = ()>,
) {
    serve((listener, Security::Plain), router, limits, admission, shutdown).await;
}

/// Accepts connections that speak HTTP over TLS and serves them, as [`serve_http`] does.
///
/// A connection counts from the begin of its handshake. Whoever speaks plain HTTP is told so.
#[cfg(feature = "tls")]
pub async fn serve_https(
    listener: TcpListener,
    identity: TlsIdentity,
    router: Router,
    limits: HttpLimits,
    admission: Admission,
    shutdown: impl Future<Output = ()>,
) {
    let security = Security::Tls(identity, Spoken::Http);
    serve((listener, security), router, limits, admission, shutdown).await;
}

/// Serves HTTP over whatever its connections begin with.
pub(crate) async fn serve(
    (listener, security): (TcpListener, Security),
    router: Router,
    limits: HttpLimits,
    admission: Admission,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.connections as usize));
    let (stop, stopped) = watch::channel(());
    let http = Arc::new(Http::new(router, security, limits, admission));
    let mut full = Episode::default();
    let accept = |cx: &mut Context<'_>| listener.poll_accept(cx);
    accept_until(shutdown, accept, |(stream, peer)| {
        let Ok(place) = http.admission.places().enter() else { return };
        let Ok(speaks_http) = Arc::clone(&places).try_acquire_owned() else {
            http.admission.turned_away().refuse(Refusal::Http);
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
    // A connection that has asked for nothing yet counts as idle, also if it was just accepted.
    tokio::time::sleep(FIRST_REQUEST_TIME).await;
    stop.send_replace(());
    // All places are free once all connections are done.
    let _ = places.acquire_many(limits.connections).await;
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

/// Accepts TCP connections that speak [lines](Lines) over TLS, until `shutdown` is ready. A header
/// of the PROXY protocol, and the handshake of TLS, may each take `header_time`; beyond 4096
/// handshakes at a time, connections are closed at once.
#[cfg(feature = "tls")]
pub async fn serve_tls_lines(
    listener: TcpListener,
    identity: TlsIdentity,
    attach: Arc<dyn Attach>,
    frame_bytes: FrameBytes,
    (admission, header_time): (Admission, Duration),
    shutdown: impl Future<Output = ()>,
) {
    let security = Security::Tls(identity, Spoken::Lines);
    let shaking = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let accept = |cx: &mut Context<'_>| listener.poll_accept(cx);
    let admission = Arc::new(admission);
    accept_until(shutdown, accept, |(mut stream, peer)| {
        let Ok(place) = admission.places().enter() else { return };
        let Ok(shakes) = Arc::clone(&shaking).try_acquire_owned() else {
            admission.turned_away().refuse(Refusal::Handshakes);
            return tracing::debug!(%peer, "too many handshakes");
        };
        without_delay(&stream);
        keep_alive(&stream);
        let (security, attach) = (security.clone(), Arc::clone(&attach));
        let (frame_bytes, admission) = (frame_bytes.clone(), Arc::clone(&admission));
        tokio::spawn(async move {
            let _shakes = shakes;
            let address = admission.address(&mut stream, peer, header_time).await;
            let Some(address) = address else { return };
            if let Err(full) = place.settle(address) {
                return tracing::debug!(peer = %address, why = %full, "a connection was refused");
            }
            match security.begin(stream, header_time).await {
                Ok(stream) => {
                    attach_lines(&*attach, stream, (Some(address), place), frame_bytes.get());
                }
                Err(error) => {
                    admission.turned_away().fail(Failure::of_tls(&error));
                    tracing::debug!(peer = %address, %error, "a handshake has failed");
                }
            }
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
