//! Recovers from lost signals without causing further losses.
//!
//! There is at most one recovery at a time. It requests digests and checks the heads of logs, some
//! rooms at a time, and is followed by a pause that doubles while losses keep coming.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use chat_proto::RoomName;

use super::signal::{Asked, Lost, ROOMS_MAX};
use crate::ids::Mono;

/// The shortest pause between two recoveries, in milliseconds.
pub(super) const PAUSE_MS_MIN: u64 = 1000;

/// The longest pause between two recoveries, in milliseconds.
pub(super) const PAUSE_MS_MAX: u64 = 30_000;

/// Time without a recovery after which the pause is short again, in milliseconds.
const CALM_MS: u64 = 60_000;

/// If more rooms than this are affected, all of them are recovered.
const AFFECTED_MAX: usize = 4096;

/// What a recovery asks its owner to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Request digests from all peers.
    Ask(Asked),
    /// Check the heads of some rooms after a name, and call [`Recovery::checked`].
    CheckAfter(Option<RoomName>),
    /// Request a digest of these rooms and check their heads.
    Recover(Vec<RoomName>),
}

/// Losses that were reported, and the recovery in progress.
#[derive(Debug)]
pub(super) struct Recovery {
    affected: Affected,
    walk: Walk,
    /// No recovery starts before this.
    pause_until: Mono,
    pause_ms: u64,
}

/// What was reported since the last recovery started. Bounded by [`AFFECTED_MAX`].
#[derive(Debug, Default)]
enum Affected {
    #[default]
    Nothing,
    Rooms(BTreeSet<RoomName>),
    All,
}

#[derive(Debug)]
enum Walk {
    /// No recovery is in progress.
    None,
    /// All rooms: nothing was done yet.
    Begin,
    /// All rooms: those up to a name are done.
    After(Option<RoomName>),
    /// All rooms: the owner has not called [`Recovery::checked`] yet.
    Checking,
    /// These rooms are left to do.
    Rooms(BTreeSet<RoomName>),
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            affected: Affected::Nothing,
            walk: Walk::None,
            pause_until: Mono(0),
            pause_ms: PAUSE_MS_MIN,
        }
    }
}

impl Recovery {
    /// Takes a report of lost signals.
    pub(super) fn lost(&mut self, now: Mono, lost: Lost) {
        let is_idle = matches!((&self.walk, &self.affected), (Walk::None, Affected::Nothing));
        if is_idle && now.since(self.pause_until) >= CALM_MS {
            self.pause_ms = PAUSE_MS_MIN;
        }
        self.affected = match (core::mem::take(&mut self.affected), lost) {
            (Affected::All, _) | (_, Lost::All) => Affected::All,
            (Affected::Nothing, Lost::Rooms(rooms)) => Self::affected(rooms.into_iter().collect()),
            (Affected::Rooms(mut known), Lost::Rooms(rooms)) => {
                known.extend(rooms);
                Self::affected(known)
            }
        };
    }

    fn affected(rooms: BTreeSet<RoomName>) -> Affected {
        match rooms.len() {
            0 => Affected::Nothing,
            1..=AFFECTED_MAX => Affected::Rooms(rooms),
            _ => Affected::All,
        }
    }

    /// Returns the next step, which names at most `limit` rooms.
    pub(super) fn next(&mut self, now: Mono, limit: usize) -> Option<Step> {
        if matches!(self.walk, Walk::None) && now >= self.pause_until {
            self.walk = match core::mem::take(&mut self.affected) {
                Affected::Nothing => Walk::None,
                Affected::Rooms(rooms) => Walk::Rooms(rooms),
                Affected::All => Walk::Begin,
            };
        }
        match core::mem::replace(&mut self.walk, Walk::None) {
            Walk::None => None,
            Walk::Begin => {
                self.walk = Walk::After(None);
                Some(Step::Ask(Asked::All))
            }
            Walk::After(after) => {
                self.walk = Walk::Checking;
                Some(Step::CheckAfter(after))
            }
            Walk::Checking => {
                self.walk = Walk::Checking;
                None
            }
            Walk::Rooms(mut rooms) => {
                let count = limit.min(ROOMS_MAX).min(rooms.len());
                let batch = core::iter::from_fn(|| rooms.pop_first()).take(count).collect();
                if rooms.is_empty() {
                    self.pause(now);
                } else {
                    self.walk = Walk::Rooms(rooms);
                }
                Some(Step::Recover(batch))
            }
        }
    }

