//! A Client and what its driver knows of it.
use std::collections::BTreeMap;

use chat_proto::Resume;
use chat_state::client::{
    Action, Actions, Client, Config, Delivery, Event, LinkId, State, Stats, Ticket,
};
use chat_state::{Mono, Now};

/// The largest number of requests in flight.
const REQUESTS_MAX: usize = 32;
/// So many calls at the same time are a loop. A timer that another timer has armed waits for the
/// next call, even if it is due.
const CALLS_AT_ONCE: u32 = 10;
/// The largest number of timers that belong neither to a room nor to a request.
const TIMERS_MAX: usize = 8;

/// A Client with its present link and its tickets. Everything that goes in or out is checked.
#[derive(Debug)]
pub struct ClientAdapter {
    client: Client,
    bounds: Config,
    /// The present link, and whether it is open.
    link: Option<(LinkId, bool)>,
    /// The last link that was asked for.
    newest: Option<LinkId>,
    state: State,
    /// When timers were fired, and how often at that time.
    fired: (Mono, u32),
    /// The tickets that are not settled; true for those of messages.
    open: BTreeMap<Ticket, bool>,
}

impl ClientAdapter {
    /// Makes a Client that is not started.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let bounds = Config { resume: None, ..config.clone() };
        Self {
            client: Client::new(config),
            bounds,
            link: None,
            newest: None,
            state: State::Idle,
            fired: (Mono(0), 0),
            open: BTreeMap::new(),
        }
    }

    /// Returns the state of the connection.
    #[must_use]
    pub fn state(&self) -> State {
        self.client.state()
    }

    /// Returns what the Client holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.client.stats()
    }

    /// Returns what another process needs to resume the session.
    #[must_use]
    pub fn resume(&self) -> Option<Resume> {
        self.client.resume()
    }

    /// Returns when the next timer is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.client.poll_timeout()
    }

    /// Returns how many tickets are not settled.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.open.len()
    }

    /// Handles an event.
    pub fn handle(&mut self, now: Now, random: u64, event: Event) -> Actions {
        match &event {
            Event::Opened { link } => {
                if let Some((present, is_open)) = &mut self.link
                    && present == link
                {
                    *is_open = true;
                }
            }
            Event::Closed { link, .. } => _ = self.link.take_if(|(present, _)| present == link),
            Event::Send { ticket, .. } | Event::Restore { ticket, .. } => {
                assert!(self.open.insert(*ticket, true).is_none(), "{ticket:?} is in use");
            }
            Event::Query { ticket, .. } => {
                assert!(self.open.insert(*ticket, false).is_none(), "{ticket:?} is in use");
            }
            _ => {}
        }
        let mut actions = Actions::new();
        self.client.handle(now, random, event, &mut actions);
        actions.iter().for_each(|action| self.check(action));
        self.is_within_bounds();
        actions
    }

    /// Fires the timers that are due.
    pub fn fire(&mut self, now: Now, random: u64) -> Actions {
        let mut actions = Actions::new();
        self.client.handle_timeout(now, random, &mut actions);
        if self.poll_timeout().is_none_or(|at| at > now.mono) {
            let mut spurious = Actions::new();
            self.client.handle_timeout(now, random, &mut spurious);
            assert!(spurious.is_empty(), "spurious call: {spurious:?}");
        }
        let (at, times) = self.fired;
        self.fired = (now.mono, if at == now.mono { times + 1 } else { 1 });
        assert!(self.fired.1 < CALLS_AT_ONCE, "a timer fires again and again at the same time");
        actions.iter().for_each(|action| self.check(action));
        self.is_within_bounds();
        actions
    }

    fn check(&mut self, action: &Action) {
        match action {
            Action::Open { link } => {
                assert!(self.link.is_none(), "one link at a time");
                assert!(self.newest.is_none_or(|newest| newest < *link), "ids of links increase");
                (self.link, self.newest) = (Some((*link, false)), Some(*link));
            }
            Action::Transmit { link, .. } => {
                assert_eq!(self.link, Some((*link, true)), "requests need an open link");
            }
            Action::Close { link, .. } => {
                let closed = self.link.take().map(|(link, _)| link);
                assert_eq!(closed, Some(*link), "only the present link is closed");
            }
            Action::Deliver(Delivery::State(state)) => {
                assert_ne!(*state, self.state, "a state is delivered when it changes");
                self.state = state.clone();
            }
            Action::Deliver(Delivery::Settled { ticket, .. }) => {
                self.open.remove(ticket).expect("a ticket is settled once");
            }
            Action::NeedToken | Action::Deliver(_) => {}
        }
    }

    fn is_within_bounds(&self) {
        let (stats, most) = (self.stats(), &self.bounds);
        let said = self.open.values().filter(|is_message| **is_message).count();
        assert_eq!((stats.outbox_entries, stats.queries), (said, self.open.len() - said));
        assert!(stats.rooms <= most.rooms as usize, "{stats:?}");
        assert!(stats.outbox_entries <= most.outbox_entries as usize, "{stats:?}");
        assert!(stats.outbox_bytes <= most.outbox_bytes as usize, "{stats:?}");
        assert!(stats.queries <= most.queries as usize, "{stats:?}");
        assert!(stats.buffered <= most.buffered_entries as usize * stats.rooms, "{stats:?}");
        assert!(stats.requests <= REQUESTS_MAX, "{stats:?}");
        assert!(stats.timers <= TIMERS_MAX + stats.rooms + stats.requests, "{stats:?}");
        let rests = matches!(self.state(), State::Idle | State::Stopped { .. });
        assert!(rests || self.poll_timeout().is_some(), "a Client that works has a deadline");
    }
}
