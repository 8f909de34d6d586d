//! The questions to the log and to the authority that are not answered yet.
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cmp::Ordering;

use chat_proto::RoomName;

use crate::event::Misuse;
use crate::ids::{ConnId, Token};
use crate::log::ReadRange;
use crate::room::RoomId;
use crate::room::tail::{AskId, Purpose};

/// What an answer is for. It is small, since every message has one.
#[derive(Debug)]
pub(super) enum Pending {
    /// A question of a room's tail.
    Tail(RoomId, AskId),
    /// An append that was given up: if it succeeded after all, the room has grown.
    LateAppend(Box<RoomName>),
    /// Entries for the feed of a connection.
    Feed(ConnId, Box<ReadRange>),
    /// The identity of a connection.
    Auth(ConnId),
}

/// The kind of event that answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Appended,
    Head,
    Loaded,
    Authenticated,
}

impl Pending {
    fn answer(&self) -> Answer {
        match self {
            Self::Tail(_, id) => match id.purpose {
                Purpose::Append => Answer::Appended,
                Purpose::Head => Answer::Head,
                Purpose::Open | Purpose::Read => Answer::Loaded,
            },
            Self::LateAppend(_) => Answer::Appended,
            Self::Feed(..) => Answer::Loaded,
            Self::Auth(_) => Answer::Authenticated,
        }
    }
}

/// The largest number of given-up appends whose late answers are still awaited. The oldest are
/// forgotten first: members then learn of their entries by the next signal or poll.
const LATE_MAX: usize = 256;

/// The unanswered questions, each in a slot of a table.
///
/// A token consists of the slot and of how often the slot was used before, so a late answer cannot
/// hit a newer question.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// How often each slot was used before, and its question.
    slots: Vec<(u32, Option<Pending>)>,
    free: Vec<u32>,
    /// Questions that were given up, in order; some were answered since.
    late: VecDeque<Token>,
}

impl Questions {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    #[inline]
    pub(super) fn ask(&mut self, pending: Pending) -> Token {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let (uses, question) = &mut self.slots[slot as usize];
        *question = Some(pending);
        Token(u64::from(*uses) << 32 | u64::from(slot))
    }

    /// Gives up an append that is not answered. A late answer tells whether the room has grown.
    pub(super) fn give_up(&mut self, token: Token, room: RoomName) {
        let (uses, question) = &mut self.slots[slot(token)];
        assert_eq!(u64::from(*uses), token.0 >> 32, "the question is not answered");
        *question = Some(Pending::LateAppend(room.into()));
        self.late.push_back(token);
        if self.late.len() > LATE_MAX
            && let Some(oldest) = self.late.pop_front()
        {
            self.answer(oldest);
        }
    }

    /// Takes what an answer of this kind is for. Returns `None` if the answer is late.
    ///
    /// # Errors
    /// If the question was never asked, or has another kind of answer.
    #[inline]
    pub(super) fn take(&mut self, token: Token, answer: Answer) -> Result<Option<Pending>, Misuse> {
        let unknown = Misuse::UnknownToken(token);
        let (uses, question) = self.slots.get_mut(slot(token)).ok_or(unknown)?;
        match (token.0 >> 32).cmp(&u64::from(*uses)) {
            Ordering::Less => return Ok(None),
            Ordering::Greater => return Err(unknown),
            Ordering::Equal => {}
        }
        match question {
            // A slot that has had every number keeps the last one.
            None if *uses == u32::MAX => return Ok(None),
            None => return Err(unknown),
            Some(pending) if pending.answer() != answer => return Err(Misuse::WrongAnswer(token)),
            Some(_) => {}
        }
        let pending = question.take();
        self.free(token);
        Ok(pending)
    }

    /// Ends a question without an answer. Returns `None` if it was answered before.
    pub(super) fn answer(&mut self, token: Token) -> Option<Pending> {
        let (uses, question) = self.slots.get_mut(slot(token))?;
        if u64::from(*uses) != token.0 >> 32 {
            return None;
        }
        let pending = question.take()?;
        self.free(token);
        Some(pending)
    }

    /// Frees the slot of an answered question, unless its count of uses is exhausted.
    fn free(&mut self, token: Token) {
        let (uses, _) = &mut self.slots[slot(token)];
        if let Some(next) = uses.checked_add(1) {
            *uses = next;
            self.free.push(slot(token) as u32);
        }
    }
}

fn slot(token: Token) -> usize {
    token.0 as u32 as usize
}
