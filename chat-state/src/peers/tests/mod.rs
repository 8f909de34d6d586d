//! Some Hubs' views of each other, over a broker that may lose, repeat, delay and reorder signals.
mod laws;
mod stories;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use std::format;

use chat_proto::{Epoch, Position, RoomName, Seq};

use super::signal::{Digest, DigestLine, Lost, Service, Stamp};
use super::{Asked, Change, Cluster, Effect, Note, Register, Settings, To};
use crate::config::Peers;
use crate::ids::{HubId, Mono, PeerSlot};

pub(super) const GRACE_MS: u64 = 10_000;

/// Members by number. They pass by the part that is tested.
type Members = BTreeSet<u32>;

/// What travels between Hubs.
#[derive(Clone, Debug)]
pub(super) enum Signal {
    Came { room: RoomName, member: u32, stamp: Stamp },
    Went { room: RoomName, member: u32, stamp: Stamp },
    Alive(Service),
    AskDigest(Asked),
    AskRosters(Vec<RoomName>),
    Digest(Digest),
    Rosters(Vec<(Register, Members)>),
}

/// A Hub reduced to what its peers care about.
pub(super) struct TestHub {
    id: HubId,
    pub(super) cluster: Cluster,
    /// Its open rooms.
    pub(super) rooms: BTreeMap<RoomName, Members>,
    heads: BTreeMap<RoomName, u64>,
    /// What it shows of its peers' members.
    pub(super) shown: BTreeMap<RoomName, BTreeMap<PeerSlot, Members>>,
    checked: usize,
    ended: Vec<PeerSlot>,
    /// Rooms that peers have left while shutting down.
    left: Vec<(RoomName, PeerSlot)>,
}

/// How the broker treats the next signals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Of so many signals one is lost, 0: none.
    pub(super) lose_every: u64,
    pub(super) repeat_every: u64,
    pub(super) delay_ms_max: u64,
}

struct Carried {
    at: u64,
    to: HubId,
    from: HubId,
    signal: Signal,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) hubs: Vec<Option<TestHub>>,
    pub(super) faults: Faults,
    flying: Vec<Carried>,
    incarnations: u64,
    /// Counts what was sent, to decide its fate.
    sent: u64,
    /// Publications by second.
    pub(super) published: BTreeMap<u64, usize>,
}

pub(super) fn room(n: usize) -> RoomName {
    RoomName::new(&format!("room {n:05}")).expect("a name")
}

impl World {
    pub(super) fn new(hubs: usize) -> Self {
        let mut world = Self {
            now: 0,
            hubs: (0..hubs).map(|_| None).collect(),
            faults: Faults::default(),
            flying: Vec::new(),
            incarnations: 0,
            sent: 0,
            published: BTreeMap::new(),
        };
        (0..hubs).for_each(|hub| world.start(hub));
        world
    }

    /// Starts a Hub under its node's id, in a new incarnation.
    pub(super) fn start(&mut self, hub: usize) {
        self.incarnations += 1;
        let id = HubId { node: hub as u64, incarnation: self.incarnations };
        let settings = Settings {
            me: id,
            peers: Peers::Some,
            census_ms: 1000,
            grace_ms: GRACE_MS,
            rooms_max: 100_000,
        };
        self.hubs[hub] = Some(TestHub {
            id,
            cluster: Cluster::new(settings),
            rooms: BTreeMap::new(),
            heads: BTreeMap::new(),
            shown: BTreeMap::new(),
            checked: 0,
            ended: Vec::new(),
            left: Vec::new(),
        });
        self.turn(hub);
    }

    /// Ends a Hub without a word.
    pub(super) fn kill(&mut self, hub: usize) {
        self.hubs[hub] = None;
    }

    pub(super) fn hub(&mut self, hub: usize) -> &mut TestHub {
        self.hubs[hub].as_mut().expect("it runs")
    }

    pub(super) fn came(&mut self, hub: usize, name: &RoomName, member: u32) {
        let now = Mono(self.now);
        let this = self.hub(hub);
        if !this.rooms.contains_key(name) {
            this.rooms.insert(name.clone(), Members::new());
            this.cluster.opened(now, name);
        }
        if this.rooms.get_mut(name).expect("it is open").insert(member) {
            let stamp = this.cluster.change_here(now, name);
            let signal = Signal::Came { room: name.clone(), member, stamp };
            self.publish(hub, &To::Followers(name.clone()), &signal);
        }
        self.turn(hub);
    }

    pub(super) fn went(&mut self, hub: usize, name: &RoomName, member: u32) {
        let now = Mono(self.now);
        let this = self.hub(hub);
        let Some(members) = this.rooms.get_mut(name) else { return };
        if members.remove(&member) {
            let is_empty = members.is_empty();
            let stamp = this.cluster.change_here(now, name);
            let signal = Signal::Went { room: name.clone(), member, stamp };
            self.publish(hub, &To::Followers(name.clone()), &signal);
            if is_empty {
                self.close(hub, name);
            }
        }
        self.turn(hub);
    }

