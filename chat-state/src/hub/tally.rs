//! How many sessions each known user has, over all Hubs.
//!
//! A Hub counts its own exactly. Others are told once the count has changed by a so many-th part
//! of the limit, and again and again while it stays: what was told counts for a time only, so
//! neither a signal that was lost nor a Hub that is gone is counted for ever.
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Bound::{Excluded, Unbounded};

use chat_proto::UserId;

use super::{Actions, Hub};
use crate::config::Peers;
use crate::event::{Signal, SignalTo};
use crate::ids::{ConnId, HubId, Mono};
use crate::timers::Timer;
use crate::users::budgets::Shares;

/// Other Hubs are told once a count has changed by one so many-th part of the limit, or by one.
/// With the default limit that leaves out everybody who has one session on each Hub.
const TOLD_PARTS: u32 = 32;

/// How long after the last user what was told is told again.
const AGAIN_MS: u64 = 30_000;

/// How long a count holds that is not told again: until two in a row are lost.
const LEASE_MS: u64 = 120_000;

/// How long it holds once signals may be missing: time for the others to say it again.
const DOUBT_MS: u64 = 20_000;

/// Users that are looked at in one turn …
const USERS_AT_ONCE: usize = 256;
/// … and how long after it comes the next one.
const GO_ON_MS: u64 = 10;

/// The users that others were told of, or that others told of.
#[derive(Debug, Default)]
pub(super) struct Tally {
    users: BTreeMap<UserId, OfUser>,
    /// The user up to which all were told again in this round.
    told_to: Option<UserId>,
    /// When the timer is set for.
    due: Option<Mono>,
}

#[derive(Debug, Default)]
struct OfUser {
    /// What others were told of here.
    told: u32,
    elsewhere: Vec<Elsewhere>,
}

/// What another Hub has told.
#[derive(Debug)]
struct Elsewhere {
    hub: HubId,
    sessions: u32,
    until: Mono,
}

impl Tally {
    /// Returns how many users there are.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// Notes what another Hub has told; 0 forgets.
    fn note(&mut self, from: HubId, user: UserId, sessions: u32, until: Mono) {
        if sessions == 0 {
            let Some(of) = self.users.get_mut(&user) else { return };
            of.elsewhere.retain(|count| count.hub != from);
            if of.is_empty() {
                self.users.remove(&user);
            }
            return;
        }
        let of = self.users.entry(user).or_default();
        match of.elsewhere.iter_mut().find(|count| count.hub == from) {
            Some(count) => (count.sessions, count.until) = (sessions, until),
            None => of.elsewhere.push(Elsewhere { hub: from, sessions, until }),
        }
    }

    /// Looks at some users: forgets what has not been told again, and returns what is to be.
    fn next_round(&mut self, now: Mono) -> Vec<(UserId, u32)> {
        let from = self.told_to.take().map_or(Unbounded, Excluded);
        let (mut counts, mut idle, mut seen) = (Vec::new(), Vec::new(), 0);
        for (user, of) in self.users.range_mut((from, Unbounded)).take(USERS_AT_ONCE) {
            of.elsewhere.retain(|count| count.until > now);
            if of.told > 0 {
                counts.push((user.clone(), of.told));
            } else if of.is_empty() {
                idle.push(user.clone());
            }
            seen += 1;
            if seen == USERS_AT_ONCE {
                self.told_to = Some(user.clone());
            }
        }
        for user in idle {
            self.users.remove(&user);
        }
        counts
    }
}

impl OfUser {
    fn is_empty(&self) -> bool {
        self.told == 0 && self.elsewhere.is_empty()
    }
}

impl Hub {
    /// Tells how many sessions other Hubs have of a user, as far as they have told.
    pub(super) fn sessions_elsewhere(&self, user: &UserId) -> u32 {
        let Some(of) = self.tally.users.get(user) else { return 0 };
        let counts = of.elsewhere.iter().filter(|count| count.until > self.now);
        counts.fold(0, |sum, count| sum.saturating_add(count.sessions))
    }

    /// A session of a user who may be known has begun.
    pub(super) fn session_came(&mut self, conn: ConnId, out: &mut Actions) {
        let Some(session) = self.sessions.get(conn) else { return };
        let shares = session.shares;
        if self.config.peers == Peers::Some && shares.has_user() {
            let (user, here) = (session.user.clone(), self.sessions_of_user(shares));
            self.tell_sessions(user, here, out);
        }
    }

    /// A connection is gone: it shares nothing any more.
    pub(super) fn session_went(&mut self, user: &UserId, shares: Shares, out: &mut Actions) {
        let here = self.sessions_of_user(shares).saturating_sub(1);
        self.leave_budgets(shares);
        if self.config.peers == Peers::Some && shares.has_user() {
            self.tell_sessions(user.clone(), here, out);
        }
    }

    /// Tells other Hubs of a count that is another one than they were told.
    #[inline(never)]
    fn tell_sessions(&mut self, user: UserId, here: u32, out: &mut Actions) {
        let told = self.tally.users.get(&user).map_or(0, |of| of.told);
        let part = (self.config.limits.user_sessions / TOLD_PARTS).max(1);
        if told == here || (here > 0 && told.abs_diff(here) < part) {
            return;
        }
        let of = self.tally.users.entry(user.clone()).or_default();
        of.told = here;
        if of.is_empty() {
            self.tally.users.remove(&user);
        }
        self.arm_tally(AGAIN_MS);
        let counts = vec![(user, here)];
        self.signal(SignalTo::Everyone, || Signal::Sessions { counts }, out);
    }

    /// Another Hub has told how many sessions it has of some users.
    pub(super) fn sessions_told(&mut self, from: HubId, counts: Vec<(UserId, u32)>) {
        let until = self.now.plus(LEASE_MS);
        for (user, sessions) in counts {
            let is_new = !self.tally.users.contains_key(&user);
            if is_new && self.tally.len() >= 4 * self.config.limits.connections as usize {
                continue;
            }
            self.tally.note(from, user, sessions, until);
        }
        self.arm_tally(AGAIN_MS);
    }

    /// Signals may be missing: what is not told again soon counts no more.
    pub(super) fn doubt_sessions(&mut self) {
        let until = self.now.plus(DOUBT_MS);
        let counts = self.tally.users.values_mut().flat_map(|of| &mut of.elsewhere);
        counts.for_each(|count| count.until = count.until.min(until));
    }

    /// Another Hub does not know any more what it was told.
    pub(super) fn tell_sessions_again(&mut self) {
        self.tally.told_to = None;
        self.disarm_tally();
        self.arm_tally(GO_ON_MS);
    }

    /// Some users' turn has come to be told again.
    pub(super) fn tally_due(&mut self, out: &mut Actions) {
        self.tally.due = None;
        let counts = self.tally.next_round(self.now);
        if !counts.is_empty() {
            self.signal(SignalTo::Everyone, || Signal::Sessions { counts }, out);
        }
        self.arm_tally(if self.tally.told_to.is_some() { GO_ON_MS } else { AGAIN_MS });
    }

    /// Arms the timer while there is somebody to count.
    fn arm_tally(&mut self, after_ms: u64) {
        if self.tally.users.is_empty() {
            return self.disarm_tally();
        }
        if self.tally.due.is_none() {
            let at = self.now.plus(after_ms);
            self.tally.due = Some(at);
            self.timers.arm(at, Timer::Tally);
        }
    }

    fn disarm_tally(&mut self) {
        if let Some(at) = self.tally.due.take() {
            self.timers.disarm(at, Timer::Tally);
        }
    }
}
