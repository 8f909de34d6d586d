//! The one door through which entries reach a room's members.
//!
//! Own entries, those of other Hubs and those read from the log come here. One below the cursor is
//! dropped, the one after it goes through, one beyond it is held until those before it have come.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{Dialect, Entry, Epoch, Seq, ServerFrame};

use super::{Actions, Hub, Pending};
use crate::config::Peers;
use crate::event::{Action, Recipients, Signal, SignalTo};
use crate::ids::{Mono, Token};
use crate::log::{Keep, LogHead, LogPage, ReadError, ReadRange};
use crate::reason::{CloseReason, Noted};
use crate::recent::Bounds;
use crate::room::{Early, HeadAsk, Hole, LogState, Room, RoomId};
use crate::timers::Timer;

/// Entries held for one room; what is beyond is read from the log in its turn.
const HELD_MAX: usize = 1024;

impl Hub {
    /// Lets in what this Hub's own append has made, and tells the other Hubs.
    pub(super) fn commit_own(
        &mut self,
        now: Mono,
        at: RoomId,
        epoch: &Epoch,
        entries: &[Arc<Entry>],
        out: &mut Actions,
    ) {
        if entries.is_empty() {
            return;
        }
        if self.config.peers == Peers::Some {
            let Some(room) = self.rooms.get(at) else { return };
            let (room, epoch) = (room.name.clone(), epoch.clone());
            let to = SignalTo::Followers(room.clone());
            let committed = || Signal::Committed { epoch, room, entries: entries.into() };
            self.signal(to, committed, out);
        }
        if self.knows_other_epoch(at, epoch) {
            return self.log_replaced(at, out);
        }
        self.let_through(now, at, epoch, entries, out);
    }

    /// Lets in what another Hub says is in the log.
    pub(super) fn commit_signalled(
        &mut self,
        now: Mono,
        at: RoomId,
        epoch: &Epoch,
        entries: &[Arc<Entry>],
        out: &mut Actions,
    ) {
        // A signal may be old: only the log can say that it is another one.
        if self.knows_other_epoch(at, epoch) {
            return self.ask_head(at, out);
        }
        self.let_through(now, at, epoch, entries, out);
    }

    fn let_through(
        &mut self,
        now: Mono,
        at: RoomId,
        epoch: &Epoch,
        entries: &[Arc<Entry>],
        out: &mut Actions,
    ) {
        if self.is_doubtful(at, epoch) {
            return;
        }
        for entry in entries {
            self.offer(at, entry, out);
        }
        self.check_hole(now, at, out);
        if self.rooms.get(at).is_some_and(|room| !room.ahead.is_empty()) {
            self.recover_waiting(at, false, out);
        }
    }

    /// Notes which log is named while a room is being opened: what two different ones say can't
    /// both be held, so then the log is asked once the room is open.
    fn is_doubtful(&mut self, at: RoomId, epoch: &Epoch) -> bool {
        let Some(room) = self.rooms.get_mut(at) else { return true };
        if room.is_open() {
            return false;
        }
        match &room.early {
            Early::None => room.early = Early::One(epoch.clone()),
            Early::One(named) if named == epoch => {}
            Early::One(_) | Early::Doubt => room.doubt(),
        }
        room.early == Early::Doubt
    }

    fn offer(&mut self, at: RoomId, entry: &Arc<Entry>, out: &mut Actions) {
        let bounds = self.bounds_of_recent();
        let Some(room) = self.rooms.get_mut(at) else { return };
        room.known = room.known.max(entry.seq);
        let expected = room.cursor().next();
        if !room.is_open() || entry.seq > expected {
            if room.held.len() < HELD_MAX {
                room.held.insert(entry.seq, entry.clone());
            } else if !room.held.contains_key(&entry.seq) {
                let room = room.name.clone();
                Self::note(Noted::EntryDropped { room, seq: entry.seq }, out);
            }
            return;
        }
        if entry.seq < expected {
            return;
        }
        Self::deliver(room, bounds, entry, out);
        if !room.held.is_empty() {
            self.release_held(at, out);
        }
    }

    /// Delivers the held entries whose turn has come, and drops those that were delivered.
    fn release_held(&mut self, at: RoomId, out: &mut Actions) {
        let bounds = self.bounds_of_recent();
        while let Some(room) = self.rooms.get_mut(at) {
            let expected = room.cursor().next();
            match room.held.first_key_value() {
                Some((seq, _)) if *seq <= expected => {}
                _ => return,
            }
            let Some((seq, entry)) = room.held.pop_first() else { return };
            if seq == expected {
                let Some(room) = self.rooms.get_mut(at) else { return };
                Self::deliver(room, bounds, &entry, out);
            }
        }
    }

