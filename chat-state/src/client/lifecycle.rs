//! Opens connections, says hello, and decides what follows the end of a connection.
use alloc::boxed::Box;
use alloc::vec::Vec;

use chat_proto::{
    CloseCode, ErrorBody, ErrorCode, LostReason, Recovery, Request, RoomName, Token, Welcome,
};

use super::backoff::{self, Cause, Loss, Next};
use super::connection::Phase;
use super::event::{Action, Delivery, LeftReason, LinkId, StopReason};
use super::gap::{Evidence, Progress};
use super::machine::{Client, Turn};
use super::requests::Purpose;
use super::room::Stage;
use super::session::Session;
use super::timers::Timer;

impl Client {
    pub(super) fn start(&mut self, turn: &mut Turn<'_>) {
        match self.connection.phase {
            Phase::Idle | Phase::Stopped(_) => {
                self.connection.losses = 0;
                self.connection.token_replaced = false;
                self.open(turn);
            }
            Phase::Opening(_)
            | Phase::Greeting { .. }
            | Phase::Online { .. }
            | Phase::Waiting(_)
            | Phase::Token(_) => {}
        }
    }

    pub(super) fn stop(&mut self, turn: &mut Turn<'_>) {
        if let Some(link) = self.connection.link() {
            let code = CloseCode::Normal.number();
            turn.out.push_back(Action::Close { link, code });
        }
        self.disconnected(turn);
        self.stop_queries(turn);
        for name in self.room_names() {
            self.forget(&name, LeftReason::Stopped, turn);
        }
        self.session = Session::new(None);
        self.rate_limited = None;
        self.timers.clear(&Timer::RateLimit);
        self.enter(Phase::Stopped(StopReason::Asked), turn);
    }

    pub(super) fn token(&mut self, token: Option<Token>, turn: &mut Turn<'_>) {
        let awaited = match self.connection.phase {
            Phase::Token(not_before) => Some(not_before),
            _ => None,
        };
        match token {
            Some(token) => {
                self.config.token = Some(token.clone());
                match awaited {
                    Some(not_before) if turn.now.mono < not_before => {
                        self.enter(Phase::Waiting(not_before), turn);
                    }
                    Some(_) => self.open(turn),
                    None => {}
                }
                if let Some(link) = self.connection.online()
                    && self.connection.renewing
                {
                    self.request(link, Purpose::Auth, Request::Auth { token }, turn);
                }
            }
            None if awaited.is_some() => {
                self.enter(Phase::Stopped(StopReason::Unauthorized), turn);
            }
            None => {}
        }
        self.connection.renewing = false;
    }

    /// Asks for a fresh credential before the present one expires.
    pub(super) fn auth_expiring(&mut self, turn: &mut Turn<'_>) {
        if !core::mem::replace(&mut self.connection.renewing, true) {
            turn.out.push_back(Action::NeedToken);
        }
    }

    pub(super) fn open(&mut self, turn: &mut Turn<'_>) {
        self.connection.links += 1;
        let link = LinkId(self.connection.links);
        self.enter(Phase::Opening(link), turn);
        turn.out.push_back(Action::Open { link });
    }

    pub(super) fn opened(&mut self, link: LinkId, turn: &mut Turn<'_>) {
        if matches!(self.connection.phase, Phase::Opening(present) if present == link) {
            self.greet(link, turn);
        }
    }

    /// Sends `hello`, with the position of each room.
    fn greet(&mut self, link: LinkId, turn: &mut Turn<'_>) {
        let mut positions = Vec::new();
        for (name, room) in &mut self.rooms {
            room.stage = Stage::Out;
            if let Some(position) = &room.position {
                positions.push((name.clone(), position.position()));
            }
        }
        let hello = self.session.hello(&self.config, positions.into_iter());
        let mut rooms = 0;
        if let Request::Hello { resume: Some(resume), .. } = &hello {
            rooms = resume.rooms.len();
            for name in resume.rooms.keys() {
                self.room_mut(name).stage = Stage::Resuming;
            }
        }
        self.enter(Phase::Greeting { link, rooms }, turn);
        self.request(link, Purpose::Hello, hello, turn);
    }

    pub(super) fn welcomed(&mut self, link: LinkId, welcome: Box<Welcome>, turn: &mut Turn<'_>) {
        self.session.welcome(&welcome);
        self.enter(Phase::Online { link, since: turn.now.mono }, turn);
        self.watch(turn);
        // Room names compare without regard to case, so the server's spelling does not matter.
        let recovered = welcome.rooms.clone();
        let user = welcome.user.clone();
        turn.deliver(Delivery::Welcome(welcome));
        self.give_messages_to(&user, turn);
        for name in self.room_names() {
            self.resumed(&name, recovered.get(&name), turn);
            self.touch(&name, turn);
        }
    }

    /// Handles a room's entry in the `welcome`. Positions outlive the session, so `resumed` does
    /// not matter here.
    fn resumed(&mut self, name: &RoomName, recovery: Option<&Recovery>, turn: &mut Turn<'_>) {
        let room = self.rooms.get_mut(name).expect("the caller has found the room");
        if room.stage != Stage::Resuming {
            return;
        }
        room.stage = Stage::Out;
        match (&mut room.position, recovery) {
            (Some(known), Some(Recovery::Recovered(position)))
                if *known.epoch() == position.epoch =>
            {
                known.raise_head(position.seq);
                turn.deliver(Delivery::Joined {
                    room: room.name.clone(),
                    epoch: position.epoch.clone(),
                    fresh: false,
                    members: None,
                    has_more_before: false,
                });
                room.become_member();
                let (now, times) = (turn.now.mono, &self.config.times);
                room.review_gap(now, times, Progress::None, Evidence::Announced);
            }
            // The log is another one, or has lost its end.
            (known, Some(Recovery::Lost(LostReason::EpochChanged))) => {
                *known = None;
                room.reset_pending = true;
            }
            // The position stays valid, and the next `joined` continues from it.
            (_, Some(Recovery::Recovered(_) | Recovery::Lost(_)) | None) => {}
        }
    }

