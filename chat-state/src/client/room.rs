//! A room that the application wants to be in, or leaves.
use chat_proto::{RoomName, Seq, UserId};

use super::gap::{Evidence, Heal, Moved};
use super::outbox::{Eligible, Sends};
use super::position::Place;
use super::{Config, backoff};
use crate::ids::Mono;

/// What a Client knows of a room.
#[derive(Debug)]
pub(super) struct Room {
    /// As the server spells it, once that is known.
    pub(super) name: RoomName,
    pub(super) intent: Intent,
    pub(super) stage: Stage,
    /// The server may have the session in the room on this connection.
    pub(super) entered: bool,
    pub(super) place: Option<Place>,
    /// What was delivered counts no more, and the application does not know yet.
    pub(super) renounced: bool,
    pub(super) heal: Heal,
    pub(super) sends: Sends,
    /// Joins and leaves in a row that were refused for a while.
    tries: u32,
    /// When the next one may be tried.
    wait: Option<Mono>,
    /// When typing was last told, if it was not ended since.
    pub(super) typing: Option<Mono>,
}

/// What the application wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    /// To be in the room.
    Stay,
    /// To be out of it, once all is said.
    Leave,
    /// To leave it and then to join it again.
    LeaveAndJoin,
}

/// How far the room is on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is under way.
    Out,
    /// `hello` named it.
    Resuming,
    /// This join is not answered yet.
    Joining(u64),
    /// The session is a member, and entries come.
    In,
    /// This leave is not answered yet.
    Parting(u64),
}

/// What a room has to ask for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Join,
    /// The entries after this place.
    Page(Seq),
    /// The send at this place of the queue.
    Send(usize),
    Leave,
    /// Nothing before this time; `None`: before something happens.
    Wait(Option<Mono>),
}

impl Room {
    pub(super) fn new(name: RoomName) -> Self {
        Self {
            name,
            intent: Intent::Stay,
            stage: Stage::Out,
            entered: false,
            place: None,
            renounced: false,
            heal: Heal::default(),
            sends: Sends::default(),
            tries: 0,
            wait: None,
            typing: None,
        }
    }

    /// Decides what comes next. A leave comes after all that is to be said.
    pub(super) fn next(&self, now: Mono, config: &Config, user: Option<&UserId>) -> Next {
        let leaves = self.intent != Intent::Stay && self.sends.is_empty();
        let wait = self.wait.filter(|at| *at > now);
        match self.stage {
            Stage::Resuming | Stage::Joining(_) | Stage::Parting(_) => Next::Wait(None),
            Stage::Out | Stage::In if leaves => wait.map_or(Next::Leave, |at| Next::Wait(Some(at))),
            Stage::Out => wait.map_or(Next::Join, |at| Next::Wait(Some(at))),
            Stage::In => self.next_inside(now, config, user),
        }
    }

    fn next_inside(&self, now: Mono, config: &Config, user: Option<&UserId>) -> Next {
        let due = self.heal.due();
        if let Some(place) = self.place.as_ref().filter(|_| due.is_some_and(|at| at <= now)) {
            return Next::Page(place.cursor());
        }
        let send = match self.sends.eligible(now, config.window, (user, self.is_behind())) {
            Eligible::Now(at) => return Next::Send(at),
            Eligible::At(at) => Some(at),
            Eligible::None => None,
        };
        Next::Wait([due, send].into_iter().flatten().min())
    }

    pub(super) fn is_behind(&self) -> bool {
        self.place.as_ref().is_some_and(Place::is_behind)
    }

    /// Tells whether the room is to be forgotten: it is left, and all is said.
    pub(super) fn is_done(&self) -> bool {
        let left = self.stage == Stage::Out && !self.entered;
        left && self.intent != Intent::Stay && self.sends.is_empty()
    }

    pub(super) fn review(&mut self, now: Mono, config: &Config, change: (Moved, Evidence)) {
        let is_behind = self.is_behind();
        self.heal.review(now, &config.times, is_behind, change);
    }

    /// Notes that the session is in the room.
    pub(super) fn enter(&mut self) {
        self.stage = Stage::In;
        self.entered = true;
        self.tries = 0;
        self.wait = None;
    }

    /// Notes that the session is not in the room any more, though it does not want to leave.
    pub(super) fn drop_out(&mut self) {
        self.stage = Stage::Out;
        self.entered = false;
        self.heal.interrupt();
    }

    /// Notes that a join or leave was not done and may be tried again later.
    pub(super) fn refused_for_now(
        &mut self,
        now: Mono,
        config: &Config,
        (after_ms, random): (Option<u64>, u64),
    ) {
        let wait = backoff::retry(&config.times, self.tries, after_ms, random);
        self.tries = self.tries.saturating_add(1);
        self.wait = Some(now.plus(wait));
        self.stage = Stage::Out;
    }

    /// Notes that the connection is gone.
    pub(super) fn cut(&mut self) {
        self.drop_out();
        self.typing = None;
        self.tries = 0;
        self.wait = None;
        self.sends.cut();
    }
}
