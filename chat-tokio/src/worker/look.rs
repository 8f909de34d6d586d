//! What somebody who runs the server is shown of a worker.
use std::collections::BTreeMap;

use chat_proto::{CloseCode, RoomName};
use chat_state::{AppendError, Appended, Outcome, RoomView, SessionView, Which};
use tokio::sync::oneshot;

use super::Worker;

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
}

/// What a worker has, and what it has done since its start.
pub(crate) struct Seen {
    pub(crate) connections: usize,
    pub(crate) away: usize,
    pub(crate) members: u64,
    pub(crate) rooms: Vec<RoomName>,
    pub(crate) counts: Counts,
}

/// What a worker has done since its start. It is the worker's own, so that counting costs nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Messages that the log took from its members.
    pub(crate) messages: u64,
    /// Frames to all of a room, once for each member.
    pub(crate) deliveries: u64,
    /// Connections that it closed, by the code: as many as there are codes.
    pub(crate) closes: BTreeMap<u16, u64>,
}

impl Counts {
    pub(super) fn closed(&mut self, code: CloseCode) {
        *self.closes.entry(code.number()).or_default() += 1;
    }

    pub(super) fn appended(&mut self, results: &[Result<Appended, AppendError>]) {
        let outcomes = results.iter().flatten().flat_map(|appended| &appended.outcomes);
        let new = outcomes.filter(|outcome| matches!(outcome, Outcome::New { .. }));
        self.messages += new.count() as u64;
    }
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
                let _ = answer.send(self.hub.sessions_view(&which, slot, (SCAN, limit)));
            }
            Look::Counts(answer) => {
                let stats = self.hub.stats();
                let rooms = self.hub.rooms_view(None, usize::MAX);
                let _ = answer.send(Seen {
                    connections: stats.sessions,
                    away: stats.away,
                    members: self.hub.members_here(),
                    rooms: rooms.into_iter().map(|room| room.room).collect(),
                    counts: self.counts.clone(),
                });
            }
        }
    }
}
