//! The connections of a Hub: issues their ids and finds their sessions.
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};
use core::ops::{Index, IndexMut};

use crate::event::Misuse;
use crate::ids::{ConnId, MemberId};
use crate::session::Session;

/// Connections by slot, and sessions by member id.
///
/// A *slot* is an index into the table of connections, and a part of the [`ConnId`]. It is in use
/// from [`issue`](Self::issue) to [`release`](Self::release), so there are as many slots as the
/// adapter has had connections at a time.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    slots: Vec<Slot>,
    free: BinaryHeap<Reverse<u32>>,
    /// The connections of sessions, once their user is known.
    names: BTreeMap<MemberId, ConnId>,
    /// Sessions with a connection.
    pub(super) len: usize,
}

#[derive(Debug)]
struct Slot {
    /// The generation of the present connection, or of the last one.
    generation: u32,
    state: SlotState,
}

#[derive(Debug)]
enum SlotState {
    Free,
    /// The Hub has closed the connection, or has not begun a session. The adapter still has it.
    Closed,
    Session(Box<Session>),
}

/// What an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Session,
    /// A connection without a session, which the adapter has not reported as gone.
    Closed,
    /// A connection that is gone.
    Nobody,
}

impl Sessions {
    /// Issues an id, with the smallest slot that is free.
    pub(super) fn issue(&mut self) -> ConnId {
        let state = SlotState::Closed;
        let Some(Reverse(slot)) = self.free.pop() else {
            let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 connections");
            self.slots.push(Slot { generation: 0, state });
            return ConnId { slot, generation: 0 };
        };
        let reused = &mut self.slots[slot as usize];
        *reused = Slot { generation: reused.generation + 1, state };
        ConnId { slot, generation: reused.generation }
    }

    /// Puts a session under its connection's id, which was issued and not used yet.
    pub(super) fn insert(&mut self, session: Session) {
        let slot = &mut self.slots[session.conn.slot as usize];
        assert_eq!(slot.generation, session.conn.generation, "an id of an older connection");
        assert!(matches!(slot.state, SlotState::Closed), "{:?} has a session", session.conn);
        slot.state = SlotState::Session(session.into());
        self.len += 1;
    }

    /// Returns what an id stands for.
    pub(super) fn holder(&self, conn: ConnId) -> Result<Holder, Misuse> {
        let unknown = Misuse::UnknownConnection(conn);
        let slot = self.slots.get(conn.slot as usize).ok_or(unknown)?;
        match conn.generation.cmp(&slot.generation) {
            Ordering::Less => Ok(Holder::Nobody),
            Ordering::Greater => Err(unknown),
            Ordering::Equal => Ok(match slot.state {
                SlotState::Free => Holder::Nobody,
                SlotState::Closed => Holder::Closed,
                SlotState::Session(_) => Holder::Session,
            }),
        }
    }

    /// Takes the session of a connection. The id stays in use.
    pub(super) fn close(&mut self, conn: ConnId) -> Option<Session> {
        self.get(conn)?;
        self.unname(conn);
        self.len -= 1;
        debug_assert!(self.names.len() <= self.len, "a name without a session");
        let slot = &mut self.slots[conn.slot as usize];
        match core::mem::replace(&mut slot.state, SlotState::Closed) {
            SlotState::Session(session) => Some(*session),
            SlotState::Free | SlotState::Closed => unreachable!("it has a session"),
        }
    }

    /// Frees the id of a connection that is closed.
    pub(super) fn release(&mut self, conn: ConnId) {
        let slot = &mut self.slots[conn.slot as usize];
        assert_eq!(slot.generation, conn.generation, "an id of an older connection");
        assert!(matches!(slot.state, SlotState::Closed), "{conn:?} is not closed");
        slot.state = SlotState::Free;
        // A slot whose generations are exhausted is not used again.
        if slot.generation < u32::MAX {
            self.free.push(Reverse(conn.slot));
        }
    }

    /// Removes the name of a connection's session, if it has one.
    pub(super) fn unname(&mut self, conn: ConnId) {
        let member = self.get(conn).expect("it has a session").member_id;
        if self.names.get(&member) == Some(&conn) {
            self.names.remove(&member);
        }
    }

    /// Registers the connection of a session. No other connection here has this session.
    pub(super) fn name(&mut self, member: MemberId, conn: ConnId) {
        self.names.insert(member, conn);
    }

    pub(super) fn of(&self, member: MemberId) -> Option<&Session> {
        self.get(*self.names.get(&member)?)
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&Session> {
        match &self.slots.get(conn.slot as usize)?.state {
            SlotState::Session(session) if session.conn == conn => Some(session),
            SlotState::Free | SlotState::Closed | SlotState::Session(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        match &mut self.slots.get_mut(conn.slot as usize)?.state {
            SlotState::Session(session) if session.conn == conn => Some(session),
            SlotState::Free | SlotState::Closed | SlotState::Session(_) => None,
        }
    }

    /// Returns how many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Returns the session of a slot.
    pub(super) fn at(&self, slot: usize) -> Option<&Session> {
        match &self.slots.get(slot)?.state {
            SlotState::Session(session) => Some(session),
            SlotState::Free | SlotState::Closed => None,
        }
    }

    /// Returns the connections of all sessions, in the order of their slots.
    pub(super) fn conns(&self) -> Vec<ConnId> {
        (0..self.slots.len()).filter_map(|slot| self.at(slot)).map(|s| s.conn).collect()
    }
}

/// The session of a connection that is known to have one.
impl Index<ConnId> for Sessions {
    type Output = Session;

    #[track_caller]
    fn index(&self, conn: ConnId) -> &Session {
        self.get(conn).expect("the connection has a session")
    }
}

impl IndexMut<ConnId> for Sessions {
    #[track_caller]
    fn index_mut(&mut self, conn: ConnId) -> &mut Session {
        self.get_mut(conn).expect("the connection has a session")
    }
}
