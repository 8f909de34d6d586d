//! What the answers that are still due are for.
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{Answer, Pending};
use crate::event::Misuse;
use crate::ids::Token;

/// The questions that were not answered, each in a slot; a token names a slot and how often it was
/// used before, so a late answer hits nothing.
#[derive(Debug, Default)]
pub(super) struct Questions {
    slots: Vec<(u32, Option<Pending>)>,
    free: Vec<u32>,
}

impl Questions {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn ask(&mut self, pending: Pending) -> Token {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let (uses, place) = &mut self.slots[slot as usize];
        *place = Some(pending);
        Token(u64::from(*uses) << 32 | u64::from(slot))
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Pending> {
        let (uses, place) = self.slots.get_mut(slot(token))?;
        if u64::from(*uses) == token.0 >> 32 { place.as_mut() } else { None }
    }

    /// Takes what an answer of this kind is for; `None` if nobody waits for it any more.
    ///
    /// # Errors
    /// If the question was never asked, or is not answered in this way.
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
