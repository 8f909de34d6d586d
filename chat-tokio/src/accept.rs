//! Listening and accepting.
//!
//! hyper is driven directly: `axum::serve` sets no deadline for a request's head, so a few
//! thousand silent sockets would hold a server for ever.
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use chat_proto::{Dialect, DisplayName};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::coop::unconstrained;
use tokio::task::yield_now;

use crate::http::FrameBytes;
use crate::server::attach::{Attach, NewConnection};
use crate::transport::Lines;

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

/// How long those that were accepted last have to ask for something when the listener closes.
const FIRST_REQUEST_TIME: Duration = Duration::from_millis(200);

/// The pause after an error that accepting again at once would only repeat, as long as it lasts.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What an accept loop for HTTP allows.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// How long a request's head may take, counted from the connection's begin or from the end of
    /// the request before it; so it is also how long a connection may be idle.
    pub head_time: Duration,
    /// Connections that speak HTTP at a time, handshakes included; one beyond it is closed at
    /// once. A connection that became a WebSocket no longer counts.
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
/// Connections stay on the thread of the current-thread runtime that runs this. Then those that
/// wait are still taken but no more, those that are idle close, and it waits for requests in
/// flight: at most [`HttpLimits::head_time`] for heads that are coming in, 10 minutes for
/// downloads. Connections
/// that became WebSockets are not its business.
pub async fn serve_http(
    listener: TcpListener,
    router: Router,
    limits: HttpLimits,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.connections as usize));
    let (stop, stopped) = watch::channel(());
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(true);
    let mut full = Episode::default();
    let accept = |cx: &mut Context<'_>| listener.poll_accept(cx);
    accept_until(shutdown, accept, |(stream, peer)| {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            full.begin(|| tracing::warn!("too many HTTP connections; closing new ones"));
            return;
        };
        full.end(|| tracing::info!("HTTP connections are taken again"));
        without_delay(&stream);
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let _place = place;
            let mut connection = pin!(connection);
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
                tracing::debug!(%peer, %error, "an HTTP connection ended");
            }
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

/// Accepts TCP connections that speak [lines](Lines), until `shutdown` is ready.
pub async fn serve_lines(
    listener: TcpListener,
    attach: Arc<dyn Attach>,
    frame_bytes: FrameBytes,
    shutdown: impl Future<Output = ()>,
) {
    let accept = |cx: &mut Context<'_>| listener.poll_accept(cx);
    accept_until(shutdown, accept, |(stream, _)| {
        without_delay(&stream);
        attach_lines(&*attach, stream, frame_bytes.get());
    })
    .await;
}

/// Accepts connections on a Unix socket that speak [lines](Lines), until `shutdown` is ready.
#[cfg(unix)]
pub async fn serve_unix_lines(
    listener: tokio::net::UnixListener,
    attach: Arc<dyn Attach>,
    frame_bytes: FrameBytes,
    shutdown: impl Future<Output = ()>,
) {
    let accept = |cx: &mut Context<'_>| listener.poll_accept(cx);
    accept_until(shutdown, accept, |(stream, _)| attach_lines(&*attach, stream, frame_bytes.get()))
        .await;
}

fn attach_lines<IO>(attach: &dyn Attach, io: IO, frame_bytes: u32)
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let new = NewConnection {
        transport: Box::new(Lines::new(io, frame_bytes)),
        dialect: Dialect::Basic,
        name: DisplayName::new("anonymous").ok(),
        credentials: None,
    };
    if let Err(refused) = attach.attach(new) {
        tracing::debug!(why = %refused.why, "a connection was refused");
    }
}

/// A chat's frames are small and somebody waits for each.
fn without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY can't be set");
    }
}

/// Accepts until `shutdown` is ready. An error never ends it.
async fn accept_until<T>(
    shutdown: impl Future<Output = ()>,
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    mut take: impl FnMut(T),
) {
    let mut shutdown = pin!(shutdown);
    let mut pause = PAUSE_MIN;
    let mut failing = Episode::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return take_waiting(accept, take).await,
            accepted = poll_fn(&mut accept) => accepted,
        };
        let error = match accepted {
            Ok(connection) => {
                failing.end(|| tracing::info!("accepting connections again"));
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
struct Episode {
    lasts: bool,
}

impl Episode {
    fn begin(&mut self, tell: impl FnOnce()) {
        if !self.lasts {
            tell();
        }
        self.lasts = true;
    }

    fn end(&mut self, tell: impl FnOnce()) {
        if self.lasts {
            tell();
        }
        self.lasts = false;
    }
}
