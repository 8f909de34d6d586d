//! Who each connection is, as the authority has said, and until when.
//!
//! The model holds in both directions: a grant that has ended, was narrowed or was revoked ends its
//! connection at once and with the right reason, and nothing else does.
use std::collections::{BTreeMap, BTreeSet};

use chat_proto::{ErrorCode, RequestId, RoomKind, RoomName, SessionId, UserId};
use chat_state::{
    ConnId, Connect, Grant, Identity, KeyId, Mono, Order, Revoke, RoomRights, Token, TokenId, Whom,
};

/// What is known of a connection that is open.
#[derive(Debug)]
pub(super) struct Identified {
    pub(super) session: SessionId,
    /// The authority decides who it is; otherwise it is a guest.
    pub(super) is_wanted: bool,
    /// The credentials that came with the connection.
    pub(super) handshake: Option<chat_proto::Token>,
    /// The connection has a dialect that knows errors.
    pub(super) is_v1: bool,
    /// The Hub has sent `welcome`, or has handled the first frame of a `basic` connection.
    pub(super) is_greeted: bool,
    /// What the authority is being asked, and when the question is given up.
    pub(super) asked: Option<Asked>,
    pub(super) granted: Option<Granted>,
    /// The Hub may have known the session that the connection goes on with.
    pub(super) may_resume: bool,
    /// The rooms that it has asked to be in.
    pub(super) wants: BTreeSet<RoomName>,
    /// The rooms that it was told to be in.
    pub(super) told: BTreeSet<RoomName>,
}

#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) token: Token,
    pub(super) about: About,
    pub(super) until: Mono,
}

/// What waits for the authority.
#[derive(Clone, Debug)]
pub(super) enum About {
    Hello { id: Option<RequestId>, resumes: Option<SessionId> },
    Basic,
    Renewal { id: Option<RequestId> },
}

/// What the authority has granted.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) user: UserId,
    pub(super) credential: Credential,
    pub(super) rooms: RoomRights,
    pub(super) ends: Option<Mono>,
    /// When the client has to be warned, unless it was.
    pub(super) warning: Option<Mono>,
}

/// The ids by which a credential can be revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Credential {
    token: Option<TokenId>,
    key: Option<KeyId>,
}

impl From<&Grant> for Credential {
    fn from(grant: &Grant) -> Self {
        Self { token: grant.token_id.clone(), key: grant.key }
    }
}

impl Granted {
    pub(super) fn new(now: chat_state::Now, warn_ms: u64, grant: &Grant) -> Self {
        let left = grant.expires.map(|end| end.0.saturating_sub(now.wall.0));
        let warning = left.map(|left| now.mono.plus(left - warn_ms.min(left / 2)));
        Self {
            user: grant.user.clone(),
            credential: grant.into(),
            rooms: grant.rooms.clone(),
            ends: left.map(|left| now.mono.plus(left)),
            warning,
        }
    }

    /// Returns true if the grant has ended by a time.
    pub(super) fn has_ended(&self, now: Mono) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    /// Returns true if the grant ended before a time.
    pub(super) fn is_over(&self, now: Mono) -> bool {
        self.ends.is_some_and(|ends| ends < now)
    }

    pub(super) fn allows(&self, room: &RoomName) -> bool {
        allows(&self.rooms, room)
    }
}

/// Returns true if a grant does not keep its session out of a room. It says nothing about inboxes.
pub(super) fn allows(rights: &RoomRights, room: &RoomName) -> bool {
    room.kind() != RoomKind::Public || rights.allow(room)
}

impl Identified {
    pub(super) fn new(connect: &Connect) -> Self {
        let (is_wanted, handshake) = match &connect.identity {
            Identity::Guest { .. } => (false, None),
            Identity::Wanted { credentials } => (true, credentials.clone()),
        };
        Self {
            session: connect.session.clone(),
            is_wanted,
            handshake,
            is_v1: connect.dialect == chat_proto::Dialect::V1,
            is_greeted: false,
            asked: None,
            granted: None,
            may_resume: false,
            wants: BTreeSet::new(),
            told: BTreeSet::new(),
        }
    }

    /// Returns the user; `None` as long as the authority has not said who it is.
    pub(super) fn user(&self) -> Option<UserId> {
        match (&self.granted, self.is_wanted) {
            (Some(granted), _) => Some(granted.user.clone()),
            (None, true) => None,
            (None, false) => Some(chat_state::guest(&self.session)),
        }
    }

    /// Returns the name that the session is known by, which is no other user's.
    pub(super) fn key(&self) -> Option<SessionKey> {
        Some(SessionKey { session: self.session.clone(), user: self.user()? })
    }

