//! The messages of one room that are not settled.
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use chat_proto::{ErrorBody, ErrorCode, Key, Request, RoomName, Seq, Timestamp, UserId};

use super::event::{Outcome, SavedMessage, Ticket};
use crate::ids::{Mono, Now};

/// A message that is not settled.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) ticket: Ticket,
    pub(super) key: Key,
    pub(super) content: Arc<str>,
    pub(super) reply_to: Option<Seq>,
    /// When the message was queued.
    queued: Mono,
    /// Its age at that time in milliseconds, if an earlier process had queued it.
    earlier_ms: u64,
    pub(super) state: PendingState,
    /// The user who queued it; `None` if no `welcome` has come yet.
    owner: Option<UserId>,
    /// The user as whom it was sent last: a key counts for one user only.
    pub(super) sent_as: Option<UserId>,
    /// Attempts in a row that were refused and may be repeated.
    pub(super) tries: u32,
    /// Attempts that were refused because the session was not a member.
    pub(super) not_member: u32,
    /// The result of an attempt is unknown.
    pub(super) in_doubt: bool,
}

/// What the application wants to send.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) key: Key,
    pub(super) content: Arc<str>,
    pub(super) reply_to: Option<Seq>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingState {
    Ready,
    /// This request is not answered yet.
    InFlight(u64),
    /// The message may be sent at this time.
    Waiting(Mono),
}

/// The `ack` of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) seq: Seq,
    pub(super) ts: Timestamp,
    pub(super) duplicate: bool,
}

impl From<Ack> for Outcome {
    fn from(Ack { seq, ts, duplicate }: Ack) -> Self {
        Self::Acked { seq, ts, duplicate }
    }
}

/// The next message that may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eligible {
    /// The one at this index.
    Now(usize),
    /// One at this time.
    At(Mono),
    /// None until something happens.
    None,
}

/// Whether the room's entries were delivered up to its head, as far as the Client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completeness {
    Complete,
    Behind,
}

impl Pending {
    /// Makes a message that is queued now, as a user if one is known.
    pub(super) fn new(ticket: Ticket, draft: Draft, owner: Option<UserId>, now: Mono) -> Self {
        Self {
            ticket,
            key: draft.key,
            content: draft.content,
            reply_to: draft.reply_to,
            queued: now,
            earlier_ms: 0,
            state: PendingState::Ready,
            owner,
            sent_as: None,
            tries: 0,
            not_member: 0,
            in_doubt: false,
        }
    }

    /// Continues a message of an earlier process. Its age comes from the wall clock, which is not
    /// used for it again.
    pub(super) fn restored(ticket: Ticket, saved: SavedMessage, now: Now) -> Self {
        let SavedMessage { room: _, key, content, reply_to, queued, owner, sent_as } = saved;
        Self {
            earlier_ms: now.wall.0.saturating_sub(queued.0),
            in_doubt: sent_as.is_some(),
            sent_as,
            ..Self::new(ticket, Draft { key, content, reply_to }, owner, now.mono)
        }
    }

    /// Returns what a later process needs to continue the message.
    pub(super) fn saved(&self, room: RoomName, now: Now) -> SavedMessage {
        let age_ms = now.mono.since(self.queued).saturating_add(self.earlier_ms);
        SavedMessage {
            room,
            key: self.key.clone(),
            content: self.content.clone(),
            reply_to: self.reply_to,
            queued: Timestamp(now.wall.0.saturating_sub(age_ms)),
            owner: self.owner.clone(),
            sent_as: self.sent_as.clone(),
        }
    }

    pub(super) fn request(&self, room: RoomName) -> Request {
        Request::Message {
            room,
            key: Some(self.key.clone()),
            content: self.content.clone(),
            reply_to: self.reply_to,
        }
    }

    /// Returns when the message expires, by the monotonic clock.
    pub(super) fn expires(&self, expiry_ms: u64) -> Mono {
        self.queued.plus(expiry_ms.saturating_sub(self.earlier_ms))
    }

    /// Records that the result of the attempt in flight stays unknown.
    pub(super) fn doubt(&mut self) {
        self.in_doubt = true;
        self.state = PendingState::Ready;
    }

    /// Returns the outcome if the message is not sent again because of this error.
    pub(super) fn refused(&self, error: Box<ErrorBody>) -> Outcome {
        // A conflict tells that the log holds another message under this key.
        let is_conflict = error.code == ErrorCode::IdempotencyConflict;
        let is_in_flight = matches!(self.state, PendingState::InFlight(_));
        if (self.in_doubt || is_in_flight) && !is_conflict {
            Outcome::Unknown(error)
        } else {
            Outcome::Refused(error)
        }
    }
}

