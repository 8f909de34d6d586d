//! A map that forgets what was not used for the longest time.
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map of at most `max` values; a new one beyond that takes the place of the least recently used.
#[derive(Debug)]
pub(crate) struct RecentMap<K, V> {
    slots: HashMap<K, Slot<V>>,
    /// The keys by their last use, oldest first.
    order: BTreeMap<u64, K>,
    /// The last use of all.
    tick: u64,
    max: usize,
}

#[derive(Debug)]
struct Slot<V> {
    used: u64,
    value: V,
}

impl<K: Clone + Eq + Hash, V> RecentMap<K, V> {
    /// Makes an empty map of at most `max` values, one at the least.
    pub(crate) fn new(max: usize) -> Self {
        Self { slots: HashMap::new(), order: BTreeMap::new(), tick: 0, max: max.max(1) }
    }

    /// Finds a value, which counts as a use.
    pub(crate) fn get(&mut self, key: &K) -> Option<&mut V> {
        let slot = self.slots.get_mut(key)?;
        // The busiest key is often the last one: then there is nothing to reorder.
        if slot.used != self.tick
            && let Some(key) = self.order.remove(&slot.used)
        {
            self.tick += 1;
            slot.used = self.tick;
            self.order.insert(self.tick, key);
        }
        Some(&mut slot.value)
    }

    /// Finds the value that was not used for the longest time, which does not count as a use.
    pub(crate) fn oldest(&mut self) -> Option<&mut V> {
        let (_, key) = self.order.first_key_value()?;
        self.slots.get_mut(key).map(|slot| &mut slot.value)
    }

    /// Takes the value out that was not used for the longest time.
    pub(crate) fn pop_oldest(&mut self) -> Option<V> {
        let (_, key) = self.order.pop_first()?;
        self.slots.remove(&key).map(|slot| slot.value)
    }

    /// Puts a value in place of an older one, or of the least recently used if the map is full, and
    /// returns the one that had to go.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(known) = self.get(&key) {
            return Some(std::mem::replace(known, value));
        }
        // It is never more than full.
        let gone = if self.slots.len() >= self.max { self.pop_oldest() } else { None };
        self.tick += 1;
        self.order.insert(self.tick, key.clone());
        self.slots.insert(key, Slot { used: self.tick, value });
        gone
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let slot = self.slots.remove(key)?;
        self.order.remove(&slot.used);
        Some(slot.value)
    }

    /// Forgets everything.
    #[cfg(feature = "sqlite")]
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut map = RecentMap::new(2);
        map.insert("a", 1);
        map.insert("b", 2);
        assert_eq!(map.get(&"a"), Some(&mut 1));
        assert_eq!(map.oldest(), Some(&mut 2), "looking is no use");
        assert_eq!(map.insert("c", 3), Some(2));
        let left: Vec<_> = ["a", "b", "c"].iter().map(|key| map.get(key).copied()).collect();
        assert_eq!(left, [Some(1), None, Some(3)]);
    }

    #[test]
    fn a_removed_value_makes_room_and_a_known_key_needs_none() {
        let mut map = RecentMap::new(2);
        map.insert("a", 1);
        map.insert("b", 2);
        assert_eq!(map.insert("b", 3), Some(2));
        assert_eq!((map.remove(&"a"), map.remove(&"a")), (Some(1), None));
        assert_eq!(map.insert("c", 4), None);
        assert_eq!((map.get(&"b").copied(), map.get(&"c").copied()), (Some(3), Some(4)));
        assert_eq!((map.len(), map.order.len()), (2, 2));
        assert_eq!(
            (map.pop_oldest(), map.pop_oldest(), map.pop_oldest()),
            (Some(3), Some(4), None)
        );
    }
}
