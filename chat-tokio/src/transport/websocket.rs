//! WebSocket, after the handshake.
//!
//! tungstenite reads: it unmasks, joins fragments, checks UTF-8 and answers pings and closes. It
//! never writes to the connection. Outgoing frames carry their header already and are shared by
//! all who get them, so they go from the outbox to the kernel as they are, many in one vectored
//! write; what tungstenite wants to say is put between them.
//!
//! *Invariant:* no control frame is written inside a half-written frame, and nothing after a close.
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf;
use chat_proto::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

use self::control::Control;
use self::wire::Wire;
use super::io::{DRAIN_BYTES_MAX, POLL_BYTES_MAX, poll_drain, poll_write_once};
use super::{Framing, Inbound, Properties, Transport};
use crate::outbox::Outbox;

mod control;
mod wire;

/// The server's side of a WebSocket over any stream of bytes, after the handshake.
///
/// Needs a tokio runtime with timers, for the pauses it imposes on floods. It holds one read
/// buffer of 512 bytes; while a longer message comes in, also that message; and less than 400
/// bytes of control frames.
///
/// # Floods
/// tungstenite shows neither empty fragments nor what a message cost on the wire, so bytes are
/// counted below it. One poll reads at most 4 KiB, then others get their turn. A poll that used
/// this up and met control frames (dozens in a row), or that goes beyond the longest message, is
/// also followed by a pause of 10 ms in which nothing is read, and for as long as control frames
/// go on so, each time by one twice as long, up to 1.28 s: such a flood is read at 3 KiB/s in the
/// end. And when 4 × `frame_bytes` + 64 KiB have come without a message, the connection is in
/// violation: that much carries a message of full length in fragments of two bytes.
pub struct WebSocket<IO> {
    io: IO,
    context: WebSocketContext,
    control: Control,
    /// Bytes read since the last message, less what control frames may cost.
    bytes_without_message: usize,
    /// At least as many bytes as tungstenite holds unread: 0 means that it holds none.
    buffered: usize,
    frame_bytes: usize,
    pause: Option<Pin<Box<Sleep>>>,
    /// Pauses in a row, without a moment in which there was nothing to read.
    pauses: u32,
    /// Whether the outbox's first frame is half gone.
    mid_frame: bool,
    /// Whether bytes were written that were not flushed.
    unflushed: bool,
    end: End,
}

/// How far the end of the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It lives.
    Open,
    /// The peer closed, and what is to be answered waits in the control frames.
    ByPeer,
    /// The peer broke a rule: what it says from here on can't be read.
    ByViolation,
    /// We closed and wait for the peer's close; so many bytes may come until then.
    ByUs { left: usize },
    /// All is said; the peer's end is awaited.
    Draining { left: usize },
    /// Nothing is left to be done.
    Done,
}

/// An idle connection keeps its read buffer, and requests are short and come one at a time.
/// Measured over tokio-tungstenite: 2.6 KB of memory for a connection with 512 bytes, 4.6 KB with
/// 1 KiB, 131 KB with its default of 128 KiB.
const READ_BUFFER_BYTES: usize = 512;

/// tungstenite writes its frames one by one and they are taken at once, so its own write buffer
/// holds at most one control frame (127 bytes).
const WRITE_BUFFER_BYTES: usize = 256;

/// What a control frame may cost on the wire: header, mask and 125 bytes.
const CONTROL_BYTES: usize = 131;

/// What headers and a few fragments may add to a message on the wire.
const FRAMING_BYTES: usize = 1024;

/// Bytes without a message that are always borne.
const JUNK_BYTES: usize = 64 * 1024;

/// How long a flood is not read the first time.
const FLOOD_PAUSE: Duration = Duration::from_millis(10);

