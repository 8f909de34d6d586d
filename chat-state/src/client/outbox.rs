//! What the application has to say in one room.
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{ErrorBody, ErrorCode, Key, Request, RoomName, Seq, Timestamp, UserId};

use super::event::{Outcome, Ticket};
use crate::ids::{Mono, Now};

/// A message until it is settled.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) ticket: Ticket,
    pub(super) key: Key,
    pub(super) content: Arc<str>,
    pub(super) reply_to: Option<Seq>,
    /// When it was queued, by both clocks.
    pub(super) born: Now,
    pub(super) state: SendState,
    /// As whom it was sent last: keys count for one user only.
    pub(super) sent_as: Option<UserId>,
    /// Attempts in a row that may be repeated.
    pub(super) tries: u32,
    /// How often it was refused because the session was no member.
    pub(super) outside: u32,
    /// Nobody knows what became of an attempt.
    pub(super) in_doubt: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendState {
    Ready,
    /// This request is not answered yet.
    InFlight(u64),
    /// It may be sent at this time.
    Waiting(Mono),
}

/// Which send may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eligible {
    /// The one at this place.
    Now(usize),
    /// One at this time.
    At(Mono),
    /// None before something happens.
    None,
}

impl Send {
    pub(super) fn request(&self, room: RoomName) -> Request {
        Request::Message {
            room,
            key: Some(self.key.clone()),
            content: self.content.clone(),
            reply_to: self.reply_to,
        }
    }

    /// The attempt that is under way will not be answered, or the answer says nothing.
    pub(super) fn doubt(&mut self) {
        self.in_doubt = true;
        self.state = SendState::Ready;
    }

    /// What it comes to if it is not sent again because of this error.
    pub(super) fn refused(&self, error: Box<ErrorBody>) -> Outcome {
        // What the log has under this key is something else.
        let conflict = error.code == ErrorCode::IdempotencyConflict;
        let in_flight = matches!(self.state, SendState::InFlight(_));
        if (self.in_doubt || in_flight) && !conflict {
            Outcome::Unknown(error)
        } else {
            Outcome::Refused(error)
        }
    }

    fn is_older_than(&self, now: Now, ms: u64) -> bool {
        let by_wall = now.wall.0.saturating_sub(self.born.wall.0) >= ms;
        by_wall || now.mono.since(self.born.mono) >= ms
    }
}

/// The sends of one room, in order.
///
/// *Invariant:* only the first ones, as many as the window, are or were sent; the others wait. With
/// a window of 1 they reach the log in this order, whatever happens to single attempts.
#[derive(Debug, Default)]
pub(super) struct Sends(VecDeque<Send>);

impl Sends {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, send: Send) {
        self.0.push_back(send);
    }

    pub(super) fn get(&self, at: usize) -> Option<&Send> {
        self.0.get(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Send> {
        self.0.get_mut(at)
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<Send> {
        self.0.remove(at)
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Send> {
        self.0.drain(..)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Send> {
        self.0.iter()
    }

    /// Finds the send that this request is about.
    pub(super) fn in_flight(&self, request: u64) -> Option<usize> {
        self.0.iter().position(|send| send.state == SendState::InFlight(request))
    }

    /// Finds the send that this key names, if it was sent: what has the key is its entry.
    pub(super) fn sent_with(&self, key: &Key) -> Option<usize> {
        self.0.iter().position(|send| send.sent_as.is_some() && send.key == *key)
    }

    /// Decides which send is next. One that was sent as another user waits until the room is not
    /// behind: if it is in the log, it is found there, and the key would not keep it from doubling.
    pub(super) fn eligible(
        &self,
        now: Mono,
        window: u32,
        (user, is_behind): (Option<&UserId>, bool),
    ) -> Eligible {
        let mut first = Eligible::None;
        for (at, send) in self.0.iter().enumerate().take(window.max(1) as usize) {
            let until = match send.state {
                SendState::InFlight(_) => continue,
                SendState::Waiting(until) if until > now => until,
                SendState::Ready | SendState::Waiting(_) => {
                    let as_other = send.sent_as.is_some() && send.sent_as.as_ref() != user;
                    if as_other && is_behind {
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

    /// Notes that the connection is gone: what was in flight has an unknown outcome.
    pub(super) fn cut(&mut self) {
        for send in &mut self.0 {
            if let SendState::InFlight(_) = send.state {
                send.doubt();
            }
        }
    }

    /// Takes those that are too old.
    pub(super) fn expired(&mut self, now: Now, ms: u64) -> Vec<Send> {
        let mut expired = Vec::new();
        let kept = self.0.drain(..).filter_map(|send| {
            if send.is_older_than(now, ms) {
                expired.push(send);
                return None;
            }
            Some(send)
        });
        self.0 = kept.collect();
        expired
    }
}

/// How much there is to say over all rooms, and when the oldest of it is too old.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) entries: usize,
    pub(super) bytes: usize,
    /// When to look for what is too old, by either clock; not later than it has to be.
    pub(super) look: Option<(Mono, Timestamp)>,
}

impl Totals {
    pub(super) fn add(&mut self, send: &Send, expiry_ms: u64) {
        self.entries += 1;
        self.bytes += send.content.len();
        self.look_at(send.born, expiry_ms);
    }

    pub(super) fn remove(&mut self, send: &Send) {
        self.entries -= 1;
        self.bytes -= send.content.len();
        if self.entries == 0 {
            self.look = None;
        }
    }

    pub(super) fn look_at(&mut self, born: Now, expiry_ms: u64) {
        let mono = born.mono.plus(expiry_ms);
        let wall = Timestamp(born.wall.0.saturating_add(expiry_ms));
        self.look = Some(self.look.map_or((mono, wall), |(m, w)| (m.min(mono), w.min(wall))));
    }
}
