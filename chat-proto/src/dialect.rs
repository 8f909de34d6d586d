//! The dialects of the protocol.

/// The WebSocket subprotocol of [`Dialect::V1`].
pub const SUBPROTOCOL: &str = "chat.v1";

/// The set of frames that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// Four fields, no replies.
    Basic,
    /// All frames.
    V1,
}
