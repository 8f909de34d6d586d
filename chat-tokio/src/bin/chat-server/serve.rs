//! From the settings to a running server, and back to silence.
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use chat_state::TimeValues;
use chat_tokio::accept::{Admission, ConnectionLimits, TrustedProxies};
use chat_tokio::auth::Authenticator;
use chat_tokio::config::{AuthConfig, AuthMode, Config, DoorConfig, Durability, LogKind, Settings};
use chat_tokio::http::{Hosts, NotAnOrigin, Origins, Page};
use chat_tokio::log::{
    MemoryLog, RoomLog, SqliteAccess, SqliteDurability, SqliteLog, SqliteOpenError, SqliteOptions,
};
use chat_tokio::{Builder, Drained, Server, StartError};

use super::reload;
use super::signals::{Signal, Signals};

/// Runs the server until a signal has ended it and it is drained.
///
/// # Errors
/// If it can't start, or a worker fails.
pub(crate) fn serve(settings: &Settings) -> Result<(), Failed> {
    let config = &settings.config;
    check_web_dir(config)?;
    let log = Log::open(config)?;
    let served = run(settings, &log);
    log.close();
    served
}

fn run(settings: &Settings, log: &Log) -> Result<(), Failed> {
    let config = &settings.config;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failed::System)?;
    runtime.block_on(async {
        // Before the start-up line: who reads it may send a signal at once.
        let mut signals = Signals::listen().map_err(Failed::System)?;
        let authority = authority(&config.auth, When::AtStart).await.map_err(Failed::Auth)?;
        let reloading = reload::Reloading::default();
        let server = start(config, log.share(), authority, &reloading)?;
        announce(&server, config);
        // It is set once.
        let _ = reloading.set(reload::reloader(&server, settings));
        let ended = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    // What is read may take its time, and other signals must not wait for it.
                    Signal::Reload => drop(tokio::spawn(reload::reload(reloading.clone()))),
                    Signal::End(signal) => {
                        tracing::info!(?signal, "draining");
                        break Ok(());
                    }
                },
                () = server.drain_asked() => {
                    tracing::info!("draining, as the API was asked to");
                    break Ok(());
                }
                () = server.failed() => {
                    tracing::info!("draining, since a worker has failed");
                    break Err(Failed::Worker);
                }
            }
        };
        tokio::select! {
            drained = server.shutdown() => match drained {
                Drained::All => tracing::info!("drained"),
                Drained::DeadlinePassed => tracing::warn!("not everybody had left in time"),
            },
            signal = signals.ending() => std::process::exit(signal.exit_code()),
        }
        ended
    })
}

/// When the settings are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    AtStart,
    Again,
}

/// Makes the authority of the settings; `None` for an open server.
///
/// # Errors
/// Which option can't be used, and why.
#[cfg(feature = "jwt")]
pub(crate) async fn authority(
    auth: &AuthConfig,
    when: When,
) -> Result<Option<Arc<dyn Authenticator>>, String> {
    match auth.mode {
        AuthMode::Open => Ok(None),
        AuthMode::Jwt | AuthMode::Cookie => {
            let jwt = super::identity::authority(auth, when).await?;
            Ok(Some(Arc::new(jwt)))
        }
    }
}

#[cfg(not(feature = "jwt"))]
pub(crate) async fn authority(
    auth: &AuthConfig,
    _: When,
) -> Result<Option<Arc<dyn Authenticator>>, String> {
    match auth.mode {
        AuthMode::Open => Ok(None),
        AuthMode::Jwt | AuthMode::Cookie => Err(format!("--auth: {}", super::NO_JWT)),
    }
}

