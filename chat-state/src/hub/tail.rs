//! Connects a room's tail with the log, the members and the peers.
//!
//! *Invariant:* an entry reaches live members only as an effect of the room's tail, which delivers
//! entries in order and without holes.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{Dialect, Entry, ErrorCode, RoomName, Seq, ServerFrame, Timestamp};

use super::questions::Pending;
use super::state::Effects;
use super::{Actions, Hub};
use crate::config::Config;
use crate::event::{Action, Recipients, Signal, SignalTo};
use crate::ids::Mono;
use crate::log::{AppendError, Appended, Keep, LogHead, LogPage, Outcome, ReadError, ReadRange};
use crate::reason::{CloseReason, Noted};
use crate::room::tail::{
    Ask, AskId, Bounds, Cx, Effect, NextBatch, NotAppended, PageOf, Purpose, Tail, TailConfig,
    TailTimer,
};
use crate::room::{Room, RoomId, Ticket};
use crate::timers::Timer;

impl Hub {
    /// Calls a room's tail and applies the effects. Returns `None` if the room is gone.
    pub(super) fn with_tail<R>(
        &mut self,
        at: RoomId,
        out: &mut Actions,
        call: impl FnOnce(&mut Tail<Ticket>, Cx<'_>, &mut Effects) -> R,
    ) -> Option<R> {
        let room = self.rooms.get_mut(at)?;
        let mut effects = core::mem::take(&mut self.effects);
        let cx = Cx { now: self.now, room: &room.name, config: &self.tail_config };
        let result = call(&mut room.tail, cx, &mut effects);
        self.apply_tail_effects(at, effects, out);
        Some(result)
    }

    /// Applies the effects of one call, then continues what has waited for them.
    pub(super) fn apply_tail_effects(
        &mut self,
        at: RoomId,
        mut effects: Effects,
        out: &mut Actions,
    ) {
        let (mut moved, mut settled) = (false, false);
        // `pop` then takes the first effect first.
        effects.reverse();
        while let Some(effect) = effects.pop() {
            match effect {
                Effect::Ask(id, ask) => self.ask(at, id, &ask, out),
                Effect::Ready => self.to_offer.push(at),
                Effect::Settled { ticket, ts, outcome } => {
                    settled = true;
                    match outcome {
                        Ok(outcome) => self.taken(at, ticket, ts, outcome, out),
                        Err(why) => self.not_taken(ticket, why, out),
                    }
                }
                Effect::Deliver(entry) => {
                    moved = true;
                    self.deliver(at, entry, out);
                }
                Effect::Skipped { from, to } => {
                    moved = true;
                    self.skipped(at, from, to, out);
                }
                other => self.apply_rare_effect(at, other, out),
            }
        }
        self.effects = effects;
        if moved || settled {
            self.continue_waiting(at, moved, settled, out);
        }
    }

    /// Continues what has waited for a room's cursor to move, or for drafts to be settled.
    #[inline]
    fn continue_waiting(&mut self, at: RoomId, moved: bool, settled: bool, out: &mut Actions) {
        let Some(room) = self.rooms.get(at) else { return };
        let (waiting, departing) = (!room.ahead.is_empty(), room.audience.has_departing());
        let deserted = room.audience.live().is_empty();
        if moved && waiting {
            self.recover_waiting(at, out);
        }
        if settled && departing {
            self.announce_departures(at, out);
        }
        if settled && deserted {
            self.forget_if_idle(at, out);
        }
    }

    /// Sends an entry to the live members.
    fn deliver(&mut self, at: RoomId, entry: Arc<Entry>, out: &mut Actions) {
        // An earlier effect may have closed the last connection, and so the room.
        let Some(room) = self.rooms.get(at) else { return };
        if !room.audience.live().is_empty() {
            let to = Recipients::All(room.audience.live().clone());
            out.push_back(Action::Send { to, frame: ServerFrame::Entry(entry) });
        }
    }

    /// Applies an effect that most messages do not have.
    #[inline(never)]
    fn apply_rare_effect(&mut self, at: RoomId, effect: Effect<Ticket>, out: &mut Actions) {
        // An earlier effect may have closed the last connection, and so the room.
        let Some(room) = self.rooms.get_mut(at) else { return };
        match effect {
            Effect::Ask(..)
            | Effect::Ready
            | Effect::Settled { .. }
            | Effect::Deliver(_)
            | Effect::Skipped { .. } => unreachable!("the caller applies these"),
            Effect::Committed { epoch, entries } => {
                let room = room.name.clone();
                let to = SignalTo::Followers(room.clone());
                self.signal(to, || Signal::Committed { epoch, room, entries }, out);
            }
            Effect::EntryDropped(seq) => {
                Self::note(Noted::EntryDropped { room: room.name.clone(), seq }, out);
            }
            Effect::Tell { epoch, last } => {
                let room = room.name.clone();
                let to = SignalTo::Followers(room.clone());
                self.signal(to, || Signal::Grown { epoch, room, last }, out);
            }
            Effect::Arm(timer, due) => self.arm_tail(at, timer, due),
            Effect::GaveUp(id) => {
                let token = room.asked.tokens[id.purpose as usize].take();
                self.pending.give_up(token.expect("it was asked"), room.name.clone());
            }
            Effect::Dropped(id) => {
                if let Some(token) = room.asked.tokens[id.purpose as usize].take() {
                    self.pending.answer(token);
                }
            }
            Effect::Opened { room } => {
                self.rooms.respell(at, &room);
                self.continue_joins(at, out);
                self.forget_if_idle(at, out);
            }
            Effect::OpenFailed => {
                self.unpause_stalled(at, out);
                self.refuse_joins(at, out);
                self.forget_if_idle(at, out);
            }
            Effect::Replaced => self.log_replaced(at, out),
            Effect::HeadAnswered => {
                self.recover_waiting(at, out);
                self.forget_if_idle(at, out);
            }
        }
    }

    fn ask(&mut self, at: RoomId, id: AskId, ask: &Ask, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        let token = self.pending.ask(Pending::Tail(at, id));
        room.asked.tokens[id.purpose as usize] = Some(token);
        let room = room.name.clone();
        match *ask {
            Ask::Open(Bounds { entries, bytes }) => {
                let range = ReadRange {
                    from: Seq::ZERO.next(),
                    to: Seq::ZERO.plus(u64::MAX),
                    limit: entries,
                    bytes,
                    keep: Keep::Newest,
                };
                out.push_back(Action::Load { token, room, range });
            }
            Ask::Read(range) => out.push_back(Action::Load { token, room, range }),
            Ask::Head => out.push_back(Action::Head { token, room }),
        }
    }

    /// Hands the next batch of a room to the log, if there is one.
    pub(super) fn append_batch(&mut self, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        let cx = Cx { now: self.now, room: &room.name, config: &self.tail_config };
        let Some(NextBatch { id, drafts, arm }) = room.tail.end_turn(cx) else { return };
        let token = self.pending.ask(Pending::Tail(at, id));
        room.asked.tokens[id.purpose as usize] = Some(token);
        let (waiting, room) = (!room.stalled.is_empty(), room.name.clone());
        if let Some(due) = arm {
            self.arm_tail(at, TailTimer::Append, due);
        }
        out.push_back(Action::Append { token, room, drafts });
        if waiting {
            self.unpause_stalled(at, out);
        }
    }

    fn arm_tail(&mut self, at: RoomId, timer: TailTimer, due: Mono) {
        self.timers.arm(due, Timer::Tail(at, timer));
    }

    /// Answers the author of a draft that the log has appended or recognized by its key.
    fn taken(
        &mut self,
        at: RoomId,
        Ticket { conn, id }: Ticket,
        ts: Timestamp,
        outcome: Outcome,
        out: &mut Actions,
    ) {
        if self.ended(conn, out) != Some(Dialect::V1) {
            return;
        }
        let Some(room) = self.rooms.get(at) else { return };
        let (seq, ts, duplicate) = match outcome {
            Outcome::New { seq } => (seq, ts, false),
            Outcome::Duplicate { seq, ts } => (seq, ts, true),
            Outcome::Conflict => {
                let why = "this `key` was used for another message";
                let code = ErrorCode::IdempotencyConflict;
                return Self::refuse(conn, id, code, why, out);
            }
        };
        let room = room.name.clone();
        let frame = ServerFrame::Ack { id, room, seq: Some(seq), ts: Some(ts), duplicate };
        Self::reply(conn, frame, out);
    }

    /// Answers the author of a draft that is not known to be in the log.
    fn not_taken(&mut self, Ticket { conn, id }: Ticket, why: NotAppended, out: &mut Actions) {
        let (code, why) = match why {
            NotAppended::Refused => {
                (ErrorCode::LogUnavailable, "the log does not take messages at the moment")
            }
            NotAppended::Unknown => {
                let why = "the log may have taken the message: send it again with the same `key`";
                (ErrorCode::UnknownOutcome, why)
            }
        };
        match self.ended(conn, out) {
            Some(Dialect::V1) => Self::refuse(conn, id, code, why, out),
            // `basic` has no errors, and a message must not be lost silently.
            Some(Dialect::Basic) => {
                self.close(conn, CloseReason::LogUnavailable, out);
            }
            None => {}
        }
    }

    /// Tells live members of entries that the log has trimmed before they were delivered.
    fn skipped(&mut self, at: RoomId, from: Seq, to: Seq, out: &mut Actions) {
        let Some(room) = self.rooms.get(at) else { return };
        Self::note(Noted::Hole { room: room.name.clone(), from, to }, out);
        let frame = ServerFrame::Hole { room: room.name.clone(), from, to };
        let live = room.audience.live().clone();
        out.push_back(Action::Send { to: Recipients::All(live.clone()), frame });
        // `basic` has no such frame, and entries must not be missing silently.
        for conn in live.iter() {
            if self.sessions.get(conn).is_some_and(|s| s.dialect == Dialect::Basic) {
                self.close(conn, CloseReason::EntriesTrimmed, out);
            }
        }
    }

    /// Closes all connections in a room whose log was replaced. Clients have to join again.
    fn log_replaced(&mut self, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get(at) else { return };
        let conns: Vec<_> = room.audience.conns().chain(room.joining.iter().copied()).collect();
        for conn in conns {
            self.close(conn, CloseReason::LogReplaced, out);
        }
    }

    /// Takes the log's answer to an append.
    pub(super) fn appended(
        &mut self,
        asked: Pending,
        result: Result<Appended, AppendError>,
        out: &mut Actions,
    ) {
        match asked {
            Pending::Tail(at, id) => {
                self.with_tail(at, out, |tail, cx, effects| tail.appended(cx, id, result, effects));
            }
            Pending::LateAppend(room) => self.appended_late(*room, result, out),
            Pending::Feed(..) | Pending::Auth(_) => unreachable!("not an append"),
        }
    }

    #[inline(never)]
    fn appended_late(
        &mut self,
        room: RoomName,
        result: Result<Appended, AppendError>,
        out: &mut Actions,
    ) {
        match (self.rooms.find(&room), result) {
            (Some(at), result) => {
                let late = |tail: &mut Tail<_>, cx: Cx<'_>, effects: &mut Effects| {
                    tail.appended_late(cx, result, effects);
                };
                self.with_tail(at, out, late);
            }
            (None, Ok(appended)) if appended.last() > Seq::ZERO => {
                let (last, epoch) = (appended.last(), appended.epoch);
                let to = SignalTo::Followers(room.clone());
                self.signal(to, || Signal::Grown { epoch, room, last }, out);
            }
            (None, Ok(_) | Err(AppendError::Unknown(_) | AppendError::Refused(_))) => {}
        }
    }

