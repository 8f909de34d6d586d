//! Taking messages to the log.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{Body, CloseCode, Dialect, ErrorCode, Key, LeaveReason, RequestId, ServerFrame};

use super::{Actions, Hub, Pending};
use crate::event::Action;
use crate::ids::{ConnId, Mono, Now, Token};
use crate::log::{AppendError, Appended, Draft, Outcome};
use crate::room::{InFlight, Queued, RoomId};
use crate::timers::Timer;

/// Drafts of one batch: a batch waits for one fsync, and its answer is handled in one turn.
const BATCH_DRAFTS: usize = 256;
/// Bytes of the contents of one batch; one draft always fits.
const BATCH_BYTES: usize = 1 << 20;

impl Hub {
    /// Takes a message of a member and offers it to the log when the room's turn comes.
    pub(super) fn say(
        &mut self,
        now: Now,
        (conn, at): (ConnId, RoomId),
        (id, key, body): (Option<RequestId>, Option<Key>, Body),
        out: &mut Actions,
    ) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(room) = self.rooms.get_mut(at) else { return };
        let full = room.drafts.len() >= self.config.limits.room_drafts as usize;
        if full && session.dialect == Dialect::V1 {
            let why = "the room has too many messages that wait for the log";
            return Self::refuse(conn, id, ErrorCode::LogUnavailable, why, out);
        }
        if let Some(subscription) = session.subscription(at) {
            subscription.typing = None;
        }
        let draft = Draft {
            user: session.user.clone(),
            username: session.name.clone(),
            key,
            ts: now.wall,
            body,
        };
        room.drafts.push_back(Queued { draft, conn, id });
        self.began(conn, out);
        self.offer_drafts(now.mono, at, out);
    }

    /// Counts a request whose reply is due; beyond the limit the connection is not read.
    pub(super) fn began(&mut self, conn: ConnId, out: &mut Actions) {
        let limit = self.config.limits.in_flight;
        let Some(session) = self.sessions.get_mut(conn) else { return };
        session.in_flight += 1;
        if session.in_flight >= limit && !session.paused.in_flight {
            if !session.paused.any() {
                out.push_back(Action::Pause { conn });
            }
            session.paused.in_flight = true;
        }
    }

    /// Counts a request whose reply was given.
    pub(super) fn ended(&mut self, conn: ConnId, out: &mut Actions) {
        let limit = self.config.limits.in_flight;
        let Some(session) = self.sessions.get_mut(conn) else { return };
        debug_assert!(session.in_flight > 0, "a reply without a request");
        session.in_flight = session.in_flight.saturating_sub(1);
        if session.paused.in_flight && session.in_flight <= limit / 2 {
            session.paused.in_flight = false;
            if !session.paused.any() {
                out.push_back(Action::Unpause { conn });
            }
        }
    }

    /// Offers the next batch, if the room is open and the log has answered the one before.
    pub(super) fn offer_drafts(&mut self, now: Mono, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if !room.is_open() || room.in_flight.is_some() || room.drafts.is_empty() {
            return;
        }
        let mut bytes = 0;
        let fits = room.drafts.iter().take(BATCH_DRAFTS).take_while(|queued| {
            let first = bytes == 0;
            bytes += queued.draft.body.size() + 1;
            first || bytes <= BATCH_BYTES
        });
        let count = fits.count();
        let batch: Vec<Queued> = room.drafts.drain(..count).collect();
        let drafts = batch.iter().map(|queued| queued.draft.clone()).collect();
        let name = room.name.clone();
        let token = self.token(Pending::Append(at));
        if let Some(room) = self.rooms.get_mut(at) {
            room.in_flight = Some(InFlight { token, batch });
        }
        self.timers.arm(now.plus(self.config.times.append_ms), Timer::Append(token));
        out.push_back(Action::Append { token, room: name, drafts });
    }

    /// Takes the log's answer: first the replies, then the entries, then the next batch.
    pub(super) fn appended(
        &mut self,
        now: Mono,
        token: Token,
        result: Result<Appended, AppendError>,
        out: &mut Actions,
    ) {
        let at = match self.pending.remove(&token) {
            Some(Pending::Append(at)) => at,
            Some(Pending::LateAppend(at)) => return self.ask_head(at, out),
            _ => return,
        };
        let Some(room) = self.rooms.get_mut(at) else { return };
        let Some(in_flight) = room.in_flight.take() else { return };
        debug_assert_eq!(in_flight.token, token, "one batch in flight");
        match result {
            Ok(Appended { epoch, outcomes }) => {
                debug_assert_eq!(outcomes.len(), in_flight.batch.len());
                let name = room.name.clone();
                let mut entries = Vec::with_capacity(outcomes.len());
                for (queued, outcome) in in_flight.batch.into_iter().zip(outcomes) {
                    self.settle(at, &queued, outcome, out);
                    if let Outcome::New { seq } = outcome {
                        entries.push(Arc::new(queued.draft.into_entry(name.clone(), seq)));
                    }
                }
                self.commit_own(now, at, &epoch, entries, out);
            }
            Err(error) => self.fail_batch(now, at, in_flight.batch, &error, out),
        }
        self.offer_drafts(now, at, out);
        self.forget_if_idle(at, out);
    }

    fn settle(&mut self, at: RoomId, queued: &Queued, outcome: Outcome, out: &mut Actions) {
        let Queued { draft, conn, id } = queued;
        self.ended(*conn, out);
        let Some(session) = self.sessions.get(*conn) else { return };
        if session.dialect == Dialect::Basic {
            return;
        }
        let Some(room) = self.rooms.get(at) else { return };
        let (seq, ts, duplicate) = match outcome {
            Outcome::New { seq } => (seq, draft.ts, false),
            Outcome::Duplicate { seq, ts } => (seq, ts, true),
            Outcome::Conflict => {
                let why = "this `key` was used for another message";
                let code = ErrorCode::IdempotencyConflict;
                return Self::refuse(*conn, id.clone(), code, why, out);
            }
        };
        let frame = ServerFrame::Ack {
            id: id.clone(),
            room: room.name.clone(),
            seq: Some(seq),
            ts: Some(ts),
            duplicate,
        };
        Self::reply(*conn, frame, out);
    }

    fn fail_batch(
        &mut self,
        now: Mono,
        at: RoomId,
        batch: Vec<Queued>,
        error: &AppendError,
        out: &mut Actions,
    ) {
        let (code, why) = match error {
            AppendError::Refused(_) => {
                (ErrorCode::LogUnavailable, "the log does not take messages at the moment")
            }
            AppendError::Unknown(_) => (
                ErrorCode::UnknownOutcome,
                "it is not known whether the log took it: send it again with the same `key`",
            ),
        };
        for Queued { conn, id, .. } in batch {
            self.ended(conn, out);
            match self.sessions.get(conn).map(|s| s.dialect) {
                Some(Dialect::V1) => Self::refuse(conn, id, code, why, out),
                // The dialect has no errors, and a message must not vanish in silence.
                Some(Dialect::Basic) => {
                    self.close(conn, CloseCode::Overloaded, LeaveReason::Disconnected, out);
                }
                None => {}
            }
        }
        if matches!(error, AppendError::Unknown(_)) {
            self.ask_head(at, out);
        }
        self.offer_drafts(now, at, out);
    }

    /// The log has not answered: whether it took the batch can't be told.
    pub(super) fn append_due(&mut self, now: Mono, token: Token, out: &mut Actions) {
        let Some(Pending::Append(at)) = self.pending.get(&token) else { return };
        let at = *at;
        self.pending.insert(token, Pending::LateAppend(at));
        let Some(room) = self.rooms.get_mut(at) else { return };
        let Some(in_flight) = room.in_flight.take() else { return };
        let error = AppendError::Unknown("no answer".into());
        self.fail_batch(now, at, in_flight.batch, &error, out);
        self.forget_if_idle(at, out);
    }
}
