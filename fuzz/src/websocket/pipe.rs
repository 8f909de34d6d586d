//! The connection's other end, in memory.
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Serves bytes in pieces and records what is written. The clone of it that the target keeps is the
/// peer's view.
#[derive(Clone)]
pub(super) struct Pipe(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    unread: Vec<u8>,
    /// How many of `unread` are gone.
    taken: usize,
    ended: bool,
    dry: bool,
    written: Vec<u8>,
    unflushed: bool,
    shut: bool,
    // Each on its own: in step with the writes, all reads could be late, for ever.
    reads: Pieces,
    writes: Pieces,
}

/// How large the pieces are that go through at once, over and over.
#[derive(Clone, Default)]
struct Pieces {
    script: Vec<u8>,
    turn: usize,
    waited: bool,
}

impl Pieces {
    /// How many bytes may go now; `None` is "later", which it is never twice in a row.
    fn next(&mut self) -> Option<usize> {
        if self.script.is_empty() {
            return Some(usize::MAX);
        }
        let byte = self.script[self.turn % self.script.len()];
        self.turn += 1;
        let size = match byte & 7 {
            0 if !self.waited => None,
            0 | 1 => Some(1),
            2 => Some(2),
            3 => Some(3),
            4 => Some(13),
            5 => Some(127),
            6 => Some(512),
            _ => Some(usize::MAX),
        };
        self.waited = size.is_none();
        size
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if let Some(size) = self.next() {
            return Poll::Ready(size);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Pipe {
    /// Makes one that has this to say and then, if it `ended`, ends. An empty script has it go
    /// through at once.
    pub(super) fn new(unread: &[u8], ended: bool, script: &[u8]) -> Self {
        let pieces = Pieces { script: script.to_vec(), ..Pieces::default() };
        let (reads, writes, unread) = (pieces.clone(), pieces, unread.to_vec());
        Self(Arc::new(Mutex::new(State { unread, ended, reads, writes, ..State::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether more was asked for than there is.
    pub(super) fn is_dry(&self) -> bool {
        self.lock().dry
    }

    /// Whether something was written and not flushed.
    pub(super) fn is_unflushed(&self) -> bool {
        self.lock().unflushed
    }

    /// Has the peer end its side. Whoever waits for that is polled next in any case.
    pub(super) fn end(&self) {
        self.lock().ended = true;
    }

    pub(super) fn written(&self) -> Vec<u8> {
        self.lock().written.clone()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let state = &mut *self.lock();
        assert!(into.remaining() > 0, "a read into nothing looks like the end");
        let left = state.unread.len() - state.taken;
        if left == 0 {
            state.dry = true;
            return if state.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let size = std::task::ready!(state.reads.poll_next(cx));
        let from = state.taken;
        state.taken += size.min(left).min(into.remaining());
        into.put_slice(&state.unread[from..state.taken]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.lock();
        assert!(!state.shut, "nothing is written after the end");
        let size = std::task::ready!(state.writes.poll_next(cx));
        let before = state.written.len();
        let bytes = slices.iter().flat_map(|slice| slice.iter()).take(size);
        state.written.extend(bytes);
        let count = state.written.len() - before;
        assert!(count > 0, "nothing was to be written");
        state.unflushed = true;
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.lock();
        let _ = std::task::ready!(state.writes.poll_next(cx));
        state.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.lock();
        (state.shut, state.unflushed) = (true, false);
        Poll::Ready(Ok(()))
    }
}
