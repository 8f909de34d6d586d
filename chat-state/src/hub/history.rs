//! Reading a room back.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{Entry, ErrorCode, HistoryRange, Page, RequestId, Seq, ServerFrame};

use super::{Actions, Hub, Pending};
use crate::ids::{ConnId, Mono, Token};
use crate::log::{Keep, LogPage, ReadError, ReadRange};
use crate::room::{LogState, RoomId};
use crate::session::State;

/// A request for history that waits for the log.
#[derive(Debug)]
pub(super) struct HistoryLoad {
    pub(super) id: Option<RequestId>,
    pub(super) range: ReadRange,
}

impl Hub {
    pub(super) fn history(
        &mut self,
        conn: ConnId,
        at: RoomId,
        (id, range, limit): (Option<RequestId>, HistoryRange, Option<u32>),
        out: &mut Actions,
    ) {
        let Some(room) = self.rooms.get(at) else { return };
        let LogState::Open { first, cursor, .. } = room.log else {
            let why = "the room is not open yet; wait for `joined`";
            return Self::refuse(conn, id, ErrorCode::NotMember, why, out);
        };
        let limits = &self.config.limits;
        let limit = limit.unwrap_or(limits.history).clamp(1, limits.history);
        let range = read_range(range, limit, limits.page_bytes, cursor);
        if range.from > range.to || room.recent.covers(range.from.max(first), cursor) {
            let (from, bytes) = (range.from.max(first), range.bytes as usize);
            let events = match range.keep {
                Keep::Newest => room.recent.newest(from, range.to, bytes),
                Keep::Oldest => {
                    let most = from.plus(u64::from(limit) - 1);
                    room.recent.oldest(from, range.to.min(most), bytes)
                }
            };
            self.reply_page(conn, at, (id, range), (first, events), out);
            return;
        }
        let pending = Pending::Page(conn, at, HistoryLoad { id, range });
        self.load(room.name.clone(), range, pending, out);
        self.began(conn, out);
    }

    fn reply_page(
        &self,
        conn: ConnId,
        at: RoomId,
        (id, range): (Option<RequestId>, ReadRange),
        (first, events): (Seq, Vec<Arc<Entry>>),
        out: &mut Actions,
    ) {
        let Some(room) = self.rooms.get(at) else { return };
        let LogState::Open { epoch, cursor, .. } = &room.log else { return };
        let (before, after) = match (events.first(), events.last()) {
            (Some(oldest), Some(newest)) => (oldest.seq > first, newest.seq < *cursor),
            // Nothing in the range: what there is lies on the one side of it or on the other.
            _ if *cursor < first => (false, false),
            _ => (range.from > first, range.to < *cursor),
        };
        let page = Page {
            id,
            room: room.name.clone(),
            epoch: epoch.clone(),
            events,
            has_more_before: before,
            has_more_after: after,
        };
        Self::reply(conn, ServerFrame::Page(page.into()), out);
    }

    /// Routes what the log read.
    pub(super) fn loaded(
        &mut self,
        now: Mono,
        token: Token,
        result: Result<LogPage, ReadError>,
        out: &mut Actions,
    ) {
        match self.pending.answer(token) {
            Some(Pending::Open(at)) => self.opened(now, at, result, out),
            Some(Pending::Hole(at)) => self.hole_read(now, at, (token, result), out),
            Some(Pending::CatchUp(conn, at)) => {
                self.caught_up(now, (conn, at), (token, result), out);
            }
            Some(Pending::Join(conn, at, load)) => {
                self.join_read((conn, at), (token, load), result, out);
            }
            Some(Pending::Page(conn, at, load)) => {
                self.ended(now, conn, out);
                self.page_read(conn, at, load, result, out);
            }
            Some(
                Pending::Append(_) | Pending::LateAppend(_) | Pending::Head(_) | Pending::Auth(_),
            )
            | None => {}
        }
    }

