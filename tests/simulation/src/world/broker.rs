//! Carries signals between Hubs, or does not.
use std::collections::VecDeque;

use chat_state::{HubId, Signal};

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

/// What is on its way.
#[derive(Debug, Default)]
pub struct Broker {
    /// How it behaves.
    pub mood: BrokerMood,
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
