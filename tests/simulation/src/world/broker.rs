//! Carries signals between Hubs, or does not.
use std::collections::{BTreeMap, VecDeque};

use chat_state::{HubId, Lost, Signal};

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

/// What each Hub has lost, and has not been told of.
#[derive(Debug, Default)]
pub struct Losses(BTreeMap<usize, Lost>);

impl Losses {
    /// A signal does not get to a Hub.
    pub fn add(&mut self, to: usize, signal: &Signal) {
        let Lost::Rooms(rooms) = signal.loss() else { return drop(self.0.insert(to, Lost::All)) };
        let lost = self.0.entry(to).or_insert_with(|| Lost::Rooms(Vec::new()));
        if let Lost::Rooms(before) = lost {
            before.extend(rooms);
        }
    }

    /// Returns what a Hub has to be told of, as a broker tells it: nothing if nothing was lost.
    pub fn take(&mut self, hub: usize) -> Option<Lost> {
        self.0.remove(&hub).filter(|lost| *lost != Lost::Rooms(Vec::new()))
    }
}

/// What is on its way.
#[derive(Debug, Default)]
pub struct Broker {
    /// How it behaves.
    pub mood: BrokerMood,
    /// What was lost.
    pub losses: Losses,
    held: VecDeque<Carried>,
}

impl Broker {
    /// Takes a signal for these Hubs and returns what is to be delivered at once.
    pub fn publish(&mut self, from: HubId, to: Vec<usize>, signal: &Signal) -> Vec<Carried> {
        let carried = |to| Carried { to, from, signal: signal.clone() };
        let all: Vec<_> = to.into_iter().map(carried).collect();
        match self.mood {
            BrokerMood::Prompt => all,
            BrokerMood::Holds => {
                self.held.extend(all);
                Vec::new()
            }
            BrokerMood::Drops => {
                all.iter().for_each(|carried| self.losses.add(carried.to, signal));
                Vec::new()
            }
        }
    }

    /// Returns how many signals are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes one of the signals that are held.
    pub fn take(&mut self, n: usize) -> Option<Carried> {
        self.held.remove(n.checked_rem(self.held.len())?)
    }

    /// Loses one of the signals that are held.
    pub fn lose(&mut self, n: usize) {
        if let Some(Carried { to, signal, .. }) = self.take(n) {
            self.losses.add(to, &signal);
        }
    }

    /// Copies one of the signals that are held.
    #[must_use]
    pub fn copy(&self, n: usize) -> Option<Carried> {
        self.held.get(n.checked_rem(self.held.len())?).cloned()
    }
}
