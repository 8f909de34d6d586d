//! Handles the frames of clients.
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{
    BasicRequest, Body, ClientFrame, DecodeError, Dialect, ErrorBody, ErrorCode, LeaveReason,
    Request, RequestId, RoomName, RoomSummary, ServerFrame, Token, Welcome,
};

use super::drain;
use super::places::{KEPT_OUT, Refusal};
use super::{Actions, Hub};
use crate::event::{Action, Misuse, Recipients, Signal, SignalTo};
use crate::ids::{ConnId, Now};
use crate::limits::cost;
use crate::reason::CloseReason;
use crate::room::policy::RoomPolicy;
use crate::room::{Room, RoomId, Roster};
use crate::session::{
    Auth, BulkReply, Features, Hello, Joining, Message, Resumed, Session, Stage, Typing,
};
use crate::timers::Timer;

/// The optional part of the protocol that shows who is typing.
const TYPING: &str = "typing";

impl Hub {
    /// Handles a frame.
    pub(super) fn received(
        &mut self,
        now: Now,
        conn: ConnId,
        frame: ClientFrame,
        out: &mut Actions,
    ) -> Result<(), Misuse> {
        let Some(session) = self.sessions.get_mut(conn) else {
            return self.sessions.holder(conn).map(drop);
        };
        session.heard = self.now;
        let dialect = session.dialect;
        if session.auth.as_deref().is_some_and(|auth| auth.has_ended(self.now)) {
            // The timer has not been fired yet, but the grant counts no more.
            self.grant_due(conn, out);
            return Ok(());
        }
        match frame {
            ClientFrame::V1 { id, request } => {
                let cost = cost::of_request(&request, &self.config.limits);
                let speaks_v1 = dialect == Dialect::V1 || self.upgrade(conn, out);
                if speaks_v1 && self.admit(conn, &id, cost, out) {
                    self.v1(now, conn, id, request, out);
                }
            }
            ClientFrame::Basic(request) => match dialect {
                Dialect::Basic if session.stage != Stage::Active => {
                    self.check_basic(conn, request, out);
                }
                Dialect::Basic => self.basic(now, conn, request, out),
                // A frame of another dialect than the connection's has no meaning.
                Dialect::V1 => {}
            },
        }
        Ok(())
    }

    pub(super) fn malformed(
        &mut self,
        conn: ConnId,
        error: DecodeError,
        dialect: Dialect,
        out: &mut Actions,
    ) {
        self.heard(conn);
        match dialect {
            Dialect::Basic => {
                self.slow_down(conn, cost::MESSAGE, out);
                self.slow_down_for_malformed(conn, out);
            }
            Dialect::V1 => {
                let _ = self.upgrade(conn, out);
                if self.admit(conn, &error.id, cost::MESSAGE, out) {
                    Self::reply(conn, ServerFrame::Error(ErrorBody::from(error).into()), out);
                    self.slow_down_for_malformed(conn, out);
                }
            }
        }
    }

    /// Switches a connection without a negotiated dialect to `chat.v1`, which its first frame has
    /// chosen. Returns true if the connection speaks `chat.v1` now.
    fn upgrade(&mut self, conn: ConnId, out: &mut Actions) -> bool {
        let session = &mut self.sessions[conn];
        // A `basic` frame that is being checked has chosen `basic`.
        let undecided = session.subscriptions.is_empty() && session.stage != Stage::Checking;
        if session.dialect == Dialect::Basic && undecided {
            session.dialect = Dialect::V1;
            session.stage = Stage::Fresh;
            self.timers.disarm(Timer::Heartbeat(conn));
            self.sessions.unname(conn);
            self.await_hello(conn);
            if self.draining.is_some() {
                // The others were told when the drain began.
                Self::reply(conn, drain::bye(0), out);
            }
            return true;
        }
        session.dialect == Dialect::V1
    }