    fn bounds_of_recent(&self) -> Bounds {
        let limits = &self.config.limits;
        Bounds { entries: limits.recent_entries as usize, bytes: limits.recent_bytes as usize }
    }

    /// The only place that moves a room's cursor over an entry.
    fn deliver(room: &mut Room, bounds: Bounds, entry: &Arc<Entry>, out: &mut Actions) {
        let LogState::Open { cursor, .. } = &mut room.log else { return };
        assert_eq!(entry.seq, cursor.next(), "the door lets entries through in order");
        *cursor = entry.seq;
        room.recent.push(entry.clone(), bounds);
        Self::show(room, entry, out);
    }

    fn show(room: &Room, entry: &Arc<Entry>, out: &mut Actions) {
        if !room.audience.live().is_empty() {
            let to = Recipients::All(room.audience.live().clone());
            out.push_back(Action::Send { to, frame: ServerFrame::Entry(entry.clone()) });
        }
    }

    /// Waits a moment for missing entries, since signals may only be late, before asking the log.
    pub(super) fn check_hole(&mut self, now: Mono, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if !room.is_open() || room.hole != Hole::None || room.known <= room.cursor() {
            return;
        }
        room.hole = Hole::Waiting;
        if self.config.times.hole_ms == 0 {
            return self.hole_due(at, out);
        }
        self.timers.arm(now.plus(self.config.times.hole_ms), Timer::Hole(at));
    }

    pub(super) fn hole_due(&mut self, at: RoomId, out: &mut Actions) {
        let limits = &self.config.limits;
        let (limit, bytes) = (limits.recent_entries, limits.recent_bytes);
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.hole != Hole::Waiting {
            return;
        }
        room.hole = Hole::None;
        let (from, to) = (room.cursor().next(), room.known);
        if from > to {
            return;
        }
        let range = ReadRange { from, to, limit, bytes, keep: Keep::Oldest };
        let name = room.name.clone();
        let token = self.load(name, range, Pending::Hole(at), out);
        if let Some(room) = self.rooms.get_mut(at) {
            room.hole = Hole::Loading(token);
        }
    }

