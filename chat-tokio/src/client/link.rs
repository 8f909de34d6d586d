//! How frames travel, seen from the client.
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::transport::Utf8Bytes;

/// One live connection, seen from the client: texts in, texts out.
///
/// All methods are polled by one task, with its waker, and none of them may block.
pub trait Link: Send + 'static {
    /// Receives what comes next. Dropping the poll loses nothing. After [`Received::Closed`] it is
    /// not called again.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received>;

    /// Takes the texts out of the outbox, sends them in order and each whole, and flushes.
    ///
    /// Answers `Ready(Ok)` once the outbox is empty and nothing waits in a buffer of its own.
    ///
    /// # Errors
    /// When the connection is broken. What had come before can still be received.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut VecDeque<String>,
    ) -> Poll<io::Result<()>>;

    /// Tells the server why, where the transport can, and ends the connection. Called until it is
    /// ready or patience is over; the link is dropped then.
    fn poll_close(&mut self, cx: &mut Context<'_>, code: u16) -> Poll<()>;
}

/// What comes from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A text that should be a frame.
    Text(Utf8Bytes),
    /// A sign of life that is no frame.
    Alive,
    /// The connection is over, with this close code if there was one.
    Closed(Option<u16>),
}

/// What [`Connect::connect`] answers.
pub type ConnectFuture = Pin<Box<dyn Future<Output = io::Result<Box<dyn Link>>> + Send>>;

/// Makes connections to one server, again and again. Closures that answer a [`ConnectFuture`] can.
pub trait Connect: Send + Sync + 'static {
    /// Makes a connection that speaks `chat.v1`. How long that may take is not its affair: the
    /// future is dropped when it takes too long.
    fn connect(&self) -> ConnectFuture;
}

impl<F: Fn() -> ConnectFuture + Send + Sync + 'static> Connect for F {
    fn connect(&self) -> ConnectFuture {
        self()
    }
}
