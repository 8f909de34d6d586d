//! The other Hubs: which there are, what they have said, and how to recover what was lost.
//!
//! A Hub tells its peers every change of its part of a roster at once, and everything else by
//! *digests*: summaries of rooms that peers compare with what they know. Each Hub sends digests of
//! the rooms that have changed, of all its rooms in turn, and of whatever a peer requests. So a
//! lost signal is noticed at the latest when the room's turn comes.
//!
//! Everything that a peer has said lasts as long as its lease. A signal renews it.
//!
//! This part knows neither members nor logs. It numbers what this Hub says, decides whether what a
//! peer says is news, and tells its owner what to say and what to drop. Member lists, counts and
//! heads pass by it: the owner adds them to a [`Note`] and keeps them under a [`PeerSlot`].
//!
//! *Invariants:* whatever happens, at most [`pace::SIGNALS`] signals are sent in
//! [`pace::REFILL_MS`]. Without changes and losses, a Hub sends leases and digests only.
mod outgoing;
mod pace;
mod recovery;
mod registers;
pub(crate) mod signal;
mod speak;
mod table;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use chat_proto::{Position, RoomName};

use self::outgoing::{ANSWERS_MAX, Ended, Outgoing};
use self::pace::Pace;
use self::recovery::Recovery;
pub(crate) use self::registers::{Change, Register};
use self::registers::{Kind, Line, Registers};
use self::signal::{Asked, Digest, Lost, Service, Span, Stamp};
use self::table::{Heard, PeerTable};
use crate::config::Peers;
use crate::ids::{HubId, Mono, PeerSlot};

/// How often a Hub renews its lease, in milliseconds.
pub(crate) const RENEW_MS: u64 = 5000;

/// How long an answer to a request may take before it is taken for lost, in milliseconds.
const ANSWER_MS: u64 = 1000;

/// In how many renewals of the lease all rooms are listed once.
const ROUND_RENEWALS: usize = 12;

/// Rooms that are listed with each renewal of the lease, if there are as many.
const ROUND_ROOMS_MIN: usize = 256;

/// Settings of a [`Cluster`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) me: HubId,
    /// A Hub without peers says nothing, and only recovers lost signals.
    pub(crate) peers: Peers,
    /// How long changes are collected before all peers get their summary.
    pub(crate) census_ms: u64,
    /// How long the members of a Hub that has stopped may take to come back elsewhere.
    pub(crate) grace_ms: u64,
    /// The largest number of rooms of peers that are kept.
    pub(crate) rooms_max: usize,
}

/// What a [`Cluster`] asks its owner to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Say this to peers.
    Say { to: To, note: Note },
    /// Check the heads of up to `limit` open rooms after a name in their logs, and call
    /// [`Cluster::checked`] with the last one.
    CheckAfter { after: Option<RoomName>, limit: usize },
    /// Check the heads of these rooms in their logs.
    Check(Vec<RoomName>),
    /// A peer knows this entry of the log of a room that is open here.
    Head { room: RoomName, head: Position },
    /// The peer has no members in the room any more.
    Emptied { room: RoomName, slot: PeerSlot },
    /// The peer shuts down and has no members in the room any more: they may come back elsewhere.
    Left { room: RoomName, slot: PeerSlot },
    /// Say again, in turn, what digests of rooms do not contain: this Hub's lease was renewed, or
    /// a peer has lost signals.
    Repeat,
    /// The peer has ended, and with it all that it has said. Its parts follow.
    Ended(PeerSlot),
    /// The peer's part of the room has ended.
    PartEnded { room: RoomName, slot: PeerSlot },
}

/// Whom a [`Note`] is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Everyone,
    Followers(RoomName),
    Peer(HubId),
}

/// What this part says. The owner adds what only the owner knows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// This Hub's lease is renewed.
    Alive(Service),
    /// Send digests.
    AskDigest(Asked),
    /// Send the whole of your parts of these rooms.
    AskRosters(Vec<RoomName>),
    /// This Hub's registers. The owner adds counts and heads.
    Digest { at: u64, covers: Option<Span<RoomName>>, registers: Vec<Register> },
    /// The whole of this Hub's parts. The owner adds counts and members.
    Rosters(Vec<Register>),
}

/// The other Hubs, as one Hub knows them.
#[derive(Debug)]
pub(crate) struct Cluster {
    settings: Settings,
    service: Service,
    table: PeerTable,
    registers: Registers,
    outgoing: Outgoing,
    recovery: Recovery,
    introduction: Introduction,
    pace: Pace,
    /// When heads may be checked again.
    check_at: Mono,
    /// `None`: there are no peers.
    renew_at: Option<Mono>,
    /// When the changes that were collected are told.
    changed_at: Option<Mono>,
    /// Requests that may have been lost, in the order in which their answers are overdue. At most
    /// one for each part of an open room and time of [`ANSWER_MS`].
    overdue: VecDeque<Waiting>,
}

