//! The WebSocket transport, over a connection that behaves as the input says.
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use chat_proto::CloseCode;
use chat_tokio::Outbox;
use chat_tokio::transport::{Inbound, Transport, WebSocket};
use tokio::runtime::Builder;
use tokio::time::timeout;

use self::pipe::Pipe;
use self::written::Frame;
use crate::input::Input;

mod pipe;
mod written;

/// The longest messages that are taken: around the lengths where headers and buffers grow.
const FRAME_BYTES: [u32; 8] = [0, 16, 125, 126, 512, 600, 4096, 65_536];

/// The payloads of the frames that are sent. They may go byte by byte, so they are short: with
/// payloads of up to 64 KiB the search was more than ten times slower.
const SENT_BYTES: [u16; 8] = [0, 1, 2, 20, 125, 126, 127, 511];

/// So many bytes are borne without a message. Beyond that the polls decide when it was too much,
/// and so the pieces do.
const WIRE_BYTES_MAX: usize = 64 * 1024;

/// Frames that are sent to a peer in all.
const FRAMES_MAX: usize = 12;

/// Longer than all pauses together; the clock stands still until everybody sleeps.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How a connection goes.
struct Plan<'a> {
    frame_bytes: u32,
    /// The peer ends the connection after what it has to say.
    ends: bool,
    /// The outbox is written to its end before the server closes; else it is given up.
    drains: bool,
    /// How many bytes came with the request's head.
    already: usize,
    code: CloseCode,
    /// What is done and what goes through, step by step, over and over.
    script: &'a [u8],
    wire: &'a [u8],
}

impl<'a> Plan<'a> {
    fn of(data: &'a [u8]) -> Self {
        let mut input = Input(data);
        let (flags, already, code) = (input.byte(), input.byte(), input.byte());
        let length = usize::from(input.byte() & 31).min(input.0.len());
        let (script, wire) = input.0.split_at(length);
        let wire = &wire[..wire.len().min(WIRE_BYTES_MAX)];
        Self {
            frame_bytes: FRAME_BYTES[usize::from(flags & 7)],
            ends: flags & 8 != 0,
            drains: flags & 16 == 0,
            already: usize::from(already).min(wire.len()),
            code: CloseCode::ALL[usize::from(code) % CloseCode::ALL.len()],
            script,
            wire,
        }
    }

    /// The same bytes, all at once, to a server that only listens.
    fn in_one_piece(&self) -> Plan<'a> {
        Plan { already: 0, script: &[], ..*self }
    }

    fn run(&self) -> Session<'a> {
        let clock = Builder::new_current_thread().enable_time().start_paused(true).build();
        let mut session = Session::new(self);
        let run = async { timeout(PATIENCE, session.run(self)).await };
        clock.expect("a runtime").block_on(run).expect("it sleeps and nothing will wake it");
        session.check_written(self);
        session
    }
}

/// One connection from its beginning to its end, and what was seen of it.
struct Session<'a> {
    transport: WebSocket<Pipe>,
    peer: Pipe,
    outbox: Outbox,
    script: &'a [u8],
    turn: usize,
    turns_max: usize,
    texts: Vec<Vec<u8>>,
    /// How the peer's side ended, if it did.
    end: Option<Inbound>,
    /// Whether the server closed before it had read everything.
    cut_short: bool,
    /// Every frame that was put into the outbox.
    sent: Vec<Bytes>,
}

impl<'a> Session<'a> {
    fn new(plan: &Plan<'a>) -> Self {
        let (already, wire) = plan.wire.split_at(plan.already);
        let peer = Pipe::new(wire, plan.ends, plan.script);
        Self {
            transport: WebSocket::new(peer.clone(), already, plan.frame_bytes),
            peer,
            outbox: Outbox::default(),
            script: plan.script,
            turn: 0,
            // Each byte in a piece of its own, with a wait before it and what it is answered with.
            turns_max: 100_000 + 8 * plan.wire.len(),
            texts: Vec::new(),
            end: None,
            cut_short: false,
            sent: Vec::new(),
        }
    }

