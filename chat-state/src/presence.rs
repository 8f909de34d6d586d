//! What a Hub knows of the members that other Hubs have in one room.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use chat_proto::Member;

use crate::ids::MemberId;

/// Another Hub's part of a room's roster. The count is complete, the members are a sample.
#[derive(Debug, Default)]
pub(crate) struct RemoteRoster {
    pub(crate) count: u64,
    pub(crate) members: BTreeMap<MemberId, Member>,
    /// A change was shown although some changes before it are missing.
    unsure: bool,
}

/// Whether changes before a change are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Complete,
    Missing,
}

impl RemoteRoster {
    /// Adds a member.
    pub(crate) fn came(&mut self, id: MemberId, member: Member, listed: usize, before: Before) {
        self.unsure |= before == Before::Missing;
        self.count += 1;
        if self.members.len() < listed {
            self.members.insert(id, member);
        }
    }

    /// Removes a member. It may have been removed already because it was seen elsewhere.
    pub(crate) fn went(&mut self, id: MemberId) {
        let all_are_known = self.members.len() as u64 == self.count;
        if self.members.remove(&id).is_some() || !all_are_known {
            self.count = self.count.saturating_sub(1);
        }
    }

    /// Records that a change was shown although some changes before it are missing.
    pub(crate) fn doubt(&mut self, before: Before) {
        self.unsure |= before == Before::Missing;
    }

    /// Replaces the part. Returns true if another one was shown.
    pub(crate) fn replace(
        &mut self,
        count: u64,
        members: Vec<(MemberId, Member)>,
        listed: usize,
    ) -> bool {
        let members: BTreeMap<_, _> = members.into_iter().take(listed).collect();
        let changed = self.unsure || self.count != count || self.members != members;
        *self = Self { count, members, unsure: false };
        changed
    }

    /// Returns true if members see something of this part.
    pub(crate) fn is_shown(&self) -> bool {
        self.unsure || self.count > 0
    }
}
