//! One room on one Hub.
pub(crate) mod audience;
mod roster;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use chat_proto::{Entry, Epoch, RequestId, RoomName, Seq};

use self::audience::{Audience, Visibility};
pub use self::roster::Roster;
use crate::ids::{ConnId, Token};
use crate::log::Draft;
use crate::recent::Recent;

/// A room in the Hub's table; a stale id hits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RoomId {
    slot: u32,
    generation: u32,
}

/// A room's cursor, members, recent entries and what is on its way to and from the log.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: RoomName,
    pub(crate) log: LogState,
    pub(crate) audience: Audience,
    /// Sessions that have asked to join and are no members yet.
    pub(crate) joining: BTreeSet<ConnId>,
    /// Those of them that wait for the log to say where it ends.
    pub(crate) ahead: BTreeSet<ConnId>,
    pub(crate) recent: Recent,
    /// Entries beyond the cursor that wait for those before them.
    pub(crate) held: BTreeMap<Seq, Arc<Entry>>,
    /// The newest place that is known to be taken.
    pub(crate) known: Seq,
    /// Which logs signals have named while the room was being opened.
    pub(crate) early: Early,
    /// A read that is to fill the hole after the cursor.
    pub(crate) hole: Hole,
    /// The question where the log ends.
    pub(crate) head: HeadAsk,
    /// An append of unknown outcome: other Hubs have yet to be told where the log ends.
    pub(crate) untold: bool,
    pub(crate) drafts: VecDeque<Queued>,
    pub(crate) in_flight: Option<InFlight>,
    /// How many drafts of whom are on their way, in the order of the connections.
    unanswered: Vec<(ConnId, u32)>,
    /// Connections that are not read until fewer drafts wait.
    pub(crate) stalled: BTreeSet<ConnId>,
}

/// Where the Hub stands in the room's log.
#[derive(Debug)]
pub(crate) enum LogState {
    /// The log has been asked for the room's end.
    Opening,
    Open {
        epoch: Epoch,
        /// The oldest entry that the log had when it was last asked.
        first: Seq,
        /// The last entry that was delivered.
        cursor: Seq,
    },
}

/// Whether something is done about missing entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hole {
    None,
    /// They may yet come by themselves.
    Waiting,
    /// The log has been asked.
    Loading(Token),
}

/// Whether the log was asked where it ends: one question at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadAsk {
    None,
    Asked {
        token: Token,
        /// There was reason to ask after the question had gone out.
        again: bool,
    },
    /// The log could not be read; a timer will ask again.
    Failed,
}

/// Which logs were named before the room's own log was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Early {
    None,
    /// Entries of this one are held.
    One(Epoch),
    /// What was named can't be relied on: the log has to be asked.
    Doubt,
}

/// A draft and whom to answer.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) draft: Draft,
    pub(crate) conn: ConnId,
    pub(crate) id: Option<RequestId>,
}

/// The one batch that the log has not answered.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) token: Token,
    pub(crate) batch: VecDeque<Queued>,
}

impl Room {
    /// Makes a room that nobody is in.
    pub(crate) fn new(name: RoomName, listed: usize) -> Self {
        // The sessions in an inbox are all of one user.
        let visibility = if name.is_inbox() { Visibility::Hidden } else { Visibility::Shown };
        Self {
            name,
            log: LogState::Opening,
            audience: Audience::new(visibility, listed),
            joining: BTreeSet::new(),
            ahead: BTreeSet::new(),
            recent: Recent::default(),
            held: BTreeMap::new(),
            known: Seq::ZERO,
            early: Early::None,
            hole: Hole::None,
            head: HeadAsk::None,
            untold: false,
            drafts: VecDeque::new(),
            in_flight: None,
            unanswered: Vec::new(),
            stalled: BTreeSet::new(),
        }
    }

    /// Returns the last entry that was delivered, 0 while the room is being opened.
    pub(crate) fn cursor(&self) -> Seq {
        match &self.log {
            LogState::Opening => Seq::ZERO,
            LogState::Open { cursor, .. } => *cursor,
        }
    }

