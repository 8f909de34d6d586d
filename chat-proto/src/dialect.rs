//! Which frames a connection speaks.
use crate::client::ClientFrame;
use crate::decode::{self, DecodeError};

/// The WebSocket subprotocol of [`Dialect::V1`].
pub const SUBPROTOCOL: &str = "chat.v1";

/// Which frames a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// Four fields, no replies.
    Basic,
    /// Everything.
    V1,
}

/// Reads a connection's frames, and notices when it chooses its dialect by a first `hello`.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    dialect: Dialect,
    decided: bool,
}

impl Decoder {
    /// Begins a connection: with [`Dialect::V1`] if that was negotiated, else with
    /// [`Dialect::Basic`], which a first frame `hello` turns into `V1`.
    #[must_use]
    pub const fn new(dialect: Dialect) -> Self {
        Self { dialect, decided: matches!(dialect, Dialect::V1) }
    }

    /// Returns the dialect so far.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Reads one text.
    ///
    /// # Errors
    /// Says what is wrong and where. The connection can go on: every frame stands for itself.
    pub fn decode(&mut self, text: &str) -> Result<ClientFrame, DecodeError> {
        if !self.decided {
            self.decided = true;
            if decode::is_hello(text) {
                self.dialect = Dialect::V1;
            }
        }
        match self.dialect {
            Dialect::Basic => decode::basic(text).map(ClientFrame::Basic),
            Dialect::V1 => decode::v1(text).map(|(id, request)| ClientFrame::V1 { id, request }),
        }
    }
}
