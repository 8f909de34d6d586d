//! The client's state machine: a session that continues over any number of connections.
//!
//! # How to drive it
//!
//! A [`Client`] takes [`Event`]s and returns [`Action`]s. It opens transports, joins rooms, and
//! resumes them after each reconnect. It repeats unanswered messages under the same key and
//! requests missing entries, so every message and every entry counts once.
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
//!         // Connect; then send `Event::Opened { link }` or `Event::Closed` …
//!     }
//! }
//! let call_again_at = client.poll_timeout();
//! # assert!(call_again_at.is_some());
//! # Ok::<(), chat_proto::NameError>(())
//! ```
//!
//! # Guarantees
//!
//! * Entries of a room are delivered once and in order, each after the one before, unless a
//!   [`Delivery::Lost`] or [`Delivery::Reset`] says otherwise. `Lost` names only entries that no
//!   longer exist: an empty page is not a loss.
//! * Each ticket is settled once. A message is sent under its key until it is acknowledged, refused
//!   permanently or expired. With a window of 1, a room's messages reach the log in the order in
//!   which they were queued.
//! * The Client is never stuck: unless it is idle or stopped, [`Client::poll_timeout`] has a time.
//! * Deadlines use the monotonic clock, so a wall clock that steps has no effect. The wall clock is
//!   read only when a message of an earlier process is restored.
//!
//! A key counts for one user. A guest whose session has ended gets another user id. Its unanswered
//! messages are then looked up in the room before they are sent again; a message that reaches the
//! log after that appears twice. A Client with a credential never sends a message as another user
//! than the one who queued it.
//!
//! # Files
//!
//! Every rule is an `impl Client` in a file of its own; the types below know none of the rules.
//!
//! | file | contents |
//! |---|---|
//! | `lifecycle`, `liveness` | opening, greeting, losing and probing the connection |
//! | `incoming` | frames and replies of the server |
//! | `membership`, `delivery`, `sending`, `querying` | rooms, entries, messages, queries |
//! | `scheduling` | which request is sent next |
//! | `machine` | the state that the rules share |
//! | `room`, `position`, `gap`, `outbox` | a room, its entries and its messages |
//! | `queries`, `requests`, `ready`, `timers` | what is open, and when to act |
//! | `connection`, `session`, `backoff` | the connection, and when to reconnect |
//! | `event`, `config` | the public types |
mod backoff;
mod config;
mod connection;
mod delivery;
mod event;
mod gap;
mod incoming;
mod lifecycle;
mod liveness;
mod machine;
mod membership;
mod outbox;
mod position;
mod queries;
mod querying;
mod ready;
mod requests;
mod room;
mod scheduling;
mod sending;
mod session;
mod timers;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use chat_proto::Resume;

pub use self::config::{Config, Times};
pub use self::event::{
    Action, Actions, Delivery, Event, LeftReason, LinkId, Outcome, Query, SavedMessage, State,
    StopReason, Ticket,
};
pub use self::machine::Client;

use self::connection::Connection;
use self::machine::Turn;
use self::outbox::{Draft, OutboxTotals};
use self::position::LogPosition;
use self::queries::Queries;
use self::ready::ReadyRooms;
use self::requests::Requests;
use self::room::{Intent, Room};
use self::session::Session;
use self::timers::{Timer, Timers};
use crate::ids::{Mono, Now};

impl Client {
    /// Makes an idle Client. It is in no rooms, except for those of [`Config::resume`], which it
    /// joins when it connects.
    #[must_use]
    pub fn new(mut config: Config) -> Self {
        let resume = config.resume.take();
        let session = Session::new(resume.as_ref());
        let mut rooms = BTreeMap::new();
        for (name, position) in resume.map(|resume| resume.rooms).unwrap_or_default() {
            let mut room = Room::new(name.clone());
            room.position = Some(LogPosition::new(position));
            rooms.insert(name, room);
        }
        Self {
            config,
            connection: Connection::default(),
            session,
            rooms,
            ready: ReadyRooms::default(),
            outbox: OutboxTotals::default(),
            queries: Queries::default(),
            requests: Requests::default(),
            rate_limited: None,
            timers: Timers::default(),
        }
    }

    /// Handles one event. Late events, and events of an earlier link, are ignored.
    ///
    /// `random` must be fresh for every call. It determines the delays, which spreads out many
    /// clients.
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
                self.send(ticket, &room, Draft { key, content, reply_to }, turn);
            }
            Event::Restore { ticket, message } => self.restore(ticket, *message, turn),
            Event::Query { ticket, query } => self.query(ticket, query, turn),
            Event::Typing { room, active } => self.typing(room, active, turn),
        }
        self.pump(turn);
    }

    /// Fires the timers that are due. Spurious calls are harmless.
    pub fn handle_timeout(&mut self, now: Now, random: u64, out: &mut Actions) {
        let turn = &mut Turn { now, random, out };
        self.expire(turn);
        // Timers that are set meanwhile wait for the next call, even if they are due.
        for _ in 0..self.timers.len() {
            let Some(timer) = self.timers.pop_due(now.mono) else { break };
            match timer {
                Timer::Phase => self.phase_due(turn),
                Timer::Liveness => self.liveness_due(turn),
                Timer::RateLimit => self.rate_limited = None,
                // `expire` has handled it above.
                Timer::Expiry => {}
                Timer::Queries => self.queries_due(turn),
                Timer::Request(request) => self.request_due(request, turn),
                Timer::Room(room) => self.touch(&room, turn),
            }
        }
        self.pump(turn);
    }

    /// Returns when to call [`Client::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// Returns the state of the connection.
    #[must_use]
    pub fn state(&self) -> State {
        self.connection.state()
    }

    /// Returns what a later process needs to resume the session ([`Config::resume`]): the positions
    /// of all rooms that the application is not leaving. `None` before the first `welcome` and
    /// after a stop.
    #[must_use]
    pub fn resume(&self) -> Option<Resume> {
        let stay = self.rooms.values().filter(|room| room.intent == Intent::Stay);
        let rooms =
            stay.filter_map(|room| Some((room.name.clone(), room.position.as_ref()?.position())));
        self.session.resume(rooms)
    }

    /// Returns the unsettled messages for a later process, which continues them with
    /// [`Event::Restore`]. The messages of one room are in their order.
    #[must_use]
    pub fn saved_messages(&self, now: Now) -> Vec<SavedMessage> {
        self.saved(now)
    }

    /// Returns the sizes of the Client's collections.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let positions = self.rooms.values().filter_map(|room| room.position.as_ref());
        Stats {
            rooms: self.rooms.len(),
            outbox_entries: self.outbox.entries,
            outbox_bytes: self.outbox.bytes,
            queries: self.queries.len(),
            requests: self.requests.len(),
            buffered: positions.map(LogPosition::buffered).sum(),
            timers: self.timers.len(),
        }
    }
}

/// The sizes of a Client's collections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rooms that the application has joined or is leaving.
    pub rooms: usize,
    /// Messages that are not settled.
    pub outbox_entries: usize,
    /// Bytes of their contents.
    pub outbox_bytes: usize,
    /// Queries that are not answered.
    pub queries: usize,
    /// Requests in flight.
    pub requests: usize,
    /// Entries that wait for missing ones.
    pub buffered: usize,
    /// Timers that are set.
    pub timers: usize,
}