    fn page_read(
        &mut self,
        conn: ConnId,
        at: RoomId,
        load: HistoryLoad,
        result: Result<LogPage, ReadError>,
        out: &mut Actions,
    ) {
        let HistoryLoad { id, range } = load;
        let Some(session) = self.sessions.get(conn) else { return };
        // Whoever has left meanwhile may not read any more.
        if !session.is_member(at) {
            let why = "the room was left meanwhile";
            return Self::refuse(conn, id, ErrorCode::NotMember, why, out);
        }
        match result {
            Ok(page) if self.knows_other_epoch(at, &page.head.epoch) => self.log_replaced(at, out),
            Ok(page) => {
                self.note_first(at, page.head.first);
                self.reply_page(conn, at, (id, range), (page.head.first, page.entries), out);
            }
            Err(_) => {
                let why = "the room's log can't be read at the moment";
                Self::refuse(conn, id, ErrorCode::LogUnavailable, why, out);
            }
        }
    }

    fn join_read(
        &mut self,
        (conn, at): (ConnId, RoomId),
        (token, load): (Token, HistoryLoad),
        result: Result<LogPage, ReadError>,
        out: &mut Actions,
    ) {
        let subscription = self.sessions.get_mut(conn).and_then(|s| s.subscription(at));
        let Some(subscription) = subscription else { return };
        match &subscription.state {
            State::Joining(joining) if joining.load == Some(token) => {}
            _ => return,
        }
        match result {
            Ok(page) if self.knows_other_epoch(at, &page.head.epoch) => self.log_replaced(at, out),
            Ok(page) => {
                self.note_first(at, page.head.first);
                let ends = (load.range.to, page.head.first);
                self.finish_join((conn, at), ends, page.entries, out);
            }
            Err(_) => {
                let why = "the room's log can't be read at the moment";
                Self::refuse(conn, load.id, ErrorCode::LogUnavailable, why, out);
                self.give_up_joining(conn, at, out);
            }
        }
    }

    /// Notes the oldest entry that the log has.
    pub(super) fn note_first(&mut self, at: RoomId, oldest: Seq) {
        if let Some(room) = self.rooms.get_mut(at)
            && let LogState::Open { first, .. } = &mut room.log
        {
            *first = oldest.max(*first);
        }
    }
}

/// Turns what a client asks into places. An empty range has `from > to`; one that has more than
/// `limit` places is cut off by the limit, after those that the log does not have any more.
fn read_range(range: HistoryRange, limit: u32, bytes: u32, cursor: Seq) -> ReadRange {
    let n = u64::from(limit);
    let one = Seq::ZERO.next();
    let (from, to, keep) = match range {
        HistoryRange::Latest => (cursor.next().minus(n), cursor, Keep::Newest),
        HistoryRange::Before(seq) => {
            let end = seq.min(cursor.next());
            (end.minus(n), end.minus(1), Keep::Newest)
        }
        HistoryRange::After(seq) => (seq.next(), cursor, Keep::Oldest),
        HistoryRange::Around(seq) => (seq.minus(n / 2), seq.plus((n - 1) / 2), Keep::Oldest),
    };
    ReadRange { from: from.max(one), to: to.min(cursor), limit, bytes, keep }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client gets when it pages a log of `1..=cursor` is what a plain filter gives.
    #[test]
    fn every_range_is_what_a_filter_gives() {
        for cursor in 0..12_u64 {
            let all: Vec<u64> = (1..=cursor).collect();
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
                        let r = read_range(range, limit, 1, Seq::new(cursor).unwrap());
                        let got: Vec<u64> = (r.from.get()..=r.to.get()).take(n).collect();
                        assert_eq!(got, expected, "{range:?} {limit} of {cursor}");
                    }
                    let r =
                        read_range(HistoryRange::Around(seq), limit, 1, Seq::new(cursor).unwrap());
                    let got: Vec<u64> = (r.from.get()..=r.to.get()).collect();
                    assert!(got.len() <= n);
                    assert_eq!(got.contains(&at), at >= 1 && at <= cursor, "{at} of {cursor}");
                }
            }
        }
    }
}