/// How often the pause gets twice as long: up to 1.28 s. What a flood costs is one poll each time,
/// so a thousand of them take less than half a core.
const FLOOD_DOUBLINGS: u32 = 7;

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> WebSocket<IO> {
    /// Begins after the handshake. `already_read` is what came after the request's head;
    /// `frame_bytes` is the longest message that is taken.
    #[must_use]
    pub fn new(io: IO, already_read: &[u8], frame_bytes: u32) -> Self {
        let frame_bytes = frame_bytes as usize;
        let context = new_context(already_read.to_vec(), frame_bytes);
        Self {
            io,
            context,
            control: Control::default(),
            bytes_without_message: 0,
            buffered: already_read.len(),
            frame_bytes,
            pause: None,
            pauses: 0,
            mid_frame: false,
            unflushed: false,
            end: End::Open,
        }
    }

    /// Reads until there is something to say, the socket is dry or the budget is used up.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Inbound> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let mut wire = Wire {
            io: &mut self.io,
            cx,
            control: &mut self.control,
            budget: POLL_BYTES_MAX,
            exhausted: false,
        };
        let mut controls = 0;
        let mut taken = 0;
        let outcome = loop {
            match self.context.read(&mut wire) {
                // tungstenite answers a ping at the beginning of the next read.
                Ok(Message::Ping(payload) | Message::Pong(payload)) => {
                    controls += 1;
                    taken += wire_bytes(payload.len());
                }
                Ok(Message::Text(text)) => {
                    taken += wire_bytes(text.len());
                    break Some(Inbound::Text(text));
                }
                Ok(Message::Binary(_)) => break Some(Inbound::Violation(CloseCode::Unsupported)),
                Ok(Message::Close(frame)) => {
                    // It says that the connection is closed once the answer is written.
                    let _closed = self.context.flush(&mut wire);
                    let normal = CloseCode::Normal.number();
                    let on_purpose = frame.is_some_and(|frame| u16::from(frame.code) == normal);
                    break Some(if on_purpose { Inbound::Left } else { Inbound::Closed });
                }
                Ok(Message::Frame(_)) => break Some(Inbound::Violation(CloseCode::ProtocolError)),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(error) => break Some(classify(&error)),
            }
        };
        let (read, exhausted) = (POLL_BYTES_MAX - wire.budget, wire.exhausted);
        self.buffered = (self.buffered + read).saturating_sub(taken);
        let borne = self.bytes_without_message + read;
        self.bytes_without_message = borne.saturating_sub(controls * CONTROL_BYTES);
        match outcome {
            Some(inbound) => {
                self.bytes_without_message = 0;
                self.give_back(&inbound);
                Poll::Ready(inbound)
            }
            None if self.bytes_without_message > 4 * self.frame_bytes + JUNK_BYTES => {
                Poll::Ready(Inbound::Violation(CloseCode::TooBig))
            }
            None => {
                if exhausted {
                    self.give_way(cx, controls > 0);
                } else {
                    self.pauses = 0;
                }
                if controls > 0 { Poll::Ready(Inbound::Alive) } else { Poll::Pending }
            }
        }
    }

    /// Gives the buffer of a long message back. tungstenite would keep it as long as the connection
    /// lives, so after one long message each an idle connection would cost `frame_bytes`.
    fn give_back(&mut self, inbound: &Inbound) {
        if let Inbound::Text(text) = inbound
            && self.buffered == 0
            && text.len() > READ_BUFFER_BYTES
        {
            // Between two messages, nothing unread and no pong due: a new context is the same.
            self.context = new_context(Vec::new(), self.frame_bytes);
        }
    }

    /// Lets others have their turn; a flood also has to wait.
    fn give_way(&mut self, cx: &mut Context<'_>, met_controls: bool) {
        if met_controls || self.bytes_without_message > self.frame_bytes + FRAMING_BYTES {
            // Fragments have an end by themselves: they may only be so many.
            if met_controls {
                self.pauses = (self.pauses + 1).min(FLOOD_DOUBLINGS + 1);
            }
            let time = FLOOD_PAUSE * (1 << self.pauses.saturating_sub(1));
            let mut pause = Box::pin(tokio::time::sleep(time));
            if pause.as_mut().poll(cx).is_pending() {
                self.pause = Some(pause);
                return;
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Writes control frames, if they may go out now.
    ///
    /// A pong must not depend on there being something else to send, so receiving writes it. What
    /// does not fit goes out with the next poll of any kind.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.control.is_empty() && !self.mid_frame {
            let bytes = self.control.pending();
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.control.advance(written);
            self.unflushed = true;
        }
        self.poll_flush(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<io::Result<()>> {
        if self.control.is_closed() {
            outbox.clear();
        }
        loop {
            if outbox.is_mid_frame() && !self.control.is_empty() {
                let rest = outbox.chunk();
                let written = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                outbox.advance(written);
            } else if outbox.is_empty() && self.control.is_empty() {
                return self.poll_flush(cx);
            } else {
                let control = self.control.pending();
                let own = control.len();
                let written = ready!(poll_write_once(&mut self.io, cx, control, outbox))?;
                self.control.advance(own.min(written));
                outbox.advance(written.saturating_sub(own));
            }
            self.unflushed = true;
        }
    }

    /// Waits for the peer's answer to our close, reading on as before but for nobody.
    fn poll_answer(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<()> {
        let mut wire = Wire {
            io: &mut self.io,
            cx,
            control: &mut self.control,
            budget: POLL_BYTES_MAX,
            exhausted: false,
        };
        loop {
            match self.context.read(&mut wire) {
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(Message::Close(_)) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        *left = left.saturating_sub(POLL_BYTES_MAX - wire.budget);
        if *left == 0 {
            return Poll::Ready(());
        }
        if wire.exhausted {
            wire.cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Puts our close and says what comes after it is written.
    fn begin_close(&mut self, code: CloseCode) -> End {
        let already_closed = self.control.is_closed();
        // Where a rule of ours was broken that is not the same everywhere.
        let more = match (code, self.end) {
            (CloseCode::TooBig, End::ByViolation) => {
                format!(": frame_bytes is {}", self.frame_bytes)
            }
            _ => String::new(),
        };
        self.control.close(code, &more);
        match self.end {
            End::Open if self.mid_frame => End::Done,
            End::Open => {
                let mut ignored = Control::default();
                let mut cx = Context::from_waker(std::task::Waker::noop());
                let mut wire = Wire {
                    io: &mut self.io,
                    cx: &mut cx,
                    control: &mut ignored,
                    budget: 0,
                    exhausted: false,
                };
                // Only its state is wanted: from here on it reads for the peer's close.
                let _ = self.context.close(&mut wire, None);
                End::ByUs { left: DRAIN_BYTES_MAX }
            }
            End::ByViolation if self.mid_frame => End::Done,
            End::ByViolation => End::Draining { left: DRAIN_BYTES_MAX },
            End::ByPeer if already_closed && !self.mid_frame => End::Draining { left: 0 },
            End::ByPeer => End::Done,
            End::ByUs { .. } | End::Draining { .. } | End::Done => self.end,
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for WebSocket<IO> {
    fn properties(&self) -> Properties {
        Properties { framing: Framing::WebSocket, pings: true }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Inbound> {
        if self.end != End::Open {
            // tungstenite would read on behind a text that is not UTF-8.
            return Poll::Ready(Inbound::Closed);
        }
        let inbound = self.poll_read(cx);
        match &inbound {
            Poll::Ready(Inbound::Closed | Inbound::Left) => self.end = End::ByPeer,
            Poll::Ready(Inbound::Violation(_)) => self.end = End::ByViolation,
            Poll::Ready(Inbound::Text(_) | Inbound::Alive) | Poll::Pending => {}
        }
        if let Poll::Ready(Err(_)) = self.poll_control(cx) {
            self.end = End::Done;
            return Poll::Ready(Inbound::Closed);
        }
        inbound
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<io::Result<()>> {
        let result = self.poll_write(cx, outbox);
        self.mid_frame = outbox.is_mid_frame();
        result
    }

    fn ping(&mut self) {
        self.control.ping();
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, code: CloseCode) -> Poll<()> {
        if matches!(self.end, End::Open | End::ByPeer | End::ByViolation) {
            self.end = self.begin_close(code);
        }
        if self.end != End::Done && ready!(self.poll_control(cx)).is_err() {
            self.end = End::Done;
        }
        if let End::ByUs { mut left } = self.end {
            let answer = self.poll_answer(cx, &mut left);
            self.end = End::ByUs { left };
            ready!(answer);
            self.end = End::Draining { left: 0 };
        }
        if let End::Draining { mut left } = self.end {
            // The server ends the stream first (RFC 6455 §7.1.1).
            if ready!(Pin::new(&mut self.io).poll_shutdown(cx)).is_ok() {
                let drained = poll_drain(&mut self.io, cx, &mut left);
                self.end = End::Draining { left };
                ready!(drained);
            }
            self.end = End::Done;
        }
        Poll::Ready(())
    }
}

impl<IO> fmt::Debug for WebSocket<IO> {
    // tungstenite's state shows payloads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("end", &self.end).finish_non_exhaustive()
    }
}

fn new_context(already_read: Vec<u8>, frame_bytes: usize) -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(frame_bytes))
        .max_frame_size(Some(frame_bytes));
    WebSocketContext::from_partially_read(already_read, Role::Server, Some(config))
}

/// The fewest bytes that a masked message of this length takes on the wire.
fn wire_bytes(length: usize) -> usize {
    let header = match length {
        0..126 => 6,
        126..65_536 => 8,
        65_536.. => 14,
    };
    header + length
}

/// Turns what went wrong into what it means. One place, so that a fault has one code.
fn classify(error: &Error) -> Inbound {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    match error {
        Error::Capacity(_) => Inbound::Violation(CloseCode::TooBig),
        Error::Utf8(_) => Inbound::Violation(CloseCode::InvalidUtf8),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Inbound::Closed,
        Error::Protocol(_) => Inbound::Violation(CloseCode::ProtocolError),
        _ => Inbound::Closed,
    }
}
