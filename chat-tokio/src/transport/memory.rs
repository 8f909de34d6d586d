//! A connection inside the process: for programs that embed the server, for tests, and for a
//! million sessions without a million sockets.
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use chat_proto::CloseCode;

use super::{Framing, Inbound, Properties, Transport, Utf8Bytes};
use crate::outbox::Outbox;

/// Makes the two sides of a connection.
///
/// Each direction holds up to `capacity_bytes` of texts (and one text beyond it, so that a long
/// one towards the peer always passes). A longer text from the peer is a violation, as on any
/// transport.
#[must_use]
pub fn pair(capacity_bytes: usize) -> (MemoryTransport, MemoryPeer) {
    let shared = Arc::new(Mutex::new(Shared::default()));
    let server = MemoryTransport { shared: Arc::clone(&shared), capacity_bytes };
    (server, MemoryPeer { shared, capacity_bytes })
}

/// The server's side.
#[derive(Debug)]
pub struct MemoryTransport {
    shared: Arc<Mutex<Shared>>,
    capacity_bytes: usize,
}

/// The peer's side. Dropping it ends the connection; [`MemoryPeer::vanish`] does not.
#[derive(Debug)]
pub struct MemoryPeer {
    shared: Arc<Mutex<Shared>>,
    capacity_bytes: usize,
}

/// The connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is over")
    }
}

impl std::error::Error for Gone {}

#[derive(Debug, Default)]
struct Shared {
    to_server: Queue,
    to_peer: Queue,
    code: Option<CloseCode>,
    /// The peer has said goodbye.
    left: bool,
}

/// One direction.
#[derive(Debug, Default)]
struct Queue {
    /// Most of the time there is one at most, which needs no memory of its own.
    first: Option<Utf8Bytes>,
    /// Those after the first.
    rest: VecDeque<Utf8Bytes>,
    bytes: usize,
    /// Nothing more will be put.
    ended: bool,
    /// Nothing more will be taken.
    deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Queue {
    fn poll_put(
        &mut self,
        cx: &mut Context<'_>,
        capacity_bytes: usize,
        length: usize,
        text: impl FnOnce() -> Result<Utf8Bytes, io::Error>,
    ) -> Poll<io::Result<()>> {
        if self.ended || self.deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.bytes + length > capacity_bytes && self.first.is_some() {
            keep(&mut self.writer, cx);
            return Poll::Pending;
        }
        self.bytes += length;
        let text = text()?;
        if self.first.is_none() {
            self.first = Some(text);
        } else {
            self.rest.push_back(text);
        }
        wake(&mut self.reader);
        Poll::Ready(Ok(()))
    }

    fn take(&mut self) -> Option<Utf8Bytes> {
        let text = self.first.take()?;
        self.bytes -= text.len();
        if let Some(next) = self.rest.pop_front() {
            self.first = Some(next);
        } else if self.rest.capacity() > 0 {
            // A million idle ones must not keep what they need no more.
            self.rest = VecDeque::new();
        }
        wake(&mut self.writer);
        Some(text)
    }

    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Utf8Bytes>> {
        match self.take() {
            Some(text) => Poll::Ready(Some(text)),
            None if self.ended => Poll::Ready(None),
            None => {
                keep(&mut self.reader, cx);
                Poll::Pending
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        wake(&mut self.reader);
        wake(&mut self.writer);
    }

    fn deafen(&mut self) {
        self.deaf = true;
        (self.first, self.rest) = (None, VecDeque::new());
        self.bytes = 0;
        wake(&mut self.writer);
    }
}

fn keep(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

fn wake(slot: &mut Option<Waker>) {
    if let Some(waker) = slot.take() {
        waker.wake();
    }
}

/// The state is whole between any two steps, so a panic elsewhere does not spoil it.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transport for MemoryTransport {
    fn properties(&self) -> Properties {
        Properties { framing: Framing::Text, pings: false }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Inbound> {
        let mut shared = lock(&self.shared);
        shared.to_server.poll_take(cx).map(|text| match text {
            Some(text) if text.len() > self.capacity_bytes => Inbound::Violation(CloseCode::TooBig),
            Some(text) => Inbound::Text(text),
            None if shared.left => Inbound::Left,
            None => Inbound::Closed,
        })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.shared);
        while let Some(length) = outbox.first_len() {
            let text = || {
                let frame: Bytes = outbox.pop().unwrap_or_default();
                Utf8Bytes::try_from(frame)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
            };
            std::task::ready!(shared.to_peer.poll_put(cx, self.capacity_bytes, length, text))?;
        }
        Poll::Ready(Ok(()))
    }

    fn ping(&mut self) {}

    fn poll_close(&mut self, _cx: &mut Context<'_>, code: CloseCode) -> Poll<()> {
        let mut shared = lock(&self.shared);
        shared.code.get_or_insert(code);
        shared.to_peer.end();
        shared.to_server.deafen();
        Poll::Ready(())
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.to_peer.end();
        shared.to_server.deafen();
    }
}

impl MemoryPeer {
    /// Sends one text; waits while the server does not take more.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn send(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), Gone> {
        let mut text = Some(text.into());
        poll_fn(|cx| self.poll_send(cx, &mut text)).await
    }

    /// As [`MemoryPeer::send`], for those who poll: the text is taken once it is sent.
    ///
    /// # Errors
    /// When the connection is over.
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        text: &mut Option<Utf8Bytes>,
    ) -> Poll<Result<(), Gone>> {
        let length = text.as_ref().map_or(0, |text| text.len());
        let take = || Ok(text.take().unwrap_or_default());
        let mut shared = lock(&self.shared);
        shared.to_server.poll_put(cx, self.capacity_bytes, length, take).map_err(|_| Gone)
    }

    /// Receives the next text; `None` once the server has closed and all was received.
    pub async fn recv(&mut self) -> Option<Utf8Bytes> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`MemoryPeer::recv`], for those who poll.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Utf8Bytes>> {
        lock(&self.shared).to_peer.poll_take(cx)
    }

    /// Receives a text if one is there.
    pub fn try_recv(&mut self) -> Option<Utf8Bytes> {
        lock(&self.shared).to_peer.take()
    }

    /// Says that nothing more will be sent. What the server sends can still be received.
    pub fn close(&mut self) {
        lock(&self.shared).to_server.end();
    }

    /// As [`MemoryPeer::close`], and says that its session is over, too.
    pub fn leave(&mut self) {
        lock(&self.shared).left = true;
        self.close();
    }

    /// Returns why the server closed, once it has.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        lock(&self.shared).code
    }

    /// Goes away without a word, as a peer does whose machine lost its power: the server sees
    /// neither an end nor an error, and what it sends is not taken.
    pub fn vanish(mut self) {
        // The drop that follows works on a connection of its own.
        self.shared = Arc::default();
    }
}

impl Drop for MemoryPeer {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.to_server.end();
        shared.to_peer.deafen();
    }
}
