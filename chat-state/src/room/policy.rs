//! The rules that depend on the kind of a room.
use chat_proto::RoomKind;

/// The rules for rooms of one kind.
///
/// Code that treats rooms differently asks the policy, not the name. A new kind needs one more arm
/// in [`RoomPolicy::of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomPolicy {
    /// The sessions that may join.
    pub join: JoinRule,
    /// Members may write. Otherwise only the server's operator writes.
    pub members_write: bool,
    /// Members, here and on other Hubs, see each other come and go.
    pub has_roster: bool,
    /// Room lists and totals of members include the room, and Hubs tell each other of it.
    pub is_listed: bool,
    /// Messages may be told outside of the room, such as to webhooks.
    pub is_published: bool,
}

/// The sessions that may join a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinRule {
    /// Any session whose grant allows the room, unless its user is banned.
    Granted,
    /// The sessions of the user whose room it is, whatever their grants and bans of rooms say.
    Owner,
    /// No session.
    Nobody,
}

impl RoomPolicy {
    /// Returns the rules for a kind of rooms.
    #[must_use]
    pub const fn of(kind: RoomKind) -> Self {
        match kind {
            RoomKind::Public => Self {
                join: JoinRule::Granted,
                members_write: true,
                has_roster: true,
                is_listed: true,
                is_published: true,
            },
            RoomKind::Own => Self {
                join: JoinRule::Owner,
                members_write: false,
                has_roster: false,
                is_listed: false,
                is_published: false,
            },
            RoomKind::Server => Self {
                join: JoinRule::Nobody,
                members_write: false,
                has_roster: false,
                is_listed: false,
                is_published: false,
            },
        }
    }

    /// Returns true if users can be banned from the room.
    #[must_use]
    pub const fn can_ban(self) -> bool {
        match self.join {
            JoinRule::Granted => true,
            JoinRule::Owner | JoinRule::Nobody => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_banned_only_from_rooms_that_are_open_to_others() {
        for (kind, can_ban) in
            [(RoomKind::Public, true), (RoomKind::Own, false), (RoomKind::Server, false)]
        {
            assert_eq!(RoomPolicy::of(kind).can_ban(), can_ban, "{kind:?}");
        }
    }
}
