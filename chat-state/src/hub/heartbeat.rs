//! Detects dead connections.
use alloc::collections::BTreeMap;

use chat_proto::{Dialect, Position, RoomName, ServerFrame};

use super::{Actions, Hub};
use crate::event::Action;
use crate::ids::{ConnId, Now};
use crate::reason::CloseReason;
use crate::session::{Session, Stage, State};
use crate::timers::Timer;

/// The largest number of heads in one ping, which keeps the frame within a few KiB.
const HEADS_MAX: usize = 64;

impl Hub {
    /// Records a sign of life.
    pub(super) fn heard(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(conn) {
            session.heard = self.now;
        }
    }

    /// Starts the heartbeat of a connection.
    pub(super) fn begin_heartbeat(&mut self, conn: ConnId) {
        let times = &self.config.times;
        let session = &mut self.sessions[conn];
        let (every, _) = beat(times, session.dialect);
        session.ping_at = Some(self.now.plus(every));
        self.timers.arm(self.now.plus(every), Timer::Heartbeat(conn));
    }

    /// Closes a connection that is dead, or pings it if a ping is due.
    pub(super) fn heartbeat_due(&mut self, conn: ConnId, out: &mut Actions) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(ping_at) = session.ping_at else { return };
        let (every, dead) = beat(&self.config.times, session.dialect);
        if session.paused.any() && session.feed.is_open() {
            // The connection is not read, so its silence does not count. If its outbox is full, it
            // has to take something.
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

    /// Returns the last positions that the client was sent in some of its rooms, in turn. A client
    /// that has missed the last entry notices it that way.
    fn heads(&mut self, conn: ConnId) -> BTreeMap<RoomName, Position> {
        let every = self.config.times.heads_every;
        let mut heads = BTreeMap::new();
        let session = &mut self.sessions[conn];
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
        let session = &mut self.sessions[conn];
        let Session { ping_at: Some(ping_at), heard, .. } = session else { return };
        self.timers.arm((*ping_at).min(heard.plus(dead)), Timer::Heartbeat(conn));
    }

    /// Arms the deadline for the first frame of a connection.
    pub(super) fn await_hello(&mut self, conn: ConnId) {
        self.timers.arm(self.now.plus(self.config.times.hello_ms), Timer::Hello(conn));
    }

    /// Closes a connection whose `hello` is late. The client may come back, since its link may just
    /// be slow. If the authority is late instead, treats it as unavailable.
    pub(super) fn hello_due(&mut self, now: Now, conn: ConnId, out: &mut Actions) {
        match self.sessions.get(conn).map(|session| session.stage) {
            Some(Stage::Fresh) => self.close(conn, CloseReason::HelloTimeout, out),
            Some(Stage::Checking | Stage::Active) => self.authority_due(now, conn, out),
            Some(Stage::Resuming) | None => {}
        }
    }
}

/// Returns the time between two pings, and the silence after which a connection is dead. Neither
/// is 0, whatever was configured.
fn beat(times: &crate::Times, dialect: Dialect) -> (u64, u64) {
    let (every, dead) = match dialect {
        Dialect::Basic => (times.basic_heartbeat_ms, times.basic_dead_ms),
        Dialect::V1 => (times.heartbeat_ms, times.heartbeat_dead_ms),
    };
    (every.max(1), dead.max(1))
}
