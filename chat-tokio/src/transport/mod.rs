//! How frames travel.
//!
//! A [`Transport`] yields the peer's texts and takes batches of encoded frames. Shipped are
//! WebSocket, lines over TCP or anything like it, and an in-memory pair; anyone can bring another.
use std::task::{Context, Poll};

use bytes::Bytes;
use chat_proto::{CloseCode, Encoded};
pub use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::outbox::Outbox;

mod eager;
mod io;
pub mod lines;
pub mod memory;
pub mod websocket;

pub(crate) use eager::Eager;
pub use lines::Lines;
pub use websocket::WebSocket;

/// One live connection, seen from the server.
///
/// All methods are polled by the one worker that owns the connection, on one thread. None of them
/// may block. `poll_recv` and `poll_send` get the same waker, that of the connection's task, also
/// when the worker calls `poll_send` itself at the end of a turn.
pub trait Transport: Send + 'static {
    /// Says what the transport can do. It must not change.
    fn properties(&self) -> Properties;

    /// Receives what comes next. Dropping the poll loses nothing. After [`Inbound::Left`],
    /// [`Inbound::Closed`] or [`Inbound::Violation`] it is not called again.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Inbound>;

    /// Writes the frames of the outbox, in order and each whole, and flushes.
    ///
    /// Answers `Ready(Ok)` once the outbox is empty and nothing of it, nor anything of the
    /// transport's own, waits in a buffer; `Pending` if the peer does not take more at the moment,
    /// with the waker registered.
    ///
    /// # Errors
    /// When the connection is broken; it is then dropped.
    fn poll_send(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox)
    -> Poll<std::io::Result<()>>;

    /// Asks the peer for a sign of life, which comes back as [`Inbound::Alive`]. It is written by
    /// the next `poll_send`. Does nothing where [`Properties::pings`] is false.
    fn ping(&mut self);

    /// Tells the peer why, ends the connection and waits for the peer's end of it. Called with an
    /// empty outbox or after the worker gave up on it; called again until it is ready or the
    /// worker's patience is over, after which the transport is dropped.
    fn poll_close(&mut self, cx: &mut Context<'_>, code: CloseCode) -> Poll<()>;
}

/// What a transport can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties {
    /// In which form it wants frames.
    pub framing: Framing,
    /// Whether it can ask for a sign of life below the frames.
    pub pings: bool,
}

/// In which form a transport wants frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// As a whole WebSocket text frame.
    WebSocket,
    /// As a text and a line feed.
    Line,
    /// As a bare text.
    Text,
}

impl Framing {
    /// Takes the form of an encoded frame.
    #[must_use]
    pub fn of(self, encoded: &Encoded) -> Bytes {
        match self {
            Self::WebSocket => encoded.websocket(),
            Self::Line => encoded.line(),
            Self::Text => encoded.text(),
        }
    }
}

/// What comes from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// A text that should be a frame.
    Text(Utf8Bytes),
    /// A sign of life that is no frame.
    Alive,
    /// The peer broke a rule of the transport; it is told so by [`Transport::poll_close`].
    Violation(CloseCode),
    /// The peer has said goodbye and will not come back: its session ends.
    Left,
    /// The peer is gone.
    Closed,
}
