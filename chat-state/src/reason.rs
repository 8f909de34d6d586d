//! Why the Hub closes a connection, and what else an adapter may log and count.
use chat_proto::{CloseCode, LeaveReason, RoomName, Seq};

use crate::ids::ConnId;

/// Why a connection is closed. Several reasons may have one close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// The Hub has `connections` connections already.
    TooManyConnections,
    /// The server is leaving service.
    Draining,
    /// No `hello` came in time.
    HelloTimeout,
    /// Another request came before `hello`.
    HelloExpected,
    /// The peer has shown no sign of life for too long.
    HeartbeatTimeout,
    /// The authority did not accept the credential, or there was none.
    Unauthorized,
    /// The authority did not answer, or could not tell.
    AuthUnavailable,
    /// The credential has expired.
    GrantEnded,
    /// The fresh credential does not allow a room that the session is in.
    GrantNarrowed,
    /// The user, the session or the credential was revoked.
    Revoked,
    /// An operator has banned the user.
    Banned,
    /// An operator took a `basic` connection, which cannot be told so, out of its room.
    Kicked,
    /// An operator closed the connection with this code.
    Ordered(CloseCode),
    /// A newer connection has taken the session over.
    Superseded,
    /// The user has `user_sessions` sessions already.
    TooManySessions,
    /// The peer went on although its budget was used up.
    BudgetExceeded,
    /// A `basic` message is longer than `message_bytes`.
    MessageTooBig,
    /// The log of a room was replaced.
    LogReplaced,
    /// The log did not take a message or open a room, and `basic` has no errors.
    LogUnavailable,
    /// Entries are gone that a `basic` connection has not had, and `basic` has no `hole`.
    EntriesTrimmed,
    /// The log lacks entries that others have had, so the connection cannot catch up.
    LogIncomplete,
    /// The adapter: the peer does not take what is sent to it.
    SlowConsumer,
    /// The adapter: the connection was asked to make room for others before its `hello`.
    CrowdedOut,
    /// The adapter: the peer broke a rule below the frames.
    Transport(CloseCode),
}

impl CloseReason {
    /// Returns the code that the peer is told.
    #[must_use]
    pub const fn code(self) -> CloseCode {
        match self {
            Self::TooManyConnections
            | Self::AuthUnavailable
            | Self::TooManySessions
            | Self::LogUnavailable
            | Self::EntriesTrimmed
            | Self::CrowdedOut => CloseCode::Overloaded,
            Self::Draining => CloseCode::Draining,
            Self::HelloTimeout | Self::HeartbeatTimeout => CloseCode::HeartbeatTimeout,
            Self::HelloExpected => CloseCode::HelloExpected,
            Self::Unauthorized | Self::Revoked => CloseCode::Unauthorized,
            Self::GrantEnded | Self::GrantNarrowed => CloseCode::AuthExpired,
            Self::Banned | Self::Kicked => CloseCode::Removed,
            Self::Superseded => CloseCode::Superseded,
            Self::BudgetExceeded => CloseCode::RateLimited,
            Self::MessageTooBig => CloseCode::TooBig,
            Self::LogReplaced => CloseCode::LogReplaced,
            Self::LogIncomplete | Self::SlowConsumer => CloseCode::SlowConsumer,
            Self::Ordered(code) | Self::Transport(code) => code,
        }
    }

    /// Returns a name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooManyConnections => "too_many_connections",
            Self::Draining => "draining",
            Self::HelloTimeout => "hello_timeout",
            Self::HelloExpected => "hello_expected",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::Unauthorized => "unauthorized",
            Self::AuthUnavailable => "auth_unavailable",
            Self::GrantEnded => "grant_ended",
            Self::GrantNarrowed => "grant_narrowed",
            Self::Revoked => "revoked",
            Self::Banned => "banned",
            Self::Kicked => "kicked",
            Self::Ordered(_) => "ordered",
            Self::Superseded => "superseded",
            Self::TooManySessions => "too_many_sessions",
            Self::BudgetExceeded => "budget_exceeded",
            Self::MessageTooBig => "message_too_big",
            Self::LogReplaced => "log_replaced",
            Self::LogUnavailable => "log_unavailable",
            Self::EntriesTrimmed => "entries_trimmed",
            Self::LogIncomplete => "log_incomplete",
            Self::SlowConsumer => "slow_consumer",
            Self::CrowdedOut => "crowded_out",
            Self::Transport(_) => "transport",
        }
    }

    /// Returns what the other members of a room are told.
    pub(crate) const fn leave_reason(self) -> LeaveReason {
        match self {
            Self::HelloTimeout | Self::HeartbeatTimeout => LeaveReason::TimedOut,
            Self::Draining => LeaveReason::Draining,
            Self::Banned | Self::Kicked | Self::Ordered(_) => LeaveReason::Removed,
            Self::LogIncomplete | Self::SlowConsumer => LeaveReason::SlowConsumer,
            Self::TooManyConnections
            | Self::HelloExpected
            | Self::Unauthorized
            | Self::AuthUnavailable
            | Self::GrantEnded
            | Self::GrantNarrowed
            | Self::Revoked
            | Self::Superseded
            | Self::TooManySessions
            | Self::BudgetExceeded
            | Self::MessageTooBig
            | Self::LogReplaced
            | Self::LogUnavailable
            | Self::EntriesTrimmed
            | Self::CrowdedOut
            | Self::Transport(_) => LeaveReason::Disconnected,
        }
    }

    /// Returns true if the session may come back with another connection.
    pub(crate) const fn keeps_session(self) -> bool {
        match self {
            // With a fresh credential, or with the connection that has it already.
            Self::GrantEnded | Self::GrantNarrowed | Self::Superseded => true,
            // The adapter's reasons say nothing about the session.
            Self::SlowConsumer | Self::CrowdedOut | Self::Transport(_) => true,
            reason => reason.code().advice().reconnect(),
        }
    }
}

/// Something that went less well than it could, for logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    /// A connection was too far behind to catch up, and got a `gap`.
    Gap {
        /// The connection.
        conn: ConnId,
        /// The room.
        room: RoomName,
        /// The first entry that it missed.
        from: Seq,
        /// The last entry that it missed.
        to: Seq,
    },
    /// Entries were trimmed before the members of a room had them; they got a `hole`.
    Hole {
        /// The room.
        room: RoomName,
        /// The first entry that is gone.
        from: Seq,
        /// The last entry that is gone.
        to: Seq,
    },
    /// An entry that came out of order was dropped, since `held` entries wait already. It is read
    /// from the log when its turn comes.
    EntryDropped {
        /// The room.
        room: RoomName,
        /// The entry.
        seq: Seq,
    },
    /// A session without a connection was forgotten before its time, to keep a newer one.
    SessionForgotten,
    /// A ban was forgotten before its end, to keep a newer one.
    BanForgotten,
}
