//! Noticing the dead.
use alloc::collections::BTreeMap;

use chat_proto::{Dialect, Position, RoomName, ServerFrame};

use super::{Actions, Hub};
use crate::event::Action;
use crate::ids::{ConnId, Now};
use crate::reason::CloseReason;
use crate::session::{Session, Stage, State};
use crate::timers::Timer;

/// Heads of one ping: a frame of a few KiB, whatever the number of rooms.
const HEADS_MAX: usize = 64;

impl Hub {
    pub(super) fn heard(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(conn) {
            session.heard = self.now;
        }
    }

    /// Starts asking a peer for signs of life.
    pub(super) fn begin_heartbeat(&mut self, conn: ConnId) {
        let times = &self.config.times;
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let (every, _) = beat(times, session.dialect);
        session.ping_at = Some(self.now.plus(every));
        self.timers.arm(self.now.plus(every), Timer::Heartbeat(conn));
    }

    pub(super) fn heartbeat_due(&mut self, conn: ConnId, out: &mut Actions) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(ping_at) = session.ping_at else { return };
        let (every, dead) = beat(&self.config.times, session.dialect);
        if session.paused.any() {
            // It is not read, so nothing can be heard from it.
            session.heard = self.now;
        }
        if self.now.since(session.heard) >= dead {
            return self.close(conn, CloseReason::HeartbeatTimeout, out);
        }
        if ping_at <= self.now {
            session.ping_at = Some(self.now.plus(every));
            session.beats = session.beats.wrapping_add(1);
            match session.dialect {
                Dialect::Basic => out.push_back(Action::Probe { conn }),
                Dialect::V1 => {
                    let heads = self.heads(conn);
                    Self::reply(conn, ServerFrame::Ping { heads }, out);
                }
            }
        }
        self.rearm_heartbeat(conn, dead);
    }

    /// Tells up to where some rooms were sent, so that a client notices a lost last entry.
    fn heads(&mut self, conn: ConnId) -> BTreeMap<RoomName, Position> {
        let every = self.config.times.heads_every;
        let mut heads = BTreeMap::new();
        let Some(session) = self.sessions.get_mut(conn) else { return heads };
        if every == 0 || !session.beats.is_multiple_of(every) {
            return heads;
        }
        let count = session.subscriptions.len();
        let from = if session.heads_from < count { session.heads_from } else { 0 };
        for subscription in session.subscriptions.iter().skip(from).take(HEADS_MAX) {
            let Some(room) = self.rooms.get(subscription.room) else { continue };
            let Some(ends) = room.tail.ends() else { continue };
            let seq = match subscription.state {
                State::Live(_) => ends.cursor,
                State::Lagging { cursor, .. } => cursor,
                State::Joining(_) => continue,
            };
            heads.insert(room.name.clone(), Position { epoch: ends.epoch.clone(), seq });
        }
        session.heads_from = from + HEADS_MAX;
        heads
    }

    fn rearm_heartbeat(&mut self, conn: ConnId, dead: u64) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Session { ping_at: Some(ping_at), heard, .. } = session else { return };
        self.timers.arm((*ping_at).min(heard.plus(dead)), Timer::Heartbeat(conn));
    }

    /// Gives a peer its time to say `hello`, or who it is.
    pub(super) fn await_hello(&mut self, conn: ConnId) {
        self.timers.arm(self.now.plus(self.config.times.hello_ms), Timer::Hello(conn));
    }

    /// A `hello` did not come in time. Nothing is wrong with a client whose link is slow, so it may
    /// come back.
    pub(super) fn hello_due(&mut self, now: Now, conn: ConnId, out: &mut Actions) {
        match self.sessions.get(conn).map(|session| session.stage) {
            Some(Stage::Fresh) => self.close(conn, CloseReason::HelloTimeout, out),
            Some(Stage::Checking | Stage::Active) => self.authority_due(now, conn, out),
            Some(Stage::Resuming) | None => {}
        }
    }
}

/// How often a peer is asked, and after which silence it is dead: never at once, whatever was set.
fn beat(times: &crate::Times, dialect: Dialect) -> (u64, u64) {
    let (every, dead) = match dialect {
        Dialect::Basic => (times.basic_heartbeat_ms, times.basic_dead_ms),
        Dialect::V1 => (times.heartbeat_ms, times.heartbeat_dead_ms),
    };
    (every.max(1), dead.max(1))
}
