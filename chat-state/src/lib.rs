//! The pure state machine of a room-chat server.
//!
//! # How to drive it
//!
//! A [`Hub`] gets [`Event`]s and answers [`Action`]s; what is uncertain (time, ids, secrets, what
//! the log says) comes in with the events. The same events give the same actions.
//!
//! ```
//! use chat_proto::{Dialect, SessionId, Timestamp};
//! use chat_state::{Actions, Config, ConnId, Event, Hub, Identity, Mono, Now, Probe};
//!
//! let mut hub = Hub::new(Config::default());
//! let mut actions = Actions::new();
//! let now = Now { mono: Mono(0), wall: Timestamp(1_700_000_000_000) };
//! let conn = ConnId { slot: 0, generation: 0 };
//! let connected = Event::Connected {
//!     conn,
//!     session: SessionId::new("s3cret")?,
//!     dialect: Dialect::V1,
//!     identity: Identity::Guest { name: None },
//!     probe: Probe::Transport,
//!     peer: None,
//! };
//! hub.handle(now, connected, &mut actions);
//! while let Some(action) = actions.pop_front() {
//!     // Send frames, ask the log, close connections …
//! }
//! let call_again_at = hub.poll_timeout();
//! # assert!(call_again_at.is_some());
//! # Ok::<(), chat_proto::NameError>(())
//! ```
//!
//! The time of [`Hub::poll_timeout`] may be that of the last event: then there are messages for the
//! log. Whoever hands over everything that has come meanwhile before it calls
//! [`Hub::handle_timeout`] gets them as one batch for each room, and has one answer to wait for.
//!
//! # What is deliberately absent
//!
//! There is no IO, no clock, no randomness and no order that comes from hashing. Spelling (JSON,
//! WebSocket) belongs to `chat-proto`, sockets and logs to `chat-tokio`. The Hub never assigns an
//! entry its place: the log does.
//!
//! *Invariant:* an event that comes too late (for a connection that is gone, a room that was
//! forgotten, a question that was given up) changes nothing.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod client;
mod config;
mod crowd;
mod event;
mod grant;
mod hub;
mod identity;
mod ids;
mod live;
mod log;
mod operator;
mod peers;
mod presence;
mod rate;
mod recent;
mod room;
mod roster;
mod session;
mod timers;

pub use config::{Config, Peers, Times};
pub use event::{Action, Event, Identity, Probe, Recipients, Signal, SignalTo, Spender};
pub use grant::{
    AuthError, Grant, KeyId, ROLES_MAX, ROOM_PATTERNS_MAX, Revoke, RightsError, RoomPattern,
    RoomRights, TOKEN_ID_BYTES_MAX, TokenId,
};
pub use hub::{Actions, Hub, Stats};
pub use identity::guest;
pub use ids::{AddressKey, ConnId, HubId, MemberId, Mono, Now, Token};
pub use log::{
    AppendError, Appended, Draft, Keep, LogHead, LogPage, Outcome, ReadError, ReadRange,
};
pub use operator::{BANS_MAX, Order, RoomView, SessionView, Which, Whom};
pub use peers::signal::{Asked, Digest, DigestLine, Lost, RosterPart, Service, Span, Stamp};
pub use roster::Roster;
