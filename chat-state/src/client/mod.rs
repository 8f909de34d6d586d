//! The client's state machine: a session that goes on over any number of connections.
//!
//! # How to drive it
//!
//! A [`Client`] gets [`Event`]s and answers [`Action`]s. It opens transports, joins the rooms that
//! the application wants, and resumes them after each reconnect; it repeats what was not answered
//! under the same key, and pages for what is missing, so that every message and every entry counts
//! once.
//!
//! ```
//! use chat_proto::{RoomName, Timestamp};
//! use chat_state::client::{Action, Actions, Client, Config, Event};
//! use chat_state::{Mono, Now};
//!
//! let mut client = Client::new(Config::default());
//! let mut actions = Actions::new();
//! let now = Now { mono: Mono(0), wall: Timestamp(1_700_000_000_000) };
//! client.handle(now, 7, Event::Join { room: RoomName::new("lobby")? }, &mut actions);
//! client.handle(now, 8, Event::Start, &mut actions);
//! while let Some(action) = actions.pop_front() {
//!     if let Action::Open { link } = action {
//!         // Connect; then `Event::Opened { link }`, or `Event::Closed` …
//!     }
//! }
//! let call_again_at = client.poll_timeout();
//! # assert!(call_again_at.is_some());
//! # Ok::<(), chat_proto::NameError>(())
//! ```
//!
//! # What it promises
//!
//! * Of each room, entries are delivered once and in order, each the one after the last, unless a
//!   [`Delivery::Lost`] or [`Delivery::Reset`] says otherwise.
//! * Each ticket is settled once. A message is sent under its key until it is acknowledged, refused
//!   for good or too old; with a window of 1, a room's messages reach the log in the order in which
//!   they were queued.
//! * It is never stuck: it is idle or stopped, or [`Client::poll_timeout`] has a time.
//!
//! Keys count for one user. A guest whose session is gone gets another user id: its message is then
//! looked for in the room before it is sent again, but one that reaches the log after that look
//! stands there twice.
//!
//! # Files
//!
//! `connection` opens, greets, loses and comes back (`backoff` decides when), `liveness` notices
//! the dead, `requests` ties replies to what was asked, `membership` joins and leaves (`room` decides
//! what is next), `delivery` lets entries through (`position` keeps them in order, `gap` decides when to
//! page for missing ones), `sending` takes messages to the log (`outbox` keeps their order),
//! `queries` answers the application's questions.
mod backoff;
mod config;
mod connection;
mod delivery;
mod event;
mod gap;
mod liveness;
mod membership;
mod outbox;
mod position;
mod queries;
mod requests;
mod room;
mod sending;
mod session;
mod timers;

use alloc::collections::{BTreeMap, VecDeque};

use chat_proto::{Resume, RoomName};

pub use self::config::{Config, Times};
pub use self::event::{
    Action, Ask, Delivery, Event, LeftReason, LinkId, Outcome, State, StopReason, Ticket,
};

use self::connection::Connection;
use self::membership::Ready;
use self::outbox::Totals;
use self::position::{Bounds, Place};
use self::queries::Asks;
use self::requests::Requests;
use self::room::{Intent, Room};
use self::session::Session;
use self::timers::{Alarms, Timer};
use crate::ids::{Mono, Now};

/// What a Client asks for, first in, first out.
pub type Actions = VecDeque<Action>;

/// The client-side state machine. It never waits, reads no clock and draws no random number.
///
/// *Invariant:* an event of a link that is not the present one changes nothing.
#[derive(Debug)]
pub struct Client {
    config: Config,
    connection: Connection,
    session: Session,
    rooms: BTreeMap<RoomName, Room>,
    /// Rooms that may have something to ask for.
    ready: Ready,
    outbox: Totals,
    asks: Asks,
    requests: Requests,
    /// Over the budget until then: nothing is asked for.
    quiet: Option<Mono>,
    timers: Alarms,
}

/// One call from outside: what it brings, and what comes of it.
struct Turn<'a> {
    now: Now,
    random: u64,
    out: &'a mut Actions,
}

impl Turn<'_> {
    fn deliver(&mut self, delivery: Delivery) {
        self.out.push_back(Action::Deliver(delivery));
    }

    fn settle(&mut self, ticket: Ticket, outcome: Outcome) {
        self.deliver(Delivery::Settled { ticket, outcome });
    }
}

