//! What a client asks for.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::basic::BasicRequest;
use crate::names::{DisplayName, Key, RequestId, RoomName, SessionId};
use crate::position::{Position, Seq};

/// One frame from a client, in its dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// From a `basic` connection.
    Basic(BasicRequest),
    /// From a `chat.v1` connection.
    V1 {
        /// Returned in the one reply.
        id: Option<RequestId>,
        /// What is asked.
        request: Request,
    },
}

/// What a `chat.v1` client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Says who one is; has to come first. Reply: `welcome`.
    Hello {
        /// The display name, where the server lets one choose it.
        name: Option<DisplayName>,
        /// A credential, where the server wants one.
        token: Option<Token>,
        /// Optional parts of the protocol that the client wants.
        features: Vec<String>,
        /// An earlier session that is to go on.
        resume: Option<Box<Resume>>,
    },
    /// Brings a fresh credential for the same user. Reply: `authenticated`.
    Auth {
        /// The credential.
        token: Token,
    },
    /// Enters a room. Reply: `joined`.
    Join {
        /// Which room.
        room: RoomName,
        /// How many of the newest entries to answer with.
        history: u32,
    },
    /// Leaves a room. Reply: `left`.
    Leave {
        /// Which room.
        room: RoomName,
    },
    /// Says something. Reply: `ack`, once it is in the log.
    Message {
        /// Which room.
        room: RoomName,
        /// Names this send, so that sending it again can't double it.
        key: Option<Key>,
        /// The text.
        content: Arc<str>,
        /// The entry it answers.
        reply_to: Option<Seq>,
    },
    /// Asks for older or newer entries. Reply: `page`.
    History {
        /// Which room.
        room: RoomName,
        /// Which part.
        range: HistoryRange,
        /// How many at most; `None` means as many as the server allows.
        limit: Option<u32>,
    },
    /// Asks who is in a room. Reply: `members`.
    Members {
        /// Which room.
        room: RoomName,
    },
    /// Asks which rooms somebody is in, in the order of their names. Reply: `rooms`.
    Rooms {
        /// Go on after this room.
        after: Option<RoomName>,
    },
    /// Tells that one is typing or has stopped. Reply, if an `id` was given: `ack` without `seq`.
    Typing {
        /// Which room.
        room: RoomName,
        /// Begun or ended.
        active: bool,
    },
    /// Asks for a sign of life. Reply: `pong`.
    Ping,
    /// Answers the server's `ping`. No reply.
    Pong,
}

/// An earlier session, and how far it got in the rooms that it wants to be in again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resume {
    /// The session's secret name, from `welcome`.
    pub session: SessionId,
    /// Counts the client's connections of this session: of two, the one with the smaller number is
    /// the older one, whichever comes later.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempt: u64,
    /// The last entry seen of each room.
    pub rooms: BTreeMap<RoomName, Position>,
}

/// Which part of a room's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryRange {
    /// The newest entries.
    Latest,
    /// The entries directly before this place.
    Before(Seq),
    /// The entries directly after this place.
    After(Seq),
    /// The entries on both sides of this place, and the one at it.
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
