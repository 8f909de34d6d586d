//! The arguments and effects of an audience.
use alloc::vec::Vec;
use core::fmt;

use chat_proto::{LeaveReason, Member, RoomName, ServerFrame};

use crate::event::Recipients;
use crate::ids::{ConnId, MemberId, Mono};

/// Says whether the members of a room see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visibility {
    Shown,
    /// Nobody is told of the members: no count, no list, no notices, no reports to peers.
    Hidden,
}

/// The limits and times that apply to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How many members a list names at most.
    pub(crate) listed: usize,
    /// A room with more members than this is told of changes together.
    pub(crate) notice_members: u64,
    /// How long the changes of such a room are gathered, in milliseconds.
    pub(crate) presence_ms: u64,
    /// How long the members of a peer that leaves the room may take to come back elsewhere.
    pub(crate) grace_ms: u64,
}

/// What a call has to know that the audience does not own, and what it asks for.
pub(crate) struct Context<'a> {
    pub(crate) room: &'a RoomName,
    pub(crate) now: Mono,
    pub(crate) rules: Rules,
    /// Looks up the member of a connection that is live or behind.
    pub(crate) who: &'a dyn Fn(ConnId) -> (MemberId, Member),
    pub(crate) out: &'a mut Vec<Effect>,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("room", self.room).field("now", &self.now).finish()
    }
}

/// A member and its connection.
#[derive(Clone, Debug)]
pub(crate) struct Attendee {
    pub(crate) conn: ConnId,
    pub(crate) id: MemberId,
    pub(crate) member: Member,
}

/// Where a member with a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// At this place of the live list.
    Live(usize),
    Behind,
}

/// Says whether a member knows who is in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The caller sends it the view of this moment.
    View,
    /// It is told when it goes live.
    Nothing,
}

/// Says whether the log has yet to answer something that a member sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drafts {
    Answered,
    Unanswered,
}

/// How a member leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Others are told, after the log has answered the member's drafts.
    Told(LeaveReason, Drafts),
    /// A graceful shutdown disconnects the member, which comes back at once on another Hub.
    Silent,
}

impl Farewell {
    pub(super) fn reason(self) -> LeaveReason {
        match self {
            Self::Told(reason, _) => reason,
            Self::Silent => LeaveReason::Draining,
        }
    }
}

/// One Hub's part of a room's roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// All of its members.
    pub(crate) count: u64,
    /// Some of its members.
    pub(crate) members: Vec<(MemberId, Member)>,
}

/// What the audience asks its owner to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Send a frame to members.
    Tell { to: Recipients, frame: ServerFrame },
    /// Another member was moved to this place of the live list.
    Moved { conn: ConnId, place: usize },
    /// Tell the peers that have this room.
    Say(Say),
    /// A member that was away is back, here or on a peer: its time to come back is over.
    Back(MemberId),
    /// Call `timeout` at this time, which replaces that of an earlier `Arm`.
    Arm(Mono),
}

/// A change of a Hub's part, for its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    Came { id: MemberId, member: Member },
    Went { id: MemberId, member: Member, reason: LeaveReason },
}
