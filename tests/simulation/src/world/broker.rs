//! Carries signals between Hubs, or does not.
use std::collections::{BTreeSet, VecDeque};

use chat_proto::RoomName;
use chat_state::{HubId, Signal, SignalTo};

/// How the broker behaves towards the next signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BrokerMood {
    /// Delivers at once.
    #[default]
    Prompt,
    /// Keeps them until they are delivered, dropped or repeated one by one.
    Holds,
    /// Loses them.
    Drops,
}

/// A signal on its way.
#[derive(Clone, Debug)]
pub struct Carried {
    /// To which Hub.
    pub to: usize,
    /// From which Hub.
    pub from: HubId,
    /// What.
    pub signal: Signal,
}

/// Who follows what, and what is on its way.
#[derive(Debug, Default)]
pub struct Broker {
    /// How it behaves.
    pub mood: BrokerMood,
    follows: BTreeSet<(RoomName, usize)>,
    held: VecDeque<Carried>,
}

impl Broker {
    /// A Hub wants a room's signals.
    pub fn follow(&mut self, hub: usize, room: RoomName) {
        assert!(self.follows.insert((room, hub)), "a Hub follows a room once");
    }

    /// A Hub wants them no more.
    pub fn unfollow(&mut self, hub: usize, room: RoomName) {
        assert!(self.follows.remove(&(room, hub)), "only what is followed can be unfollowed");
    }

    /// Tells whether a Hub follows anything.
    #[must_use]
    pub fn follows_nothing(&self, hub: usize) -> bool {
        !self.follows.iter().any(|(_, follower)| *follower == hub)
    }

    /// Takes a signal and returns what is to be delivered at once.
    pub fn publish(
        &mut self,
        hubs: usize,
        from: usize,
        (to, signal): (&SignalTo, &Signal),
    ) -> Vec<Carried> {
        let wanted = |hub: usize| match to {
            SignalTo::Followers(room) => self.follows.contains(&(room.clone(), hub)),
            SignalTo::Hub(HubId { node, .. }) => *node == hub as u64,
            SignalTo::Everyone => true,
        };
        let from_id = HubId { node: from as u64, incarnation: 1 };
        let carried = |to| Carried { to, from: from_id, signal: signal.clone() };
        let all: Vec<_> =
            (0..hubs).filter(|hub| *hub != from && wanted(*hub)).map(carried).collect();
        match self.mood {
            BrokerMood::Prompt => all,
            BrokerMood::Holds => {
                self.held.extend(all);
                Vec::new()
            }
            BrokerMood::Drops => Vec::new(),
        }
    }

    /// Takes one of the signals that are held.
    pub fn take(&mut self, n: usize) -> Option<Carried> {
        self.held.remove(n.checked_rem(self.held.len())?)
    }

    /// Copies one of the signals that are held.
    #[must_use]
    pub fn copy(&self, n: usize) -> Option<Carried> {
        self.held.get(n.checked_rem(self.held.len())?).cloned()
    }
}