/// Whether this Hub has asked its peers what they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Introduction {
    Due,
    Made,
}

/// A part for which an answer is due.
#[derive(Debug)]
struct Waiting {
    at: Mono,
    slot: PeerSlot,
    room: RoomName,
}

impl Cluster {
    /// Makes a Hub's view of its peers, which it does not know yet. The first call of
    /// [`Self::turn`] introduces the Hub to them.
    pub(crate) fn new(settings: Settings) -> Self {
        let (renew_at, introduction) = match settings.peers {
            Peers::None => (None, Introduction::Made),
            Peers::Some => (Some(Mono(0)), Introduction::Due),
        };
        Self {
            settings,
            service: Service::Active,
            table: PeerTable::default(),
            registers: Registers::default(),
            outgoing: Outgoing::default(),
            recovery: Recovery::default(),
            introduction,
            pace: Pace::default(),
            check_at: Mono(0),
            renew_at,
            changed_at: None,
            overdue: VecDeque::new(),
        }
    }

    /// Sets the largest number of rooms of peers that are kept.
    pub(crate) fn set_rooms_max(&mut self, rooms_max: usize) {
        self.settings.rooms_max = rooms_max;
    }

    /// Requests the members of peers again: more of them are wanted now.
    pub(crate) fn forget_members(&mut self) {
        self.registers.forget_members();
    }

    /// Takes a report of lost signals.
    pub(crate) fn lost(&mut self, now: Mono, lost: Lost) {
        self.recovery.lost(now, lost);
    }

    /// Takes the last room of which the head was checked; `None` if there are no more.
    pub(crate) fn checked(&mut self, now: Mono, last: Option<RoomName>) {
        self.recovery.checked(now, last);
    }

    /// Tells peers that this Hub begins to shut down, or that it has no connections left.
    pub(crate) fn set_service(&mut self, service: Service, out: &mut Vec<Effect>) {
        assert!(service > self.service, "a shutdown is not taken back");
        self.service = service;
        out.push(Effect::Say { to: To::Everyone, note: Note::Alive(service) });
    }

    /// Returns a peer's id; `None` after the peer has ended.
    #[cfg(test)]
    pub(crate) fn hub(&self, slot: PeerSlot) -> Option<HubId> {
        self.table.id(slot)
    }

    /// Returns the number of peers.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

/// This Hub's own rooms.
impl Cluster {
    /// Records that a room whose members see each other is open here.
    pub(crate) fn opened(&mut self, now: Mono, room: &RoomName) {
        for slot in self.registers.open(room) {
            self.expect_answer(now, slot, room.clone());
        }
        self.outgoing.opened.push_back(room.clone());
    }

    /// Records that such a room is closed here.
    pub(crate) fn closed(&mut self, now: Mono, room: &RoomName) {
        if self.registers.close(room) {
            self.registers.stamp();
            self.has_changed(now, room);
        }
        self.outgoing.opened.retain(|opened| opened != room);
    }

    /// Numbers a change of this Hub's part of a roster, to be told to the room's followers.
    pub(crate) fn change_here(&mut self, now: Mono, room: &RoomName) -> Stamp {
        self.has_changed(now, room);
        self.registers.change_here(room)
    }

    /// Takes the next number for something else that this Hub says.
    pub(crate) fn stamp(&mut self) -> u64 {
        self.registers.stamp()
    }

    fn has_changed(&mut self, now: Mono, room: &RoomName) {
        self.outgoing.changed.insert(room.clone());
        self.changed_at.get_or_insert(now.plus(self.settings.census_ms));
    }
}

/// What peers say.
impl Cluster {
    /// Renews the lease of a signal's sender. Returns its slot, or `None` if the signal must be
    /// ignored: its sender has been replaced by a newer incarnation.
    pub(crate) fn heard(
        &mut self,
        now: Mono,
        from: HubId,
        out: &mut Vec<Effect>,
    ) -> Option<PeerSlot> {
        match self.table.heard(now, self.settings.me, from) {
            Heard::Ignored => None,
            Heard::Known(slot) => Some(slot),
            Heard::New { slot, replaces } => {
                if let Some(old) = replaces {
                    self.end(old, out);
                }
                let note = Note::AskDigest(Asked::All);
                out.push(Effect::Say { to: To::Peer(from), note });
                Some(slot)
            }
        }
    }

    /// Takes what a peer says about its service.
    pub(crate) fn service_told(&mut self, now: Mono, slot: PeerSlot, service: Service) {
        self.table.set_service(now, slot, service, self.settings.grace_ms);
    }