impl Client {
    /// Makes a Client that is idle. It is in no room, or wants to be in those of
    /// [`Config::resume`].
    #[must_use]
    pub fn new(mut config: Config) -> Self {
        let resume = config.resume.take();
        let mut rooms = BTreeMap::new();
        let session = resume.map_or_else(
            || Session::new(None, 0),
            |resume| {
                for (name, position) in resume.rooms {
                    let mut room = Room::new(name.clone());
                    room.place = Some(Place::new(position));
                    rooms.insert(name, room);
                }
                Session::new(Some(resume.session), resume.attempt)
            },
        );
        Self {
            config,
            connection: Connection::default(),
            session,
            rooms,
            ready: Ready::default(),
            outbox: Totals::default(),
            asks: Asks::default(),
            requests: Requests::default(),
            quiet: None,
            timers: Alarms::default(),
        }
    }

    /// Handles one event. Total: what comes too late, or from a link that is gone, changes nothing.
    ///
    /// `random` is fresh for every call; delays are drawn with it, so that a crowd of clients
    /// spreads out.
    pub fn handle(&mut self, now: Now, random: u64, event: Event, out: &mut Actions) {
        let turn = &mut Turn { now, random, out };
        self.expire(turn);
        match event {
            Event::Start => self.start(turn),
            Event::Stop => self.stop(turn),
            Event::Opened { link } => self.opened(link, turn),
            Event::Received { link, frame } => self.received(link, frame, turn),
            Event::Malformed { link } | Event::Alive { link } => self.heard(link, turn),
            Event::Closed { link, code } => self.closed(link, code, turn),
            Event::Wake => self.wake(turn),
            Event::Token { token } => self.token(token, turn),
            Event::Join { room } => self.join(room, turn),
            Event::Leave { room } => self.leave(room, turn),
            Event::Send { ticket, room, key, content, reply_to } => {
                self.send(ticket, &room, (key, content, reply_to), turn);
            }
            Event::Ask { ticket, ask } => self.ask(ticket, ask, turn),
            Event::Typing { room, active } => self.typing(room, active, turn),
        }
        self.pump(turn);
    }

    /// Fires the timers that are due. A call too many changes nothing.
    pub fn handle_timeout(&mut self, now: Now, random: u64, out: &mut Actions) {
        let turn = &mut Turn { now, random, out };
        self.expire(turn);
        // What is armed meanwhile waits for the next call, even if no time is left.
        for _ in 0..self.timers.len() {
            let Some(timer) = self.timers.pop_due(now.mono) else { break };
            match timer {
                Timer::Phase => self.phase_due(turn),
                Timer::Heard => self.heard_due(turn),
                Timer::Quiet => self.quiet = None,
                // Looked after above.
                Timer::Expiry => {}
                Timer::Asks => self.asks_due(turn),
                Timer::Request(request) => self.request_due(request, turn),
                Timer::Room(room) => self.touch(&room, turn),
            }
        }
        self.pump(turn);
    }

    /// Returns when [`Client::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// Returns how the connection is.
    #[must_use]
    pub fn state(&self) -> State {
        self.connection.state()
    }

    /// Returns what a later process needs to go on with the session, see [`Config::resume`]: how
    /// far the rooms were delivered that are not being left. `None` before the first `welcome` and
    /// after a stop.
    #[must_use]
    pub fn resume(&self) -> Option<Resume> {
        let stay = self.rooms.values().filter(|room| room.intent == Intent::Stay);
        let rooms =
            stay.filter_map(|room| Some((room.name.clone(), room.place.as_ref()?.position())));
        self.session.resume(rooms)
    }

    /// Returns what the Client holds, for metrics and for tests that want it empty.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            rooms: self.rooms.len(),
            outbox_entries: self.outbox.entries,
            outbox_bytes: self.outbox.bytes,
            asks: self.asks.len(),
            requests: self.requests.len(),
            held: self.rooms.values().filter_map(|room| Some(room.place.as_ref()?.held())).sum(),
            timers: self.timers.len(),
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            entries: self.config.held_entries as usize,
            bytes: self.config.held_bytes as usize,
        }
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
