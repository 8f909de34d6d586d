//! Checks what a Hub does about grants and their ends, revocations and bans.
use chat_proto::{
    CloseCode, ErrorBody, ErrorCode, LeaveReason, Recovery, RoomName, ServerFrame, UserId,
};
use chat_state::{
    Action, Actions, CloseReason, ConnId, Grant, Mono, Now, Order, Peers, Recipients, RoomView,
    Whom,
};

use super::authority::{Authority, Occasion, Sent};
use super::identity::{About, Asked, Expected, Granted, Identified, Refusal, SessionKey, allows};

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// The Hub has closed it.
    Closed(CloseReason),
    /// Its transport is gone.
    Gone(LeaveReason),
}

impl Authority {
    /// Checks what the Hub has done because of an event or of its timers.
    pub(super) fn check(&mut self, now: Now, occasion: &Occasion, actions: &Actions) {
        if let Some(sent) = &occasion.sent {
            self.sent(sent, actions);
        }
        for expected in &occasion.expected {
            self.is_done(now, expected, actions);
        }
        self.only_expected_questions(occasion, actions);
        if let Some(order) = &occasion.order {
            self.ordered(now, order);
        }
        for (conn, reason) in closes(actions) {
            let who = self.conns.get(&conn).expect("it is open");
            assert!(self.has_cause(now.mono, who, reason, occasion), "{who:?}: {reason:?}");
        }
        for (conn, who) in &self.conns {
            // The Hub may find out by its timer, or when the client does something.
            let acts = occasion.sent.as_ref().is_some_and(|sent| sent.by == *conn);
            let is_over = who.granted.as_ref().is_some_and(|granted| granted.has_ended(now.mono));
            let is_put_out = self.is_put_out(now.mono, who, occasion);
            let must_end = is_put_out || (is_over && (acts || occasion.is_timeout));
            let is_closed = close_of(actions, *conn).is_some();
            assert!(is_closed || !must_end, "{who:?} stays");
        }
        if let Some(what) = &occasion.revoked {
            self.sessions.revoke(what);
        }
    }

    /// Records what a connection has sent, as far as the Hub may have taken it.
    fn sent(&mut self, sent: &Sent, actions: &Actions) {
        let Some(who) = self.conns.get_mut(&sent.by) else { return };
        who.is_v1 |= sent.is_v1;
        who.wants.extend(sent.wants.iter().cloned());
        let is_refused =
            errors(actions, sent.by).next().is_some() || close_of(actions, sent.by).is_some();
        if let Some(session) = &sent.resumes
            && !(who.is_wanted || who.is_greeted || is_refused)
        {
            who.session = session.clone();
            let key = who.key().expect("a guest has a user");
            who.may_resume = self.sessions.knows(&key);
            self.sessions.begin(key, who.credential());
        }
    }

    /// Checks that the Hub asks the authority about nobody else.
    fn only_expected_questions(&self, occasion: &Occasion, actions: &Actions) {
        for action in actions {
            let Action::Authenticate { conn: asked, .. } = action else { continue };
            let mut expected = occasion.expected.iter();
            let is_expected = expected.any(
                |expected| matches!(expected, Expected::Question { conn, .. } if conn == asked),
            );
            assert!(is_expected, "{action:?} for {occasion:?}");
        }
    }

    fn is_done(&mut self, now: Now, expected: &Expected, actions: &Actions) {
        match expected {
            Expected::Question { conn, credentials, about } => {
                if is_over_budget(actions, *conn) {
                    return;
                }
                let token = actions.iter().find_map(|action| match action {
                    Action::Authenticate { token, conn: asked, credentials: with }
                        if asked == conn && with == credentials =>
                    {
                        Some(*token)
                    }
                    _ => None,
                });
                let token = token.unwrap_or_else(|| panic!("{expected:?}: {actions:?}"));
                let until = now.mono.plus(self.auth_ms);
                let who = self.conns.get_mut(conn).expect("it has sent something");
                who.asked = Some(Asked { token, about: about.clone(), until });
            }
            Expected::Refusal { conn, refusal } => self.is_refused(*conn, refusal, actions),
            Expected::Admission { conn, grant, about } => {
                self.is_admitted(now, *conn, grant, about, actions);
            }
            Expected::Renewal { conn, grant, id } => {
                let expires_in_ms = grant.expires.map(|end| end.0 - now.wall.0);
                let told = ServerFrame::Authenticated { id: id.clone(), expires_in_ms };
                assert!(replies(actions, *conn).any(|frame| *frame == told), "no {told:?}");
                self.grants(now, *conn, grant);
                let who = &self.conns[conn];
                let is_kept_out = |room: &RoomName| !allows(&grant.rooms, room);
                if close_of(actions, *conn).is_some() {
                    let left = who.wants.iter().any(is_kept_out);
                    assert!(left, "{who:?} was closed, and is allowed all its rooms");
                } else {
                    let left = who.told.iter().find(|room| is_kept_out(room));
                    assert!(left.is_none(), "{who:?} stays in {left:?}");
                }
            }
        }
    }

