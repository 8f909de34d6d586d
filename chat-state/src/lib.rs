//! The pure state machine of a room-chat server.
//!
//! # How to drive it
//!
//! A [`Hub`] takes [`Event`]s and produces [`Action`]s. Everything that is not deterministic (time,
//! secrets, the answers of the log) comes in with the events: the same events produce the same
//! actions.
//!
//! ```
//! use chat_proto::{Dialect, LeaveReason, SessionId, Timestamp};
//! use chat_state::{Action, Actions, Config, Connect, Event, Hub, Identity, Mono, Now, Probe};
//!
//! let mut hub = Hub::new(Config::default());
//! let mut actions = Actions::new();
//! let now = Now { mono: Mono(0), wall: Timestamp(1_700_000_000_000) };
//!
//! // A transport is ready. The Hub issues the id; your table may use `conn.slot` as its index.
//! let connect = Connect {
//!     session: SessionId::new("s3cret")?,
//!     dialect: Dialect::V1,
//!     identity: Identity::Guest { name: None },
//!     probe: Probe::Transport,
//!     peer: None,
//! };
//! let conn = hub.connect(now, connect, &mut actions);
//!
//! // A turn: hand over all events that are there, then end the turn.
//! hub.handle(now, Event::Alive { conn }, &mut actions)?;
//! if hub.poll_timeout().is_some_and(|due| due <= now.mono) {
//!     hub.handle_timeout(now, &mut actions);
//! }
//! hub.end_turn(now, &mut actions);
//! while let Some(action) = actions.pop_front() {
//!     match action {
//!         Action::Close { conn, code, reason } => { /* flush, close, then say `Disconnected` */ }
//!         _ => { /* send frames, ask the log … */ }
//!     }
//! }
//! // Then wait until something happens, or until this time.
//! let due = hub.poll_timeout();
//! # assert!(due.is_some());
//!
//! // The transport is gone, or was closed and dropped: the Hub may reuse the slot of its id.
//! hub.handle(now, Event::Disconnected { conn, why: LeaveReason::Left }, &mut actions)?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! * Perform actions in order, and all of an event before the next event. Calls append to the list
//!   of actions. A log's answer is an event of this turn or of a later one; each question has
//!   exactly one answer.
//! * The monotonic clock never goes back.
//! * Messages stay in the Hub until [`Hub::end_turn`], which offers one batch for each room. A turn
//!   with more events makes fewer and larger batches.
//! * A connection ends with exactly one [`Event::Disconnected`], also after [`Action::Close`].
//! * [`Hub::handle`] returns a [`Misuse`] for an id or a token that the Hub has not issued.
//!
//! # What is deliberately absent
//!
//! There is no IO, no clock, no randomness and no order that comes from hashing. Encoding (JSON,
//! WebSocket) belongs to `chat-proto`, sockets and logs to `chat-tokio`. The Hub never assigns an
//! entry its `seq`: the log does.
//!
//! *Invariant:* an event that comes too late (for a connection that is gone, a room that was
//! forgotten, a question that was given up) changes nothing. But a late append still shows its
//! entries.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod client;
mod config;
mod delivery;
mod event;
mod grant;
mod hub;
mod identity;
mod ids;
mod limits;
mod log;
mod operator;
mod peers;
mod reason;
mod room;
mod session;
mod timers;
mod times;
mod users;

pub use config::{Config, Peers};
pub use event::{
    Action, Connect, CutOff, Event, Identity, Misuse, Probe, Recipients, Signal, SignalTo, Spender,
};
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
pub use reason::{CloseReason, Noted};
pub use room::Roster;
pub use room::policy::{JoinRule, RoomPolicy};
pub use times::{TimeValues, Times, TimesError};