    pub(super) fn basic(
        &mut self,
        now: Now,
        conn: ConnId,
        request: BasicRequest,
        out: &mut Actions,
    ) {
        self.slow_down(conn, cost::MESSAGE, out);
        let session = &self.sessions[conn];
        let current = session.subscriptions.first().map(|s| s.room);
        match request {
            BasicRequest::Join { room } => {
                if current.is_some() && current == self.rooms.find(&room) {
                    return;
                }
                // `basic` has no errors, so a join that is not allowed is dropped. The member stays
                // in its current room.
                if self.may_enter(session, &room).is_err() {
                    return;
                }
                if let Some(current) = current {
                    self.leave(conn, current, LeaveReason::Left, out);
                }
                let joining = Joining::asked(None, 0);
                let joined = self.join(conn, room, joining, out);
                debug_assert!(joined.is_ok(), "the join was allowed");
            }
            BasicRequest::Leave => {
                if let Some(current) = current {
                    self.leave(conn, current, LeaveReason::Left, out);
                }
            }
            BasicRequest::Message { content } => {
                let Some(current) = current else { return };
                if content.len() > self.config.limits.message_bytes as usize {
                    self.close(conn, CloseReason::MessageTooBig, out);
                } else if !content.contains('\0') {
                    let body = Body::Message { content, reply_to: None };
                    let message = Message { id: None, key: None, ts: now.wall, body };
                    self.say(conn, current, message, out);
                }
            }
        }
    }

    /// Handles a `chat.v1` request. Inlined: a call would cost a message 2 % more instructions.
    #[inline(always)]
    fn v1(
        &mut self,
        now: Now,
        conn: ConnId,
        id: Option<RequestId>,
        request: Request,
        out: &mut Actions,
    ) {
        let session = &self.sessions[conn];
        if session.stage != Stage::Active && !matches!(request, Request::Hello { .. }) {
            let is_first = session.stage == Stage::Fresh;
            let why = if is_first { "`hello` has to come first" } else { "wait for `welcome`" };
            Self::refuse(conn, id, ErrorCode::HelloExpected, why, out);
            if is_first {
                self.close(conn, CloseReason::HelloExpected, out);
            }
            return;
        }
        match request {
            Request::Hello { name, token, features, resume } => {
                self.hello(conn, Hello { id, features, name, resume }, token, out);
            }
            Request::Auth { token } => self.renew(conn, id, token, out),
            Request::Join { room, history } => {
                let joining = Joining::asked(id.clone(), history);
                if let Err(refusal) = self.join(conn, room, joining, out) {
                    self.refuse_join(conn, id, refusal, out);
                }
            }
            Request::Leave { room } => self.leave_request(conn, id, room, out),
            Request::Message { room, key, content, reply_to } => {
                let Some(room) = self.room_to_speak(session, &room, &id, out) else { return };
                if let Err(Refusal { code, why }) = self.check_content(&content) {
                    return Self::refuse(conn, id, code, why, out);
                }
                let body = Body::Message { content, reply_to };
                let message = Message { id, key, ts: now.wall, body };
                self.say(conn, room, message, out);
            }
            Request::History { room, range, limit } => {
                let Some(room) = self.member_room(conn, &room, &id, out) else { return };
                self.history(conn, room, id, range, limit, out);
            }
            Request::Members { room } => {
                let Some(room) = self.member_room(conn, &room, &id, out) else { return };
                self.want_reply(conn, id, BulkReply::Members { room }, out);
            }
            Request::Rooms { after } => {
                self.want_reply(conn, id, BulkReply::Rooms { after }, out);
            }
            Request::Typing { room, active } => {
                let Some(room) = self.room_to_speak(session, &room, &id, out) else { return };
                self.typing(conn, room, id, active, out);
            }
            Request::Ping => Self::reply(conn, ServerFrame::Pong { id }, out),
            Request::Pong => {}
            // `Request` is non-exhaustive, but this version's decoder makes no others.
            _ => Self::refuse(conn, id, ErrorCode::UnknownType, "not known here", out),
        }
    }

    #[inline(never)]
    fn hello(&mut self, conn: ConnId, hello: Hello, token: Option<Token>, out: &mut Actions) {
        let session = &mut self.sessions[conn];
        if session.stage != Stage::Fresh {
            let why = "`hello` was sent before";
            Self::refuse(conn, hello.id, ErrorCode::AlreadyWelcome, why, out);
        } else if session.auth.is_some() {
            self.check_hello(conn, hello, token, out);
        } else if token.is_some() {
            let why = "this server takes no tokens; give a `name` instead";
            Self::refuse(conn, hello.id, ErrorCode::Unauthorized, why, out);
        } else {
            self.greet(conn, hello, out);
        }
    }