/// The messages of one room in the order in which they were queued. Bounded by the limits of the
/// outbox.
///
/// *Invariant:* only the first `window` messages are or were sent. With a window of 1, messages
/// reach the log in this order, whatever happens to single attempts.
#[derive(Debug, Default)]
pub(super) struct Outbox(VecDeque<Pending>);

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, message: Pending) {
        self.0.push_back(message);
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Pending> {
        self.0.get_mut(at)
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<Pending> {
        self.0.remove(at)
    }

    /// Takes all messages.
    pub(super) fn take(&mut self) -> VecDeque<Pending> {
        core::mem::take(&mut self.0)
    }

    /// Takes the messages that were queued as another user.
    pub(super) fn take_foreign(&mut self, user: &UserId) -> VecDeque<Pending> {
        let is_own = |message: &Pending| message.owner.as_ref().is_none_or(|owner| owner == user);
        let (own, foreign) = self.take().into_iter().partition(is_own);
        self.0 = own;
        foreign
    }

    /// Makes all messages those of a user.
    pub(super) fn give_to(&mut self, user: &UserId) {
        for message in &mut self.0 {
            message.owner = Some(user.clone());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.0.iter()
    }

    /// Returns the index of the message that this request has sent.
    pub(super) fn in_flight(&self, request: u64) -> Option<usize> {
        self.0.iter().position(|message| message.state == PendingState::InFlight(request))
    }

    /// Returns the index of the message with this key, if it was sent.
    pub(super) fn sent_with(&self, key: &Key) -> Option<usize> {
        self.0.iter().position(|message| message.sent_as.is_some() && message.key == *key)
    }

    /// Returns the next message to send. A message that was sent as another user waits until the
    /// room is complete: if the log has it, the Client finds it there. Its key would not prevent a
    /// second copy.
    pub(super) fn eligible(
        &self,
        now: Mono,
        window: u32,
        user: Option<&UserId>,
        completeness: Completeness,
    ) -> Eligible {
        let mut first = Eligible::None;
        for (at, message) in self.0.iter().enumerate().take(window.max(1) as usize) {
            let until = match message.state {
                PendingState::InFlight(_) => continue,
                PendingState::Waiting(until) if until > now => until,
                PendingState::Ready | PendingState::Waiting(_) => {
                    let is_foreign = message.sent_as.is_some() && message.sent_as.as_ref() != user;
                    if is_foreign && completeness == Completeness::Behind {
                        continue;
                    }
                    return Eligible::Now(at);
                }
            };
            first = match first {
                Eligible::At(earlier) => Eligible::At(earlier.min(until)),
                Eligible::Now(_) | Eligible::None => Eligible::At(until),
            };
        }
        first
    }

    /// Records that the connection has ended: the results of attempts in flight stay unknown.
    pub(super) fn disconnected(&mut self) {
        for message in &mut self.0 {
            if let PendingState::InFlight(_) = message.state {
                message.doubt();
            }
        }
    }

    /// Takes the messages that have expired.
    pub(super) fn take_expired(&mut self, now: Mono, expiry_ms: u64) -> VecDeque<Pending> {
        let (expired, kept) =
            self.take().into_iter().partition(|message| message.expires(expiry_ms) <= now);
        self.0 = kept;
        expired
    }
}

/// The size of all outboxes, and when their first message expires.
#[derive(Debug, Default)]
pub(super) struct OutboxTotals {
    pub(super) entries: usize,
    pub(super) bytes: usize,
    /// When to look for expired messages; at the expiry of the first one or earlier.
    pub(super) expires: Option<Mono>,
}

impl OutboxTotals {
    pub(super) fn add(&mut self, message: &Pending, expiry_ms: u64) {
        self.entries += 1;
        self.bytes += message.content.len();
        self.expires_at(message.expires(expiry_ms));
    }

    pub(super) fn remove(&mut self, message: &Pending) {
        self.entries -= 1;
        self.bytes -= message.content.len();
        if self.entries == 0 {
            self.expires = None;
        }
    }

    pub(super) fn expires_at(&mut self, at: Mono) {
        self.expires = Some(self.expires.map_or(at, |earlier| earlier.min(at)));
    }
}
