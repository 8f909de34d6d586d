//! The errors of a server that does not start.
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use chat_state::TimesError;

use super::WORKERS_MAX;

/// An error of [`Builder::start`](super::Builder::start).
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A time is out of bounds.
    Times(TimesError),
    /// The number of workers is out of bounds.
    Workers(usize),
    /// The server cannot listen on an address.
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// The folder of the operator's own page cannot be served.
    WebDir {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// Webhooks cannot be sent, with the reason.
    Webhooks(String),
    /// The system refused a thread or a runtime.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(error) => error.fmt(f),
            Self::Workers(n) => write!(f, "{n} workers are not possible: 1 to {WORKERS_MAX} are"),
            Self::Listen { address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "cannot listen on {address}: the port is in use")
            }
            Self::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::WebDir { path, error } => {
                write!(f, "cannot serve the folder {}: {error}", path.display())
            }
            Self::Webhooks(why) => write!(f, "webhooks cannot be sent: {why}"),
            Self::Thread(error) => write!(f, "cannot start a worker: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
