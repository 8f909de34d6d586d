//! The connections of a room, cheap to share and cheap to change.
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::ids::ConnId;

/// Connections in one chunk: a change to a shared roster copies one chunk and the list of chunks,
/// which for a million are 16 KiB and 500 references. Tests have many chunks.
const CHUNK: usize = if cfg!(test) { 16 } else { 2048 };

/// A dense list of connections, copied on write.
///
/// A clone is a snapshot: it costs one reference count, and later changes to the original do not
/// show in it. The order is that of entering, but whoever leaves is replaced by the last one.
#[derive(Clone, Default)]
pub struct Roster {
    chunks: Arc<Vec<Arc<Vec<ConnId>>>>,
    len: usize,
}

impl Roster {
    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tells whether another one is the same snapshot. It costs nothing; two that were made
    /// separately are never the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks)
    }

    /// Returns a number that this snapshot shares with no other one that still exists: the same for
    /// two rosters just if [`Self::is_same`].
    #[must_use]
    pub fn snapshot_id(&self) -> usize {
        Arc::as_ptr(&self.chunks).addr()
    }

    /// Returns them in order.
    pub fn iter(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.iter().copied())
    }

    /// Adds one at the end and returns its place.
    pub(crate) fn push(&mut self, conn: ConnId) -> usize {
        let chunks = Arc::make_mut(&mut self.chunks);
        match chunks.last_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(conn),
            _ => chunks.push(Arc::new(alloc::vec![conn])),
        }
        self.len += 1;
        self.len - 1
    }

    /// Removes the one at a place; the last one takes the place and is returned if it moved.
    ///
    /// # Panics
    /// When there is nobody at the place.
    pub(crate) fn swap_remove(&mut self, place: usize) -> Option<ConnId> {
        assert!(place < self.len, "nobody at {place} of {}", self.len);
        let chunks = Arc::make_mut(&mut self.chunks);
        let tail = chunks.last_mut().expect("a roster with members has a chunk");
        let last = Arc::make_mut(tail).pop().expect("no chunk is empty");
        if tail.is_empty() {
            chunks.pop();
        }
        self.len -= 1;
        if place == self.len {
            return None;
        }
        Arc::make_mut(&mut chunks[place / CHUNK])[place % CHUNK] = last;
        Some(last)
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_snapshot_is_the_same_until_somebody_comes() {
        let conn = ConnId { slot: 1, generation: 0 };
        let (mut roster, mut other) = (Roster::default(), Roster::default());
        roster.push(conn);
        other.push(conn);
        let snapshot = roster.clone();
        assert!(roster.is_same(&snapshot) && !roster.is_same(&other));
        roster.push(conn);
        assert!(!roster.is_same(&snapshot));
    }

    proptest! {
        #[test]
        fn it_is_a_vec_whose_snapshots_stand_still(
            steps in proptest::collection::vec((any::<bool>(), any::<u16>()), 0..3000),
        ) {
            let (mut roster, mut model) = (Roster::default(), Vec::new());
            let mut snapshot = (roster.clone(), model.clone());
            for (i, (push, n)) in steps.into_iter().enumerate() {
                if push || model.is_empty() || n % 3 == 0 {
                    let conn = ConnId { slot: i as u32, generation: u32::from(n) };
                    prop_assert_eq!(roster.push(conn), model.len());
                    model.push(conn);
                } else {
                    let place = usize::from(n) % model.len();
                    model.swap_remove(place);
                    prop_assert_eq!(roster.swap_remove(place), model.get(place).copied());
                }
                if n % 64 == 0 {
                    snapshot = (roster.clone(), model.clone());
                }
                prop_assert_eq!(roster.len(), model.len());
            }
            prop_assert_eq!(roster.iter().collect::<Vec<_>>(), model);
            prop_assert_eq!(snapshot.0.iter().collect::<Vec<_>>(), snapshot.1);
        }
    }
}
