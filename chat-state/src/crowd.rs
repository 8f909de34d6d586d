//! Comings and goings in a room that is too large to tell each by itself.
use chat_proto::Member;

use crate::ids::{ConnId, Mono};

/// What a room's members are yet to be told.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// When they are.
    pub(crate) due: Mono,
    pub(crate) came: Several,
    pub(crate) gone: Several,
}

/// Some members, of whom only the first is known by name.
#[derive(Debug, Default)]
pub(crate) struct Several {
    first: Option<(Member, Option<ConnId>)>,
    count: u64,
}

impl Several {
    /// Counts one; `conn` is its connection, if that is on this Hub.
    pub(crate) fn add(&mut self, member: Member, conn: Option<ConnId>) {
        self.first.get_or_insert((member, conn));
        self.count += 1;
    }

    /// Returns the first, how many others there are, and the connection of one that is alone.
    pub(crate) fn told(self) -> Option<(Member, u64, Option<ConnId>)> {
        let (first, conn) = self.first?;
        let others = self.count - 1;
        Some((first, others, conn.filter(|_| others == 0)))
    }
}
