//! When appends are given up.
use alloc::collections::VecDeque;

use crate::ids::{Mono, Token};

/// The appends that wait for the log, the first one that is given up first. All wait equally long,
/// so a queue has them in order, where a set of all timers would cost every message a search.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Among them are some that were answered, but the first one never is.
    queue: VecDeque<(Mono, Token)>,
    waiting: usize,
}

/// Answered appends that may stay in the queue.
const ANSWERED_MAX: usize = 64;

impl Patience {
    /// Returns how many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn first(&self) -> Option<(Mono, Token)> {
        self.queue.front().copied()
    }

    /// An append waits until then.
    pub(super) fn begin(&mut self, due: Mono, token: Token) {
        let in_order = self.queue.back().is_none_or(|(last, _)| *last <= due);
        let at = if in_order {
            self.queue.len()
        } else {
            self.queue.partition_point(|(before, _)| *before <= due)
        };
        self.queue.insert(at, (due, token));
        self.waiting += 1;
    }

    /// The first append is given up.
    pub(super) fn give_up(&mut self, waits: impl Fn(Token) -> bool) {
        if self.queue.pop_front().is_some() {
            self.end(waits);
        }
    }

    /// An append was answered, and so waits no longer.
    pub(super) fn end(&mut self, waits: impl Fn(Token) -> bool) {
        self.waiting -= 1;
        while self.queue.front().is_some_and(|(_, token)| !waits(*token)) {
            self.queue.pop_front();
        }
        if self.queue.len() > 2 * self.waiting + ANSWERED_MAX {
            self.queue.retain(|(_, token)| waits(*token));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_those_that_wait(
            steps in proptest::collection::vec((any::<bool>(), any::<u16>()), 0..600),
        ) {
            let (mut patience, mut model) = (Patience::default(), BTreeSet::new());
            let mut waiting = Vec::new();
            for (step, (begin, n)) in (0..).zip(steps) {
                if begin || waiting.is_empty() {
                    // Time may stand still, and in a hostile script go back.
                    let due = Mono(step / 4 - u64::from(n % 16 == 0).min(step / 4));
                    patience.begin(due, Token(step));
                    model.insert((due, Token(step)));
                    waiting.push((due, Token(step)));
                } else if n % 8 == 0 {
                    let first = model.pop_first().unwrap();
                    waiting.retain(|waits| *waits != first);
                    patience.give_up(|token| waiting.iter().any(|(_, waits)| *waits == token));
                } else {
                    let answered = waiting.swap_remove(usize::from(n) % waiting.len());
                    model.remove(&answered);
                    let waits = |token| waiting.iter().any(|(_, waits)| *waits == token);
                    patience.end(waits);
                }
                prop_assert_eq!(patience.len(), model.len());
                prop_assert_eq!(patience.first(), model.first().copied());
                prop_assert!(patience.queue.len() <= 2 * model.len() + ANSWERED_MAX + 1);
            }
        }
    }
}
