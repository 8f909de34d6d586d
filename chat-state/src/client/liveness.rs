//! Notices that nobody is there any more.
use chat_proto::Request;

use super::backoff::Cause;
use super::connection::Phase;
use super::event::LinkId;
use super::timers::Timer;
use super::{Client, Turn};

impl Client {
    /// Begins to watch a connection.
    pub(super) fn watch(&mut self, turn: &mut Turn<'_>) {
        self.connection.heard = turn.now.mono;
        self.connection.probe = None;
        self.timers.set(turn.now.mono.plus(self.quiet_ms()), Timer::Heard);
    }

    /// Something came: the server lives. The timer finds out when it fires.
    pub(super) fn heard(&mut self, link: LinkId, turn: &mut Turn<'_>) {
        if self.connection.online() == Some(link) {
            self.connection.heard = turn.now.mono;
            self.connection.probe = None;
        }
    }

    pub(super) fn wake(&mut self, turn: &mut Turn<'_>) {
        match self.connection.phase {
            Phase::Online { link, .. } => self.probe(link, turn),
            Phase::Waiting(_) => self.open(turn),
            // Each of these has a time of its own, or nothing to wake up for.
            Phase::Idle
            | Phase::Opening(_)
            | Phase::Greeting { .. }
            | Phase::Token
            | Phase::Stopped(_) => {}
        }
    }

    pub(super) fn heard_due(&mut self, turn: &mut Turn<'_>) {
        let Some(link) = self.connection.online() else { return };
        let (now, quiet_ms) = (turn.now.mono, self.quiet_ms());
        match self.connection.probe {
            Some(until) if until <= now => self.abandon(Cause::GivenUp, turn),
            Some(until) => self.timers.set(until, Timer::Heard),
            None if now.since(self.connection.heard) >= quiet_ms => self.probe(link, turn),
            None => self.timers.set(self.connection.heard.plus(quiet_ms), Timer::Heard),
        }
    }

    /// Asks for a sign of life, unless one is awaited already.
    fn probe(&mut self, link: LinkId, turn: &mut Turn<'_>) {
        if self.connection.probe.is_none() {
            let until = turn.now.mono.plus(self.config.times.probe_ms);
            self.connection.probe = Some(until);
            self.timers.set(until, Timer::Heard);
            // Anything that comes is an answer, so it needs no id.
            Self::transmit(link, None, Request::Ping, turn);
        }
    }

    /// Returns how long a server may be silent before it is asked for a sign of life.
    fn quiet_ms(&self) -> u64 {
        self.session.heartbeat_ms + self.session.heartbeat_ms / 2
    }
}
