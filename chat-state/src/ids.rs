//! Identifiers and times.
use chat_proto::Timestamp;

/// A connection, as [`Hub::connect`](crate::Hub::connect) names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// Index for a table of connections: the smallest that no other connection has.
    pub slot: u32,
    /// How often the slot was used before, so that a late event cannot hit a newer connection.
    pub generation: u32,
}

/// Identifies one run of a Hub among the Hubs that share a log.
///
/// A restarted Hub keeps its node and takes a larger incarnation. Peers then drop at once
/// everything that the older incarnation said. Ids are ordered by node, then by incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubId {
    /// The Hub. No two running Hubs on one broker may share it.
    pub node: u64,
    /// The run of the Hub. Every start takes a larger number.
    pub incarnation: u64,
}

/// A peer, as the parts of a Hub name it. A slot is reused only after everything that was stored
/// under it has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PeerSlot(pub(crate) u32);

/// Ties an answer of the log or of the authority to its question. (A credential is a
/// [`chat_proto::Token`].)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A session as Hubs name it among themselves: made of its secret name, which it does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// Monotonic time in milliseconds from some start: for deadlines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// Returns the time this much later.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Returns the milliseconds since an earlier time, 0 if it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks, as they are when an event is handled. They can't be compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub mono: Mono,
    /// For people.
    pub wall: Timestamp,
}

/// Where connections come from that share a budget: whatever the adapter takes for one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey(pub [u8; 16]);
