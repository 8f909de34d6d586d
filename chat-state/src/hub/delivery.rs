//! Those who do not keep up: off the live list, fed from the recent entries or the log, and back.
use chat_proto::{CloseCode, Dialect, Entry, LeaveReason, Seq, ServerFrame};

use super::{Actions, Hub, Pending};
use crate::event::Action;
use crate::ids::{ConnId, Mono, Token};
use crate::log::{Keep, LogPage, ReadError, ReadRange};
use crate::room::RoomId;
use crate::session::{Feed, OutboxState, Stage, State};
use crate::timers::Timer;

/// Entries of one read for one who lags.
const CATCH_UP_ENTRIES: u32 = 256;

impl Hub {
    /// The outbox is over its mark: whoever can be fed later is taken off the live lists.
    pub(super) fn congested(&mut self, conn: ConnId, out: &mut Actions) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        session.outbox = OutboxState::Waiting;
        if session.dialect == Dialect::Basic {
            // Its outbox is the whole of its patience; beyond it the adapter ends it.
            return;
        }
        let Some(session) = self.sessions.get(conn) else { return };
        let rooms: alloc::vec::Vec<RoomId> = session
            .subscriptions
            .iter()
            .filter(|s| matches!(s.state, State::Live(_)))
            .map(|s| s.room)
            .collect();
        for at in rooms {
            self.fall_behind(conn, at, out);
        }
    }

    pub(super) fn drained(&mut self, now: Mono, conn: ConnId, out: &mut Actions) {
        // What the peer takes is a sign of life, too: while it is congested nothing is read.
        self.heard(now, conn);
        if let Some(session) = self.sessions.get_mut(conn) {
            session.outbox = OutboxState::Open;
        }
        self.catch_up(conn, out);
    }

    /// A read has failed: ask again.
    pub(super) fn catch_up_due(&mut self, conn: ConnId, out: &mut Actions) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        for subscription in &mut session.subscriptions {
            if let State::Lagging { feed, .. } = &mut subscription.state
                && *feed == Feed::Failed
            {
                *feed = Feed::Ready;
            }
        }
        self.catch_up(conn, out);
    }

    /// Feeds what a connection has missed, as much as its outbox should hold.
    pub(super) fn catch_up(&mut self, conn: ConnId, out: &mut Actions) {
        let mut budget = self.config.limits.outbox_high_bytes as usize / 2;
        loop {
            let Some(session) = self.sessions.get(conn) else { return };
            // What was missed comes after the `welcome` that says so.
            if session.outbox == OutboxState::Waiting || session.stage != Stage::Active {
                return;
            }
            let behind = session.subscriptions.iter().find_map(|s| match s.state {
                State::Lagging { cursor, feed: Feed::Ready } => Some((s.room, cursor)),
                State::Lagging { feed: Feed::Asked(_) | Feed::Failed, .. }
                | State::Joining(_)
                | State::Live(_) => None,
            });
            let Some((at, cursor)) = behind else { return };
            if budget == 0 {
                return self.await_drain(conn, out);
            }
            self.feed((conn, at), cursor, &mut budget, out);
        }
    }

    fn await_drain(&mut self, conn: ConnId, out: &mut Actions) {
        if let Some(session) = self.sessions.get_mut(conn) {
            session.outbox = OutboxState::Waiting;
            out.push_back(Action::AwaitDrain { conn });
        }
    }

    /// Feeds one room from its recent entries, or asks the log.
    fn feed(
        &mut self,
        (conn, at): (ConnId, RoomId),
        cursor: Seq,
        budget: &mut usize,
        out: &mut Actions,
    ) {
        let Some(room) = self.rooms.get(at) else {
            // Rooms outlive their members; whoever finds otherwise can't be served.
            debug_assert!(false, "a member of a forgotten room");
            return self.close(conn, CloseCode::Internal, LeaveReason::Disconnected, out);
        };
        let end = room.cursor();
        let behind = end.get().saturating_sub(cursor.get());
        if behind > u64::from(self.config.limits.behind_entries) {
            // Too much to feed: it can page for it if it likes.
            let (room, from) = (room.name.clone(), cursor.next());
            Self::reply(conn, ServerFrame::Gap { room, from, to: end }, out);
            return self.advance((conn, at), end, out);
        }
        if room.recent.covers(cursor.next(), end) {
            let mut reached = cursor;
            for entry in room.recent.range(cursor.next(), end) {
                if *budget == 0 {
                    break;
                }
                *budget = budget.saturating_sub(cost(entry));
                reached = entry.seq;
                Self::reply(conn, ServerFrame::Entry(entry.clone()), out);
            }
            self.advance((conn, at), reached, out);
            return;
        }
        let range = ReadRange {
            from: cursor.next(),
            to: end,
            limit: CATCH_UP_ENTRIES
                .min(u32::try_from(*budget / OVERHEAD).map_or(u32::MAX, |n| n.saturating_add(1))),
            bytes: u32::try_from(*budget).unwrap_or(u32::MAX),
            keep: Keep::Oldest,
        };
        let name = room.name.clone();
        let token = self.load(name, range, Pending::CatchUp(conn, at), out);
        let subscription = self.sessions.get_mut(conn).and_then(|s| s.subscription(at));
        if let Some(subscription) = subscription
            && let State::Lagging { feed, .. } = &mut subscription.state
        {
            *feed = Feed::Asked(token);
        }
    }

    /// Moves a lagging subscription's cursor; at the room's own it goes back to the live list.
    fn advance(&mut self, (conn, at): (ConnId, RoomId), reached: Seq, out: &mut Actions) {
        let Some(room) = self.rooms.get(at) else { return };
        if reached < room.cursor() {
            self.set_state(conn, at, State::Lagging { cursor: reached, feed: Feed::Ready });
        } else {
            self.catch_ups += 1;
            self.go_live(conn, at, out);
        }
    }

    /// Takes what the log read for one who lags.
    pub(super) fn caught_up(
        &mut self,
        now: Mono,
        (conn, at): (ConnId, RoomId),
        (token, result): (Token, Result<LogPage, ReadError>),
        out: &mut Actions,
    ) {
        let Some(end) = self.rooms.get(at).map(crate::room::Room::cursor) else { return };
        let subscription = self.sessions.get_mut(conn).and_then(|s| s.subscription(at));
        let Some(subscription) = subscription else { return };
        let State::Lagging { cursor, feed } = &mut subscription.state else { return };
        if *feed != Feed::Asked(token) {
            return;
        }
        let mut reached = *cursor;
        let Ok(page) = result else {
            *feed = Feed::Failed;
            self.timers.arm(now.plus(self.config.times.retry_ms), Timer::CatchUp(conn));
            return;
        };
        if self.knows_other_epoch(at, &page.head.epoch) {
            return self.log_replaced(at, out);
        }
        let before = reached;
        if page.head.first > reached.next() {
            // What is beyond the room's own cursor comes, or is told of, in its turn.
            let (from, to) = (reached.next(), page.head.first.minus(1).min(end));
            let Some(room) = self.rooms.get(at).map(|r| r.name.clone()) else { return };
            Self::reply(conn, ServerFrame::Hole { room, from, to }, out);
            reached = to;
        }
        self.note_first(at, page.head.first);
        for entry in page.entries {
            if entry.seq == reached.next() {
                reached = entry.seq;
                Self::reply(conn, ServerFrame::Entry(entry), out);
            }
        }
        self.advance((conn, at), reached, out);
        // The log does not have what was delivered to others: no use in asking again and again.
        if reached == before && reached < end {
            return self.close(conn, CloseCode::SlowConsumer, LeaveReason::SlowConsumer, out);
        }
        self.await_drain(conn, out);
    }
}

/// What an entry takes of an outbox.
fn cost(entry: &Entry) -> usize {
    entry.body.size() + OVERHEAD
}

/// About what an entry takes on the wire besides its body: many short ones are not nothing.
const OVERHEAD: usize = 200;
