//! The server's state machine.
//!
//! | file | responsibility |
//! |---|---|
//! | `state` | the fields of a [`Hub`] |
//! | `sessions` | issues the ids of connections and finds their sessions |
//! | `questions` | matches the answers of the log and the authority with their questions |
//! | `requests` | handles the frames of clients |
//! | `auth` | authenticates connections |
//! | `membership` | joins and leaves rooms |
//! | `places` | checks the limits on members and rooms |
//! | `audience` | calls a room's audience, which is its members |
//! | `append` | takes messages for the log |
//! | `tail` | connects a room's log with its members |
//! | `delivery` | feeds members that lag |
//! | `history` | answers requests for history |
//! | `resume` | gives a session a new connection |
//! | `away` | keeps sessions that have lost their connection |
//! | `heartbeat` | detects dead connections |
//! | `pause` | stops and starts reading from connections |
//! | `budgets` | charges the budgets of sessions, users and addresses |
//! | `tally` | counts the sessions of users |
//! | `signals` | handles the signals of other Hubs |
//! | `rosters` | applies what other Hubs report of their members |
//! | `peering` | sends signals to other Hubs |
//! | `operate` | carries out an operator's orders |
//! | `drain` | shuts down gracefully |
//! | `view`, `stats` | show operators what the Hub holds |
mod append;
mod audience;
mod auth;
mod away;
mod budgets;
mod delivery;
mod drain;
mod heartbeat;
mod history;
mod membership;
mod operate;
mod pause;
mod peering;
mod places;
mod questions;
mod requests;
mod resume;
mod rosters;
mod sessions;
mod signals;
mod state;
mod stats;
mod tail;
mod tally;
mod view;

use alloc::vec::Vec;

use chat_proto::{
    Dialect, DisplayName, ErrorBody, ErrorCode, LeaveReason, Limits, RequestId, RoomName,
    ServerFrame,
};

use crate::config::{Config, Peers};
use crate::delivery::Feed;
use crate::event::{Action, Connect, Event, Identity, Misuse, Probe, Recipients, Signal, SignalTo};
use crate::identity;
use crate::ids::{ConnId, Mono, Now, Token};
use crate::limits::bucket::Bucket;
use crate::limits::strikes::Strikes;
use crate::log::ReadRange;
use crate::peers::{Cluster, Settings};
use crate::reason::{CloseReason, Noted};
use crate::room::Rooms;
use crate::session::{Auth, Features, Paused, Session, Stage};
use crate::timers::{Timer, Timers};
use crate::users::bans::Bans;
use crate::users::budgets::{Budgets, Shares};
use crate::users::kept::KeptSessions;
use crate::users::lingering::LingeringSessions;
use crate::users::tally::Tally;

use self::pause::Reason;
use self::questions::{Answer, Pending, Questions};
use self::sessions::{Holder, Sessions};
use self::state::Effects;
pub use self::state::{Actions, Hub};

