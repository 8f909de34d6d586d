//! What somebody who runs a server can order, and what they are shown.
use alloc::vec::Vec;

use chat_proto::{CloseCode, Dialect, DisplayName, Epoch, RoomName, Seq, Timestamp, UserId};

use crate::ids::MemberId;

/// Bans that a Hub keeps: beyond it the one that ends first goes. Whoever takes orders refuses
/// more.
pub const BANS_MAX: usize = 10_000;

/// Something that an operator wants done. It concerns the connections of this Hub only, so that
/// every Hub has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Takes sessions out of a room. They are told by an `error` of code `forbidden` that names the
    /// room, and may join again; a `basic` connection, which can't be told, is closed with
    /// [`CloseCode::Removed`].
    Kick {
        /// Out of which room.
        room: RoomName,
        /// Whose sessions.
        whom: Whom,
    },
    /// Closes connections. A session whose code does not ask it to come back is forgotten.
    Close {
        /// Whose.
        whom: Whom,
        /// How they are told.
        code: CloseCode,
    },
    /// Keeps a user out of a room, whose sessions are kicked out of it, or of the server, whose
    /// connections are closed with [`CloseCode::Removed`]. A later ban of the same takes its place.
    /// A ban from a room that its owner alone may join changes nothing.
    Ban {
        /// Who.
        user: UserId,
        /// Out of which room; `None`: of all, and of the server.
        room: Option<RoomName>,
        /// Until when; `None`: until it is lifted.
        until: Option<Timestamp>,
    },
    /// Lifts a ban; one that there is not changes nothing.
    Unban {
        /// Whose.
        user: UserId,
        /// From which room; `None`: from the server.
        room: Option<RoomName>,
    },
}

/// Whose sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All of a user's.
    User(UserId),
    /// One.
    Session(MemberId),
}

impl Whom {
    pub(crate) fn is(&self, user: &UserId, id: MemberId) -> bool {
        match self {
            Self::User(wanted) => wanted == user,
            Self::Session(wanted) => *wanted == id,
        }
    }
}

/// Which sessions are wanted: those for which all that is given holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Sessions of this user.
    pub user: Option<UserId>,
    /// Sessions that are in this room.
    pub room: Option<RoomName>,
}

/// A session that has a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Its name among Hubs, which is no secret.
    pub id: MemberId,
    /// Whose it is.
    pub user: UserId,
    /// What the user is called.
    pub name: DisplayName,
    /// What it speaks.
    pub dialect: Dialect,
    /// The rooms that it is in, in the order of their names.
    pub rooms: Vec<RoomName>,
}

/// A room that a Hub has members in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomView {
    /// Which.
    pub room: RoomName,
    /// This Hub's members, those who lost their connection a moment ago included.
    pub members: u64,
    /// Its log and the last entry that was delivered; `None` while the log is being asked.
    pub position: Option<(Epoch, Seq)>,
}
