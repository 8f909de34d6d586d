//! What a server sends.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Member};
use crate::error::ErrorBody;
use crate::limits::LimitValues;
use crate::names::{DisplayName, RequestId, SessionId, UserId};
use crate::position::{Epoch, Position, Seq, Timestamp};
use crate::recovery::Recovery;
use crate::room_name::RoomName;

/// One frame to a client. Replies carry the `id` of their request, events carry none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServerFrame {
    /// Reply to `hello`.
    Welcome(Box<Welcome>),
    /// Reply to `auth`: the session goes on with the fresh credential.
    Authenticated {
        /// The request's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// How long it counts from now, in milliseconds; `None`: it does not end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_in_ms: Option<u64>,
    },
    /// Reply to `join`.
    Joined(Box<Joined>),
    /// Reply to `leave`.
    Left {
        /// The request's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// Which room.
        room: RoomName,
    },
    /// Reply to `message` once it is in the log, and to `typing`.
    Ack {
        /// The request's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// Which room.
        room: RoomName,
        /// Where the log put it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<Seq>,
        /// When the server took it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ts: Option<Timestamp>,
        /// The key was known: this is the first send's reply.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        duplicate: bool,
    },
    /// Reply to `history`.
    Page(Box<Page>),
    /// Reply to `members`; without `id` an event: this is who is there, whatever was said before.
    Members {
        /// The request's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// Which room.
        room: RoomName,
        /// Who is in it.
        #[serde(flatten)]
        view: MembersView,
    },
    /// Reply to `rooms`.
    Rooms {
        /// The request's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// In the order of their names.
        rooms: Vec<RoomSummary>,
        /// Whether there are more after the last one.
        has_more: bool,
    },
    /// Reply to `ping`.
    Pong {
        /// The request's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
    },
    /// Reply to a request that was not done.
    Error(Box<ErrorBody>),
    /// Event: somebody entered a room.
    Join {
        /// Which room.
        room: RoomName,
        /// Who.
        #[serde(flatten)]
        member: Member,
    },
    /// Event: somebody left a room.
    Leave {
        /// Which room.
        room: RoomName,
        /// Who.
        #[serde(flatten)]
        member: Member,
        /// Why.
        reason: LeaveReason,
    },
    /// Event: somebody is typing, or has stopped.
    Typing {
        /// Which room.
        room: RoomName,
        /// Who.
        #[serde(flatten)]
        member: Member,
        /// Begun or ended.
        active: bool,
    },
    /// Event: how many are in a room that is too large for its members to be listed, whatever was
    /// said before.
    Presence {
        /// Which room.
        room: RoomName,
        /// All of them.
        count: u64,
    },
    /// Event: these entries were not delivered; `history` has what is left of them.
    Gap {
        /// Which room.
        room: RoomName,
        /// The first missing entry.
        from: Seq,
        /// The last missing entry.
        to: Seq,
    },
    /// Event: these entries are not to be had any more; the next one is the one after them.
    Hole {
        /// Which room.
        room: RoomName,
        /// The first of them.
        from: Seq,
        /// The last of them.
        to: Seq,
    },
    /// Event: the credential ends soon; bring a fresh one by `auth`, or the connection is closed.
    AuthExpiring {
        /// When, in milliseconds from now.
        expires_in_ms: u64,
    },
    /// Event: the server will close this connection.
    Bye {
        /// Why, as in [`CloseCode::reason`](crate::CloseCode::reason).
        code: String,
        /// Whether to come back.
        reconnect: bool,
        /// How long to wait before that, in milliseconds.
        after_ms: u64,
    },
    /// Event: the heartbeat; answer with `pong`.
    Ping {
        /// Where some of the session's rooms end: all before it was sent on this connection.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        heads: BTreeMap<RoomName, Position>,
    },
    /// Event of `basic` alone, which has no [`Presence`](Self::Presence): several have come to a
    /// large room, or gone from it.
    #[serde(skip)]
    Crowd {
        /// Which room.
        room: RoomName,
        /// The first of them.
        first: Member,
        /// How many more.
        others: u64,
        /// Whether they have come, or gone.
        came: bool,
    },
    /// A frame that this version does not know.
    #[serde(skip)]
    Unknown,
    /// Event: something durable happened.
    #[serde(rename = "message", with = "crate::entry::without_type")]
    Entry(Arc<Entry>),
}

/// The reply to `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The request's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// The session's secret name.
    pub session: SessionId,
    /// The identity.
    pub user: UserId,
    /// The label.
    pub name: DisplayName,
    /// Whether an earlier session goes on.
    pub resumed: bool,
    /// What an `ack` survives.
    pub durability: Durability,
    /// The server's `ping` comes this often, in milliseconds.
    pub heartbeat_ms: u64,
    /// The server's limits. Another server's values may be out of this version's bounds.
    pub limits: LimitValues,
    /// Which of the features asked for the server has.
    pub features: Vec<String>,
    /// What became of each room of the `resume`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rooms: BTreeMap<RoomName, Recovery>,
}

/// What an `ack` survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Nothing: entries live in the server's memory.
    Memory,
    /// The end of the process, not a loss of power.
    Process,
    /// A loss of power.
    Disk,
    /// The loss of a node.
    Replicated,
}

/// The reply to `join`: its history ends exactly where live events begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The request's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// The room as it is spelled.
    pub room: RoomName,
    /// Which log.
    pub epoch: Epoch,
    /// The last entry before the live events.
    pub head: Seq,
    /// Who is in it.
    pub members: MembersView,
    /// The newest entries up to `head`, in order.
    pub events: Vec<Arc<Entry>>,
    /// Whether there are older ones.
    pub has_more_before: bool,
}

/// Who is in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersView {
    /// All of them.
    pub count: u64,
    /// At most `members_listed` of them, one entry per session. All who are told share the list.
    pub members: Arc<Vec<Member>>,
}

/// The reply to `history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The request's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// Which room.
    pub room: RoomName,
    /// Which log.
    pub epoch: Epoch,
    /// The entries, in order; an empty page is an answer too.
    pub events: Vec<Arc<Entry>>,
    /// Whether there are older ones.
    pub has_more_before: bool,
    /// Whether there are newer ones.
    pub has_more_after: bool,
}

/// A room of the room list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSummary {
    /// Its name.
    pub room: RoomName,
    /// How many are in it.
    pub members: u64,
}

/// Why a member left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeaveReason {
    /// It asked to.
    Left,
    /// Its connection ended.
    Disconnected,
    /// It did not take what was sent to it.
    SlowConsumer,
    /// Nothing was heard from it for too long.
    TimedOut,
    /// The server leaves service.
    Draining,
    /// An operator took it out.
    Removed,
    /// A reason that this version does not know.
    #[serde(other)]
    Unknown,
}

impl ServerFrame {
    /// Returns the request that the frame answers, if it is a reply to one that has an id.
    #[must_use]
    pub fn request_id(&self) -> Option<&RequestId> {
        match self {
            Self::Welcome(reply) => reply.id.as_ref(),
            Self::Joined(reply) => reply.id.as_ref(),
            Self::Page(reply) => reply.id.as_ref(),
            Self::Error(reply) => reply.id.as_ref(),
            Self::Authenticated { id, .. }
            | Self::Left { id, .. }
            | Self::Ack { id, .. }
            | Self::Members { id, .. }
            | Self::Rooms { id, .. }
            | Self::Pong { id } => id.as_ref(),
            _ => None,
        }
    }
}
