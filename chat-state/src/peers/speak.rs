//! When a Hub says what to its peers.
use alloc::vec::Vec;

use chat_proto::RoomName;

use super::outgoing::{Ended, take_batch};
use super::pace::{REFILL_MS, ROOMS};
use super::recovery::Step;
use super::signal::{Asked, ROOMS_MAX, Span};
use super::{
    Cluster, Effect, Introduction, Note, RENEW_MS, ROUND_RENEWALS, ROUND_ROOMS_MIN, Register, To,
};
use crate::ids::{Mono, PeerSlot};

/// Up to so many opened rooms, the members of each are requested from its followers. Those of more
/// rooms are requested from all peers, with fewer signals.
const OPENED_ALONE_MAX: usize = 8;

impl Cluster {
    /// Does what is due, and as much of what waits as the pace allows. Spurious calls are harmless.
    pub(crate) fn turn(&mut self, now: Mono, out: &mut Vec<Effect>) {
        self.renew(now, out);
        for slot in self.table.expire(now) {
            self.end(slot, out);
        }
        self.retry(now);
        self.end_parts(now, out);
        self.answer(now, out);
        self.ask(now, out);
        self.tell_changed(now, out);
        self.stream(now, out);
        self.recover(now, out);
    }

    /// Returns when [`Self::turn`] has to be called.
    pub(crate) fn due(&self) -> Option<Mono> {
        let ready = self.pace.ready_at();
        let overdue = self.overdue.front().map(|waiting| waiting.at);
        let pending = self.outgoing.is_pending().then_some(ready);
        let changed = self.changed_at.map(|at| at.max(ready));
        let recovery = self.recovery.due().map(|at| at.max(ready).max(self.check_at));
        let others = [self.renew_at, self.table.due(), pending, changed, recovery, overdue];
        others.into_iter().flatten().min()
    }

    /// Renews this Hub's lease, and begins a further part of the digest of all rooms.
    fn renew(&mut self, now: Mono, out: &mut Vec<Effect>) {
        if self.renew_at.is_none_or(|at| at > now) {
            return;
        }
        self.renew_at = Some(now.plus(RENEW_MS));
        Self::say(To::Everyone, Note::Alive(self.service), out);
        out.push(Effect::Repeat);
        if self.introduction == Introduction::Due {
            self.introduction = Introduction::Made;
            Self::say(To::Everyone, Note::AskDigest(Asked::All), out);
        }
        let part = self.registers.here().div_ceil(ROUND_RENEWALS);
        self.outgoing.round.left = part.max(ROUND_ROOMS_MIN);
    }

    /// Requests again what was not answered.
    fn retry(&mut self, now: Mono) {
        while self.overdue.front().is_some_and(|waiting| waiting.at <= now) {
            let waiting = self.overdue.pop_front().expect("it was just looked at");
            if self.registers.retry_request(waiting.slot, &waiting.room) {
                self.outgoing.requests.insert((waiting.slot, waiting.room));
            }
        }
    }

    /// Lets the owner drop parts of peers that have ended.
    fn end_parts(&mut self, now: Mono, out: &mut Vec<Effect>) {
        while let Some(Ended { slot, rooms }) = self.outgoing.ended.front_mut() {
            let slot = *slot;
            let count = self.pace.left(now).min(rooms.len());
            let parts = rooms.drain(..count).map(|room| Effect::PartEnded { room, slot });
            out.extend(parts);
            if !rooms.is_empty() {
                return self.pace.spend(count);
            }
            self.outgoing.ended.pop_front();
            self.table.release(slot);
            if count > 0 {
                self.pace.spend(count);
            }
        }
    }

    /// Answers what peers have requested.
    fn answer(&mut self, now: Mono, out: &mut Vec<Effect>) {
        while let Some((slot, rooms)) =
            take_batch(&mut self.outgoing.answers, self.pace.left(now).min(ROOMS_MAX))
                .filter(|(_, rooms)| !rooms.is_empty())
        {
            self.pace.spend(rooms.len());
            let registers = rooms.iter().map(|room| self.registers.own(room)).collect();
            self.say_to(slot, Note::Rosters(registers), out);
        }
        while let Some((slot, rooms)) =
            take_batch(&mut self.outgoing.lines, self.pace.left(now).min(ROOMS_MAX))
                .filter(|(_, rooms)| !rooms.is_empty())
        {
            self.pace.spend(rooms.len());
            let registers = rooms.iter().map(|room| self.registers.own(room)).collect();
            let note = Note::Digest { at: self.registers.clock(), covers: None, registers };
            self.say_to(slot, note, out);
        }
    }

