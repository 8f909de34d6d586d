//! What a Hub and a room log say to each other.
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use chat_proto::{Body, DisplayName, Entry, Epoch, Key, RoomName, Seq, Timestamp, UserId};

/// What is offered to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Who says it.
    pub user: UserId,
    /// What the user is called.
    pub username: DisplayName,
    /// Names the send: the log takes (user, room, key) once.
    pub key: Option<Key>,
    /// When the Hub took it.
    pub ts: Timestamp,
    /// What is said.
    pub body: Body,
}

impl Draft {
    /// Makes the entry that the draft became.
    #[must_use]
    pub fn into_entry(self, room: RoomName, seq: Seq) -> Entry {
        Entry::new(room, seq, self.ts, self.user, self.username, self.key, self.body)
    }
}

/// What became of one draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log, at this place.
    New {
        /// Where.
        seq: Seq,
    },
    /// Its key was there before, with the same body.
    Duplicate {
        /// Where the first one is.
        seq: Seq,
        /// When the first one was taken.
        ts: Timestamp,
    },
    /// Its key was there before, with another body.
    Conflict,
}

/// What became of a batch that was taken: one [`Outcome`] per draft, in order. Drafts without an
/// outcome are told to their authors as unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Which log took it.
    pub epoch: Epoch,
    /// What became of each draft.
    pub outcomes: Vec<Outcome>,
}

impl Appended {
    /// Returns the newest place that the batch has taken or met, 0 if there is none.
    pub(crate) fn last(&self) -> Seq {
        let place = |outcome: &Outcome| match outcome {
            Outcome::New { seq } | Outcome::Duplicate { seq, .. } => Some(*seq),
            Outcome::Conflict => None,
        };
        self.outcomes.iter().filter_map(place).max().unwrap_or(Seq::ZERO)
    }
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// Surely not applied, no part of it.
    Refused(String),
    /// It may be applied or not: only the same key can tell.
    Unknown(String),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "the log refused: {why}"),
            Self::Unknown(why) => write!(f, "the log may have taken it or not: {why}"),
        }
    }
}

impl core::error::Error for AppendError {}

/// A read that failed. Reading changes nothing, so it can be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError(pub String);

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the log can't be read: {}", self.0)
    }
}

impl core::error::Error for ReadError {}

/// The ends of a room's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The room as its log spells it: the first spelling that the log met. A Hub takes an answer
    /// for another room as a failed read.
    pub room: RoomName,
    /// Which log.
    pub epoch: Epoch,
    /// The oldest entry that is left; `last + 1` if none is.
    pub first: Seq,
    /// The newest entry, 0 if there never was one.
    pub last: Seq,
}

/// Which entries to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRange {
    /// The first place wanted.
    pub from: Seq,
    /// The last place wanted, itself included; may be beyond the log's end.
    pub to: Seq,
    /// Entries at most.
    pub limit: u32,
    /// Bytes ([`Body::size`]) at most; one entry is always read if the range has one.
    pub bytes: u32,
    /// Which end of the range to keep when it has more than the limits allow.
    pub keep: Keep,
}

/// An end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Its oldest entries.
    Oldest,
    /// Its newest entries.
    Newest,
}

/// Entries that were read, in order and without holes, with the ends of the log as it was then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// The ends of the log.
    pub head: LogHead,
    /// The entries.
    pub entries: Vec<Arc<Entry>>,
}
