//! Those in a room who get every entry as it comes, and how they are listed.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::Member;

use crate::ids::ConnId;
use crate::roster::Roster;

/// The live members of a room, with the list of the first of them: made member by member, and
/// shared by all who ask for it, so that a join costs no more in a large room than in a small one.
#[derive(Debug)]
pub(crate) struct Live {
    roster: Roster,
    /// The first members of the roster, in its order: all, or `listed_max`. Any other number says
    /// that the list is to be made anew.
    listed: Arc<Vec<Member>>,
    listed_max: usize,
}

impl Live {
    pub(crate) fn new(listed_max: usize) -> Self {
        Self { roster: Roster::default(), listed: Arc::default(), listed_max }
    }

    /// Returns who gets what is sent to the room as it is.
    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(crate) fn len(&self) -> usize {
        self.roster.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.roster.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.roster.iter()
    }

    /// Returns the first members, if the list is known and this is how many are wanted.
    pub(crate) fn listed(&self, listed_max: usize) -> Option<&Arc<Vec<Member>>> {
        let whole = self.listed.len() == self.len().min(listed_max);
        (listed_max == self.listed_max && whole).then_some(&self.listed)
    }

    /// Sets how many are listed, and lists them.
    pub(crate) fn relist(&mut self, listed_max: usize, member: impl Fn(ConnId) -> Option<Member>) {
        self.listed_max = listed_max;
        let listed = self.roster.iter().take(listed_max).map_while(member);
        self.listed = Arc::new(listed.collect());
    }

    /// Adds one at the end and returns its place.
    pub(crate) fn push(&mut self, conn: ConnId, member: impl FnOnce() -> Member) -> usize {
        if self.listed.len() == self.len() && self.len() < self.listed_max {
            Arc::make_mut(&mut self.listed).push(member());
        }
        self.roster.push(conn)
    }

    /// Removes the one at a place; the last one takes the place and is returned if it moved.
    ///
    /// # Panics
    /// When there is nobody at the place.
    pub(crate) fn swap_remove(
        &mut self,
        place: usize,
        member: impl FnOnce(ConnId) -> Option<Member>,
    ) -> Option<ConnId> {
        let all = self.listed.len() == self.len();
        let moved = self.roster.swap_remove(place);
        if place < self.listed.len() {
            let listed = Arc::make_mut(&mut self.listed);
            if all {
                listed.swap_remove(place);
            } else if let Some(member) = moved.and_then(member) {
                listed[place] = member;
            } else {
                listed.clear();
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_proto::{DisplayName, UserId};
    use proptest::prelude::*;
    use std::format;

    fn member(conn: ConnId) -> Member {
        let user = UserId::new(&format!("u{}", conn.slot)).unwrap();
        Member { user, username: DisplayName::new("Ada").unwrap() }
    }

    proptest! {
        #[test]
        fn the_list_is_that_of_the_first_members(
            steps in proptest::collection::vec((0..8u8, any::<u16>()), 0..300),
        ) {
            let (mut live, mut most) = (Live::new(7), 7);
            let mut shared = Vec::new();
            for (slot, (step, n)) in (0..).zip(steps) {
                if step < 4 || live.is_empty() {
                    let conn = ConnId { slot, generation: 0 };
                    live.push(conn, || member(conn));
                } else if step < 7 {
                    live.swap_remove(usize::from(n) % live.len(), |conn| Some(member(conn)));
                } else {
                    most = usize::from(n % 12);
                    live.relist(most, |conn| Some(member(conn)));
                }
                let wanted: Vec<_> = live.iter().take(most).map(member).collect();
                let listed = live.listed(most).cloned();
                prop_assert_eq!(listed.as_deref(), Some(&wanted));
                if n % 2 == 0 {
                    shared.extend(listed.map(|listed| (listed, wanted)));
                }
            }
            for (listed, wanted) in shared {
                prop_assert_eq!(&*listed, &wanted, "what was told stands still");
            }
        }
    }
}
