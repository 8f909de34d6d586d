//! One versioned register for each room and peer: what the peer has said about its members there.
//!
//! A peer is the only writer of its registers, and numbers its changes over all rooms. So what it
//! says about a room is newer than what is known exactly if its number is larger, and a digest that
//! does not list a room is newer than what is known if the digest's number is at least as large.
//! Merging is therefore safe under loss, repetition and reordering.
//!
//! *Invariant:* a statement that is older than a change already seen never changes a register.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound::{Excluded, Included, Unbounded};

use chat_proto::RoomName;

use super::signal::{Digest, Span, Stamp};
use crate::ids::PeerSlot;

/// How a change of a peer's part of a roster relates to what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It follows what is known.
    Applied,
    /// It is the first change of a part that was empty before: this member is all of the part.
    First,
    /// Changes before it are missing. The whole part will be requested.
    Missed,
    /// It was known already, or something newer is.
    Stale,
}

/// Whether a member was added or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Came,
    Went,
}

/// A room and the number of the newest change of a Hub's part of its roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Register {
    pub(crate) room: RoomName,
    pub(crate) version: u64,
}

/// What has to be done after a digest line was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Nothing,
    /// The peer's part is another one than is known: request it.
    Request,
    /// The peer has no members in the room any more.
    Emptied,
}

/// All rooms that are open here or that peers have members in.
#[derive(Debug, Default)]
pub(super) struct Registers {
    rooms: BTreeMap<RoomName, Entry>,
    /// The number of this Hub's newest change.
    clock: u64,
    /// Rooms that are open here.
    here: usize,
    /// The rooms in which peers have members.
    elsewhere: BTreeSet<RoomName>,
    /// Rooms that are both.
    common: usize,
}

#[derive(Debug, Default)]
struct Entry {
    /// The number of this Hub's newest change, 0 before the first one. `None`: not open here.
    here: Option<u64>,
    /// At most one for each peer.
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    slot: PeerSlot,
    /// The newest change that is contained in what is known.
    version: u64,
    /// The newest change that was heard of.
    seen: u64,
    count: u64,
    known: Known,
    request: Request,
}

/// What is known of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// How many members it has.
    Count,
    /// Its members, which the owner keeps.
    Members,
}

/// Whether the whole part was requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    None,
    Queued { tries: u8 },
    Sent { tries: u8 },
}

/// How often a part is requested before its peer's next change or digest.
const TRIES_MAX: u8 = 3;

impl Part {
    fn new(slot: PeerSlot) -> Self {
        Self { slot, version: 0, seen: 0, count: 0, known: Known::Count, request: Request::None }
    }

    fn is_missing(&self) -> bool {
        self.known != Known::Members || self.seen > self.version
    }

    /// Replaces what is known. Returns false if that changes nothing.
    fn replace(&mut self, version: u64, count: u64) -> bool {
        let changed = self.is_missing() || self.version != version || self.count != count;
        *self =
            Self { version, seen: version, count, known: Known::Members, ..Self::new(self.slot) };
        changed
    }
}

impl Entry {
    fn part(&mut self, slot: PeerSlot) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.slot == slot)
    }

    fn part_or_new(&mut self, slot: PeerSlot) -> &mut Part {
        if let Some(at) = self.parts.iter().position(|part| part.slot == slot) {
            return &mut self.parts[at];
        }
        self.parts.push(Part::new(slot));
        self.parts.last_mut().expect("it was just added")
    }

    fn is_elsewhere(&self) -> bool {
        self.parts.iter().any(|part| part.count > 0)
    }

    /// Drops what is only worth keeping while the room is open here.
    fn tidy(&mut self) {
        if self.here.is_none() {
            self.parts.retain(|part| part.count > 0);
        }
    }
}