    /// Passes a page to the tail that has asked for it.
    pub(super) fn tail_read(
        &mut self,
        at: RoomId,
        id: AskId,
        result: Result<LogPage, ReadError>,
        out: &mut Actions,
    ) {
        self.with_tail(at, out, |tail, cx, effects| match id.purpose {
            Purpose::Open => tail.opened(cx, id, result, effects),
            Purpose::Read => tail.page_read(cx, id, result, effects),
            Purpose::Append | Purpose::Head => unreachable!("not answered by a page"),
        });
    }

    pub(super) fn tail_due(&mut self, at: RoomId, timer: TailTimer, out: &mut Actions) {
        self.with_tail(at, out, |tail, cx, effects| tail.timer_due(cx, timer, effects));
    }

    /// Asks the log whether a room has grown, since signals may have been lost.
    pub(super) fn check_head(&mut self, at: RoomId, out: &mut Actions) {
        self.with_tail(at, out, Tail::check_head);
    }

    /// Notes the ends of the log that came with a page for a member. Returns `None` if the room is
    /// gone.
    pub(super) fn note_ends(
        &mut self,
        at: RoomId,
        head: &LogHead,
        out: &mut Actions,
    ) -> Option<PageOf> {
        self.with_tail(at, out, |tail, cx, effects| tail.note_ends(cx, head, effects))
    }

    /// Hands this turn's drafts to the log, one batch for each room.
    pub(super) fn offer_all(&mut self, out: &mut Actions) {
        let mut next = 0;
        while let Some(at) = self.to_offer.get(next).copied() {
            self.append_batch(at, out);
            next += 1;
        }
        self.to_offer.clear();
    }

    /// Forgets the timers and the questions of a room that is gone.
    pub(super) fn forget_tail(&mut self, at: RoomId, room: &Room) {
        for timer in [TailTimer::Append, TailTimer::Open, TailTimer::Hole, TailTimer::Head] {
            self.timers.disarm(Timer::Tail(at, timer));
        }
        room.asked.tokens.into_iter().flatten().for_each(|token| drop(self.pending.answer(token)));
    }
}

/// Returns the limits and times of tails.
pub(super) fn tail_config(config: &Config) -> TailConfig {
    let Config { limits, times, peers, .. } = config;
    TailConfig {
        recent: Bounds { entries: limits.recent_entries, bytes: limits.recent_bytes },
        drafts_max: limits.room_drafts as usize,
        hole_ms: times.hole_ms,
        retry_ms: times.retry_ms,
        append_ms: times.append_ms,
        read_ms: times.read_ms,
        peers: *peers,
    }
}
