//! When a room's missing entries are paged for. Pure.
use chat_proto::Seq;

use super::backoff;
use super::config::Times;
use crate::ids::Mono;

/// Pages in a row that bring nothing before something else is tried.
const FRUITLESS_MAX: u32 = 4;

/// What is done about entries that are known to be missing.
#[derive(Debug, Default)]
pub(super) struct Heal {
    /// The page that was asked for, and the place after which.
    asked: Option<(u64, Seq)>,
    /// When the next page may be asked for.
    due: Option<Mono>,
    /// What is missing will not come by itself.
    proven: bool,
    /// Pages in a row that contradict themselves: they are empty, and there is more.
    fruitless: u32,
    /// Pages in a row that were refused for a while, not answered, or empty.
    tries: u32,
    /// The connection was made anew already because pages brought nothing.
    relinked: bool,
}

/// Why entries are known to be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// They exist, and may yet come by themselves.
    Claim,
    /// They were passed over.
    Proof,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// The cursor stands where it stood.
    No,
    /// It has moved.
    Yes,
}

/// What to do when pages do not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Ask again after a while.
    Again,
    /// Make the connection anew.
    Relink,
    /// Take what is missing for lost.
    GiveUp,
    /// Doubt the claim that there is more.
    Doubt,
}

/// What a page that brought nothing says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fruitless {
    /// There is more, which can't be.
    Contradiction,
    /// Nothing is there, or nothing at all: the server may not be there yet, which is no proof of
    /// a loss.
    NotYet,
}

impl Heal {
    /// Looks at a room anew: it is behind, or not.
    pub(super) fn review(
        &mut self,
        now: Mono,
        times: &Times,
        is_behind: bool,
        (moved, evidence): (Moved, Evidence),
    ) {
        if !is_behind {
            // Who has doubted a claim does not make the connection anew for the next one.
            let relinked = self.relinked && moved == Moved::No;
            *self = Self { asked: self.asked, relinked, ..Self::default() };
            return;
        }
        self.proven |= evidence == Evidence::Proof;
        if moved == Moved::Yes {
            *self = Self { asked: self.asked, proven: self.proven, ..Self::default() };
        }
        if self.asked.is_some() {
            return;
        }
        let held_back = self.fruitless > 0 || self.tries > 0;
        self.due = Some(match self.due {
            Some(due) if held_back || !self.proven => due,
            Some(_) | None if self.proven => now,
            Some(_) | None => now.plus(times.grace_ms),
        });
    }

    /// Returns when a page is to be asked for.
    pub(super) fn due(&self) -> Option<Mono> {
        self.due.filter(|_| self.asked.is_none())
    }

    /// Notes that a page was asked for.
    pub(super) fn ask(&mut self, request: u64, after: Seq) {
        self.asked = Some((request, after));
        self.due = None;
    }

    /// Takes the place after which a page was asked for, if the request is about that page.
    pub(super) fn answered(&mut self, request: u64) -> Option<Seq> {
        let (_, after) = self.asked.filter(|(asked, _)| *asked == request)?;
        self.asked = None;
        Some(after)
    }

    /// Notes that a page brought nothing, and decides what to do. `is_proven`: entries came from
    /// beyond what is missing.
    pub(super) fn fruitless(
        &mut self,
        (what, is_proven): (Fruitless, bool),
        (now, random): (Mono, u64),
        times: &Times,
    ) -> Remedy {
        let tries = match what {
            Fruitless::Contradiction => &mut self.fruitless,
            Fruitless::NotYet => &mut self.tries,
        };
        *tries = tries.saturating_add(1);
        let many = *tries >= FRUITLESS_MAX;
        let wait = backoff::retry(times, *tries - 1, None, random);
        if many && !self.relinked {
            self.relinked = true;
            return Remedy::Relink;
        }
        match what {
            Fruitless::Contradiction if many => return Remedy::GiveUp,
            Fruitless::NotYet if many && !is_proven => return Remedy::Doubt,
            Fruitless::Contradiction | Fruitless::NotYet => {}
        }
        self.due = Some(now.plus(wait));
        Remedy::Again
    }

