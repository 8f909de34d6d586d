//! The rooms of a Hub by name.
use alloc::collections::BTreeMap;
use core::borrow::Borrow;
use core::iter;
use core::ops::Bound;

use chat_proto::{RoomKind, RoomName};

use super::policy::RoomPolicy;

/// A name in the index. It is looked for by its folded form.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(RoomName);

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        self.0.folded()
    }
}

/// Rooms of all kinds by name. `R` is the owner's id of a room.
#[derive(Debug)]
pub(crate) struct NameIndex<R> {
    /// One for each room of the owner.
    ids: BTreeMap<Key, R>,
}

impl<R> Default for NameIndex<R> {
    fn default() -> Self {
        Self { ids: BTreeMap::new() }
    }
}

impl<R: Copy> NameIndex<R> {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn get(&self, name: &RoomName) -> Option<R> {
        self.ids.get(name.folded()).copied()
    }

    /// Adds a room whose name no other room has.
    pub(crate) fn insert(&mut self, name: RoomName, id: R) {
        let before = self.ids.insert(Key(name), id);
        assert!(before.is_none(), "a name has one room");
    }

    pub(crate) fn remove(&mut self, name: &RoomName) {
        let id = self.ids.remove(name.folded());
        assert!(id.is_some(), "a room has a name");
    }

    /// Returns all rooms in the order of their names.
    pub(crate) fn ids(&self) -> impl Iterator<Item = R> {
        self.ids.values().copied()
    }

    /// Returns the rooms after a name, of all kinds, in the order of their names.
    pub(crate) fn after(&self, name: Option<&RoomName>) -> impl Iterator<Item = R> {
        self.ids.range::<str, _>(after(name)).map(|(_, id)| *id)
    }

    /// Returns the rooms after a name that room lists show, in the order of their names.
    ///
    /// The names of a kind that is not listed are neighbours: the iterator passes all of them in one
    /// step.
    pub(crate) fn listed_after(&self, name: Option<&RoomName>) -> impl Iterator<Item = R> {
        let mut range = self.ids.range::<str, _>(after(name));
        iter::from_fn(move || {
            loop {
                let (Key(name), id) = range.next()?;
                if RoomPolicy::of(name.kind()).is_listed {
                    return Some(*id);
                }
                let (next, mut buffer) = (beyond(name.kind()), [0; 4]);
                let next: &str = next.encode_utf8(&mut buffer);
                range = self.ids.range::<str, _>((Bound::Included(next), Bound::Unbounded));
            }
        })
    }
}

fn after(name: Option<&RoomName>) -> (Bound<&str>, Bound<&str>) {
    let first = name.map_or(Bound::Unbounded, |name| Bound::Excluded(name.folded()));
    (first, Bound::Unbounded)
}

/// Returns a text that stands behind all names of a kind that is not listed, and before all greater
/// names of other kinds.
fn beyond(kind: RoomKind) -> char {
    let prefix = kind.prefix().expect("a kind that is not listed has a prefix");
    char::from_u32(u32::from(prefix) + 1).expect("a prefix is an ASCII character")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use chat_proto::UserId;
    use proptest::prelude::*;

    fn any_name() -> impl Strategy<Value = RoomName> {
        prop_oneof![
            "[!0-9A-Z_a-zé{|}名]{1,3}".prop_filter_map("a name", |text| RoomName::new(&text).ok()),
            "[a-z0-9]{1,2}".prop_map(|id| RoomName::own(&UserId::new(&id).expect("an id"))),
            "~[a-z0-9]{1,2}".prop_map(|text| RoomName::server(&text).expect("a name")),
        ]
    }

    proptest! {
        #[test]
        fn a_list_has_the_listed_rooms_after_a_name(
            names in proptest::collection::btree_set(any_name(), 0..40),
            from in proptest::option::of(any_name()),
        ) {
            let mut index = NameIndex::default();
            names.iter().enumerate().for_each(|(n, name)| index.insert(name.clone(), n));
            let is_after = |name: &RoomName| from.as_ref().is_none_or(|from| name > from);
            let after = names.iter().enumerate().filter(|(_, name)| is_after(name));
            let all: Vec<usize> = after.clone().map(|(n, _)| n).collect();
            let listed = after.filter(|(_, name)| name.kind() == RoomKind::Public);
            let listed: Vec<usize> = listed.map(|(n, _)| n).collect();
            prop_assert_eq!(index.listed_after(from.as_ref()).collect::<Vec<_>>(), listed);
            prop_assert_eq!(index.after(from.as_ref()).collect::<Vec<_>>(), all);
            for (n, name) in names.iter().enumerate() {
                prop_assert_eq!(index.get(name), Some(n));
                index.remove(name);
            }
            prop_assert_eq!((index.len(), index.ids().count()), (0, 0));
        }
    }
}
