//! Entries that are missing after the cursor.
use chat_proto::Seq;

use super::AskId;
use super::backoff::Backoff;
use crate::ids::Mono;

/// What is done about entries that are missing after the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hole {
    None,
    /// The missing entries may arrive by themselves before this time. The cursor is the one at
    /// which the wait began.
    Waiting {
        due: Mono,
        backoff: Backoff,
        cursor: Seq,
    },
    /// The log is asked for them.
    Reading {
        id: AskId,
        due: Mono,
        backoff: Backoff,
    },
}
