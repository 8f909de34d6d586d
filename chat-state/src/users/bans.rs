//! The bans that an operator has ordered.
use alloc::collections::BTreeMap;

use chat_proto::{RoomName, UserId};

use crate::ids::Mono;

/// Bans by user and room, or by user alone for a ban from the server, each with its end.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    /// At most as many as [`Bans::insert`] is told.
    ends: BTreeMap<(UserId, Option<RoomName>), Mono>,
}

/// Whether another ban was forgotten to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgotten {
    None,
    One,
}

impl Bans {
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds a ban, or changes the end of the ban that is there. If there are `max` others that
    /// still hold, the ban that ends first is forgotten.
    pub(crate) fn insert(
        &mut self,
        user: UserId,
        room: Option<RoomName>,
        until: Mono,
        now: Mono,
        max: usize,
    ) -> Forgotten {
        let ban = (user, room);
        if let Some(end) = self.ends.get_mut(&ban) {
            *end = until;
            return Forgotten::None;
        }
        if self.ends.len() >= max {
            self.ends.retain(|_, until| *until > now);
        }
        let mut forgotten = Forgotten::None;
        if self.ends.len() >= max {
            let first = self.ends.iter().min_by_key(|(_, until)| **until);
            let first = first.map(|(ban, _)| ban.clone()).expect("a full table has a ban");
            self.ends.remove(&first);
            forgotten = Forgotten::One;
        }
        self.ends.insert(ban, until);
        forgotten
    }

    /// Lifts a ban. Lifting an unknown ban is a no-op.
    pub(crate) fn remove(&mut self, user: UserId, room: Option<RoomName>) {
        self.ends.remove(&(user, room));
    }

    /// Returns true if a ban from the server keeps the user out.
    pub(crate) fn hold_for_server(&self, user: &UserId, now: Mono) -> bool {
        self.holds(user, None, now)
    }

    /// Returns true if a ban from the room or from the server keeps the user out of the room.
    pub(crate) fn hold_for_room(&self, user: &UserId, room: &RoomName, now: Mono) -> bool {
        !self.is_empty() && (self.holds(user, None, now) || self.holds(user, Some(room), now))
    }

    fn holds(&self, user: &UserId, room: Option<&RoomName>, now: Mono) -> bool {
        let end = self.ends.get(&(user.clone(), room.cloned()));
        end.is_some_and(|end| *end > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    fn user(n: usize) -> UserId {
        UserId::new(&format!("u{n}")).expect("an id")
    }

    fn room(name: &str) -> RoomName {
        RoomName::new(name).expect("a name")
    }

    #[test]
    fn a_ban_holds_until_its_end() {
        let mut bans = Bans::default();
        bans.insert(user(1), Some(room("den")), Mono(10), Mono(0), 9);
        assert!(bans.hold_for_room(&user(1), &room("DEN"), Mono(9)));
        assert!(!bans.hold_for_room(&user(1), &room("den"), Mono(10)));
        assert!(!bans.hold_for_room(&user(1), &room("lobby"), Mono(9)));
        assert!(!bans.hold_for_room(&user(2), &room("den"), Mono(9)));
        assert!(!bans.hold_for_server(&user(1), Mono(9)));
    }

    #[test]
    fn a_ban_from_the_server_holds_for_all_rooms_until_it_is_lifted() {
        let mut bans = Bans::default();
        bans.insert(user(1), None, Mono(u64::MAX), Mono(0), 9);
        assert!(bans.hold_for_server(&user(1), Mono(9)));
        assert!(bans.hold_for_room(&user(1), &room("den"), Mono(9)));
        bans.remove(user(1), Some(room("den")));
        assert!(bans.hold_for_server(&user(1), Mono(9)), "another ban was lifted");
        bans.remove(user(1), None);
        assert!(bans.is_empty());
    }

    #[test]
    fn a_full_table_forgets_the_ban_that_ends_first() {
        let mut bans = Bans::default();
        for n in 1..=3 {
            let end = Mono(10 * n as u64);
            assert_eq!(bans.insert(user(n), None, end, Mono(0), 3), Forgotten::None);
        }
        assert_eq!(bans.insert(user(4), None, Mono(99), Mono(0), 3), Forgotten::One);
        let hold = |bans: &Bans| [1, 2, 3, 4].map(|n| bans.hold_for_server(&user(n), Mono(0)));
        assert_eq!(hold(&bans), [false, true, true, true]);
        assert_eq!(bans.insert(user(3), None, Mono(98), Mono(0), 3), Forgotten::None);
        assert_eq!(hold(&bans), [false, true, true, true], "a changed ban takes no place");
        assert_eq!(bans.insert(user(1), None, Mono(99), Mono(20), 3), Forgotten::None);
        assert_eq!(hold(&bans), [true, false, true, true], "a ban that has ended goes first");
    }
}
