//! One JSON value a line, over any stream of bytes: what `nc` and shell scripts can speak.
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use chat_proto::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::io::{DRAIN_BYTES_MAX, POLL_BYTES_MAX, poll_drain, poll_write_once};
use super::{Framing, Inbound, Properties, Transport, Utf8Bytes};
use crate::outbox::Outbox;

/// The server's side of a connection that speaks lines, over TCP, a Unix socket or anything like
/// it.
///
/// A line ends with LF; one CR before it is not part of it. An empty line is a sign of life. A
/// line longer than `frame_bytes` ends the connection: what follows it can't be told from its
/// rest. There are no pings, and no close codes: the stream just ends. An idle connection holds no
/// buffer.
#[derive(Debug)]
pub struct Lines<IO> {
    io: IO,
    /// What was read and not yet given out.
    inbound: BytesMut,
    /// How many bytes of it are known to hold no line feed.
    scanned: usize,
    frame_bytes: usize,
    unflushed: bool,
    /// Bytes that are still discarded while the connection closes.
    drain_left: usize,
    shut: bool,
}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> Lines<IO> {
    /// Begins a connection; `frame_bytes` is the longest line that is taken, without its end.
    #[must_use]
    pub fn new(io: IO, frame_bytes: u32) -> Self {
        Self {
            io,
            inbound: BytesMut::new(),
            scanned: 0,
            frame_bytes: frame_bytes as usize,
            unflushed: false,
            drain_left: DRAIN_BYTES_MAX,
            shut: false,
        }
    }

    /// Takes the next line out of what was read, if it is whole.
    fn next_line(&mut self) -> Option<Result<Utf8Bytes, CloseCode>> {
        let fresh = &self.inbound[self.scanned..];
        let Some(at) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.inbound.len();
            // The CR of a line of full length may be the last byte so far.
            let too_long = self.scanned > self.frame_bytes + 1;
            return too_long.then_some(Err(CloseCode::TooBig));
        };
        let mut line = self.inbound.split_to(self.scanned + at + 1);
        self.scanned = 0;
        line.truncate(line.len() - 1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if self.inbound.is_empty() {
            self.inbound = BytesMut::new();
        }
        if line.len() > self.frame_bytes {
            return Some(Err(CloseCode::TooBig));
        }
        Some(Utf8Bytes::try_from(line).map_err(|_| CloseCode::InvalidUtf8))
    }

    /// Reads once; `Ready(false)` at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> Poll<io::Result<bool>> {
        if *budget == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut bytes = [0; POLL_BYTES_MAX];
        let mut buffer = ReadBuf::new(&mut bytes[..*budget]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        *budget -= read.len();
        self.inbound.extend_from_slice(read);
        Poll::Ready(Ok(!read.is_empty()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for Lines<IO> {
    fn properties(&self) -> Properties {
        Properties { framing: Framing::Line, pings: false }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Inbound> {
        let mut budget = POLL_BYTES_MAX;
        let mut alive = false;
        loop {
            match self.next_line() {
                Some(Ok(line)) if line.is_empty() => alive = true,
                Some(Ok(line)) => return Poll::Ready(Inbound::Text(line)),
                Some(Err(code)) => return Poll::Ready(Inbound::Violation(code)),
                None if alive => return Poll::Ready(Inbound::Alive),
                None => match ready!(self.poll_fill(cx, &mut budget)) {
                    Ok(true) => {}
                    Ok(false) | Err(_) => return Poll::Ready(Inbound::Closed),
                },
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<io::Result<()>> {
        while !outbox.is_empty() {
            let written = ready!(poll_write_once(&mut self.io, cx, &[], outbox))?;
            outbox.advance(written);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn ping(&mut self) {}

    fn poll_close(&mut self, cx: &mut Context<'_>, _code: CloseCode) -> Poll<()> {
        if !self.shut {
            if ready!(Pin::new(&mut self.io).poll_shutdown(cx)).is_err() {
                self.drain_left = 0;
            }
            self.shut = true;
        }
        poll_drain(&mut self.io, cx, &mut self.drain_left)
    }
}
