//! What somebody who runs the server is shown of a worker.
use chat_proto::{CloseCode, RoomName};
use chat_state::{RoomView, SessionView, Which};
use tokio::sync::oneshot;

use super::Worker;
use crate::metrics::{Gauges, Sent};

/// Connections that are looked at in one go: a fraction of a millisecond.
const SCAN: usize = 4096;

/// A question about a worker. Nobody minds if it is not answered.
pub(crate) enum Look {
    /// Rooms after a name, at most so many.
    Rooms(Option<RoomName>, usize, oneshot::Sender<Vec<RoomView>>),
    /// One room.
    Room(RoomName, oneshot::Sender<Option<RoomView>>),
    /// Sessions from a slot on, at most so many, and the slot to go on from.
    Sessions(Which, usize, usize, oneshot::Sender<(Vec<SessionView>, Option<usize>)>),
    /// All that is counted.
    Counts(oneshot::Sender<Seen>),
    /// What it has at the moment, for the metrics.
    Gauges(oneshot::Sender<Gauges>),
}

/// What a worker has, and what it has done since its start.
pub(crate) struct Seen {
    pub(crate) connections: usize,
    pub(crate) away: usize,
    pub(crate) members: u64,
    pub(crate) rooms: Vec<RoomName>,
    pub(crate) messages: u64,
    pub(crate) deliveries: u64,
    /// Connections that it closed, by the code, where there are any.
    pub(crate) closes: Vec<(CloseCode, u64)>,
}

impl Worker {
    pub(super) fn look(&self, look: Look) {
        // Whoever does not wait for the answer any more does not want it.
        match look {
            Look::Rooms(after, limit, answer) => {
                let _ = answer.send(self.hub.rooms_view(after.as_ref(), limit));
            }
            Look::Room(room, answer) => {
                let _ = answer.send(self.hub.room_view(&room));
            }
            Look::Sessions(which, slot, limit, answer) => {
                let _ = answer.send(self.hub.sessions_view(&which, slot, SCAN, limit));
            }
            Look::Counts(answer) => {
                let stats = self.hub.stats();
                let rooms = self.hub.rooms_view(None, usize::MAX);
                let _ = answer.send(Seen {
                    connections: stats.sessions,
                    away: stats.away,
                    members: self.hub.members(),
                    rooms: rooms.into_iter().map(|room| room.room).collect(),
                    messages: self.counts.messages.get(),
                    deliveries: self.counts.sent(Sent::Message),
                    closes: self.counts.closes().filter(|(_, count)| *count > 0).collect(),
                });
            }
            Look::Gauges(answer) => {
                let _ = answer.send(self.gauges());
            }
        }
    }
}
