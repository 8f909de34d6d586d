//! What a Hub knows of the rooms that other Hubs have.
use alloc::collections::BTreeMap;
use core::ops::Bound::{Excluded, Unbounded};

use chat_proto::RoomName;

use crate::ids::{HubId, Mono};

/// How many members other Hubs have in which rooms, for the room list and the number of rooms.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    rooms: BTreeMap<RoomName, BTreeMap<HubId, Count>>,
    /// How many of the rooms this Hub has, too.
    common: usize,
    /// How often the others were asked.
    round: u32,
    doubt: Doubt,
}

#[derive(Debug)]
struct Count {
    members: u64,
    /// When it was told.
    round: u32,
}

/// Whether what was told may be so no more: a Hub that is gone does not take it back.
#[derive(Debug, Default)]
enum Doubt {
    #[default]
    None,
    /// The others were asked then, and not all may have answered.
    Asked(Mono),
    /// What was not told again was forgotten then.
    Settled(Mono),
}

/// Whether the others are to be asked which rooms they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Others,
    Nobody,
}

/// How long answers may take, at the least …
const ANSWER_MS: u64 = 10_000;
/// … and longer by a millisecond for each so many rooms: twice what it takes to tell of them.
const ROOMS_PER_MS: usize = 25;

/// How long after the answers others are asked again.
const ASK_AGAIN_MS: u64 = 60_000;

impl Directory {
    /// Notes a count; 0 forgets. Beyond `rooms_max` no further room is noted.
    pub(crate) fn note(
        &mut self,
        (hub, room, members): (HubId, RoomName, u64),
        rooms_max: usize,
        is_here: impl Fn(&RoomName) -> bool,
    ) {
        let round = self.round;
        if let Some(counts) = self.rooms.get_mut(&room) {
            if members > 0 {
                counts.insert(hub, Count { members, round });
                return;
            }
            counts.remove(&hub);
            if counts.is_empty() {
                self.common -= usize::from(is_here(&room));
                self.rooms.remove(&room);
            }
        } else if members > 0 && self.rooms.len() < rooms_max {
            self.common += usize::from(is_here(&room));
            self.rooms.entry(room).or_default().insert(hub, Count { members, round });
        }
    }

    /// This Hub has a room that it did not have.
    pub(crate) fn opened(&mut self, room: &RoomName) {
        self.common += usize::from(self.rooms.contains_key(room));
    }

    /// This Hub has a room no more.
    pub(crate) fn closed(&mut self, room: &RoomName) {
        self.common -= usize::from(self.rooms.contains_key(room));
    }

    /// Forgets everything: whoever still has members will say so.
    pub(crate) fn clear(&mut self) {
        self.rooms.clear();
        self.common = 0;
    }

    /// Somebody is refused because of the rooms of others. Every so often these are asked again,
    /// and what they do not tell in time is forgotten.
    pub(crate) fn doubt(&mut self, now: Mono, is_here: impl Fn(&RoomName) -> bool) -> Ask {
        match self.doubt {
            _ if self.rooms.is_empty() => Ask::Nobody,
            Doubt::Asked(at) if now.since(at) >= self.answer_ms() => {
                self.forget_untold(is_here);
                self.doubt = Doubt::Settled(now);
                Ask::Nobody
            }
            Doubt::Settled(at) if now.since(at) < ASK_AGAIN_MS => Ask::Nobody,
            Doubt::Asked(_) => Ask::Nobody,
            Doubt::None | Doubt::Settled(_) => {
                self.round = self.round.wrapping_add(1);
                self.doubt = Doubt::Asked(now);
                Ask::Others
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Returns how many rooms others have that this Hub does not have.
    pub(crate) fn not_here(&self) -> usize {
        self.rooms.len() - self.common
    }

    pub(crate) fn count(&self, room: &RoomName) -> u64 {
        self.rooms.get(room).map_or(0, |counts| counts.values().map(|count| count.members).sum())
    }

    /// Returns the rooms after a name, in the order of their names.
    pub(crate) fn after(&self, name: Option<&RoomName>) -> impl Iterator<Item = &RoomName> {
        let from = name.map_or(Unbounded, Excluded);
        self.rooms.range((from, Unbounded)).map(|(room, _)| room)
    }

    fn answer_ms(&self) -> u64 {
        ANSWER_MS + (self.rooms.len() / ROOMS_PER_MS) as u64
    }

    fn forget_untold(&mut self, is_here: impl Fn(&RoomName) -> bool) {
        let round = self.round;
        self.rooms.retain(|room, counts| {
            counts.retain(|_, count| count.round == round);
            let gone = counts.is_empty();
            self.common -= usize::from(gone && is_here(room));
            !gone
        });
    }
}
