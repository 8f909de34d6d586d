//! Reading the entries that are missing after the cursor.
use alloc::vec::Vec;

use super::backoff::Backoff;
use super::hole::Hole;
use super::state::{Log, Tail, first_of};
use super::{Ask, AskId, Cx, Effect, Purpose, TailTimer};
use crate::ids::Mono;
use crate::log::{Keep, LogPage, ReadError, ReadRange};

impl<T> Tail<T> {
    /// Waits a moment for missing entries, since signals may only be late, before reading the log.
    pub(super) fn check_hole(&mut self, cx: Cx<'_>, out: &mut Vec<Effect<T>>) {
        let Log::Open(open) = &self.log else { return };
        if self.newest.place() <= open.cursor {
            return;
        }
        match open.hole {
            Hole::None => {}
            // Entries have arrived by themselves: what is missing now is another hole.
            Hole::Waiting { cursor, .. } if cursor < open.cursor => {}
            Hole::Waiting { .. } | Hole::Reading { .. } => return,
        }
        if cx.config.hole_ms == 0 {
            self.read_hole(cx, Backoff::default(), out);
        } else {
            self.await_hole(cx.now.plus(cx.config.hole_ms), Backoff::default(), out);
        }
    }

    pub(super) fn hole_due(&mut self, cx: Cx<'_>, out: &mut Vec<Effect<T>>) {
        let Log::Open(open) = &self.log else { return };
        match open.hole {
            Hole::None => {}
            Hole::Waiting { due, .. } | Hole::Reading { due, .. } if due > cx.now => {
                out.push(Effect::Arm(TailTimer::Hole, due));
            }
            Hole::Waiting { backoff, .. } => self.read_hole(cx, backoff, out),
            Hole::Reading { id, backoff, .. } => {
                out.push(Effect::Dropped(id));
                self.retry_hole(cx, backoff, out);
            }
        }
    }

    /// Takes the log's answer to [`Ask::Read`]. Late answers are ignored.
    pub(crate) fn page_read(
        &mut self,
        cx: Cx<'_>,
        id: AskId,
        result: Result<LogPage, ReadError>,
        out: &mut Vec<Effect<T>>,
    ) {
        debug_assert_eq!(id.purpose, Purpose::Read);
        let Log::Open(open) = &mut self.log else { return };
        let Hole::Reading { id: asked, backoff, .. } = open.hole else { return };
        if asked != id {
            return;
        }
        open.hole = Hole::None;
        let LogPage { head, entries } = match result {
            Ok(page) if page.head.room == *cx.room => page,
            // A log that answers for another room cannot be relied on.
            Ok(_) | Err(_) => return self.retry_hole(cx, backoff, out),
        };
        if head.epoch != open.epoch {
            return self.replaced(cx, out);
        }
        let before = open.cursor;
        open.note_first(&head);
        self.skip_trimmed(first_of(&head), out);
        for entry in entries {
            self.enter(cx.config.recent, entry, out);
        }
        self.enter_waiting(cx.config.recent, out);
        if self.newest.answered(head.last) {
            let dropped = self.out_of_order.drop_after(self.newest.place());
            out.extend(dropped.into_iter().map(Effect::EntryDropped));
        }
        if self.cursor() == before {
            // The log does not have what was named, or not yet.
            self.retry_hole(cx, backoff, out);
        } else if self.cursor() < self.newest.place() {
            // The rest is read in another turn.
            self.await_hole(cx.now, Backoff::default(), out);
        }
    }

    fn read_hole(&mut self, cx: Cx<'_>, backoff: Backoff, out: &mut Vec<Effect<T>>) {
        let (from, to) = (self.cursor().next(), self.newest.place());
        if from > to {
            return self.set_hole(Hole::None);
        }
        self.newest.asked();
        let id = self.next_ask(Purpose::Read);
        let due = cx.now.plus(cx.config.read_ms);
        self.set_hole(Hole::Reading { id, due, backoff });
        let bounds = cx.config.recent;
        let (limit, bytes) = (bounds.entries.max(1), bounds.bytes);
        let range = ReadRange { from, to, limit, bytes, keep: Keep::Oldest };
        out.push(Effect::Ask(id, Ask::Read(range)));
        out.push(Effect::Arm(TailTimer::Hole, due));
    }

    fn retry_hole(&mut self, cx: Cx<'_>, backoff: Backoff, out: &mut Vec<Effect<T>>) {
        if self.cursor() >= self.newest.place() {
            return self.set_hole(Hole::None);
        }
        let backoff = backoff.after_failure();
        self.await_hole(cx.now.plus(backoff.wait_ms(cx.config.retry_ms)), backoff, out);
    }

    fn await_hole(&mut self, due: Mono, backoff: Backoff, out: &mut Vec<Effect<T>>) {
        let cursor = self.cursor();
        self.set_hole(Hole::Waiting { due, backoff, cursor });
        out.push(Effect::Arm(TailTimer::Hole, due));
    }

    fn set_hole(&mut self, hole: Hole) {
        let Log::Open(open) = &mut self.log else {
            unreachable!("only an open log has holes");
        };
        open.hole = hole;
    }
}
