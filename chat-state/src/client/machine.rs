//! The state of a Client, and the helpers that all of its rules use.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};

use chat_proto::{ErrorBody, ErrorCode, Request, RequestId, RoomName};

use super::backoff::Draw;
use super::config::Config;
use super::connection::Connection;
use super::event::{Action, Actions, Delivery, LinkId, Outcome, Ticket};
use super::outbox::OutboxTotals;
use super::position::Bounds;
use super::queries::Queries;
use super::ready::ReadyRooms;
use super::requests::{Purpose, Requests};
use super::room::Room;
use super::session::Session;
use super::timers::{Timer, Timers};
use crate::ids::{Mono, Now};

/// The largest number of requests in flight, unless the server allows fewer. More would only wait
/// at the server.
const IN_FLIGHT_MAX: usize = 32;

/// The client-side state machine. It never waits, reads no clock and draws no random number.
///
/// *Invariant:* events of a link other than the present one change nothing.
#[derive(Debug)]
pub struct Client {
    pub(super) config: Config,
    pub(super) connection: Connection,
    pub(super) session: Session,
    /// At most [`Config::rooms`].
    pub(super) rooms: BTreeMap<RoomName, Room>,
    pub(super) ready: ReadyRooms,
    pub(super) outbox: OutboxTotals,
    pub(super) queries: Queries,
    pub(super) requests: Requests,
    /// The server has refused a request as over the budget; none is sent before this time.
    pub(super) rate_limited: Option<Mono>,
    pub(super) timers: Timers,
}

/// One call of the Client: its inputs, and where its actions go.
pub(super) struct Turn<'a> {
    pub(super) now: Now,
    pub(super) random: u64,
    pub(super) out: &'a mut Actions,
}

impl Turn<'_> {
    pub(super) fn deliver(&mut self, delivery: Delivery) {
        self.out.push_back(Action::Deliver(delivery));
    }

    pub(super) fn settle(&mut self, ticket: Ticket, outcome: Outcome) {
        self.deliver(Delivery::Settled { ticket, outcome });
    }

    /// Sends a request.
    pub(super) fn transmit(&mut self, link: LinkId, id: Option<RequestId>, request: Request) {
        self.out.push_back(Action::Transmit { link, id, request });
    }

    pub(super) fn draw(&self) -> Draw {
        Draw { now: self.now.mono, random: self.random }
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
        // The phase limits the time of `hello`, and queries have a deadline of their own.
        let is_timed = !matches!(purpose, Purpose::Hello | Purpose::Query(_));
        let number = self.requests.add(purpose);
        if is_timed {
            let due = turn.now.mono.plus(self.config.times.request_ms);
            self.timers.set(due, Timer::Request(number));
        }
        let id = RequestId::new(&number.to_string()).expect("a number is a valid id");
        turn.transmit(link, Some(id), request);
        number
    }

    /// Returns true if the server accepts another request.
    pub(super) fn can_request(&self) -> bool {
        let allowed = self.session.limits.in_flight as usize;
        self.requests.len() < IN_FLIGHT_MAX.min(allowed.max(1))
    }

    /// Returns a room that the caller knows to exist.
    pub(super) fn room_mut(&mut self, name: &RoomName) -> &mut Room {
        self.rooms.get_mut(name).expect("the caller has found the room")
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            entries: self.config.buffered_entries as usize,
            bytes: self.config.buffered_bytes as usize,
        }
    }
}

/// Makes an error that the Client itself reports.
pub(super) fn local_error(code: ErrorCode, message: &str, room: &RoomName) -> Box<ErrorBody> {
    let mut error = ErrorBody::new(None, code, String::from(message));
    error.room = Some(room.clone());
    Box::new(error)
}
