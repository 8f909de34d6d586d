//! What is answered when a request can't be done.
use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::names::RequestId;
use crate::room_name::RoomName;

/// Makes the enum, its wire names, its list and its retry advice from one table.
macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $wire:literal, $retryable:literal;)+) => {
        /// Why a request was not done. The wire carries the name, not the number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $wire)] $name,)+
            /// A code that this version does not know.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl ErrorCode {
            /// All codes that a server of this version sends.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)+ Self::Unknown => "unknown" }
            }

            /// Tells whether the same request may succeed later.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)+ Self::Unknown => false }
            }
        }
    };
}

error_codes! {
    /// The text is no JSON object of the right shape; `message` says what is wrong and where.
    BadFrame = "bad_frame", false;
    /// The frame's `type` is not one of this dialect.
    UnknownType = "unknown_type", false;
    /// `hello` has to come first.
    HelloExpected = "hello_expected", false;
    /// A second `hello` on one connection.
    AlreadyWelcome = "already_welcome", false;
    /// The server does not take this identity.
    Unauthorized = "unauthorized", false;
    /// The identity may not do this, such as enter this room.
    Forbidden = "forbidden", false;
    /// The identity can't be checked at the moment.
    AuthUnavailable = "auth_unavailable", true;
    /// A name, id or key breaks its grammar.
    InvalidName = "invalid_name", false;
    /// The session has not joined the room.
    NotMember = "not_member", false;
    /// The session has joined as many rooms as it may.
    TooManyRooms = "too_many_rooms", false;
    /// The user has as many sessions as one user may.
    TooManySessions = "too_many_sessions", true;
    /// The server has as many rooms as it may.
    RoomsExhausted = "rooms_exhausted", true;
    /// The room has as many members as it may.
    RoomFull = "room_full", true;
    /// The content is longer than `message_bytes`.
    TooLarge = "too_large", false;
    /// The content is empty or holds a NUL.
    InvalidContent = "invalid_content", false;
    /// The session, its user or its address is over the budget; `retry_after_ms` says when to come
    /// back.
    RateLimited = "rate_limited", true;
    /// The key was used before with other content.
    IdempotencyConflict = "idempotency_conflict", false;
    /// The log surely did not take it.
    LogUnavailable = "log_unavailable", true;
    /// It may be in the log or not: send it again with the same key.
    UnknownOutcome = "unknown_outcome", true;
    /// The server is leaving service.
    Draining = "draining", true;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The `error` reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The request that it answers, if that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// For machines.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When to try again, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The room that the request named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
}

impl ErrorBody {
    /// Makes an error with the code's own retry advice.
    pub fn new(id: Option<RequestId>, code: ErrorCode, message: impl Into<String>) -> Self {
        let retryable = code.retryable();
        Self { id, code, message: message.into(), retryable, retry_after_ms: None, room: None }
    }
}
