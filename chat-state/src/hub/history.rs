//! Answers requests for history.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{Entry, ErrorCode, HistoryRange, Page, RequestId, Seq, ServerFrame};

use super::delivery::LEFT;
use super::questions::Pending;
use super::{Actions, Hub};
use crate::delivery::wire;
use crate::ids::{ConnId, Token};
use crate::log::{Keep, LogPage, ReadError, ReadRange};
use crate::room::RoomId;
use crate::room::tail::Ends;
use crate::session::{Bulk, BulkReply, BulkRequest, State};

/// The error text for a log that can't be read.
const UNREADABLE: &str = "the room's log can't be read at the moment";

/// Entries that answer a request for history.
struct Found {
    at: RoomId,
    /// The range that was searched.
    range: ReadRange,
    /// The first entry that the log has.
    first: Seq,
    events: Vec<Arc<Entry>>,
}

impl Hub {
    /// Takes a request for history. It is answered by the connection's feed.
    pub(super) fn history(
        &mut self,
        conn: ConnId,
        at: RoomId,
        id: Option<RequestId>,
        range: HistoryRange,
        limit: Option<u32>,
        out: &mut Actions,
    ) {
        let room = &self.rooms[at];
        if room.tail.ends().is_none() {
            let why = "the room is not open yet; wait for `joined`";
            return Self::refuse(conn, id, ErrorCode::NotMember, why, out);
        }
        let most = self.config.limits.history.max(1);
        let limit = limit.unwrap_or(most).clamp(1, most);
        self.want_reply(conn, id, BulkReply::Page { room: at, range, limit }, out);
    }

    /// Answers a request for history from the recent entries, or asks the log.
    pub(super) fn serve_page(
        &mut self,
        conn: ConnId,
        id: Option<RequestId>,
        at: RoomId,
        asked: HistoryRange,
        limit: u32,
        out: &mut Actions,
    ) {
        if !self.sessions.get(conn).is_some_and(|session| session.is_subscribed(at)) {
            self.ended(conn, out);
            return Self::refuse(conn, id, ErrorCode::NotMember, LEFT, out);
        }
        let room = &self.rooms[at];
        let Some(Ends { first, cursor, .. }) = room.tail.ends() else {
            // The room's log was replaced, and its members are being disconnected.
            self.ended(conn, out);
            return Self::refuse(conn, id, ErrorCode::LogUnavailable, UNREADABLE, out);
        };
        let range = read_range(asked, limit, self.config.limits.page_bytes, first, cursor);
        if range.from > range.to || room.tail.recent().covers(range.from.max(first), cursor) {
            let range = ReadRange { from: range.from.max(first), ..range };
            let (from, bytes) = (range.from, range.bytes as usize);
            let events = match range.keep {
                Keep::Newest => room.tail.recent().newest(from, range.to, bytes),
                Keep::Oldest => {
                    let most = from.plus(u64::from(limit) - 1);
                    room.tail.recent().oldest(from, range.to.min(most), bytes)
                }
            };
            if let Some(fewer) = fewer_around(asked, range, events.len()) {
                return self.serve_page(conn, id, at, asked, fewer, out);
            }
            self.ended(conn, out);
            return self.reply_page(conn, id, Found { at, range, first, events }, out);
        }
        let what = BulkReply::Page { room: at, range: asked, limit };
        let work = Bulk::Reply(BulkRequest { id, what }.into());
        self.read_for(conn, work, room.name.clone(), range, out);
    }

    fn reply_page(&mut self, conn: ConnId, id: Option<RequestId>, found: Found, out: &mut Actions) {
        let Found { at, range, first, events } = found;
        let room = &self.rooms[at];
        let Ends { epoch, cursor, .. } = room.tail.ends().expect("a page was read from it");
        let (before, after) = match (events.first(), events.last()) {
            (Some(oldest), Some(newest)) => (oldest.seq > first, newest.seq < cursor),
            // Nothing is in the range: what there is lies on one side of it or on the other.
            _ if cursor < first => (false, false),
            _ => (range.from > first, range.to < cursor),
        };
        let bytes = events.iter().map(|entry| wire::entry(entry)).fold(0, u32::saturating_add);
        let page = Page {
            id,
            room: room.name.clone(),
            epoch: epoch.clone(),
            events,
            has_more_before: before,
            has_more_after: after,
        };
        self.spend(conn, bytes);
        Self::reply(conn, ServerFrame::Page(page.into()), out);
    }

