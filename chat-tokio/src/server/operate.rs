//! What somebody who runs a server can see and do, over all of its workers.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use chat_proto::{CloseCode, RoomName};
use chat_state::{
    LogHead, LogPage, Order, ReadError, ReadRange, RoomView, SessionView, Which, Whom,
};

use super::Handle;
use crate::http::Ready;
use crate::worker::Look;

/// What a server has, and what it has done since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections, handshakes done.
    pub connections: u64,
    /// Sessions that have lost their connection and may come back.
    pub away: u64,
    /// Listed rooms that have members.
    pub rooms: u64,
    /// Memberships: the sum of the members of all these rooms.
    pub members: u64,
    /// Messages that the log has taken.
    pub messages: u64,
    /// Messages that were put in members' outboxes, one for each member.
    pub deliveries: u64,
    /// Connections that the server has closed, by the number of the close code.
    pub closes: BTreeMap<u16, u64>,
    /// What became of the events that a backend is told, if one is.
    #[cfg(feature = "webhooks")]
    pub webhooks: Option<crate::webhooks::WebhookCounts>,
}

/// A place in the list of sessions. As text: `worker.slot`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    worker: usize,
    slot: usize,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.worker, self.slot)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('.').and_then(|(worker, slot)| {
            Some(Self { worker: worker.parse().ok()?, slot: slot.parse().ok()? })
        });
        parts.ok_or_else(|| "a place that an earlier answer gave".to_owned())
    }
}

impl Handle {
    /// Returns what the server has, and what it has done since its start.
    pub async fn totals(&self) -> Totals {
        let mut totals = Totals { messages: self.shared.published.get(), ..Totals::default() };
        let mut rooms = BTreeSet::new();
        for worker in &self.shared.handles {
            let Some(seen) = worker.ask(Look::Counts).await else { continue };
            totals.connections += seen.connections as u64;
            totals.away += seen.away as u64;
            totals.members += seen.members;
            totals.messages += seen.messages;
            totals.deliveries += seen.deliveries;
            for (code, count) in seen.closes {
                *totals.closes.entry(code.number()).or_default() += count;
            }
            rooms.extend(seen.rooms);
        }
        totals.rooms = rooms.len() as u64;
        #[cfg(feature = "webhooks")]
        {
            totals.webhooks = self.shared.hooks.as_ref().map(crate::webhooks::Hooks::counts);
        }
        totals
    }

    /// Returns the rooms that somebody is in, after a name, in the order of their names: at most
    /// `limit`. Inboxes and the server's own rooms are not listed.
    pub async fn rooms(&self, after: Option<&RoomName>, limit: usize) -> Vec<RoomView> {
        let mut rooms = BTreeMap::new();
        for worker in &self.shared.handles {
            let look = |answer| Look::Rooms(after.cloned(), limit, answer);
            for room in worker.ask(look).await.unwrap_or_default() {
                add(&mut rooms, room);
            }
        }
        rooms.into_values().take(limit).collect()
    }

    /// Returns what there is of a room; `None` if nobody is in it.
    pub async fn room(&self, room: &RoomName) -> Option<RoomView> {
        let mut rooms = BTreeMap::new();
        for worker in &self.shared.handles {
            if let Some(Some(room)) = worker.ask(|answer| Look::Room(room.clone(), answer)).await {
                add(&mut rooms, room);
            }
        }
        rooms.into_values().next()
    }

    /// Returns sessions that have a connection, from a place on and at most `limit`, and the place
    /// to go on from; `None` at the end. Who comes or goes meanwhile may be missed.
    pub async fn sessions(
        &self,
        which: &Which,
        from: Cursor,
        limit: usize,
    ) -> (Vec<SessionView>, Option<Cursor>) {
        let (mut all, mut from) = (Vec::new(), from);
        while let Some(worker) = self.shared.handles.get(from.worker) {
            if all.len() >= limit {
                return (all, Some(from));
            }
            let (slot, left) = (from.slot, limit - all.len());
            let look = |answer| Look::Sessions(which.clone(), slot, left, answer);
            let (some, next) = worker.ask(look).await.unwrap_or_default();
            all.extend(some);
            from = match next {
                Some(slot) => Cursor { slot, ..from },
                None => Cursor { worker: from.worker + 1, slot: 0 },
            };
        }
        (all, None)
    }

    /// Reads the ends of a room's log.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn head(&self, room: &RoomName) -> Result<LogHead, ReadError> {
        self.shared.log.head(room.clone()).await
    }

    /// Reads a range of a room's log.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn read(&self, room: &RoomName, range: ReadRange) -> Result<LogPage, ReadError> {
        self.shared.log.read(room.clone(), range).await
    }

    /// Takes sessions out of a room, see [`Order::Kick`].
    pub async fn kick(&self, room: &RoomName, whom: &Whom) {
        self.order(&Order::Kick { room: room.clone(), whom: whom.clone() }).await;
    }

    /// Closes connections, see [`Order::Close`].
    pub async fn close(&self, whom: &Whom, code: CloseCode) {
        self.order(&Order::Close { whom: whom.clone(), code }).await;
    }

    /// Asks whoever runs the server to [shut it down](super::Server::shutdown); from now on it
    /// says that it is not ready.
    pub fn ask_drain(&self) {
        self.shared.readiness.set(Ready::Draining);
        self.shared.drain.send_replace(true);
    }

    /// Returns the time on the wall.
    #[cfg(feature = "api")]
    pub(crate) fn now(&self) -> chat_proto::Timestamp {
        self.shared.clock.now().wall
    }

    /// Returns how long the server has run, in milliseconds.
    #[cfg(feature = "api")]
    pub(crate) fn uptime_ms(&self) -> u64 {
        self.shared.clock.now().mono.0
    }

    async fn order(&self, order: &Order) {
        for worker in &self.shared.handles {
            worker.operate(order.clone()).await;
        }
    }
}

/// Adds one worker's part of a room.
fn add(rooms: &mut BTreeMap<RoomName, RoomView>, part: RoomView) {
    let Some(room) = rooms.get_mut(&part.room) else {
        rooms.insert(part.room.clone(), part);
        return;
    };
    room.members += part.members;
    // The one that has seen more of the log.
    if let Some((_, seq)) = &part.position
        && room.position.as_ref().is_none_or(|(_, known)| known < seq)
    {
        room.position = part.position;
    }
}
