//! The members that peers have reported.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use chat_proto::Member;

use super::here::Here;
use super::types::Part;
use crate::ids::{MemberId, Mono, PeerSlot};

/// The parts of all peers, and one index of the members that they name.
///
/// The index is what makes the count and the list cheap: a member that several Hubs have is found
/// when it is reported, not when somebody asks.
///
/// *Bound:* one part for each peer that the caller knows, with at most `members_listed` names.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    parts: BTreeMap<PeerSlot, PeerPart>,
    /// Named members that this Hub does not have.
    only_there: BTreeMap<MemberId, Named>,
    /// Named members that this Hub has, too.
    also_here: BTreeMap<MemberId, Named>,
    /// Peers that have left the room, and when their members are gone.
    leaving: BTreeMap<PeerSlot, Mono>,
    /// The counts of all parts together.
    total: u64,
    /// How many times a named member is counted by more than one Hub.
    repeated: u64,
}

/// What one peer has reported.
#[derive(Debug, Default)]
struct PeerPart {
    /// At least the number of those in the sample.
    count: u64,
    sample: BTreeSet<MemberId>,
}

/// A member that at least one peer names.
#[derive(Debug)]
struct Named {
    member: Member,
    peers: u32,
}

/// What this Hub has and wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own<'a> {
    pub(super) here: &'a Here,
    /// How many members of a peer are kept by name.
    pub(super) listed: usize,
}

/// Says whether a report changes who is in the room, moves between Hubs aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Union {
    Same,
    Changed,
}

/// A report of more members than this counts as this many, so that no sum overflows.
const PEER_MEMBERS_MAX: u64 = u32::MAX as u64;

impl Elsewhere {
    /// Returns the members that this Hub does not have, as far as that is known.
    pub(super) fn count(&self) -> u64 {
        self.total - self.repeated
    }

    pub(super) fn lists_anybody(&self) -> bool {
        !self.only_there.is_empty()
    }

    /// Returns the named members that this Hub does not have.
    pub(super) fn list(&self) -> impl Iterator<Item = &Member> {
        self.only_there.values().map(|named| &named.member)
    }

    pub(super) fn names(&self, id: MemberId) -> bool {
        self.only_there.contains_key(&id) || self.also_here.contains_key(&id)
    }

    /// Records that this Hub has a member, and returns whether a peer has it as well.
    pub(super) fn entered(&mut self, id: MemberId) -> bool {
        let Some(named) = self.only_there.remove(&id) else { return false };
        self.repeated += 1;
        self.also_here.insert(id, named);
        true
    }

    /// Records that this Hub has lost a member, and returns whether a peer has it.
    pub(super) fn left(&mut self, id: MemberId) -> bool {
        let Some(named) = self.also_here.remove(&id) else { return false };
        self.repeated -= 1;
        self.only_there.insert(id, named);
        true
    }

    /// Takes a member out of the parts of the peers that have left the room.
    pub(super) fn came_back(&mut self, id: MemberId) {
        if !self.leaving.is_empty() && self.names(id) {
            let has_it = |peer: &&PeerSlot| self.parts[*peer].sample.contains(&id);
            let peers: Vec<_> = self.leaving.keys().filter(has_it).copied().collect();
            for peer in peers {
                self.remove(peer, id);
            }
        }
    }

    /// Returns true if a peer has members, as far as it has reported.
    pub(super) fn has(&self, peer: PeerSlot) -> bool {
        self.parts.get(&peer).is_some_and(|part| part.count > 0)
    }

    /// Adds a member to a peer's part.
    pub(super) fn add(&mut self, peer: PeerSlot, id: MemberId, member: Member, own: Own<'_>) {
        self.leaving.remove(&peer);
        let part = self.parts.entry(peer).or_default();
        if part.sample.contains(&id) {
            return;
        }
        if part.count < PEER_MEMBERS_MAX {
            part.count += 1;
            self.total += 1;
        }
        if part.sample.len() < own.listed {
            part.sample.insert(id);
            self.name(id, member, own.here);
        }
    }

