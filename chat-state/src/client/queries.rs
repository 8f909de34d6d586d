//! The queries of the application that are not answered.
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use chat_proto::{Request, RoomName};

use super::backoff::{self, Draw, RetryAfter};
use super::config::Times;
use super::event::{Query, Ticket};
use crate::ids::Mono;

/// The open queries, the oldest first. Bounded by [`Config::queries`](super::Config::queries).
#[derive(Debug, Default)]
pub(super) struct Queries(VecDeque<OpenQuery>);

#[derive(Debug)]
pub(super) struct OpenQuery {
    pub(super) ticket: Ticket,
    query: Query,
    /// When the query times out.
    until: Mono,
    state: QueryState,
    tries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueryState {
    Ready,
    /// This request is not answered yet.
    InFlight(u64),
    /// The query may be repeated at this time.
    Waiting(Mono),
}

impl OpenQuery {
    /// Returns the room that the query is about.
    fn room(&self) -> Option<&RoomName> {
        match &self.query {
            Query::History { room, .. } | Query::Members { room } => Some(room),
            Query::Rooms { .. } => None,
        }
    }

    pub(super) fn request(&self) -> Request {
        match self.query.clone() {
            Query::History { room, range, limit } => Request::History { room, range, limit },
            Query::Members { room } => Request::Members { room },
            Query::Rooms { after } => Request::Rooms { after },
        }
    }

    /// Returns the request in flight.
    pub(super) fn in_flight(&self) -> Option<u64> {
        match self.state {
            QueryState::InFlight(request) => Some(request),
            QueryState::Ready | QueryState::Waiting(_) => None,
        }
    }

    fn is_due(&self, now: Mono) -> bool {
        match self.state {
            QueryState::Ready => true,
            QueryState::InFlight(_) => false,
            QueryState::Waiting(until) => until <= now,
        }
    }
}

impl Queries {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, ticket: Ticket, query: Query, until: Mono) {
        self.0.push_back(OpenQuery { ticket, query, until, state: QueryState::Ready, tries: 0 });
    }

    /// Returns the first query that may be sent and whose room `accepts` it.
    pub(super) fn next_due(
        &self,
        now: Mono,
        accepts: impl Fn(&RoomName) -> bool,
    ) -> Option<&OpenQuery> {
        self.0.iter().find(|open| open.is_due(now) && open.room().is_none_or(&accepts))
    }

    /// Records that this request was sent for a query.
    pub(super) fn sent(&mut self, ticket: Ticket, request: u64) {
        if let Some(open) = self.0.iter_mut().find(|open| open.ticket == ticket) {
            open.state = QueryState::InFlight(request);
        }
    }

    /// Takes the query with this ticket.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<OpenQuery> {
        let at = self.0.iter().position(|open| open.ticket == ticket)?;
        self.0.remove(at)
    }

    /// Repeats a query later.
    pub(super) fn retry(&mut self, ticket: Ticket, times: &Times, after: RetryAfter, draw: Draw) {
        if let Some(open) = self.0.iter_mut().find(|open| open.ticket == ticket) {
            let wait = backoff::retry(times, open.tries, after, draw.random);
            open.tries = open.tries.saturating_add(1);
            open.state = QueryState::Waiting(draw.now.plus(wait));
        }
    }

    /// Takes the queries that have timed out.
    pub(super) fn take_expired(&mut self, now: Mono) -> Vec<OpenQuery> {
        let mut expired = Vec::new();
        while self.0.front().is_some_and(|open| open.until <= now) {
            expired.extend(self.0.pop_front());
        }
        expired
    }

    /// Records that the connection has ended: queries in flight are sent again.
    pub(super) fn disconnected(&mut self) {
        for open in &mut self.0 {
            if let QueryState::InFlight(_) = open.state {
                open.state = QueryState::Ready;
            }
        }
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = OpenQuery> {
        self.0.drain(..)
    }

    /// Returns when a query times out or may be repeated. Repetitions that are due already are not
    /// counted: they wait for the connection.
    pub(super) fn deadline(&self, now: Mono) -> Option<Mono> {
        let deadline = |open: &OpenQuery| match open.state {
            QueryState::Waiting(until) if until > now => until.min(open.until),
            QueryState::Ready | QueryState::InFlight(_) | QueryState::Waiting(_) => open.until,
        };
        self.0.iter().map(deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queries() -> Queries {
        let mut queries = Queries::default();
        let room = RoomName::new("lobby").unwrap();
        queries.push(Ticket(1), Query::Members { room }, Mono(30_000));
        queries.push(Ticket(2), Query::Rooms { after: None }, Mono(40_000));
        queries
    }

    #[test]
    fn a_query_about_a_room_waits_until_the_room_accepts_it() {
        let queries = queries();
        let next = queries.next_due(Mono(0), |_| false).map(|open| open.ticket);
        assert_eq!(next, Some(Ticket(2)));
        let next = queries.next_due(Mono(0), |_| true).map(|open| open.ticket);
        assert_eq!(next, Some(Ticket(1)));
    }

    #[test]
    fn a_query_in_flight_is_sent_again_only_after_a_disconnect() {
        let mut queries = queries();
        (1..=2).for_each(|n| queries.sent(Ticket(n), n));
        assert!(queries.next_due(Mono(0), |_| true).is_none());
        queries.disconnected();
        assert!(queries.next_due(Mono(0), |_| true).is_some());
    }

    #[test]
    fn a_refused_query_is_repeated_after_its_delay() {
        let mut queries = queries();
        let draw = Draw { now: Mono(0), random: u64::MAX };
        for longest in [500, 1000, 2000] {
            queries.retry(Ticket(1), &Times::default(), RetryAfter::BackOff, draw);
            assert_eq!(queries.deadline(Mono(0)), Some(Mono(longest - 1)));
        }
        queries.retry(Ticket(1), &Times::default(), RetryAfter::Server(60_000), draw);
        assert_eq!(queries.deadline(Mono(0)), Some(Mono(30_000)));
        assert_eq!(queries.take_expired(Mono(29_999)).len(), 0);
        assert_eq!(queries.take_expired(Mono(30_000)).len(), 1);
    }
}
