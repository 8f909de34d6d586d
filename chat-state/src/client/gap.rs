//! Decides when a room's missing entries are requested. Pure.
//!
//! Missing entries are requested by history pages, one page at a time. A page that brings no
//! progress proves nothing: another worker or node may know of an entry before the one that
//! answers. It is requested again with back-off, and after [`FRUITLESS_MAX`] such pages the
//! connection is made anew once. Only a `hole`, a page that begins later or another epoch tells
//! that entries are lost.
use chat_proto::Seq;

use super::backoff::{self, Draw, RetryAfter};
use super::config::Times;
use crate::ids::Mono;

/// Pages in a row without progress before the connection is made anew.
const FRUITLESS_MAX: u32 = 4;

/// What a Client does about a room's missing entries.
#[derive(Debug, Default)]
pub(super) struct GapRepair {
    /// The page that is requested and not answered.
    requested: Option<PageRequest>,
    /// When the next page may be requested.
    due: Option<Mono>,
    /// Missing entries were passed over, so they will not arrive on their own.
    passed_over: bool,
    /// Pages in a row that were empty or not answered.
    fruitless: u32,
    /// These and the refused ones, which determine the delay before the next page.
    tries: u32,
    /// The connection was made anew because pages brought no progress.
    reconnected: bool,
}

#[derive(Clone, Copy, Debug)]
struct PageRequest {
    request: u64,
    /// The page begins after this entry.
    after: Seq,
}

/// Why entries are known to be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// They exist, and may still arrive on their own.
    Announced,
    /// The server has passed over them.
    PassedOver,
}

/// The effect of an event on the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    None,
    Advanced,
}

/// What to do after a page without progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Request the page again after a delay.
    Retry,
    /// Make the connection anew.
    Reconnect,
}

impl GapRepair {
    /// Records that no entry is missing.
    pub(super) fn complete(&mut self, progress: Progress) {
        // Without progress the next announcement does not cost the connection again.
        let reconnected = self.reconnected && progress == Progress::None;
        *self = Self { requested: self.requested, reconnected, ..Self::default() };
    }

    /// Records that entries are missing, and schedules a page.
    pub(super) fn missing(
        &mut self,
        now: Mono,
        times: &Times,
        progress: Progress,
        evidence: Evidence,
    ) {
        self.passed_over |= evidence == Evidence::PassedOver;
        if progress == Progress::Advanced {
            let (requested, passed_over) = (self.requested, self.passed_over);
            *self = Self { requested, passed_over, ..Self::default() };
        }
        let is_backing_off = self.tries > 0 && self.due.is_some();
        if self.requested.is_some() || is_backing_off {
            return;
        }
        self.due = match self.due {
            _ if self.passed_over => Some(now),
            Some(due) => Some(due),
            None => Some(now.plus(times.grace_ms)),
        };
    }

    /// Returns when a page is to be requested.
    pub(super) fn due(&self) -> Option<Mono> {
        self.due.filter(|_| self.requested.is_none())
    }

    /// Records that a page is requested.
    pub(super) fn requested(&mut self, request: u64, after: Seq) {
        self.requested = Some(PageRequest { request, after });
        self.due = None;
    }

    /// Returns the entry after which the page begins, if the request is the one in flight.
    pub(super) fn answered(&mut self, request: u64) -> Option<Seq> {
        let page = self.requested.filter(|page| page.request == request)?;
        self.requested = None;
        Some(page.after)
    }

    /// Records a page that brought no progress or was not answered, and returns what to do.
    pub(super) fn fruitless(&mut self, times: &Times, draw: Draw) -> Remedy {
        self.fruitless = self.fruitless.saturating_add(1);
        if self.fruitless >= FRUITLESS_MAX && !self.reconnected {
            self.reconnected = true;
            return Remedy::Reconnect;
        }
        self.refused(times, RetryAfter::BackOff, draw);
        Remedy::Retry
    }

    /// Records a page that was refused and may be requested again.
    pub(super) fn refused(&mut self, times: &Times, after: RetryAfter, draw: Draw) {
        let wait = backoff::retry(times, self.tries, after, draw.random);
        self.tries = self.tries.saturating_add(1);
        self.due = Some(draw.now.plus(wait));
    }