    /// Closes a room, whoever is in it.
    pub(super) fn close(&mut self, hub: usize, name: &RoomName) {
        let now = Mono(self.now);
        let this = self.hub(hub);
        if this.rooms.remove(name).is_some() {
            this.shown.remove(name);
            this.cluster.closed(now, name);
        }
        self.turn(hub);
    }

    pub(super) fn set_head(&mut self, hub: usize, name: &RoomName, head: u64) {
        self.hub(hub).heads.insert(name.clone(), head);
    }

    pub(super) fn head(&self, hub: usize, name: &RoomName) -> u64 {
        let hub = self.hubs[hub].as_ref().expect("it runs");
        hub.heads.get(name).copied().unwrap_or(0)
    }

    pub(super) fn lost(&mut self, hub: usize, lost: Lost) {
        let now = Mono(self.now);
        self.hub(hub).cluster.lost(now, lost);
        self.turn(hub);
    }

    pub(super) fn set_service(&mut self, hub: usize, service: Service) {
        let mut out = Vec::new();
        self.hub(hub).cluster.set_service(service, &mut out);
        self.perform(hub, out);
    }

    /// Lets time pass, with all that happens in it.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            let timers = self.hubs.iter().enumerate();
            let timers = timers.filter_map(|(n, h)| Some((h.as_ref()?.cluster.due()?.0, n)));
            let timer = timers.min();
            let signal = (0..self.flying.len()).min_by_key(|n| self.flying[*n].at);
            let signal_at = signal.map(|n| self.flying[n].at);
            let next = timer.map(|(at, _)| at).into_iter().chain(signal_at).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if let Some(signal) = signal.filter(|_| signal_at == Some(next)) {
                let Carried { to, from, signal, .. } = self.flying.remove(signal);
                self.deliver(to, from, signal);
            } else if let Some((_, hub)) = timer {
                self.turn(hub);
                assert!(
                    self.hub(hub).cluster.due() > Some(Mono(self.now)),
                    "a turn does what is due"
                );
            }
        }
        self.now = end;
    }

    fn turn(&mut self, hub: usize) {
        let (now, mut out) = (Mono(self.now), Vec::new());
        self.hub(hub).cluster.turn(now, &mut out);
        self.perform(hub, out);
    }

    fn deliver(&mut self, to: HubId, from: HubId, signal: Signal) {
        let running = |hub: &Option<TestHub>| hub.as_ref().is_some_and(|hub| hub.id == to);
        let Some(hub) = self.hubs.iter().position(running) else { return };
        let (now, mut out) = (Mono(self.now), Vec::new());
        self.hub(hub).take(now, from, signal, &mut out);
        self.perform(hub, out);
        self.turn(hub);
    }

    fn perform(&mut self, hub: usize, effects: Vec<Effect>) {
        for effect in effects {
            let now = Mono(self.now);
            let this = self.hub(hub);
            match effect {
                Effect::Say { to, note } => {
                    let signal = this.complete(note);
                    self.publish(hub, &to, &signal);
                }
                Effect::CheckAfter { after, limit } => {
                    let rooms = this.rooms.keys().filter(|room| Some(*room) > after.as_ref());
                    let rooms: Vec<RoomName> = rooms.take(limit).cloned().collect();
                    this.checked += rooms.len();
                    let last = if rooms.len() < limit { None } else { rooms.last().cloned() };
                    this.cluster.checked(now, last);
                }
                Effect::Check(rooms) => this.checked += rooms.len(),
                Effect::Head { room, head } => {
                    let known = this.heads.entry(room).or_default();
                    *known = head.seq.get().max(*known);
                }
                Effect::Left { room, slot } => this.left.push((room, slot)),
                Effect::Emptied { room, slot } | Effect::PartEnded { room, slot } => {
                    if let Some(parts) = this.shown.get_mut(&room) {
                        parts.remove(&slot);
                    }
                }
                Effect::Ended(slot) => this.ended.push(slot),
                Effect::Repeat => {}
            }
        }
    }

    fn publish(&mut self, from: usize, to: &To, signal: &Signal) {
        let from = self.hubs[from].as_ref().expect("it runs").id;
        *self.published.entry(self.now / 1000).or_default() += 1;
        let wanted = |hub: &TestHub| match to {
            To::Everyone => true,
            To::Followers(room) => hub.rooms.contains_key(room),
            To::Peer(peer) => hub.id == *peer,
        };
        let all = self.hubs.iter().flatten().filter(|hub| hub.id != from && wanted(hub));
        let all: Vec<HubId> = all.map(|hub| hub.id).collect();
        for to in all {
            self.sent += 1;
            let Faults { lose_every, repeat_every, delay_ms_max } = self.faults;
            let strikes =
                |every: u64, salt: u64| every > 0 && mix(self.sent + salt).is_multiple_of(every);
            if strikes(lose_every, 0) {
                continue;
            }
            let times = if strikes(repeat_every, 1 << 32) { 2 } else { 1 };
            for n in 0..times {
                let at = self.now + mix(self.sent + (n << 40)) % (delay_ms_max + 1);
                self.flying.push(Carried { at, to, from, signal: signal.clone() });
            }
        }
    }

    /// Checks that each Hub knows what the others have, and nothing else.
    pub(super) fn assert_converged(&self) {
        for hub in self.hubs.iter().flatten() {
            let others = || self.hubs.iter().flatten().filter(|other| other.id != hub.id);
            assert_eq!(hub.cluster.len(), others().count(), "peers of {:?}", hub.id);
            let mut elsewhere = BTreeMap::<&RoomName, u64>::new();
            for (room, members) in others().flat_map(|other| &other.rooms) {
                *elsewhere.entry(room).or_default() += members.len() as u64;
            }
            elsewhere.retain(|_, count| *count > 0);
            let known = hub.cluster.rooms_after(None).map(|room| (room, hub.cluster.count(room)));
            assert_eq!(known.collect::<BTreeMap<_, _>>(), elsewhere, "rooms of {:?}", hub.id);
            assert_eq!(hub.cluster.rooms(), elsewhere.len());
            let not_here = elsewhere.keys().filter(|room| !hub.rooms.contains_key(**room));
            assert_eq!(hub.cluster.rooms_not_here(), not_here.count());
            for room in hub.rooms.keys() {
                let parts = hub.shown.get(room).into_iter().flatten();
                let parts = parts.filter(|(_, members)| !members.is_empty());
                let shown: BTreeMap<HubId, &Members> = parts
                    .map(|(slot, members)| (hub.cluster.hub(*slot).expect("a peer"), members))
                    .collect();
                let there = others().filter_map(|other| Some((other.id, other.rooms.get(room)?)));
                let there = there.filter(|(_, members)| !members.is_empty()).collect();
                assert_eq!(shown, there, "members of {room} as {:?} shows them", hub.id);
            }
        }
    }

    /// Returns how many signals were published in these seconds.
    pub(super) fn published_in(&self, seconds: core::ops::Range<u64>) -> usize {
        self.published.range(seconds).map(|(_, count)| count).sum()
    }
}