    /// Passes the answer to a read to what has asked for it.
    pub(super) fn loaded(
        &mut self,
        token: Token,
        asked: Pending,
        result: Result<LogPage, ReadError>,
        out: &mut Actions,
    ) {
        match asked {
            Pending::Tail(at, id) => self.tail_read(at, id, result, out),
            Pending::Feed(conn, range) => self.feed_read(conn, token, *range, result, out),
            Pending::LateAppend(_) | Pending::Auth(_) => unreachable!("not a read"),
        }
    }

    /// Answers a request for history with what the log has read.
    pub(super) fn reply_read(
        &mut self,
        conn: ConnId,
        request: BulkRequest,
        range: ReadRange,
        result: Result<LogPage, ReadError>,
        out: &mut Actions,
    ) {
        let BulkRequest { id, what } = request;
        let BulkReply::Page { room: at, range: asked, limit } = what else {
            unreachable!("lists are not read from the log")
        };
        // A session that has left meanwhile may not read any more.
        if !self.sessions.get(conn).is_some_and(|session| session.is_subscribed(at)) {
            self.ended(conn, out);
            return Self::refuse(conn, id, ErrorCode::NotMember, LEFT, out);
        }
        let Ok(page) = result else {
            self.ended(conn, out);
            return Self::refuse(conn, id, ErrorCode::LogUnavailable, UNREADABLE, out);
        };
        let is_around = matches!(asked, HistoryRange::Around(_));
        let was_trimmed = page.head.first > range.from && page.entries.len() < limit as usize;
        let fewer = if is_around && was_trimmed {
            // The log was trimmed since the room was opened: other entries are nearest.
            Some(limit)
        } else {
            fewer_around(asked, range, page.entries.len())
        };
        if let Some(limit) = fewer {
            let work = BulkRequest { id, what: BulkReply::Page { room: at, range: asked, limit } };
            let session = &mut self.sessions[conn];
            return session.feed.want(Bulk::Reply(work.into()));
        }
        self.ended(conn, out);
        let found = Found { at, range, first: page.head.first, events: page.entries };
        self.reply_page(conn, id, found, out);
    }

    /// Answers a join with what the log has read.
    pub(super) fn join_read(
        &mut self,
        conn: ConnId,
        at: RoomId,
        range: ReadRange,
        result: Result<LogPage, ReadError>,
        out: &mut Actions,
    ) {
        let Ok(page) = result else {
            let session = &mut self.sessions[conn];
            let subscription = session.subscription(at).expect("its work goes with the join");
            let State::Joining(joining) = &subscription.state else {
                unreachable!("the work of a join goes with it")
            };
            let id = joining.id.clone();
            Self::refuse(conn, id, ErrorCode::LogUnavailable, UNREADABLE, out);
            return self.give_up_joining(conn, at, out);
        };
        self.finish_join(conn, at, range.to, page.head.first, page.entries, out);
    }
}

/// Returns the limit for another try at a page around a place, if only `found` entries of the range
/// fit into its bytes: those furthest from the place are to be left out, on both sides. The next
/// try has between a half and three quarters of the range, so there are few of them.
fn fewer_around(asked: HistoryRange, range: ReadRange, found: usize) -> Option<u32> {
    let HistoryRange::Around(_) = asked else { return None };
    let window = (range.to.get() + 1).saturating_sub(range.from.get());
    let found = u64::try_from(found).unwrap_or(u64::MAX);
    if found == 0 || found >= window {
        return None;
    }
    let fewer = found.clamp(window / 2, window * 3 / 4).max(1);
    u32::try_from(fewer).ok()
}

