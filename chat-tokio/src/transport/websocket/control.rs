//! The control frames that wait to be written between the frames of the outbox.
use chat_proto::CloseCode;

const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
const CLOSE: u8 = 0x88;

/// Bytes of a payload that a control frame can carry (RFC 6455 §5.5).
const PAYLOAD_BYTES_MAX: usize = 125;

/// Whole control frames in the order in which they go out.
///
/// It holds at most one frame that is half gone, one pong, one ping and one close: fewer than 400
/// bytes, whatever a peer does. Nothing follows a close.
#[derive(Debug, Default)]
pub(super) struct Control {
    bytes: Vec<u8>,
    /// How many of the bytes are gone.
    sent: usize,
    /// Where a pong begins that has not begun to go out.
    pong: Option<usize>,
    pinged: bool,
    closed: bool,
}

impl Control {
    /// What is still to be written.
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Whether a close frame was put, also if it is gone by now.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Notes that this many bytes are written.
    pub(super) fn advance(&mut self, count: usize) {
        self.sent += count;
        assert!(self.sent <= self.bytes.len(), "more was written than there was");
        if self.pong.is_some_and(|at| at < self.sent) {
            self.pong = None;
        }
        if self.is_empty() {
            // An idle connection keeps no buffer for its next ping.
            *self = Self { closed: self.closed, ..Self::default() };
        }
    }

    /// Puts a frame that tungstenite made: a pong or a close.
    ///
    /// A pong takes the place of one that has not begun to go out: a peer that pings faster than
    /// it reads gets the answer to its latest ping, as RFC 6455 §5.5.3 allows.
    pub(super) fn put(&mut self, frame: &[u8]) {
        if self.closed {
            return;
        }
        match frame.first() {
            Some(&PONG) => {
                if let Some(at) = self.pong.take() {
                    let length = 2 + usize::from(self.bytes[at + 1]);
                    self.bytes.drain(at..at + length);
                }
                self.pong = Some(self.bytes.len());
            }
            Some(&CLOSE) => self.closed = true,
            _ => debug_assert!(false, "only pongs and closes are made on their own"),
        }
        self.bytes.extend_from_slice(frame);
    }

    /// Puts a ping, unless one waits already.
    pub(super) fn ping(&mut self) {
        if !self.pinged && !self.closed {
            self.pinged = true;
            self.bytes.extend_from_slice(&[PING, 0]);
        }
    }

    /// Puts a close with its code and reason, and what there is to add to it.
    pub(super) fn close(&mut self, code: CloseCode, more: &str) {
        let reason = [code.reason(), more].concat().into_bytes();
        let length = 2 + reason.len();
        debug_assert!(length <= PAYLOAD_BYTES_MAX, "the reason is too long");
        let mut frame = Vec::with_capacity(2 + length);
        frame.extend_from_slice(&[CLOSE, length as u8]);
        frame.extend_from_slice(&code.number().to_be_bytes());
        frame.extend_from_slice(&reason);
        self.put(&frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_pong_takes_the_place_of_one_that_has_not_begun() {
        let mut control = Control::default();
        control.put(&[PONG, 1, b'a']);
        control.ping();
        control.put(&[PONG, 2, b'b', b'b']);
        control.ping();
        assert_eq!(control.pending(), &[PING, 0, PONG, 2, b'b', b'b']);
        control.advance(3);
        control.put(&[PONG, 1, b'c']);
        assert_eq!(control.pending(), &[2, b'b', b'b', PONG, 1, b'c'], "a half-written one stays");
        control.advance(6);
        assert!(control.is_empty());
        control.ping();
        assert_eq!(control.pending(), &[PING, 0]);
    }

    #[test]
    fn nothing_follows_a_close() {
        let mut control = Control::default();
        control.close(CloseCode::Draining, "");
        control.close(CloseCode::Normal, "");
        control.ping();
        control.put(&[PONG, 0]);
        assert_eq!(control.pending(), b"\x88\x0a\x10\x04draining");
        control.advance(12);
        control.ping();
        assert!(control.is_empty() && control.is_closed());
    }

    #[test]
    fn every_reason_fits_a_control_frame() {
        for code in CloseCode::ALL {
            let mut control = Control::default();
            control.close(*code, &format!(": frame_bytes is {}", u32::MAX));
            assert!(control.pending().len() <= 2 + PAYLOAD_BYTES_MAX, "{code}");
        }
    }
}
