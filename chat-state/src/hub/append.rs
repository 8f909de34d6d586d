//! Taking messages to the log.
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use chat_proto::{Dialect, ErrorCode, RequestId, RoomName, Seq, ServerFrame, Timestamp};

use super::pause::Reason;
use super::{Actions, Hub, Pending};
use crate::config::Peers;
use crate::event::{Action, Signal, SignalTo};
use crate::ids::{ConnId, Mono, Token};
use crate::log::{AppendError, Appended, Draft, Outcome};
use crate::reason::CloseReason;
use crate::room::{InFlight, Queued, Room, RoomId};
use crate::session::{Message, State};

/// Drafts of one batch: a batch waits for one fsync, and its answer is handled in one turn.
const BATCH_DRAFTS: usize = 256;
/// Bytes of the contents of one batch; one draft always fits.
const BATCH_BYTES: usize = 1 << 20;

impl Hub {
    /// Takes a message. It is offered to the log with the others of this turn. If the join of the
    /// room is not decided yet, the message of a `chat.v1` session is held until it is.
    pub(super) fn say(
        &mut self,
        now: Mono,
        (conn, at): (ConnId, RoomId),
        message: Message,
        out: &mut Actions,
    ) {
        let limits = &self.config.limits;
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let (dialect, many) = (session.dialect, session.began(limits.in_flight));
        let subscription = session.subscription(at).expect("the sender was found in the room");
        match &mut subscription.state {
            State::Joining(joining) if joining.before.is_none() && dialect == Dialect::V1 => {
                joining.held.push(message);
            }
            State::Joining(_) | State::Live(_) | State::Lagging { .. } => {
                subscription.typing = None;
                self.queue_message(now, (conn, at), message, out);
            }
        }
        if many {
            self.pause(conn, Reason::InFlight, out);
        }
    }

    /// Queues a message of a member for the log; it counts as in flight already.
    pub(super) fn queue_message(
        &mut self,
        now: Mono,
        (conn, at): (ConnId, RoomId),
        message: Message,
        out: &mut Actions,
    ) {
        let limits = &self.config.limits;
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(room) = self.rooms.get_mut(at) else { return };
        let Message { id, key, ts, body } = message;
        let full = room.drafts.len() >= limits.room_drafts as usize;
        let slow = full && session.dialect == Dialect::Basic;
        if full && !slow {
            self.ended(now, conn, out);
            let why = "the room has too many messages that wait for the log";
            return Self::refuse(conn, id, ErrorCode::LogUnavailable, why, out);
        }
        let (user, username) = (session.user.clone(), session.name.clone());
        let draft = Draft { user, username, key, ts, body };
        let idle = room.in_flight.is_none();
        if idle && room.drafts.is_empty() {
            self.to_offer.push(at);
        }
        room.queue(Queued { draft, conn, id });
        // A whole batch does not wait for the end of the turn.
        let whole = room.drafts.len() >= BATCH_DRAFTS.min(limits.room_drafts as usize);
        if slow {
            // The dialect can't be told, so the frame that was read counts and no more are.
            room.stalled.insert(conn);
            self.pause(conn, Reason::Drafts, out);
        }
        if idle && whole {
            self.offer_drafts(now, at, out);
        }
    }

    /// Notes that a room may have drafts that nothing keeps from being offered any more.
    pub(super) fn may_offer(&mut self, at: RoomId) {
        if self.rooms.get(at).is_some_and(|room| !room.drafts.is_empty()) {
            self.to_offer.push(at);
        }
    }

    /// Offers what has come together since the last time: one batch for each room.
    pub(super) fn offer_all(&mut self, now: Mono, out: &mut Actions) {
        let mut next = 0;
        while let Some(at) = self.to_offer.get(next).copied() {
            self.offer_drafts(now, at, out);
            next += 1;
        }
        self.to_offer.clear();
    }

