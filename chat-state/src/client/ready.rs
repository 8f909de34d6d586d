//! The queue of rooms that may have something to request.
use alloc::collections::{BTreeSet, VecDeque};

use chat_proto::RoomName;

/// Rooms in the order in which they became ready, each at most once. Bounded by the rooms of the
/// Client.
#[derive(Debug, Default)]
pub(super) struct ReadyRooms {
    order: VecDeque<RoomName>,
    all: BTreeSet<RoomName>,
}

impl ReadyRooms {
    pub(super) fn push(&mut self, room: &RoomName) {
        if self.all.insert(room.clone()) {
            self.order.push_back(room.clone());
        }
    }

    pub(super) fn pop(&mut self) -> Option<RoomName> {
        let room = self.order.pop_front()?;
        self.all.remove(&room);
        Some(room)
    }

    pub(super) fn remove(&mut self, room: &RoomName) {
        if self.all.remove(room) {
            self.order.retain(|other| other != room);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
