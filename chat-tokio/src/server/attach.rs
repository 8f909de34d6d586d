//! Handing a new connection to a worker.
use chat_proto::{Dialect, DisplayName};

use crate::transport::Transport;

/// A connection that is ready to speak.
pub struct NewConnection {
    /// How its frames travel.
    pub transport: Box<dyn Transport>,
    /// The negotiated dialect; `Basic` where nothing was negotiated, which a first `hello` changes.
    pub dialect: Dialect,
    /// The name given with the connection, if any.
    pub name: Option<DisplayName>,
}

impl std::fmt::Debug for NewConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewConnection")
            .field("dialect", &self.dialect)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// The worker has too much to do at the moment.
    Full,
    /// The worker is gone.
    Closed,
}

impl std::fmt::Display for AttachError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => "the server has too much to do at the moment",
            Self::Closed => "the server is gone",
        })
    }
}

impl std::error::Error for AttachError {}

/// Takes connections.
pub trait Attach: Send + Sync + 'static {
    /// Takes a connection, without waiting.
    ///
    /// # Errors
    /// When there is no place or nobody to take it; the transport is dropped.
    fn attach(&self, new: NewConnection) -> Result<(), AttachError>;
}