    /// Takes a member out of a peer's part. Returns false if it was not counted there: the report
    /// that it came was lost.
    pub(super) fn remove(&mut self, peer: PeerSlot, id: MemberId) -> bool {
        let Some(part) = self.parts.get_mut(&peer) else { return false };
        let named = part.sample.remove(&id);
        let counted = named || part.unnamed() > 0;
        if counted {
            part.count -= 1;
            self.total -= 1;
        }
        if named {
            self.unname(id);
        }
        counted
    }

    /// Replaces a peer's part.
    pub(super) fn replace(&mut self, peer: PeerSlot, told: Part, own: Own<'_>) -> Union {
        self.leaving.remove(&peer);
        let members: BTreeMap<_, _> = told.members.into_iter().take(own.listed).collect();
        let names = members.len() as u64;
        let count = told.count.clamp(names, PEER_MEMBERS_MAX);
        let part = self.parts.entry(peer).or_default();
        let mut union = Union::changed_if(count - names != part.unnamed());
        self.total = self.total - part.count + count;
        let sample = members.keys().copied().collect();
        let before = core::mem::replace(&mut part.sample, sample);
        part.count = count;
        for id in before.iter().filter(|id| !members.contains_key(*id)) {
            union = union.and(self.unname(*id));
        }
        for (id, member) in members {
            let change = match before.contains(&id) {
                true => self.rename(id, member),
                false => self.name(id, member, own.here),
            };
            union = union.and(change);
        }
        union
    }

    /// Gives the members of a peer that has left the room time to come back elsewhere.
    pub(super) fn leave(&mut self, peer: PeerSlot, until: Mono) {
        self.leaving.insert(peer, until);
    }

    /// Returns when the members of the next peer that has left the room are gone.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.leaving.values().min().copied()
    }

    /// Empties the parts of the peers whose time is over.
    pub(super) fn end_leaving(&mut self, now: Mono) -> Union {
        let due: Vec<_> =
            self.leaving.iter().filter(|(_, at)| **at <= now).map(|(peer, _)| *peer).collect();
        due.into_iter().fold(Union::Same, |union, peer| union.and(self.clear(peer)))
    }

    /// Empties a peer's part.
    pub(super) fn clear(&mut self, peer: PeerSlot) -> Union {
        if !self.parts.contains_key(&peer) {
            return Union::Same;
        }
        let own = Own { here: &Here::new(0), listed: 0 };
        self.replace(peer, Part { count: 0, members: Vec::new() }, own)
    }

    /// Forgets a peer with everything that it has reported.
    pub(super) fn end(&mut self, peer: PeerSlot) -> Union {
        let union = self.clear(peer);
        self.parts.remove(&peer);
        union
    }

    /// Counts one more peer that names a member.
    fn name(&mut self, id: MemberId, member: Member, here: &Here) -> Union {
        if let Some(named) = self.named(id) {
            named.peers += 1;
            self.repeated += 1;
            return self.rename(id, member);
        }
        let named = Named { member, peers: 1 };
        if here.has(id) {
            self.repeated += 1;
            self.also_here.insert(id, named);
            Union::Same
        } else {
            self.only_there.insert(id, named);
            Union::Changed
        }
    }

    /// Counts one peer less that names a member.
    fn unname(&mut self, id: MemberId) -> Union {
        let named = self.named(id).expect("every member of a sample is indexed");
        named.peers -= 1;
        if named.peers > 0 || self.also_here.remove(&id).is_some() {
            self.repeated -= 1;
            Union::Same
        } else {
            self.only_there.remove(&id);
            Union::Changed
        }
    }

    fn rename(&mut self, id: MemberId, member: Member) -> Union {
        let named = self.named(id).expect("every member of a sample is indexed");
        let changed = named.member != member;
        named.member = member;
        Union::changed_if(changed && self.only_there.contains_key(&id))
    }

    fn named(&mut self, id: MemberId) -> Option<&mut Named> {
        self.only_there.get_mut(&id).or_else(|| self.also_here.get_mut(&id))
    }
}

impl PeerPart {
    /// Returns the members that are counted and not in the sample.
    fn unnamed(&self) -> u64 {
        self.count - self.sample.len() as u64
    }
}

impl Union {
    fn changed_if(changed: bool) -> Self {
        if changed { Self::Changed } else { Self::Same }
    }

    fn and(self, other: Self) -> Self {
        Self::changed_if(self == Self::Changed || other == Self::Changed)
    }
}
