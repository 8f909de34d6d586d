//! An application that checks every delivery.
use std::collections::BTreeMap;

use chat_proto::{Entry, Epoch, RoomName, Seq};
use chat_state::client::{Delivery, Outcome, State, Ticket};

/// What the application knows about a joined room.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) epoch: Option<Epoch>,
    /// The last delivered entry; `None` after a fresh join.
    pub(crate) last: Option<Seq>,
    /// A reset was delivered, and no entry may follow before a fresh join.
    reset: bool,
    pub(crate) is_in: bool,
    /// Lost entries were reported.
    pub(crate) lost: bool,
}

#[derive(Debug, Default)]
pub(crate) struct App {
    pub(crate) state: State,
    pub(crate) rooms: BTreeMap<RoomName, View>,
    pub(crate) settled: BTreeMap<Ticket, Outcome>,
    tickets: u64,
}

impl App {
    /// Takes a new ticket.
    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets - 1)
    }

    /// Checks a delivery. Returns the entry if it is one.
    pub(crate) fn take(&mut self, delivery: Delivery) -> Option<std::sync::Arc<Entry>> {
        match delivery {
            Delivery::State(state) => {
                self.state = state;
                // Every room must be joined again.
                self.rooms.values_mut().for_each(|view| view.is_in = false);
            }
            Delivery::Joined { room, epoch, fresh, .. } => {
                assert_eq!(self.state, State::Online);
                let view = self.rooms.entry(room).or_default();
                if fresh {
                    assert!(
                        view.reset || view.epoch.is_none(),
                        "a reset precedes a fresh join of a known room"
                    );
                    *view = View::default();
                } else {
                    assert_eq!(view.epoch.as_ref(), Some(&epoch));
                    assert!(!view.reset);
                }
                view.epoch = Some(epoch);
                view.is_in = true;
            }
            Delivery::Entry(entry) => {
                self.advance(&entry.room, (entry.seq, entry.seq));
                return Some(entry);
            }
            Delivery::Lost { room, from, to } => {
                assert!(from <= to);
                self.advance(&room, (from, to)).lost = true;
            }
            Delivery::Reset { room, .. } => {
                let view = self.rooms.get_mut(&room).expect("a reset is for a known room");
                view.reset = true;
            }
            Delivery::Left { room, .. } => {
                self.rooms.remove(&room);
            }
            Delivery::Settled { ticket, outcome } => {
                self.settled.insert(ticket, outcome);
            }
            Delivery::Welcome(_)
            | Delivery::Members { .. }
            | Delivery::Presence { .. }
            | Delivery::MemberJoined { .. }
            | Delivery::MemberLeft { .. }
            | Delivery::Typing { .. } => {}
        }
        None
    }

    fn advance(&mut self, room: &RoomName, (from, to): (Seq, Seq)) -> &mut View {
        let view = self.rooms.get_mut(room).expect("entries are of joined rooms");
        assert!(view.is_in && !view.reset, "entries follow a `joined`");
        if let Some(last) = view.last {
            assert_eq!(from, last.next(), "each entry follows the one before");
        }
        view.last = Some(to);
        view
    }
}
