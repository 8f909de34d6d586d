//! The one door through which entries come: each once and in order. What is missing is paged for.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{
    Entry, ErrorBody, ErrorCode, HistoryRange, Page, Position, Request, RoomName, Seq,
};

use super::backoff::Cause;
use super::event::{Delivery, LinkId, Outcome};
use super::gap::{Evidence, Fruitless, Moved, Remedy};
use super::position::{Offer, Passed, Place};
use super::requests::Purpose;
use super::room::Stage;
use super::{Client, Turn};

impl Client {
    /// Returns where a room is, if entries come from it.
    fn place(&mut self, name: &RoomName) -> Option<&mut Place> {
        let room = self.rooms.get_mut(name).filter(|room| room.stage == Stage::In)?;
        room.place.as_mut()
    }

    pub(super) fn entry(&mut self, entry: &Arc<Entry>, turn: &mut Turn<'_>) {
        let bounds = self.bounds();
        let Some(place) = self.place(&entry.room) else { return };
        let mut passed = Vec::new();
        let offer = place.offer(entry, bounds, &mut passed);
        let evidence = match offer {
            Offer::Old => return,
            Offer::Passed => Evidence::Claim,
            Offer::Beyond => Evidence::Proof,
        };
        self.let_pass(&entry.room, passed, evidence, turn);
    }

    /// Entries up to here were left out.
    pub(super) fn gap(&mut self, name: &RoomName, to: Seq, turn: &mut Turn<'_>) {
        let Some(place) = self.place(name) else { return };
        place.expect(to);
        self.let_pass(name, Vec::new(), Evidence::Proof, turn);
    }

    /// These entries are not to be had.
    pub(super) fn hole(&mut self, name: &RoomName, (from, to): (Seq, Seq), turn: &mut Turn<'_>) {
        let Some(place) = self.place(name) else { return };
        let mut passed = Vec::new();
        let evidence = if from <= place.cursor().next() {
            place.skip(to, &mut passed);
            Evidence::Claim
        } else {
            // Others are missing before them; the page that brings those tells of the hole again.
            place.expect(to);
            Evidence::Proof
        };
        self.let_pass(name, passed, evidence, turn);
    }

    /// The server says where a room ends.
    pub(super) fn head(&mut self, name: &RoomName, head: &Position, turn: &mut Turn<'_>) {
        let Some(place) = self.place(name) else { return };
        if *place.epoch() == head.epoch {
            place.expect(head.seq);
            return self.let_pass(name, Vec::new(), Evidence::Claim, turn);
        }
        // Another log: a join tells which one holds.
        if let Some(room) = self.rooms.get_mut(name) {
            room.stage = Stage::Out;
            room.heal.rejoin();
        }
        self.touch(name, turn);
    }

    pub(super) fn ask_page(
        &mut self,
        link: LinkId,
        name: &RoomName,
        after: Seq,
        turn: &mut Turn<'_>,
    ) {
        let range = HistoryRange::After(after);
        let request = Request::History { room: name.clone(), range, limit: None };
        let number = self.request(link, Purpose::Page(name.clone()), request, turn);
        if let Some(room) = self.rooms.get_mut(name) {
            room.heal.ask(number, after);
        }
    }

    /// Takes a page in that was asked for. It begins right after the place that was asked for, so
    /// what is missing before one of its entries is not in the log.
    pub(super) fn paged(
        &mut self,
        name: &RoomName,
        request: u64,
        page: &Page,
        turn: &mut Turn<'_>,
    ) {
        let bounds = self.bounds();
        let Some(room) = self.rooms.get_mut(name) else { return };
        let Some(after) = room.heal.answered(request) else { return };
        let Some(place) = self.place(name) else { return };
        if *place.epoch() != page.epoch {
            return self.other_log(name, turn);
        }
        let mut passed = Vec::new();
        for entry in page.events.iter().filter(|entry| entry.room == *name) {
            place.skip(entry.seq.minus(1), &mut passed);
            place.offer(entry, bounds, &mut passed);
        }
        let helped = place.cursor() > after || !place.is_behind();
        self.let_pass(name, passed, Evidence::Proof, turn);
        if !helped {
            let contradiction = page.has_more_after;
            let what = if contradiction { Fruitless::Contradiction } else { Fruitless::NotYet };
            self.fruitless(name, what, turn);
        }
    }

