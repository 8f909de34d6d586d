//! One frame to many outboxes.
use bytes::{Buf, Bytes, BytesMut};
use chat_proto::{Dialect, ServerFrame};
use chat_state::{ConnId, CutOff, Event, Recipients};

use super::Worker;
use super::gathered::Space;
use super::slots::Phase;
use crate::metrics::{DIALECTS, Sent, place_of};
use crate::transport::Framing;

impl Worker {
    /// Encodes a frame once per dialect and pushes the shared bytes to each outbox; what goes to
    /// all members waits for the end of the turn.
    pub(super) fn send(&mut self, to: &Recipients, frame: ServerFrame) {
        match to {
            Recipients::All(roster) => {
                if let ServerFrame::Entry(entry) = &frame {
                    self.sample_committed(entry);
                }
                if self.gathered.add(roster, frame) == Space::None {
                    self.push_gathered();
                }
            }
            Recipients::One(conn) => {
                // An ack and what is said in rooms come in either order.
                if !matches!(frame, ServerFrame::Ack { .. }) {
                    self.push_gathered();
                }
                self.tracer.reply(*conn, &frame);
                let frames = [frame];
                let mut forms = Forms::new(&frames);
                self.send_one(*conn, &mut forms);
                self.note_sent(&forms);
            }
            Recipients::AllBut(roster, but) => {
                self.push_gathered();
                let frames = [frame];
                let mut forms = Forms::new(&frames);
                for conn in roster.iter().filter(|conn| conn != but) {
                    self.send_one(conn, &mut forms);
                }
                self.note_sent(&forms);
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
            self.note_sent(&forms);
        }
        self.gathered.reuse(groups);
        self.sample_enqueued();
    }

    /// Counts what has gone to some outboxes, once for all of them.
    fn note_sent(&self, forms: &Forms<'_>) {
        for (dialect, form) in forms.made() {
            for (kind, bytes) in form.parts() {
                self.counts.note_sent(dialect, kind, bytes, form.outboxes);
            }
            if let ([ServerFrame::Error(error)], true) = (forms.frames, form.outboxes > 0) {
                self.counts.note_error(error.code);
            }
        }
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
            self.note_sent(&forms);
        }
        self.gathered.reuse(groups);
        self.sample_enqueued();
        self.sample_written();
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
            self.cut_off(conn, CutOff::SlowConsumer);
        } else if waiting > high && !slot.congested {
            slot.congested = true;
            self.counts.congestions.add(1);
            self.results.push_back(Event::Congested { conn });
        }
    }

    /// Ends a connection from this side, for a reason that the Hub does not know.
    pub(super) fn cut_off(&mut self, conn: ConnId, reason: CutOff) {
        self.push_gathered();
        // At once: nothing more goes into its outbox.
        self.begin_close(conn, reason.into());
        self.tell(Event::CutOff { conn, reason });
    }
}

/// The bytes of some frames in each dialect and framing, made when first wanted.
struct Forms<'a> {
    frames: &'a [ServerFrame],
    made: [[Option<Form>; 3]; 2],
}

/// The bytes of these frames in one dialect and framing.
struct Form {
    /// The buffers to push: one, or one for each frame where the transport takes whole frames, or
    /// none if the dialect has no such frames.
    buffers: Vec<Bytes>,
    /// How many outboxes got them.
    outboxes: u64,
    /// What each frame is, and its bytes. The first has no memory of its own: most are alone.
    first: Option<(Sent, u64)>,
    more: Vec<(Sent, u64)>,
}

impl Form {
    // Once for a list of recipients: inlined, it would keep what is done for each from being so.
    #[inline(never)]
    fn new(frames: &[ServerFrame], dialect: Dialect, framing: Framing) -> Self {
        let mut form = Self { buffers: Vec::new(), outboxes: 0, first: None, more: Vec::new() };
        for frame in frames {
            let Some(encoded) = frame.encode(dialect) else { continue };
            let bytes = framing.of(&encoded);
            let part = (Sent::of(frame), bytes.len() as u64);
            match form.first {
                None => form.first = Some(part),
                Some(_) => form.more.push(part),
            }
            form.buffers.push(bytes);
        }
        if framing != Framing::Text && form.buffers.len() > 1 {
            form.buffers = vec![joined(&form.buffers)];
        }
        form
    }

    fn parts(&self) -> impl Iterator<Item = (Sent, u64)> + '_ {
        self.first.iter().chain(&self.more).copied()
    }
}

impl<'a> Forms<'a> {
    fn new(frames: &'a [ServerFrame]) -> Self {
        Self { frames, made: Default::default() }
    }

    /// Returns the buffers to push to one outbox, and counts that.
    #[inline]
    fn get(&mut self, dialect: Dialect, framing: Framing) -> &[Bytes] {
        let f = match framing {
            Framing::WebSocket => 0,
            Framing::Line => 1,
            Framing::Text => 2,
        };
        let form = self.made[place_of(dialect)][f]
            .get_or_insert_with(|| Form::new(self.frames, dialect, framing));
        form.outboxes += 1;
        &form.buffers
    }

    fn made(&self) -> impl Iterator<Item = (Dialect, &Form)> {
        let dialects = DIALECTS.into_iter().zip(&self.made);
        dialects.flat_map(|(dialect, made)| made.iter().flatten().map(move |form| (dialect, form)))
    }
}

/// Puts frames one behind the other.
fn joined(frames: &[Bytes]) -> Bytes {
    let mut all = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
    frames.iter().for_each(|frame| all.extend_from_slice(frame));
    all.freeze()
}
