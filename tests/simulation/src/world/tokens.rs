//! The authority of a world: it issues credentials and says whose they are.
use std::collections::VecDeque;

use chat_proto::{DisplayName, Timestamp, Token as Credentials, UserId};
use chat_state::{AuthError, Event, Grant, KeyId, Revoke, RoomRights, Token, TokenId};

/// How the authority behaves towards the next questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthorityMood {
    /// Answers at once.
    #[default]
    Prompt,
    /// Does nothing yet; what is asked waits for [`Tokens::answer`].
    Holds,
    /// Says that it can't tell.
    Unavailable,
}

/// What a credential is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rooms {
    /// All rooms.
    Any,
    /// `lobby` and `den`.
    Two,
    /// `lobby`.
    Lobby,
}

impl Rooms {
    fn rights(self) -> RoomRights {
        let patterns: &[&str] = match self {
            Self::Any => return RoomRights::Any,
            Self::Two => &["lobby", "de*"],
            Self::Lobby => &["lobby"],
        };
        RoomRights::matching(patterns.iter().copied()).expect("patterns")
    }
}

/// What a credential says.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Whose it is.
    pub user: UserId,
    /// What the user is called.
    pub name: DisplayName,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// Which rooms it allows.
    pub rooms: Rooms,
}

#[derive(Debug)]
struct Issued {
    grant: Grant,
    is_revoked: bool,
}

/// A question that waits.
#[derive(Debug)]
struct Question {
    hub: usize,
    token: Token,
    credentials: Credentials,
}

/// All credentials, and the questions about them.
#[derive(Debug, Default)]
pub struct Tokens {
    /// How the authority behaves.
    pub mood: AuthorityMood,
    issued: Vec<Issued>,
    waiting: VecDeque<Question>,
}

impl Tokens {
    /// Issues a credential.
    ///
    /// # Panics
    /// Never: a number is a token id.
    pub fn issue(&mut self, terms: Terms) -> Credentials {
        let number = self.issued.len();
        let text = format!("t{number}");
        let grant = Grant {
            name: Some(terms.name),
            token_id: TokenId::new(&text),
            key: Some(KeyId([u8::from(number.is_multiple_of(4)); 16])),
            expires: terms.expires,
            rooms: terms.rooms.rights(),
            ..Grant::new(terms.user)
        };
        self.issued.push(Issued { grant, is_revoked: false });
        Credentials(text.into())
    }

    /// Refuses what a revocation covers from now on. A credential that is issued later counts.
    pub fn revoke(&mut self, what: &Revoke) {
        for Issued { grant, is_revoked } in &mut self.issued {
            *is_revoked |= match what {
                Revoke::User(user) => grant.user == *user,
                Revoke::Token(token) => grant.token_id.as_ref() == Some(token),
                Revoke::Key(key) => grant.key == Some(*key),
                Revoke::Session(_) => false,
            };
        }
    }

    /// Returns the grant of a credential, whether it still counts or not.
    #[must_use]
    pub fn grant(&self, credentials: &Credentials) -> Option<&Grant> {
        let number: usize = credentials.0.strip_prefix('t')?.parse().ok()?;
        self.issued.get(number).map(|issued| &issued.grant)
    }

    /// Returns when the last credential ends of those that do.
    #[must_use]
    pub fn last_end(&self) -> Option<Timestamp> {
        self.issued.iter().filter_map(|issued| issued.grant.expires).max()
    }

    /// Takes a question of a Hub; what can be answered at once is.
    pub(super) fn ask(
        &mut self,
        hub: usize,
        token: Token,
        credentials: Credentials,
        now: Timestamp,
    ) -> Option<Event> {
        match self.mood {
            AuthorityMood::Prompt => {
                let result = self.check(&credentials, now).map(Box::new);
                Some(Event::Authenticated { token, result })
            }
            AuthorityMood::Unavailable => {
                Some(Event::Authenticated { token, result: Err(AuthError::Unavailable) })
            }
            AuthorityMood::Holds => {
                self.waiting.push_back(Question { hub, token, credentials });
                None
            }
        }
    }

    /// Answers one of the questions that wait.
    pub fn answer(&mut self, n: usize, now: Timestamp) -> Option<(usize, Event)> {
        let Question { hub, token, credentials } =
            self.waiting.remove(n.checked_rem(self.waiting.len())?)?;
        let result = self.check(&credentials, now).map(Box::new);
        Some((hub, Event::Authenticated { token, result }))
    }

    /// Tells whose a credential is. Some authorities leave it to the Hub to see that it has ended.
    ///
    /// # Errors
    /// If it does not count.
    pub fn check(&self, credentials: &Credentials, now: Timestamp) -> Result<Grant, AuthError> {
        let grant = self.grant(credentials).ok_or(AuthError::Invalid)?;
        let mut issued = self.issued.iter().filter(|issued| issued.grant == *grant);
        if issued.next().is_none_or(|issued| issued.is_revoked) {
            return Err(AuthError::Invalid);
        }
        let has_ended = grant.expires.is_some_and(|end| end <= now);
        let looks = grant.key == Some(KeyId([0; 16]));
        if has_ended && looks { Err(AuthError::Expired) } else { Ok(grant.clone()) }
    }
}