    /// Handles the refusal of a `hello` that has named this number of rooms.
    pub(super) fn hello_refused(
        &mut self,
        link: LinkId,
        rooms: usize,
        error: Box<ErrorBody>,
        turn: &mut Turn<'_>,
    ) {
        if error.code == ErrorCode::InvalidName && rooms > 0 {
            // The server does not accept one of the room names. Joining the rooms one by one shows
            // which, and the connection stays open for another `hello`.
            self.session.resume_without_rooms();
            return self.greet(link, turn);
        }
        turn.out.push_back(Action::Close { link, code: CloseCode::Normal.number() });
        self.lose(Cause::Refused(error), turn);
    }

    pub(super) fn closed(&mut self, link: LinkId, code: Option<u16>, turn: &mut Turn<'_>) {
        if self.connection.link() != Some(link) {
            return;
        }
        let cause = match self.connection.phase {
            Phase::Greeting { rooms, .. }
                if rooms > 0 && code == Some(CloseCode::TooBig.number()) =>
            {
                // The server accepts less than the last one did. The rooms are joined instead.
                self.session.resume_without_rooms();
                Cause::NoAnswer
            }
            Phase::Idle
            | Phase::Opening(_)
            | Phase::Greeting { .. }
            | Phase::Online { .. }
            | Phase::Waiting(_)
            | Phase::Token(_)
            | Phase::Stopped(_) => Cause::Closed(code),
        };
        self.lose(cause, turn);
    }

    /// Closes the connection in order to reconnect.
    pub(super) fn abandon(&mut self, cause: Cause, turn: &mut Turn<'_>) {
        if let Some(link) = self.connection.link() {
            let code = CloseCode::HeartbeatTimeout.number();
            turn.out.push_back(Action::Close { link, code });
            self.lose(cause, turn);
        }
    }

    /// Handles the timeout of the present phase.
    pub(super) fn phase_due(&mut self, turn: &mut Turn<'_>) {
        match self.connection.phase {
            Phase::Opening(_) | Phase::Greeting { .. } => self.abandon(Cause::NoAnswer, turn),
            Phase::Waiting(_) => self.open(turn),
            Phase::Token(_) => self.token(None, turn),
            Phase::Idle | Phase::Online { .. } | Phase::Stopped(_) => {}
        }
    }

    /// Decides what follows the end of the connection.
    fn lose(&mut self, cause: Cause, turn: &mut Turn<'_>) {
        if let Phase::Online { since, .. } = self.connection.phase
            && turn.now.mono.since(since) >= self.config.times.stable_ms
        {
            self.connection.losses = 0;
            self.connection.token_replaced = false;
        }
        let loss = Loss { cause, bye: self.connection.bye.take(), earlier: self.connection.losses };
        self.connection.losses = loss.earlier.saturating_add(1);
        let next = backoff::after(loss, &self.config.times, turn.random);
        self.disconnected(turn);
        match next {
            Next::Wait(ms) => self.enter(Phase::Waiting(turn.now.mono.plus(ms)), turn),
            Next::Token(_) if self.connection.token_replaced => {
                self.enter(Phase::Stopped(StopReason::Unauthorized), turn);
            }
            Next::Token(ms) => {
                self.enter(Phase::Token(turn.now.mono.plus(ms)), turn);
                self.connection.token_replaced = true;
                turn.out.push_back(Action::NeedToken);
            }
            Next::Stop(why) => self.enter(Phase::Stopped(why), turn),
        }
    }

    /// Forgets everything that was in progress on the connection.
    fn disconnected(&mut self, turn: &mut Turn<'_>) {
        self.connection.bye = None;
        self.connection.probe = None;
        self.connection.renewing = false;
        self.timers.clear(&Timer::Liveness);
        for request in self.requests.clear() {
            self.timers.clear(&Timer::Request(request));
        }
        self.queries.disconnected();
        self.ready.clear();
        for name in self.room_names() {
            self.timers.clear(&Timer::Room(name.clone()));
            self.room_mut(&name).disconnected();
            self.finish(&name, turn);
        }
    }

    /// Changes the phase, sets its timeout, and tells the application if the state has changed.
    fn enter(&mut self, phase: Phase, turn: &mut Turn<'_>) {
        let times = &self.config.times;
        let now = turn.now.mono;
        let until = match &phase {
            Phase::Opening(_) => Some(now.plus(times.connect_ms)),
            Phase::Greeting { .. } => Some(now.plus(times.hello_ms)),
            Phase::Waiting(until) => Some(*until),
            Phase::Token(_) => Some(now.plus(times.token_ms)),
            Phase::Idle | Phase::Online { .. } | Phase::Stopped(_) => None,
        };
        match until {
            Some(until) => self.timers.set(until, Timer::Phase),
            None => self.timers.clear(&Timer::Phase),
        }
        self.connection.phase = phase;
        let state = self.connection.state();
        if self.connection.told != state {
            self.connection.told = state.clone();
            turn.deliver(Delivery::State(state));
        }
    }

    pub(super) fn room_names(&self) -> Vec<RoomName> {
        self.rooms.keys().cloned().collect()
    }
}