    pub(super) fn hole_read(
        &mut self,
        now: Mono,
        at: RoomId,
        (token, result): (Token, Result<LogPage, ReadError>),
        out: &mut Actions,
    ) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.hole != Hole::Loading(token) {
            return;
        }
        room.hole = Hole::None;
        let before = room.cursor();
        if let Ok(page) = result {
            if self.knows_other_epoch(at, &page.head.epoch) {
                return self.log_replaced(at, out);
            }
            self.note_first(at, page.head.first);
            self.skip_trimmed(at, page.head.first, out);
            for entry in &page.entries {
                self.offer(at, entry, out);
            }
            self.release_held(at, out);
            self.recover_waiting(at, false, out);
        }
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.known <= room.cursor() {
            return;
        }
        // There is more, or the log could not be read, or it does not have yet what was promised.
        room.hole = Hole::Waiting;
        let wait = if room.cursor() > before { 0 } else { self.config.times.retry_ms };
        self.timers.arm(now.plus(wait), Timer::Hole(at));
    }

    /// Entries after the cursor that the log has forgotten can't be delivered: members are told.
    fn skip_trimmed(&mut self, at: RoomId, first: Seq, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        let LogState::Open { cursor, .. } = &mut room.log else { return };
        let (from, to) = (cursor.next(), first.minus(1));
        if from > to {
            return;
        }
        *cursor = to;
        room.recent.clear();
        Self::note(Noted::Hole { room: room.name.clone(), from, to }, out);
        let frame = ServerFrame::Hole { room: room.name.clone(), from, to };
        let live = room.audience.live().clone();
        out.push_back(Action::Send { to: Recipients::All(live.clone()), frame });
        // The dialect has no such frame, and nothing may be missing in silence.
        for conn in live.iter() {
            if self.sessions.get(conn).is_some_and(|s| s.dialect == Dialect::Basic) {
                self.close(conn, CloseReason::EntriesTrimmed, out);
            }
        }
    }

    /// Takes the answer to the question where a new room's log ends.
    pub(super) fn opened(
        &mut self,
        now: Mono,
        at: RoomId,
        result: Result<LogPage, ReadError>,
        out: &mut Actions,
    ) {
        let bounds = self.bounds_of_recent();
        let Some(room) = self.rooms.get_mut(at) else { return };
        let Ok(LogPage { head, entries }) = result else {
            self.turn_away(now, at, out);
            self.announce_departures(at, out);
            self.forget_if_idle(at, out);
            if self.rooms.get(at).is_some() {
                self.timers.arm(now.plus(self.config.times.retry_ms), Timer::Open(at));
            }
            return;
        };
        let LogHead { room: name, epoch, first, last } = head;
        match core::mem::replace(&mut room.early, Early::None) {
            Early::None => {}
            Early::One(named) if named == epoch => {}
            Early::One(_) | Early::Doubt => room.doubt(),
        }
        let doubt = room.early == Early::Doubt;
        room.early = Early::None;
        room.log = LogState::Open { epoch, first, cursor: last };
        room.known = room.known.max(last);
        for entry in entries {
            room.recent.push(entry, bounds);
        }
        self.rooms.respell(at, &name);
        self.release_held(at, out);
        self.let_in(at, out);
        self.check_hole(now, at, out);
        self.may_offer(at);
        self.forget_if_idle(at, out);
        if doubt || self.rooms.get(at).is_some_and(|room| room.untold) {
            self.ask_head(at, out);
        }
    }

    /// Asks the log whether a room has grown: one question at a time, whatever the reasons.
    pub(super) fn ask_head(&mut self, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if !room.is_open() {
            return room.doubt();
        }
        if let HeadAsk::Asked { again, .. } = &mut room.head {
            *again = true;
            return;
        }
        let name = room.name.clone();
        let token = self.token(Pending::Head(at));
        if let Some(room) = self.rooms.get_mut(at) {
            room.head = HeadAsk::Asked { token, again: false };
        }
        out.push_back(Action::Head { token, room: name });
    }

    pub(super) fn head_due(&mut self, at: RoomId, out: &mut Actions) {
        if self.rooms.get(at).is_some_and(|room| room.head == HeadAsk::Failed) {
            self.ask_head(at, out);
        }
    }

    pub(super) fn head_read(
        &mut self,
        now: Mono,
        token: Token,
        result: Result<LogHead, ReadError>,
        out: &mut Actions,
    ) {
        let Some(Pending::Head(at)) = self.pending.answer(token) else { return };
        let Some(room) = self.rooms.get_mut(at) else { return };
        let HeadAsk::Asked { token: asked, again } = room.head else { return };
        if asked != token {
            return;
        }
        let Ok(LogHead { epoch, last, .. }) = result else {
            room.head = HeadAsk::Failed;
            return self.timers.arm(now.plus(self.config.times.retry_ms), Timer::Head(at));
        };
        room.head = HeadAsk::None;
        if again {
            self.ask_head(at, out);
        } else if core::mem::take(&mut room.untold) {
            let (room, epoch) = (room.name.clone(), epoch.clone());
            let to = SignalTo::Followers(room.clone());
            self.signal(to, || Signal::Grown { epoch, room, last }, out);
        }
        if self.knows_other_epoch(at, &epoch) {
            return self.log_replaced(at, out);
        }
        self.grown(now, at, &epoch, last, out);
        if !again {
            self.recover_waiting(at, true, out);
        }
        self.forget_if_idle(at, out);
    }

    /// A room's log has an entry at this place.
    pub(super) fn grown(
        &mut self,
        now: Mono,
        at: RoomId,
        epoch: &Epoch,
        last: Seq,
        out: &mut Actions,
    ) {
        if self.knows_other_epoch(at, epoch) {
            return self.ask_head(at, out);
        }
        if self.is_doubtful(at, epoch) {
            return;
        }
        let Some(room) = self.rooms.get_mut(at) else { return };
        room.known = room.known.max(last);
        self.check_hole(now, at, out);
    }

    /// Tells whether the room was opened with another log than this.
    pub(super) fn knows_other_epoch(&self, at: RoomId, epoch: &Epoch) -> bool {
        match self.rooms.get(at).map(|room| &room.log) {
            Some(LogState::Open { epoch: own, .. }) => own != epoch,
            Some(LogState::Opening) | None => false,
        }
    }

    /// The log is another one than it was: places mean nothing any more, so every member has to
    /// come anew. What was said and is not in the log yet goes to the new one.
    pub(super) fn log_replaced(&mut self, at: RoomId, out: &mut Actions) {
        let Some(room) = self.rooms.get(at) else { return };
        let conns: Vec<_> = room.audience.conns().chain(room.joining.iter().copied()).collect();
        for conn in conns {
            self.close(conn, CloseReason::LogReplaced, out);
        }
        if let Some(room) = self.rooms.get_mut(at) {
            room.close_log();
            self.load_open(at, out);
        }
    }
}