    /// A refusal changes nothing but what it says.
    fn is_refused(&mut self, conn: ConnId, refusal: &Refusal, actions: &Actions) {
        let who = self.conns.get_mut(&conn).expect("it is open");
        if is_over_budget(actions, conn) {
            return;
        }
        if let Some(error) = &refusal.error {
            let is_told =
                errors(actions, conn).any(|told| told.id == error.id && told.code == error.code);
            assert!(is_told, "{who:?}: no {error:?} in {actions:?}");
        }
        assert_eq!(close_of(actions, conn), refusal.closes, "{who:?}: {actions:?}");
        if refusal.is_answer {
            who.asked = None;
        }
    }

    fn is_admitted(
        &mut self,
        now: Now,
        conn: ConnId,
        grant: &Grant,
        about: &About,
        actions: &Actions,
    ) {
        let who = self.conns.get_mut(&conn).expect("it has asked");
        let resumes = match about {
            About::Hello { resumes, .. } => resumes.clone(),
            About::Basic | About::Renewal { .. } => None,
        };
        let (is_basic, is_resume) = (matches!(about, About::Basic), resumes.is_some());
        if let Some(session) = resumes {
            who.session = session;
        }
        self.grants(now, conn, grant);
        let banned = self.is_banned(now.mono, &grant.user, None);
        let who = self.conns.get_mut(&conn).expect("it has asked");
        let key = who.key().expect("it has a user");
        who.may_resume = self.sessions.knows(&key);
        let is_welcome = replies(actions, conn).any(|f| matches!(f, ServerFrame::Welcome(_)));
        match close_of(actions, conn) {
            Some(CloseReason::Banned) => assert!(banned, "{who:?} is not banned"),
            _ if banned => panic!("{who:?} is banned: {actions:?}"),
            Some(CloseReason::TooManySessions) => {}
            Some(CloseReason::Superseded) => assert!(is_resume, "{who:?}: {actions:?}"),
            Some(_) if is_basic => {}
            None if is_basic => who.is_greeted = true,
            None if is_welcome || is_resume => self.sessions.begin(key, who.credential()),
            other => panic!("{who:?} is not welcome: {other:?}"),
        }
    }

    fn grants(&mut self, now: Now, conn: ConnId, grant: &Grant) {
        let who = self.conns.get_mut(&conn).expect("it has asked");
        who.asked = None;
        who.granted = Some(Granted::new(now, self.warn_ms, grant));
        let key = who.key().expect("it has a user");
        if self.sessions.knows(&key) {
            self.sessions.begin(key, who.credential());
        }
    }

    /// Returns true if a ban keeps a user out of a room, or out of the server.
    pub(super) fn is_banned(&self, now: Mono, user: &UserId, room: Option<&RoomName>) -> bool {
        let holds = |room: Option<RoomName>| {
            self.bans.get(&(user.clone(), room)).is_some_and(|until| *until > now)
        };
        holds(None) || room.is_some_and(|room| holds(Some(room.clone())))
    }

    fn ordered(&mut self, now: Now, order: &Order) {
        match order.clone() {
            Order::Ban { user, room, until } => {
                let ms = until.map_or(u64::MAX, |until| until.0.saturating_sub(now.wall.0));
                if ms > 0 {
                    self.bans.insert((user, room), now.mono.plus(ms));
                    self.sessions.order(order);
                    self.put_out(order);
                }
            }
            Order::Unban { user, room } => drop(self.bans.remove(&(user, room))),
            Order::Kick { .. } | Order::Close { .. } => {
                self.sessions.order(order);
                self.put_out(order);
            }
        }
    }

    /// Takes the rooms that an order is about from those whom it concerns.
    fn put_out(&mut self, order: &Order) {
        let (Some(whom), Some(room)) = concerned(order) else { return };
        for who in self.conns.values_mut() {
            if who.key().is_some_and(|key| key.is_of(&whom)) {
                who.wants.remove(&room);
                who.told.remove(&room);
            }
        }
    }

