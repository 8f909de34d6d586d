//! The client's state machine.
mod config;
mod event;

use alloc::collections::VecDeque;

use chat_proto::Resume;

pub use self::config::{Config, Times};
pub use self::event::{
    Action, Ask, Delivery, Event, LeftReason, LinkId, Outcome, State, StopReason, Ticket,
};
use crate::ids::{Mono, Now};

/// What a Client asks for, first in, first out.
pub type Actions = VecDeque<Action>;

/// The client-side state machine: it keeps a session going over any number of connections.
#[derive(Debug)]
pub struct Client {
    config: Config,
}

impl Client {
    /// Makes a Client that is idle.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// Handles one event. Total: what comes too late changes nothing.
    ///
    /// `random` is fresh for every call; delays are drawn with it, so that a crowd of clients
    /// spreads out.
    pub fn handle(&mut self, now: Now, random: u64, event: Event, out: &mut Actions) {
        let _ = (&self.config, now, random, event, out);
    }

    /// Fires the timers that are due. A call too many changes nothing.
    pub fn handle_timeout(&mut self, now: Now, random: u64, out: &mut Actions) {
        let _ = (&self.config, now, random, out);
    }

    /// Returns when [`Client::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    /// Returns how the connection is.
    #[must_use]
    pub fn state(&self) -> State {
        State::Idle
    }

    /// Returns what a later process needs to go on with the session, see [`Config::resume`].
    #[must_use]
    pub fn resume(&self) -> Option<Resume> {
        self.config.resume.clone()
    }

    /// Returns what the Client holds, for metrics and for tests that want it empty.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}

/// How much a Client holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rooms that are wanted, or being left.
    pub rooms: usize,
    /// Sends that wait or are in flight.
    pub outbox_entries: usize,
    /// Bytes of their contents.
    pub outbox_bytes: usize,
    /// Questions without an answer yet.
    pub asks: usize,
    /// Requests whose reply is due.
    pub requests: usize,
    /// Entries that are held until those before them have come.
    pub held: usize,
    /// Timers that are armed.
    pub timers: usize,
}
