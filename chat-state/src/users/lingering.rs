//! Members that have lost their connection and are not shown as gone yet.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use chat_proto::{LeaveReason, SessionId, UserId};

use crate::grant::CredentialIds;
use crate::ids::{ConnId, MemberId, Mono};

/// Whose session it is. A session may linger although it cannot be resumed here any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) session: SessionId,
    pub(crate) user: UserId,
    /// The ids by which its last credential can be revoked.
    pub(crate) credential: CredentialIds,
}

/// A session that is still shown in rooms although its connection is lost. `R` is the owner's id of
/// a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lingering<R> {
    pub(crate) owner: Owner,
    /// The connection that it had.
    pub(crate) conn: ConnId,
    /// Why the connection was lost.
    pub(crate) reason: LeaveReason,
    /// At most the rooms of one session, and those of an earlier connection of it.
    pub(crate) rooms: Vec<R>,
}

/// All sessions that linger, each until its time is over.
#[derive(Debug)]
pub(crate) struct LingeringSessions<R> {
    /// At most as many as the owner lets in: [`LingeringSessions::surplus`] tells which to end.
    sessions: BTreeMap<MemberId, (Mono, Lingering<R>)>,
    /// The same sessions in the order of their ends.
    ends: BTreeSet<(Mono, MemberId)>,
}

impl<R> Default for LingeringSessions<R> {
    fn default() -> Self {
        Self { sessions: BTreeMap::new(), ends: BTreeSet::new() }
    }
}

impl<R: PartialEq> LingeringSessions<R> {
    /// Adds a session that does not linger yet.
    pub(crate) fn insert(&mut self, member: MemberId, lingering: Lingering<R>, until: Mono) {
        self.ends.insert((until, member));
        let before = self.sessions.insert(member, (until, lingering));
        assert!(before.is_none(), "a session lingers once");
    }

    /// Takes out a session that is back or gone.
    pub(crate) fn take(&mut self, member: MemberId) -> Option<Lingering<R>> {
        let (until, lingering) = self.sessions.remove(&member)?;
        let had = self.ends.remove(&(until, member));
        assert!(had, "each session has an end");
        Some(lingering)
    }

    /// Returns the sessions whose owner matches.
    pub(crate) fn find(&self, matches: impl Fn(MemberId, &Owner) -> bool) -> Vec<MemberId> {
        let all = self.sessions.iter();
        let found = all.filter(|(member, (_, lingering))| matches(**member, &lingering.owner));
        found.map(|(member, _)| *member).collect()
    }

    /// Returns when a session's time ends, if it lingers.
    pub(crate) fn end_of(&self, member: MemberId) -> Option<Mono> {
        self.sessions.get(&member).map(|(until, _)| *until)
    }

    /// Returns the sessions that linger in a room.
    pub(crate) fn in_room(&self, room: &R) -> Vec<MemberId> {
        let all = self.sessions.iter();
        let there = all.filter(|(_, (_, lingering))| lingering.rooms.contains(room));
        there.map(|(member, _)| *member).collect()
    }

    /// Takes one room from a session that lingers in it, and returns the connection that it had.
    /// Without a room left the session lingers no more.
    pub(crate) fn take_room(&mut self, member: MemberId, room: &R) -> ConnId {
        let (_, lingering) = self.sessions.get_mut(&member).expect("the session lingers");
        let conn = lingering.conn;
        lingering.rooms.retain(|lingers_in| lingers_in != room);
        if lingering.rooms.is_empty() {
            self.take(member);
        }
        conn
    }

    /// Returns the session whose time ends first.
    pub(crate) fn first(&self) -> Option<MemberId> {
        self.ends.first().map(|(_, member)| *member)
    }

    /// Returns a session to end before another is added, if `max` linger already: the one that
    /// ends first.
    pub(crate) fn surplus(&self, max: usize) -> Option<MemberId> {
        self.first().filter(|_| self.sessions.len() >= max)
    }

    /// Returns a session whose time is over.
    pub(crate) fn due(&self, now: Mono) -> Option<MemberId> {
        self.ends.first().filter(|(until, _)| *until <= now).map(|(_, member)| *member)
    }

    /// Returns when the time of the next session ends.
    pub(crate) fn next_end(&self) -> Option<Mono> {
        self.ends.first().map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lingering(rooms: &[u32]) -> Lingering<u32> {
        let owner = Owner {
            session: SessionId::new("s").expect("a session"),
            user: UserId::new("u").expect("an id"),
            credential: CredentialIds::default(),
        };
        Lingering {
            owner,
            conn: ConnId { slot: 1, generation: 0 },
            reason: LeaveReason::TimedOut,
            rooms: rooms.to_vec(),
        }
    }

    #[test]
    fn sessions_are_due_in_the_order_of_their_ends() {
        let mut sessions = LingeringSessions::default();
        sessions.insert(MemberId(1), lingering(&[1]), Mono(20));
        sessions.insert(MemberId(2), lingering(&[1]), Mono(10));
        assert_eq!((sessions.next_end(), sessions.due(Mono(9))), (Some(Mono(10)), None));
        assert_eq!(sessions.due(Mono(10)), Some(MemberId(2)));
        assert_eq!(sessions.take(MemberId(2)), Some(lingering(&[1])));
        assert_eq!(sessions.take(MemberId(2)), None);
        assert_eq!((sessions.due(Mono(19)), sessions.first()), (None, Some(MemberId(1))));
    }

    #[test]
    fn a_session_lingers_while_it_has_a_room() {
        let mut sessions = LingeringSessions::default();
        sessions.insert(MemberId(1), lingering(&[1, 2]), Mono(20));
        sessions.take_room(MemberId(1), &1);
        assert_eq!(sessions.first(), Some(MemberId(1)));
        sessions.take_room(MemberId(1), &2);
        assert_eq!((sessions.first(), sessions.next_end()), (None, None));
    }

    #[test]
    fn a_full_table_names_the_session_that_ends_first() {
        let mut sessions = LingeringSessions::default();
        assert_eq!(sessions.surplus(2), None);
        sessions.insert(MemberId(1), lingering(&[1]), Mono(20));
        assert_eq!(sessions.surplus(2), None);
        sessions.insert(MemberId(2), lingering(&[1]), Mono(10));
        assert_eq!(sessions.surplus(2), Some(MemberId(2)));
    }

    #[test]
    fn sessions_are_found_by_their_owner() {
        let mut sessions = LingeringSessions::default();
        for n in 1..=2 {
            let mut lingering = lingering(&[1]);
            lingering.owner.user = UserId::new(&std::format!("u{n}")).expect("an id");
            sessions.insert(MemberId(n), lingering, Mono(10));
        }
        let found = sessions.find(|_, owner| owner.user.as_str() == "u2");
        assert_eq!(found, [MemberId(2)]);
    }
}
