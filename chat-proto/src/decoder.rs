//! The decoder of one connection.
use crate::client::ClientFrame;
use crate::decode::{self, DecodeError};
use crate::dialect::Dialect;

/// Decodes a connection's frames. A first `hello` switches the connection to `chat.v1`.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    dialect: Dialect,
    decided: bool,
}

impl Decoder {
    /// Makes a decoder. Pass [`Dialect::V1`] if the subprotocol was negotiated; otherwise pass
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

    /// Decodes one text.
    ///
    /// # Errors
    /// Says what is wrong and where. The connection may go on: each frame stands alone.
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
