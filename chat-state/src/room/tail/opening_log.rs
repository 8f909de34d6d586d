//! Opening the log, and opening it again.
use alloc::vec::Vec;

use super::hole::Hole;
use super::newest::Newest;
use super::opening::{Named, Opening, State};
use super::state::{Log, Open, Tail, first_of};
use super::{AskId, Cx, Effect, Purpose, TailTimer};
use crate::log::{LogPage, ReadError};

impl<T> Tail<T> {
    /// Takes the log's answer to [`Ask::Open`](super::Ask::Open). Late answers are ignored.
    pub(crate) fn opened(
        &mut self,
        cx: Cx<'_>,
        id: AskId,
        result: Result<LogPage, ReadError>,
        out: &mut Vec<Effect<T>>,
    ) {
        debug_assert_eq!(id.purpose, Purpose::Open);
        let Log::Opening(opening) = &mut self.log else { return };
        match opening.state {
            State::Asked { id: asked, .. } if asked == id => {}
            State::Asked { .. } | State::Failed { .. } => return,
        }
        let LogPage { head, entries } = match result {
            Ok(page) if page.head.room == *cx.room => page,
            // A log that answers for another room cannot be relied on.
            Ok(_) | Err(_) => return self.open_failed(cx, out),
        };
        let doubt = match &opening.named {
            Named::None => false,
            Named::One(named) => *named != head.epoch,
            Named::Doubt => true,
        };
        if doubt {
            self.doubt();
        }
        let (first, cursor) = (first_of(&head), head.last);
        self.log = Log::Open(Open { epoch: head.epoch, first, cursor, hole: Hole::None });
        self.newest.note(cursor);
        self.heads.opened(cursor);
        self.recent.fill(entries, cursor, cx.config.recent);
        self.enter_waiting(cx.config.recent, out);
        self.check_hole(cx, out);
        if doubt || self.heads.has_to_tell() {
            self.check_head(cx, out);
        }
        self.tell_ready(out);
        out.push(Effect::Opened { room: head.room });
    }

    pub(super) fn open_due(&mut self, cx: Cx<'_>, out: &mut Vec<Effect<T>>) {
        let Log::Opening(opening) = &self.log else { return };
        match opening.state {
            State::Asked { due, .. } | State::Failed { retry_at: due } if due > cx.now => {
                out.push(Effect::Arm(TailTimer::Open, due));
            }
            State::Asked { id, .. } => {
                out.push(Effect::Dropped(id));
                self.open_failed(cx, out);
            }
            State::Failed { .. } => {
                let id = self.next_ask(Purpose::Open);
                let Log::Opening(opening) = &mut self.log else {
                    unreachable!("asking does not open the log");
                };
                opening.state = Opening::ask(cx, id, out);
            }
        }
    }

    fn open_failed(&mut self, cx: Cx<'_>, out: &mut Vec<Effect<T>>) {
        let Log::Opening(opening) = &mut self.log else {
            unreachable!("only a log that is being opened fails to open");
        };
        opening.backoff = opening.backoff.after_failure();
        let retry_at = cx.now.plus(opening.backoff.wait_ms(cx.config.retry_ms));
        opening.state = State::Failed { retry_at };
        self.appends.refuse_queue(out);
        out.push(Effect::Arm(TailTimer::Open, retry_at));
        out.push(Effect::OpenFailed);
    }

    /// Forgets what was said of the log while it is being opened; its head is asked later.
    pub(super) fn doubt(&mut self) {
        let Log::Opening(opening) = &mut self.log else {
            unreachable!("an open log is asked at once");
        };
        opening.doubt();
        self.out_of_order.clear();
        self.newest = Newest::default();
    }

    /// The log is another one than it was: opens that one. Drafts are kept.
    pub(super) fn replaced(&mut self, cx: Cx<'_>, out: &mut Vec<Effect<T>>) {
        let Log::Open(open) = &self.log else {
            unreachable!("only an open log can be replaced");
        };
        match open.hole {
            Hole::Reading { id, .. } => out.push(Effect::Dropped(id)),
            Hole::None | Hole::Waiting { .. } => {}
        }
        self.heads.forget_question(out);
        self.recent.clear();
        self.out_of_order.clear();
        self.newest = Newest::default();
        let id = self.next_ask(Purpose::Open);
        self.log = Log::Opening(Opening::begin(cx, id, out));
        out.push(Effect::Replaced);
    }
}