    /// Refuses a join. If a limit is the reason, the error names its value.
    #[inline(never)]
    fn refuse_join(
        &self,
        conn: ConnId,
        id: Option<RequestId>,
        Refusal { code, why }: Refusal,
        out: &mut Actions,
    ) {
        let limits = &self.config.limits;
        let most = match code {
            ErrorCode::TooManyRooms => limits.rooms,
            ErrorCode::RoomsExhausted => limits.rooms_total,
            ErrorCode::RoomFull => limits.members,
            _ => return Self::refuse(conn, id, code, why, out),
        };
        Self::refuse(conn, id, code, &format!("{why} ({most} at most)"), out);
    }

    /// Begins or resumes a session whose user is known.
    pub(super) fn greet(&mut self, conn: ConnId, hello: Hello, out: &mut Actions) {
        if self.keeps_out_session(conn, hello.resume.as_deref()) {
            Self::refuse(conn, hello.id, ErrorCode::Forbidden, KEPT_OUT, out);
            return self.close(conn, CloseReason::Banned, out);
        }
        if self.has_too_many_sessions(conn, hello.resume.as_deref()) {
            let most = self.config.limits.user_sessions;
            let why = format!("the user has too many sessions: limit `user_sessions` ({most})");
            Self::refuse(conn, hello.id, ErrorCode::TooManySessions, &why, out);
            return self.close(conn, CloseReason::TooManySessions, out);
        }
        self.session_came(conn, out);
        let Hello { id, features, name, resume } = hello;
        let session = &mut self.sessions[conn];
        self.timers.disarm(Timer::Hello(conn));
        session.features = Features { typing: features.iter().any(|asked| asked == TYPING) };
        if let Some(resume) = resume {
            return self.resume(conn, id, name, *resume, out);
        }
        if let Some(name) = name {
            session.name = name;
        }
        self.begin_session(conn, out);
        self.welcome(conn, id, Resumed::Fresh, out);
    }

    /// Answers `hello`, with what became of the rooms if it asked to resume.
    pub(super) fn welcome(
        &mut self,
        conn: ConnId,
        id: Option<RequestId>,
        resumed: Resumed,
        out: &mut Actions,
    ) {
        let session = &mut self.sessions[conn];
        session.stage = Stage::Active;
        let features = session.features.typing.then(|| String::from(TYPING));
        let (resumed, rooms) = match resumed {
            Resumed::Fresh => (false, BTreeMap::new()),
            Resumed::Asked { known, rooms } => (known, rooms),
        };
        let mut limits = self.config.limits.values().clone();
        if let Some(own) = session.auth.as_deref().and_then(Auth::messages_per_10s) {
            limits.messages_per_10s = own;
        }
        let welcome = Welcome {
            id,
            session: session.id.clone(),
            user: session.user.clone(),
            name: session.name.clone(),
            resumed,
            durability: self.config.durability,
            heartbeat_ms: self.config.times.heartbeat_ms,
            limits,
            features: features.into_iter().collect(),
            rooms,
        };
        self.begin_heartbeat(conn);
        Self::reply(conn, ServerFrame::Welcome(welcome.into()), out);
    }

    fn leave_request(
        &mut self,
        conn: ConnId,
        id: Option<RequestId>,
        room: RoomName,
        out: &mut Actions,
    ) {
        let Some(at) = self.member_room(conn, &room, &id, out) else { return };
        let room = self.rooms.get(at).map_or(room, |r| r.name.clone());
        self.leave(conn, at, LeaveReason::Left, out);
        Self::reply(conn, ServerFrame::Left { id, room }, out);
    }

    /// Finds a room that the session is in, or refuses the request.
    fn member_room(
        &self,
        conn: ConnId,
        name: &RoomName,
        id: &Option<RequestId>,
        out: &mut Actions,
    ) -> Option<RoomId> {
        let room = self.rooms.find(name);
        let session = self.sessions.get(conn)?;
        let room = room.filter(|room| session.is_subscribed(*room));
        if room.is_none() {
            Self::refuse_non_member(conn, name, id, out);
        }
        room
    }

    /// Finds a room that the session is in and may say something in, or refuses the request.
    fn room_to_speak(
        &self,
        session: &Session,
        name: &RoomName,
        id: &Option<RequestId>,
        out: &mut Actions,
    ) -> Option<RoomId> {
        if !RoomPolicy::of(name.kind()).members_write {
            // The error does not name the room: without an `id` that would end the membership.
            let why = "only the server's operator writes in this room";
            Self::refuse(session.conn, id.clone(), ErrorCode::Forbidden, why, out);
            return None;
        }
        let room = self.rooms.find(name).filter(|room| session.is_subscribed(*room));
        if room.is_none() {
            Self::refuse_non_member(session.conn, name, id, out);
        }
        room
    }

