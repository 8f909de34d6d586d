//! What a Hub has to do about identities: whom it asks the authority about, and what follows from
//! the answers.
use std::collections::BTreeMap;

use chat_proto::{
    BasicRequest, ClientFrame, ErrorCode, Request, RoomName, SessionId, Token as Credentials,
    UserId,
};
use chat_state::{
    AuthError, CloseReason, Config, ConnId, Event, Grant, Mono, Now, Order, Peers, Revoke, Signal,
    Token,
};

use super::identity::{About, Asked, Error, Expected, Identified, Refusal, SessionKey, Sessions};

/// Who everybody is.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) auth_ms: u64,
    pub(super) warn_ms: u64,
    pub(super) grace_ms: u64,
    pub(super) peers: Peers,
    pub(super) conns: BTreeMap<ConnId, Identified>,
    pub(super) sessions: Sessions,
    /// When the bans of users from rooms and from the server end.
    pub(super) bans: BTreeMap<(UserId, Option<RoomName>), Mono>,
}

/// What a Hub is given, and what has to come of it.
#[derive(Debug)]
pub(super) struct Occasion {
    pub(super) expected: Vec<Expected>,
    pub(super) revoked: Option<Revoke>,
    pub(super) order: Option<Order>,
    pub(super) sent: Option<Sent>,
    /// The timers that are due are fired.
    pub(super) is_timeout: bool,
    /// Timers were due before, and were not fired yet.
    pub(super) is_late: bool,
}

impl Occasion {
    /// Returns the connection that is let in to go on with a session.
    pub(super) fn resumed(&self) -> Option<(ConnId, &SessionId)> {
        self.expected.iter().find_map(|expected| match expected {
            Expected::Admission {
                conn,
                about: About::Hello { resumes: Some(session), .. },
                ..
            } => Some((*conn, session)),
            _ => None,
        })
    }
}

/// What a connection has sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) by: ConnId,
    pub(super) is_v1: bool,
    /// The session that a guest asks to resume.
    pub(super) resumes: Option<SessionId>,
    /// The rooms that it asks to be in.
    pub(super) wants: Vec<RoomName>,
}

impl Sent {
    fn new(by: ConnId, frame: &ClientFrame) -> Self {
        let (resumes, wants) = match frame {
            ClientFrame::V1 { request: Request::Hello { resume: Some(resume), .. }, .. } => {
                (Some(resume.session.clone()), resume.rooms.keys().cloned().collect())
            }
            ClientFrame::V1 { request: Request::Join { room, .. }, .. }
            | ClientFrame::Basic(BasicRequest::Join { room }) => (None, vec![room.clone()]),
            _ => (None, Vec::new()),
        };
        let is_v1 = matches!(frame, ClientFrame::V1 { .. });
        Self { by, is_v1, resumes, wants }
    }
}