impl TestHub {
    fn take(&mut self, now: Mono, from: HubId, signal: Signal, out: &mut Vec<Effect>) {
        let Some(slot) = self.cluster.heard(now, from, out) else { return };
        match signal {
            Signal::Came { room, member, stamp } => {
                let change = self.cluster.came(slot, &room, stamp);
                if change == Change::Stale {
                    return;
                }
                let members = self.shown.entry(room).or_default().entry(slot).or_default();
                if change == Change::First {
                    members.clear();
                }
                members.insert(member);
            }
            Signal::Went { room, member, stamp } => {
                if self.cluster.went(slot, &room, stamp) != Change::Stale {
                    let members = self.shown.entry(room).or_default().entry(slot).or_default();
                    members.remove(&member);
                }
            }
            Signal::Alive(service) => self.cluster.service_told(now, slot, service),
            Signal::AskDigest(asked) => self.cluster.digest_asked(slot, &asked, out),
            Signal::AskRosters(rooms) => self.cluster.rosters_asked(slot, &rooms),
            Signal::Digest(digest) => self.cluster.digest(slot, &digest, out),
            Signal::Rosters(parts) => {
                for (register, members) in parts {
                    if self.cluster.whole(slot, &register, members.len() as u64) {
                        self.shown.entry(register.room).or_default().insert(slot, members);
                    }
                }
            }
        }
    }

    /// Adds what only the owner knows.
    fn complete(&self, note: Note) -> Signal {
        let members = |room: &RoomName| self.rooms.get(room).cloned().unwrap_or_default();
        let head = |room: &RoomName| {
            let seq = Seq::new(*self.heads.get(room)?).expect("small");
            Some(Position { epoch: Epoch::new("e").expect("an epoch"), seq })
        };
        match note {
            Note::Alive(service) => Signal::Alive(service),
            Note::AskDigest(asked) => Signal::AskDigest(asked),
            Note::AskRosters(rooms) => Signal::AskRosters(rooms),
            Note::Digest { at, covers, registers } => {
                let line = |Register { room, version }: Register| {
                    let (count, head) = (members(&room).len() as u64, head(&room));
                    DigestLine { room, version, count, head }
                };
                let lines = registers.into_iter().map(line).collect();
                Signal::Digest(Digest { at, covers, lines })
            }
            Note::Rosters(registers) => {
                let whole = |register: Register| {
                    let members = members(&register.room);
                    (register, members)
                };
                Signal::Rosters(registers.into_iter().map(whole).collect())
            }
        }
    }
}

/// A number that looks random.
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
