//! Asks what the application wants to know.
use alloc::boxed::Box;
use alloc::collections::VecDeque;

use chat_proto::{ErrorBody, Request, RoomName};

use super::event::{Ask, Outcome, Ticket};
use super::requests::Purpose;
use super::room::Stage;
use super::timers::Timer;
use super::{Client, Turn, backoff};
use crate::ids::Mono;

/// The questions that are not answered, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Asks(VecDeque<Question>);

#[derive(Debug)]
struct Question {
    ticket: Ticket,
    ask: Ask,
    /// When it is given up.
    until: Mono,
    state: AskState,
    tries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskState {
    Ready,
    /// This request is not answered yet.
    InFlight(u64),
    /// It may be asked again at this time.
    Waiting(Mono),
}

impl Asks {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Notes that the connection is gone: what was asked is asked again.
    pub(super) fn cut(&mut self) {
        for question in &mut self.0 {
            if let AskState::InFlight(_) = question.state {
                question.state = AskState::Ready;
            }
        }
    }

    fn take(&mut self, ticket: Ticket) -> Option<Question> {
        let at = self.0.iter().position(|question| question.ticket == ticket)?;
        self.0.remove(at)
    }
}

impl Question {
    fn room(&self) -> Option<&RoomName> {
        match &self.ask {
            Ask::History { room, .. } | Ask::Members { room } => Some(room),
            Ask::Rooms { .. } => None,
        }
    }

    fn request(&self) -> Request {
        match self.ask.clone() {
            Ask::History { room, range, limit } => Request::History { room, range, limit },
            Ask::Members { room } => Request::Members { room },
            Ask::Rooms { after } => Request::Rooms { after },
        }
    }
}

impl Client {
    pub(super) fn ask(&mut self, ticket: Ticket, ask: Ask, turn: &mut Turn<'_>) {
        if self.asks.len() >= self.config.asks as usize {
            return turn.settle(ticket, Outcome::Full);
        }
        let until = turn.now.mono.plus(self.config.times.request_ms);
        let state = AskState::Ready;
        self.asks.0.push_back(Question { ticket, ask, until, state, tries: 0 });
        self.arm_asks();
    }

    /// Asks what may be asked. A question about a room that is wanted waits until one is in it.
    pub(super) fn pump_asks(&mut self, turn: &mut Turn<'_>) {
        for at in 0..self.asks.len() {
            let Some(link) = self.connection.online().filter(|_| self.can_request()) else {
                return;
            };
            let question = &self.asks.0[at];
            let is_due = match question.state {
                AskState::Ready => true,
                AskState::InFlight(_) => false,
                AskState::Waiting(until) => until <= turn.now.mono,
            };
            let room = question.room().and_then(|name| self.rooms.get(name));
            if !is_due || room.is_some_and(|room| room.stage != Stage::In) {
                continue;
            }
            let (purpose, request) = (Purpose::Ask(question.ticket), question.request());
            let number = self.request(link, purpose, request, turn);
            self.asks.0[at].state = AskState::InFlight(number);
        }
    }

    pub(super) fn ask_answered(&mut self, ticket: Ticket, outcome: Outcome, turn: &mut Turn<'_>) {
        if self.asks.take(ticket).is_some() {
            turn.settle(ticket, outcome);
        }
        self.arm_asks();
    }

    pub(super) fn ask_refused(
        &mut self,
        ticket: Ticket,
        error: Box<ErrorBody>,
        turn: &mut Turn<'_>,
    ) {
        if !error.retryable {
            return self.ask_answered(ticket, Outcome::Refused(error), turn);
        }
        let times = &self.config.times;
        if let Some(question) = self.asks.0.iter_mut().find(|other| other.ticket == ticket) {
            let wait = backoff::retry(times, question.tries, error.retry_after_ms, turn.random);
            question.tries = question.tries.saturating_add(1);
            question.state = AskState::Waiting(turn.now.mono.plus(wait));
        }
        self.arm_asks();
    }

    /// Gives up what is too old; what may be asked again is asked after this.
    pub(super) fn asks_due(&mut self, turn: &mut Turn<'_>) {
        while let Some(first) = self.asks.0.front().filter(|first| first.until <= turn.now.mono) {
            turn.settle(first.ticket, Outcome::Expired);
            if let AskState::InFlight(request) = first.state {
                self.requests.take(request);
            }
            self.asks.0.pop_front();
        }
        for question in &mut self.asks.0 {
            if let AskState::Waiting(until) = question.state
                && until <= turn.now.mono
            {
                question.state = AskState::Ready;
            }
        }
        self.arm_asks();
    }

    pub(super) fn settle_asks(&mut self, turn: &mut Turn<'_>) {
        for question in self.asks.0.drain(..) {
            turn.settle(question.ticket, Outcome::Stopped);
        }
        self.timers.clear(&Timer::Asks);
    }

    fn arm_asks(&mut self) {
        let due = self.asks.0.iter().map(|question| match question.state {
            AskState::Ready | AskState::InFlight(_) => question.until,
            AskState::Waiting(until) => until.min(question.until),
        });
        match due.min() {
            Some(at) => self.timers.set(at, Timer::Asks),
            None => self.timers.clear(&Timer::Asks),
        }
    }

    /// Tells that the user is typing, if that can be done at once; it is of no use later.
    pub(super) fn typing(&mut self, name: RoomName, active: bool, turn: &mut Turn<'_>) {
        let (now, every_ms) = (turn.now.mono, self.config.times.typing_ms);
        let Some(link) = self.connection.online() else { return };
        if !self.session.has_typing || self.quiet.is_some_and(|until| until > now) {
            return;
        }
        let Some(room) = self.rooms.get_mut(&name).filter(|room| room.stage == Stage::In) else {
            return;
        };
        let is_due = match room.typing {
            Some(told) => !active || now.since(told) >= every_ms,
            None => active,
        };
        if is_due {
            room.typing = active.then_some(now);
            Self::transmit(link, None, Request::Typing { room: name, active }, turn);
        }
    }
}