    #[inline(never)]
    fn refuse_non_member(conn: ConnId, name: &RoomName, id: &Option<RequestId>, out: &mut Actions) {
        let error = ErrorBody::new(id.clone(), ErrorCode::NotMember, "join the room first");
        let error = ErrorBody { room: Some(name.clone()), ..error };
        Self::reply(conn, ServerFrame::Error(error.into()), out);
    }

    fn check_content(&self, content: &Arc<str>) -> Result<(), Refusal> {
        if content.is_empty() {
            return Err(Refusal::new(ErrorCode::InvalidContent, "`content` is empty"));
        }
        // Without an early exit, the loop is vectorized and takes 16 bytes at a time.
        if content.bytes().fold(false, |found, byte| found | (byte == 0)) {
            let why = "`content` holds a NUL character";
            return Err(Refusal::new(ErrorCode::InvalidContent, why));
        }
        if content.len() > self.config.limits.message_bytes as usize {
            let why = "`content` has more bytes than the limit `message_bytes`";
            return Err(Refusal::new(ErrorCode::TooLarge, why));
        }
        Ok(())
    }

    /// Lists the rooms after a name that have members, here or on other Hubs. Returns them and
    /// whether there are more.
    pub(super) fn list_rooms(&self, after: Option<&RoomName>) -> (Vec<RoomSummary>, bool) {
        let limit = self.config.limits.rooms_listed as usize;
        let mut here =
            self.rooms.listed_after(after).filter(|r| r.audience.count_here() > 0).peekable();
        let mut there = self.peers.rooms_after(after).peekable();
        let mut rooms = Vec::new();
        while rooms.len() <= limit {
            let own = here.peek().map(|r| &r.name);
            let room = match (own, there.peek()) {
                (Some(a), Some(b)) => a.min(*b).clone(),
                (Some(a), None) => a.clone(),
                (None, Some(b)) => (*b).clone(),
                (None, None) => return (rooms, false),
            };
            let mut members = self.peers.count(&room);
            if let Some(own) = here.next_if(|r| r.name == room) {
                members = members.saturating_add(own.audience.count_here());
            }
            let _ = there.next_if(|name| **name == room);
            rooms.push(RoomSummary { room, members });
        }
        rooms.pop();
        (rooms, true)
    }

    /// Sends a typing event to the live members that asked for such events.
    pub(super) fn show_typing(
        &self,
        room: &Room,
        from: Option<ConnId>,
        frame: ServerFrame,
        out: &mut Actions,
    ) {
        let wants = |conn: &ConnId| {
            let session = self.sessions.get(*conn);
            Some(*conn) != from && session.is_some_and(|session| session.features.typing)
        };
        let mut to = Roster::default();
        room.audience.live().iter().filter(wants).for_each(|conn| {
            to.push(conn);
        });
        if !to.is_empty() {
            out.push_back(Action::Send { to: Recipients::All(to), frame });
        }
    }

    fn typing(
        &mut self,
        conn: ConnId,
        at: RoomId,
        id: Option<RequestId>,
        active: bool,
        out: &mut Actions,
    ) {
        let session = &mut self.sessions[conn];
        let member = session.member();
        let subscription = session.subscription(at).expect("the session has joined the room");
        let room = &self.rooms[at];
        if id.is_some() {
            let (room, seq, ts) = (room.name.clone(), None, None);
            Self::reply(conn, ServerFrame::Ack { id, room, seq, ts, duplicate: false }, out);
        }
        if subscription.state.spot().is_none() {
            // It is no member yet. Its own join may still fail.
            return;
        }
        let last = subscription.typing;
        let due = match (active, last) {
            (true, Some(last)) => self.now.since(last.at) >= self.config.times.typing_ms,
            (true, None) => true,
            (false, last) => last.is_some_and(|last| last.active),
        };
        if !due || room.audience.count() > u64::from(self.config.limits.typing_members) {
            return;
        }
        // An end keeps the time of the last beginning, so the next one is not shown sooner.
        let at = last.filter(|_| !active).map_or(self.now, |last| last.at);
        subscription.typing = Some(Typing { at, active });
        let name = room.name.clone();
        let frame = ServerFrame::Typing { room: name.clone(), member: member.clone(), active };
        self.show_typing(room, Some(conn), frame, out);
        let to = SignalTo::Followers(name.clone());
        self.signal(to, || Signal::Typing { room: name, member, active }, out);
    }
}
