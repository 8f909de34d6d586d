//! The requests of a client.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::basic::BasicRequest;
use crate::names::{DisplayName, Key, RequestId, SessionId};
use crate::position::{Position, Seq};
use crate::room_name::RoomName;

/// One frame from a client, in its dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// From a `basic` connection.
    Basic(BasicRequest),
    /// From a `chat.v1` connection.
    V1 {
        /// The reply carries it back.
        id: Option<RequestId>,
        /// The request.
        request: Request,
    },
}

/// A request of a `chat.v1` client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Begins or resumes a session. It must come first. Reply: `welcome`.
    Hello {
        /// The display name, where users choose their names.
        name: Option<DisplayName>,
        /// The credential, where the server requires one.
        token: Option<Token>,
        /// Optional parts of the protocol that the client wants.
        features: Vec<String>,
        /// The session to resume.
        resume: Option<Box<Resume>>,
    },
    /// Replaces the credential by a fresh one of the same user. Reply: `authenticated`.
    Auth {
        /// The credential.
        token: Token,
    },
    /// Joins a room. Reply: `joined`.
    Join {
        /// The room.
        room: RoomName,
        /// Number of newest entries in the reply.
        history: u32,
    },
    /// Leaves a room. Reply: `left`.
    Leave {
        /// The room.
        room: RoomName,
    },
    /// Sends a message. Reply: `ack`, once the message is in the log.
    Message {
        /// The room.
        room: RoomName,
        /// The idempotency key: a repeated send with the same key makes no second entry.
        key: Option<Key>,
        /// The text.
        content: Arc<str>,
        /// The entry that the message answers, from 1.
        reply_to: Option<Seq>,
    },
    /// Asks for older or newer entries. Reply: `page`.
    History {
        /// The room.
        room: RoomName,
        /// Which entries.
        range: HistoryRange,
        /// Most entries in the reply; 0 counts as 1. `None`: as many as the server allows.
        limit: Option<u32>,
    },
    /// Asks for the members of a room. Reply: `members`.
    Members {
        /// The room.
        room: RoomName,
    },
    /// Asks for the rooms that have members, ordered by name. Reply: `rooms`.
    Rooms {
        /// The list begins after this room.
        after: Option<RoomName>,
    },
    /// Shows that the user types or has stopped. Reply, if an `id` was given: `ack` without `seq`.
    Typing {
        /// The room.
        room: RoomName,
        /// True: the user types. False: the user has stopped.
        active: bool,
    },
    /// Asks for a sign of life. Reply: `pong`.
    Ping,
    /// Answers the server's `ping`. No reply.
    Pong,
}

/// The session to resume, with its position in each room to recover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resume {
    /// The session's secret name, from `welcome`.
    pub session: SessionId,
    /// Number of the client's connection for this session. A connection with a lower number than
    /// the newest one is refused, even if it arrives later.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempt: u64,
    /// The last entry seen, for each room to recover.
    pub rooms: BTreeMap<RoomName, Position>,
}

/// A part of a room's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryRange {
    /// The newest entries.
    Latest,
    /// The entries directly before this place.
    Before(Seq),
    /// The entries directly after this place.
    After(Seq),
    /// The entries nearest to this place, on both sides.
    Around(Seq),
}

/// A credential. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub Arc<str>);

impl core::fmt::Debug for Token {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Request {
    /// Returns the `type` on the wire.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Auth { .. } => "auth",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
            Self::Message { .. } => "message",
            Self::History { .. } => "history",
            Self::Members { .. } => "members",
            Self::Rooms { .. } => "rooms",
            Self::Typing { .. } => "typing",
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }

    /// Encodes the request as a client sends it.
    ///
    /// # Panics
    /// Never: writing to memory succeeds.
    #[must_use]
    pub fn encode(&self, id: Option<&RequestId>) -> String {
        serde_json::to_string(&Wire { id, request: self }).expect("a request has string keys")
    }
}

struct Wire<'a> {
    id: Option<&'a RequestId>,
    request: &'a Request,
}

impl Serialize for Wire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.request.kind())?;
        if let Some(id) = self.id {
            map.serialize_entry("id", id)?;
        }
        match self.request {
            Request::Hello { name, token, features, resume } => {
                optional(&mut map, "name", name.as_ref())?;
                optional(&mut map, "token", token.as_ref().map(|t| &t.0))?;
                map.serialize_entry("features", features)?;
                optional(&mut map, "resume", resume.as_ref())?;
            }
            Request::Auth { token } => map.serialize_entry("token", &token.0)?,
            Request::Join { room, history } => {
                map.serialize_entry("room", room)?;
                map.serialize_entry("history", history)?;
            }
            Request::Leave { room } | Request::Members { room } => {
                map.serialize_entry("room", room)?;
            }
            Request::Message { room, key, content, reply_to } => {
                map.serialize_entry("room", room)?;
                optional(&mut map, "key", key.as_ref())?;
                map.serialize_entry("content", content)?;
                optional(&mut map, "reply_to", reply_to.as_ref())?;
            }
            Request::History { room, range, limit } => {
                map.serialize_entry("room", room)?;
                match range {
                    HistoryRange::Latest => {}
                    HistoryRange::Before(seq) => map.serialize_entry("before", seq)?,
                    HistoryRange::After(seq) => map.serialize_entry("after", seq)?,
                    HistoryRange::Around(seq) => map.serialize_entry("around", seq)?,
                }
                optional(&mut map, "limit", limit.as_ref())?;
            }
            Request::Rooms { after } => optional(&mut map, "after", after.as_ref())?,
            Request::Typing { room, active } => {
                map.serialize_entry("room", room)?;
                map.serialize_entry("active", active)?;
            }
            Request::Ping | Request::Pong => {}
        }
        map.end()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn optional<M: SerializeMap, T: Serialize>(
    map: &mut M,
    name: &'static str,
    value: Option<&T>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(name, value))
}
