//! Delivers the entries of rooms, each once and in order, and requests the missing ones.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{
    Entry, ErrorBody, ErrorCode, HistoryRange, Page, Position, Request, RoomName, Seq,
};

use super::backoff::{Cause, RetryAfter};
use super::event::{Delivery, LinkId};
use super::gap::{Evidence, Progress, Remedy};
use super::machine::{Client, Turn};
use super::outbox::Ack;
use super::position::{Accepted, LogPosition, Ready};
use super::requests::Purpose;
use super::room::Stage;

impl Client {
    /// Returns the position in a room that the session is a member of. Frames about other rooms are
    /// late.
    fn live_position(&mut self, name: &RoomName) -> Option<&mut LogPosition> {
        let room = self.rooms.get_mut(name).filter(|room| room.stage == Stage::Member)?;
        room.position.as_mut()
    }

    pub(super) fn entry(&mut self, entry: &Arc<Entry>, turn: &mut Turn<'_>) {
        let bounds = self.bounds();
        let Some(position) = self.live_position(&entry.room) else { return };
        let mut ready = Vec::new();
        let evidence = match position.accept(entry, bounds, &mut ready) {
            Accepted::Duplicate => return,
            Accepted::InOrder => Evidence::Announced,
            Accepted::OutOfOrder => Evidence::PassedOver,
        };
        self.deliver(&entry.room, ready, evidence, turn);
    }

    /// Handles a `gap`: the server leaves out entries up to `to`.
    pub(super) fn gap(&mut self, name: &RoomName, to: Seq, turn: &mut Turn<'_>) {
        let Some(position) = self.live_position(name) else { return };
        position.raise_head(to);
        self.deliver(name, Vec::new(), Evidence::PassedOver, turn);
    }

    /// Handles a `hole`: the entries from `from` to `to` no longer exist.
    pub(super) fn hole(&mut self, name: &RoomName, from: Seq, to: Seq, turn: &mut Turn<'_>) {
        let Some(position) = self.live_position(name) else { return };
        let mut ready = Vec::new();
        let evidence = if from <= position.cursor().next() {
            position.skip(to, &mut ready);
            Evidence::Announced
        } else {
            // Entries before the hole are missing too. The page with them shows the hole again.
            position.raise_head(to);
            Evidence::PassedOver
        };
        self.deliver(name, ready, evidence, turn);
    }

    /// Handles the head of a room as the server knows it.
    pub(super) fn head(&mut self, name: &RoomName, head: &Position, turn: &mut Turn<'_>) {
        let Some(position) = self.live_position(name) else { return };
        if *position.epoch() == head.epoch {
            position.raise_head(head.seq);
            return self.deliver(name, Vec::new(), Evidence::Announced, turn);
        }
        // A join tells which of the two logs the room has.
        let room = self.room_mut(name);
        room.stage = Stage::Out;
        room.gap.ignore_answer();
        self.touch(name, turn);
    }

    pub(super) fn request_page(
        &mut self,
        link: LinkId,
        name: &RoomName,
        after: Seq,
        turn: &mut Turn<'_>,
    ) {
        let range = HistoryRange::After(after);
        let request = Request::History { room: name.clone(), range, limit: None };
        let number = self.request(link, Purpose::Page(name.clone()), request, turn);
        self.room_mut(name).gap.requested(number, after);
    }

    /// Handles a requested page. A page begins right after the requested position, so entries that
    /// it leaves out before one of its own are lost. An empty page proves nothing.
    pub(super) fn page(&mut self, name: &RoomName, request: u64, page: &Page, turn: &mut Turn<'_>) {
        let bounds = self.bounds();
        let Some(room) = self.rooms.get_mut(name) else { return };
        let Some(after) = room.gap.answered(request) else { return };
        let Some(position) = self.live_position(name) else { return };
        if *position.epoch() != page.epoch {
            return self.page_of_another_log(name, turn);
        }
        let mut ready = Vec::new();
        for entry in page.events.iter().filter(|entry| entry.room == *name) {
            position.skip(entry.seq.minus(1), &mut ready);
            position.accept(entry, bounds, &mut ready);
        }
        let is_fruitless = position.cursor() <= after && position.is_behind();
        self.deliver(name, ready, Evidence::PassedOver, turn);
        if is_fruitless {
            self.fruitless_page(name, turn);
        }
    }

    pub(super) fn page_refused(
        &mut self,
        name: &RoomName,
        request: u64,
        error: &ErrorBody,
        turn: &mut Turn<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.gap.answered(request).is_none() {
            return;
        }
        let (after, draw) = (RetryAfter::of(error), turn.draw());
        if error.retryable {
            room.gap.refused(&self.config.times, after, draw);
        } else if error.code == ErrorCode::NotMember {
            room.lose_membership();
            room.retry_later(&self.config.times, after, draw);
        } else {
            return self.fruitless_page(name, turn);
        }
        self.touch(name, turn);
    }

    pub(super) fn page_unanswered(&mut self, name: &RoomName, request: u64, turn: &mut Turn<'_>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.gap.answered(request).is_some() {
            self.fruitless_page(name, turn);
        }
    }

    /// Handles a page without progress, although entries are known to be missing.
    fn fruitless_page(&mut self, name: &RoomName, turn: &mut Turn<'_>) {
        let room = self.rooms.get_mut(name).expect("the caller has found the room");
        match room.gap.fruitless(&self.config.times, turn.draw()) {
            Remedy::Retry => self.touch(name, turn),
            Remedy::Reconnect => self.abandon(Cause::Abandoned, turn),
        }
    }

    /// Handles a page of another log. A join tells which of the two logs the room has.
    fn page_of_another_log(&mut self, name: &RoomName, turn: &mut Turn<'_>) {
        let room = self.rooms.get_mut(name).expect("the caller has found the room");
        let (times, draw) = (&self.config.times, turn.draw());
        match room.gap.fruitless(times, draw) {
            Remedy::Retry => {
                room.retry_later(times, RetryAfter::BackOff, draw);
                self.touch(name, turn);
            }
            Remedy::Reconnect => self.abandon(Cause::Abandoned, turn),
        }
    }

    /// Delivers what is ready, and schedules a page if entries are missing.
    ///
    /// An entry of this Client settles its message like an `ack`. If the `ack` was lost with the
    /// connection and the user id with the session, the entry is all that tells: the key does not
    /// count for the new user.
    pub(super) fn deliver(
        &mut self,
        name: &RoomName,
        ready: Vec<Ready>,
        evidence: Evidence,
        turn: &mut Turn<'_>,
    ) {
        let progress = if ready.is_empty() { Progress::None } else { Progress::Advanced };
        for ready in ready {
            match ready {
                Ready::Entry(entry) => {
                    turn.deliver(Delivery::Entry(entry.clone()));
                    self.settle_own(name, &entry, turn);
                }
                Ready::Lost { from, to } => {
                    turn.deliver(Delivery::Lost { room: name.clone(), from, to });
                }
            }
        }
        let room = self.rooms.get_mut(name).expect("the caller has found the room");
        room.review_gap(turn.now.mono, &self.config.times, progress, evidence);
        self.touch(name, turn);
    }

    fn settle_own(&mut self, name: &RoomName, entry: &Entry, turn: &mut Turn<'_>) {
        let is_own = self.session.is_own(entry);
        let Some(key) = entry.key.as_ref().filter(|_| is_own) else { return };
        if let Some(at) = self.room_mut(name).outbox.sent_with(key) {
            let ack = Ack { seq: entry.seq, ts: entry.ts, duplicate: false };
            self.settle_at(name, at, ack.into(), turn);
        }
    }
}