    /// Offers the next batch, if the room is open and the log has answered the one before.
    fn offer_drafts(&mut self, now: Mono, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if !room.is_open() || room.in_flight.is_some() || room.drafts.is_empty() {
            return;
        }
        let count = batch_len(&room.drafts);
        let mut batch = self.batch.take().unwrap_or_default();
        if count == room.drafts.len() {
            core::mem::swap(&mut batch, &mut room.drafts);
        } else {
            batch.extend(room.drafts.drain(..count));
        }
        // One slice is enough: cheaper than the two that a ring may have.
        let drafts = batch.make_contiguous().iter().map(|queued| queued.draft.clone()).collect();
        let token = self.pending.ask(Pending::Append(at));
        let due = now.plus(self.config.times.append_ms);
        room.in_flight = Some(InFlight { token, batch });
        self.patience.begin(due, token);
        let waiting = !room.stalled.is_empty();
        out.push_back(Action::Append { token, room: room.name.clone(), drafts });
        if waiting {
            self.unpause_stalled(now, at, out);
        }
    }

    /// Takes the log's answer: first the replies, then the entries, then the next batch.
    pub(super) fn appended(
        &mut self,
        now: Mono,
        token: Token,
        result: Result<Appended, AppendError>,
        out: &mut Actions,
    ) {
        let at = match self.pending.answer(token) {
            Some(Pending::Append(at)) => at,
            Some(Pending::LateAppend(room)) => {
                return self.appended_late(now, room, result, out);
            }
            _ => return,
        };
        let pending = &self.pending;
        self.patience.end(|token| pending.is_append(token));
        let Some(room) = self.rooms.get_mut(at) else { return };
        let Some(in_flight) = room.in_flight.take() else { return };
        debug_assert_eq!(in_flight.token, token, "one batch in flight");
        match result {
            Ok(appended) => self.taken(now, at, (in_flight.batch, &appended), out),
            Err(error) => self.fail_batch(now, at, in_flight.batch, &error, out),
        }
        let Some(room) = self.rooms.get(at) else { return };
        let (departing, deserted) =
            (room.audience.has_departing(), room.audience.live().is_empty());
        if !room.drafts.is_empty() {
            self.to_offer.push(at);
        }
        if departing {
            self.announce_departures(at, out);
        }
        if deserted {
            self.forget_if_idle(at, out);
        }
    }

    /// The log has taken a batch.
    fn taken(
        &mut self,
        now: Mono,
        at: RoomId,
        (mut batch, appended): (VecDeque<Queued>, &Appended),
        out: &mut Actions,
    ) {
        let Appended { epoch, outcomes } = appended;
        debug_assert_eq!(outcomes.len(), batch.len());
        let mut entries = self.made.take().unwrap_or_default();
        for outcome in outcomes {
            let Some(Queued { draft, conn, id }) = batch.pop_front() else { break };
            let Some(room) = self.rooms.get_mut(at) else { break };
            room.answered(conn);
            let room = room.name.clone();
            self.settle(now, &room, (conn, id, draft.ts), *outcome, out);
            if let Outcome::New { seq } = outcome {
                entries.push(Arc::new(draft.into_entry(room, *seq)));
            }
        }
        batch.clear();
        self.batch = Some(batch);
        self.commit_own(now, at, epoch, &entries, out);
        // A duplicate's first send may have been missed here; an entry of this batch was not.
        let whole = self.rooms.get(at).is_some_and(Room::is_open);
        if entries.len() < outcomes.len() || !whole {
            self.grown(now, at, epoch, last_place(outcomes), out);
        }
        entries.clear();
        self.made = Some(entries);
    }

    fn settle(
        &mut self,
        now: Mono,
        room: &RoomName,
        (conn, id, taken): (ConnId, Option<RequestId>, Timestamp),
        outcome: Outcome,
        out: &mut Actions,
    ) {
        if self.ended(now, conn, out) != Some(Dialect::V1) {
            return;
        }
        let (seq, ts, duplicate) = match outcome {
            Outcome::New { seq } => (seq, taken, false),
            Outcome::Duplicate { seq, ts } => (seq, ts, true),
            Outcome::Conflict => {
                let why = "this `key` was used for another message";
                let code = ErrorCode::IdempotencyConflict;
                return Self::refuse(conn, id, code, why, out);
            }
        };
        let frame =
            ServerFrame::Ack { id, room: room.clone(), seq: Some(seq), ts: Some(ts), duplicate };
        Self::reply(conn, frame, out);
    }