/// This Hub's own part.
impl Registers {
    /// Takes the next number for something that this Hub says.
    pub(super) fn stamp(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(super) fn clock(&self) -> u64 {
        self.clock
    }

    /// Records that a room is open here, and returns the peers that are known to have members in
    /// it.
    pub(super) fn open(&mut self, room: &RoomName) -> Vec<PeerSlot> {
        self.update_or_insert(room, |entry| {
            assert!(entry.here.is_none(), "a room is opened once");
            entry.here = Some(0);
            // All peers are asked for their parts at once.
            entry.parts.iter_mut().for_each(|part| part.request = Request::Sent { tries: 1 });
            entry.parts.iter().map(|part| part.slot).collect()
        })
    }

    /// Records that a room is closed here. Returns true if peers were told of members in it.
    pub(super) fn close(&mut self, room: &RoomName) -> bool {
        let here = self.update(room, |entry| {
            for part in &mut entry.parts {
                (part.known, part.request) = (Known::Count, Request::None);
            }
            entry.here.take()
        });
        here.flatten().expect("a room that is closed was open") > 0
    }

    /// Numbers a change of this Hub's part of a roster.
    pub(super) fn change_here(&mut self, room: &RoomName) -> Stamp {
        let version = self.stamp();
        let entry = self.rooms.get_mut(room).expect("only an open room changes");
        let here = entry.here.as_mut().expect("only an open room changes");
        Stamp { version, after: core::mem::replace(here, version) }
    }

    /// Returns the register of this Hub's part; a room without a part has an empty one.
    pub(super) fn own(&self, room: &RoomName) -> Register {
        let version = self.rooms.get(room).and_then(|entry| entry.here).unwrap_or(0);
        // Nothing that was said of the room before is newer than this.
        let version = if version == 0 { self.clock } else { version };
        Register { room: room.clone(), version }
    }

    /// Returns up to `limit` registers of this Hub after a name, and the range that they cover.
    pub(super) fn own_after(
        &self,
        after: Option<&RoomName>,
        limit: usize,
    ) -> (Vec<Register>, Span<RoomName>) {
        let all = self.rooms.range((after.map_or(Unbounded, Excluded), Unbounded));
        let mut own = all.filter_map(|(room, entry)| {
            let version = entry.here.filter(|version| *version > 0)?;
            Some(Register { room: room.clone(), version })
        });
        let lines: Vec<Register> = own.by_ref().take(limit).collect();
        let upto = own.next().and(lines.last()).map(|last| last.room.clone());
        (lines, Span { after: after.cloned(), upto })
    }

    pub(super) fn is_open(&self, room: &RoomName) -> bool {
        self.rooms.get(room).is_some_and(|entry| entry.here.is_some())
    }

    /// Returns how many rooms are open here.
    pub(super) fn here(&self) -> usize {
        self.here
    }
}

/// The parts of peers.
impl Registers {
    /// Takes a change of a peer's part.
    pub(super) fn change(
        &mut self,
        slot: PeerSlot,
        room: &RoomName,
        stamp: Stamp,
        kind: Kind,
    ) -> Change {
        let change = self.update(room, |entry| {
            if entry.here.is_none() {
                return Change::Stale;
            }
            let part = entry.part_or_new(slot);
            if stamp.version <= part.version || stamp.version < part.seen {
                return Change::Stale;
            }
            if stamp.after == 0 && kind == Kind::Came {
                part.replace(stamp.version, 1);
                return Change::First;
            }
            if part.is_missing() || stamp.after != part.version {
                let is_news = stamp.version > part.seen;
                part.seen = stamp.version;
                return if is_news { Change::Missed } else { Change::Stale };
            }
            (part.version, part.seen) = (stamp.version, stamp.version);
            part.count = match kind {
                Kind::Came => part.count.saturating_add(1),
                Kind::Went => part.count.saturating_sub(1),
            };
            Change::Applied
        });
        change.unwrap_or(Change::Stale)
    }

