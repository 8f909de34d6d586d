//! Feeds connections: connects each session's [`Feed`](crate::delivery::Feed) with rooms and log.
//!
//! *Invariant:* a `chat.v1` member is either live in a room, or the room is among its feed's work.
use alloc::boxed::Box;
use alloc::vec::Vec;

use chat_proto::{Dialect, ErrorCode, RequestId, RoomName, Seq, ServerFrame};

use super::questions::Pending;
use super::{Actions, Hub};
use crate::delivery::{Next, Outcome, Reading, wire};
use crate::event::Action;
use crate::ids::{ConnId, Token};
use crate::log::{Keep, LogPage, ReadError, ReadRange};
use crate::reason::{CloseReason, Noted};
use crate::room::RoomId;
use crate::room::audience::{Audience, Spot};
use crate::room::tail::PageOf;
use crate::session::{Bulk, BulkReply, BulkRequest, Stage, State};
use crate::timers::Timer;

/// The largest number of entries in one slice for a member that lags.
const CATCH_UP_ENTRIES: u32 = 256;

/// The largest size of one slice. Short slices let every room of a connection make progress.
const CATCH_UP_BYTES: u32 = 32 * 1024;

impl Hub {
    /// Takes a connection whose outbox is over its high-water mark off the live lists.
    pub(super) fn congested(&mut self, conn: ConnId, out: &mut Actions) {
        let session = &mut self.sessions[conn];
        if session.dialect == Dialect::Basic {
            // `basic` can't be fed later: the adapter closes it once its outbox is full.
            return;
        }
        session.feed.congested();
        let live = session.subscriptions.iter().filter(|s| matches!(s.state, State::Live(_)));
        let live: Vec<RoomId> = live.map(|s| s.room).collect();
        for at in live {
            self.fall_behind(conn, at, out);
        }
    }

    /// Takes a live member off the live list: from now on it has a cursor of its own.
    fn fall_behind(&mut self, conn: ConnId, at: RoomId, out: &mut Actions) {
        let cursor = self.rooms[at].tail.cursor();
        self.stand_behind(conn, at, State::Lagging { cursor }, out);
        let session = &mut self.sessions[conn];
        session.feed.want(Bulk::CatchUp(at));
    }

    /// Continues to feed a connection whose outbox is below its low-water mark.
    pub(super) fn drained(&mut self, conn: ConnId, out: &mut Actions) {
        // A congested connection is not read, so draining its outbox counts as a sign of life.
        self.heard(conn);
        let session = &mut self.sessions[conn];
        session.feed.drained();
        self.serve(conn, out);
    }

    /// Queues a piece of work for a connection and serves what the credit allows.
    pub(super) fn want(&mut self, conn: ConnId, work: Bulk, out: &mut Actions) {
        let session = &mut self.sessions[conn];
        session.feed.want(work);
        self.serve(conn, out);
    }

    /// Queues a request whose reply may be large. It counts as in flight until it is answered.
    pub(super) fn want_reply(
        &mut self,
        conn: ConnId,
        id: Option<RequestId>,
        what: BulkReply,
        out: &mut Actions,
    ) {
        self.began(conn, out);
        self.want(conn, Bulk::Reply(Box::new(BulkRequest { id, what })), out);
    }

