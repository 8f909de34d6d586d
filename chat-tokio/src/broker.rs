//! What carries signals between Hubs.
//!
//! *A hint, never the truth.* A signal may be lost, repeated, delayed or reordered: what it says is
//! in the log, and a Hub that hears that signals were lost asks the log.
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chat_proto::RoomName;
use chat_state::{HubId, Signal, SignalTo};

/// Carries signals between Hubs. It never waits and never fails: what it can't carry is lost, and
/// it says so with [`SignalSink::lost`] as soon as it can.
pub trait Broker: Send + Sync + 'static {
    /// A Hub has come; its signals go into this sink.
    fn connect(&self, hub: HubId, sink: Arc<dyn SignalSink>);

    /// From now on the Hub gets this room's signals.
    fn follow(&self, hub: HubId, room: &RoomName);

    /// From now on it does not.
    fn unfollow(&self, hub: HubId, room: &RoomName);

    /// Passes a signal on, to all that it is meant for except the one that sends it.
    fn publish(&self, from: HubId, to: &SignalTo, signal: Signal);
}

/// Where a Hub's signals go.
pub trait SignalSink: Send + Sync + 'static {
    /// Takes a signal, or drops it and remembers that.
    fn signal(&self, from: HubId, signal: Signal);

    /// Signals may have been lost on the way.
    fn lost(&self);
}

/// Carries signals between the workers of one process. A commit crosses once per worker that has
/// members in its room, as a few reference counts.
#[derive(Default)]
pub struct LocalBroker {
    hubs: RwLock<Hubs>,
}

#[derive(Default)]
struct Hubs {
    sinks: BTreeMap<HubId, Arc<dyn SignalSink>>,
    /// Bounded by the Hubs' own limits on rooms.
    followers: BTreeMap<RoomName, Vec<HubId>>,
}

impl LocalBroker {
    fn read(&self) -> RwLockReadGuard<'_, Hubs> {
        self.hubs.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Hubs> {
        self.hubs.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker for LocalBroker {
    fn connect(&self, hub: HubId, sink: Arc<dyn SignalSink>) {
        self.write().sinks.insert(hub, sink);
    }

    fn follow(&self, hub: HubId, room: &RoomName) {
        let mut hubs = self.write();
        let followers = hubs.followers.entry(room.clone()).or_default();
        if !followers.contains(&hub) {
            followers.push(hub);
        }
    }

    fn unfollow(&self, hub: HubId, room: &RoomName) {
        let mut hubs = self.write();
        let Some(followers) = hubs.followers.get_mut(room) else { return };
        followers.retain(|follower| *follower != hub);
        if followers.is_empty() {
            hubs.followers.remove(room);
        }
    }

    fn publish(&self, from: HubId, to: &SignalTo, signal: Signal) {
        let hubs = self.read();
        let send = |hub: &HubId| {
            if *hub != from
                && let Some(sink) = hubs.sinks.get(hub)
            {
                sink.signal(from, signal.clone());
            }
        };
        match to {
            SignalTo::Hub(hub) => send(hub),
            SignalTo::Everyone => hubs.sinks.keys().for_each(send),
            SignalTo::Followers(room) => {
                hubs.followers.get(room).into_iter().flatten().for_each(send);
            }
        }
    }
}

impl std::fmt::Debug for LocalBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hubs = self.read();
        f.debug_struct("LocalBroker")
            .field("hubs", &hubs.sinks.len())
            .field("rooms", &hubs.followers.len())
            .finish()
    }
}