    fn fail_batch(
        &mut self,
        now: Mono,
        at: RoomId,
        batch: VecDeque<Queued>,
        error: &AppendError,
        out: &mut Actions,
    ) {
        let refused = matches!(error, AppendError::Refused(_));
        let (code, why) = if refused {
            (ErrorCode::LogUnavailable, "the log does not take messages at the moment")
        } else {
            let why = "it is not known whether the log took it: send it again with the same `key`";
            (ErrorCode::UnknownOutcome, why)
        };
        if matches!(error, AppendError::Unknown(_)) {
            self.ask_and_tell(at, out);
        }
        for Queued { conn, id, .. } in batch {
            if let Some(room) = self.rooms.get_mut(at) {
                room.answered(conn);
            }
            match self.ended(now, conn, out) {
                Some(Dialect::V1) => Self::refuse(conn, id, code, why, out),
                // The dialect has no errors, and a message must not vanish in silence.
                Some(Dialect::Basic) => {
                    self.close(conn, CloseReason::LogUnavailable, out);
                }
                None => {}
            }
        }
    }

    /// The log may have taken entries that no Hub has seen: asks where it ends, and tells others.
    fn ask_and_tell(&mut self, at: RoomId, out: &mut Actions) {
        let others = self.config.peers == Peers::Some;
        let Some(room) = self.rooms.get_mut(at) else { return };
        room.untold |= others;
        self.ask_head(at, out);
    }

    /// Takes the answer to an append that was given up: what it made is to be shown all the same,
    /// also if the room was forgotten and opened again meanwhile.
    fn appended_late(
        &mut self,
        now: Mono,
        room: RoomName,
        result: Result<Appended, AppendError>,
        out: &mut Actions,
    ) {
        let here = self.rooms.find(&room);
        match (result, here) {
            (Ok(Appended { epoch, outcomes }), here) => {
                let last = last_place(&outcomes);
                let (to, told) = (SignalTo::Followers(room.clone()), epoch.clone());
                self.signal(to, || Signal::Grown { epoch: told, room, last }, out);
                if let Some(at) = here {
                    self.grown(now, at, &epoch, last, out);
                }
            }
            (Err(AppendError::Unknown(_)), Some(at)) => self.ask_and_tell(at, out),
            (Err(AppendError::Unknown(_)), None) | (Err(AppendError::Refused(_)), _) => {}
        }
    }

    /// The log has not answered: whether it took the batch can't be told.
    pub(super) fn append_due(&mut self, now: Mono, token: Token, out: &mut Actions) {
        let Some(pending) = self.pending.get_mut(token) else { return };
        let Pending::Append(at) = *pending else { return };
        let Some(room) = self.rooms.get_mut(at) else {
            // Rooms outlive their appends; an answer for one that does not has nobody to hear it.
            self.pending.answer(token);
            return;
        };
        *pending = Pending::LateAppend(room.name.clone());
        let Some(in_flight) = room.in_flight.take() else { return };
        let error = AppendError::Unknown("no answer".into());
        self.fail_batch(now, at, in_flight.batch, &error, out);
        self.may_offer(at);
        self.announce_departures(at, out);
        self.forget_if_idle(at, out);
    }
}

/// Counts the drafts of the next batch.
fn batch_len(drafts: &VecDeque<Queued>) -> usize {
    if drafts.len() == 1 {
        return 1;
    }
    let mut bytes = 0;
    for (count, queued) in drafts.iter().take(BATCH_DRAFTS).enumerate() {
        bytes += queued.draft.body.size() + 1;
        if bytes > BATCH_BYTES && count > 0 {
            return count;
        }
    }
    drafts.len().min(BATCH_DRAFTS)
}

fn last_place(outcomes: &[Outcome]) -> Seq {
    let place = |outcome: &Outcome| match outcome {
        Outcome::New { seq } | Outcome::Duplicate { seq, .. } => Some(*seq),
        Outcome::Conflict => None,
    };
    outcomes.iter().filter_map(place).max().unwrap_or(Seq::ZERO)
}