    /// Returns whether the members see each other. The sessions in an inbox are all of one user, so
    /// nobody is told of them, here or on other Hubs.
    pub(crate) fn has_roster(&self) -> bool {
        !self.name.is_inbox()
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.log, LogState::Open { .. })
    }

    /// Returns how many places are taken here, by members and by sessions that are joining.
    pub(crate) fn taken(&self) -> usize {
        self.audience.taken() + self.joining.len()
    }

    /// Drops what signals said while the room was being opened.
    pub(crate) fn doubt(&mut self) {
        self.early = Early::Doubt;
        self.held.clear();
        self.known = Seq::ZERO;
    }

    /// Begins anew with an unknown log; members and drafts stay.
    pub(crate) fn close_log(&mut self) {
        self.log = LogState::Opening;
        self.recent.clear();
        self.held.clear();
        self.known = Seq::ZERO;
        self.early = Early::None;
        self.hole = Hole::None;
        self.head = HeadAsk::None;
    }

    /// Takes a draft, to be offered to the log in its turn.
    pub(crate) fn queue(&mut self, queued: Queued) {
        match self.place_of_unanswered(queued.conn) {
            Ok(at) => self.unanswered[at].1 += 1,
            Err(at) => self.unanswered.insert(at, (queued.conn, 1)),
        }
        self.drafts.push_back(queued);
    }

    /// Counts a draft that the log has answered, or never will.
    pub(crate) fn answered(&mut self, conn: ConnId) {
        let Ok(at) = self.place_of_unanswered(conn) else { return };
        self.unanswered[at].1 -= 1;
        if self.unanswered[at].1 == 0 {
            self.unanswered.remove(at);
        }
    }

    /// Tells whether something that a connection said is on its way to the log.
    pub(crate) fn has_drafts_of(&self, conn: ConnId) -> bool {
        self.place_of_unanswered(conn).is_ok()
    }

    /// Returns the connections whose drafts the log has yet to answer, in order.
    pub(crate) fn unanswered(&self) -> Vec<ConnId> {
        self.unanswered.iter().map(|(conn, _)| *conn).collect()
    }

    fn place_of_unanswered(&self, conn: ConnId) -> Result<usize, usize> {
        self.unanswered.binary_search_by_key(&conn, |(conn, _)| *conn)
    }

    /// Tells whether nobody needs the room: no member, no draft on its way, nothing to be told.
    pub(crate) fn is_idle(&self) -> bool {
        self.audience.is_empty()
            && self.joining.is_empty()
            && self.drafts.is_empty()
            && self.in_flight.is_none()
            && !self.untold
    }
}

/// All rooms of a Hub, by id and by name.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    slots: Vec<(u32, Option<Room>)>,
    free: Vec<u32>,
    /// All but the inboxes. What is listed and spoken in is looked for here alone, so that a
    /// message pays nothing for them.
    names: BTreeMap<RoomName, RoomId>,
    inboxes: BTreeMap<RoomName, RoomId>,
}

impl Rooms {
    pub(crate) fn len(&self) -> usize {
        self.names.len() + self.inboxes.len()
    }

    pub(crate) fn find(&self, name: &RoomName) -> Option<RoomId> {
        let names = if name.is_inbox() { &self.inboxes } else { &self.names };
        names.get(name).copied()
    }

    /// Finds a room that its members may speak in: no inbox.
    pub(crate) fn find_to_speak(&self, name: &RoomName) -> Option<RoomId> {
        self.names.get(name).copied()
    }

    fn names_of_kind(&mut self, name: &RoomName) -> &mut BTreeMap<RoomName, RoomId> {
        if name.is_inbox() { &mut self.inboxes } else { &mut self.names }
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
        let before = self.names_of_kind(&name).insert(name, id);
        assert!(before.is_none(), "a name has one room");
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
        self.names_of_kind(&room.name).remove(&room.name);
        Some(room)
    }

    /// Gives a room the spelling that its log knows.
    pub(crate) fn respell(&mut self, id: RoomId, name: &RoomName) {
        let Some(room) = self.get_mut(id) else { return };
        debug_assert_eq!(&room.name, name, "a spelling does not change the identity");
        if room.name.as_str() != name.as_str() {
            room.name = name.clone();
            let names = self.names_of_kind(name);
            names.remove(name);
            names.insert(name.clone(), id);
        }
    }

    /// Returns the rooms after a name, in the order of their names; inboxes are not listed.
    pub(crate) fn after(&self, name: Option<&RoomName>) -> impl Iterator<Item = &Room> {
        self.names.range(beyond(name)).filter_map(|(_, id)| self.get(*id))
    }

    /// Returns the inboxes after a name, in the order of their names; all of them after that of a
    /// room which is none.
    pub(crate) fn inboxes_after(&self, name: Option<&RoomName>) -> impl Iterator<Item = &Room> {
        let name = name.filter(|name| name.is_inbox());
        self.inboxes.range(beyond(name)).filter_map(|(_, id)| self.get(*id))
    }

    /// Returns all rooms.
    pub(crate) fn ids(&self) -> Vec<RoomId> {
        self.names.values().chain(self.inboxes.values()).copied().collect()
    }
}

fn beyond(name: Option<&RoomName>) -> (Bound<&RoomName>, Bound<&RoomName>) {
    (name.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}
