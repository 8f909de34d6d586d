//! Encoding and decoding of server frames.
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use crate::basic::Shape;
use crate::decode::{self, DecodeError};
use crate::dialect::Dialect;
use crate::encoded::Encoded;
use crate::room_name::RoomName;
use crate::server::ServerFrame;
use crate::tables;

impl ServerFrame {
    /// Encodes the frame, or `None` if the dialect has no such frame.
    #[must_use]
    pub fn encode(&self, dialect: Dialect) -> Option<Encoded> {
        match (dialect, self) {
            (Dialect::Basic, _) => self.encode_basic(),
            (Dialect::V1, Self::Entry(entry)) => Some(entry.encoded(Dialect::V1).clone()),
            (Dialect::V1, Self::Unknown | Self::Crowd { .. }) => None,
            (Dialect::V1, _) => Some(Encoded::json(self)),
        }
    }

    /// Reads a `chat.v1` frame; one of an unknown `type` reads as [`ServerFrame::Unknown`].
    ///
    /// # Errors
    /// Says what is wrong and where.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        let kind = decode::kind(text)?;
        let kind = kind.as_str();
        let read = if kind == "message" {
            // The derived reader would buffer the whole frame before it looks at the `type`.
            serde_json::from_str(text).map(|entry| Self::Entry(Arc::new(entry)))
        } else if tables::SERVER_FRAMES.iter().any(|(name, _)| *name == kind) {
            serde_json::from_str(text)
        } else {
            // What has a place in a log counts as an entry, whatever it says.
            let entry = serde_json::from_str(text).map(|entry| Self::Entry(Arc::new(entry)));
            return Ok(entry.unwrap_or(Self::Unknown));
        };
        read.map_err(|e| decode::broken(text, Some(kind), &e))
    }

    /// Encodes a `basic` frame, or returns `None` if the dialect has no such frame.
    fn encode_basic(&self) -> Option<Encoded> {
        let notice = |came, room: &RoomName, username: &str, others: &str| {
            let (kind, what) = if came { ("join", "joined") } else { ("leave", "left") };
            let content = format!("{username}{others} {what} the room");
            Some(Encoded::json(&Shape { kind, room: room.as_str(), username, content: &content }))
        };
        match self {
            Self::Entry(entry) => Some(entry.encoded(Dialect::Basic).clone()),
            Self::Join { room, member } => notice(true, room, &member.username, ""),
            Self::Leave { room, member, .. } => notice(false, room, &member.username, ""),
            Self::Crowd { room, first, others, came } => {
                let others: String = match others {
                    0 => String::new(),
                    1 => " and 1 other".into(),
                    more => format!(" and {more} others"),
                };
                notice(*came, room, &first.username, &others)
            }
            Self::Welcome(_)
            | Self::Joined(_)
            | Self::Left { .. }
            | Self::Ack { .. }
            | Self::Page(_)
            | Self::Members { .. }
            | Self::Rooms { .. }
            | Self::Pong { .. }
            | Self::Error(_)
            | Self::Typing { .. }
            | Self::Presence { .. }
            | Self::Gap { .. }
            | Self::Bye { .. }
            | Self::Hole { .. }
            | Self::Ping { .. }
            | Self::Authenticated { .. }
            | Self::AuthExpiring { .. }
            | Self::Unknown => None,
        }
    }
}
