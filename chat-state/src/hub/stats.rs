//! What a Hub tells those who watch it, beyond [`Hub::stats`].
use super::Hub;
use crate::ids::{ConnId, MemberId};

impl Hub {
    /// Counts the members of all rooms but inboxes, of this Hub. It looks at each room.
    #[must_use]
    pub fn members(&self) -> u64 {
        self.rooms.after(None).map(|room| room.audience.count_here()).sum()
    }

    /// Returns how often so far a member that lagged had got all that it had missed, or was told of
    /// the gap.
    #[must_use]
    pub fn catch_ups(&self) -> u64 {
        self.catch_ups
    }

    /// Returns the name that Hubs have for a connection's session among themselves, which may be
    /// shown: nobody can resume a session by it.
    #[must_use]
    pub fn member(&self, conn: ConnId) -> Option<MemberId> {
        self.sessions.get(conn).map(|session| session.member_id)
    }
}
