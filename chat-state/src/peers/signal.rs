//! What Hubs tell each other about themselves and about their parts of the rosters.
use alloc::vec::Vec;

use chat_proto::{Member, Position, RoomName};

use crate::ids::MemberId;

/// Whether a Hub serves its members. The states are ordered, and a Hub never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// It serves them.
    Active,
    /// It is shutting down gracefully. Its members reconnect elsewhere, so peers keep showing them
    /// for a grace period.
    Draining,
    /// It has no connections left.
    Stopped,
}

/// The position of one change in the sequence of changes that its Hub has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The number of this change. Numbers are unique over all rooms of the Hub and rise.
    pub version: u64,
    /// The number of the room's previous change, or 0 if the Hub had no member in the room since it
    /// opened the room.
    pub after: u64,
}

/// A range of keys: those greater than `after`, up to and including `upto`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span<K> {
    /// The key before the first one. `None`: the range has no lower end.
    pub after: Option<K>,
    /// The last key. `None`: the range has no upper end.
    pub upto: Option<K>,
}

/// A summary of some of a Hub's rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The number of the Hub's newest change when the digest was made.
    pub at: u64,
    /// The range of names that the digest describes completely: the Hub has no member in a room of
    /// this range that is not listed. `None`: the digest says nothing about other rooms.
    pub covers: Option<Span<RoomName>>,
    /// At most 256 rooms, in the order of their names.
    pub lines: Vec<DigestLine>,
}

/// A summary of one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestLine {
    /// The room.
    pub room: RoomName,
    /// The number of the newest change of the Hub's part of the roster.
    pub version: u64,
    /// The number of members on the Hub. 0 also stands for a room that the Hub does not have.
    pub count: u64,
    /// The newest entry of the room's log that the Hub knows, if it follows the log.
    pub head: Option<Position>,
}

/// Which rooms a requested digest lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All of them, in several digests that together cover all names.
    All,
    /// These, at most 256.
    Rooms(Vec<RoomName>),
}

/// Which signals may have been lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Signals about these rooms.
    Rooms(Vec<RoomName>),
    /// Any signals.
    All,
}

/// The whole of a Hub's part of one room's roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterPart {
    /// The room.
    pub room: RoomName,
    /// The number of the newest change of the part.
    pub version: u64,
    /// The number of members on the Hub.
    pub count: u64,
    /// At most `members_listed` of them.
    pub members: Vec<(MemberId, Member)>,
}

/// The largest number of rooms in one signal.
pub(crate) const ROOMS_MAX: usize = 256;