fn start(
    config: &Config,
    log: Arc<dyn RoomLog>,
    authority: Option<Arc<dyn Authenticator>>,
    reloading: &reload::Reloading,
) -> Result<Server, Failed> {
    let workers = match config.workers {
        0 => available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let ms = |time: Duration| time.as_millis().try_into().unwrap_or(u64::MAX);
    let times = TimeValues {
        session_ms: ms(config.session_timeout),
        grace_ms: ms(config.leave_grace),
        auth_warn_ms: ms(config.auth.warning),
        ..TimeValues::default()
    };
    let times = times.build().expect("options have narrower bounds");
    let mut builder = Server::builder()
        .times(times)
        .log(log)
        .limits(config.limits.clone())
        .workers(workers)
        .page(config.web_dir.clone().map_or(Page::Embedded, Page::Folder))
        .origins(origins(&config.allow_origins).map_err(Failed::Origin)?)
        .hosts(hosts(&config.door.hosts))
        .admission(admission(&config.door))
        .http_connections(config.door.max_http_connections)
        .proxy_protocol(config.door.proxy_protocol)
        .lines_proxy_protocol(config.door.lines_proxy_protocol)
        .handshake_timeout(config.handshake_timeout)
        .drain_timeout(config.drain_timeout);
    if config.share_port {
        builder = builder.share_port();
    }
    builder = metrics(builder.trace_sample(config.trace_sample), config)?;
    builder = super::tls::listen(builder, config).map_err(Failed::Option)?;
    if let Some(authority) = authority {
        builder = builder.authenticator(authority);
    }
    if config.auth.mode == AuthMode::Cookie {
        builder = builder.auth_cookie(&config.auth.cookie);
    }
    super::api::add(builder, config, reloading)
        .and_then(|builder| super::webhooks::add(builder, config))
        .map_err(Failed::Option)?
        .start()
        .map_err(|error| Failed::from_server(error, config))
}

#[cfg(feature = "metrics")]
fn metrics(builder: Builder, config: &Config) -> Result<Builder, Failed> {
    Ok(match config.metrics_listen {
        Some(address) => builder.metrics_listen(address),
        None => builder,
    })
}

#[cfg(not(feature = "metrics"))]
fn metrics(builder: Builder, config: &Config) -> Result<Builder, Failed> {
    match config.metrics_listen {
        Some(_) => Err(Failed::Metrics),
        None => Ok(builder),
    }
}

/// Reads an option's origins.
pub(crate) fn origins(allowed: &[String]) -> Result<Origins, NotAnOrigin> {
    if allowed.is_empty() {
        return Ok(Origins::SameHost);
    }
    if allowed.iter().any(|origin| origin == "*") {
        return Ok(Origins::Any);
    }
    allowed.iter().map(|origin| origin.parse()).collect::<Result<_, _>>().map(Origins::Listed)
}

pub(crate) fn hosts(allowed: &[String]) -> Hosts {
    match allowed.iter().any(|host| host == "*") {
        true => Hosts::Any,
        false => Hosts::Listed(allowed.to_vec()),
    }
}

fn admission(door: &DoorConfig) -> Admission {
    let limits = ConnectionLimits {
        in_all: door.max_connections,
        per_address: door.max_connections_per_address,
        before_hello: door.max_connections_before_hello,
        ..ConnectionLimits::default()
    };
    Admission::new(limits, TrustedProxies::new(&door.trusted_proxies))
}

fn announce(server: &Server, config: &Config) {
    let scheme = if config.tls.cert.is_some() { "https" } else { "http" };
    if let Some(address) = server.local_addr() {
        super::print(&format!("chat-server listening on {scheme}://{}\n", openable(address)));
    }
    if let Some(address) = server.lines_addr() {
        super::print(&format!("chat-server lines on {address}\n"));
    }
    super::api::announce(server);
    #[cfg(feature = "metrics")]
    if let Some(address) = server.metrics_addr() {
        super::print(&format!("chat-server metrics on http://{}/metrics\n", openable(address)));
    }
}

/// An address that a browser on this machine can open: "every address" is none.
fn openable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn check_web_dir(config: &Config) -> Result<(), Failed> {
    let Some(dir) = &config.web_dir else { return Ok(()) };
    let cannot = |error| Failed::WebDir(dir.clone(), error);
    std::fs::read_dir(dir).map_err(cannot)?;
    match dir.join("index.html").is_file() {
        true => Ok(()),
        false => Err(cannot(io::Error::other("it has no index.html"))),
    }
}

/// The room log, by its own type: whoever opens it closes it.
enum Log {
    Memory(Arc<MemoryLog>),
    Sqlite(Arc<SqliteLog>),
}

impl Log {
    fn open(config: &Config) -> Result<Self, Failed> {
        match config.log {
            LogKind::Memory => Ok(Self::Memory(Arc::default())),
            LogKind::Sqlite => {
                let mut options = SqliteOptions::default();
                options.durability = match config.durability {
                    Durability::Full => SqliteDurability::Full,
                    Durability::Normal => SqliteDurability::Normal,
                };
                if config.share_port {
                    options.access = SqliteAccess::Shared;
                }
                let dir = &config.data_dir;
                std::fs::create_dir_all(dir)
                    .map_err(|error| Failed::DataDir(dir.clone(), error))?;
                let log = SqliteLog::open(dir.join(DATABASE), &options);
                log.map(Arc::new).map(Self::Sqlite).map_err(Failed::Log)
            }
        }
    }

    fn share(&self) -> Arc<dyn RoomLog> {
        match self {
            Self::Memory(log) => log.clone(),
            Self::Sqlite(log) => log.clone(),
        }
    }

    fn close(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Sqlite(log) => log.close(),
        }
    }
}

