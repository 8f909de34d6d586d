//! Counts how often a session goes beyond its budget in a row.
use crate::ids::Mono;

/// Milliseconds without a strike that end a run of strikes.
pub(crate) const QUIET_MS: u64 = 10_000;

/// The strikes of a session: requests beyond its budget without [`QUIET_MS`] between two of them.
///
/// A resume keeps the strikes, so that a new connection is no way around them. They end
/// [`QUIET_MS`] after the last one, with or without a connection. The count saturates: a run of
/// any length stays one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strikes {
    count: u8,
    last: Mono,
}

impl Strikes {
    /// Returns the length of the run that lasts.
    pub(crate) fn count(self, now: Mono) -> u8 {
        if now.since(self.last) > QUIET_MS { 0 } else { self.count }
    }

    /// Adds a strike and returns the length of the run with it.
    pub(crate) fn add(&mut self, now: Mono) -> u8 {
        self.count = self.count(now).saturating_add(1);
        self.last = now;
        self.count
    }

    /// Adds a strike if the run is shorter than `most`. A longer run lasts, but does not grow.
    pub(crate) fn add_up_to(&mut self, now: Mono, most: u8) {
        if self.count(now) < most {
            self.add(now);
        }
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_strikes_ends_after_a_quiet_time() {
        let (mut strikes, now) = (Strikes::default(), Mono(50_000));
        assert_eq!(strikes.count(now), 0);
        assert_eq!((strikes.add(now), strikes.add(now)), (1, 2));
        assert_eq!(strikes.add(now.plus(QUIET_MS)), 3, "the run lasts up to the quiet time");
        let later = now.plus(2 * QUIET_MS + 1);
        assert_eq!(strikes.count(later), 0);
        assert_eq!(strikes.add(later), 1, "a new run begins");
    }

    #[test]
    fn a_run_of_any_length_stays_one_run() {
        let (mut strikes, now) = (Strikes::default(), Mono(0));
        let longest = (0..70_000).map(|_| strikes.add(now)).last();
        assert_eq!((longest, strikes.count(now)), (Some(u8::MAX), u8::MAX));
        assert_eq!(strikes.add(now), u8::MAX);
    }

    #[test]
    fn a_capped_strike_prolongs_a_longer_run_without_adding_to_it() {
        let (mut strikes, now) = (Strikes::default(), Mono(0));
        (0..9).for_each(|_| strikes.add_up_to(now, 6));
        assert_eq!(strikes.count(now), 6);
        assert_eq!(strikes.add(now), 7);
        strikes.add_up_to(now.plus(QUIET_MS), 6);
        assert_eq!(strikes.count(now.plus(2 * QUIET_MS)), 7);
        assert_eq!(strikes.count(now.plus(2 * QUIET_MS + 1)), 0);
    }
}
