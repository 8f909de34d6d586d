//! The budget of a session.
use crate::ids::Mono;

/// The window that a budget is stated for.
const WINDOW_US: u64 = 10_000_000;

/// What a message costs; other requests cost a part of it.
pub(crate) const MESSAGE: Cost = Cost(1000);

/// What a request costs, in thousandths of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost(pub(crate) u32);

/// A token bucket in the form of the generic cell rate algorithm: one number, no timer.
///
/// The number is the theoretical arrival time of ITU-T I.371: how far the session's requests
/// reach into the future if each took its share of the window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    arrival_us: u64,
}

/// What a budget says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Within,
    Over {
        /// When the same request would be within.
        retry_after_ms: u64,
    },
}

impl Bucket {
    /// Takes the cost if the budget of `per_window` messages has it; takes nothing otherwise.
    pub(crate) fn take(&mut self, now: Mono, cost: Cost, per_window: u32) -> Verdict {
        let Some(needed) = self.needed(now, cost, per_window) else { return Verdict::Within };
        if let Some(over) = needed.over {
            return Verdict::Over { retry_after_ms: over.div_ceil(1000) };
        }
        self.arrival_us = needed.arrival_us;
        Verdict::Within
    }

    /// Takes the cost in any case and tells how long to stay quiet for it.
    pub(crate) fn charge(&mut self, now: Mono, cost: Cost, per_window: u32) -> u64 {
        let Some(needed) = self.needed(now, cost, per_window) else { return 0 };
        self.arrival_us = needed.arrival_us;
        needed.over.map_or(0, |us| us.div_ceil(1000))
    }

    fn needed(self, now: Mono, cost: Cost, per_window: u32) -> Option<Needed> {
        if per_window == 0 {
            return None;
        }
        let now_us = now.0.saturating_mul(1000);
        let share_us = WINDOW_US * u64::from(cost.0) / (1000 * u64::from(per_window));
        let arrival_us = self.arrival_us.max(now_us).saturating_add(share_us);
        // A whole window may be spent at once.
        let over = arrival_us.checked_sub(now_us.saturating_add(WINDOW_US)).filter(|us| *us > 0);
        Some(Needed { arrival_us, over })
    }
}

struct Needed {
    arrival_us: u64,
    over: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn one_above_the_budget_is_told_when_to_come_back() {
        let mut bucket = Bucket::default();
        let now = Mono(5);
        for _ in 0..20 {
            assert_eq!(bucket.take(now, MESSAGE, 20), Verdict::Within);
        }
        assert_eq!(bucket.take(now, MESSAGE, 20), Verdict::Over { retry_after_ms: 500 });
        assert_eq!(bucket.take(now.plus(499), MESSAGE, 20), Verdict::Over { retry_after_ms: 1 });
        assert_eq!(bucket.take(now.plus(500), MESSAGE, 20), Verdict::Within);
    }

    #[test]
    fn without_a_budget_everything_is_within() {
        let mut bucket = Bucket::default();
        for _ in 0..100_000 {
            assert_eq!(bucket.take(Mono(0), MESSAGE, 0), Verdict::Within);
        }
        assert_eq!(bucket.charge(Mono(0), MESSAGE, 0), 0);
    }

    proptest! {
        /// In any window at most a burst and what the rate gives is let through.
        #[test]
        fn no_window_has_more_than_burst_and_rate(
            gaps in proptest::collection::vec(0..3000u64, 1..400),
            per_window in 1..60u32,
        ) {
            let (mut bucket, mut now, mut taken) = (Bucket::default(), Mono(0), Vec::new());
            for gap in gaps {
                now = now.plus(gap);
                if bucket.take(now, MESSAGE, per_window) == Verdict::Within {
                    taken.push(now.0);
                }
            }
            for (i, from) in taken.iter().enumerate() {
                for (j, to) in taken.iter().enumerate().skip(i) {
                    let most = u64::from(per_window) * (10_000 + to - from) / 10_000 + 1;
                    prop_assert!(((j - i) as u64) < most);
                }
            }
        }
    }
}
