//! Handles the frames of the server.
use alloc::boxed::Box;

use chat_proto::{ErrorBody, ErrorCode, Request, RequestId, ServerFrame};

use super::backoff::{self, Bye, RetryAfter};
use super::connection::Phase;
use super::event::{Delivery, LinkId, Outcome};
use super::machine::{Client, Turn};
use super::outbox::Ack;
use super::requests::Purpose;
use super::timers::Timer;

impl Client {
    pub(super) fn received(&mut self, link: LinkId, frame: ServerFrame, turn: &mut Turn<'_>) {
        if self.connection.link() != Some(link) {
            return;
        }
        self.heard(link, turn);
        match self.connection.phase {
            Phase::Online { .. } => self.received_online(link, frame, turn),
            Phase::Greeting { rooms, .. } => self.received_greeting(link, rooms, frame, turn),
            Phase::Idle
            | Phase::Opening(_)
            | Phase::Waiting(_)
            | Phase::Token(_)
            | Phase::Stopped(_) => {}
        }
    }

    /// Handles a frame that arrives before the `welcome`.
    fn received_greeting(
        &mut self,
        link: LinkId,
        rooms: usize,
        frame: ServerFrame,
        turn: &mut Turn<'_>,
    ) {
        let mut answers_hello = |id: Option<&RequestId>| {
            let found = id.and_then(|id| self.requests.find(id));
            let Some((request, Purpose::Hello)) = found else { return false };
            self.requests.take(request).is_some()
        };
        match frame {
            ServerFrame::Welcome(welcome) if answers_hello(welcome.id.as_ref()) => {
                self.welcomed(link, welcome, turn);
            }
            // A `hello` that the server could not read is refused without its id.
            ServerFrame::Error(error) if error.id.is_none() || answers_hello(error.id.as_ref()) => {
                self.hello_refused(link, rooms, error, turn);
            }
            ServerFrame::Bye { code, reconnect, after_ms } => {
                self.connection.bye = Some(Bye { code, reconnect, after_ms });
            }
            _ => {}
        }
    }

    fn received_online(&mut self, link: LinkId, frame: ServerFrame, turn: &mut Turn<'_>) {
        match frame {
            ServerFrame::Entry(entry) => self.entry(&entry, turn),
            ServerFrame::Gap { room, to, .. } => self.gap(&room, to, turn),
            ServerFrame::Hole { room, from, to } => self.hole(&room, from, to, turn),
            ServerFrame::Ping { heads } => {
                turn.transmit(link, None, Request::Pong);
                for (room, position) in heads {
                    self.head(&room, &position, turn);
                }
            }
            ServerFrame::Bye { code, reconnect, after_ms } => {
                self.connection.bye = Some(Bye { code, reconnect, after_ms });
            }
            ServerFrame::AuthExpiring { .. } => self.auth_expiring(turn),
            ServerFrame::Join { room, member } if self.is_member(&room) => {
                turn.deliver(Delivery::MemberJoined { room, member });
            }
            ServerFrame::Leave { room, member, reason } if self.is_member(&room) => {
                turn.deliver(Delivery::MemberLeft { room, member, reason });
            }
            ServerFrame::Typing { room, member, active } if self.is_member(&room) => {
                turn.deliver(Delivery::Typing { room, member, active });
            }
            ServerFrame::Members { id: None, room, view } if self.is_member(&room) => {
                turn.deliver(Delivery::Members { room, view });
            }
            ServerFrame::Presence { room, count } if self.is_member(&room) => {
                turn.deliver(Delivery::Presence { room, count });
            }
            ServerFrame::Error(error)
                if error.id.is_none() && error.code == ErrorCode::Forbidden =>
            {
                self.removed(error, turn);
            }
            reply => self.replied(reply, turn),
        }
    }

    /// Handles a reply. A reply that matches no open request is ignored.
    fn replied(&mut self, reply: ServerFrame, turn: &mut Turn<'_>) {
        let Some((request, purpose)) = reply.request_id().and_then(|id| self.requests.find(id))
        else {
            return;
        };
        match (purpose, reply) {
            (Purpose::Join(room), ServerFrame::Joined(joined)) if joined.room == room => {
                self.answered(request);
                self.joined(&room, request, *joined, turn);
            }
            (Purpose::Auth, ServerFrame::Authenticated { .. }) => self.answered(request),
            (Purpose::Leave(room), ServerFrame::Left { .. }) => {
                self.answered(request);
                self.left(&room, request, turn);
            }
            (Purpose::Message(room), ServerFrame::Ack { seq: Some(seq), ts, duplicate, .. }) => {
                self.answered(request);
                let ack = Ack { seq, ts: ts.unwrap_or_default(), duplicate };
                self.acked(&room, request, ack, turn);
            }
            (Purpose::Page(room), ServerFrame::Page(page)) if page.room == room => {
                self.answered(request);
                self.page(&room, request, &page, turn);
            }
            (Purpose::Query(ticket), ServerFrame::Page(page)) => {
                self.answered(request);
                self.query_answered(ticket, Outcome::Page(page), turn);
            }
            (Purpose::Query(ticket), ServerFrame::Members { view, .. }) => {
                self.answered(request);
                self.query_answered(ticket, Outcome::Members(view), turn);
            }
            (Purpose::Query(ticket), ServerFrame::Rooms { rooms, has_more, .. }) => {
                self.answered(request);
                self.query_answered(ticket, Outcome::Rooms { rooms, has_more }, turn);
            }
            (purpose, ServerFrame::Error(error)) => {
                self.answered(request);
                self.refused(purpose, request, error, turn);
            }
            // The reply is of another kind, or about another room.
            _ => {}
        }
    }

    fn answered(&mut self, request: u64) {
        self.requests.take(request);
        self.timers.clear(&Timer::Request(request));
    }

    fn refused(
        &mut self,
        purpose: Purpose,
        request: u64,
        error: Box<ErrorBody>,
        turn: &mut Turn<'_>,
    ) {
        if error.code == ErrorCode::RateLimited {
            let after = RetryAfter::of(&error);
            let wait = backoff::retry(&self.config.times, 0, after, turn.random);
            self.rate_limited = self.rate_limited.max(Some(turn.now.mono.plus(wait)));
        }
        match purpose {
            Purpose::Join(room) => self.join_refused(&room, request, error, turn),
            Purpose::Leave(room) => self.leave_refused(&room, request, &error, turn),
            Purpose::Message(room) => self.message_refused(&room, request, error, turn),
            Purpose::Page(room) => self.page_refused(&room, request, &error, turn),
            Purpose::Query(ticket) => self.query_refused(ticket, error, turn),
            // The server closes the connection when the old credential expires.
            Purpose::Hello | Purpose::Auth => {}
        }
    }

    /// Handles a request that was not answered in time: it is repeated.
    pub(super) fn request_due(&mut self, request: u64, turn: &mut Turn<'_>) {
        match self.requests.take(request) {
            Some(Purpose::Join(room) | Purpose::Leave(room)) => {
                self.membership_unanswered(&room, request, turn);
            }
            Some(Purpose::Message(room)) => self.message_unanswered(&room, request, turn),
            Some(Purpose::Page(room)) => self.page_unanswered(&room, request, turn),
            // Without a reply the credential expires, and the server closes the connection.
            Some(Purpose::Hello | Purpose::Auth | Purpose::Query(_)) | None => {}
        }
    }
}
