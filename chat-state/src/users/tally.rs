//! How many sessions users have on other Hubs, and what peers were told of those here.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound::{Excluded, Included, Unbounded};

use chat_proto::UserId;

use crate::ids::PeerSlot;
use crate::peers::signal::Span;

/// The largest number of users in one slice.
const USERS_MAX: usize = 256;

/// The counts of sessions that peers were told, and those that peers have told.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Bounded by four times the limit `connections` and by the sessions of this Hub.
    users: BTreeMap<UserId, OfUser>,
    /// The user up to which all were told in this round.
    told_to: Option<UserId>,
    /// Peers have been told a count.
    has_told: bool,
}

/// The counts of a range of users. Peers are told the slices of a round in turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) covers: Span<UserId>,
    /// Sorted by user.
    pub(crate) counts: Vec<(UserId, u32)>,
}

#[derive(Debug, Default)]
struct OfUser {
    /// The count that peers were told.
    told: u32,
    /// At most one for each peer.
    elsewhere: Vec<Elsewhere>,
}

/// A count that a peer has told.
#[derive(Debug)]
struct Elsewhere {
    slot: PeerSlot,
    sessions: u32,
    /// The peer's number of the statement; later statements have larger ones.
    at: u64,
}

impl Tally {
    /// Returns the number of users.
    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }

    /// Forgets all counts of a peer.
    pub(crate) fn end(&mut self, slot: PeerSlot) {
        self.users.retain(|_, of| {
            of.elsewhere.retain(|count| count.slot != slot);
            !of.is_empty()
        });
    }

    /// Returns how many sessions peers have of a user, as far as they have told.
    pub(crate) fn elsewhere(&self, user: &UserId) -> u32 {
        let Some(of) = self.users.get(user) else { return 0 };
        of.elsewhere.iter().fold(0, |sum, count| sum.saturating_add(count.sessions))
    }

    /// Returns the count that peers were told of a user.
    pub(crate) fn told(&self, user: &UserId) -> u32 {
        self.users.get(user).map_or(0, |of| of.told)
    }

    /// Records a count that peers are told. 0 forgets the user.
    pub(crate) fn tell(&mut self, user: &UserId, here: u32) {
        let of = self.users.entry(user.clone()).or_default();
        of.told = here;
        if of.is_empty() {
            self.users.remove(user);
        }
        self.has_told = true;
    }

    /// Records a peer's count, unless a newer one is known. 0 forgets the user. A new user is
    /// ignored if there are `max` users already.
    pub(crate) fn note(
        &mut self,
        slot: PeerSlot,
        at: u64,
        user: &UserId,
        sessions: u32,
        max: usize,
    ) {
        let is_new = !self.users.contains_key(user);
        if is_new && (sessions == 0 || self.users.len() >= max) {
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

    /// Forgets a peer's counts of the users in a range that it did not list.
    pub(crate) fn forget_unlisted(
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

    /// Returns the next slices of a round. A round covers all users in `renewals` calls. A slice
    /// lists the users in its range that peers were told of.
    pub(crate) fn next_slices(&mut self, renewals: usize) -> Vec<Slice> {
        let mut slices = Vec::new();
        if !self.has_told {
            return slices;
        }
        for _ in 0..self.users.len().div_ceil(USERS_MAX * renewals).max(1) {
            slices.push(self.next_slice());
            if self.told_to.is_none() {
                break;
            }
        }
        slices
    }

    fn next_slice(&mut self) -> Slice {
        let after = self.told_to.take();
        let range = (after.as_ref().map_or(Unbounded, Excluded), Unbounded);
        let mut users = self.users.range(range);
        let seen: Vec<_> = users.by_ref().take(USERS_MAX).collect();
        let upto = users.next().and(seen.last()).map(|(user, _)| (*user).clone());
        let told = seen.into_iter().filter(|(_, of)| of.told > 0);
        let counts = told.map(|(user, of)| (user.clone(), of.told)).collect();
        self.told_to.clone_from(&upto);
        Slice { covers: Span { after, upto }, counts }
    }
}

impl OfUser {
    fn is_empty(&self) -> bool {
        self.told == 0 && self.elsewhere.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    fn user(n: usize) -> UserId {
        UserId::new(&format!("u{n:04}")).unwrap()
    }

    fn slot(n: u32) -> PeerSlot {
        PeerSlot(n)
    }

    #[test]
    fn counts_of_peers_add_up_until_a_newer_one_or_the_end_of_the_peer() {
        let mut tally = Tally::default();
        let ada = user(0);
        tally.note(slot(0), 1, &ada, 3, 10);
        tally.note(slot(1), 1, &ada, 2, 10);
        assert_eq!(tally.elsewhere(&ada), 5);
        tally.note(slot(0), 3, &ada, 1, 10);
        tally.note(slot(0), 2, &ada, 9, 10);
        assert_eq!(tally.elsewhere(&ada), 3, "the older statement came late");
        tally.end(slot(1));
        assert_eq!(tally.elsewhere(&ada), 1);
        tally.note(slot(0), 4, &ada, 0, 10);
        assert_eq!((tally.elsewhere(&ada), tally.len()), (0, 0));
    }

    #[test]
    fn no_more_users_of_peers_are_known_than_there_may_be() {
        let mut tally = Tally::default();
        (0..5).for_each(|n| tally.note(slot(0), 1, &user(n), 1, 3));
        assert_eq!(tally.len(), 3);
        tally.note(slot(0), 2, &user(0), 7, 3);
        assert_eq!(tally.elsewhere(&user(0)), 7, "one that is known may change");
    }

    #[test]
    fn a_round_tells_of_all_users_in_some_slices_that_leave_no_gap() {
        let mut tally = Tally::default();
        assert!(tally.next_slices(6).is_empty(), "nobody was told of anybody");
        (0..600).for_each(|n| tally.tell(&user(n), 2));
        let slices: Vec<_> = (0..3).flat_map(|_| tally.next_slices(6)).collect();
        assert_eq!(slices.len(), 3);
        assert_eq!(slices[0].covers.after, None);
        for pair in slices.windows(2) {
            assert_eq!(pair[0].covers.upto, pair[1].covers.after);
        }
        assert_eq!(slices[2].covers.upto, None);
        let counts: Vec<_> = slices.iter().flat_map(|slice| slice.counts.clone()).collect();
        assert_eq!(counts, (0..600).map(|n| (user(n), 2)).collect::<Vec<_>>());
    }

    #[test]
    fn users_that_a_slice_leaves_out_are_forgotten() {
        let mut tally = Tally::default();
        (0..4).for_each(|n| tally.note(slot(0), 1, &user(n), 1, 10));
        tally.note(slot(1), 1, &user(1), 1, 10);
        let covers = Span { after: Some(user(0)), upto: Some(user(2)) };
        tally.forget_unlisted(slot(0), 2, &covers, &[(user(2), 1)]);
        let elsewhere: Vec<_> = (0..4).map(|n| tally.elsewhere(&user(n))).collect();
        assert_eq!(elsewhere, [1, 1, 1, 1], "only peer 0 has forgotten user 1");
        tally.end(slot(1));
        assert_eq!(tally.elsewhere(&user(1)), 0);
    }
}
