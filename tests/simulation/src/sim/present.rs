//! How many are in a room, as an application is told by event.
use chat_proto::RoomName;
use chat_state::client::Delivery;

use super::person::Person;

impl Person {
    /// The link that is in use.
    pub(super) fn newest_link(&self) -> Option<usize> {
        self.links.last_key_value().map(|(_, index)| *index)
    }

    /// Counts who comes and goes.
    pub(super) fn count(&mut self, told: &Delivery) {
        let mut set = |room: &RoomName, count| {
            self.told.insert(room.clone(), count);
        };
        match told {
            Delivery::Joined { room, members: Some(view), .. }
            | Delivery::Members { room, view } => {
                set(room, view.count);
            }
            Delivery::Presence { room, count } => set(room, *count),
            Delivery::MemberJoined { room, .. } => *self.told.entry(room.clone()).or_default() += 1,
            Delivery::MemberLeft { room, .. } => {
                let count = self.told.entry(room.clone()).or_default();
                *count = count.saturating_sub(1);
            }
            _ => {}
        }
    }
}
