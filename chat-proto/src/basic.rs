//! The shapes of the `basic` dialect: four fields, no replies.
use alloc::string::{String, ToString};
use alloc::sync::Arc;

use serde::Serialize;

use crate::room_name::RoomName;

/// A request of a `basic` client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BasicRequest {
    /// Leaves the current room, if any, and enters this one.
    Join {
        /// The room to enter.
        room: RoomName,
    },
    /// Leaves the current room.
    Leave,
    /// Sends a message to the current room.
    Message {
        /// The text; may be empty.
        content: Arc<str>,
    },
}

impl BasicRequest {
    /// Encodes the request as a `basic` client sends it.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Join { room } => {
                serde_json::json!({"type": "join", "room": room.as_str()}).to_string()
            }
            Self::Leave => r#"{"type":"leave"}"#.into(),
            Self::Message { content } => {
                serde_json::json!({"type": "message", "content": &**content}).to_string()
            }
        }
    }
}

/// The one shape of the frames to a `basic` client.
#[derive(Serialize)]
pub(crate) struct Shape<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) room: &'a str,
    pub(crate) username: &'a str,
    pub(crate) content: &'a str,
}
