//! What an operator does while the nodes run: orders about people, and other limits.
use chat_proto::{CloseCode, LimitValues, RoomName, Timestamp};
use chat_state::{Event, Order, Whom};

use super::Sim;
use super::link::Peer;

impl Sim {
    /// Orders something about a person's present session, of every node.
    pub(super) fn order(&mut self, who: usize, room: &RoomName, what: u8, ms: u64) {
        let person = &mut self.people[who];
        // Nobody learns of what a link swallows.
        let is_leaky = person.links.values().any(|index| self.links[*index].is_leaky);
        let Some(user) = person.user.clone().filter(|_| !is_leaky) else { return };
        person.was_ordered = true;
        for node in 0..self.nodes.len() {
            let (room, user) = (room.clone(), user.clone());
            let order = match what % 4 {
                0 => Order::Kick { room, whom: Whom::User(user) },
                1 => {
                    let until = Some(Timestamp(self.now_of(node).wall.0 + ms));
                    Order::Ban { user, room: Some(room), until }
                }
                2 => Order::Unban { user, room: Some(room) },
                _ => Order::Close { whom: Whom::User(user), code: CloseCode::HeartbeatTimeout },
            };
            self.tell(node, Event::Operator(order));
        }
    }

    /// Returns true if the person at the other end of a link was ordered about.
    pub(super) fn was_ordered(&self, index: usize) -> bool {
        match self.links[index].peer {
            Peer::Person { who, .. } => self.people[who].was_ordered,
            Peer::Plain { .. } => false,
        }
    }

    /// Gives other limits to every node. Those that bound what is held stay as they are.
    pub(super) fn reload(&mut self, other: bool) {
        let values = self.limits.values().clone();
        let values = if other {
            LimitValues {
                history: 2,
                members_listed: 2,
                notice_members: 1,
                recent_entries: 1,
                messages_per_10s: 2 * values.messages_per_10s,
                ..values
            }
        } else {
            values
        };
        let limits = values.build().expect("within bounds");
        for node in 0..self.nodes.len() {
            self.tell(node, Event::Reconfigure { limits: limits.clone() });
        }
    }
}