    /// Takes the whole of a peer's part. Returns true if it replaces what is known.
    pub(super) fn whole(&mut self, slot: PeerSlot, register: &Register, count: u64) -> bool {
        let taken = self.update(&register.room, |entry| {
            let version = register.version;
            if entry.here.is_none() || (count == 0 && entry.part(slot).is_none()) {
                return false;
            }
            let part = entry.part_or_new(slot);
            version >= part.version.max(part.seen) && part.replace(version, count)
        });
        taken.unwrap_or(false)
    }

    /// Takes one line of a digest. No room is added that is not open here if there are `rooms_max`
    /// rooms already.
    pub(super) fn line(
        &mut self,
        slot: PeerSlot,
        register: &Register,
        count: u64,
        rooms_max: usize,
    ) -> Line {
        if !self.rooms.contains_key(&register.room)
            && (count == 0 || self.elsewhere.len() >= rooms_max)
        {
            return Line::Nothing;
        }
        let version = register.version;
        self.update_or_insert(&register.room, |entry| {
            if count == 0 && entry.part(slot).is_none() {
                return Line::Nothing;
            }
            let is_here = entry.here.is_some();
            let part = entry.part_or_new(slot);
            if version < part.version.max(part.seen) {
                return Line::Nothing;
            }
            if is_here && part.known == Known::Members && version == part.version {
                return Line::Nothing;
            }
            if is_here && count == 0 {
                return if part.replace(version, 0) { Line::Emptied } else { Line::Nothing };
            }
            (part.seen, part.count) = (version, count);
            if is_here {
                return Line::Request;
            }
            part.version = version;
            Line::Nothing
        })
    }

    /// Keeps only the counts of parts, so that the next digests have them requested again.
    pub(super) fn forget_members(&mut self) {
        for entry in self.rooms.values_mut().filter(|entry| entry.here.is_some()) {
            entry.parts.iter_mut().for_each(|part| part.known = Known::Count);
        }
    }

    /// Takes what a digest says by not listing rooms. Returns the rooms open here that are thereby
    /// known to be empty at the peer.
    pub(super) fn unlisted(&mut self, slot: PeerSlot, digest: &Digest) -> Vec<RoomName> {
        let Some(Span { after, upto }) = &digest.covers else { return Vec::new() };
        if let (Some(after), Some(upto)) = (after, upto)
            && after >= upto
        {
            return Vec::new();
        }
        let range =
            (after.as_ref().map_or(Unbounded, Excluded), upto.as_ref().map_or(Unbounded, Included));
        let mut lines = digest.lines.iter().map(|line| &line.room).peekable();
        let unlisted = self.rooms.range(range).filter(|(room, entry)| {
            while lines.next_if(|line| line < room).is_some() {}
            let part = entry.parts.iter().find(|part| part.slot == slot);
            lines.peek() != Some(room)
                && part.is_some_and(|part| part.version.max(part.seen) <= digest.at)
        });
        let unlisted: Vec<RoomName> = unlisted.map(|(room, _)| room.clone()).collect();
        let emptied = unlisted.into_iter().filter(|room| {
            let emptied = self.update(room, |entry| {
                let is_here = entry.here.is_some();
                let part = entry.part(slot).expect("it was just found");
                part.replace(digest.at, 0) && is_here
            });
            emptied == Some(true)
        });
        emptied.collect()
    }

    /// Drops all parts of a peer, and returns the rooms open here that it had one in.
    pub(super) fn end(&mut self, slot: PeerSlot) -> Vec<RoomName> {
        let has_part = |entry: &Entry| entry.parts.iter().any(|part| part.slot == slot);
        let rooms = self.rooms.iter().filter(|(_, entry)| has_part(entry));
        let rooms: Vec<RoomName> = rooms.map(|(room, _)| room.clone()).collect();
        let here = rooms.into_iter().filter(|room| {
            let is_here = self.update(room, |entry| {
                entry.parts.retain(|part| part.slot != slot);
                entry.here.is_some()
            });
            is_here == Some(true)
        });
        here.collect()
    }
}

/// Requests for whole parts.
impl Registers {
    /// Returns true if the part has to be put into the queue of requests.
    pub(super) fn queue_request(&mut self, slot: PeerSlot, room: &RoomName) -> bool {
        let Some(part) = self.part_here(slot, room) else { return false };
        let queue = part.is_missing() && part.request == Request::None;
        if queue {
            part.request = Request::Queued { tries: 0 };
        }
        queue
    }

