//! The kinds of rooms.

/// The kind of a room. The first character of its name decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomKind {
    /// A room that any user may name: a nickname.
    Public,
    /// A user's own room, the user's inbox: `@` and the user id.
    Own,
    /// A room that the server keeps for itself: `~` and a word. Clients cannot name it.
    Server,
}

impl RoomKind {
    /// Returns the character that the names of this kind begin with, and no other names; `None` for
    /// public rooms.
    ///
    /// The names of a kind with a prefix are neighbours in any sorted list of names.
    #[must_use]
    pub const fn prefix(self) -> Option<char> {
        match self {
            Self::Public => None,
            Self::Own => Some('@'),
            Self::Server => Some('~'),
        }
    }

    /// Returns the kind that a name of this text has if it is one.
    pub(crate) fn of(text: &str) -> Self {
        let is_of = |kind: &Self| kind.prefix().is_some_and(|prefix| text.starts_with(prefix));
        [Self::Own, Self::Server].into_iter().find(is_of).unwrap_or(Self::Public)
    }
}
