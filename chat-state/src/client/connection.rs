//! Opens connections, greets, loses them and comes back.
use alloc::boxed::Box;
use alloc::vec::Vec;

use chat_proto::{CloseCode, ErrorBody, LostReason, Recovery, Request, RoomName, Token, Welcome};

use super::backoff::{self, Bye, Cause, Next};
use super::event::{Action, Delivery, LeftReason, LinkId, State, StopReason};
use super::gap::{Evidence, Moved};
use super::requests::Purpose;
use super::room::Stage;
use super::session::Session;
use super::timers::Timer;
use super::{Client, Turn};
use crate::ids::Mono;

/// The connection, and what was learned from those before it.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    /// How many links there were.
    links: u64,
    /// Losses since the last sound connection.
    losses: u32,
    /// The credential was replaced since the last sound connection.
    token_replaced: bool,
    /// The credential ends soon, and a fresh one is awaited for this connection.
    renewing: bool,
    pub(super) bye: Option<Bye>,
    /// When something was last heard, and until when something has to be.
    pub(super) heard: Mono,
    pub(super) probe: Option<Mono>,
    /// What the application knows.
    told: State,
}

/// How far it is.
#[derive(Clone, Debug, Default)]
pub(super) enum Phase {
    #[default]
    Idle,
    /// A transport is being made.
    Opening(LinkId),
    /// `hello` was sent, with this many rooms, and is not answered.
    Greeting {
        link: LinkId,
        named: usize,
    },
    Online {
        link: LinkId,
        since: Mono,
    },
    Waiting(Mono),
    /// A credential is awaited.
    Token,
    Stopped(StopReason),
}

impl Connection {
    pub(super) fn state(&self) -> State {
        match &self.phase {
            Phase::Idle => State::Idle,
            Phase::Opening(_) | Phase::Greeting { .. } | Phase::Token => State::Connecting,
            Phase::Online { .. } => State::Online,
            Phase::Waiting(until) => State::Waiting { until: *until },
            Phase::Stopped(why) => State::Stopped { why: why.clone() },
        }
    }

    /// Returns the present link, in whatever phase.
    pub(super) fn link(&self) -> Option<LinkId> {
        match self.phase {
            Phase::Opening(link) | Phase::Greeting { link, .. } | Phase::Online { link, .. } => {
                Some(link)
            }
            Phase::Idle | Phase::Waiting(_) | Phase::Token | Phase::Stopped(_) => None,
        }
    }

