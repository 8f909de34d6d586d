//! Which peers there are, and until when their leases last.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::signal::Service;
use crate::ids::{HubId, Mono, PeerSlot};

/// A peer that says nothing for this long has ended, in milliseconds.
pub(super) const LEASE_MS: u64 = 20_000;

/// The largest number of peers. Further ones are ignored until another one ends.
pub(super) const PEERS_MAX: usize = 1024;

#[derive(Debug)]
struct Peer {
    id: HubId,
    service: Service,
    until: Mono,
}

/// Where a signal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// From a peer that is known.
    Known(PeerSlot),
    /// From a peer that was not known. It replaces an older incarnation of its node, if there is
    /// one.
    New { slot: PeerSlot, replaces: Option<PeerSlot> },
    /// From this Hub, from an older incarnation of a known peer, or from one peer too many.
    Ignored,
}

/// The peers by slot and by node. Bounded by [`PEERS_MAX`].
#[derive(Debug, Default)]
pub(super) struct PeerTable {
    slots: Vec<Option<Peer>>,
    nodes: BTreeMap<u64, PeerSlot>,
    free: Vec<PeerSlot>,
    /// No lease ends before this.
    due: Option<Mono>,
}

impl PeerTable {
    /// Renews the lease of a signal's sender.
    pub(super) fn heard(&mut self, now: Mono, me: HubId, from: HubId) -> Heard {
        if from.node == me.node {
            return Heard::Ignored;
        }
        let replaces = match self.nodes.get(&from.node) {
            None => None,
            Some(slot) => {
                let peer = self.slots[slot.0 as usize].as_mut().expect("a named slot has a peer");
                if peer.id == from {
                    if peer.service != Service::Stopped {
                        peer.until = now.plus(LEASE_MS);
                    }
                    return Heard::Known(*slot);
                }
                if peer.id > from {
                    return Heard::Ignored;
                }
                Some(*slot)
            }
        };
        if replaces.is_none() && self.nodes.len() >= PEERS_MAX {
            return Heard::Ignored;
        }
        if let Some(old) = replaces {
            self.remove(old);
        }
        let until = now.plus(LEASE_MS);
        let peer = Peer { id: from, service: Service::Active, until };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            PeerSlot(u32::try_from(self.slots.len() - 1).expect("peers are bounded"))
        });
        self.slots[slot.0 as usize] = Some(peer);
        self.nodes.insert(from.node, slot);
        self.due = Some(self.due.map_or(until, |due| due.min(until)));
        Heard::New { slot, replaces }
    }

    /// Returns a peer's id; `None` after the peer has ended.
    pub(super) fn id(&self, slot: PeerSlot) -> Option<HubId> {
        self.get(slot).map(|peer| peer.id)
    }

    pub(super) fn service(&self, slot: PeerSlot) -> Option<Service> {
        self.get(slot).map(|peer| peer.service)
    }

    /// Records what a peer says about its service. Once it has stopped, its lease is not renewed
    /// and ends after `grace_ms`.
    pub(super) fn set_service(
        &mut self,
        now: Mono,
        slot: PeerSlot,
        service: Service,
        grace_ms: u64,
    ) {
        let peer = self.slots[slot.0 as usize].as_mut().expect("the peer was just heard");
        // A drain is never taken back, so a signal that says so was overtaken.
        if service <= peer.service {
            return;
        }
        peer.service = service;
        if service == Service::Stopped {
            peer.until = now.plus(grace_ms);
            self.due = Some(self.due.map_or(peer.until, |due| due.min(peer.until)));
        }
    }

    /// Removes the peers whose leases have ended.
    pub(super) fn expire(&mut self, now: Mono) -> Vec<PeerSlot> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let over = |slot: &&PeerSlot| self.get(**slot).is_some_and(|peer| peer.until <= now);
        let ended: Vec<PeerSlot> = self.nodes.values().filter(over).copied().collect();
        for slot in &ended {
            self.remove(*slot);
        }
        self.due = self.slots.iter().flatten().map(|peer| peer.until).min();
        ended
    }

    /// Returns when to look for leases that have ended.
    pub(super) fn due(&self) -> Option<Mono> {
        self.due
    }

    /// Makes the slot of an ended peer available again.
    pub(super) fn release(&mut self, slot: PeerSlot) {
        assert!(self.get(slot).is_none(), "only the slot of an ended peer is released");
        assert!(!self.free.contains(&slot), "a slot is released once");
        self.free.push(slot);
    }

    /// Returns the number of peers.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn get(&self, slot: PeerSlot) -> Option<&Peer> {
        self.slots.get(slot.0 as usize)?.as_ref()
    }

    fn remove(&mut self, slot: PeerSlot) {
        let peer = self.slots[slot.0 as usize].take().expect("only a peer that is there ends");
        self.nodes.remove(&peer.id.node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: HubId = HubId { node: 0, incarnation: 5 };

    fn hub(node: u64, incarnation: u64) -> HubId {
        HubId { node, incarnation }
    }

    #[test]
    fn a_newer_incarnation_replaces_the_older_one_and_never_the_reverse() {
        let mut table = PeerTable::default();
        let first = table.heard(Mono(0), ME, hub(1, 1));
        assert_eq!(first, Heard::New { slot: PeerSlot(0), replaces: None });
        assert_eq!(table.heard(Mono(0), ME, hub(1, 1)), Heard::Known(PeerSlot(0)));
        let second = table.heard(Mono(0), ME, hub(1, 2));
        // The old slot is not reused while other parts may still hold something under it.
        assert_eq!(second, Heard::New { slot: PeerSlot(1), replaces: Some(PeerSlot(0)) });
        assert_eq!(table.heard(Mono(0), ME, hub(1, 1)), Heard::Ignored);
        table.release(PeerSlot(0));
        let other = table.heard(Mono(0), ME, hub(2, 1));
        assert_eq!(other, Heard::New { slot: PeerSlot(0), replaces: None });
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_hub_is_no_peer_of_itself_in_any_incarnation() {
        let mut table = PeerTable::default();
        for incarnation in 4..7 {
            assert_eq!(table.heard(Mono(0), ME, hub(0, incarnation)), Heard::Ignored);
        }
    }

    #[test]
    fn a_lease_ends_20_s_after_the_last_signal() {
        let mut table = PeerTable::default();
        table.heard(Mono(0), ME, hub(1, 1));
        table.heard(Mono(5000), ME, hub(2, 1));
        table.heard(Mono(7000), ME, hub(1, 1));
        assert_eq!(table.due(), Some(Mono(20_000)));
        assert_eq!(table.expire(Mono(20_000)), []);
        assert_eq!(table.due(), Some(Mono(25_000)));
        assert_eq!(table.expire(Mono(26_999)), [PeerSlot(1)]);
        assert_eq!(table.expire(Mono(27_000)), [PeerSlot(0)]);
        assert_eq!((table.len(), table.due()), (0, None));
    }

    #[test]
    fn a_stopped_peer_ends_after_the_grace_period_whatever_else_it_says() {
        let mut table = PeerTable::default();
        let slot = PeerSlot(0);
        table.heard(Mono(0), ME, hub(1, 1));
        table.set_service(Mono(0), slot, Service::Stopped, 3000);
        // This was overtaken.
        table.set_service(Mono(0), slot, Service::Draining, 3000);
        table.heard(Mono(1000), ME, hub(1, 1));
        assert_eq!(table.expire(Mono(2999)), []);
        assert_eq!(table.expire(Mono(3000)), [slot]);
    }

    #[test]
    fn peers_are_bounded() {
        let mut table = PeerTable::default();
        for node in 1..=PEERS_MAX as u64 {
            assert!(matches!(table.heard(Mono(0), ME, hub(node, 1)), Heard::New { .. }));
        }
        assert_eq!(table.heard(Mono(0), ME, hub(5000, 1)), Heard::Ignored);
        assert!(matches!(table.heard(Mono(0), ME, hub(7, 2)), Heard::New { .. }));
    }
}
