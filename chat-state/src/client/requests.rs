//! Ties replies to what was asked.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;

use chat_proto::{ErrorBody, ErrorCode, Request, RequestId, RoomName, ServerFrame};

use super::backoff::{self, Bye};
use super::connection::Phase;
use super::event::{Action, Delivery, LinkId, Outcome, Ticket};
use super::timers::Timer;
use super::{Client, Turn};

/// Requests whose reply is due at a time, unless the server allows less: more would only wait.
const IN_FLIGHT_MAX: usize = 32;

/// What a reply is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Hello,
    Auth,
    Join(RoomName),
    Leave(RoomName),
    Send(RoomName),
    Page(RoomName),
    Ask(Ticket),
}

/// The requests of the present connection that are not answered.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Over all connections, so that a reply of an earlier one fits nothing.
    last: u64,
    open: BTreeMap<u64, Purpose>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn take(&mut self, request: u64) -> Option<Purpose> {
        self.open.remove(&request)
    }

    fn find(&self, id: &RequestId) -> Option<(u64, Purpose)> {
        let request = id.parse().ok()?;
        Some((request, self.open.get(&request)?.clone()))
    }

    pub(super) fn clear(&mut self) -> Vec<u64> {
        let open = core::mem::take(&mut self.open);
        open.into_keys().collect()
    }
}

impl Client {
    /// Sends a request and remembers what its reply is for.
    pub(super) fn request(
        &mut self,
        link: LinkId,
        purpose: Purpose,
        request: Request,
        turn: &mut Turn<'_>,
    ) -> u64 {
        self.requests.last += 1;
        let number = self.requests.last;
        // The hello's time is the phase's, and questions have their own.
        if !matches!(purpose, Purpose::Hello | Purpose::Ask(_)) {
            let due = turn.now.mono.plus(self.config.times.request_ms);
            self.timers.set(due, Timer::Request(number));
        }
        self.requests.open.insert(number, purpose);
        let id = RequestId::new(&number.to_string()).expect("a number is an id");
        Self::transmit(link, Some(id), request, turn);
        number
    }

    pub(super) fn transmit(
        link: LinkId,
        id: Option<RequestId>,
        request: Request,
        turn: &mut Turn<'_>,
    ) {
        turn.out.push_back(Action::Transmit { link, id, request });
    }

    /// Tells whether the server takes another request.
    pub(super) fn can_request(&self) -> bool {
        let allowed = self.session.limits.in_flight as usize;
        self.requests.len() < IN_FLIGHT_MAX.min(allowed.max(1))
    }

    /// A request was not answered in time: what it was for is done again.
    pub(super) fn request_due(&mut self, request: u64, turn: &mut Turn<'_>) {
        match self.requests.take(request) {
            Some(Purpose::Join(room) | Purpose::Leave(room)) => {
                self.door_refused(&room, request, None, turn);
            }
            Some(Purpose::Send(room)) => self.send_unanswered(&room, request, turn),
            Some(Purpose::Page(room)) => self.page_unanswered(&room, request, turn),
            // Without an answer the credential ends, and the connection with it.
            Some(Purpose::Hello | Purpose::Auth | Purpose::Ask(_)) | None => {}
        }
    }

    pub(super) fn received(&mut self, link: LinkId, frame: ServerFrame, turn: &mut Turn<'_>) {
        if self.connection.link() != Some(link) {
            return;
        }
        self.heard(link, turn);
        match self.connection.phase {
            Phase::Online { .. } => self.received_online(link, frame, turn),
            Phase::Greeting { .. } => self.received_greeting(frame, turn),
            Phase::Idle
            | Phase::Opening(_)
            | Phase::Waiting(_)
            | Phase::Token
            | Phase::Stopped(_) => {}
        }
    }

