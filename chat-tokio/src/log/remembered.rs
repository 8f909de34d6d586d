//! Keys whose entries are gone, in memory.
use std::collections::{BTreeMap, HashMap, VecDeque};

use chat_proto::{Key, Seq, Timestamp, UserId};

use super::digest::Digest;

/// What a key of one room is known by: whose it is, and the key.
pub(super) type Named = (UserId, Key);

/// The first send of a key: what a repeat is compared with, and answered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) seq: Seq,
    pub(super) ts: Timestamp,
    pub(super) digest: Digest,
}

/// The keys of one room whose entries are gone.
///
/// *Invariant:* all three parts have the same keys, by different names.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    firsts: HashMap<Named, First>,
    /// The keys by place, oldest first.
    places: BTreeMap<Seq, Named>,
    /// Each user's places, oldest first.
    users: HashMap<UserId, VecDeque<Seq>>,
}

/// About what a key takes: its places in all three parts, and the texts of the user and itself.
const KEY_BYTES: usize = 320;

impl Remembered {
    /// Finds the first send of a key.
    pub(super) fn find(&self, named: &Named) -> Option<&First> {
        // The tables of most rooms are empty, and then there is nothing to hash.
        if self.places.is_empty() { None } else { self.firsts.get(named) }
    }

    /// Adds a key whose entry is newer than all those before; so many stay of its user.
    pub(super) fn add(&mut self, named: Named, first: First, keys_per_user: u32) {
        let places = self.users.entry(named.0.clone()).or_default();
        places.push_back(first.seq);
        let excess =
            if places.len() > keys_per_user as usize { places.front().copied() } else { None };
        self.places.insert(first.seq, named.clone());
        self.firsts.insert(named, first);
        if let Some(seq) = excess {
            self.remove(seq);
        }
    }

    /// Forgets the oldest keys, as long as they are from before a time.
    pub(super) fn expire(&mut self, since: Timestamp) {
        while let Some((seq, named)) = self.places.first_key_value()
            && self.firsts.get(named).is_none_or(|first| first.ts < since)
        {
            let seq = *seq;
            self.remove(seq);
        }
    }

    /// Forgets the oldest key, and tells whether there was one.
    pub(super) fn pop_oldest(&mut self) -> bool {
        let oldest = self.places.first_key_value().map(|(seq, _)| *seq);
        oldest.map(|seq| self.remove(seq)).is_some()
    }

    /// Returns about how many bytes all keys take.
    pub(super) fn bytes(&self) -> usize {
        self.places.len() * KEY_BYTES
    }

    /// Tells whether there is no key.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Forgets a key that is its user's oldest.
    fn remove(&mut self, seq: Seq) {
        let Some(named) = self.places.remove(&seq) else { return };
        if let Some(places) = self.users.get_mut(&named.0) {
            let oldest = places.pop_front();
            debug_assert_eq!(oldest, Some(seq), "the oldest keys go first");
            if places.is_empty() {
                self.users.remove(&named.0);
            }
        }
        self.firsts.remove(&named);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: Digest = Digest([7; 16]);

    fn named(user: &str, key: &str) -> Named {
        (UserId::new(user).unwrap(), Key::new(key).unwrap())
    }

    /// Adds a key at each place, which is its time, too.
    fn add(all: &mut Remembered, user: &str, places: &[u64], keys_per_user: u32) {
        for n in places {
            let first = First { seq: Seq::new(*n).unwrap(), ts: Timestamp(*n), digest: DIGEST };
            all.add(named(user, &format!("k{n}")), first, keys_per_user);
        }
    }

    /// The places that are left, after a look at all parts.
    fn left(all: &Remembered) -> Vec<u64> {
        let of_users: usize = all.users.values().map(VecDeque::len).sum();
        assert_eq!((all.firsts.len(), of_users), (all.places.len(), all.places.len()));
        assert!(all.users.values().all(|places| !places.is_empty()));
        assert_eq!(all.bytes(), all.places.len() * KEY_BYTES);
        assert!(all.places.iter().all(|(seq, named)| all.find(named).unwrap().seq == *seq));
        all.places.keys().map(|seq| seq.get()).collect()
    }

    #[test]
    fn each_user_keeps_the_newest() {
        let mut all = Remembered::default();
        add(&mut all, "ada", &[1, 2, 4], 2);
        add(&mut all, "bob", &[5], 2);
        add(&mut all, "ada", &[6], 2);
        assert_eq!(left(&all), [4, 5, 6]);
        assert_eq!(all.find(&named("ada", "k2")), None);
        assert_eq!(all.find(&named("bob", "k4")), None);
        add(&mut all, "eve", &[7, 8], 0);
        assert_eq!(left(&all), [4, 5, 6]);
    }

    #[test]
    fn what_is_older_than_a_time_goes() {
        let mut all = Remembered::default();
        add(&mut all, "ada", &[1, 3], 9);
        add(&mut all, "bob", &[4, 5], 9);
        all.expire(Timestamp(1));
        assert_eq!(left(&all), [1, 3, 4, 5]);
        all.expire(Timestamp(4));
        assert_eq!(left(&all), [4, 5]);
        assert!(all.pop_oldest() && all.pop_oldest() && !all.pop_oldest());
        assert!(all.is_empty() && left(&all).is_empty());
    }
}
