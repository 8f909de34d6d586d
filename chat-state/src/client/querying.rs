//! Sends the queries of the application and its typing notices.
use alloc::boxed::Box;

use chat_proto::{ErrorBody, Request, RoomName};

use super::backoff::RetryAfter;
use super::event::{LinkId, Outcome, Query, Ticket};
use super::machine::{Client, Turn};
use super::requests::Purpose;
use super::room::{Room, Stage};
use super::timers::Timer;

impl Client {
    pub(super) fn query(&mut self, ticket: Ticket, query: Query, turn: &mut Turn<'_>) {
        if self.queries.len() >= self.config.queries as usize {
            return turn.settle(ticket, Outcome::Full);
        }
        let until = turn.now.mono.plus(self.config.times.request_ms);
        self.queries.push(ticket, query, until);
        self.set_query_timer(turn);
    }

    /// Sends the queries that are due. A query about a room that the application has joined waits
    /// for the membership.
    pub(super) fn pump_queries(&mut self, link: LinkId, turn: &mut Turn<'_>) {
        while self.can_request() {
            let rooms = &self.rooms;
            let accepts =
                |name: &RoomName| rooms.get(name).is_none_or(|room| room.stage == Stage::Member);
            let Some(next) = self.queries.next_due(turn.now.mono, accepts) else { break };
            let (ticket, request) = (next.ticket, next.request());
            let number = self.request(link, Purpose::Query(ticket), request, turn);
            self.queries.sent(ticket, number);
        }
    }

    pub(super) fn query_answered(&mut self, ticket: Ticket, outcome: Outcome, turn: &mut Turn<'_>) {
        if self.queries.take(ticket).is_some() {
            turn.settle(ticket, outcome);
        }
        self.set_query_timer(turn);
    }

    pub(super) fn query_refused(
        &mut self,
        ticket: Ticket,
        error: Box<ErrorBody>,
        turn: &mut Turn<'_>,
    ) {
        if !error.retryable {
            return self.query_answered(ticket, Outcome::Refused(error), turn);
        }
        self.queries.retry(ticket, &self.config.times, RetryAfter::of(&error), turn.draw());
        self.set_query_timer(turn);
    }

    /// Settles the queries that have timed out.
    pub(super) fn queries_due(&mut self, turn: &mut Turn<'_>) {
        for expired in self.queries.take_expired(turn.now.mono) {
            if let Some(request) = expired.in_flight() {
                self.requests.take(request);
            }
            turn.settle(expired.ticket, Outcome::Expired);
        }
        self.set_query_timer(turn);
    }

    pub(super) fn stop_queries(&mut self, turn: &mut Turn<'_>) {
        for open in self.queries.drain() {
            turn.settle(open.ticket, Outcome::Stopped);
        }
        self.timers.clear(&Timer::Queries);
    }

    fn set_query_timer(&mut self, turn: &Turn<'_>) {
        match self.queries.deadline(turn.now.mono) {
            Some(at) => self.timers.set(at, Timer::Queries),
            None => self.timers.clear(&Timer::Queries),
        }
    }

    /// Sends a typing notice if that is possible at once; it is useless later.
    pub(super) fn typing(&mut self, name: RoomName, active: bool, turn: &mut Turn<'_>) {
        let (now, interval_ms) = (turn.now.mono, self.config.times.typing_ms);
        let is_rate_limited = self.rate_limited.is_some_and(|until| until > now);
        let is_possible = self.session.has_typing && !is_rate_limited;
        let Some(link) = self.connection.online().filter(|_| is_possible) else { return };
        let is_member = |room: &&mut Room| room.stage == Stage::Member;
        let Some(room) = self.rooms.get_mut(&name).filter(is_member) else { return };
        let is_due = match room.typing {
            Some(told) => !active || now.since(told) >= interval_ms,
            None => active,
        };
        if is_due {
            room.typing = active.then_some(now);
            turn.transmit(link, None, Request::Typing { room: name, active });
        }
    }
}
