//! Probes a silent server, and gives up a dead connection.
use chat_proto::Request;

use super::backoff::Cause;
use super::connection::Phase;
use super::event::LinkId;
use super::machine::{Client, Turn};
use super::timers::Timer;

impl Client {
    /// Starts to watch a new connection.
    pub(super) fn watch(&mut self, turn: &mut Turn<'_>) {
        self.connection.heard = turn.now.mono;
        self.connection.probe = None;
        self.timers.set(turn.now.mono.plus(self.silence_ms()), Timer::Liveness);
    }

    /// Records a sign of life. The timer reads it when it fires.
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
            // These phases have a timeout of their own, or nothing to do.
            Phase::Idle
            | Phase::Opening(_)
            | Phase::Greeting { .. }
            | Phase::Token(_)
            | Phase::Stopped(_) => {}
        }
    }

    pub(super) fn liveness_due(&mut self, turn: &mut Turn<'_>) {
        let link = self.connection.online().expect("the timer is set only while online");
        let (now, silence_ms) = (turn.now.mono, self.silence_ms());
        match self.connection.probe {
            Some(until) if until <= now => self.abandon(Cause::Abandoned, turn),
            Some(until) => self.timers.set(until, Timer::Liveness),
            None if now.since(self.connection.heard) >= silence_ms => self.probe(link, turn),
            None => self.timers.set(self.connection.heard.plus(silence_ms), Timer::Liveness),
        }
    }

    /// Asks for a sign of life, unless a probe is unanswered already.
    fn probe(&mut self, link: LinkId, turn: &mut Turn<'_>) {
        if self.connection.probe.is_none() {
            let until = turn.now.mono.plus(self.config.times.probe_ms);
            self.connection.probe = Some(until);
            self.timers.set(until, Timer::Liveness);
            // Any frame answers the probe, so it needs no id.
            turn.transmit(link, None, Request::Ping);
        }
    }

    /// Returns how long a server may be silent before it is probed.
    fn silence_ms(&self) -> u64 {
        self.session.heartbeat_ms + self.session.heartbeat_ms / 2
    }
}
