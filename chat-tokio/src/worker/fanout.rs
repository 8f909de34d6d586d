//! One frame to many outboxes.
use bytes::{Buf, Bytes, BytesMut};
use chat_proto::{CloseCode, Dialect, LeaveReason, ServerFrame};
use chat_state::{ConnId, Event, Recipients};

use super::Worker;
use super::gathered::Space;
use super::slots::Phase;
use crate::transport::Framing;

impl Worker {
    /// Encodes a frame once per dialect and pushes the shared bytes to each outbox; what goes to
    /// all members waits for the end of the turn.
    pub(super) fn send(&mut self, to: &Recipients, frame: ServerFrame) {
        match to {
            Recipients::All(roster) => {
                if self.gathered.add(roster, frame) == Space::None {
                    self.push_gathered();
                }
            }
            Recipients::One(conn) => {
                // An ack and what is said in rooms come in either order.
                if !matches!(frame, ServerFrame::Ack { .. }) {
                    self.push_gathered();
                }
                self.send_one(*conn, &mut Forms::new(&[frame]));
            }
            Recipients::AllBut(roster, but) => {
                self.push_gathered();
                let frames = [frame];
                let mut forms = Forms::new(&frames);
                for conn in roster.iter().filter(|conn| conn != but) {
                    self.send_one(conn, &mut forms);
                }
            }
        }
    }

    /// Pushes the frames that were gathered. Whatever else goes to anybody comes after them.
    pub(super) fn push_gathered(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let groups = self.gathered.take();
        for group in &groups {
            let mut forms = Forms::new(&group.frames);
            for conn in group.to.iter() {
                self.send_one(conn, &mut forms);
            }
        }
        self.gathered.reuse(groups);
    }

    /// Pushes what was gathered, where nothing more comes in this turn. What goes to the members of
    /// one room is written as it is pushed, so that each is fetched from memory once and not twice.
    pub(super) fn push_last(&mut self) {
        if self.gathered.groups() != 1 {
            return self.push_gathered();
        }
        let groups = self.gathered.take();
        for group in &groups {
            let mut forms = Forms::new(&group.frames);
            for conn in group.to.iter() {
                let pushed =
                    self.slots.push_unlisted(conn, |dialect, framing| forms.get(dialect, framing));
                let Some(slot) = pushed else { continue };
                if !slot.blocked {
                    self.flush(conn);
                }
                self.check_high_water(conn);
            }
        }
        self.gathered.reuse(groups);
    }

    fn check_high_water(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let (dialect, waiting) = (slot.decoder.dialect(), slot.outbox.remaining());
        if waiting > self.high_water(dialect) {
            self.relieve(conn, dialect);
        }
    }

    fn send_one(&mut self, conn: ConnId, forms: &mut Forms<'_>) {
        let pushed = self.slots.push(conn, |dialect, framing| forms.get(dialect, framing));
        if let Some((dialect, waiting)) = pushed
            && waiting > self.high_water(dialect)
        {
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
        self.push_gathered();
        self.begin_close(conn, code);
        // The Hub's answers queue up behind the actions that are being performed.
        let now = self.clock.now();
        self.hub.handle(now, Event::Disconnected { conn, why }, &mut self.actions);
    }
}

/// The bytes of some frames in each dialect and framing, made when first wanted.
struct Forms<'a> {
    frames: &'a [ServerFrame],
    made: [[Option<Vec<Bytes>>; 3]; 2],
}

impl<'a> Forms<'a> {
    fn new(frames: &'a [ServerFrame]) -> Self {
        Self { frames, made: Default::default() }
    }

    /// Returns the buffers to push: one, or one for each frame where the transport takes whole
    /// frames, or none if the dialect has no such frames.
    fn get(&mut self, dialect: Dialect, framing: Framing) -> &[Bytes] {
        let d = match dialect {
            Dialect::Basic => 0,
            Dialect::V1 => 1,
        };
        let f = match framing {
            Framing::WebSocket => 0,
            Framing::Line => 1,
            Framing::Text => 2,
        };
        self.made[d][f].get_or_insert_with(|| {
            let encoded = self.frames.iter().filter_map(|frame| frame.encode(dialect));
            let bytes: Vec<Bytes> = encoded.map(|encoded| framing.of(&encoded)).collect();
            if framing == Framing::Text || bytes.len() < 2 { bytes } else { vec![joined(&bytes)] }
        })
    }
}

/// Puts frames one behind the other.
fn joined(frames: &[Bytes]) -> Bytes {
    let mut all = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
    frames.iter().for_each(|frame| all.extend_from_slice(frame));
    all.freeze()
}