    /// Retries reads that have failed.
    pub(super) fn retry_feed(&mut self, conn: ConnId, out: &mut Actions) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        session.feed.retry();
        self.serve(conn, out);
    }

    /// Serves a connection's feed until it waits for the log, the outbox or more work.
    pub(super) fn serve(&mut self, conn: ConnId, out: &mut Actions) {
        let credit = (self.config.limits.outbox_high_bytes / 2).max(1);
        // A piece of work may close the connection.
        while let Some(session) = self.sessions.get_mut(conn) {
            // Missed entries come after the `welcome`.
            if session.stage != Stage::Active {
                return;
            }
            match session.feed.next(credit) {
                Next::Idle => return,
                Next::AwaitDrain => return out.push_back(Action::AwaitDrain { conn }),
                Next::Serve { work: Bulk::Join(at), .. } => self.serve_join(conn, at, out),
                Next::Serve { work: Bulk::Presence(at), .. } => self.serve_presence(conn, at, out),
                Next::Serve { work: Bulk::CatchUp(at), allowance } => {
                    self.serve_catch_up(conn, at, allowance.min(CATCH_UP_BYTES), out);
                }
                Next::Serve { work: Bulk::Reply(request), .. } => {
                    self.serve_reply(conn, *request, out);
                }
            }
        }
    }

    /// Charges a connection for what it was sent.
    pub(super) fn spend(&mut self, conn: ConnId, bytes: u32) {
        if let Some(session) = self.sessions.get_mut(conn) {
            session.feed.spend(bytes);
        }
    }

    /// Asks the log for what a piece of a connection's work needs.
    pub(super) fn read_for(
        &mut self,
        conn: ConnId,
        work: Bulk,
        room: RoomName,
        range: ReadRange,
        out: &mut Actions,
    ) {
        let token = self.load(room, range, Pending::Feed(conn, range.into()), out);
        let due = self.now.plus(self.config.times.read_ms);
        let session = &mut self.sessions[conn];
        session.feed.reading(Reading { token, work, reserved: range.bytes });
        self.timers.arm(due, Timer::Read(conn));
    }

    /// Takes the log's answer to a read for a connection.
    pub(super) fn feed_read(
        &mut self,
        conn: ConnId,
        token: Token,
        range: ReadRange,
        result: Result<LogPage, ReadError>,
        out: &mut Actions,
    ) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let outcome = if result.is_ok() { Outcome::Read } else { Outcome::Failed };
        let answered = session.feed.answered(token, outcome);
        self.timers.disarm(Timer::Read(conn));
        // If the work was dropped, the next read can be sent now.
        let Some(work) = answered else { return self.serve(conn, out) };
        // A log that answers for another room cannot be relied on.
        let result = match (result, work.room()) {
            (Ok(page), Some(at)) if !self.is_named(at, &page.head.room) => {
                Err(ReadError("the log has answered for another room".into()))
            }
            (result, _) => result,
        };
        if let Ok(page) = &result
            && let Some(at) = work.room()
            && self.note_ends(at, &page.head, out) == Some(PageOf::AnotherLog)
        {
            // The head decides whether the log was replaced. If not, the read is repeated.
            self.park(conn, work);
            return self.serve(conn, out);
        }
        match work {
            Bulk::Join(at) => self.join_read(conn, at, range, result, out),
            Bulk::CatchUp(at) => self.catch_up_read(conn, at, result, out),
            Bulk::Reply(request) => self.reply_read(conn, *request, range, result, out),
            Bulk::Presence(_) => unreachable!("presence is never read from the log"),
        }
        self.serve(conn, out);
    }

    /// Returns true if a room has this name, or is gone.
    fn is_named(&self, at: RoomId, name: &RoomName) -> bool {
        self.rooms.get(at).is_none_or(|room| room.name == *name)
    }

    /// Treats a read for a connection as failed, since the log has not answered in time.
    pub(super) fn read_due(&mut self, conn: ConnId, out: &mut Actions) {
        let Some(session) = self.sessions.get(conn) else { return };
        let Some(token) = session.feed.awaited() else { return };
        if let Some(Pending::Feed(_, range)) = self.pending.answer(token) {
            let late = Err(ReadError("no answer in time".into()));
            self.feed_read(conn, token, *range, late, out);
        }
    }

    /// Queues a connection's work to be repeated after a delay.
    fn park(&mut self, conn: ConnId, work: Bulk) {
        let session = &mut self.sessions[conn];
        let wait = session.feed.park(work, self.config.times.retry_ms);
        self.timers.arm(self.now.plus(wait), Timer::CatchUp(conn));
    }

    /// Drops a connection's work about one room. The next read waits for the answer to the one in
    /// flight, whether that is still wanted or not.
    pub(super) fn drop_work(&mut self, conn: ConnId, at: RoomId) {
        if let Some(session) = self.sessions.get_mut(conn) {
            session.feed.remove(|work| work.is_of_member(at));
        }
    }

    /// Says who is in a room that was recovered: a list, or in a large room the count.
    fn serve_presence(&mut self, conn: ConnId, at: RoomId, out: &mut Actions) {
        let session = &mut self.sessions[conn];
        let subscription = session.subscription(at).expect("its work goes with the membership");
        let spot = subscription.state.spot();
        if spot == Some(Spot::Behind) {
            self.rooms[at].audience.note_told(conn);
        }
        let frame = self.inspect(at, Audience::presence);
        if let ServerFrame::Members { view, .. } = &frame {
            let bytes = wire::members(view.members.len());
            self.spend(conn, bytes);
        }
        Self::reply(conn, frame, out);
    }

    fn serve_reply(&mut self, conn: ConnId, request: BulkRequest, out: &mut Actions) {
        let BulkRequest { id, what } = request;
        match what {
            BulkReply::Page { room, range, limit } => {
                self.serve_page(conn, id, room, range, limit, out);
            }
            BulkReply::Members { room } => self.serve_members(conn, id, room, out),
            BulkReply::Rooms { after } => {
                self.ended(conn, out);
                let (rooms, has_more) = self.list_rooms(after.as_ref());
                self.spend(conn, wire::rooms(rooms.len()));
                Self::reply(conn, ServerFrame::Rooms { id, rooms, has_more }, out);
            }
        }
    }

    fn serve_members(
        &mut self,
        conn: ConnId,
        id: Option<RequestId>,
        at: RoomId,
        out: &mut Actions,
    ) {
        self.ended(conn, out);
        if !self.sessions.get(conn).is_some_and(|session| session.is_subscribed(at)) {
            return Self::refuse(conn, id, ErrorCode::NotMember, LEFT, out);
        }
        let view = self.members_view(at);
        let room = self.rooms[at].name.clone();
        self.spend(conn, wire::members(view.members.len()));
        Self::reply(conn, ServerFrame::Members { id, room, view }, out);
    }

    /// Sends the next slice of what a member has missed, from the recent entries or the log.
    fn serve_catch_up(&mut self, conn: ConnId, at: RoomId, bytes: u32, out: &mut Actions) {
        let room = &self.rooms[at];
        let session = &mut self.sessions[conn];
        let subscription = session.subscription(at).expect("its work goes with the membership");
        let State::Lagging { cursor } = subscription.state else {
            unreachable!("a member that is fed lags")
        };
        let (end, from) = (room.tail.cursor(), cursor.next());
        if end.get().saturating_sub(cursor.get()) > u64::from(self.config.limits.behind_entries) {
            // Too much to feed: the client may page for it.
            let room = room.name.clone();
            Self::note(Noted::Gap { conn, room: room.clone(), from, to: end }, out);
            Self::reply(conn, ServerFrame::Gap { room, from, to: end }, out);
            return self.advance(conn, at, end, out);
        }
        if room.tail.recent().covers(from, end) {
            let (mut reached, mut spent) = (cursor, 0);
            for entry in room.tail.recent().range(from, end) {
                if spent >= bytes {
                    break;
                }
                spent += wire::entry(entry);
                reached = entry.seq;
                Self::reply(conn, ServerFrame::Entry(entry.clone()), out);
            }
            self.spend(conn, spent);
            return self.advance(conn, at, reached, out);
        }
        let limit = CATCH_UP_ENTRIES.min(wire::entries_within(bytes) + 1);
        let range = ReadRange { from, to: end, limit, bytes, keep: Keep::Oldest };
        self.read_for(conn, Bulk::CatchUp(at), room.name.clone(), range, out);
    }

    /// Moves the cursor of a lagging member. At the room's own cursor the member goes live again.
    fn advance(&mut self, conn: ConnId, at: RoomId, reached: Seq, out: &mut Actions) {
        let room = &self.rooms[at];
        // A congested connection gets no live events: it goes live once it has drained.
        if reached < room.tail.cursor() || !self.sessions[conn].feed.is_open() {
            self.set_state(conn, at, State::Lagging { cursor: reached });
            let session = &mut self.sessions[conn];
            session.feed.want(Bulk::CatchUp(at));
        } else {
            self.catch_ups += 1;
            self.go_live(conn, at, out);
        }
    }

    /// Takes what the log read for a member that lags.
    fn catch_up_read(
        &mut self,
        conn: ConnId,
        at: RoomId,
        result: Result<LogPage, ReadError>,
        out: &mut Actions,
    ) {
        let Ok(page) = result else {
            return self.park(conn, Bulk::CatchUp(at));
        };
        let room = &self.rooms[at];
        let (name, end) = (room.name.clone(), room.tail.cursor());
        let session = &mut self.sessions[conn];
        let subscription = session.subscription(at).expect("its work goes with the membership");
        let State::Lagging { cursor } = subscription.state else {
            unreachable!("a member that is fed lags")
        };
        let mut reached = cursor;
        if page.head.first > cursor.next() {
            // What is beyond the room's own cursor is delivered, or told of, in its turn.
            let (from, to) = (cursor.next(), page.head.first.minus(1).min(end));
            Self::note(Noted::Hole { room: name.clone(), from, to }, out);
            Self::reply(conn, ServerFrame::Hole { room: name, from, to }, out);
            reached = to;
        }
        let mut spent = 0;
        for entry in page.entries {
            if entry.seq == reached.next() {
                reached = entry.seq;
                spent += wire::entry(&entry);
                Self::reply(conn, ServerFrame::Entry(entry), out);
            }
        }
        session.feed.spend(spent);
        if reached == cursor && reached < end {
            // The log does not have what was delivered to others: asking again would not help.
            return self.close(conn, CloseReason::LogIncomplete, out);
        }
        self.advance(conn, at, reached, out);
    }
}

/// The error text for a request whose room was left before the reply.
pub(super) const LEFT: &str = "the room was left meanwhile";
