//! Asking the log where it ends, and what its answers decide.
use alloc::vec::Vec;

use super::backoff::Backoff;
use super::heads::{Mark, State, Then};
use super::state::{Log, Open, PageOf, Tail};
use super::{Ask, AskId, Cx, Effect, Located, Lookup, Purpose, TailTimer};
use crate::config::Peers;
use crate::log::{LogHead, ReadError};

impl<T> Tail<T> {
    /// Asks the log whether it has grown, since signals may have been lost.
    pub(crate) fn check_head(&mut self, cx: Cx<'_>, out: &mut Vec<Effect<T>>) {
        self.want_head(cx, out);
    }

    /// Asks the log where it ends, and tells peers. An append of unknown outcome may have made
    /// entries that no Hub has seen.
    pub(super) fn check_head_and_tell(&mut self, cx: Cx<'_>, out: &mut Vec<Effect<T>>) {
        let mark = self.want_head(cx, out);
        if cx.config.peers == Peers::Some {
            self.heads.tell = Some(mark);
        }
    }

    /// Looks up where a position lies. A position that this tail does not know is decided by the
    /// log's answer to a question that is sent after the first call.
    pub(crate) fn locate(
        &mut self,
        cx: Cx<'_>,
        lookup: &mut Lookup,
        out: &mut Vec<Effect<T>>,
    ) -> Located {
        let Log::Open(Open { epoch, first, cursor, .. }) = &self.log else {
            return Located::Pending;
        };
        let position = &lookup.position;
        let other_log = position.epoch != *epoch;
        if !other_log && position.seq <= *cursor {
            let trimmed = position.seq.next() < *first;
            return if trimmed { Located::Truncated } else { Located::Reached };
        }
        let answered = lookup.mark.is_some_and(|mark| self.heads.has_answered(mark));
        if !answered {
            if !lookup.mark.is_some_and(|mark| self.heads.will_answer(mark)) {
                lookup.mark = Some(self.want_head(cx, out));
            }
            return Located::Pending;
        }
        if other_log {
            Located::OtherLog
        } else if position.seq > self.heads.last {
            Located::Beyond
        } else {
            // The entries up to the position are on their way.
            Located::Pending
        }
    }

    /// Asks the log where it ends. Returns the mark of the question that is sent from now on.
    fn want_head(&mut self, cx: Cx<'_>, out: &mut Vec<Effect<T>>) -> Mark {
        let next = Mark(self.heads.sent + 1);
        if !self.is_open() {
            self.doubt();
            return next;
        }
        match &mut self.heads.state {
            State::Idle => self.ask_head(cx, Backoff::default(), out),
            State::Asked { then, .. } => *then = Then::AskAgain,
            State::Failed { .. } => {}
        }
        next
    }

    fn ask_head(&mut self, cx: Cx<'_>, backoff: Backoff, out: &mut Vec<Effect<T>>) {
        let id = self.next_ask(Purpose::Head);
        let due = cx.now.plus(cx.config.read_ms);
        self.heads.sent += 1;
        self.heads.state = State::Asked { id, due, backoff, then: Then::Rest };
        out.push(Effect::Ask(id, Ask::Head));
        out.push(Effect::Arm(TailTimer::Head, due));
    }

    /// Takes the log's answer to [`Ask::Head`]. Late answers are ignored.
    pub(crate) fn head_read(
        &mut self,
        cx: Cx<'_>,
        id: AskId,
        result: Result<LogHead, ReadError>,
        out: &mut Vec<Effect<T>>,
    ) {
        debug_assert_eq!(id.purpose, Purpose::Head);
        let State::Asked { id: asked, backoff, then, .. } = self.heads.state else { return };
        if asked != id {
            return;
        }
        let head = match result {
            Ok(head) if head.room == *cx.room => head,
            // A log that answers for another room cannot be relied on.
            Ok(_) | Err(_) => return self.head_failed(cx, backoff, out),
        };
        let Log::Open(open) = &mut self.log else {
            unreachable!("the question is forgotten when the log is opened again");
        };
        self.heads.state = State::Idle;
        self.heads.answered = self.heads.sent;
        self.heads.last = head.last;
        if head.epoch != open.epoch {
            return self.replaced(cx, out);
        }
        open.note_first(&head);
        if let Some(mark) = self.heads.tell {
            out.push(Effect::Tell { epoch: head.epoch, last: head.last });
            self.heads.tell = Some(mark).filter(|mark| !self.heads.has_answered(*mark));
        }
        if then == Then::AskAgain {
            self.ask_head(cx, Backoff::default(), out);
        }
        self.newest.note(head.last);
        self.check_hole(cx, out);
        out.push(Effect::HeadAnswered);
    }

    pub(super) fn head_due(&mut self, cx: Cx<'_>, out: &mut Vec<Effect<T>>) {
        match self.heads.state {
            State::Idle => {}
            State::Asked { due, .. } | State::Failed { retry_at: due, .. } if due > cx.now => {
                out.push(Effect::Arm(TailTimer::Head, due));
            }
            State::Asked { id, backoff, .. } => {
                out.push(Effect::Dropped(id));
                self.head_failed(cx, backoff, out);
            }
            State::Failed { backoff, .. } => self.ask_head(cx, backoff, out),
        }
    }

    fn head_failed(&mut self, cx: Cx<'_>, backoff: Backoff, out: &mut Vec<Effect<T>>) {
        let backoff = backoff.after_failure();
        let retry_at = cx.now.plus(backoff.wait_ms(cx.config.retry_ms));
        self.heads.state = State::Failed { retry_at, backoff };
        out.push(Effect::Arm(TailTimer::Head, retry_at));
    }

    /// Notes the ends of the log that came with a page which the owner has read for itself.
    pub(crate) fn note_ends(
        &mut self,
        cx: Cx<'_>,
        head: &LogHead,
        out: &mut Vec<Effect<T>>,
    ) -> PageOf {
        match &mut self.log {
            Log::Open(open) if open.epoch == head.epoch => {
                open.note_first(head);
                PageOf::ThisLog
            }
            Log::Open(_) => {
                self.check_head(cx, out);
                PageOf::AnotherLog
            }
            Log::Opening(_) => PageOf::AnotherLog,
        }
    }
}
