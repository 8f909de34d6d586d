//! How a new connection reaches the worker that owns it from then on.
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::{CloseCode, Dialect, DisplayName, Token};

use crate::accept::Place;
use crate::transport::Transport;

/// A connection after its handshake.
pub struct NewConnection {
    /// How its frames travel.
    pub transport: Box<dyn Transport>,
    /// What was negotiated; a first `hello` can still turn `Basic` into `V1`.
    pub dialect: Dialect,
    /// What the peer wants to be called, where that is told by the handshake.
    pub name: Option<DisplayName>,
    /// The credential that came with the handshake, if one did.
    pub credentials: Option<Token>,
    /// The client's address, as far as it is known: where a trusted proxy stands in between, what
    /// it says. An IPv4 address in IPv6's form is given as an IPv4 address.
    pub peer: Option<IpAddr>,
    /// Its place among all connections, free again once it ends. It tells whether the client's
    /// address is exempt from what is counted for each.
    pub place: Option<Arc<Place>>,
}

impl NewConnection {
    /// Makes a connection of which nothing else is known.
    #[must_use]
    pub fn new(transport: Box<dyn Transport>, dialect: Dialect) -> Self {
        Self { transport, dialect, name: None, credentials: None, peer: None, place: None }
    }
}

impl fmt::Debug for NewConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewConnection")
            .field("transport", &self.transport.properties())
            .field("dialect", &self.dialect)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// There is no room for it at the moment.
    Full,
    /// The server leaves service.
    Closed,
}

impl AttachError {
    /// Returns what the peer is told.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Full => CloseCode::Overloaded,
            Self::Closed => CloseCode::Draining,
        }
    }
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "no room for more connections",
            Self::Closed => "the server leaves service",
        })
    }
}

impl std::error::Error for AttachError {}

/// A connection that was not taken, given back so that its peer can be told why.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub why: AttachError,
    /// What was not taken.
    pub connection: NewConnection,
}

/// Who takes new connections: a worker.
pub trait Attach: Send + Sync + 'static {
    /// Takes a connection. It does not wait.
    ///
    /// # Errors
    /// Gives the connection back when it can't be taken.
    fn attach(&self, new: NewConnection) -> Result<(), Refused>;

    /// Tells whether a connection would be taken, so that a peer can be refused during its
    /// handshake, which is cheaper for both sides. `Ok` promises nothing.
    ///
    /// # Errors
    /// Why it would not be taken.
    fn would_attach(&self) -> Result<(), AttachError> {
        Ok(())
    }
}

/// How long a refused peer may take to hear it.
const REFUSE_TIME_MAX: Duration = Duration::from_secs(5);

impl Refused {
    /// Tells the peer why and ends the connection, in 5 seconds at most.
    pub async fn close(self) {
        let Self { why, connection: NewConnection { mut transport, .. } } = self;
        let close = poll_fn(|cx| transport.poll_close(cx, why.close_code()));
        // Past the deadline the connection is dropped.
        let _ = tokio::time::timeout(REFUSE_TIME_MAX, close).await;
    }
}
