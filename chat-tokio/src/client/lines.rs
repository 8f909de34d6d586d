//! Lines of JSON, over TCP or anything like it.
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use chat_proto::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite};

use super::link::{Link, Received};
use crate::outbox::Outbox;
use crate::transport::{Inbound, Lines, Transport};

/// A connection to a server's lines port. There are no close codes: the stream just ends.
#[derive(Debug)]
pub struct LinesLink<IO> {
    /// Lines are the same from both ends.
    lines: Lines<IO>,
    outbox: Outbox,
}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> LinesLink<IO> {
    /// Begins a connection; `frame_bytes` is the longest line that is taken.
    #[must_use]
    pub fn new(io: IO, frame_bytes: u32) -> Self {
        Self { lines: Lines::new(io, frame_bytes), outbox: Outbox::default() }
    }
}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> Link for LinesLink<IO> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        self.lines.poll_recv(cx).map(|inbound| match inbound {
            Inbound::Text(text) => Received::Text(text),
            Inbound::Alive => Received::Alive,
            Inbound::Violation(_) | Inbound::Left | Inbound::Closed => Received::Closed(None),
        })
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut VecDeque<String>,
    ) -> Poll<io::Result<()>> {
        for mut line in outbox.drain(..) {
            line.push('\n');
            self.outbox.push(Bytes::from(line));
        }
        self.lines.poll_send(cx, &mut self.outbox)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, _code: u16) -> Poll<()> {
        self.lines.poll_close(cx, CloseCode::Normal)
    }
}
