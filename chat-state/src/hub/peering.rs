//! Applies the effects of the [`Cluster`](crate::peers::Cluster), which keeps track of peers.
use alloc::vec::Vec;

use super::{Actions, Hub};
use crate::config::Peers;
use crate::event::{Signal, SignalTo};
use crate::ids::Mono;
use crate::peers::signal::{Digest, DigestLine, RosterPart, Service};
use crate::peers::{Effect, Note, Register, To};
use crate::room::audience::{Audience, Part};

/// The largest number of members in one signal, unless a single room has more.
const MEMBERS_MAX: usize = 1024;

impl Hub {
    /// Returns when this Hub has to send something to its peers, or the lease of a peer ends.
    pub(super) fn peers_due(&self) -> Option<Mono> {
        match self.config.peers {
            Peers::None => None,
            Peers::Some => self.peers.due(),
        }
    }

    /// Sends what is due to peers, and drops peers whose lease has ended.
    #[inline(never)]
    pub(super) fn take_peer_turn(&mut self, out: &mut Actions) {
        let mut effects = Vec::new();
        self.peers.turn(self.now, &mut effects);
        self.apply_peer_effects(effects, out);
    }

    /// Tells peers that this Hub begins to shut down, or that it has no connections left.
    pub(super) fn tell_service(&mut self, service: Service, out: &mut Actions) {
        let mut effects = Vec::new();
        self.peers.set_service(service, &mut effects);
        self.apply_peer_effects(effects, out);
    }

    pub(super) fn apply_peer_effects(&mut self, effects: Vec<Effect>, out: &mut Actions) {
        for effect in effects {
            match effect {
                Effect::Say { to, note } => self.say_note(to, note, out),
                Effect::CheckAfter { after, limit } => {
                    let last = self.check_heads(after.as_ref(), limit, out);
                    self.peers.checked(self.now, last);
                }
                Effect::Check(rooms) => {
                    for room in rooms {
                        if let Some(at) = self.rooms.find(&room) {
                            self.check_head(at, out);
                        }
                    }
                }
                Effect::Head { room, head } => {
                    self.room_grown(&room, &head.epoch, head.seq, out);
                }
                Effect::Emptied { room, slot } => {
                    let part = Part { count: 0, members: Vec::new() };
                    self.change_part(&room, out, |audience, cx| audience.peer_part(cx, slot, part));
                }
                Effect::Left { room, slot } => {
                    self.change_part(&room, out, |audience, cx| audience.peer_leaves(cx, slot));
                }
                Effect::PartEnded { room, slot } => {
                    self.change_part(&room, out, |audience, cx| audience.end_peer(cx, slot));
                }
                Effect::Repeat => self.tell_sessions_in_turn(out),
                Effect::Ended(slot) => self.tally.end(slot),
            }
        }
    }

    /// Sends a note to peers, completed by what only the rooms know.
    fn say_note(&self, to: To, note: Note, out: &mut Actions) {
        let to = match to {
            To::Everyone => SignalTo::Everyone,
            To::Followers(room) => SignalTo::Followers(room),
            To::Peer(hub) => SignalTo::Hub(hub),
        };
        let signal = match note {
            Note::Alive(service) => Signal::Alive { service },
            Note::AskDigest(rooms) => Signal::AskDigest { rooms },
            Note::AskRosters(rooms) => Signal::AskRosters { rooms },
            Note::Digest { at, covers, registers } => {
                let lines = registers.into_iter().map(|register| self.digest_line(register));
                Signal::Digest(Digest { at, covers, lines: lines.collect() })
            }
            Note::Rosters(registers) => return self.say_rosters(&to, registers, out),
        };
        self.signal(to, || signal, out);
    }

    /// Sends this Hub's whole parts of rosters, in several signals if they have many members.
    fn say_rosters(&self, to: &SignalTo, registers: Vec<Register>, out: &mut Actions) {
        let (mut parts, mut members) = (Vec::new(), 0);
        let say = |parts: Vec<RosterPart>, out: &mut Actions| {
            let signal = Signal::Rosters { parts };
            self.signal(to.clone(), || signal, out);
        };
        for register in registers {
            let part = self.roster_part(register);
            if members + part.members.len() > MEMBERS_MAX && !parts.is_empty() {
                say(core::mem::take(&mut parts), out);
                members = 0;
            }
            members += part.members.len();
            parts.push(part);
        }
        say(parts, out);
    }

    fn digest_line(&self, register: Register) -> DigestLine {
        let Register { room: name, version } = register;
        let room = self.rooms.find(&name).and_then(|at| self.rooms.get(at));
        let head = room.and_then(|room| room.tail.known());
        let count = room.map_or(0, |room| room.audience.count_here());
        DigestLine { room: name, version, count, head }
    }

    fn roster_part(&self, register: Register) -> RosterPart {
        let Register { room, version } = register;
        let part = self.rooms.find(&room).map(|at| self.inspect(at, Audience::part));
        let Part { count, members } = part.unwrap_or(Part { count: 0, members: Vec::new() });
        RosterPart { room, version, count, members }
    }
}
