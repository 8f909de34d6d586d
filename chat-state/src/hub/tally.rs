//! How many sessions each known user has, over all Hubs.
//!
//! A Hub counts its own exactly. Peers are told once the count has changed by a part of the limit,
//! and of all counts in turn, so that a lost signal is made up for. What a peer has told lasts as
//! long as the peer's lease.
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Bound::{Excluded, Included, Unbounded};

use chat_proto::UserId;

use super::{Actions, Hub};
use crate::config::Peers;
use crate::event::{Signal, SignalTo};
use crate::ids::{ConnId, PeerSlot};
use crate::peers::signal::Span;
use crate::users::budgets::Shares;

/// Peers are told once a count has changed by this part of the limit, or by one. With the default
/// limit that leaves out users with one session on each Hub.
const TOLD_PARTS: u32 = 32;

/// The largest number of users in one signal.
const USERS_MAX: usize = 256;

/// In how many renewals of the lease all users are told once: 30 s.
const ROUND_RENEWALS: usize = 6;

/// The users that peers were told of, or that peers told of.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Bounded by four times the limit `connections` and by the sessions of this Hub.
    users: BTreeMap<UserId, OfUser>,
    /// The user up to which all were told in this round.
    told_to: Option<UserId>,
    /// Peers were told of a user.
    has_told: bool,
}

#[derive(Debug, Default)]
struct OfUser {
    /// The count that peers were told.
    told: u32,
    /// At most one for each peer.
    elsewhere: Vec<Elsewhere>,
}

/// What a peer has told.
#[derive(Debug)]
struct Elsewhere {
    slot: PeerSlot,
    sessions: u32,
    /// The number of the statement.
    at: u64,
}

impl Tally {
    /// Returns how many users there are.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// Forgets what a peer has told.
    pub(super) fn end(&mut self, slot: PeerSlot) {
        self.users.retain(|_, of| {
            of.elsewhere.retain(|count| count.slot != slot);
            !of.is_empty()
        });
    }

    /// Takes a count of a peer. 0 forgets the user.
    fn note(&mut self, slot: PeerSlot, at: u64, user: &UserId, sessions: u32) {
        if sessions == 0 && !self.users.contains_key(user) {
            return;
        }
        let of = self.users.entry(user.clone()).or_default();
        let known = of.elsewhere.iter().position(|count| count.slot == slot);
        if known.is_some_and(|known| of.elsewhere[known].at > at) {
            return;
        }
        if let Some(known) = known {
            of.elsewhere.swap_remove(known);
        }
        if sessions > 0 {
            of.elsewhere.push(Elsewhere { slot, sessions, at });
        }
        if of.is_empty() {
            self.users.remove(user);
        }
    }

    /// Forgets the users of a range that a peer did not list.
    fn forget_unlisted(
        &mut self,
        slot: PeerSlot,
        at: u64,
        covers: &Span<UserId>,
        counts: &[(UserId, u32)],
    ) {
        let Span { after, upto } = covers;
        if after.is_some() && upto.is_some() && after >= upto {
            return;
        }
        let range =
            (after.as_ref().map_or(Unbounded, Excluded), upto.as_ref().map_or(Unbounded, Included));
        let mut idle = Vec::new();
        for (user, of) in self.users.range_mut(range) {
            if counts.binary_search_by_key(&user, |(user, _)| user).is_err() {
                of.elsewhere.retain(|count| count.slot != slot || count.at > at);
            }
            if of.is_empty() {
                idle.push(user.clone());
            }
        }
        idle.iter().for_each(|user| drop(self.users.remove(user)));
    }

    /// Returns the next users to be told, and the range that they cover.
    fn next_slice(&mut self) -> (Vec<(UserId, u32)>, Span<UserId>) {
        let after = self.told_to.take();
        let range = (after.as_ref().map_or(Unbounded, Excluded), Unbounded);
        let mut users = self.users.range(range);
        let seen: Vec<_> = users.by_ref().take(USERS_MAX).collect();
        let upto = users.next().and(seen.last()).map(|(user, _)| (*user).clone());
        let told = seen.into_iter().filter(|(_, of)| of.told > 0);
        let counts = told.map(|(user, of)| (user.clone(), of.told)).collect();
        self.told_to.clone_from(&upto);
        (counts, Span { after, upto })
    }
}

impl OfUser {
    fn is_empty(&self) -> bool {
        self.told == 0 && self.elsewhere.is_empty()
    }
}

impl Hub {
    /// Returns how many sessions other Hubs have of a user, as far as they have told.
    pub(super) fn sessions_elsewhere(&self, user: &UserId) -> u32 {
        let Some(of) = self.tally.users.get(user) else { return 0 };
        of.elsewhere.iter().fold(0, |sum, count| sum.saturating_add(count.sessions))
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

    /// Tells peers of a count that is another one than they were told.
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
        self.tally.has_told = true;
        self.say_sessions(None, vec![(user, here)], out);
    }

    /// A peer has told how many sessions it has of some users.
    pub(super) fn sessions_told(
        &mut self,
        slot: PeerSlot,
        at: u64,
        covers: Option<&Span<UserId>>,
        counts: Vec<(UserId, u32)>,
    ) {
        if let Some(covers) = covers {
            self.tally.forget_unlisted(slot, at, covers, &counts);
        }
        for (user, sessions) in counts {
            let is_new = !self.tally.users.contains_key(&user);
            if is_new && self.tally.len() >= 4 * self.config.limits.connections as usize {
                continue;
            }
            self.tally.note(slot, at, &user, sessions);
        }
    }

    /// A peer may not know any more what it was told: a round begins anew.
    pub(super) fn tell_sessions_again(&mut self, out: &mut Actions) {
        self.tally.told_to = None;
        self.tell_sessions_in_turn(out);
    }

    /// Tells some users' sessions again: all of them in [`ROUND_RENEWALS`] calls.
    pub(super) fn tell_sessions_in_turn(&mut self, out: &mut Actions) {
        if !self.tally.has_told {
            return;
        }
        for _ in 0..self.tally.len().div_ceil(USERS_MAX * ROUND_RENEWALS).max(1) {
            let (counts, covers) = self.tally.next_slice();
            self.say_sessions(Some(covers), counts, out);
            if self.tally.told_to.is_none() {
                break;
            }
        }
    }

    fn say_sessions(
        &mut self,
        covers: Option<Span<UserId>>,
        counts: Vec<(UserId, u32)>,
        out: &mut Actions,
    ) {
        let at = self.peers.stamp();
        self.signal(SignalTo::Everyone, || Signal::Sessions { at, covers, counts }, out);
    }
}
