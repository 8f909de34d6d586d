//! Where what is delivered goes: to whoever awaits it, else into the queue of events.
use std::collections::{BTreeMap, VecDeque};

use chat_state::client::{Delivery, Outcome, State, Ticket};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

/// Deliveries beyond the queue at which no more commands are taken. Since nothing is read from the
/// server either, what is delivered then comes from timers alone.
const BEYOND_MAX: usize = 4096;

pub(super) struct Outlet {
    events: mpsc::Sender<Delivery>,
    state: watch::Sender<State>,
    /// Those who await an answer. As many as the machine has tickets open.
    waiting: BTreeMap<Ticket, oneshot::Sender<Outcome>>,
    /// What did not fit into the queue.
    beyond: VecDeque<Delivery>,
    /// Nobody reads events any more.
    deaf: bool,
}

impl Outlet {
    pub(super) fn new(events: mpsc::Sender<Delivery>, state: watch::Sender<State>) -> Self {
        Self { events, state, waiting: BTreeMap::new(), beyond: VecDeque::new(), deaf: false }
    }

    /// Tells whether the application has to read before anything more is taken from the server.
    pub(super) fn is_full(&self) -> bool {
        !self.beyond.is_empty()
    }

    /// Tells whether commands, which may be answered at once, still have room.
    pub(super) fn takes_commands(&self) -> bool {
        self.beyond.len() < BEYOND_MAX
    }

    /// Hands the outcome of this ticket to whoever awaits it.
    pub(super) fn wait(&mut self, ticket: Ticket, answer: oneshot::Sender<Outcome>) {
        self.waiting.insert(ticket, answer);
    }

    pub(super) fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::State(state) => {
                self.state.send_replace(state.clone());
                self.push(Delivery::State(state));
            }
            Delivery::Settled { ticket, outcome } => match self.waiting.remove(&ticket) {
                // Whoever has stopped waiting does not want to know.
                Some(answer) => drop(answer.send(outcome)),
                None => self.push(Delivery::Settled { ticket, outcome }),
            },
            other => self.push(other),
        }
    }

    fn push(&mut self, delivery: Delivery) {
        if self.deaf {
            return;
        }
        if let (Delivery::State(_), Some(last @ Delivery::State(_))) =
            (&delivery, self.beyond.back_mut())
        {
            // A connection that comes and goes while nobody reads must not fill the memory.
            *last = delivery;
        } else if self.is_full() {
            self.beyond.push_back(delivery);
        } else {
            match self.events.try_send(delivery) {
                Ok(()) => {}
                Err(TrySendError::Full(delivery)) => self.beyond.push_back(delivery),
                Err(TrySendError::Closed(_)) => self.deaf = true,
            }
        }
    }

    /// Waits until the application has read something. Dropping it loses nothing.
    pub(super) async fn make_room(&mut self) {
        match self.events.reserve().await {
            Ok(permit) => {
                if let Some(delivery) = self.beyond.pop_front() {
                    permit.send(delivery);
                }
            }
            Err(_) => {
                self.deaf = true;
                self.beyond.clear();
            }
        }
    }

    /// Waits until all has gone into the queue, or nobody reads it.
    pub(super) async fn finish(mut self) {
        while self.is_full() {
            self.make_room().await;
        }
    }
}
