//! What the answers that are still due are for.
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

/// What an answer of the log is for. It is small, since every message has one.
#[derive(Debug)]
pub(super) enum Pending {
    /// A question of a room's tail.
    Tail(RoomId, AskId),
    /// An append that was given up: if it succeeded after all, the room has grown.
    LateAppend(Box<RoomName>),
    /// Entries for the feed of a connection.
    Feed(ConnId, Box<ReadRange>),
    /// Who a connection is.
    Auth(ConnId),
}

/// How a question is answered.
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

/// Appends whose outcome is unknown and whose late answers are still of use. Beyond it the oldest
/// ones are forgotten: members then learn of their entries by the next signal or poll.
const LATE_MAX: usize = 256;

/// The questions that were not answered, each in a slot; a token names a slot and how often it was
/// used before, so a late answer hits nothing.
#[derive(Debug, Default)]
pub(super) struct Questions {
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
        let (uses, place) = &mut self.slots[slot as usize];
        *place = Some(pending);
        Token(u64::from(*uses) << 32 | u64::from(slot))
    }

    /// Gives up an append that is not answered: its late answer is for the room.
    pub(super) fn give_up(&mut self, token: Token, room: RoomName) {
        let (uses, place) = &mut self.slots[slot(token)];
        assert_eq!(u64::from(*uses), token.0 >> 32, "the question is not answered");
        *place = Some(Pending::LateAppend(room.into()));
        self.late.push_back(token);
        if self.late.len() > LATE_MAX
            && let Some(oldest) = self.late.pop_front()
        {
            self.answer(oldest);
        }
    }

    /// Takes what an answer of this kind is for; `None` if nobody waits for it any more.
    ///
    /// # Errors
    /// If the question was never asked, or is not answered in this way.
    #[inline]
    pub(super) fn take(&mut self, token: Token, answer: Answer) -> Result<Option<Pending>, Misuse> {
        let unknown = Misuse::UnknownToken(token);
        let (uses, place) = self.slots.get_mut(slot(token)).ok_or(unknown)?;
        match (token.0 >> 32).cmp(&u64::from(*uses)) {
            Ordering::Less => return Ok(None),
            Ordering::Greater => return Err(unknown),
            Ordering::Equal => {}
        }
        match place {
            None => return Err(unknown),
            Some(pending) if pending.answer() != answer => return Err(Misuse::WrongAnswer(token)),
            Some(_) => {}
        }
        let pending = place.take();
        self.free(token);
        Ok(pending)
    }

    /// Takes what an answer is for, unless the question was answered before.
    pub(super) fn answer(&mut self, token: Token) -> Option<Pending> {
        let (uses, place) = self.slots.get_mut(slot(token))?;
        if u64::from(*uses) != token.0 >> 32 {
            return None;
        }
        let pending = place.take()?;
        self.free(token);
        Some(pending)
    }

    /// Lets the slot of an answered question be used again, unless it has had every number.
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