    pub(super) fn page_refused(
        &mut self,
        name: &RoomName,
        request: u64,
        error: &ErrorBody,
        turn: &mut Turn<'_>,
    ) {
        let now = turn.now.mono;
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.heal.answered(request).is_none() {
            return;
        }
        let retry = (error.retry_after_ms, turn.random);
        if error.retryable {
            room.heal.refused(now, &self.config.times, retry);
        } else if error.code == ErrorCode::NotMember {
            room.drop_out();
            room.refused_for_now(now, &self.config, retry);
        } else {
            return self.fruitless(name, Fruitless::NotYet, turn);
        }
        self.touch(name, turn);
    }

    pub(super) fn page_unanswered(&mut self, name: &RoomName, request: u64, turn: &mut Turn<'_>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.heal.answered(request).is_some() {
            self.fruitless(name, Fruitless::NotYet, turn);
        }
    }

    /// A page brought nothing, though something is missing.
    fn fruitless(&mut self, name: &RoomName, what: Fruitless, turn: &mut Turn<'_>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let Some(place) = &mut room.place else { return };
        let drawn = (turn.now.mono, turn.random);
        let what = (what, place.is_proven());
        match room.heal.fruitless(what, drawn, &self.config.times) {
            Remedy::Again => self.touch(name, turn),
            Remedy::Relink => self.abandon(Cause::GivenUp, turn),
            Remedy::Doubt => {
                place.doubt();
                self.let_pass(name, Vec::new(), Evidence::Claim, turn);
            }
            Remedy::GiveUp => {
                let mut passed = Vec::new();
                place.give_up(&mut passed);
                self.let_pass(name, passed, Evidence::Proof, turn);
            }
        }
    }

    /// A page is of another log than the room: a join tells which one holds.
    fn other_log(&mut self, name: &RoomName, turn: &mut Turn<'_>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let (what, drawn) = ((Fruitless::NotYet, true), (turn.now.mono, turn.random));
        match room.heal.fruitless(what, drawn, &self.config.times) {
            Remedy::Again | Remedy::Doubt | Remedy::GiveUp => {
                room.refused_for_now(turn.now.mono, &self.config, (None, turn.random));
                self.touch(name, turn);
            }
            Remedy::Relink => self.abandon(Cause::GivenUp, turn),
        }
    }

    /// Delivers what has passed, and looks whether more is missing.
    ///
    /// One's own entry is as good as its ack. Where the ack was lost with the connection and the
    /// user id with the session, it is all there is: the key would count no more.
    pub(super) fn let_pass(
        &mut self,
        name: &RoomName,
        passed: Vec<Passed>,
        evidence: Evidence,
        turn: &mut Turn<'_>,
    ) {
        let moved = if passed.is_empty() { Moved::No } else { Moved::Yes };
        for passed in passed {
            match passed {
                Passed::Entry(entry) => {
                    turn.deliver(Delivery::Entry(entry.clone()));
                    self.settle_own(name, &entry, turn);
                }
                Passed::Lost { from, to } => {
                    turn.deliver(Delivery::Lost { room: name.clone(), from, to });
                }
            }
        }
        let Some(room) = self.rooms.get_mut(name) else { return };
        room.review(turn.now.mono, &self.config, (moved, evidence));
        self.touch(name, turn);
    }

    fn settle_own(&mut self, name: &RoomName, entry: &Entry, turn: &mut Turn<'_>) {
        let is_own = self.session.is_own(entry);
        let Some(key) = entry.key.as_ref().filter(|_| is_own) else { return };
        let Some(room) = self.rooms.get(name) else { return };
        if let Some(at) = room.sends.sent_with(key) {
            let (seq, ts) = (entry.seq, entry.ts);
            self.settle_at(name, at, Outcome::Acked { seq, ts, duplicate: false }, turn);
        }
    }
}
