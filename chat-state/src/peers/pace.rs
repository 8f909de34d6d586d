//! Limits how much a Hub says to its peers at once.
//!
//! *Invariant:* between two refills at most [`ROOMS`] rooms and [`SIGNALS`] signals are spent.
use crate::ids::Mono;

/// Time between two refills, in milliseconds.
pub(super) const REFILL_MS: u64 = 20;

/// Rooms that are handled between two refills.
pub(super) const ROOMS: usize = 256;

/// Signals that are sent between two refills: at most 1600 a second.
pub(super) const SIGNALS: usize = 32;

/// The work that may still be done before the next refill.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Mono,
    rooms: usize,
    signals: usize,
}

impl Pace {
    /// Returns how many rooms may be handled with one more signal.
    pub(super) fn left(&mut self, now: Mono) -> usize {
        if now >= self.refill_at() {
            *self = Self { since: now, ..Self::default() };
        }
        if self.is_spent() { 0 } else { ROOMS - self.rooms }
    }

    fn is_spent(&self) -> bool {
        self.signals >= SIGNALS || self.rooms >= ROOMS
    }

    /// Records one signal, or one piece of other work, about some rooms.
    pub(super) fn spend(&mut self, rooms: usize) {
        self.signals += 1;
        self.rooms = (self.rooms + rooms.max(1)).min(ROOMS);
    }

    /// Returns the time from which on something may be done: that of the next refill if everything
    /// is spent.
    pub(super) fn ready_at(&self) -> Mono {
        if self.is_spent() { self.refill_at() } else { Mono(0) }
    }

    fn refill_at(&self) -> Mono {
        self.since.plus(REFILL_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_and_signals_are_limited_until_the_next_refill() {
        let mut pace = Pace::default();
        let start = Mono(100);
        assert_eq!(pace.left(start), ROOMS);
        pace.spend(ROOMS - 1);
        assert_eq!(pace.left(start), 1);
        pace.spend(1);
        assert_eq!(pace.left(Mono(119)), 0);
        assert_eq!(pace.left(Mono(120)), ROOMS);
        for _ in 0..SIGNALS {
            assert!(pace.left(Mono(130)) > 0);
            pace.spend(0);
        }
        assert_eq!((pace.left(Mono(139)), pace.left(Mono(140))), (0, ROOMS));
    }
}
