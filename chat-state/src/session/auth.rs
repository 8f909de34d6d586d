//! The authentication of a connection.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use chat_proto::{BasicRequest, DisplayName, RequestId, Resume, RoomName, Token as Credentials};

use crate::grant::{CredentialIds, Grant};
use crate::ids::{Mono, Token};

/// The authentication of a connection, on a server that requires it.
#[derive(Debug)]
pub(crate) struct Auth {
    /// The credentials of the handshake, until they are used.
    pub(crate) credentials: Option<Credentials>,
    /// The question to the authority, one at a time, and what waits for its answer.
    pub(crate) asked: Option<(Token, Waiting)>,
    pub(crate) granted: Option<Granted>,
}

/// What the authority granted, and when that ends.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) grant: Grant,
    pub(crate) ends: Option<Mono>,
    /// When the client has to be warned of the end; `None` once it is.
    pub(crate) warn_at: Option<Mono>,
}

/// What is done once the authority has answered.
#[derive(Debug)]
pub(crate) enum Waiting {
    Hello(Hello),
    /// The first frame of a `basic` connection; further ones are not read.
    Basic(BasicRequest),
    Renew(Option<RequestId>),
}

/// What a `hello` says.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) id: Option<RequestId>,
    pub(crate) features: Vec<String>,
    pub(crate) name: Option<DisplayName>,
    pub(crate) resume: Option<Box<Resume>>,
}

impl Auth {
    pub(crate) fn wanted(credentials: Option<Credentials>) -> Box<Self> {
        Box::new(Self { credentials, asked: None, granted: None })
    }

    /// Returns true if the grant allows a room.
    #[inline(never)]
    pub(crate) fn allows(&self, room: &RoomName) -> bool {
        self.grant().is_some_and(|grant| grant.rooms.allow(room))
    }

    /// Returns the ids by which the present credential can be revoked.
    pub(crate) fn credential_ids(&self) -> CredentialIds {
        let grant = self.grant();
        let token = grant.and_then(|grant| grant.token_id.clone());
        CredentialIds { token, key: grant.and_then(|grant| grant.key) }
    }

    /// Returns the session's own budget, which replaces the limit `messages_per_10s`.
    #[inline]
    pub(crate) fn messages_per_10s(&self) -> Option<u32> {
        self.grant()?.messages_per_10s
    }

    /// Returns true if the grant has ended.
    #[inline]
    pub(crate) fn has_ended(&self, now: Mono) -> bool {
        self.granted.as_ref().and_then(|granted| granted.ends).is_some_and(|ends| ends <= now)
    }

    pub(crate) fn grant(&self) -> Option<&Grant> {
        self.granted.as_ref().map(|granted| &granted.grant)
    }
}
