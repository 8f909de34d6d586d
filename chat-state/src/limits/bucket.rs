//! A token bucket.
use crate::ids::Mono;
use crate::limits::cost::Cost;

/// The window of all budgets: they are stated as messages in 10 s.
const WINDOW_US: u64 = 10_000_000;

/// A token bucket in the form of the generic cell rate algorithm: one number and no timer.
///
/// The number is the theoretical arrival time of ITU-T I.371: the end of all requests so far if
/// each took its share of the window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    arrival_us: u64,
}

/// The answer of a budget to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Within,
    Over {
        /// The milliseconds after which the same request is within the budget.
        retry_after_ms: u64,
        /// The name of the limit that states the budget.
        limit: &'static str,
    },
}

impl Bucket {
    /// Takes the cost if a budget of `per_window` messages allows it. Takes nothing otherwise.
    pub(crate) fn take(
        &mut self,
        now: Mono,
        cost: Cost,
        per_window: u32,
        limit: &'static str,
    ) -> Verdict {
        let Some(needed) = self.needed(now, cost, per_window) else { return Verdict::Within };
        if needed.over_us > 0 {
            return Verdict::Over { retry_after_ms: needed.over_us.div_ceil(1000), limit };
        }
        self.arrival_us = needed.arrival_us;
        Verdict::Within
    }

    /// Takes the cost in any case. Returns the milliseconds to wait before the next request.
    pub(crate) fn charge(&mut self, now: Mono, cost: Cost, per_window: u32) -> u64 {
        let Some(needed) = self.needed(now, cost, per_window) else { return 0 };
        self.arrival_us = needed.arrival_us;
        needed.over_us.div_ceil(1000)
    }

    /// Takes a cost that others have let through. Such costs fill at most two windows, so that
    /// nobody waits longer than that for others.
    pub(crate) fn note(&mut self, now: Mono, cost: Cost, per_window: u32) {
        if let Some(needed) = self.needed(now, cost, per_window) {
            let latest = now.0.saturating_mul(1000).saturating_add(2 * WINDOW_US);
            self.arrival_us = needed.arrival_us.min(latest).max(self.arrival_us);
        }
    }

    /// Returns when the whole budget is there again.
    pub(crate) fn whole_at(self) -> Mono {
        Mono(self.arrival_us.div_ceil(1000))
    }

    /// Returns what the cost would make of the bucket; `None` without a budget.
    fn needed(self, now: Mono, cost: Cost, per_window: u32) -> Option<Needed> {
        if per_window == 0 {
            return None;
        }
        let now_us = now.0.saturating_mul(1000);
        let share_us = WINDOW_US / 1000 * u64::from(cost.0) / u64::from(per_window);
        let arrival_us = self.arrival_us.max(now_us).saturating_add(share_us);
        // A whole window may be spent at once.
        let over_us = arrival_us.saturating_sub(now_us.saturating_add(WINDOW_US));
        Some(Needed { arrival_us, over_us })
    }
}

struct Needed {
    arrival_us: u64,
    /// The microseconds beyond the budget; 0 within it.
    over_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::cost::MESSAGE;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn a_request_beyond_the_budget_is_told_when_to_come_back() {
        let mut bucket = Bucket::default();
        let now = Mono(5);
        let over = |retry_after_ms| Verdict::Over { retry_after_ms, limit: "x" };
        for _ in 0..20 {
            assert_eq!(bucket.take(now, MESSAGE, 20, "x"), Verdict::Within);
        }
        assert_eq!(bucket.take(now, MESSAGE, 20, "x"), over(500));
        assert_eq!(bucket.take(now.plus(499), MESSAGE, 20, "x"), over(1));
        assert_eq!(bucket.take(now.plus(500), MESSAGE, 20, "x"), Verdict::Within);
        assert_eq!(bucket.whole_at(), now.plus(10_500));
    }

    #[test]
    fn without_a_budget_all_requests_are_within() {
        let mut bucket = Bucket::default();
        for _ in 0..100_000 {
            assert_eq!(bucket.take(Mono(0), MESSAGE, 0, "x"), Verdict::Within);
        }
        assert_eq!(bucket.charge(Mono(0), MESSAGE, 0), 0);
    }

    #[test]
    fn costs_of_others_are_waited_for_at_most_two_windows() {
        let (mut bucket, now) = (Bucket::default(), Mono(5));
        bucket.note(now, Cost(5000), 10);
        assert_eq!(bucket.whole_at(), now.plus(5000));
        for _ in 0..100 {
            bucket.note(now, Cost(5000), 10);
        }
        assert_eq!(bucket.whole_at(), now.plus(20_000));
        // The cap is for costs of others: what was charged here stays.
        for _ in 0..100 {
            let _ = bucket.charge(now, MESSAGE, 10);
        }
        bucket.note(now, MESSAGE, 10);
        assert_eq!(bucket.whole_at(), now.plus(120_000));
    }

    proptest! {
        /// Any window lets through at most a burst and what the rate gives.
        #[test]
        fn no_window_has_more_than_burst_and_rate(
            gaps in proptest::collection::vec(0..3000u64, 1..400),
            per_window in 1..60u32,
        ) {
            let (mut bucket, mut now, mut taken) = (Bucket::default(), Mono(0), Vec::new());
            for gap in gaps {
                now = now.plus(gap);
                if bucket.take(now, MESSAGE, per_window, "x") == Verdict::Within {
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
