//! The state of the connection.
use super::backoff::Bye;
use super::event::{LinkId, State, StopReason};
use crate::ids::Mono;

/// The connection, and what the Client remembers of earlier ones.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    /// The number of links so far.
    pub(super) links: u64,
    /// Connections lost since the last stable one.
    pub(super) losses: u32,
    /// The credential was replaced since the last stable connection.
    pub(super) token_replaced: bool,
    /// The credential is about to expire, and a fresh one was asked for.
    pub(super) renewing: bool,
    pub(super) bye: Option<Bye>,
    /// When the server was last heard.
    pub(super) heard: Mono,
    /// A probe was sent, and the server must be heard before this time.
    pub(super) probe: Option<Mono>,
    /// The state that the application was told.
    pub(super) told: State,
}

/// The progress of the connection.
#[derive(Clone, Debug, Default)]
pub(super) enum Phase {
    #[default]
    Idle,
    /// A transport was requested.
    Opening(LinkId),
    /// `hello` was sent with this number of rooms.
    Greeting {
        link: LinkId,
        rooms: usize,
    },
    Online {
        link: LinkId,
        since: Mono,
    },
    Waiting(Mono),
    /// A credential was requested. The next connection is not opened before this time.
    Token(Mono),
    Stopped(StopReason),
}

impl Connection {
    pub(super) fn state(&self) -> State {
        match &self.phase {
            Phase::Idle => State::Idle,
            Phase::Opening(_) | Phase::Greeting { .. } | Phase::Token(_) => State::Connecting,
            Phase::Online { .. } => State::Online,
            Phase::Waiting(until) => State::Waiting { until: *until },
            Phase::Stopped(why) => State::Stopped { why: why.clone() },
        }
    }

    /// Returns the present link.
    pub(super) fn link(&self) -> Option<LinkId> {
        match self.phase {
            Phase::Opening(link) | Phase::Greeting { link, .. } | Phase::Online { link, .. } => {
                Some(link)
            }
            Phase::Idle | Phase::Waiting(_) | Phase::Token(_) | Phase::Stopped(_) => None,
        }
    }

    /// Returns the link that accepts requests.
    pub(super) fn online(&self) -> Option<LinkId> {
        match self.phase {
            Phase::Online { link, .. } => Some(link),
            Phase::Idle
            | Phase::Opening(_)
            | Phase::Greeting { .. }
            | Phase::Waiting(_)
            | Phase::Token(_)
            | Phase::Stopped(_) => None,
        }
    }
}
