//! Asking the log where it ends, and what its answers decide.
use alloc::vec::Vec;

use chat_proto::{Position, Seq};

use super::backoff::Backoff;
use super::{Ask, AskId, Cx, Effect, Log, Open, Purpose, Tail, TailTimer};
use crate::config::Peers;
use crate::ids::Mono;
use crate::log::{LogHead, ReadError};

/// The questions where the log ends: one at a time, whatever the reasons.
///
/// Questions are counted, so that an answer settles everybody who came before its question was
/// sent. Those who come later wait for the next question and delay nobody.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// The number of the last question that was sent.
    sent: u64,
    /// The number of the last question that was answered.
    answered: u64,
    /// The end of the log according to the last answer.
    last: Seq,
    state: State,
    /// Peers have to be told where the log ends, according to this answer.
    tell: Option<Mark>,
}

/// The number of the question whose answer decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark(u64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Asked {
        id: AskId,
        due: Mono,
        backoff: Backoff,
        then: Then,
    },
    /// The log could not be read and is asked again at this time.
    Failed {
        retry_at: Mono,
        backoff: Backoff,
    },
}

/// What follows the answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Rest,
    /// There was reason to ask after the question had been sent.
    AskAgain,
}

/// A position to look up, see [`Tail::locate`].
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    pub(crate) position: Position,
    mark: Option<Mark>,
}

impl Lookup {
    pub(crate) fn new(position: Position) -> Self {
        Self { position, mark: None }
    }
}

/// Where a position lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Located {
    /// Not decided: look the position up again after [`Effect::Opened`], [`Effect::HeadAnswered`]
    /// or a delivery.
    Pending,
    /// The log has all entries after the position, which is not beyond the cursor.
    Reached,
    /// The log has trimmed entries after the position.
    Truncated,
    /// The position is one of another log.
    OtherLog,
    /// The log ends before the position.
    Beyond,
}

impl Heads {
    pub(super) fn has_to_tell(&self) -> bool {
        self.tell.is_some()
    }

    /// The log was opened: its end is known as if its head had been asked.
    pub(super) fn opened(&mut self, last: Seq) {
        self.last = last;
    }

    pub(super) fn forget_question<T>(&mut self, out: &mut Vec<Effect<T>>) {
        match self.state {
            State::Asked { id, .. } => out.push(Effect::Dropped(id)),
            State::Idle | State::Failed { .. } => {}
        }
        self.state = State::Idle;
    }

    /// Returns true if a question with this mark, or a later one, will be sent or is in flight.
    fn will_answer(&self, mark: Mark) -> bool {
        match self.state {
            State::Idle => false,
            State::Asked { then: Then::Rest, .. } => mark.0 <= self.sent,
            State::Asked { then: Then::AskAgain, .. } | State::Failed { .. } => {
                mark.0 <= self.sent + 1
            }
        }
    }

    fn has_answered(&self, mark: Mark) -> bool {
        mark.0 <= self.answered
    }
}

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
        let Ok(head) = result else { return self.head_failed(cx, backoff, out) };
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
        self.known = self.known.max(head.last);
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
}