impl Authority {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            auth_ms: config.times.auth_ms,
            warn_ms: config.times.auth_warn_ms,
            grace_ms: config.times.grace_ms,
            peers: config.peers,
            conns: BTreeMap::new(),
            sessions: Sessions::default(),
            bans: BTreeMap::new(),
        }
    }

    pub(super) fn connected(&mut self, conn: ConnId, who: Identified) {
        self.conns.insert(conn, who);
    }

    /// Returns the user of a connection that was admitted.
    pub(super) fn user(&self, conn: ConnId) -> UserId {
        let user = self.conns.get(&conn).and_then(Identified::user);
        user.unwrap_or_else(|| panic!("{conn:?} is nobody"))
    }

    /// Returns the session of a connection that was admitted.
    pub(super) fn session(&self, conn: ConnId) -> Option<SessionKey> {
        self.conns.get(&conn).and_then(Identified::key)
    }

    /// Returns the rooms in which something may be said by an event.
    pub(super) fn speaks_in(&self, event: &Event) -> Vec<RoomName> {
        match event {
            Event::Received {
                frame: ClientFrame::V1 { request: Request::Message { room, .. }, .. },
                ..
            } => vec![room.clone()],
            Event::Received { conn, frame: ClientFrame::Basic(BasicRequest::Message { .. }) } => {
                let who = self.conns.get(conn);
                who.into_iter().flat_map(|who| who.wants.iter().cloned()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns true if a connection is a guest's, or was admitted.
    pub(super) fn has_admitted(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|who| who.user().is_some())
    }

    /// Returns the `basic` connection whose first frame waits for an answer.
    pub(super) fn first_frame(&self, token: Token) -> Option<ConnId> {
        let waits = |asked: &Asked| asked.token == token && matches!(asked.about, About::Basic);
        let mut conns = self.conns.iter();
        let found = conns.find(|(_, who)| who.asked.as_ref().is_some_and(waits));
        found.map(|(conn, _)| *conn)
    }

    /// Returns what has to come of an event. `due` is when the Hub's next timer is due.
    pub(super) fn occasion(&self, now: Now, event: &Event, due: Option<Mono>) -> Occasion {
        let revoked = match event {
            Event::Revoke(what) | Event::Signal { signal: Signal::Revoked(what), .. } => {
                Some(what.clone())
            }
            _ => None,
        };
        let order = match event {
            Event::Operator(order) => Some(order.clone()),
            _ => None,
        };
        let (expected, sent) = match event {
            Event::Received { conn, frame } => {
                (self.of_frame(now.mono, *conn, frame), Some(Sent::new(*conn, frame)))
            }
            Event::Authenticated { token, result } => (self.of_answer(now, *token, result), None),
            _ => (None, None),
        };
        let expected = expected.into_iter().collect();
        let is_late = due.is_some_and(|due| due < now.mono);
        Occasion { expected, revoked, order, sent, is_timeout: false, is_late }
    }

    /// Returns what has to come of the timers that are due.
    pub(super) fn timeout(&self, now: Mono) -> Occasion {
        let asked = self.conns.iter().filter_map(|(conn, who)| Some((*conn, who.asked.as_ref()?)));
        let silent = asked.filter(|(_, asked)| asked.until <= now);
        let expected = silent.map(|(conn, asked)| {
            let refusal = refusal(asked.about.clone(), AuthError::Unavailable);
            Expected::Refusal { conn, refusal }
        });
        let (expected, is_timeout) = (expected.collect(), true);
        Occasion { expected, revoked: None, order: None, sent: None, is_timeout, is_late: false }
    }

    fn of_frame(&self, now: Mono, conn: ConnId, frame: &ClientFrame) -> Option<Expected> {
        let who = self.conns.get(&conn)?;
        if who.granted.as_ref().is_some_and(|granted| granted.has_ended(now)) {
            // Whatever it asks for, it is closed.
            return None;
        }
        let refused = |id, code, closes| {
            let error = Some(Error { id, code });
            Some(Expected::Refusal { conn, refusal: Refusal { is_answer: false, error, closes } })
        };
        let asks = |credentials: &Credentials, about| {
            let credentials = credentials.clone();
            Some(Expected::Question { conn, credentials, about })
        };
        let is_fresh = who.asked.is_none() && who.granted.is_none();
        let unauthorized = Some(CloseReason::Unauthorized);
        match frame {
            ClientFrame::V1 { id, request: Request::Hello { token, resume, .. } }
                if who.is_wanted =>
            {
                let (id, resumes) = (id.clone(), resume.as_ref().map(|r| r.session.clone()));
                match token.as_ref().or(who.handshake.as_ref()) {
                    _ if !is_fresh => refused(id, ErrorCode::AlreadyWelcome, None),
                    Some(credentials) => asks(credentials, About::Hello { id, resumes }),
                    None => refused(id, ErrorCode::Unauthorized, unauthorized),
                }
            }
            ClientFrame::V1 { id, request: Request::Auth { token } } => {
                let id = id.clone();
                match (who.is_greeted, who.is_wanted) {
                    (false, true) => {
                        let closes = is_fresh.then_some(CloseReason::HelloExpected);
                        refused(id, ErrorCode::HelloExpected, closes)
                    }
                    (false, false) => None,
                    (true, false) => refused(id, ErrorCode::Unauthorized, None),
                    (true, true) if who.asked.is_some() => {
                        refused(id, ErrorCode::AuthUnavailable, None)
                    }
                    (true, true) => asks(token, About::Renewal { id }),
                }
            }
            ClientFrame::Basic(_) if who.is_wanted && is_fresh => match &who.handshake {
                Some(credentials) => asks(credentials, About::Basic),
                None => {
                    let refusal = Refusal { is_answer: false, error: None, closes: unauthorized };
                    Some(Expected::Refusal { conn, refusal })
                }
            },
            _ => None,
        }
    }

    fn of_answer(
        &self,
        now: Now,
        token: Token,
        result: &Result<Box<Grant>, AuthError>,
    ) -> Option<Expected> {
        let is_it = |who: &Identified| who.asked.as_ref().is_some_and(|asked| asked.token == token);
        let (conn, who) = self.conns.iter().find(|(_, who)| is_it(who))?;
        let (conn, about) = (*conn, who.asked.as_ref()?.about.clone());
        let result = result.clone().and_then(|grant| match grant.expires {
            Some(end) if end <= now.wall => Err(AuthError::Expired),
            _ => Ok(grant),
        });
        Some(match (about, result) {
            (About::Renewal { id }, Ok(grant)) if who.user().as_ref() == Some(&grant.user) => {
                Expected::Renewal { conn, grant, id }
            }
            (About::Renewal { id }, Ok(_)) => {
                let error = Some(Error { id, code: ErrorCode::Unauthorized });
                Expected::Refusal {
                    conn,
                    refusal: Refusal { is_answer: true, error, closes: None },
                }
            }
            (about, Ok(grant)) => Expected::Admission { conn, grant, about },
            (about, Err(error)) => Expected::Refusal { conn, refusal: refusal(about, error) },
        })
    }
}

/// How a request is refused for an answer of the authority.
fn refusal(about: About, error: AuthError) -> Refusal {
    let (code, reason) = match error {
        AuthError::Invalid | AuthError::Expired => {
            (ErrorCode::Unauthorized, CloseReason::Unauthorized)
        }
        AuthError::Unavailable => (ErrorCode::AuthUnavailable, CloseReason::AuthUnavailable),
    };
    let (error, closes) = match about {
        About::Hello { id, .. } => (Some(Error { id, code }), Some(reason)),
        About::Basic => (None, Some(reason)),
        About::Renewal { id } => (Some(Error { id, code }), None),
    };
    Refusal { is_answer: true, error, closes }
}
