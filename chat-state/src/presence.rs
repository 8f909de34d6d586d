//! What a Hub knows of the members that other Hubs have.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use chat_proto::Member;

use crate::ids::{MemberId, Mono};

/// Another Hub's part of a room's roster: the count is whole, the names are a sample.
#[derive(Debug, Default)]
pub(crate) struct RemoteRoster {
    version: u64,
    pub(crate) count: u64,
    pub(crate) members: BTreeMap<MemberId, Member>,
    /// The newest version that was heard of.
    seen: u64,
    /// Changes may be missing that nothing tells of.
    doubted: bool,
    /// A change was shown although some before it are missing.
    unsure: bool,
    /// When it was asked for, if the answer is due.
    asked: Option<Mono>,
    /// The other Hub has left service: its members may come back elsewhere.
    pub(crate) leaving: bool,
}

/// Whether a change follows on what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It does, and is applied.
    Applied,
    /// It is old or was seen before.
    Stale,
    /// Changes before it are missing.
    Missed,
}

impl RemoteRoster {
    pub(crate) fn came(
        &mut self,
        version: u64,
        (id, member): (MemberId, Member),
        listed: usize,
    ) -> Change {
        let change = self.check(version);
        if change == Change::Applied {
            self.count += 1;
            if self.members.len() < listed {
                self.members.insert(id, member);
            }
        }
        change
    }

    pub(crate) fn went(&mut self, version: u64, id: MemberId) -> Change {
        let change = self.check(version);
        if change == Change::Applied {
            self.count = self.count.saturating_sub(1);
            self.members.remove(&id);
        }
        change
    }

    /// Takes the whole; answers whether it is another one than was known.
    pub(crate) fn replace(
        &mut self,
        version: u64,
        count: u64,
        members: Vec<(MemberId, Member)>,
        listed: usize,
    ) -> bool {
        if version < self.version {
            return false;
        }
        let members: BTreeMap<_, _> = members.into_iter().take(listed).collect();
        let changed = self.unsure || self.count != count || self.members != members;
        let seen = self.seen.max(version);
        *self = Self { version, count, members, seen, ..Self::default() };
        changed
    }

    /// The other Hub has left service and answers no more; tells whether that is news.
    pub(crate) fn leave(&mut self, version: u64) -> bool {
        if version <= self.version || self.leaving {
            return false;
        }
        (self.version, self.seen) = (version, self.seen.max(version));
        (self.doubted, self.leaving) = (false, true);
        true
    }

    /// A member has come back elsewhere.
    pub(crate) fn forget(&mut self, id: MemberId) {
        if self.members.remove(&id).is_some() {
            self.count = self.count.saturating_sub(1);
        }
    }

    /// Forgets the members: whoever is still there will say so. Answers whether something of them
    /// was shown.
    pub(crate) fn doubt(&mut self, now: Mono) -> bool {
        let shown = self.is_shown();
        self.count = 0;
        self.members.clear();
        self.doubted = true;
        self.asked = Some(now);
        shown
    }

    /// Tells whether what was shown of the members holds no more once they are forgotten.
    pub(crate) fn is_shown(&self) -> bool {
        self.unsure || self.count > 0
    }

    /// Tells whether the whole is to be asked for: once for all changes before the answer.
    pub(crate) fn ask(&mut self, now: Mono) -> bool {
        let missing = self.doubted || self.seen > self.version;
        let due = self.asked.is_none_or(|asked| now.since(asked) >= ASK_AGAIN_MS);
        if missing && due {
            self.asked = Some(now);
        }
        missing && due
    }

    fn check(&mut self, version: u64) -> Change {
        let news = version > self.seen;
        self.seen = self.seen.max(version);
        if version <= self.version {
            return Change::Stale;
        }
        if version == self.version + 1 && !self.doubted {
            self.version = version;
            return Change::Applied;
        }
        // One that was seen before was shown before.
        self.unsure |= news;
        if news { Change::Missed } else { Change::Stale }
    }
}

/// An answer that takes longer was lost.
const ASK_AGAIN_MS: u64 = 1000;
