//! Figures of a Hub beyond [`Hub::stats`], for metrics and operators.
use super::Hub;
use crate::ids::{ConnId, MemberId};

impl Hub {
    /// Counts this Hub's members of all listed rooms. It looks at each of these rooms.
    #[must_use]
    pub fn members(&self) -> u64 {
        self.rooms.listed_after(None).map(|room| room.audience.count_here()).sum()
    }

    /// Returns how often so far a lagging member has caught up, or was told of its gap.
    #[must_use]
    pub fn catch_ups(&self) -> u64 {
        self.catch_ups
    }

    /// Returns the public id of a connection's session. It does not permit resuming the session.
    #[must_use]
    pub fn member(&self, conn: ConnId) -> Option<MemberId> {
        self.sessions.get(conn).map(|session| session.member_id)
    }
}