    async fn run(&mut self, plan: &Plan<'_>) {
        while let Some(inbound) = poll_fn(|cx| self.poll_turn(cx)).await {
            match inbound {
                Inbound::Text(text) => {
                    let bytes = text.as_bytes();
                    assert!(str::from_utf8(bytes).is_ok(), "a text is not UTF-8");
                    assert!(bytes.len() <= plan.frame_bytes as usize, "a text is too long");
                    self.texts.push(bytes.to_vec());
                }
                Inbound::Alive => {}
                Inbound::Violation(_) | Inbound::Left | Inbound::Closed => {
                    self.end = Some(inbound);
                    let after = poll_fn(|cx| Poll::Ready(self.transport.poll_recv(cx))).await;
                    assert_eq!(after, Poll::Ready(Inbound::Closed), "it goes on after its end");
                    break;
                }
            }
        }
        if plan.drains {
            let sent = poll_fn(|cx| self.transport.poll_send(cx, &mut self.outbox)).await;
            sent.expect("the connection is whole");
            assert!(self.outbox.is_empty() && !self.outbox.is_mid_frame(), "frames were left");
            assert!(!self.peer.is_unflushed(), "what was written was not flushed");
        }
        self.peer.end();
        let code = self.code(plan);
        poll_fn(|cx| self.transport.poll_close(cx, code)).await;
    }

    /// What the server closes with.
    fn code(&self, plan: &Plan<'_>) -> CloseCode {
        match self.end {
            Some(Inbound::Violation(code)) => code,
            _ => plan.code,
        }
    }

    /// Does what the script says and receives. `None` is that nothing more will come, or that the
    /// server had enough.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
        self.turn += 1;
        assert!(self.turn <= self.turns_max, "it is polled for nothing");
        if let Some(step) = self.script.get(self.turn % self.script.len().max(1)) {
            // The low three bits say what goes through.
            match step >> 3 {
                length @ 0..8 => self.send(length),
                length @ 8..16 => (0..5).for_each(|n| self.send(length + n)),
                16..20 => self.transport.ping(),
                20..24 => {
                    if let Poll::Ready(sent) = self.transport.poll_send(cx, &mut self.outbox) {
                        sent.expect("the connection is whole");
                        assert!(self.outbox.is_empty(), "frames were left");
                    }
                }
                31 => {
                    self.cut_short = true;
                    return Poll::Ready(None);
                }
                _ => {}
            }
        }
        match self.transport.poll_recv(cx) {
            Poll::Ready(inbound) => Poll::Ready(Some(inbound)),
            Poll::Pending if self.peer.is_dry() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Puts a frame into the outbox; each begins with another byte.
    fn send(&mut self, length: u8) {
        if self.sent.len() == FRAMES_MAX {
            return;
        }
        let length = SENT_BYTES[usize::from(length & 7)];
        let mut payload = vec![b'x'; usize::from(length)];
        if let Some(first) = payload.first_mut() {
            *first = b'A' + self.sent.len() as u8;
        }
        let mut frame = vec![0x81];
        if length < 126 {
            frame.push(length as u8);
        } else {
            frame.push(126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        frame.append(&mut payload);
        let frame = Bytes::from(frame);
        self.sent.push(frame.clone());
        self.outbox.push(frame);
    }

    /// Whatever happened, the peer can read what was written.
    fn check_written(&self, plan: &Plan<'_>) {
        let written = self.peer.written();
        let (frames, rest) = written::parse(&written);
        let texts = frames.iter().filter_map(|frame| match frame {
            Frame::Text(payload) => Some(*payload),
            Frame::Ping | Frame::Pong | Frame::Close(_) => None,
        });
        let mut sent = self.sent.iter();
        for text in texts {
            let frame = sent.next().expect("more texts were written than sent");
            assert!(frame.ends_with(text) && frame.len() - text.len() <= 4, "another frame");
            assert!(text.len() > 125 || frame.len() - text.len() == 2, "another frame");
        }
        let gone = matches!(self.end, Some(Inbound::Closed | Inbound::Left));
        let next = sent.next();
        if plan.drains {
            // A peer that closed takes no more.
            assert!(next.is_none() || gone, "a frame got lost");
            assert!(rest.is_empty(), "something was left half-written");
        }
        let given_up = next.is_some_and(|frame| frame.starts_with(rest));
        assert!(rest.is_empty() || given_up || gone, "a frame was interrupted");
        if rest.is_empty() && !gone {
            let code = self.code(plan).number();
            assert_eq!(frames.last(), Some(&Frame::Close(Some(code))), "the peer was told why");
        }
    }
}

/// What the transport yields is valid and depends on the bytes alone, not on how they are cut nor
/// on what is sent meanwhile; what it writes are whole frames in order, and nothing after a close.
///
/// # Panics
/// When that does not hold.
pub fn websocket(data: &[u8]) {
    let plan = Plan::of(data);
    let whole = plan.in_one_piece().run();
    let pieces = plan.run();
    if pieces.cut_short {
        assert!(whole.texts.starts_with(&pieces.texts), "pieces change the texts");
    } else {
        assert_eq!(whole.texts, pieces.texts, "pieces change the texts");
        assert_eq!(whole.end, pieces.end, "pieces change the end");
    }
}
