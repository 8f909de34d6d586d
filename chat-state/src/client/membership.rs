//! Joins and leaves rooms.
use alloc::boxed::Box;
use alloc::vec::Vec;

use chat_proto::{ErrorBody, Joined, Position, RoomName};

use super::backoff::RetryAfter;
use super::event::{Delivery, LeftReason, Outcome};
use super::gap::{Evidence, GapRepair};
use super::machine::{Client, Turn};
use super::position::LogPosition;
use super::room::{Intent, Room, Stage};
use super::timers::Timer;

impl Client {
    pub(super) fn join(&mut self, name: RoomName, turn: &mut Turn<'_>) {
        if let Some(room) = self.rooms.get_mut(&name) {
            match room.intent {
                Intent::Stay | Intent::LeaveAndJoin => {}
                Intent::Leave => room.intent = Intent::LeaveAndJoin,
            }
            return;
        }
        if self.rooms.len() >= self.config.rooms as usize {
            turn.deliver(Delivery::Left { room: name, why: LeftReason::TooMany });
            return;
        }
        self.rooms.insert(name.clone(), Room::new(name.clone()));
        self.touch(&name, turn);
    }

    pub(super) fn leave(&mut self, name: RoomName, turn: &mut Turn<'_>) {
        let Some(room) = self.rooms.get_mut(&name) else {
            turn.deliver(Delivery::Left { room: name, why: LeftReason::Asked });
            return;
        };
        room.intent = Intent::Leave;
        self.touch(&name, turn);
    }

    pub(super) fn is_member(&self, name: &RoomName) -> bool {
        self.rooms.get(name).is_some_and(|room| room.stage == Stage::Member)
    }

    pub(super) fn joined(
        &mut self,
        name: &RoomName,
        request: u64,
        joined: Joined,
        turn: &mut Turn<'_>,
    ) {
        let bounds = self.bounds();
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.stage != Stage::Joining(request) {
            return;
        }
        room.become_member();
        room.name = joined.room.clone();
        let known = room.position.take();
        let had_position = known.is_some();
        let known = known.filter(|known| *known.epoch() == joined.epoch);
        let is_reset = had_position && known.is_none();
        if core::mem::take(&mut room.reset_pending) || is_reset {
            let epoch = joined.epoch.clone();
            turn.deliver(Delivery::Reset { room: joined.room.clone(), epoch });
        }
        let first = joined.events.iter().find(|entry| entry.room == *name);
        let start = first.map_or(joined.head, |entry| entry.seq.minus(1));
        let fresh = known.is_none();
        turn.deliver(Delivery::Joined {
            room: joined.room,
            epoch: joined.epoch.clone(),
            fresh,
            members: Some(joined.members),
            has_more_before: fresh && joined.has_more_before,
        });
        let position = room.position.insert(known.unwrap_or_else(|| {
            room.gap = GapRepair::default();
            LogPosition::new(Position { epoch: joined.epoch, seq: start })
        }));
        let mut ready = Vec::new();
        position.raise_head(joined.head);
        if !joined.has_more_before {
            // The log has no entry before the first one of the reply.
            position.skip(start, &mut ready);
        }
        for entry in joined.events.iter().filter(|entry| entry.room == *name) {
            position.accept(entry, bounds, &mut ready);
        }
        self.deliver(name, ready, Evidence::PassedOver, turn);
    }

    /// Handles the end of a membership that an operator has ended.
    pub(super) fn removed(&mut self, error: Box<ErrorBody>, turn: &mut Turn<'_>) {
        if let Some(name) = error.room.clone().filter(|name| self.is_member(name)) {
            self.forget(&name, LeftReason::Refused(error), turn);
        }
    }

    /// Handles the reply to a `leave`.
    pub(super) fn left(&mut self, name: &RoomName, request: u64, turn: &mut Turn<'_>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.stage != Stage::Leaving(request) {
            return;
        }
        room.lose_membership();
        if room.intent == Intent::LeaveAndJoin && !room.outbox.is_empty() {
            // These messages were queued for the time after the next join.
            let outbox = core::mem::take(&mut room.outbox);
            let old = core::mem::replace(room, Room::new(name.clone()));
            room.outbox = outbox;
            turn.deliver(Delivery::Left { room: old.name, why: LeftReason::Asked });
        }
        self.touch(name, turn);
    }

    pub(super) fn join_refused(
        &mut self,
        name: &RoomName,
        request: u64,
        error: Box<ErrorBody>,
        turn: &mut Turn<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.stage != Stage::Joining(request) {
            return;
        }
        if !error.retryable {
            return self.forget(name, LeftReason::Refused(error), turn);
        }
        room.retry_later(&self.config.times, RetryAfter::of(&error), turn.draw());
        room.may_be_member = false;
        self.touch(name, turn);
    }

    pub(super) fn leave_refused(
        &mut self,
        name: &RoomName,
        request: u64,
        error: &ErrorBody,
        turn: &mut Turn<'_>,
    ) {
        if !error.retryable {
            // A session that must not leave the room is not a member.
            return self.left(name, request, turn);
        }
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.stage == Stage::Leaving(request) {
            room.retry_later(&self.config.times, RetryAfter::of(error), turn.draw());
            self.touch(name, turn);
        }
    }

    /// Repeats a join or leave that was not answered.
    pub(super) fn membership_unanswered(
        &mut self,
        name: &RoomName,
        request: u64,
        turn: &mut Turn<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if [Stage::Joining(request), Stage::Leaving(request)].contains(&room.stage) {
            room.retry_later(&self.config.times, RetryAfter::BackOff, turn.draw());
            self.touch(name, turn);
        }
    }

    /// Forgets a room that is left and has no unsettled messages. Joins it again if that is wanted.
    pub(super) fn finish(&mut self, name: &RoomName, turn: &mut Turn<'_>) {
        // The room may have been forgotten by the change that led here.
        let Some(room) = self.rooms.get(name).filter(|room| room.is_done()) else { return };
        let joins_again = room.intent == Intent::LeaveAndJoin;
        self.forget(name, LeftReason::Asked, turn);
        if joins_again {
            self.rooms.insert(name.clone(), Room::new(name.clone()));
        }
    }

    /// Forgets a room and settles its messages.
    pub(super) fn forget(&mut self, name: &RoomName, why: LeftReason, turn: &mut Turn<'_>) {
        let mut room = self.rooms.remove(name).expect("the caller has found the room");
        self.ready.remove(name);
        self.timers.clear(&Timer::Room(name.clone()));
        for message in room.outbox.take() {
            let outcome = match &why {
                LeftReason::Refused(error) => message.refused(error.clone()),
                LeftReason::Asked | LeftReason::TooMany | LeftReason::Stopped => Outcome::Stopped,
            };
            self.settle(&message, outcome, turn);
        }
        turn.deliver(Delivery::Left { room: room.name, why });
    }
}
