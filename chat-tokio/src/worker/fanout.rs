//! One frame to many outboxes.
use bytes::{Buf, Bytes};
use chat_proto::{CloseCode, Dialect, Encoded, LeaveReason, ServerFrame};
use chat_state::{ConnId, Event, Recipients};

use super::Worker;
use super::slots::Phase;
use crate::transport::Framing;

impl Worker {
    /// Encodes a frame once per dialect and pushes the shared bytes to each outbox.
    pub(super) fn send(&mut self, to: &Recipients, frame: &ServerFrame) {
        let mut forms = Forms::new(frame);
        match to {
            Recipients::One(conn) => self.send_one(*conn, &mut forms),
            Recipients::All(roster) => {
                for conn in roster.iter() {
                    self.send_one(conn, &mut forms);
                }
            }
            Recipients::AllBut(roster, but) => {
                for conn in roster.iter().filter(|conn| conn != but) {
                    self.send_one(conn, &mut forms);
                }
            }
        }
    }

    fn send_one(&mut self, conn: ConnId, forms: &mut Forms<'_>) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let dialect = slot.decoder.dialect();
        let Some(bytes) = forms.get(dialect, slot.framing) else { return };
        let bytes = bytes.clone();
        let waiting = self.slots.push(conn, bytes);
        if waiting > self.high_water(dialect) {
            self.relieve(conn, dialect);
        }
    }

    /// An outbox is over its mark: if the transport does not take it at once, the Hub is told, and
    /// beyond the hard limit the connection ends.
    fn relieve(&mut self, conn: ConnId, dialect: Dialect) {
        let (high, hard) = (self.high_water(dialect), self.limits.outbox_bytes as usize);
        let Some(slot) = self.slots.get_mut(conn) else { return };
        if !slot.blocked {
            self.flush(conn);
        }
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let waiting = slot.outbox.remaining();
        if waiting > hard && slot.phase == Phase::Open {
            // What waits will never be read; the goodbye is for those who read late.
            slot.outbox.clear();
            self.cut_off(conn, CloseCode::SlowConsumer, LeaveReason::SlowConsumer);
        } else if waiting > high && !slot.congested {
            slot.congested = true;
            self.results.push_back(Event::Congested { conn });
        }
    }

    /// Ends a connection from this side, for a reason that the Hub does not know.
    pub(super) fn cut_off(&mut self, conn: ConnId, code: CloseCode, why: LeaveReason) {
        self.begin_close(conn, code);
        // The Hub's answers queue up behind the actions that are being performed.
        let now = self.clock.now();
        self.hub.handle(now, Event::Disconnected { conn, why }, &mut self.actions);
    }
}

/// A frame's bytes in each dialect and framing, made when first wanted.
struct Forms<'a> {
    frame: &'a ServerFrame,
    dialects: [Made<Encoded>; 2],
    bytes: [[Option<Bytes>; 3]; 2],
}

enum Made<T> {
    NotYet,
    /// `None`: the dialect has no such frame.
    Done(Option<T>),
}

impl<'a> Forms<'a> {
    fn new(frame: &'a ServerFrame) -> Self {
        Self { frame, dialects: [Made::NotYet, Made::NotYet], bytes: Default::default() }
    }

    fn get(&mut self, dialect: Dialect, framing: Framing) -> Option<&Bytes> {
        let d = match dialect {
            Dialect::Basic => 0,
            Dialect::V1 => 1,
        };
        let f = match framing {
            Framing::WebSocket => 0,
            Framing::Line => 1,
            Framing::Text => 2,
        };
        if self.bytes[d][f].is_none() {
            if matches!(self.dialects[d], Made::NotYet) {
                self.dialects[d] = Made::Done(self.frame.encode(dialect));
            }
            let Made::Done(Some(encoded)) = &self.dialects[d] else { return None };
            self.bytes[d][f] = Some(framing.of(encoded));
        }
        self.bytes[d][f].as_ref()
    }
}
