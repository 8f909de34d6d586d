//! The questions where the log ends, and the positions that their answers decide.
use alloc::vec::Vec;

use chat_proto::{Position, Seq};

use super::backoff::Backoff;
use super::{AskId, Effect};
use crate::ids::Mono;

/// The questions where the log ends: one at a time, whatever the reasons.
///
/// Questions are counted, so that an answer settles everybody who came before its question was
/// sent. Those who come later wait for the next question and delay nobody.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// The number of the last question that was sent.
    pub(super) sent: u64,
    /// The number of the last question that was answered.
    pub(super) answered: u64,
    /// The end of the log according to the last answer.
    pub(super) last: Seq,
    pub(super) state: State,
    /// Peers have to be told where the log ends, according to this answer.
    pub(super) tell: Option<Mark>,
}

/// The number of the question whose answer decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark(pub(super) u64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
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
pub(super) enum Then {
    Rest,
    /// There was reason to ask after the question had been sent.
    AskAgain,
}

/// A position to look up, see [`Tail::locate`](super::Tail::locate).
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    pub(crate) position: Position,
    pub(super) mark: Option<Mark>,
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
    pub(super) fn will_answer(&self, mark: Mark) -> bool {
        match self.state {
            State::Idle => false,
            State::Asked { then: Then::Rest, .. } => mark.0 <= self.sent,
            State::Asked { then: Then::AskAgain, .. } | State::Failed { .. } => {
                mark.0 <= self.sent + 1
            }
        }
    }

    pub(super) fn has_answered(&self, mark: Mark) -> bool {
        mark.0 <= self.answered
    }
}