    /// Requests members of rooms that were opened, and parts that are missing.
    fn ask(&mut self, now: Mono, out: &mut Vec<Effect>) {
        while !self.outgoing.opened.is_empty() {
            let left = self.pace.left(now).min(self.outgoing.opened.len());
            if left == 0 {
                return;
            }
            let alone = self.outgoing.opened.len() <= OPENED_ALONE_MAX;
            let count = if alone { 1 } else { left.min(ROOMS_MAX) };
            let rooms: Vec<RoomName> = self.outgoing.opened.drain(..count).collect();
            self.pace.spend(count);
            let to = if alone { To::Followers(rooms[0].clone()) } else { To::Everyone };
            Self::say(to, Note::AskRosters(rooms), out);
        }
        while let Some((slot, mut rooms)) =
            take_batch(&mut self.outgoing.requests, self.pace.left(now).min(ROOMS_MAX))
                .filter(|(_, rooms)| !rooms.is_empty())
        {
            rooms.retain(|room| self.registers.send_request(slot, room));
            if rooms.is_empty() {
                continue;
            }
            self.pace.spend(rooms.len());
            for room in &rooms {
                self.expect_answer(now, slot, room.clone());
            }
            self.say_to(slot, Note::AskRosters(rooms), out);
        }
    }

    /// Tells all peers of the rooms that have changed.
    fn tell_changed(&mut self, now: Mono, out: &mut Vec<Effect>) {
        if self.changed_at.is_none_or(|at| at > now) {
            return;
        }
        while !self.outgoing.changed.is_empty() {
            let left = self.pace.left(now).min(ROOMS_MAX);
            if left == 0 {
                return;
            }
            let changed = core::iter::from_fn(|| self.outgoing.changed.pop_first());
            let registers: Vec<Register> =
                changed.take(left).map(|room| self.registers.own(&room)).collect();
            self.pace.spend(registers.len());
            let note = Note::Digest { at: self.registers.clock(), covers: None, registers };
            Self::say(To::Everyone, note, out);
        }
        self.changed_at = None;
    }

    /// Sends digests of all rooms, one after the other.
    fn stream(&mut self, now: Mono, out: &mut Vec<Effect>) {
        while let Some((slot, after)) = self.outgoing.streams.pop_first() {
            let left = self.pace.left(now).min(ROOMS_MAX);
            if left == 0 {
                self.outgoing.streams.insert(slot, after);
                return;
            }
            let (note, upto) = self.slice(after.as_ref(), left);
            if upto.is_some() {
                self.outgoing.streams.insert(slot, upto);
            }
            self.say_to(slot, note, out);
        }
        while self.outgoing.round.left > 0 {
            let limit = self.outgoing.round.left.min(self.pace.left(now)).min(ROOMS_MAX);
            if limit == 0 {
                return;
            }
            let after = self.outgoing.round.after.take();
            let (note, upto) = self.slice(after.as_ref(), limit);
            // A round that has come to its end goes on with the next renewal.
            let left = if upto.is_some() { self.outgoing.round.left - limit } else { 0 };
            (self.outgoing.round.after, self.outgoing.round.left) = (upto, left);
            Self::say(To::Everyone, note, out);
        }
    }

    /// Makes a digest of up to `limit` rooms after a name, and returns the last one; `None` if it
    /// lists all further rooms.
    fn slice(&mut self, after: Option<&RoomName>, limit: usize) -> (Note, Option<RoomName>) {
        let (registers, covers) = self.registers.own_after(after, limit);
        self.pace.spend(registers.len());
        let Span { upto, .. } = &covers;
        let upto = upto.clone();
        let at = self.registers.clock();
        (Note::Digest { at, covers: Some(covers), registers }, upto)
    }

    /// Goes on with the recovery of lost signals.
    fn recover(&mut self, now: Mono, out: &mut Vec<Effect>) {
        if now < self.check_at {
            return;
        }
        loop {
            let left = self.pace.left(now);
            if left == 0 {
                return;
            }
            match self.recovery.next(now, left) {
                None => return,
                Some(Step::Ask(asked)) => {
                    self.pace.spend(1);
                    Self::say(To::Everyone, Note::AskDigest(asked), out);
                }
                Some(Step::CheckAfter(after)) => {
                    self.check_at = now.plus(REFILL_MS);
                    return out.push(Effect::CheckAfter { after, limit: ROOMS });
                }
                Some(Step::Recover(rooms)) => {
                    self.pace.spend(rooms.len());
                    let asked = Asked::Rooms(rooms.clone());
                    Self::say(To::Everyone, Note::AskDigest(asked), out);
                    self.check_at = now.plus(REFILL_MS);
                    return out.push(Effect::Check(rooms));
                }
            }
        }
    }

    fn say(to: To, note: Note, out: &mut Vec<Effect>) {
        out.push(Effect::Say { to, note });
    }

    /// Says something to one peer, unless that has ended.
    fn say_to(&self, slot: PeerSlot, note: Note, out: &mut Vec<Effect>) {
        if let Some(hub) = self.table.id(slot) {
            Self::say(To::Peer(hub), note, out);
        }
    }
}
