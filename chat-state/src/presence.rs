//! What a Hub knows of the members that other Hubs have.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use chat_proto::{Member, RoomName};

use crate::ids::{HubId, MemberId};

/// Another Hub's part of a room's roster: the count is whole, the names are a sample.
#[derive(Debug, Default)]
pub(crate) struct RemoteRoster {
    pub(crate) version: u64,
    pub(crate) count: u64,
    pub(crate) members: BTreeMap<MemberId, Member>,
}

/// Whether a change follows on what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It does, and is applied.
    Applied,
    /// It is old or was seen before.
    Stale,
    /// Changes before it are missing: ask for the whole.
    Missed,
}

impl RemoteRoster {
    pub(crate) fn came(
        &mut self,
        version: u64,
        (id, member): (MemberId, Member),
        listed: usize,
    ) -> Change {
        let change = self.check(version);
        if change == Change::Applied {
            self.count += 1;
            if self.members.len() < listed {
                self.members.insert(id, member);
            }
        }
        change
    }

    pub(crate) fn went(&mut self, version: u64, id: MemberId) -> Change {
        let change = self.check(version);
        if change == Change::Applied {
            self.count = self.count.saturating_sub(1);
            self.members.remove(&id);
        }
        change
    }

    /// Takes the whole part; tells whether that was news.
    pub(crate) fn replace(
        &mut self,
        version: u64,
        count: u64,
        members: Vec<(MemberId, Member)>,
        listed: usize,
    ) -> bool {
        if version < self.version {
            return false;
        }
        let members = members.into_iter().take(listed).collect();
        let news = self.count != count || self.members != members;
        *self = Self { version, count, members };
        news
    }

    fn check(&mut self, version: u64) -> Change {
        if version <= self.version {
            return Change::Stale;
        }
        if version > self.version + 1 {
            return Change::Missed;
        }
        self.version = version;
        Change::Applied
    }
}

/// How many members other Hubs have in which rooms, for the room list.
#[derive(Debug, Default)]
pub(crate) struct Directory(BTreeMap<RoomName, BTreeMap<HubId, u64>>);

impl Directory {
    /// Notes a count; 0 forgets. Beyond `rooms_max` no further room is noted.
    pub(crate) fn note(&mut self, hub: HubId, room: RoomName, count: u64, rooms_max: usize) {
        if count == 0 {
            let Some(counts) = self.0.get_mut(&room) else { return };
            counts.remove(&hub);
            if counts.is_empty() {
                self.0.remove(&room);
            }
        } else if self.0.len() < rooms_max || self.0.contains_key(&room) {
            self.0.entry(room).or_default().insert(hub, count);
        }
    }

    pub(crate) fn count(&self, room: &RoomName) -> u64 {
        self.0.get(room).map_or(0, |counts| counts.values().sum())
    }

    /// Returns the rooms after a name, in the order of their names.
    pub(crate) fn after(&self, name: Option<&RoomName>) -> impl Iterator<Item = &RoomName> {
        use core::ops::Bound::{Excluded, Unbounded};
        let from = name.map_or(Unbounded, Excluded);
        self.0.range((from, Unbounded)).map(|(room, _)| room)
    }
}
