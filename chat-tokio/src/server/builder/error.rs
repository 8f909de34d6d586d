//! Why a server does not start.
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use chat_proto::LimitsError;

use super::WORKERS_MAX;

/// Why a server does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A limit is out of bounds.
    Limits(LimitsError),
    /// That many workers are not possible.
    Workers(usize),
    /// An address can't be listened on.
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The folder of the user's own page can't be served.
    WebDir {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Webhooks can't be sent; why.
    Webhooks(String),
    /// The system gives no thread or no runtime.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limits(error) => error.fmt(f),
            Self::Workers(n) => write!(f, "{n} workers are not possible: 1 to {WORKERS_MAX} are"),
            Self::Listen { address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "cannot listen on {address}: the port is in use")
            }
            Self::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::WebDir { path, error } => {
                write!(f, "cannot serve the folder {}: {error}", path.display())
            }
            Self::Webhooks(why) => write!(f, "webhooks can't be sent: {why}"),
            Self::Thread(error) => write!(f, "cannot start a worker: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