    /// Takes a new member of a peer.
    pub(crate) fn came(&mut self, slot: PeerSlot, room: &RoomName, stamp: Stamp) -> Change {
        self.changed(slot, room, stamp, Kind::Came)
    }

    /// Takes the leave of a member of a peer.
    pub(crate) fn went(&mut self, slot: PeerSlot, room: &RoomName, stamp: Stamp) -> Change {
        self.changed(slot, room, stamp, Kind::Went)
    }

    fn changed(&mut self, slot: PeerSlot, room: &RoomName, stamp: Stamp, kind: Kind) -> Change {
        let change = self.registers.change(slot, room, stamp, kind);
        if change == Change::Missed {
            self.request(slot, room);
        }
        change
    }

    /// Takes the whole of a peer's part. Returns true if it replaces what is known: an answer that
    /// is older than a change already seen does not.
    pub(crate) fn whole(&mut self, slot: PeerSlot, register: &Register, count: u64) -> bool {
        self.registers.whole(slot, register, count)
    }

    /// Takes a digest.
    pub(crate) fn digest(&mut self, slot: PeerSlot, digest: &Digest, out: &mut Vec<Effect>) {
        for line in &digest.lines {
            let register = Register { room: line.room.clone(), version: line.version };
            let rooms_max = self.settings.rooms_max;
            match self.registers.line(slot, &register, line.count, rooms_max) {
                Line::Nothing => {}
                Line::Request => self.request(slot, &line.room),
                Line::Emptied => self.emptied(slot, line.room.clone(), out),
            }
            if let Some(head) = &line.head
                && self.registers.is_open(&line.room)
            {
                out.push(Effect::Head { room: line.room.clone(), head: head.clone() });
            }
        }
        for room in self.registers.unlisted(slot, digest) {
            self.emptied(slot, room, out);
        }
    }

    /// A peer has no members in a room any more.
    fn emptied(&self, slot: PeerSlot, room: RoomName, out: &mut Vec<Effect>) {
        let shuts_down = self.table.service(slot).is_some_and(|service| service > Service::Active);
        out.push(match shuts_down {
            true => Effect::Left { room, slot },
            false => Effect::Emptied { room, slot },
        });
    }

    /// Takes a peer's request for digests.
    pub(crate) fn digest_asked(&mut self, slot: PeerSlot, asked: &Asked, out: &mut Vec<Effect>) {
        match asked {
            Asked::All => {
                self.outgoing.streams.insert(slot, None);
                out.push(Effect::Repeat);
            }
            Asked::Rooms(rooms) => {
                let free = ANSWERS_MAX.saturating_sub(self.outgoing.lines.len());
                let rooms = rooms.iter().take(free).map(|room| (slot, room.clone()));
                self.outgoing.lines.extend(rooms);
            }
        }
    }

    /// Takes a peer's request for the whole of this Hub's parts.
    pub(crate) fn rosters_asked(&mut self, slot: PeerSlot, rooms: &[RoomName]) {
        let free = ANSWERS_MAX.saturating_sub(self.outgoing.answers.len());
        let rooms = rooms.iter().take(free).map(|room| (slot, room.clone()));
        self.outgoing.answers.extend(rooms);
    }

    /// Queues a request for the whole of a peer's part.
    fn request(&mut self, slot: PeerSlot, room: &RoomName) {
        if self.registers.queue_request(slot, room) {
            self.outgoing.requests.insert((slot, room.clone()));
        }
    }

    fn expect_answer(&mut self, now: Mono, slot: PeerSlot, room: RoomName) {
        self.overdue.push_back(Waiting { at: now.plus(ANSWER_MS), slot, room });
    }

    /// Drops what a peer has said.
    fn end(&mut self, slot: PeerSlot, out: &mut Vec<Effect>) {
        out.push(Effect::Ended(slot));
        self.outgoing.forget(slot);
        self.overdue.retain(|waiting| waiting.slot != slot);
        let rooms = self.registers.end(slot).into();
        self.outgoing.ended.push_back(Ended { slot, rooms });
    }
}

/// The rooms of all peers together.
impl Cluster {
    /// Returns how many rooms peers have members in.
    pub(crate) fn rooms(&self) -> usize {
        self.registers.elsewhere()
    }

    /// Returns how many of these are not open here.
    pub(crate) fn rooms_not_here(&self) -> usize {
        self.registers.not_here()
    }

    /// Returns how many members peers have in a room, as far as is known.
    pub(crate) fn count(&self, room: &RoomName) -> u64 {
        self.registers.count(room)
    }

    /// Returns the rooms after a name that peers have members in, in the order of their names.
    pub(crate) fn rooms_after(&self, after: Option<&RoomName>) -> impl Iterator<Item = &RoomName> {
        self.registers.after(after)
    }
}
