//! One room on one Hub.
pub(crate) mod audience;
mod index;
pub(crate) mod policy;
mod roster;
pub(crate) mod tail;
mod ticket;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use chat_proto::RoomName;

use self::audience::{Audience, Visibility};
use self::index::NameIndex;
use self::policy::RoomPolicy;
pub use self::roster::Roster;
use self::tail::Tail;
pub(crate) use self::ticket::Ticket;
use crate::ids::{ConnId, Token};

/// A room in the Hub's table; a stale id hits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RoomId {
    slot: u32,
    generation: u32,
}

/// A room: the tail of its log, and its members.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: RoomName,
    pub(crate) tail: Tail<Ticket>,
    pub(crate) asked: Asked,
    pub(crate) audience: Audience,
    /// Sessions that have asked to join and are no members yet.
    pub(crate) joining: BTreeSet<ConnId>,
    /// Those of them that resume from a position which the log has yet to decide, or whose entries
    /// are on their way.
    pub(crate) ahead: BTreeSet<ConnId>,
    /// Connections that are not read until fewer drafts wait.
    pub(crate) stalled: BTreeSet<ConnId>,
}

/// The questions and the timers of a room's tail, by purpose and by name.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) tokens: [Option<Token>; 4],
}

impl Room {
    /// Makes a room that nobody is in.
    pub(crate) fn new(name: RoomName, tail: Tail<Ticket>, listed: usize) -> Self {
        let visibility = if RoomPolicy::of(name.kind()).has_roster {
            Visibility::Shown
        } else {
            Visibility::Hidden
        };
        Self {
            name,
            tail,
            asked: Asked::default(),
            audience: Audience::new(visibility, listed),
            joining: BTreeSet::new(),
            ahead: BTreeSet::new(),
            stalled: BTreeSet::new(),
        }
    }

    /// Returns the rules for rooms of this kind.
    pub(crate) fn policy(&self) -> RoomPolicy {
        RoomPolicy::of(self.name.kind())
    }

    /// Returns how many places are taken here, by members and by sessions that are joining.
    pub(crate) fn taken(&self) -> usize {
        self.audience.taken() + self.joining.len()
    }

    /// Returns true if the log has yet to answer something that a connection said.
    pub(crate) fn has_drafts_of(&self, conn: ConnId) -> bool {
        self.tail.tickets().any(|ticket| ticket.conn == conn)
    }

    /// Returns the connections whose drafts the log has yet to answer, in order.
    pub(crate) fn unanswered(&self) -> Vec<ConnId> {
        let mut conns: Vec<ConnId> = self.tail.tickets().map(|ticket| ticket.conn).collect();
        conns.sort_unstable();
        conns
    }

    /// Returns true if nobody needs the room: it has no member and no draft on its way, and peers
    /// know of all appends.
    pub(crate) fn is_idle(&self) -> bool {
        self.audience.is_empty() && self.joining.is_empty() && self.tail.is_settled()
    }
}

/// All rooms of a Hub, by id and by name.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    slots: Vec<(u32, Option<Room>)>,
    free: Vec<u32>,
    names: NameIndex<RoomId>,
}

impl Rooms {
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn find(&self, name: &RoomName) -> Option<RoomId> {
        self.names.get(name)
    }

    pub(crate) fn get(&self, id: RoomId) -> Option<&Room> {
        let (generation, room) = self.slots.get(id.slot as usize)?;
        if *generation == id.generation { room.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, id: RoomId) -> Option<&mut Room> {
        let (generation, room) = self.slots.get_mut(id.slot as usize)?;
        if *generation == id.generation { room.as_mut() } else { None }
    }

    pub(crate) fn insert(&mut self, room: Room) -> RoomId {
        let name = room.name.clone();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let (generation, place) = &mut self.slots[slot as usize];
        *place = Some(room);
        let id = RoomId { slot, generation: *generation };
        self.names.insert(name, id);
        id
    }

    pub(crate) fn remove(&mut self, id: RoomId) -> Option<Room> {
        let (generation, place) = self.slots.get_mut(id.slot as usize)?;
        if *generation != id.generation {
            return None;
        }
        let room = place.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(id.slot);
        self.names.remove(&room.name);
        Some(room)
    }

    /// Gives a room the spelling that its log knows.
    pub(crate) fn respell(&mut self, id: RoomId, name: &RoomName) {
        let Some(room) = self.get_mut(id) else { return };
        debug_assert_eq!(&room.name, name, "a spelling does not change the identity");
        if room.name.as_str() != name.as_str() {
            room.name = name.clone();
            self.names.remove(name);
            self.names.insert(name.clone(), id);
        }
    }

    /// Returns the rooms after a name, of all kinds, in the order of their names.
    pub(crate) fn after(&self, name: Option<&RoomName>) -> impl Iterator<Item = &Room> {
        self.names.after(name).map(|id| self.get(id).expect("a name has a room"))
    }

    /// Returns the rooms after a name that room lists show, in the order of their names.
    pub(crate) fn listed_after(&self, name: Option<&RoomName>) -> impl Iterator<Item = &Room> {
        self.names.listed_after(name).map(|id| self.get(id).expect("a name has a room"))
    }

    /// Returns all rooms.
    pub(crate) fn ids(&self) -> Vec<RoomId> {
        self.names.ids().collect()
    }
}

/// A room that is known to be there: it outlives its members and those who join.
impl Index<RoomId> for Rooms {
    type Output = Room;

    #[track_caller]
    fn index(&self, id: RoomId) -> &Room {
        self.get(id).expect("a room outlives its members")
    }
}

impl IndexMut<RoomId> for Rooms {
    #[track_caller]
    fn index_mut(&mut self, id: RoomId) -> &mut Room {
        self.get_mut(id).expect("a room outlives its members")
    }
}
