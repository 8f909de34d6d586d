//! Sends messages, each under its key, until they are settled.
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use chat_proto::{ErrorBody, ErrorCode, Request, RoomName, UserId};

use super::backoff::{self, RetryAfter};
use super::event::{LinkId, Outcome, SavedMessage, Ticket};
use super::gap::Evidence;
use super::machine::{Client, Turn, local_error};
use super::outbox::{Ack, Draft, Pending, PendingState};
use super::requests::Purpose;
use super::room::{Intent, Room, Stage};
use super::timers::Timer;
use crate::ids::Now;

/// How often a message is sent again after the server has said that the session is not a member.
const NOT_MEMBER_MAX: u32 = 4;

/// Returns true if the error leaves the result of its attempt open. All other codes of the
/// protocol, and all permanent refusals, say that the message is not in the log.
fn leaves_doubt(error: &ErrorBody) -> bool {
    error.retryable && matches!(error.code, ErrorCode::UnknownOutcome | ErrorCode::Unknown)
}

impl Client {
    pub(super) fn send(
        &mut self,
        ticket: Ticket,
        name: &RoomName,
        draft: Draft,
        turn: &mut Turn<'_>,
    ) {
        let owner = self.session.user().cloned();
        self.queue(name, Pending::new(ticket, draft, owner, turn.now.mono), turn);
    }

    /// Continues a message of an earlier process.
    pub(super) fn restore(&mut self, ticket: Ticket, saved: SavedMessage, turn: &mut Turn<'_>) {
        let name = saved.room.clone();
        if let Some(user) = &saved.sent_as {
            self.session.remember(user);
        }
        self.queue(&name, Pending::restored(ticket, saved, turn.now), turn);
        self.expire(turn);
    }

    /// Returns what a later process needs to continue the unsettled messages, in order within each
    /// room.
    pub(super) fn saved(&self, now: Now) -> Vec<SavedMessage> {
        let mut saved = Vec::with_capacity(self.outbox.entries);
        for room in self.rooms.values() {
            saved.extend(room.outbox.iter().map(|message| message.saved(room.name.clone(), now)));
        }
        saved
    }

    fn queue(&mut self, name: &RoomName, message: Pending, turn: &mut Turn<'_>) {
        let is_wanted = |room: &&mut Room| room.intent != Intent::Leave;
        let Some(room) = self.rooms.get_mut(name).filter(is_wanted) else {
            let error = local_error(ErrorCode::NotMember, "the room was not joined", name);
            return turn.settle(message.ticket, Outcome::Refused(error));
        };
        let bytes = self.outbox.bytes.saturating_add(message.content.len());
        if self.outbox.entries >= self.config.outbox_entries as usize
            || bytes > self.config.outbox_bytes as usize
        {
            return turn.settle(message.ticket, Outcome::Full);
        }
        self.outbox.add(&message, self.config.times.send_expiry_ms);
        room.outbox.push(message);
        // A message ends the typing notice.
        room.typing = None;
        self.set_expiry_timer();
        self.touch(name, turn);
    }

    /// Sends the message at this index of a room's outbox.
    pub(super) fn send_message(
        &mut self,
        link: LinkId,
        name: &RoomName,
        at: usize,
        turn: &mut Turn<'_>,
    ) {
        let message = self.room_mut(name).outbox.get_mut(at).expect("the room has chosen it");
        let request = message.request(name.clone());
        let bytes = message.content.len();
        if self.is_too_large(bytes, &request) {
            let error = local_error(ErrorCode::TooLarge, "longer than the server accepts", name);
            return self.refuse_at(name, at, error, turn);
        }
        let number = self.request(link, Purpose::Message(name.clone()), request, turn);
        let sent_as = self.session.user().cloned();
        let message = self.room_mut(name).outbox.get_mut(at).expect("the room has chosen it");
        message.state = PendingState::InFlight(number);
        message.sent_as = sent_as;
    }

    /// Returns true if the server would refuse the message, or close the connection for it.
    fn is_too_large(&self, content_bytes: usize, request: &Request) -> bool {
        /// An upper bound of the bytes of a message's other fields.
        const OTHER_FIELDS: usize = 1024;
        /// An upper bound of the bytes of an escaped byte, such as `\u0001`.
        const ESCAPED: usize = 6;
        let limits = &self.session.limits;
        if content_bytes > limits.message_bytes as usize {
            return true;
        }
        let frame_bytes = limits.frame_bytes as usize;
        content_bytes.saturating_mul(ESCAPED) + OTHER_FIELDS > frame_bytes
            && request.encode(None).len() + 32 > frame_bytes
    }