    /// Returns true if a connection has to be closed because of a revocation or an order.
    fn is_put_out(&self, now: Mono, who: &Identified, occasion: &Occasion) -> bool {
        let Some(key) = who.key() else { return false };
        let is_revoked = |what| key.is_revoked(what, &who.credential());
        let is_ordered = |order: &Order| match order {
            Order::Ban { user, room: None, .. } => {
                *user == key.user && self.is_banned(now, user, None)
            }
            Order::Close { whom, .. } => key.is_of(whom),
            Order::Kick { .. } | Order::Ban { .. } | Order::Unban { .. } => false,
        };
        occasion.revoked.as_ref().is_some_and(is_revoked)
            || occasion.order.as_ref().is_some_and(is_ordered)
    }

    /// Returns true if a connection may be closed for a reason. Reasons that have nothing to do
    /// with identities are not judged.
    fn has_cause(
        &self,
        now: Mono,
        who: &Identified,
        reason: CloseReason,
        occasion: &Occasion,
    ) -> bool {
        let mut expected = occasion.expected.iter();
        match reason {
            CloseReason::GrantEnded => who.granted.as_ref().is_some_and(|g| g.has_ended(now)),
            CloseReason::GrantNarrowed => {
                expected.any(|expected| matches!(expected, Expected::Renewal { .. }))
            }
            CloseReason::Revoked => occasion.revoked.as_ref().is_some_and(|what| {
                let user = who.user().unwrap_or_else(|| chat_state::guest(&who.session));
                let key = SessionKey { session: who.session.clone(), user };
                key.is_revoked(what, &who.credential())
            }),
            // A guest may have asked to resume the session of a banned one.
            CloseReason::Banned if !who.is_wanted => !self.bans.is_empty(),
            CloseReason::Banned => {
                let user = who.user();
                user.is_some_and(|user| self.is_banned(now, &user, None))
            }
            CloseReason::Unauthorized | CloseReason::AuthUnavailable => expected.any(|expected| {
                matches!(expected, Expected::Refusal { refusal, .. }
                    if refusal.closes == Some(reason))
            }),
            CloseReason::Kicked | CloseReason::Ordered(_) => occasion.order.is_some(),
            _ => true,
        }
    }

    /// Checks that a connection may be sent a frame, and records what it is told.
    pub(super) fn is_sent(&mut self, now: Mono, conn: ConnId, frame: &ServerFrame, is_late: bool) {
        let who = self.conns.get_mut(&conn).expect("it is open");
        let is_over = who.granted.as_ref().is_some_and(|granted| granted.is_over(now));
        assert!(is_late || !is_over, "{who:?} is sent {frame:?} after its grant has ended");
        if matches!(frame, ServerFrame::Error(_) | ServerFrame::Bye { .. }) {
            return who.is_told_of_removal(frame);
        }
        assert!(!who.is_wanted || who.granted.is_some(), "{who:?} is sent {frame:?}");
        if let (Some(granted), Some(room)) = (&who.granted, room_of(frame)) {
            assert!(granted.allows(room), "{who:?} is sent {frame:?}");
        }
        match frame {
            ServerFrame::AuthExpiring { expires_in_ms } => {
                let granted = who.granted.as_mut().expect("only a grant ends");
                let left = granted.ends.map(|ends| ends.since(now));
                assert_eq!(left, Some(*expires_in_ms), "{who:?} is warned");
                let is_due = granted.warning.take().is_some_and(|at| at <= now);
                assert!(is_due && who.is_greeted, "{who:?} is warned");
            }
            ServerFrame::Joined(joined) => _ = who.told.insert(joined.room.clone()),
            ServerFrame::Left { room, .. } => {
                who.wants.remove(room);
                who.told.remove(room);
            }
            ServerFrame::Welcome(welcome) => {
                who.is_greeted = true;
                let (key, credential) = (who.key().expect("it has a user"), who.credential());
                assert_eq!((&welcome.user, &welcome.session), (&key.user, &key.session));
                let recovered = |(room, how): (&RoomName, &Recovery)| {
                    matches!(how, Recovery::Recovered(_)).then(|| room.clone())
                };
                who.told.extend(welcome.rooms.iter().filter_map(recovered));
                for room in &who.told {
                    let is_allowed = who.granted.as_ref().is_none_or(|g| g.allows(room));
                    assert!(is_allowed, "{key:?} is back in {room}");
                }
                let is_known = self.peers == Peers::Some || who.may_resume;
                assert!(is_known || !welcome.resumed, "{key:?} was ended");
                assert!(!self.is_banned(now, &key.user, None), "{key:?} is banned");
                self.sessions.begin(key, credential);
            }
            _ => {}
        }
    }