    pub(super) fn credential(&self) -> Credential {
        self.granted.as_ref().map(|granted| granted.credential.clone()).unwrap_or_default()
    }
}

/// A session of a user. Another user's session of the same name is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionKey {
    pub(super) session: SessionId,
    pub(super) user: UserId,
}

impl SessionKey {
    /// Returns true if a revocation ends the session.
    pub(super) fn is_revoked(&self, what: &Revoke, credential: &Credential) -> bool {
        match what {
            Revoke::User(user) => self.user == *user,
            Revoke::Session(session) => self.session == *session,
            Revoke::Token(token) => credential.token.as_ref() == Some(token),
            Revoke::Key(key) => credential.key == Some(*key),
        }
    }

    /// Returns true if an order surely concerns the session.
    pub(super) fn is_of(&self, whom: &Whom) -> bool {
        match whom {
            Whom::User(user) => self.user == *user,
            Whom::Session(_) => false,
        }
    }
}

/// A session without a connection, which may still be shown in its rooms.
#[derive(Debug)]
struct Lingering {
    rooms: BTreeSet<RoomName>,
    until: Mono,
}

/// The sessions that can be resumed, and where those without a connection are shown at most.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// With the ids of the last credential.
    known: BTreeMap<SessionKey, Credential>,
    lingering: BTreeMap<SessionKey, Lingering>,
}

impl Sessions {
    pub(super) fn begin(&mut self, key: SessionKey, credential: Credential) {
        self.known.insert(key, credential);
    }

    pub(super) fn knows(&self, key: &SessionKey) -> bool {
        self.known.contains_key(key)
    }

    pub(super) fn end(&mut self, key: &SessionKey) {
        self.known.remove(key);
        self.lingering.remove(key);
    }

    /// Records that a session has lost its connection. Its rooms show it until a time.
    pub(super) fn detach(&mut self, key: SessionKey, who: &Identified, until: Mono) {
        if self.knows(&key) {
            self.known.insert(key.clone(), who.credential());
        }
        let lingering = self.lingering.entry(key);
        let lingering = lingering.or_insert_with(|| Lingering { rooms: BTreeSet::new(), until });
        lingering.rooms.extend(who.wants.iter().cloned());
        lingering.until = until;
    }

    pub(super) fn revoke(&mut self, what: &Revoke) {
        let ended = self.known.iter().filter(|(key, ids)| key.is_revoked(what, ids));
        let ended: Vec<_> = ended.map(|(key, _)| key.clone()).collect();
        ended.iter().for_each(|key| self.end(key));
    }

    pub(super) fn order(&mut self, order: &Order) {
        let (whom, room) = match order {
            Order::Kick { room, whom } => (whom.clone(), Some(room)),
            Order::Ban { user, room, .. } => (Whom::User(user.clone()), room.as_ref()),
            Order::Close { whom, code } if !code.advice().reconnect() => (whom.clone(), None),
            Order::Close { .. } | Order::Unban { .. } => return,
        };
        match room {
            Some(room) => {
                let lingering = self.lingering.iter_mut().filter(|(key, _)| key.is_of(&whom));
                lingering.for_each(|(_, lingering)| _ = lingering.rooms.remove(room));
            }
            None => {
                self.known.retain(|key, _| !key.is_of(&whom));
                self.lingering.retain(|key, _| !key.is_of(&whom));
            }
        }
    }

    /// Returns the sessions without a connection that a room may show.
    pub(super) fn lingering_in<'a>(
        &'a self,
        room: &'a RoomName,
        now: Mono,
    ) -> impl Iterator<Item = SessionKey> + 'a {
        let lingering = self.lingering.iter().filter(move |(_, l)| l.until > now);
        lingering.filter(|(_, l)| l.rooms.contains(room)).map(|(key, _)| key.clone())
    }
}

/// What the Hub has to do because of an event.
#[derive(Debug)]
pub(super) enum Expected {
    /// It asks the authority.
    Question { conn: ConnId, credentials: chat_proto::Token, about: About },
    /// It refuses a request, and closes the connection if it has to.
    Refusal { conn: ConnId, refusal: Refusal },
    /// It lets somebody in.
    Admission { conn: ConnId, grant: Box<Grant>, about: About },
    /// It takes a fresh grant.
    Renewal { conn: ConnId, grant: Box<Grant>, id: Option<RequestId> },
}

/// How a request is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The authority has answered, or is given up.
    pub(super) is_answer: bool,
    /// The id of the request and the code; a `basic` connection is told nothing.
    pub(super) error: Option<Error>,
    pub(super) closes: Option<chat_state::CloseReason>,
}

/// An error frame.
#[derive(Debug)]
pub(super) struct Error {
    pub(super) id: Option<RequestId>,
    pub(super) code: ErrorCode,
}
