//! Wire types of a room chat: names, ids, frames, limits, close codes and the codecs of its two
//! dialects, `basic` and `chat.v1`.
//!
//! # How to use it
//!
//! * A server keeps a [`Decoder`] per connection, gives it each text it receives and hands the
//!   [`ClientFrame`] on; it writes a [`ServerFrame`] with [`ServerFrame::encode`], which answers
//!   [`Encoded`] bytes that any number of connections can share.
//! * A client writes a [`Request`] with [`Request::encode`] and reads with [`ServerFrame::decode`].
//!
//! ```
//! use chat_proto::{ClientFrame, Decoder, Dialect, Request};
//!
//! let mut decoder = Decoder::new(Dialect::V1);
//! let frame = decoder.decode(r#"{"type":"join","id":"1","room":"Lobby","history":20}"#)?;
//! let ClientFrame::V1 { id, request: Request::Join { room, history } } = frame else { panic!() };
//! assert_eq!(id.as_deref(), Some("1"));
//! assert_eq!((room.as_str(), room.folded(), history), ("Lobby", "lobby", 20));
//! # Ok::<(), chat_proto::DecodeError>(())
//! ```
//!
//! # What is deliberately absent
//!
//! Rules (who may do what, in which order) live in `chat-state`; sockets live in `chat-tokio`.
//! There is no IO, no clock and no randomness here: the crate is `no_std` with `alloc`. (Of what it
//! depends on, `precis-profiles` links `std`, for the tables of the Nickname profile.)
//!
//! *Invariant:* decoding is total. Whatever the bytes are, it answers a frame or a
//! [`DecodeError`], and its recursion is bounded.
//!
//! The normative text of the protocol is `PROTOCOL.md` beside this crate's manifest.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod basic;
mod client;
mod close;
mod decode;
mod decoder;
mod dialect;
mod encoded;
mod entry;
mod error;
mod fields;
mod limits;
mod names;
mod position;
mod recovery;
mod room_kind;
mod room_name;
mod server;
mod server_codec;
#[doc(hidden)]
pub mod tables;
mod text;

pub use basic::BasicRequest;
pub use client::{ClientFrame, HistoryRange, Request, Resume, Token};
pub use close::{Advice, CloseCode};
pub use decode::DecodeError;
pub use decoder::Decoder;
pub use dialect::{Dialect, SUBPROTOCOL};
pub use encoded::Encoded;
pub use entry::{Body, Entry, Member};
pub use error::{ErrorBody, ErrorCode};
pub use limits::{LimitValues, Limits, LimitsError};
pub use names::{DisplayName, Key, NAME_BYTES_MAX, NameError, RequestId, SessionId, UserId};
pub use position::{Epoch, Position, SEQ_MAX, Seq, Timestamp};
pub use recovery::{LostReason, Recovery};
pub use room_kind::RoomKind;
pub use room_name::RoomName;
pub use server::{
    Durability, Joined, LeaveReason, MembersView, Page, RoomSummary, ServerFrame, Welcome,
};