/// The room log's file in the data folder.
const DATABASE: &str = "chat.sqlite";

/// Why the server did not start or did not end well, in words for whoever starts it.
#[derive(Debug)]
pub(crate) enum Failed {
    /// An address can't be had; with its flag.
    Listen(SocketAddr, &'static str, io::Error),
    /// The room log can't be opened.
    Log(SqliteOpenError),
    /// The folder of the room log can't be made.
    DataDir(PathBuf, io::Error),
    /// The page's folder can't be used.
    WebDir(PathBuf, io::Error),
    /// It can't be known who somebody is; with the flag.
    Auth(String),
    /// Another option can't be used; with the flag.
    Option(String),
    /// Metrics are wanted of a server that has none.
    #[cfg(not(feature = "metrics"))]
    Metrics,
    /// An allowed origin is none.
    Origin(NotAnOrigin),
    /// The system refuses something that the server can't do without.
    System(io::Error),
    /// Whatever else the server says.
    Start(StartError),
    /// A worker has ended by itself.
    Worker,
}

impl Failed {
    fn from_server(error: StartError, config: &Config) -> Self {
        match error {
            StartError::Listen { address, error } if config.lines == Some(address) => {
                Self::Listen(address, "--lines", error)
            }
            StartError::Listen { address, error } if config.metrics_listen == Some(address) => {
                let flag = if config.listen == address { "--listen" } else { "--metrics-listen" };
                Self::Listen(address, flag, error)
            }
            StartError::Listen { address, error } if config.api.listen == Some(address) => {
                Self::Listen(address, "--api-listen", error)
            }
            StartError::Listen { address, error } => Self::Listen(address, "--listen", error),
            StartError::WebDir { path, error } => Self::WebDir(path, error),
            error => Self::Start(error),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, flag, error) => {
                let reason = match error.kind() {
                    io::ErrorKind::AddrInUse => "the port is in use".to_owned(),
                    io::ErrorKind::AddrNotAvailable => {
                        "this machine has no such address".to_owned()
                    }
                    io::ErrorKind::PermissionDenied => "this user may not open the port".to_owned(),
                    _ => error.to_string(),
                };
                write!(f, "cannot listen on {address}: {reason}; choose another with {flag}")
            }
            Self::Log(error @ SqliteOpenError::InUse { .. }) => write!(
                f,
                "{error}; choose another folder with --data-dir, or start both with --share-port"
            ),
            Self::Log(error) => write!(f, "{error}; choose another folder with --data-dir"),
            Self::DataDir(dir, error) => {
                let dir = dir.display();
                write!(f, "the folder {dir} can't be used: {error}; choose another with --data-dir")
            }
            Self::WebDir(dir, error) => {
                let dir = dir.display();
                write!(
                    f,
                    "cannot serve the page from {dir}: {error}; choose another with --web-dir"
                )
            }
            Self::Auth(why) | Self::Option(why) => f.write_str(why),
            #[cfg(not(feature = "metrics"))]
            Self::Metrics => {
                f.write_str("--metrics-listen: this server was built without the feature `metrics`")
            }
            Self::Origin(error) => write!(f, "--allow-origin: {error}"),
            Self::System(error) => write!(f, "cannot start: {error}"),
            Self::Start(error) => write!(f, "cannot start: {error}"),
            Self::Worker => f.write_str("a worker has failed; the log lines say where"),
        }
    }
}

impl Error for Failed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_address_can_be_opened() {
        for (bound, shown) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ] {
            assert_eq!(openable(bound.parse().unwrap()).to_string(), shown);
        }
    }

    #[test]
    fn the_reason_is_one_line_with_a_way_out() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8080));
        let error = Failed::Listen(address, "--listen", io::ErrorKind::AddrInUse.into());
        assert_eq!(
            error.to_string(),
            "cannot listen on 127.0.0.1:8080: the port is in use; choose another with --listen"
        );
    }
}
