//! What the answers that are still due are for.
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{Addressee, Answer, Pending};
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

    /// Returns whether somebody waits for an answer of this kind.
    pub(super) fn addressee(&self, token: Token, answer: Answer) -> Result<Addressee, Misuse> {
        let unknown = Misuse::UnknownToken(token);
        let (uses, place) = self.slots.get(slot(token)).ok_or(unknown)?;
        match (token.0 >> 32).cmp(&u64::from(*uses)) {
            Ordering::Less => Ok(Addressee::Gone),
            Ordering::Greater => Err(unknown),
            Ordering::Equal => match place {
                None => Err(unknown),
                Some(pending) if pending.answer() == answer => Ok(Addressee::Here),
                Some(_) => Err(Misuse::WrongAnswer(token)),
            },
        }
    }

    pub(super) fn answer(&mut self, token: Token) -> Option<Pending> {
        let (uses, place) = self.slots.get_mut(slot(token))?;
        if u64::from(*uses) != token.0 >> 32 {
            return None;
        }
        let pending = place.take()?;
        // A slot that has had every number is not used again.
        if let Some(next) = uses.checked_add(1) {
            *uses = next;
            self.free.push(slot(token) as u32);
        }
        Some(pending)
    }
}

fn slot(token: Token) -> usize {
    token.0 as u32 as usize
}
