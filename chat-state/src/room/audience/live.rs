//! The live members, and the list of the first of them.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::Member;

use crate::ids::ConnId;
use crate::room::Roster;

/// The live members of a room, with the list of the first of them.
///
/// The list is kept up to date member by member and is shared with everybody who is sent it, so
/// that a join costs the same at every room size.
#[derive(Debug)]
pub(super) struct Live {
    roster: Roster,
    /// The first members of the roster, in its order.
    listed: Arc<Vec<Member>>,
    listed_max: usize,
}

impl Live {
    pub(super) fn new(listed_max: usize) -> Self {
        Self { roster: Roster::default(), listed: Arc::default(), listed_max }
    }

    /// Returns a snapshot of the connections.
    pub(super) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(super) fn len(&self) -> usize {
        self.roster.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.roster.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.roster.iter()
    }

    /// Returns the first members, if the list is kept for this many.
    pub(super) fn listed(&self, listed_max: usize) -> Option<&Arc<Vec<Member>>> {
        (listed_max == self.listed_max).then_some(&self.listed)
    }

    /// Sets how many members are listed, and lists them.
    pub(super) fn relist(&mut self, listed_max: usize, member: impl Fn(ConnId) -> Member) {
        self.listed_max = listed_max;
        let listed = self.roster.iter().take(listed_max).map(member);
        self.listed = Arc::new(listed.collect());
    }

    /// Adds a member at the end and returns its place.
    pub(super) fn push(&mut self, conn: ConnId, member: impl FnOnce() -> Member) -> usize {
        if self.listed.len() == self.len() && self.len() < self.listed_max {
            Arc::make_mut(&mut self.listed).push(member());
        }
        self.roster.push(conn)
    }

    /// Removes the member at a place. The last one takes the place, and is returned if it moved.
    ///
    /// # Panics
    /// Panics if nobody is at the place.
    pub(super) fn swap_remove(
        &mut self,
        place: usize,
        member: impl FnOnce(ConnId) -> Member,
    ) -> Option<ConnId> {
        let all = self.listed.len() == self.len();
        let moved = self.roster.swap_remove(place);
        if place < self.listed.len() {
            let listed = Arc::make_mut(&mut self.listed);
            match moved {
                // The last member is listed as well.
                _ if all => {
                    listed.swap_remove(place);
                }
                Some(moved) => listed[place] = member(moved),
                None => unreachable!("the last member is listed only if all are"),
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
                    live.swap_remove(usize::from(n) % live.len(), member);
                } else {
                    most = usize::from(n % 12);
                    live.relist(most, member);
                }
                let wanted: Vec<_> = live.iter().take(most).map(member).collect();
                let listed = live.listed(most).cloned();
                prop_assert_eq!(listed.as_deref(), Some(&wanted));
                prop_assert_eq!(live.listed(most + 1), None);
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
