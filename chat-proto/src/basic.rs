//! The `basic` dialect: four fields, no replies.
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use serde::Serialize;

use crate::encoded::Encoded;
use crate::entry::{Body, Entry};
use crate::names::RoomName;
use crate::server::ServerFrame;

/// What a `basic` client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BasicRequest {
    /// Leave the current room, if any, and enter this one.
    Join {
        /// Which room.
        room: RoomName,
    },
    /// Leave the current room.
    Leave,
    /// Say something in the current room.
    Message {
        /// What; may be empty.
        content: Arc<str>,
    },
}

/// The one shape that a `basic` client gets.
#[derive(Serialize)]
pub(crate) struct Shape<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    room: &'a str,
    username: &'a str,
    content: &'a str,
}

/// Shapes an entry.
pub(crate) fn entry(entry: &Entry) -> Shape<'_> {
    let content = match &entry.body {
        Body::Message { content, .. } => content,
        // No server of this version makes one.
        Body::Unknown { .. } => "",
    };
    Shape { kind: "message", room: entry.room.as_str(), username: &entry.username, content }
}

/// Encodes a frame, or `None` for those that this dialect does not have.
pub(crate) fn encode(frame: &ServerFrame) -> Option<Encoded> {
    let notice = |came, room: &RoomName, username: &str, others: &str| {
        let (kind, what) = if came { ("join", "joined") } else { ("leave", "left") };
        let content: String = format!("{username}{others} {what} the room");
        Some(Encoded::json(&Shape { kind, room: room.as_str(), username, content: &content }))
    };
    match frame {
        ServerFrame::Entry(entry) => Some(entry.encoded(crate::Dialect::Basic).clone()),
        ServerFrame::Join { room, member } => notice(true, room, &member.username, ""),
        ServerFrame::Leave { room, member, .. } => notice(false, room, &member.username, ""),
        ServerFrame::Crowd { room, first, others, came } => {
            let others: String = match others {
                0 => String::new(),
                1 => " and 1 other".into(),
                more => format!(" and {more} others"),
            };
            notice(*came, room, &first.username, &others)
        }
        ServerFrame::Welcome(_)
        | ServerFrame::Joined(_)
        | ServerFrame::Left { .. }
        | ServerFrame::Ack { .. }
        | ServerFrame::Page(_)
        | ServerFrame::Members { .. }
        | ServerFrame::Rooms { .. }
        | ServerFrame::Pong { .. }
        | ServerFrame::Error(_)
        | ServerFrame::Typing { .. }
        | ServerFrame::Presence { .. }
        | ServerFrame::Gap { .. }
        | ServerFrame::Bye { .. }
        | ServerFrame::Hole { .. }
        | ServerFrame::Ping { .. }
        | ServerFrame::Authenticated { .. }
        | ServerFrame::AuthExpiring { .. }
        | ServerFrame::Unknown => None,
    }
}