impl Hub {
    /// Makes a Hub without connections.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let peers = Cluster::new(settings(&config));
        Self {
            tail_config: tail::tail_config(&config),
            effects: Effects::new(),
            config,
            now: Mono(0),
            sessions: Sessions::default(),
            budgets: Budgets::default(),
            tally: Tally::default(),
            kept: KeptSessions::default(),
            lingering: LingeringSessions::default(),
            rooms: Rooms::default(),
            pending: Questions::default(),
            to_offer: Vec::new(),
            peers,
            poll_armed: false,
            polled: None,
            timers: Timers::default(),
            draining: None,
            bans: Bans::default(),
            catch_ups: 0,
            anonymous: DisplayName::new("anonymous").expect("a plain word is a name"),
        }
    }

    /// Handles one event.
    ///
    /// A client's mistake leads to an action, such as an error frame. An event that comes late (for
    /// a connection that is gone, or an answer to a question that was given up) has no effect.
    ///
    /// # Errors
    /// If the event names a connection or a question that this Hub never had. Nothing has changed
    /// then.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Actions) -> Result<(), Misuse> {
        self.now = now.mono;
        match event {
            Event::Received { conn, frame } => self.received(now, conn, frame, out)?,
            Event::Malformed { conn, error, dialect } => {
                if self.has_session(conn)? {
                    self.malformed(conn, error, dialect, out);
                }
            }
            Event::Alive { conn } => {
                if self.has_session(conn)? {
                    self.heard(conn);
                }
            }
            Event::Congested { conn } => {
                if self.has_session(conn)? {
                    self.congested(conn, out);
                }
            }
            Event::Drained { conn } => {
                if self.has_session(conn)? {
                    self.drained(conn, out);
                }
            }
            Event::CutOff { conn, reason } => {
                if self.has_session(conn)? {
                    self.close(conn, reason.into(), out);
                }
            }
            Event::Disconnected { conn, why } => match self.sessions.holder(conn)? {
                Holder::Session | Holder::Closed => self.disconnected(conn, why, out),
                Holder::Nobody => {}
            },
            Event::Appended { token, result } => {
                if let Some(asked) = self.pending.take(token, Answer::Appended)? {
                    self.appended(asked, result, out);
                }
            }
            Event::Head { .. } | Event::Loaded { .. } | Event::Authenticated { .. } => {
                self.answered(now, event, out)?;
            }
            Event::Revoke(what) => self.revoke(what, out),
            Event::Operator(order) => self.operate(now, order, out),
            Event::Signal { from, signal } => self.signalled(from, signal, out),
            Event::SignalsLost(lost) => self.peers.lost(now.mono, lost),
            Event::Drain { deadline } => self.drain(deadline, out),
            Event::Reconfigure { limits } => self.reconfigure(limits, out),
        }
        self.end_event(out);
        Ok(())
    }

    /// Handles the kinds of answers that are rare.
    #[inline(never)]
    fn answered(&mut self, now: Now, event: Event, out: &mut Actions) -> Result<(), Misuse> {
        match event {
            Event::Head { token, result } => {
                if let Some(Pending::Tail(at, id)) = self.pending.take(token, Answer::Head)? {
                    self.with_tail(at, out, |tail, cx, out| tail.head_read(cx, id, result, out));
                }
            }
            Event::Loaded { token, result } => {
                if let Some(asked) = self.pending.take(token, Answer::Loaded)? {
                    self.loaded(token, asked, result, out);
                }
            }
            Event::Authenticated { token, result } => {
                let asked = self.pending.take(token, Answer::Authenticated)?;
                if let Some(Pending::Auth(conn)) = asked {
                    self.authenticated(now, conn, token, result, out);
                }
            }
            _ => unreachable!("the caller passes on answers only"),
        }
        Ok(())
    }

    /// Returns true if the connection has a session. Other events for it come too late.
    fn has_session(&self, conn: ConnId) -> Result<bool, Misuse> {
        Ok(self.sessions.holder(conn)? == Holder::Session)
    }

    /// Fires the timers that are due. Spurious calls are harmless.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Actions) {
        self.now = now.mono;
        if self.poll_timeout().is_some_and(|due| due <= now.mono) {
            self.fire_due(now, out);
            self.end_event(out);
        }
    }

    /// Reports a finished drain, and sends what is due to peers.
    #[inline]
    fn end_event(&mut self, out: &mut Actions) {
        if self.draining.is_some() {
            self.report_drained(out);
        }
        if self.peers_due().is_some_and(|due| due <= self.now) {
            self.take_peer_turn(out);
        }
    }

    /// Offers this turn's messages to the log, one batch for each room. Call it after the last
    /// event of a turn, before waiting: until then messages stay in the Hub.
    ///
    /// The more events a turn has, the fewer and larger the batches are.
    pub fn end_turn(&mut self, now: Now, out: &mut Actions) {
        self.now = now.mono;
        self.offer_all(out);
    }

    fn fire_due(&mut self, now: Now, out: &mut Actions) {
        loop {
            if let Some(timer) = self.timers.pop_due(now.mono) {
                self.fire(timer, now, out);
            } else if self.users_end().is_some_and(|end| end <= now.mono) {
                self.end_users(out);
            } else {
                return;
            }
        }
    }

    fn fire(&mut self, timer: Timer, now: Now, out: &mut Actions) {
        match timer {
            Timer::Hello(conn) => self.hello_due(now, conn, out),
            Timer::Auth(conn) => self.grant_due(conn, out),
            Timer::Heartbeat(conn) => self.heartbeat_due(conn, out),
            Timer::Budget(conn) => self.unpause(conn, Reason::Budget, out),
            Timer::DrainClose(conn) => self.drain_close_due(conn, out),
            Timer::Tail(room, timer) => self.tail_due(room, timer, out),
            Timer::CatchUp(conn) => self.retry_feed(conn, out),
            Timer::Read(conn) => self.read_due(conn, out),
            Timer::Resume(conn) => self.resume_due(conn, out),
            Timer::Audience(room) => self.audience_due(room, out),
            Timer::Poll => self.poll_due(out),
        }
    }

    /// Returns when the next timer is due, see [`Hub::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        let all = [self.timers.next(), self.users_end(), self.peers_due()];
        all.into_iter().flatten().min()
    }

    /// Returns how much the Hub holds, for metrics and tests.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            sessions: self.sessions.len,
            away: self.kept.len(),
            rooms: self.rooms.len(),
            pending: self.pending.len(),
            timers: self.timers.len() + self.to_offer.len(),
            budgets: self.budgets.len(),
            users: self.tally.len(),
            elsewhere: self.peers.rooms(),
        }
    }

    /// Accepts a connection whose transport is ready and returns its id, which is valid until the
    /// adapter reports [`Event::Disconnected`]. The Hub may close the connection at once.
    pub fn connect(&mut self, now: Now, connect: Connect, out: &mut Actions) -> ConnId {
        self.now = now.mono;
        let conn = self.sessions.issue();
        let limit = self.config.limits.connections as usize;
        let refused = match self.draining {
            _ if self.sessions.len >= limit => Some(CloseReason::TooManyConnections),
            Some(_) => Some(CloseReason::Draining),
            None => None,
        };
        match refused {
            Some(reason) => out.push_back(Action::Close { conn, code: reason.code(), reason }),
            None => self.begin(conn, connect, out),
        }
        conn
    }

    fn begin(&mut self, conn: ConnId, connect: Connect, out: &mut Actions) {
        let Connect { session: id, dialect, identity, probe, peer } = connect;
        let (name, auth) = match identity {
            Identity::Guest { name } => (name, None),
            Identity::Wanted { credentials } => (None, Some(Auth::wanted(credentials))),
        };
        let stage = match (dialect, &auth) {
            (Dialect::Basic, None) => Stage::Active,
            (Dialect::Basic, Some(_)) | (Dialect::V1, _) => Stage::Fresh,
        };
        let mut shares = Shares::default();
        if let Some(address) = peer {
            self.budgets.join_address(&mut shares, address, self.budgets_max());
        }
        let session = Session {
            conn,
            member_id: identity::member(&id),
            user: identity::guest(&id),
            id,
            attempt: 0,
            dialect,
            stage,
            name: name.unwrap_or_else(|| self.anonymous.clone()),
            subscriptions: Vec::new(),
            budget: Bucket::default(),
            shares,
            strikes: Strikes::default(),
            heard: self.now,
            ping_at: None,
            beats: 0,
            heads_from: 0,
            in_flight: 0,
            paused: Paused::default(),
            feed: Feed::default(),
            features: Features::default(),
            auth,
            resuming: None,
        };
        self.sessions.insert(session);
        match stage {
            Stage::Fresh => self.await_hello(conn),
            Stage::Active => self.begin_session(conn, out),
            Stage::Checking | Stage::Resuming => unreachable!("nothing was asked yet"),
        }
        if probe == Probe::Transport && dialect == Dialect::Basic {
            self.begin_heartbeat(conn);
        }
    }

    fn reconfigure(&mut self, limits: Limits, out: &mut Actions) {
        let listed_max = limits.members_listed as usize;
        if limits.members_listed != self.config.limits.members_listed {
            for at in self.rooms.ids() {
                let sessions = &self.sessions;
                let member = |conn| sessions.get(conn).expect("a member has a session").member();
                if let Some(room) = self.rooms.get_mut(at) {
                    room.audience.relist(listed_max, member);
                }
            }
        }
        if limits.members_listed > self.config.limits.members_listed {
            self.peers.forget_members();
        }
        self.peers.set_rooms_max(limits.rooms_total as usize);
        self.config.limits = limits;
        self.tail_config = tail::tail_config(&self.config);
        self.forget_pauses(out);
    }

    /// Frees the id of a connection whose transport is gone. The session is kept, unless the client
    /// closed on purpose.
    fn disconnected(&mut self, conn: ConnId, why: LeaveReason, out: &mut Actions) {
        self.part(conn, why, why != LeaveReason::Left, out);
        self.sessions.release(conn);
    }

    /// Closes a connection. The reason decides whether its session can be resumed.
    fn close(&mut self, conn: ConnId, reason: CloseReason, out: &mut Actions) {
        out.push_back(Action::Close { conn, code: reason.code(), reason });
        self.part(conn, reason.leave_reason(), reason.keeps_session(), out);
    }

    /// Separates a session from its connection. The session is kept for a while, or ends.
    fn part(&mut self, conn: ConnId, why: LeaveReason, keep: bool, out: &mut Actions) {
        let Some(session) = self.sessions.close(conn) else { return };
        self.session_went(&session.user, session.shares, out);
        Timer::of_connection(conn).into_iter().for_each(|timer| self.timers.disarm(timer));
        let asked = session.auth.as_ref().and_then(|auth| auth.asked.as_ref());
        let asked = asked.map(|(token, _)| *token);
        for token in asked.into_iter().chain(session.feed.awaited()) {
            self.pending.answer(token);
        }
        let greeted = matches!(session.stage, Stage::Resuming | Stage::Active);
        let lasting = session.dialect == Dialect::V1 && greeted;
        if keep && lasting && self.draining.is_none() {
            self.detach(session, why, out);
        } else {
            self.end_lingering(session.member_id, Some(why), out);
            self.leave_all(session, why, out);
        }
    }

    fn reply(conn: ConnId, frame: ServerFrame, out: &mut Actions) {
        out.push_back(Action::Send { to: Recipients::One(conn), frame });
    }

    fn refuse(
        conn: ConnId,
        id: Option<RequestId>,
        code: ErrorCode,
        message: &str,
        out: &mut Actions,
    ) {
        let error = ErrorBody::new(id, code, message);
        Self::reply(conn, ServerFrame::Error(error.into()), out);
    }

    fn token(&mut self, pending: Pending) -> Token {
        self.pending.ask(pending)
    }

    fn load(
        &mut self,
        room: RoomName,
        range: ReadRange,
        pending: Pending,
        out: &mut Actions,
    ) -> Token {
        let token = self.token(pending);
        out.push_back(Action::Load { token, room, range });
        token
    }

    fn note(noted: Noted, out: &mut Actions) {
        out.push_back(Action::Note(noted));
    }

    /// Sends a signal to other Hubs, if there are any.
    fn signal(&self, to: SignalTo, signal: impl FnOnce() -> Signal, out: &mut Actions) {
        if self.config.peers == Peers::Some {
            out.push_back(Action::Signal { to, signal: signal() });
        }
    }
}

/// Returns the settings of the part that keeps track of peers.
fn settings(config: &Config) -> Settings {
    Settings {
        me: config.hub,
        peers: config.peers,
        census_ms: config.times.census_ms,
        grace_ms: config.times.grace_ms,
        rooms_max: config.limits.rooms_total as usize,
    }
}

/// How much a Hub holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sessions with a connection.
    pub sessions: usize,
    /// Sessions that have lost their connection and may come back.
    pub away: usize,
    /// Rooms of all kinds that have members, joins or drafts in progress.
    pub rooms: usize,
    /// Questions to the log and to the authority that wait for an answer.
    pub pending: usize,
    /// Armed timers of connections and rooms, and rooms whose drafts are appended when the turn
    /// ends.
    pub timers: usize,
    /// Budgets of users and addresses that are connected, or whose budget is not full again.
    pub budgets: usize,
    /// Users whose session counts Hubs tell each other.
    pub users: usize,
    /// Rooms that other Hubs have, for the room list.
    pub elsewhere: usize,
}