    pub(super) fn acked(&mut self, name: &RoomName, request: u64, ack: Ack, turn: &mut Turn<'_>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let at = room.outbox.in_flight(request);
        // The own entry has to be delivered too.
        if let Some(position) = room.position.as_mut().filter(|_| room.stage == Stage::Member) {
            position.raise_head(ack.seq);
        }
        if let Some(at) = at {
            self.settle_at(name, at, ack.into(), turn);
        }
        self.deliver(name, Vec::new(), Evidence::Announced, turn);
    }

    pub(super) fn message_refused(
        &mut self,
        name: &RoomName,
        request: u64,
        error: Box<ErrorBody>,
        turn: &mut Turn<'_>,
    ) {
        let (times, draw) = (&self.config.times, turn.draw());
        let Some(room) = self.rooms.get_mut(name) else { return };
        let Some(at) = room.outbox.in_flight(request) else { return };
        let message = room.outbox.get_mut(at).expect("the index was just found");
        message.in_doubt |= leaves_doubt(&error);
        message.state = PendingState::Ready;
        if error.retryable {
            let wait = backoff::retry(times, message.tries, RetryAfter::of(&error), draw.random);
            message.tries = message.tries.saturating_add(1);
            message.state = PendingState::Waiting(draw.now.plus(wait));
        } else if error.code == ErrorCode::NotMember && message.not_member < NOT_MEMBER_MAX {
            message.not_member += 1;
            let is_repeated = message.not_member > 1;
            if room.stage == Stage::Member {
                room.lose_membership();
                if is_repeated {
                    room.retry_later(times, RetryAfter::BackOff, draw);
                }
            }
        } else {
            self.refuse_at(name, at, error, turn);
        }
        self.touch(name, turn);
    }

    /// Repeats a message that was not answered in time.
    pub(super) fn message_unanswered(
        &mut self,
        name: &RoomName,
        request: u64,
        turn: &mut Turn<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if let Some(at) = room.outbox.in_flight(request) {
            room.outbox.get_mut(at).expect("the index was just found").doubt();
        }
        self.touch(name, turn);
    }

    /// Gives the messages to the user of a `welcome`. Those that were queued as the user of another
    /// account are settled: nobody's words are sent in somebody else's name. Guests keep their
    /// messages, because a guest may get another user id with each session.
    pub(super) fn give_messages_to(&mut self, user: &UserId, turn: &mut Turn<'_>) {
        let has_account = self.config.token.is_some();
        for name in self.room_names() {
            let outbox = &mut self.room_mut(&name).outbox;
            let foreign = if has_account { outbox.take_foreign(user) } else { VecDeque::new() };
            outbox.give_to(user);
            for message in foreign {
                let text = "the message was queued as another user";
                let error = local_error(ErrorCode::Forbidden, text, &name);
                self.settle(&message, message.refused(error), turn);
            }
        }
    }

    fn refuse_at(
        &mut self,
        name: &RoomName,
        at: usize,
        error: Box<ErrorBody>,
        turn: &mut Turn<'_>,
    ) {
        let message = self.room_mut(name).outbox.remove(at).expect("the caller has found it");
        self.settle(&message, message.refused(error), turn);
    }

    /// Settles the message at this index of a room's outbox.
    pub(super) fn settle_at(
        &mut self,
        name: &RoomName,
        at: usize,
        outcome: Outcome,
        turn: &mut Turn<'_>,
    ) {
        let message = self.room_mut(name).outbox.remove(at).expect("the caller has found it");
        self.settle(&message, outcome, turn);
    }

    /// Settles a message that was removed from its outbox.
    pub(super) fn settle(&mut self, message: &Pending, outcome: Outcome, turn: &mut Turn<'_>) {
        self.outbox.remove(message);
        self.set_expiry_timer();
        turn.settle(message.ticket, outcome);
    }

    /// Settles the messages that have expired, by the monotonic clock.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        if self.outbox.expires.is_none_or(|at| at > now) {
            return;
        }
        let expiry_ms = self.config.times.send_expiry_ms;
        self.outbox.expires = None;
        let mut expired = Vec::new();
        for (name, room) in &mut self.rooms {
            let of_room = room.outbox.take_expired(now, expiry_ms);
            expired.extend(of_room.into_iter().map(|message| (name.clone(), message)));
            for message in room.outbox.iter() {
                self.outbox.expires_at(message.expires(expiry_ms));
            }
        }
        for (name, message) in expired {
            self.settle(&message, Outcome::Expired, turn);
            self.touch(&name, turn);
        }
        self.set_expiry_timer();
    }

    fn set_expiry_timer(&mut self) {
        match self.outbox.expires {
            Some(at) => self.timers.set(at, Timer::Expiry),
            None => self.timers.clear(&Timer::Expiry),
        }
    }
}