    /// Returns true if neither pages nor a new connection have shown that entries are missing.
    pub(super) fn is_unconfirmed(&self) -> bool {
        self.reconnected && self.fruitless >= FRUITLESS_MAX
    }

    /// Records that the session is not in the room any more.
    pub(super) fn interrupt(&mut self) {
        *self = Self { reconnected: self.reconnected, ..Self::default() };
    }

    /// Ignores the answer to the page in flight: it may come from another log.
    pub(super) fn ignore_answer(&mut self) {
        self.requested = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> Times {
        Times::default()
    }

    fn draw(now: u64, random: u64) -> Draw {
        Draw { now: Mono(now), random }
    }

    fn missing(gap: &mut GapRepair, now: u64, progress: Progress, evidence: Evidence) {
        gap.missing(Mono(now), &times(), progress, evidence);
    }

    #[test]
    fn announced_entries_get_a_grace_period_and_passed_over_entries_do_not() {
        let mut gap = GapRepair::default();
        missing(&mut gap, 0, Progress::None, Evidence::Announced);
        assert_eq!(gap.due(), Some(Mono(1000)));
        missing(&mut gap, 500, Progress::None, Evidence::Announced);
        assert_eq!(gap.due(), Some(Mono(1000)));
        missing(&mut gap, 600, Progress::Advanced, Evidence::Announced);
        assert_eq!(gap.due(), Some(Mono(1600)));
        missing(&mut gap, 700, Progress::None, Evidence::PassedOver);
        assert_eq!(gap.due(), Some(Mono(700)));
        gap.complete(Progress::Advanced);
        assert_eq!(gap.due(), None);
    }

    #[test]
    fn fruitless_pages_lead_to_one_reconnect_and_then_to_a_back_off_without_end() {
        let mut gap = GapRepair::default();
        let mut now = 0;
        let mut delays = std::vec::Vec::new();
        for n in 0..16 {
            missing(&mut gap, now, Progress::None, Evidence::PassedOver);
            let due = gap.due().unwrap();
            delays.push(due.0 - now);
            now = due.0;
            gap.requested(7, Seq::ZERO);
            assert_eq!(gap.answered(8), None);
            assert_eq!(gap.answered(7), Some(Seq::ZERO));
            let remedy = gap.fruitless(&times(), draw(now, u64::MAX));
            assert_eq!(remedy == Remedy::Reconnect, n == 3, "page {n}");
            if remedy == Remedy::Reconnect {
                gap.interrupt();
            }
        }
        let before = [0, 499, 999, 1999];
        let after = [0, 499, 999, 1999, 3999, 7999, 15_999, 29_999, 29_999, 29_999, 29_999, 29_999];
        assert_eq!(delays, [&before[..], &after[..]].concat());
        assert!(gap.is_unconfirmed());
    }

    #[test]
    fn progress_resets_the_back_off_and_allows_another_reconnect() {
        let mut gap = GapRepair::default();
        for _ in 0..20 {
            missing(&mut gap, 0, Progress::Advanced, Evidence::PassedOver);
            assert_eq!(gap.due(), Some(Mono(0)));
            for _ in 0..3 {
                assert_eq!(gap.fruitless(&times(), draw(0, 0)), Remedy::Retry);
            }
        }
        assert_eq!(gap.fruitless(&times(), draw(0, 0)), Remedy::Reconnect);
        gap.complete(Progress::None);
        (0..9).for_each(|_| assert_eq!(gap.fruitless(&times(), draw(0, 0)), Remedy::Retry));
        gap.complete(Progress::Advanced);
        (0..3).for_each(|_| assert_eq!(gap.fruitless(&times(), draw(0, 0)), Remedy::Retry));
        assert_eq!(gap.fruitless(&times(), draw(0, 0)), Remedy::Reconnect);
    }

    #[test]
    fn an_announcement_that_is_never_confirmed_costs_one_connection() {
        let mut gap = GapRepair::default();
        let mut reconnects = 0;
        for n in 0..40 {
            missing(&mut gap, n, Progress::None, Evidence::Announced);
            if gap.fruitless(&times(), draw(n, 0)) == Remedy::Reconnect {
                reconnects += 1;
                gap.interrupt();
            }
        }
        assert_eq!(reconnects, 1);
    }
}