    /// Records that a connection has ended.
    pub(super) fn ended(&mut self, now: Mono, conn: ConnId, end: End) {
        let who = self.conns.remove(&conn).expect("it is open");
        let Some(key) = who.key().filter(|_| who.is_v1) else { return };
        let ends_session = match end {
            End::Gone(why) => why == LeaveReason::Left,
            End::Closed(CloseReason::Revoked | CloseReason::Banned) => true,
            End::Closed(CloseReason::Ordered(code)) => !CloseCode::advice(code).reconnect(),
            End::Closed(_) => false,
        };
        if ends_session {
            self.sessions.end(&key);
        } else {
            self.sessions.detach(key, &who, now.plus(self.grace_ms));
        }
    }

    /// Checks, after timers were fired, that nobody stays whose grant has ended, and that everybody
    /// was warned.
    pub(super) fn all_are_in_time(&self, now: Mono) {
        for who in self.conns.values() {
            let Some(granted) = &who.granted else { continue };
            assert!(!granted.has_ended(now), "{who:?} stays");
            let is_warned = granted.warning.is_none_or(|at| at > now);
            assert!(is_warned || !who.is_v1 || !who.is_greeted, "{who:?} was not warned");
        }
    }

    /// Checks that a Hub shows nobody in its rooms whose session has ended.
    pub(super) fn nobody_else_is_shown(&self, now: Mono, rooms: &[RoomView]) {
        for view in rooms {
            let inside = self.conns.values().filter(|who| who.wants.contains(&view.room));
            let mut sessions: Vec<SessionKey> = inside.filter_map(Identified::key).collect();
            sessions.extend(self.sessions.lingering_in(&view.room, now));
            sessions.sort_unstable();
            sessions.dedup();
            assert!(view.members <= sessions.len() as u64, "{view:?} has only {sessions:?}");
        }
    }
}

impl Identified {
    /// Records that an operator has taken the session out of a room.
    fn is_told_of_removal(&mut self, frame: &ServerFrame) {
        if let ServerFrame::Error(error) = frame
            && error.id.is_none()
            && let Some(room) = &error.room
        {
            self.told.remove(room);
        }
    }
}

/// Returns whom an order concerns, and in which room.
fn concerned(order: &Order) -> (Option<Whom>, Option<RoomName>) {
    match order.clone() {
        Order::Kick { room, whom } => (Some(whom), Some(room)),
        Order::Ban { user, room, .. } => (Some(Whom::User(user)), room),
        Order::Close { whom, .. } => (Some(whom), None),
        Order::Unban { .. } => (None, None),
    }
}

fn room_of(frame: &ServerFrame) -> Option<&RoomName> {
    match frame {
        ServerFrame::Joined(joined) => Some(&joined.room),
        ServerFrame::Page(page) => Some(&page.room),
        ServerFrame::Entry(entry) => Some(&entry.room),
        ServerFrame::Ack { room, .. }
        | ServerFrame::Members { room, .. }
        | ServerFrame::Join { room, .. }
        | ServerFrame::Leave { room, .. }
        | ServerFrame::Typing { room, .. }
        | ServerFrame::Presence { room, .. }
        | ServerFrame::Gap { room, .. }
        | ServerFrame::Hole { room, .. } => Some(room),
        _ => None,
    }
}

fn closes(actions: &Actions) -> impl Iterator<Item = (ConnId, CloseReason)> {
    actions.iter().filter_map(|action| match action {
        Action::Close { conn, reason, .. } => Some((*conn, *reason)),
        _ => None,
    })
}

fn close_of(actions: &Actions, conn: ConnId) -> Option<CloseReason> {
    closes(actions).find(|(closed, _)| *closed == conn).map(|(_, reason)| reason)
}

fn replies(actions: &Actions, conn: ConnId) -> impl Iterator<Item = &ServerFrame> {
    actions.iter().filter_map(move |action| match action {
        Action::Send { to: Recipients::One(to), frame } if *to == conn => Some(frame),
        _ => None,
    })
}

fn errors(actions: &Actions, conn: ConnId) -> impl Iterator<Item = &ErrorBody> {
    replies(actions, conn).filter_map(|frame| match frame {
        ServerFrame::Error(error) => Some(&**error),
        _ => None,
    })
}

/// Returns true if a request was refused for a budget.
fn is_over_budget(actions: &Actions, conn: ConnId) -> bool {
    errors(actions, conn).any(|error| error.code == ErrorCode::RateLimited)
        || close_of(actions, conn) == Some(CloseReason::BudgetExceeded)
}