    /// Notes that a page was refused for a while.
    pub(super) fn refused(
        &mut self,
        now: Mono,
        times: &Times,
        (after_ms, random): (Option<u64>, u64),
    ) {
        self.due = Some(now.plus(backoff::retry(times, self.tries, after_ms, random)));
        self.tries = self.tries.saturating_add(1);
    }

    /// Notes that the room was left or is joined anew: nothing is under way any more.
    pub(super) fn interrupt(&mut self) {
        *self = Self { relinked: self.relinked, ..Self::default() };
    }

    /// Notes that the log could not be the one that was asked: as [`Self::interrupt`], but pages
    /// that bring nothing go on counting.
    pub(super) fn rejoin(&mut self) {
        self.asked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn times() -> Times {
        Times::default()
    }

    #[test]
    fn a_claim_waits_and_a_proof_does_not() {
        let mut heal = Heal::default();
        heal.review(Mono(0), &times(), true, (Moved::No, Evidence::Claim));
        assert_eq!(heal.due(), Some(Mono(1000)));
        heal.review(Mono(500), &times(), true, (Moved::No, Evidence::Claim));
        assert_eq!(heal.due(), Some(Mono(1000)));
        heal.review(Mono(600), &times(), true, (Moved::Yes, Evidence::Claim));
        assert_eq!(heal.due(), Some(Mono(1600)));
        heal.review(Mono(700), &times(), true, (Moved::No, Evidence::Proof));
        assert_eq!(heal.due(), Some(Mono(700)));
        heal.review(Mono(800), &times(), false, (Moved::Yes, Evidence::Claim));
        assert_eq!(heal.due(), None);
    }

    #[test]
    fn pages_that_bring_nothing_lead_to_a_new_link_and_then_to_a_loss() {
        let mut heal = Heal::default();
        let mut now = Mono(0);
        for remedy in [Remedy::Relink, Remedy::GiveUp] {
            for tries in 0..4 {
                heal.review(now, &times(), true, (Moved::No, Evidence::Proof));
                now = heal.due().unwrap();
                heal.ask(7, Seq::ZERO);
                assert_eq!(heal.answered(8), None);
                assert_eq!(heal.answered(7), Some(Seq::ZERO));
                let what = (Fruitless::Contradiction, true);
                let got = heal.fruitless(what, (now, u64::MAX), &times());
                assert_eq!(got, if tries < 3 { Remedy::Again } else { remedy });
            }
            heal.interrupt();
        }
        // 500, 1000 and 2000 ms, twice, each less the one that full jitter leaves out.
        assert_eq!(now, Mono(2 * (3500 - 3)));
    }

    #[test]
    fn a_room_that_was_whole_has_a_new_link_to_try() {
        let mut heal = Heal::default();
        heal.review(Mono(0), &times(), false, (Moved::No, Evidence::Claim));
        for tries in 0..4 {
            heal.review(Mono(0), &times(), true, (Moved::No, Evidence::Proof));
            heal.ask(7, Seq::ZERO);
            heal.answered(7);
            let what = (Fruitless::Contradiction, true);
            let got = heal.fruitless(what, (Mono(0), 0), &times());
            assert_eq!(got, if tries < 3 { Remedy::Again } else { Remedy::Relink });
        }
    }

    #[test]
    fn what_is_not_there_yet_is_doubted_or_awaited_but_never_lost() {
        for is_proven in [false, true] {
            let mut heal = Heal::default();
            let mut got = Vec::new();
            for n in 0..9 {
                heal.review(Mono(n), &times(), true, (Moved::No, Evidence::Proof));
                got.push(heal.fruitless((Fruitless::NotYet, is_proven), (Mono(n), 0), &times()));
            }
            let last = if is_proven { Remedy::Again } else { Remedy::Doubt };
            assert_eq!(got[..3], [Remedy::Again; 3]);
            assert_eq!(got[3], Remedy::Relink);
            assert_eq!(got[4..], [last; 5]);
        }
    }

    #[test]
    fn progress_begins_anew() {
        let mut heal = Heal::default();
        for _ in 0..20 {
            heal.review(Mono(0), &times(), true, (Moved::Yes, Evidence::Proof));
            assert_eq!(heal.due(), Some(Mono(0)));
            for _ in 0..3 {
                let what = (Fruitless::Contradiction, true);
                assert_eq!(heal.fruitless(what, (Mono(0), 0), &times()), Remedy::Again);
            }
        }
    }
}