    fn received_greeting(&mut self, frame: ServerFrame, turn: &mut Turn<'_>) {
        let mut is_hello = |id: Option<&RequestId>| {
            let found = id.and_then(|id| self.requests.find(id));
            let Some((request, Purpose::Hello)) = found else { return false };
            self.requests.take(request).is_some()
        };
        match frame {
            ServerFrame::Welcome(welcome) if is_hello(welcome.id.as_ref()) => {
                self.welcomed(welcome, turn);
            }
            // One that could not be read is refused without its id.
            ServerFrame::Error(error) if error.id.is_none() || is_hello(error.id.as_ref()) => {
                self.unwelcome(error, turn);
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
            ServerFrame::Hole { room, from, to } => self.hole(&room, (from, to), turn),
            ServerFrame::Ping { heads } => {
                Self::transmit(link, None, Request::Pong, turn);
                for (room, position) in heads {
                    self.head(&room, &position, turn);
                }
            }
            ServerFrame::Bye { code, reconnect, after_ms } => {
                self.connection.bye = Some(Bye { code, reconnect, after_ms });
            }
            ServerFrame::AuthExpiring { .. } => self.auth_expiring(turn),
            ServerFrame::Join { room, member } if self.is_in(&room) => {
                turn.deliver(Delivery::Came { room, member });
            }
            ServerFrame::Leave { room, member, reason } if self.is_in(&room) => {
                turn.deliver(Delivery::Went { room, member, reason });
            }
            ServerFrame::Typing { room, member, active } if self.is_in(&room) => {
                turn.deliver(Delivery::Typing { room, member, active });
            }
            ServerFrame::Members { id: None, room, view } if self.is_in(&room) => {
                turn.deliver(Delivery::Members { room, view });
            }
            ServerFrame::Presence { room, count } if self.is_in(&room) => {
                turn.deliver(Delivery::Presence { room, count });
            }
            ServerFrame::Error(error)
                if error.id.is_none() && error.code == ErrorCode::Forbidden =>
            {
                self.put_out(error, turn);
            }
            reply => self.replied(reply, turn),
        }
    }

    /// Hands a reply to whoever asked. One that fits no open request changes nothing.
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
                self.parted(&room, request, turn);
            }
            (Purpose::Send(room), ServerFrame::Ack { seq: Some(seq), ts, duplicate, .. }) => {
                self.answered(request);
                let ts = ts.unwrap_or_default();
                self.acked(&room, request, (seq, ts, duplicate), turn);
            }
            (Purpose::Page(room), ServerFrame::Page(page)) if page.room == room => {
                self.answered(request);
                self.paged(&room, request, &page, turn);
            }
            (Purpose::Ask(ticket), ServerFrame::Page(page)) => {
                self.answered(request);
                self.ask_answered(ticket, Outcome::Page(page), turn);
            }
            (Purpose::Ask(ticket), ServerFrame::Members { view, .. }) => {
                self.answered(request);
                self.ask_answered(ticket, Outcome::Members(view), turn);
            }
            (Purpose::Ask(ticket), ServerFrame::Rooms { rooms, has_more, .. }) => {
                self.answered(request);
                self.ask_answered(ticket, Outcome::Rooms { rooms, has_more }, turn);
            }
            (purpose, ServerFrame::Error(error)) => {
                self.answered(request);
                self.refused(purpose, request, error, turn);
            }
            // A reply of another kind, or about another room, than was asked for is none.
            _ => {}
        }
    }

    pub(super) fn answered(&mut self, request: u64) {
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
            let times = &self.config.times;
            let wait = backoff::retry(times, 0, error.retry_after_ms, turn.random);
            self.quiet = self.quiet.max(Some(turn.now.mono.plus(wait)));
        }
        match purpose {
            Purpose::Join(room) | Purpose::Leave(room) => {
                self.door_refused(&room, request, Some(error), turn);
            }
            Purpose::Send(room) => self.send_refused(&room, request, error, turn),
            Purpose::Page(room) => self.page_refused(&room, request, &error, turn),
            Purpose::Ask(ticket) => self.ask_refused(ticket, error, turn),
            // The server closes when the old one ends, and then another one is asked for.
            Purpose::Hello | Purpose::Auth => {}
        }
    }
}
