//! An application that checks all that it is told.
use std::collections::{BTreeMap, BTreeSet};

use chat_proto::{Entry, Epoch, Key, RoomName, Seq};
use chat_state::client::{Delivery, Outcome, State, Ticket};

/// What it knows of a room that it is in.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) epoch: Option<Epoch>,
    /// The last entry; `None` after a fresh start.
    pub(crate) last: Option<Seq>,
    /// The log was said to be another one, and nothing may come before a fresh start.
    reset: bool,
    pub(crate) is_in: bool,
    /// Entries were said not to be had.
    pub(crate) lost: bool,
}

#[derive(Debug, Default)]
pub(crate) struct App {
    pub(crate) state: State,
    pub(crate) rooms: BTreeMap<RoomName, View>,
    /// Tickets that are not settled, those of sends with their key.
    pub(crate) open: BTreeMap<Ticket, Option<Key>>,
    pub(crate) settled: BTreeMap<Ticket, Outcome>,
    used: BTreeSet<Ticket>,
}

impl App {
    /// Takes a new ticket.
    pub(crate) fn ticket(&mut self, key: impl FnOnce(Ticket) -> Option<Key>) -> Ticket {
        let ticket = Ticket(self.used.len() as u64);
        assert!(self.used.insert(ticket));
        self.open.insert(ticket, key(ticket));
        ticket
    }

    /// Takes a delivery; returns the entry if it is one.
    pub(crate) fn take(&mut self, delivery: Delivery) -> Option<std::sync::Arc<Entry>> {
        match delivery {
            Delivery::State(state) => {
                assert_ne!(state, self.state, "a state is told when it changes");
                self.state = state;
                // Every room has to be entered again, and says so.
                self.rooms.values_mut().for_each(|view| view.is_in = false);
            }
            Delivery::Joined { room, epoch, fresh, .. } => {
                assert_eq!(self.state, State::Online);
                let view = self.rooms.entry(room).or_default();
                if fresh {
                    assert!(view.reset || view.epoch.is_none(), "a reset is told of");
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
                let view = self.rooms.get_mut(&room).expect("one has been there");
                view.reset = true;
            }
            Delivery::Left { room, .. } => {
                self.rooms.remove(&room);
            }
            Delivery::Settled { ticket, outcome } => {
                self.open.remove(&ticket).expect("a ticket is settled once");
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
        let view = self.rooms.get_mut(room).expect("entries come from rooms that one is in");
        assert!(view.is_in && !view.reset, "entries come after a `joined`");
        if let Some(last) = view.last {
            assert_eq!(from, last.next(), "each the one after the last");
        }
        view.last = Some(to);
        view
    }
}
