//! What became of a room of a resumed session.
use alloc::format;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::position::{Epoch, Position, Seq};

/// Whether a session is in a room again, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// It is: what it has missed up to `head` follows as ordinary frames, then what is new.
    Recovered(Position),
    /// It is not: the room has to be joined again.
    Lost(LostReason),
}

/// Why a room was not recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LostReason {
    /// The room's log is another one than before: what was seen of it counts no more.
    EpochChanged,
    /// Some of the missed entries are not in the log any more.
    Truncated,
    /// More entries were missed than the limit `behind_entries`.
    TooFar,
    /// The session may not be in the room, or has no place in it.
    NotMember,
    /// The room's log can't be read at the moment.
    Unavailable,
    /// A reason that this version does not know.
    #[serde(other)]
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    recovered: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<Epoch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<LostReason>,
}

impl Serialize for Recovery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = match self {
            Self::Recovered(Position { epoch, seq }) => {
                Wire { recovered: true, epoch: Some(epoch.clone()), head: Some(*seq), reason: None }
            }
            Self::Lost(reason) => {
                Wire { recovered: false, epoch: None, head: None, reason: Some(*reason) }
            }
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Recovery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let missing = |field| de::Error::custom(format!("`{field}` is missing"));
        if wire.recovered {
            let epoch = wire.epoch.ok_or_else(|| missing("epoch"))?;
            let seq = wire.head.ok_or_else(|| missing("head"))?;
            Ok(Self::Recovered(Position { epoch, seq }))
        } else {
            Ok(Self::Lost(wire.reason.unwrap_or(LostReason::Unknown)))
        }
    }
}
