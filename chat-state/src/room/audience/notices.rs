//! What members are told, and what they are yet to be told.
use alloc::boxed::Box;

use chat_proto::{LeaveReason, Member};

use super::types::Told;
use crate::ids::{ConnId, Mono};

/// A change of a room's members.
#[derive(Debug)]
pub(super) enum Notice {
    /// A member has come, with this connection if it is on this Hub.
    Came(Member, Option<ConnId>),
    /// A member has gone, and had this connection if it was on this Hub.
    Went(Member, LeaveReason, Option<ConnId>),
    /// The members are others than before.
    Anew,
    /// A member has only moved between Hubs, which is not shown.
    Moved,
}

/// What live members were told, and what they are yet to be told.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// Changes that are told together.
    pub(super) gathered: Option<Box<Gathered>>,
    /// The count that each live member knows.
    pub(super) told: u64,
    /// Counts the changes that members see.
    pub(super) changes: u64,
    /// The count after the last change.
    pub(super) counted: u64,
}

/// The change up to which a member was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Nothing,
    Change(u64),
}

#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) due: Mono,
    pub(super) came: Several,
    pub(super) went: Several,
}

/// Some members, of which only the first is known by name.
#[derive(Debug, Default)]
pub(super) struct Several {
    pub(super) first: Option<(Member, Option<ConnId>)>,
    pub(super) count: u64,
}

impl Notices {
    /// Returns the mark of a member at this moment.
    pub(super) fn mark(&self, told: Told) -> Mark {
        match told {
            Told::View => Mark::Change(self.changes),
            Told::Nothing => Mark::Nothing,
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.gathered.as_ref().map(|gathered| gathered.due)
    }
}

impl Several {
    pub(super) fn add(&mut self, member: Member, conn: Option<ConnId>) {
        self.first.get_or_insert((member, conn));
        self.count += 1;
    }
}

impl Gathered {
    /// Begins to gather changes until a time.
    pub(super) fn until(due: Mono) -> Self {
        Self { due, came: Several::default(), went: Several::default() }
    }
}
