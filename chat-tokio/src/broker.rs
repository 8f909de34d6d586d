//! Carries signals between Hubs.
//!
//! *A hint, never the truth.* A signal may be lost, repeated, delayed or reordered. What it says is
//! in the log or is said again, and a Hub that hears of losses asks for what may be missing.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chat_proto::RoomName;
use chat_state::{HubId, Lost, Signal, SignalTo};

/// Carries signals between Hubs. It never waits and never fails. What it can't carry is lost, and
/// it reports that with [`SignalSink::lost`] as soon as it can.
pub trait Broker: Send + Sync + 'static {
    /// Registers a Hub, whose signals go into this sink. No other Hub may use the id: a server
    /// draws the ids of its workers at random, and several servers may share a broker.
    fn connect(&self, hub: HubId, sink: Arc<dyn SignalSink>);

    /// Removes a Hub, with its sink and the rooms that it follows. An unknown Hub is ignored.
    fn disconnect(&self, hub: HubId);

    /// Passes a room's signals on to the Hub from now on.
    fn follow(&self, hub: HubId, room: &RoomName);

    /// Stops passing them on.
    fn unfollow(&self, hub: HubId, room: &RoomName);

    /// Passes a signal on to all that it is meant for, except its sender.
    fn publish(&self, from: HubId, to: &SignalTo, signal: Signal);
}

/// Where a Hub's signals go.
pub trait SignalSink: Send + Sync + 'static {
    /// Takes a signal, or drops it and remembers what was lost.
    fn signal(&self, from: HubId, signal: Signal);

    /// Takes a report that signals may have been lost. A broker that knows which rooms they were
    /// about names these: a Hub recovers all of its rooms otherwise.
    fn lost(&self, what: Lost);
}

/// Carries signals between the workers of one process. A commit crosses once per worker that has
/// members in its room, as a few reference counts.
#[derive(Default)]
pub struct LocalBroker {
    hubs: RwLock<Hubs>,
}

#[derive(Default)]
struct Hubs {
    connected: BTreeMap<HubId, Connected>,
    /// Bounded by the Hubs' own limits on rooms.
    followers: BTreeMap<RoomName, Vec<HubId>>,
}

struct Connected {
    sink: Arc<dyn SignalSink>,
    follows: BTreeSet<RoomName>,
}

impl Hubs {
    fn unfollow(&mut self, hub: HubId, room: &RoomName) {
        let Some(followers) = self.followers.get_mut(room) else { return };
        followers.retain(|follower| *follower != hub);
        if followers.is_empty() {
            self.followers.remove(room);
        }
    }
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
        let connected = Connected { sink, follows: BTreeSet::new() };
        let before = self.write().connected.insert(hub, connected);
        assert!(before.is_none(), "two Hubs have the id {hub:?}");
    }

    fn disconnect(&self, hub: HubId) {
        let mut hubs = self.write();
        let Some(connected) = hubs.connected.remove(&hub) else { return };
        connected.follows.iter().for_each(|room| hubs.unfollow(hub, room));
    }

    fn follow(&self, hub: HubId, room: &RoomName) {
        let mut hubs = self.write();
        let Some(connected) = hubs.connected.get_mut(&hub) else { return };
        if connected.follows.insert(room.clone()) {
            hubs.followers.entry(room.clone()).or_default().push(hub);
        }
    }

    fn unfollow(&self, hub: HubId, room: &RoomName) {
        let mut hubs = self.write();
        if hubs.connected.get_mut(&hub).is_some_and(|connected| connected.follows.remove(room)) {
            hubs.unfollow(hub, room);
        }
    }

    fn publish(&self, from: HubId, to: &SignalTo, signal: Signal) {
        let hubs = self.read();
        let send = |hub: &HubId| {
            if *hub != from
                && let Some(connected) = hubs.connected.get(hub)
            {
                connected.sink.signal(from, signal.clone());
            }
        };
        match to {
            SignalTo::Hub(hub) => send(hub),
            SignalTo::Everyone => hubs.connected.keys().for_each(send),
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
            .field("hubs", &hubs.connected.len())
            .field("rooms", &hubs.followers.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Sink(Mutex<Vec<HubId>>);

    impl SignalSink for Sink {
        fn signal(&self, from: HubId, _: Signal) {
            self.0.lock().expect("nobody panics").push(from);
        }

        fn lost(&self, _: Lost) {}
    }

    impl Sink {
        fn take(&self) -> Vec<HubId> {
            std::mem::take(&mut *self.0.lock().expect("nobody panics"))
        }
    }

    fn hub(node: u64) -> HubId {
        HubId { node, incarnation: 1 }
    }

    fn ask() -> Signal {
        Signal::AskRosters { rooms: Vec::new() }
    }

    #[test]
    fn a_hub_gets_what_is_meant_for_it_until_it_is_disconnected() {
        let broker = LocalBroker::default();
        let sinks = [0, 1, 2].map(|node| {
            let sink = Arc::new(Sink::default());
            broker.connect(hub(node), sink.clone());
            sink
        });
        let room = RoomName::new("lobby").expect("a name");
        broker.follow(hub(1), &room);
        broker.follow(hub(1), &room);
        let followers = SignalTo::Followers(room.clone());
        broker.publish(hub(0), &followers, ask());
        broker.publish(hub(2), &SignalTo::Everyone, ask());
        broker.publish(hub(1), &SignalTo::Hub(hub(2)), ask());
        let taken = sinks.each_ref().map(|sink| sink.take());
        assert_eq!(taken, [vec![hub(2)], vec![hub(0), hub(2)], vec![hub(1)]]);
        broker.disconnect(hub(1));
        broker.disconnect(hub(1));
        broker.publish(hub(0), &followers, ask());
        broker.publish(hub(0), &SignalTo::Everyone, ask());
        let taken = sinks.each_ref().map(|sink| sink.take());
        assert_eq!(taken, [vec![], vec![], vec![hub(0)]]);
        assert!(broker.read().followers.is_empty(), "nothing of it is left");
        // What it still wants is not kept for it.
        broker.follow(hub(1), &room);
        broker.unfollow(hub(1), &room);
        assert!(broker.read().followers.is_empty());
    }

    #[test]
    #[should_panic(expected = "two Hubs have the id")]
    fn two_hubs_with_one_id_are_a_mistake() {
        let broker = LocalBroker::default();
        (0..2).for_each(|_| broker.connect(hub(1), Arc::new(Sink::default())));
    }
}