    /// Returns the link that requests can go over.
    pub(super) fn online(&self) -> Option<LinkId> {
        match self.phase {
            Phase::Online { link, .. } => Some(link),
            Phase::Idle
            | Phase::Opening(_)
            | Phase::Greeting { .. }
            | Phase::Waiting(_)
            | Phase::Token
            | Phase::Stopped(_) => None,
        }
    }
}

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
            | Phase::Token => {}
        }
    }

    pub(super) fn stop(&mut self, turn: &mut Turn<'_>) {
        if let Some(link) = self.connection.link() {
            let code = CloseCode::Normal.number();
            turn.out.push_back(Action::Close { link, code });
        }
        self.let_go(turn);
        self.settle_asks(turn);
        let names: Vec<RoomName> = self.rooms.keys().cloned().collect();
        for name in names {
            self.forget(&name, LeftReason::Stopped, turn);
        }
        self.session = Session::new(None, 0);
        self.quiet = None;
        self.timers.clear(&Timer::Quiet);
        self.enter(Phase::Stopped(StopReason::Asked), turn);
    }

    pub(super) fn token(&mut self, token: Option<Token>, turn: &mut Turn<'_>) {
        let is_awaited = matches!(self.connection.phase, Phase::Token);
        match token {
            Some(token) => {
                self.config.token = Some(token.clone());
                if is_awaited {
                    self.open(turn);
                }
                if let Some(link) = self.connection.online()
                    && self.connection.renewing
                {
                    self.request(link, Purpose::Auth, Request::Auth { token }, turn);
                }
            }
            None if is_awaited => {
                self.enter(Phase::Stopped(StopReason::Unauthorized), turn);
            }
            None => {}
        }
        self.connection.renewing = false;
    }

    /// The credential ends soon: another one is to be had in time.
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
        if !matches!(self.connection.phase, Phase::Opening(current) if current == link) {
            return;
        }
        let mut positions = Vec::new();
        for (name, room) in &self.rooms {
            if let Some(place) = &room.place {
                positions.push((name.clone(), place.position()));
            }
        }
        let hello = self.session.hello(&self.config, positions.into_iter());
        let mut named = 0;
        if let Request::Hello { resume: Some(resume), .. } = &hello {
            named = resume.rooms.len();
            for name in resume.rooms.keys() {
                if let Some(room) = self.rooms.get_mut(name) {
                    room.stage = Stage::Resuming;
                }
            }
        }
        self.enter(Phase::Greeting { link, named }, turn);
        self.request(link, Purpose::Hello, hello, turn);
    }

    pub(super) fn welcomed(&mut self, welcome: Box<Welcome>, turn: &mut Turn<'_>) {
        let Phase::Greeting { link, .. } = self.connection.phase else { return };
        self.session.welcome(&welcome);
        self.enter(Phase::Online { link, since: turn.now.mono }, turn);
        self.watch(turn);
        let recovered = welcome.rooms.clone();
        turn.deliver(Delivery::Welcome(welcome));
        let names: Vec<RoomName> = self.rooms.keys().cloned().collect();
        for name in names {
            self.resumed(&name, recovered.get(&name), turn);
            self.touch(&name, turn);
        }
    }

    /// Takes a room's part of the `welcome`.
    fn resumed(&mut self, name: &RoomName, recovery: Option<&Recovery>, turn: &mut Turn<'_>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.stage != Stage::Resuming {
            return;
        }
        room.stage = Stage::Out;
        match (&mut room.place, recovery) {
            (Some(place), Some(Recovery::Recovered(position)))
                if *place.epoch() == position.epoch =>
            {
                place.expect(position.seq);
                turn.deliver(Delivery::Joined {
                    room: room.name.clone(),
                    epoch: position.epoch.clone(),
                    fresh: false,
                    members: None,
                    has_more_before: false,
                });
                room.enter();
                room.review(turn.now.mono, &self.config, (Moved::No, Evidence::Claim));
            }
            // Another log, or the same one with its end cut off.
            (place, Some(Recovery::Lost(LostReason::EpochChanged))) => {
                *place = None;
                room.renounced = true;
            }
            // Whatever else was lost: the position counts, and the next `joined` goes on from it.
            (_, Some(Recovery::Recovered(_) | Recovery::Lost(_)) | None) => {}
        }
    }

    /// The server refuses `hello`.
    pub(super) fn unwelcome(&mut self, error: Box<ErrorBody>, turn: &mut Turn<'_>) {
        let Phase::Greeting { link, .. } = self.connection.phase else { return };
        turn.out.push_back(Action::Close { link, code: CloseCode::Normal.number() });
        self.lose(Cause::Refused(error), turn);
    }

    pub(super) fn closed(&mut self, link: LinkId, code: Option<u16>, turn: &mut Turn<'_>) {
        if self.connection.link() != Some(link) {
            return;
        }
        let named = match self.connection.phase {
            Phase::Greeting { named, .. } => named,
            _ => 0,
        };
        if named > 0 && code == Some(CloseCode::TooBig.number()) {
            // The server takes less than it did, or than others do: the rooms are joined instead.
            self.session.hello_bytes = 0;
            return self.lose(Cause::NoAnswer, turn);
        }
        self.lose(Cause::Closed(code), turn);
    }

    /// Ends the connection from this side, to come back.
    pub(super) fn abandon(&mut self, cause: Cause, turn: &mut Turn<'_>) {
        if let Some(link) = self.connection.link() {
            let code = CloseCode::HeartbeatTimeout.number();
            turn.out.push_back(Action::Close { link, code });
            self.lose(cause, turn);
        }
    }

    /// The phase has lasted as long as it may.
    pub(super) fn phase_due(&mut self, turn: &mut Turn<'_>) {
        match self.connection.phase {
            Phase::Opening(_) | Phase::Greeting { .. } => self.abandon(Cause::NoAnswer, turn),
            Phase::Waiting(_) => self.open(turn),
            Phase::Token => self.token(None, turn),
            Phase::Idle | Phase::Online { .. } | Phase::Stopped(_) => {}
        }
    }

    /// Decides what follows the loss of the connection.
    fn lose(&mut self, cause: Cause, turn: &mut Turn<'_>) {
        if let Phase::Online { since, .. } = self.connection.phase
            && turn.now.mono.since(since) >= self.config.times.stable_ms
        {
            self.connection.losses = 0;
            self.connection.token_replaced = false;
        }
        let losses = self.connection.losses;
        self.connection.losses = losses.saturating_add(1);
        let bye = self.connection.bye.take();
        let next = backoff::after(cause, bye.as_ref(), losses, &self.config.times, turn.random);
        self.let_go(turn);
        let phase = match next {
            Next::Wait(ms) => Phase::Waiting(turn.now.mono.plus(ms)),
            Next::Token if self.connection.token_replaced => {
                Phase::Stopped(StopReason::Unauthorized)
            }
            Next::Token => Phase::Token,
            Next::Stop(why) => Phase::Stopped(why),
        };
        let needs_token = matches!(phase, Phase::Token);
        self.enter(phase, turn);
        if needs_token {
            self.connection.token_replaced = true;
            turn.out.push_back(Action::NeedToken);
        }
    }

    /// Forgets all that was under way on the connection.
    fn let_go(&mut self, turn: &mut Turn<'_>) {
        self.connection.bye = None;
        self.connection.probe = None;
        self.connection.renewing = false;
        self.timers.clear(&Timer::Heard);
        for request in self.requests.clear() {
            self.timers.clear(&Timer::Request(request));
        }
        self.asks.cut();
        self.ready.clear();
        let names: Vec<RoomName> = self.rooms.keys().cloned().collect();
        for name in names {
            self.timers.clear(&Timer::Room(name.clone()));
            if let Some(room) = self.rooms.get_mut(&name) {
                room.cut();
            }
            self.finish(&name, turn);
        }
    }

    /// Changes the phase, arms its timer and tells the application if it looks different to it.
    fn enter(&mut self, phase: Phase, turn: &mut Turn<'_>) {
        let times = &self.config.times;
        let now = turn.now.mono;
        let until = match &phase {
            Phase::Opening(_) => Some(now.plus(times.connect_ms)),
            Phase::Greeting { .. } => Some(now.plus(times.hello_ms)),
            Phase::Waiting(until) => Some(*until),
            Phase::Token => Some(now.plus(times.token_ms)),
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
}