    /// Takes the last room that was checked; `None` if there are no more.
    pub(super) fn checked(&mut self, now: Mono, last: Option<RoomName>) {
        assert!(matches!(self.walk, Walk::Checking), "only a recovery asks for checks");
        if last.is_some() {
            self.walk = Walk::After(last);
        } else {
            self.walk = Walk::None;
            self.pause(now);
        }
    }

    fn pause(&mut self, now: Mono) {
        self.pause_until = now.plus(self.pause_ms);
        self.pause_ms = (2 * self.pause_ms).min(PAUSE_MS_MAX);
    }

    /// Returns the time from which on [`Self::next`] has a step. `None`: something else has to
    /// happen first.
    pub(super) fn due(&self) -> Option<Mono> {
        match (&self.walk, &self.affected) {
            (Walk::Begin | Walk::After(_) | Walk::Rooms(_), _) => Some(Mono(0)),
            (Walk::Checking, _) | (Walk::None, Affected::Nothing) => None,
            (Walk::None, Affected::Rooms(_) | Affected::All) => Some(self.pause_until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    fn room(n: usize) -> RoomName {
        RoomName::new(&format!("room {n:05}")).expect("a name")
    }

    /// Runs a recovery of all rooms to its end, with checks of no room.
    fn finish(recovery: &mut Recovery, now: Mono) -> bool {
        let Some(step) = recovery.next(now, 256) else { return false };
        assert_eq!(step, Step::Ask(Asked::All));
        assert_eq!(recovery.next(now, 256), Some(Step::CheckAfter(None)));
        assert_eq!(recovery.next(now, 256), None, "the check is not done");
        recovery.checked(now, None);
        true
    }

    #[test]
    fn the_pause_between_recoveries_doubles_while_losses_keep_coming() {
        let mut recovery = Recovery::default();
        let mut starts = Vec::new();
        for at in 0..200_000 {
            recovery.lost(Mono(at), Lost::All);
            if finish(&mut recovery, Mono(at)) {
                starts.push(at);
            }
        }
        let gaps: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps[..7], [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn the_pause_is_short_again_after_a_calm_minute() {
        let mut recovery = Recovery::default();
        for at in [0, 1000, 3000] {
            recovery.lost(Mono(at), Lost::All);
            assert!(finish(&mut recovery, Mono(at)), "{at}");
        }
        recovery.lost(Mono(67_000), Lost::All);
        assert!(finish(&mut recovery, Mono(67_000)));
        recovery.lost(Mono(67_000), Lost::All);
        assert_eq!(recovery.due(), Some(Mono(68_000)));
    }

    #[test]
    fn all_rooms_are_checked_one_batch_after_the_other() {
        let mut recovery = Recovery::default();
        recovery.lost(Mono(0), Lost::All);
        assert_eq!(recovery.next(Mono(0), 256), Some(Step::Ask(Asked::All)));
        for n in 0..3 {
            let after = (n > 0).then(|| room(n));
            assert_eq!(recovery.next(Mono(0), 9), Some(Step::CheckAfter(after)));
            recovery.checked(Mono(0), (n < 2).then(|| room(n + 1)));
        }
        assert_eq!(recovery.next(Mono(0), 256), None);
        assert_eq!(recovery.due(), None);
    }

    #[test]
    fn known_rooms_are_recovered_alone_and_too_many_as_all() {
        let mut recovery = Recovery::default();
        recovery.lost(Mono(0), Lost::Rooms(Vec::new()));
        assert_eq!(recovery.due(), None);
        recovery.lost(Mono(0), Lost::Rooms((0..5).map(room).collect()));
        recovery.lost(Mono(0), Lost::Rooms((3..8).map(room).collect()));
        let first = recovery.next(Mono(0), 6);
        assert_eq!(first, Some(Step::Recover((0..6).map(room).collect())));
        let rest = recovery.next(Mono(0), 6);
        assert_eq!(rest, Some(Step::Recover((6..8).map(room).collect())));
        assert_eq!(recovery.next(Mono(0), 6), None);
        recovery.lost(Mono(0), Lost::Rooms((0..=AFFECTED_MAX).map(room).collect()));
        assert_eq!(recovery.next(Mono(1000), 256), Some(Step::Ask(Asked::All)));
    }
}
