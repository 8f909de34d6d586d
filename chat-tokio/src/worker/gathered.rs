//! Frames that wait for others to the same members.
use std::collections::HashMap;

use chat_proto::ServerFrame;
use chat_state::Roster;

/// Frames for the same members that are pushed together: what is said in a room in one turn costs
/// each member one shared buffer, not one for each entry.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) to: Roster,
    pub(super) frames: Vec<ServerFrame>,
    /// About how many bytes they have.
    bytes: usize,
}

/// The groups of a turn, in the order in which they began.
///
/// A member of two rooms may get what is said in them in another order than it was said in; each
/// room keeps its own.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    groups: Vec<Group>,
    /// Where the group of a roster is, by [`Roster::snapshot_id`]. A group keeps its roster, so
    /// that nobody else gets the number.
    places: HashMap<usize, usize>,
    /// About how many bytes there are in all.
    bytes: usize,
}

/// Whether more may be gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Left,
    None,
}

/// Bytes of one group: a part of a shared buffer that is on its way keeps all of it, and control
/// frames have to wait until it is written.
const GROUP_BYTES_MAX: usize = 16 * 1024;

/// Bytes of all groups, and how many there may be.
const BYTES_MAX: usize = 1024 * 1024;
const GROUPS_MAX: usize = 1024;

impl Gathered {
    /// Adds a frame to those that go to the same members. When it says [`Space::None`], all groups
    /// are to be pushed: the Hub does not know yet which outboxes are too full for them.
    pub(super) fn add(&mut self, to: &Roster, frame: ServerFrame) -> Space {
        let bytes = size_hint(&frame);
        self.bytes += bytes;
        let place = *self.places.entry(to.snapshot_id()).or_insert(self.groups.len());
        if place == self.groups.len() {
            self.groups.push(Group { to: to.clone(), frames: Vec::new(), bytes: 0 });
        }
        let group = &mut self.groups[place];
        group.frames.push(frame);
        group.bytes += bytes;
        let is_full = group.bytes >= GROUP_BYTES_MAX
            || self.bytes >= BYTES_MAX
            || self.groups.len() >= GROUPS_MAX;
        if is_full { Space::None } else { Space::Left }
    }

    /// Returns how many groups there are.
    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes all groups. Give the list back with [`Self::reuse`].
    pub(super) fn take(&mut self) -> Vec<Group> {
        self.places.clear();
        self.bytes = 0;
        std::mem::take(&mut self.groups)
    }

    /// Takes a list back, so that its memory serves the next turn.
    pub(super) fn reuse(&mut self, mut list: Vec<Group>) {
        list.clear();
        if self.groups.is_empty() {
            self.groups = list;
        }
    }
}

/// About how many bytes a frame has; only what has a text of any length can be long.
fn size_hint(frame: &ServerFrame) -> usize {
    const OTHERS: usize = 256;
    match frame {
        ServerFrame::Entry(entry) => OTHERS + entry.size(),
        _ => OTHERS,
    }
}

#[cfg(test)]
mod tests {
    use chat_proto::{Body, DisplayName, Entry, RoomName, Seq, Timestamp, UserId};

    use super::*;

    fn said(room: &str, seq: u64, text: &str) -> ServerFrame {
        let room = RoomName::new(room).expect("a room");
        let user = UserId::new("u1").expect("a user");
        let name = DisplayName::new("Ada").expect("a name");
        let body = Body::Message { content: text.into(), reply_to: None };
        let (room, seq, ts) = (room, Seq::new(seq).expect("a place"), Timestamp(0));
        ServerFrame::Entry(Entry::new(room, seq, ts, user, name, None, body).into())
    }

    #[test]
    fn what_goes_to_the_same_members_is_together_in_order() {
        let (here, there) = (Roster::default(), Roster::default());
        let mut gathered = Gathered::default();
        for (to, room, seq) in [(&here, "a", 1), (&there, "b", 1), (&here, "a", 2)] {
            assert_eq!(gathered.add(to, said(room, seq, "x")), Space::Left);
        }
        let groups = gathered.take();
        assert!(gathered.is_empty());
        let [first, second] = &groups[..] else { panic!("two groups: {groups:?}") };
        assert!(first.to.is_same(&here) && second.to.is_same(&there));
        assert_eq!(first.frames, [said("a", 1, "x"), said("a", 2, "x")]);
        assert_eq!(second.frames, [said("b", 1, "x")]);
        // What was taken is forgotten, also where its members are.
        gathered.reuse(groups);
        gathered.add(&there, said("b", 2, "x"));
        assert_eq!(gathered.take().len(), 1);
    }

    #[test]
    fn a_long_group_is_full() {
        let roster = Roster::default();
        let mut gathered = Gathered::default();
        let text = "x".repeat(GROUP_BYTES_MAX / 4);
        let fits =
            (1..).take_while(|seq| gathered.add(&roster, said("a", *seq, &text)) == Space::Left);
        assert_eq!(fits.count(), 3);
    }

    #[test]
    fn many_groups_are_full() {
        let rosters: Vec<_> = (0..GROUPS_MAX).map(|_| Roster::default()).collect();
        let mut gathered = Gathered::default();
        let mut space = rosters.iter().map(|to| gathered.add(to, said("a", 1, "x")));
        assert!(space.by_ref().take(GROUPS_MAX - 1).all(|space| space == Space::Left));
        assert_eq!(space.next(), Some(Space::None));
    }

    #[test]
    fn many_bytes_in_groups_that_are_not_long_are_full() {
        let text = "x".repeat(GROUP_BYTES_MAX / 2);
        let rosters: Vec<_> = (0..GROUPS_MAX / 2).map(|_| Roster::default()).collect();
        let mut gathered = Gathered::default();
        let added = rosters.iter().map(|to| gathered.add(to, said("a", 1, &text)));
        assert!(added.take_while(|space| *space == Space::Left).count() < BYTES_MAX / text.len());
    }
}
