//! Takes messages to the log: each under its key, until it is settled.
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{ErrorBody, ErrorCode, Key, Request, RoomName, Seq, Timestamp};

use super::event::{LinkId, Outcome, Ticket};
use super::gap::Evidence;
use super::membership::local_error;
use super::outbox::{Send, SendState};
use super::requests::Purpose;
use super::room::{Intent, Room, Stage};
use super::timers::Timer;
use super::{Client, Turn, backoff};

/// How often a message is sent again because the session was not in the room.
const OUTSIDE_MAX: u32 = 4;

/// Tells whether an error leaves open what became of the attempt that it answers. All other codes
/// of the protocol say that it is not in the log, and so does whatever is refused for good.
fn leaves_doubt(error: &ErrorBody) -> bool {
    error.retryable && matches!(error.code, ErrorCode::UnknownOutcome | ErrorCode::Unknown)
}

impl Client {
    pub(super) fn send(
        &mut self,
        ticket: Ticket,
        name: &RoomName,
        (key, content, reply_to): (Key, Arc<str>, Option<Seq>),
        turn: &mut Turn<'_>,
    ) {
        let wanted = |room: &&mut Room| room.intent != Intent::Leave;
        let Some(room) = self.rooms.get_mut(name).filter(wanted) else {
            let error = local_error(ErrorCode::NotMember, "the room was not joined", name);
            return turn.settle(ticket, Outcome::Refused(error));
        };
        let bytes = self.outbox.bytes.saturating_add(content.len());
        if self.outbox.entries >= self.config.outbox_entries as usize
            || bytes > self.config.outbox_bytes as usize
        {
            return turn.settle(ticket, Outcome::Full);
        }
        let send = Send {
            ticket,
            key,
            content,
            reply_to,
            born: turn.now,
            state: SendState::Ready,
            sent_as: None,
            tries: 0,
            outside: 0,
            in_doubt: false,
        };
        self.outbox.add(&send, self.config.times.send_expiry_ms);
        room.sends.push(send);
        // Who has said something types no more.
        room.typing = None;
        self.arm_expiry();
        self.touch(name, turn);
    }

    /// Sends the message at this place of a room's queue.
    pub(super) fn send_now(
        &mut self,
        link: LinkId,
        name: &RoomName,
        at: usize,
        turn: &mut Turn<'_>,
    ) {
        let Some(room) = self.rooms.get(name) else { return };
        let Some(send) = room.sends.get(at) else { return };
        let request = send.request(name.clone());
        if self.is_too_large(&send.content, &request) {
            let error = local_error(ErrorCode::TooLarge, "longer than the server takes", name);
            let outcome = send.refused(error);
            return self.settle_at(name, at, outcome, turn);
        }
        let number = self.request(link, Purpose::Send(name.clone()), request, turn);
        let user = self.session.user().cloned();
        if let Some(send) = self.rooms.get_mut(name).and_then(|room| room.sends.get_mut(at)) {
            send.state = SendState::InFlight(number);
            send.sent_as = user;
        }
    }

    /// A frame that is too long would cost the connection, again and again.
    fn is_too_large(&self, content: &str, request: &Request) -> bool {
        /// Bytes of a message's other fields and of its id, at most.
        const OTHERS: usize = 1024;
        /// Bytes of one that is escaped, at most: `\u0001`.
        const ESCAPED: usize = 6;
        let limits = &self.session.limits;
        if content.len() > limits.message_bytes as usize {
            return true;
        }
        let frame_bytes = limits.frame_bytes as usize;
        content.len().saturating_mul(ESCAPED) + OTHERS > frame_bytes
            && request.encode(None).len() + 32 > frame_bytes
    }

    pub(super) fn acked(
        &mut self,
        name: &RoomName,
        request: u64,
        (seq, ts, duplicate): (Seq, Timestamp, bool),
        turn: &mut Turn<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let at = room.sends.in_flight(request);
        // What one has said has to be shown, too.
        if let Some(place) = room.place.as_mut().filter(|_| room.stage == Stage::In) {
            place.expect(seq);
        }
        if let Some(at) = at {
            self.settle_at(name, at, Outcome::Acked { seq, ts, duplicate }, turn);
        }
        self.let_pass(name, Vec::new(), Evidence::Claim, turn);
    }

    pub(super) fn send_refused(
        &mut self,
        name: &RoomName,
        request: u64,
        error: Box<ErrorBody>,
        turn: &mut Turn<'_>,
    ) {
        let now = turn.now.mono;
        let Some(room) = self.rooms.get_mut(name) else { return };
        let Some(at) = room.sends.in_flight(request) else { return };
        let Some(send) = room.sends.get_mut(at) else { return };
        send.in_doubt |= leaves_doubt(&error);
        send.state = SendState::Ready;
        if error.retryable {
            let times = &self.config.times;
            let wait = backoff::retry(times, send.tries, error.retry_after_ms, turn.random);
            send.tries = send.tries.saturating_add(1);
            send.state = SendState::Waiting(now.plus(wait));
        } else if error.code == ErrorCode::NotMember && send.outside < OUTSIDE_MAX {
            send.outside += 1;
            let again = send.outside > 1;
            if room.stage == Stage::In {
                room.drop_out();
                if again {
                    room.refused_for_now(now, &self.config, (None, turn.random));
                }
            }
        } else {
            let outcome = send.refused(error);
            self.settle_at(name, at, outcome, turn);
        }
        self.touch(name, turn);
    }

    /// A send has had its time, and nobody knows what became of it: it is sent again.
    pub(super) fn send_unanswered(&mut self, name: &RoomName, request: u64, turn: &mut Turn<'_>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if let Some(at) = room.sends.in_flight(request)
            && let Some(send) = room.sends.get_mut(at)
        {
            send.doubt();
        }
        self.touch(name, turn);
    }

    /// Takes a send out of its room's queue.
    pub(super) fn settle_at(
        &mut self,
        name: &RoomName,
        at: usize,
        outcome: Outcome,
        turn: &mut Turn<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if let Some(send) = room.sends.remove(at) {
            self.settle_send(&send, outcome, turn);
        }
    }

    /// Tells what became of a send that is in no queue any more.
    pub(super) fn settle_send(&mut self, send: &Send, outcome: Outcome, turn: &mut Turn<'_>) {
        self.outbox.remove(send);
        self.arm_expiry();
        turn.settle(send.ticket, outcome);
    }

    /// Gives up what is too old by either clock.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        let Some((mono, wall)) = self.outbox.look else { return };
        if turn.now.mono < mono && turn.now.wall < wall {
            return;
        }
        let expiry_ms = self.config.times.send_expiry_ms;
        self.outbox.look = None;
        let mut expired = Vec::new();
        for (name, room) in &mut self.rooms {
            expired.extend(
                room.sends.expired(turn.now, expiry_ms).into_iter().map(|s| (name.clone(), s)),
            );
            for send in room.sends.iter() {
                self.outbox.look_at(send.born, expiry_ms);
            }
        }
        for (name, send) in expired {
            self.settle_send(&send, Outcome::Expired, turn);
            self.touch(&name, turn);
        }
        self.arm_expiry();
    }

    fn arm_expiry(&mut self) {
        match self.outbox.look {
            Some((mono, _)) => self.timers.set(mono, Timer::Expiry),
            None => self.timers.clear(&Timer::Expiry),
        }
    }
}
