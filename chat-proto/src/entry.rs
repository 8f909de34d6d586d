//! What a room's log holds.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use core::fmt;

use once_cell::race::OnceBox;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::basic::Shape;
use crate::dialect::Dialect;
use crate::encoded::Encoded;
use crate::names::{DisplayName, Key, UserId};
use crate::position::{Seq, Timestamp};
use crate::room_name::RoomName;

/// Something durable that happened in a room, at its place in the room's log.
///
/// Its encodings are made on first use and kept, so however many connections and workers share
/// one `Arc<Entry>`, it is encoded once per dialect.
#[derive(Debug)]
pub struct Entry {
    /// The room, as its log spells it.
    pub room: RoomName,
    /// Its place.
    pub seq: Seq,
    /// When the server took it; for reading only.
    pub ts: Timestamp,
    /// Who did it.
    pub user: UserId,
    /// What the user was called then.
    pub username: DisplayName,
    /// The idempotency key of the send, if the client gave one.
    pub key: Option<Key>,
    /// What happened.
    pub body: Body,
    wire: Wire,
}

/// What an entry says happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Body {
    /// A user said something.
    Message {
        /// The text, as sent.
        content: Arc<str>,
        /// The entry it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<Seq>,
    },
    /// Something that this version does not know. It keeps its place; no server of this version
    /// makes one.
    #[serde(skip)]
    Unknown {
        /// Its `type` on the wire.
        kind: Arc<str>,
    },
}

impl Body {
    /// Returns about how many bytes it takes in memory and on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Message { content, .. } => content.len(),
            Self::Unknown { kind } => kind.len(),
        }
    }
}

impl Entry {
    /// Makes an entry.
    #[must_use]
    pub fn new(
        room: RoomName,
        seq: Seq,
        ts: Timestamp,
        user: UserId,
        username: DisplayName,
        key: Option<Key>,
        body: Body,
    ) -> Self {
        Self { room, seq, ts, user, username, key, body, wire: Wire::default() }
    }

    /// Returns about how many bytes it takes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body.size() + size_of::<Self>()
    }

    /// Returns its bytes in a dialect, made on the first call.
    pub fn encoded(&self, dialect: Dialect) -> &Encoded {
        let cell = match dialect {
            Dialect::Basic => &self.wire.basic,
            Dialect::V1 => &self.wire.v1,
        };
        cell.get_or_init(|| {
            Box::new(match dialect {
                Dialect::Basic => Encoded::json(&self.basic_shape()),
                Dialect::V1 => Encoded::json(self),
            })
        })
    }

    fn basic_shape(&self) -> Shape<'_> {
        let content = match &self.body {
            Body::Message { content, .. } => content,
            // No server of this version makes such an entry.
            Body::Unknown { .. } => "",
        };
        let (room, username) = (self.room.as_str(), self.username.as_str());
        Shape { kind: "message", room, username, content }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.room == other.room
            && (self.seq, self.ts) == (other.seq, other.ts)
            && (&self.user, &self.username) == (&other.user, &other.username)
            && self.key == other.key
            && self.body == other.body
    }
}
impl Eq for Entry {}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.body {
            Body::Message { .. } => map.serialize_entry("type", "message")?,
            Body::Unknown { kind } => map.serialize_entry("type", kind)?,
        }
        self.serialize_rest(&mut map)?;
        map.end()
    }
}

impl Entry {
    fn serialize_rest<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("room", &self.room)?;
        map.serialize_entry("seq", &self.seq)?;
        map.serialize_entry("ts", &self.ts)?;
        map.serialize_entry("user", &self.user)?;
        map.serialize_entry("username", &self.username)?;
        match &self.body {
            Body::Message { content, reply_to } => {
                map.serialize_entry("content", content)?;
                if let Some(reply_to) = reply_to {
                    map.serialize_entry("reply_to", reply_to)?;
                }
            }
            Body::Unknown { .. } => {}
        }
        if let Some(key) = &self.key {
            map.serialize_entry("key", key)?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut flat = Flat::deserialize(deserializer)?;
        match flat.kind.take().as_deref() {
            Some("message") => flat.into_message(),
            Some(other) => Ok(flat.into_entry(Body::Unknown { kind: other.into() })),
            None => Err(de::Error::missing_field("type")),
        }
    }
}

#[derive(Deserialize)]
struct Flat {
    #[serde(rename = "type")]
    kind: Option<String>,
    room: RoomName,
    seq: Seq,
    ts: Timestamp,
    user: UserId,
    username: DisplayName,
    key: Option<Key>,
    content: Option<Arc<str>>,
    reply_to: Option<Seq>,
}

impl Flat {
    fn into_message<E: de::Error>(mut self) -> Result<Entry, E> {
        let content = self.content.take().ok_or_else(|| E::missing_field("content"))?;
        let body = Body::Message { content, reply_to: self.reply_to };
        Ok(self.into_entry(body))
    }

    fn into_entry(self, body: Body) -> Entry {
        let (room, seq, ts) = (self.room, self.seq, self.ts);
        Entry::new(room, seq, ts, self.user, self.username, self.key, body)
    }
}

/// An entry whose `type` is written and read by the frame around it.
pub(crate) mod without_type {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(entry: &Entry, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        entry.serialize_rest(&mut map)?;
        map.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Entry>, D::Error> {
        Flat::deserialize(from)?.into_message().map(Arc::new)
    }
}

/// The encodings, each made when first asked for.
#[derive(Default)]
struct Wire {
    basic: OnceBox<Encoded>,
    v1: OnceBox<Encoded>,
}

/// Says nothing: where in memory an encoding lies, and whether it was wanted yet, is no part of
/// what an entry is, and would make two equal runs look different.
impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

/// A session in a room, as others see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The identity.
    pub user: UserId,
    /// The label.
    pub username: DisplayName,
}