/// Turns a client's range into sequence numbers. An empty range has `from > to`. A range may have
/// more than `limit` numbers: the log skips trimmed entries and returns at most `limit`.
fn read_range(range: HistoryRange, limit: u32, bytes: u32, first: Seq, cursor: Seq) -> ReadRange {
    let n = u64::from(limit);
    let one = Seq::ZERO.next();
    let (from, to, keep) = match range {
        HistoryRange::Latest => (cursor.next().minus(n), cursor, Keep::Newest),
        HistoryRange::Before(seq) => {
            let end = seq.min(cursor.next());
            (end.minus(n), end.minus(1), Keep::Newest)
        }
        HistoryRange::After(seq) => (seq.next(), cursor, Keep::Oldest),
        HistoryRange::Around(seq) => {
            // The window of `n` numbers around `seq`, moved to where there are entries.
            let oldest = first.max(one);
            let latest_start = cursor.next().minus(n).max(oldest);
            let from = seq.minus(n / 2).clamp(oldest, latest_start);
            (from, from.plus(n - 1), Keep::Oldest)
        }
    };
    ReadRange { from: from.max(one), to: to.min(cursor), limit, bytes, keep }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seqs(range: ReadRange, limit: usize) -> Vec<u64> {
        (range.from.get()..=range.to.get()).take(limit).collect()
    }

    /// What a client gets when it pages a log of `1..=cursor` is what a plain filter gives.
    #[test]
    fn every_range_is_what_a_filter_gives() {
        for cursor in 0..12_u64 {
            let all: Vec<u64> = (1..=cursor).collect();
            let ends = (Seq::ZERO.next(), Seq::new(cursor).unwrap());
            for at in 0..15 {
                for limit in 1..8_u32 {
                    let n = limit as usize;
                    let before: Vec<_> = all.iter().copied().filter(|s| *s < at).collect();
                    let before = before[before.len().saturating_sub(n)..].to_vec();
                    let after: Vec<_> = all.iter().copied().filter(|s| *s > at).take(n).collect();
                    let latest = all[all.len().saturating_sub(n)..].to_vec();
                    let seq = Seq::new(at).unwrap();
                    for (range, expected) in [
                        (HistoryRange::Before(seq), before),
                        (HistoryRange::After(seq), after),
                        (HistoryRange::Latest, latest),
                    ] {
                        let got = seqs(read_range(range, limit, 1, ends.0, ends.1), n);
                        assert_eq!(got, expected, "{range:?} {limit} of {cursor}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_page_around_a_place_is_tried_again_with_fewer_entries_until_it_fits() {
        let around = HistoryRange::Around(Seq::new(50).unwrap());
        let (first, cursor) = (Seq::ZERO.next(), Seq::new(100).unwrap());
        for fits in 1..=100_u64 {
            let (mut limit, mut tries) = (200, 1);
            let range = loop {
                let range = read_range(around, limit, 1, first, cursor);
                let window = range.to.get() + 1 - range.from.get();
                let found = usize::try_from(window.min(fits)).unwrap();
                let Some(fewer) = fewer_around(around, range, found) else { break range };
                (limit, tries) = (fewer, tries + 1);
            };
            let window = range.to.get() + 1 - range.from.get();
            assert!((fits.div_ceil(2)..=fits).contains(&window), "{window} of {fits}");
            assert!((range.from.get()..=range.to.get()).contains(&50) && tries <= 8, "{tries}");
        }
        assert_eq!(fewer_around(around, read_range(around, 1, 1, first, cursor), 0), None);
        assert_eq!(
            fewer_around(HistoryRange::Latest, read_range(around, 9, 1, first, cursor), 1),
            None
        );
    }

    /// `around` gives the entries nearest to a `seq`. Of two equally near ones, the older wins.
    #[test]
    fn around_gives_the_nearest_entries() {
        for (first, cursor) in [(1, 0), (1, 1), (1, 9), (4, 9), (10, 9), (9, 9)] {
            let ends = (Seq::new(first).unwrap(), Seq::new(cursor).unwrap());
            for at in 0..40_u64 {
                for limit in 1..12_u32 {
                    let mut nearest: Vec<u64> = (first..=cursor).collect();
                    nearest.sort_by_key(|seq| (seq.abs_diff(at), *seq));
                    nearest.truncate(limit as usize);
                    nearest.sort_unstable();
                    let range = HistoryRange::Around(Seq::new(at).unwrap());
                    let got = seqs(read_range(range, limit, 1, ends.0, ends.1), limit as usize);
                    assert_eq!(got, nearest, "{limit} around {at} of {first}..={cursor}");
                }
            }
        }
    }
}
