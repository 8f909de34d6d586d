//! A room of the Client.
use chat_proto::{RoomName, Seq, UserId};

use super::backoff::{self, Draw, RetryAfter};
use super::config::{Config, Times};
use super::gap::{Evidence, GapRepair, Progress};
use super::outbox::{Completeness, Eligible, Outbox};
use super::position::LogPosition;
use crate::ids::Mono;

/// A room that the application has joined, or is leaving.
#[derive(Debug)]
pub(super) struct Room {
    /// The name, spelled as the server does once that is known.
    pub(super) name: RoomName,
    pub(super) intent: Intent,
    pub(super) stage: Stage,
    /// The server may have the session in the room on this connection.
    pub(super) may_be_member: bool,
    pub(super) position: Option<LogPosition>,
    /// The entries delivered so far are void, and the application was not told yet.
    pub(super) reset_pending: bool,
    pub(super) gap: GapRepair,
    pub(super) outbox: Outbox,
    /// Joins and leaves in a row that were refused and may be repeated.
    tries: u32,
    /// When the next one may be sent.
    retry_at: Option<Mono>,
    /// When the last typing notice was sent, unless typing has stopped since.
    pub(super) typing: Option<Mono>,
}

/// What the application wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    /// To be a member.
    Stay,
    /// To leave once all messages are settled.
    Leave,
    /// To leave, and then to join again.
    LeaveAndJoin,
}

/// The progress of the membership on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Out,
    /// The room is named in a `hello` that is not answered yet.
    Resuming,
    /// This `join` is not answered yet.
    Joining(u64),
    /// The session is a member, and entries arrive.
    Member,
    /// This `leave` is not answered yet.
    Leaving(u64),
}

/// What a room has to request next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Join,
    Leave,
    /// The page after this entry.
    Page(Seq),
    /// The message at this index of the outbox.
    Message(usize),
    /// Nothing before this time; `None` means until something happens.
    Wait(Option<Mono>),
}

impl Room {
    pub(super) fn new(name: RoomName) -> Self {
        Self {
            name,
            intent: Intent::Stay,
            stage: Stage::Out,
            may_be_member: false,
            position: None,
            reset_pending: false,
            gap: GapRepair::default(),
            outbox: Outbox::default(),
            tries: 0,
            retry_at: None,
            typing: None,
        }
    }

    /// Decides what to request next. A leave follows after all messages are settled.
    pub(super) fn next(&self, now: Mono, config: &Config, user: Option<&UserId>) -> Step {
        let leaves = self.intent != Intent::Stay && self.outbox.is_empty();
        let wait = self.retry_at.filter(|at| *at > now);
        match self.stage {
            Stage::Resuming | Stage::Joining(_) | Stage::Leaving(_) => Step::Wait(None),
            Stage::Out | Stage::Member if leaves => {
                wait.map_or(Step::Leave, |at| Step::Wait(Some(at)))
            }
            Stage::Out => wait.map_or(Step::Join, |at| Step::Wait(Some(at))),
            Stage::Member => self.next_as_member(now, config, user),
        }
    }

    fn next_as_member(&self, now: Mono, config: &Config, user: Option<&UserId>) -> Step {
        let page = self.gap.due();
        if let Some(position) = self.position.as_ref().filter(|_| page.is_some_and(|at| at <= now))
        {
            return Step::Page(position.cursor());
        }
        let message = match self.outbox.eligible(now, config.window, user, self.completeness()) {
            Eligible::Now(at) => return Step::Message(at),
            Eligible::At(at) => Some(at),
            Eligible::None => None,
        };
        Step::Wait([page, message].into_iter().flatten().min())
    }

    /// Returns whether a message that is not among the delivered entries is missing in the log. An
    /// announcement that nothing confirms does not hold back messages.
    fn completeness(&self) -> Completeness {
        let is_behind = self.position.as_ref().is_some_and(|position| {
            let is_confirmed = position.buffered() > 0 || !self.gap.is_unconfirmed();
            position.is_behind() && is_confirmed
        });
        if is_behind { Completeness::Behind } else { Completeness::Complete }
    }

    /// Returns true if the room can be forgotten: it is left, and all messages are settled.
    pub(super) fn is_done(&self) -> bool {
        let is_out = self.stage == Stage::Out && !self.may_be_member;
        is_out && self.intent != Intent::Stay && self.outbox.is_empty()
    }

    /// Schedules a page if entries are missing.
    pub(super) fn review_gap(
        &mut self,
        now: Mono,
        times: &Times,
        progress: Progress,
        evidence: Evidence,
    ) {
        if self.position.as_ref().is_some_and(LogPosition::is_behind) {
            self.gap.missing(now, times, progress, evidence);
        } else {
            self.gap.complete(progress);
        }
    }

    /// Records that the session is a member.
    pub(super) fn become_member(&mut self) {
        self.stage = Stage::Member;
        self.may_be_member = true;
        self.tries = 0;
        self.retry_at = None;
    }

    /// Records that the session is not a member.
    pub(super) fn lose_membership(&mut self) {
        self.stage = Stage::Out;
        self.may_be_member = false;
        self.gap.interrupt();
    }

    /// Repeats a join or leave later.
    pub(super) fn retry_later(&mut self, times: &Times, after: RetryAfter, draw: Draw) {
        let wait = backoff::retry(times, self.tries, after, draw.random);
        self.tries = self.tries.saturating_add(1);
        self.retry_at = Some(draw.now.plus(wait));
        self.stage = Stage::Out;
    }

    /// Records that the connection has ended.
    pub(super) fn disconnected(&mut self) {
        self.lose_membership();
        self.typing = None;
        self.tries = 0;
        self.retry_at = None;
        self.outbox.disconnected();
    }
}
