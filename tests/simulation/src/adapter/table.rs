//! The connections of one Hub: which of the owner's keys has which id.
use std::collections::BTreeSet;

use chat_proto::SessionId;
use chat_state::{AddressKey, ConnId};

use super::fairness::Budget;

/// A connection that the Hub has not closed.
#[derive(Debug)]
pub(super) struct Entry {
    /// What the owner calls it.
    pub(super) key: usize,
    /// The address that it comes from, if that has a budget.
    pub(super) address: Option<AddressKey>,
    /// The Hub has asked not to read the connection.
    pub(super) is_paused: bool,
    pub(super) session: SessionId,
    /// What the session has spent.
    pub(super) budget: Budget,
}

#[derive(Debug)]
enum Holder {
    Nobody,
    Open(Entry),
    /// The Hub has closed it; the id is in use until the owner says that it is gone.
    Closed,
}

/// Connections by the slot of their id, each with the slot's generation.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<(u32, Holder)>,
    free: BTreeSet<u32>,
}

impl Table {
    /// Takes an id that the Hub has issued: the smallest free slot, in its next generation.
    pub(super) fn take(&mut self, conn: ConnId, entry: Entry) {
        let end = u32::try_from(self.slots.len()).expect("few connections");
        let slot = self.free.pop_first().unwrap_or(end);
        if slot == end {
            self.slots.push((0, Holder::Nobody));
        } else {
            self.slots[slot as usize].0 += 1;
        }
        let (generation, holder) = &mut self.slots[slot as usize];
        let expected = ConnId { slot, generation: *generation };
        assert_eq!(conn, expected, "the smallest free slot is taken, and no id twice");
        *holder = Holder::Open(entry);
    }

    /// Marks a connection as closed by the Hub, and returns it.
    pub(super) fn close(&mut self, conn: ConnId) -> Entry {
        self.named(conn);
        match std::mem::replace(&mut self.slots[conn.slot as usize].1, Holder::Closed) {
            Holder::Open(entry) => entry,
            Holder::Nobody | Holder::Closed => unreachable!("it is open"),
        }
    }

    /// Frees the id of a connection, which the owner reports as gone once. Returns the connection,
    /// unless the Hub had closed it.
    pub(super) fn release(&mut self, conn: ConnId) -> Option<Entry> {
        let (generation, holder) = &mut self.slots[conn.slot as usize];
        let before = std::mem::replace(holder, Holder::Nobody);
        let in_use = !matches!(before, Holder::Nobody) && *generation == conn.generation;
        assert!(in_use, "{conn:?} is reported as gone twice");
        self.free.insert(conn.slot);
        match before {
            Holder::Open(entry) => Some(entry),
            Holder::Nobody | Holder::Closed => None,
        }
    }

    pub(super) fn find(&self, conn: ConnId) -> Option<&Entry> {
        match self.slots.get(conn.slot as usize)? {
            (generation, Holder::Open(entry)) if *generation == conn.generation => Some(entry),
            _ => None,
        }
    }

    /// Returns the connection that an action names.
    pub(super) fn named(&mut self, conn: ConnId) -> &mut Entry {
        match self.slots.get_mut(conn.slot as usize) {
            Some((generation, Holder::Open(entry))) if *generation == conn.generation => entry,
            _ => panic!("an action names {conn:?}, which is gone"),
        }
    }

    pub(super) fn find_mut(&mut self, conn: ConnId) -> Option<&mut Entry> {
        self.find(conn)?;
        Some(self.named(conn))
    }

    /// Returns the connections that are open.
    pub(super) fn open(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter_map(|(_, holder)| match holder {
            Holder::Open(entry) => Some(entry),
            Holder::Nobody | Holder::Closed => None,
        })
    }

    /// Returns the connections that the Hub has closed and the owner has not reported as gone.
    pub(super) fn closed(&self) -> impl Iterator<Item = ConnId> {
        let slots = (0..).zip(&self.slots);
        let closed = slots.filter(|(_, (_, holder))| matches!(holder, Holder::Closed));
        closed.map(|(slot, (generation, _))| ConnId { slot, generation: *generation })
    }
}
