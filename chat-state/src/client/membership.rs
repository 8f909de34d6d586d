//! Joins and leaves rooms, and decides who asks for something next.
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use chat_proto::{ErrorBody, ErrorCode, Joined, Position, Request, RoomName};

use super::event::{Delivery, LeftReason, Outcome};
use super::gap::{Evidence, Heal};
use super::position::Place;
use super::requests::Purpose;
use super::room::{Intent, Next, Room, Stage};
use super::timers::Timer;
use super::{Client, Turn};

/// Rooms that may have something to ask for, each once, first come, first served.
#[derive(Debug, Default)]
pub(super) struct Ready {
    order: VecDeque<RoomName>,
    all: BTreeSet<RoomName>,
}

impl Ready {
    fn push(&mut self, room: &RoomName) {
        if self.all.insert(room.clone()) {
            self.order.push_back(room.clone());
        }
    }

    fn pop(&mut self) -> Option<RoomName> {
        let room = self.order.pop_front()?;
        self.all.remove(&room);
        Some(room)
    }

    fn remove(&mut self, room: &RoomName) {
        if self.all.remove(room) {
            self.order.retain(|other| other != room);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

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

    pub(super) fn is_in(&self, name: &RoomName) -> bool {
        self.rooms.get(name).is_some_and(|room| room.stage == Stage::In)
    }

    /// Looks at a room anew, because something about it has changed.
    pub(super) fn touch(&mut self, name: &RoomName, turn: &mut Turn<'_>) {
        self.finish(name, turn);
        if self.connection.online().is_some() && self.rooms.contains_key(name) {
            self.ready.push(name);
        }
    }

    /// Forgets a room that is left and where all is said; begins it anew if that is wanted.
    pub(super) fn finish(&mut self, name: &RoomName, turn: &mut Turn<'_>) {
        let Some(room) = self.rooms.get(name).filter(|room| room.is_done()) else { return };
        let again = room.intent == Intent::LeaveAndJoin;
        self.forget(name, LeftReason::Asked, turn);
        if again {
            self.rooms.insert(name.clone(), Room::new(name.clone()));
        }
    }

    /// Forgets a room, and settles what was to be said there.
    pub(super) fn forget(&mut self, name: &RoomName, why: LeftReason, turn: &mut Turn<'_>) {
        let Some(mut room) = self.rooms.remove(name) else { return };
        self.ready.remove(name);
        self.timers.clear(&Timer::Room(name.clone()));
        for send in room.sends.drain() {
            let outcome = match &why {
                LeftReason::Refused(error) => send.refused(error.clone()),
                LeftReason::Asked | LeftReason::TooMany | LeftReason::Stopped => Outcome::Stopped,
            };
            self.settle_send(&send, outcome, turn);
        }
        turn.deliver(Delivery::Left { room: room.name, why });
    }

    /// Sends what may be sent: questions first, then one request of each room in turn.
    pub(super) fn pump(&mut self, turn: &mut Turn<'_>) {
        if let Some(until) = self.quiet {
            if until > turn.now.mono {
                return self.timers.set(until, Timer::Quiet);
            }
            self.quiet = None;
        }
        self.pump_asks(turn);
        while self.connection.online().is_some() && self.can_request() {
            let Some(name) = self.ready.pop() else { break };
            self.advance(&name, turn);
        }
    }

    /// Sends a room's next request, or arms its timer.
    fn advance(&mut self, name: &RoomName, turn: &mut Turn<'_>) {
        let Some(link) = self.connection.online() else { return };
        let Some(room) = self.rooms.get_mut(name) else { return };
        let timer = Timer::Room(name.clone());
        match room.next(turn.now.mono, &self.config, self.session.user()) {
            Next::Wait(Some(at)) => return self.timers.set(at, timer),
            Next::Wait(None) => return self.timers.clear(&timer),
            Next::Join => {
                let request = Request::Join { room: name.clone(), history: self.config.history };
                let number = self.request(link, Purpose::Join(name.clone()), request, turn);
                self.change(name, |room| {
                    room.stage = Stage::Joining(number);
                    room.entered = true;
                });
            }
            Next::Leave => {
                let request = Request::Leave { room: name.clone() };
                let number = self.request(link, Purpose::Leave(name.clone()), request, turn);
                self.change(name, |room| room.stage = Stage::Parting(number));
            }
            Next::Page(after) => self.ask_page(link, name, after, turn),
            Next::Send(at) => self.send_now(link, name, at, turn),
        }
        self.ready.push(name);
    }

    fn change(&mut self, name: &RoomName, change: impl FnOnce(&mut Room)) {
        if let Some(room) = self.rooms.get_mut(name) {
            change(room);
        }
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
        room.enter();
        room.name = joined.room.clone();
        let known = room.place.as_ref().map(|place| *place.epoch() == joined.epoch);
        if core::mem::take(&mut room.renounced) || known == Some(false) {
            let epoch = joined.epoch.clone();
            turn.deliver(Delivery::Reset { room: joined.room.clone(), epoch });
        }
        let fresh = known != Some(true);
        if fresh {
            let first = joined.events.iter().find(|entry| entry.room == *name);
            let seq = first.map_or(joined.head, |entry| entry.seq.minus(1));
            room.place = Some(Place::new(Position { epoch: joined.epoch.clone(), seq }));
            room.heal = Heal::default();
        }
        turn.deliver(Delivery::Joined {
            room: joined.room,
            epoch: joined.epoch,
            fresh,
            members: Some(joined.members),
            has_more_before: fresh && joined.has_more_before,
        });
        let mut passed = Vec::new();
        if let Some(place) = &mut room.place {
            place.expect(joined.head);
            if !joined.has_more_before {
                // What is missing before the first entry is not in the log any more.
                let first = joined.events.iter().find(|entry| entry.room == *name);
                place.skip(first.map_or(joined.head, |entry| entry.seq.minus(1)), &mut passed);
            }
            for entry in joined.events.iter().filter(|entry| entry.room == *name) {
                place.offer(entry, bounds, &mut passed);
            }
        }
        self.let_pass(name, passed, Evidence::Proof, turn);
    }

    /// An operator has taken the session out of a room.
    pub(super) fn put_out(&mut self, error: Box<ErrorBody>, turn: &mut Turn<'_>) {
        let Some(name) = error.room.clone().filter(|name| self.is_in(name)) else { return };
        self.forget(&name, LeftReason::Refused(error), turn);
    }

    /// The session is out of the room.
    pub(super) fn parted(&mut self, name: &RoomName, request: u64, turn: &mut Turn<'_>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.stage != Stage::Parting(request) {
            return;
        }
        room.drop_out();
        if room.intent == Intent::LeaveAndJoin && !room.sends.is_empty() {
            return self.begin_anew(name, turn);
        }
        self.touch(name, turn);
    }

    /// The room was left, but something was queued for the time after the next join.
    fn begin_anew(&mut self, name: &RoomName, turn: &mut Turn<'_>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let sends = core::mem::take(&mut room.sends);
        let old = core::mem::replace(room, Room::new(name.clone()));
        room.sends = sends;
        turn.deliver(Delivery::Left { room: old.name, why: LeftReason::Asked });
        self.touch(name, turn);
    }

    /// A join or leave was refused, or not answered.
    pub(super) fn door_refused(
        &mut self,
        name: &RoomName,
        request: u64,
        error: Option<Box<ErrorBody>>,
        turn: &mut Turn<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let joins = room.stage == Stage::Joining(request);
        if !joins && room.stage != Stage::Parting(request) {
            return;
        }
        let retry = |after_ms| (after_ms, turn.random);
        match error {
            None => room.refused_for_now(turn.now.mono, &self.config, retry(None)),
            Some(error) if error.retryable => {
                let after_ms = error.retry_after_ms;
                room.refused_for_now(turn.now.mono, &self.config, retry(after_ms));
                room.entered &= !joins;
            }
            Some(error) if joins => {
                return self.forget(name, LeftReason::Refused(error), turn);
            }
            // Whoever may not even leave is out.
            Some(_) => return self.parted(name, request, turn),
        }
        self.touch(name, turn);
    }
}

/// Makes an error that no server sent.
pub(super) fn local_error(code: ErrorCode, message: &str, room: &RoomName) -> Box<ErrorBody> {
    let mut error = ErrorBody::new(None, code, String::from(message));
    error.room = Some(room.clone());
    Box::new(error)
}
