//! From the settings to a running server, and back to silence.
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use chat_tokio::config::{Config, Durability, LogKind};
use chat_tokio::log::{
    MemoryLog, RoomLog, SqliteDurability, SqliteLog, SqliteOpenError, SqliteOptions,
};

use super::signals::Signals;
use super::stub::{Server, StartError};

/// Runs the server until a signal has ended it and it is drained.
///
/// # Errors
/// If it can't start.
pub(crate) fn serve(config: &Config) -> Result<(), CannotStart> {
    check_web_dir(config)?;
    let log = Log::open(config)?;
    let served = run(config, &log);
    log.close();
    served
}

fn run(config: &Config, log: &Log) -> Result<(), CannotStart> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CannotStart::System)?;
    runtime.block_on(async {
        // Before the start-up line: who reads it may send a signal at once.
        let mut signals = Signals::listen().map_err(CannotStart::System)?;
        let server = start(config, log.share())?;
        announce(&server);
        let signal = signals.next().await;
        tracing::info!(?signal, "draining");
        tokio::select! {
            () = server.shutdown() => tracing::info!("drained"),
            signal = signals.next() => std::process::exit(signal.exit_code()),
        }
        Ok(())
    })
}

fn start(config: &Config, log: Arc<dyn RoomLog>) -> Result<Server, CannotStart> {
    let workers = match config.workers {
        0 => available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let mut builder = Server::builder()
        .log(log)
        .limits(config.limits.clone())
        .workers(workers)
        .listen(config.listen)
        .allow_origins(config.allow_origins.clone())
        .handshake_timeout(config.handshake_timeout)
        .drain_timeout(config.drain_timeout);
    if let Some(lines) = config.lines {
        builder = builder.listen_lines(lines);
    }
    if let Some(web_dir) = &config.web_dir {
        builder = builder.web_dir(web_dir.clone());
    }
    builder.start().map_err(|error| CannotStart::from_server(&error, config))
}

fn announce(server: &Server) {
    if let Some(address) = server.local_addr() {
        super::print(&format!("chat-server listening on http://{}\n", openable(address)));
    }
    if let Some(address) = server.lines_addr() {
        super::print(&format!("chat-server lines on {address}\n"));
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

fn check_web_dir(config: &Config) -> Result<(), CannotStart> {
    let Some(dir) = &config.web_dir else { return Ok(()) };
    let cannot = |error| CannotStart::WebDir(dir.clone(), error);
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
    fn open(config: &Config) -> Result<Self, CannotStart> {
        match config.log {
            LogKind::Memory => Ok(Self::Memory(Arc::default())),
            LogKind::Sqlite => {
                let mut options = SqliteOptions::default();
                options.durability = match config.durability {
                    Durability::Full => SqliteDurability::Full,
                    Durability::Normal => SqliteDurability::Normal,
                };
                let dir = &config.data_dir;
                std::fs::create_dir_all(dir)
                    .map_err(|error| CannotStart::DataDir(dir.clone(), error))?;
                let log = SqliteLog::open(dir.join(DATABASE), &options);
                log.map(Arc::new).map(Self::Sqlite).map_err(CannotStart::Log)
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

/// Why the server did not start, in words for whoever starts it.
#[derive(Debug)]
pub(crate) enum CannotStart {
    /// An address can't be had; with its flag.
    Listen(SocketAddr, &'static str, io::ErrorKind),
    /// The room log can't be opened.
    Log(SqliteOpenError),
    /// The folder of the room log can't be made.
    DataDir(PathBuf, io::Error),
    /// The page's folder can't be used.
    WebDir(PathBuf, io::Error),
    /// The system refuses something that the server can't do without.
    System(io::Error),
    /// Whatever else the server says.
    Other(String),
}

impl CannotStart {
    fn from_server(error: &StartError, config: &Config) -> Self {
        let kind = io_kind(error);
        match (kind, error.address(), config.lines) {
            (Some(kind), Some(address), lines) if lines == Some(address) => {
                Self::Listen(address, "--lines", kind)
            }
            (Some(kind), Some(address), _) => Self::Listen(address, "--listen", kind),
            (None, _, _) | (_, None, _) => Self::Other(error.to_string()),
        }
    }
}

/// Finds the system's error at the bottom of an error.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut error = Some(error);
    while let Some(current) = error {
        if let Some(io) = current.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        error = current.source();
    }
    None
}

impl fmt::Display for CannotStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, flag, kind) => {
                let reason = match kind {
                    io::ErrorKind::AddrInUse => "the port is in use",
                    io::ErrorKind::AddrNotAvailable => "this machine has no such address",
                    io::ErrorKind::PermissionDenied => "the port is not open to this user",
                    kind => return write!(f, "cannot listen on {address}: {kind} ({flag})"),
                };
                write!(f, "cannot listen on {address}: {reason}; choose another with {flag}")
            }
            Self::DataDir(dir, error) => {
                let dir = dir.display();
                write!(f, "the folder {dir} can't be used: {error}; choose another with --data-dir")
            }
            Self::Log(error) => write!(f, "{error}; choose another folder with --data-dir"),
            Self::WebDir(dir, error) => {
                let dir = dir.display();
                write!(
                    f,
                    "cannot serve the page from {dir}: {error}; choose another with --web-dir"
                )
            }
            Self::System(error) => write!(f, "cannot start: {error}"),
            Self::Other(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl Error for CannotStart {}

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
        let error = CannotStart::Listen(address, "--listen", io::ErrorKind::AddrInUse);
        assert_eq!(
            error.to_string(),
            "cannot listen on 127.0.0.1:8080: the port is in use; choose another with --listen"
        );
    }
}