    /// Returns true if a part from the queue still has to be requested, and records that it is.
    pub(super) fn send_request(&mut self, slot: PeerSlot, room: &RoomName) -> bool {
        let Some(part) = self.part_here(slot, room) else { return false };
        let tries = match part.request {
            Request::Queued { tries } if part.is_missing() => tries + 1,
            Request::None | Request::Queued { .. } | Request::Sent { .. } => return false,
        };
        part.request = Request::Sent { tries };
        true
    }

    /// The answer to a request is overdue. Returns true if the part has to be queued again.
    pub(super) fn retry_request(&mut self, slot: PeerSlot, room: &RoomName) -> bool {
        let Some(part) = self.part_here(slot, room) else { return false };
        let Request::Sent { tries } = part.request else { return false };
        let again = part.is_missing() && tries < TRIES_MAX;
        part.request = if again { Request::Queued { tries } } else { Request::None };
        again
    }

    /// Returns a part of a room that is open here.
    fn part_here(&mut self, slot: PeerSlot, room: &RoomName) -> Option<&mut Part> {
        let entry = self.rooms.get_mut(room).filter(|entry| entry.here.is_some());
        entry.and_then(|entry| entry.part(slot))
    }
}

/// The rooms of all peers together.
impl Registers {
    /// Returns how many rooms peers have members in.
    pub(super) fn elsewhere(&self) -> usize {
        self.elsewhere.len()
    }

    /// Returns how many of these are not open here.
    pub(super) fn not_here(&self) -> usize {
        self.elsewhere.len() - self.common
    }

    /// Returns how many members peers have in a room.
    pub(super) fn count(&self, room: &RoomName) -> u64 {
        let parts = self.rooms.get(room).map(|entry| entry.parts.as_slice()).unwrap_or_default();
        parts.iter().fold(0, |sum, part| sum.saturating_add(part.count))
    }

    /// Returns the rooms after a name that peers have members in, in the order of their names.
    pub(super) fn after(&self, after: Option<&RoomName>) -> impl Iterator<Item = &RoomName> {
        self.elsewhere.range((after.map_or(Unbounded, Excluded), Unbounded))
    }

    fn update<T>(&mut self, room: &RoomName, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.rooms.contains_key(room).then(|| self.update_or_insert(room, change))
    }

    /// Changes an entry and keeps the numbers of rooms.
    fn update_or_insert<T>(&mut self, room: &RoomName, change: impl FnOnce(&mut Entry) -> T) -> T {
        let entry = self.rooms.entry(room.clone()).or_default();
        let before = (entry.here.is_some(), entry.is_elsewhere());
        let result = change(entry);
        entry.tidy();
        let after = (entry.here.is_some(), entry.is_elsewhere());
        let is_idle = entry.here.is_none() && entry.parts.is_empty();
        if is_idle {
            self.rooms.remove(room);
        }
        let adjust = |total: usize, before: bool, after: bool| {
            total + usize::from(after) - usize::from(before)
        };
        self.here = adjust(self.here, before.0, after.0);
        match (before.1, after.1) {
            (false, true) => drop(self.elsewhere.insert(room.clone())),
            (true, false) => drop(self.elsewhere.remove(room)),
            (false, false) | (true, true) => {}
        }
        self.common = adjust(self.common, before.0 && before.1, after.0 && after.1);
        result
    }
}
