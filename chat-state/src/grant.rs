//! Who somebody is and what that allows, as an authority outside of the Hub says.
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use chat_proto::{DisplayName, NameError, RoomName, SessionId, Timestamp, UserId};

/// Patterns of one grant: each is tried at each join.
pub const ROOM_PATTERNS_MAX: usize = 64;

/// Roles of one grant.
pub const ROLES_MAX: usize = 32;

/// Bytes of a token id.
pub const TOKEN_ID_BYTES_MAX: usize = 128;

/// An identity that was checked: what a credential says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who it is.
    pub user: UserId,
    /// What the user is called; `None`: the user chooses, or else bears the user id.
    pub name: Option<DisplayName>,
    /// The credential's own name, by which it can be revoked.
    pub token_id: Option<TokenId>,
    /// The key that has proved the credential: it counts no longer than that one does.
    pub key: Option<KeyId>,
    /// When the credential was made, if it says so. The Hub does not ask; whoever keeps what was
    /// revoked does.
    pub issued: Option<Timestamp>,
    /// When the credential ends; `None`: it does not.
    pub expires: Option<Timestamp>,
    /// Which rooms it allows.
    pub rooms: RoomRights,
    /// What else it says of the user: at most [`ROLES_MAX`]. They are kept; no rule of the Hub asks
    /// for them yet.
    pub roles: Vec<String>,
    /// Messages that the session may send in 10 s, in place of the limit of that name; 0: no
    /// limit.
    pub messages_per_10s: Option<u32>,
}

impl Grant {
    /// Makes a grant of everything, without an end.
    #[must_use]
    pub fn new(user: UserId) -> Self {
        Self {
            user,
            name: None,
            token_id: None,
            key: None,
            issued: None,
            expires: None,
            rooms: RoomRights::Any,
            roles: Vec::new(),
            messages_per_10s: None,
        }
    }
}

/// Why a credential is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// It is none, or not one for here, or it was revoked.
    Invalid,
    /// It counts no more.
    Expired,
    /// It can't be checked at the moment: it may be right.
    Unavailable,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "the credential is not taken here",
            Self::Expired => "the credential has expired",
            Self::Unavailable => "the credential can't be checked at the moment",
        })
    }
}

impl core::error::Error for AuthError {}

/// A credential's own name: 1 to 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(Arc<str>);

impl TokenId {
    /// Makes one; `None` if it is empty or longer than [`TOKEN_ID_BYTES_MAX`].
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (1..=TOKEN_ID_BYTES_MAX).contains(&text.len()).then(|| Self(text.into()))
    }

    /// Returns it as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a key is known by: whoever checks credentials chooses it. It is never printed, since it may
/// be made of a secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyId")
    }
}

/// What is to count no more, from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// All sessions of a user.
    User(UserId),
    /// One session, by its secret name.
    Session(SessionId),
    /// All sessions whose present credential this is.
    Token(TokenId),
    /// All sessions whose present credential this key has proved.
    Key(KeyId),
}

impl Revoke {
    /// Returns true if this revokes a session.
    pub(crate) fn covers(
        &self,
        user: &UserId,
        session: &SessionId,
        credential: &CredentialIds,
    ) -> bool {
        match self {
            Self::User(revoked) => user == revoked,
            Self::Session(revoked) => session == revoked,
            Self::Token(revoked) => credential.token.as_ref() == Some(revoked),
            Self::Key(revoked) => credential.key == Some(*revoked),
        }
    }
}

/// The ids by which a credential can be revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CredentialIds {
    pub(crate) token: Option<TokenId>,
    pub(crate) key: Option<KeyId>,
}

/// Which rooms a grant allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomRights {
    /// All of them.
    Any,
    /// Those that one of these matches: at most [`ROOM_PATTERNS_MAX`].
    Matching(Arc<[RoomPattern]>),
}

impl RoomRights {
    /// Allows the rooms that one of the patterns matches.
    ///
    /// # Errors
    /// Names the pattern that is none, or says that there are too many.
    pub fn matching<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, RightsError> {
        let mut patterns = Vec::new();
        for text in texts {
            if patterns.len() == ROOM_PATTERNS_MAX {
                return Err(RightsError::TooMany);
            }
            patterns.push(RoomPattern::new(text).map_err(RightsError::Pattern)?);
        }
        Ok(Self::Matching(patterns.into()))
    }

    /// Returns true if the room is allowed. It is asked only for rooms that sessions join by grant.
    #[must_use]
    pub fn allow(&self, room: &RoomName) -> bool {
        match self {
            Self::Any => true,
            Self::Matching(patterns) => patterns.iter().any(|pattern| pattern.matches(room)),
        }
    }
}

/// Why there are no room rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RightsError {
    /// More patterns than [`ROOM_PATTERNS_MAX`].
    TooMany,
    /// A pattern is none.
    Pattern(NameError),
}

impl fmt::Display for RightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "more than {ROOM_PATTERNS_MAX} patterns of rooms"),
            Self::Pattern(error) => write!(f, "a pattern of rooms is refused: {error}"),
        }
    }
}

impl core::error::Error for RightsError {}

/// A room's name in which `*` stands for any text, also for none. Case does not matter, as in
/// names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomPattern(RoomName);

impl RoomPattern {
    /// Makes one.
    ///
    /// # Errors
    /// A pattern has the grammar of a room's name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        RoomName::new(text).map(Self)
    }

    /// Returns it as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Tells whether a room's name is of this form. It takes at most as many steps as the product
    /// of both lengths.
    #[must_use]
    pub fn matches(&self, room: &RoomName) -> bool {
        let (pattern, text) = (self.0.folded().as_bytes(), room.folded().as_bytes());
        let (mut p, mut t) = (0, 0);
        // The last `*`, and how far it reaches: only that one has to be tried longer.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(byte) if *byte == text[t] => (p, t) = (p + 1, t + 1),
                Some(_) | None => {
                    let Some((at, reach)) = star else { return false };
                    star = Some((at, reach + 1));
                    (p, t) = (at + 1, reach + 1);
                }
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    fn matches(pattern: &str, room: &str) -> bool {
        RoomPattern::new(pattern).unwrap().matches(&RoomName::new(room).unwrap())
    }

    #[test]
    fn a_star_is_any_text() {
        for (pattern, room) in [
            ("lobby", "Lobby"),
            ("Team-*", "team-a"),
            ("team-*", "TEAM-"),
            ("*", "anything"),
            ("*-public", "a-public"),
            ("a*b*c", "aXbXbc"),
            ("a**b", "ab"),
            ("stra\u{df}e*", "Stra\u{df}e 1"),
        ] {
            assert!(matches(pattern, room), "{pattern} {room}");
        }
        for (pattern, room) in [
            ("lobby", "lobby2"),
            ("lobby", "my lobby"),
            ("team-*", "team"),
            ("team-*", "my team-a"),
            ("*-public", "a-public-not"),
            ("a*b*c", "acb"),
        ] {
            assert!(!matches(pattern, room), "{pattern} {room}");
        }
    }

    #[test]
    fn patterns_are_bounded() {
        let names: Vec<_> = (0..=ROOM_PATTERNS_MAX).map(|n| n.to_string()).collect();
        let names = || names.iter().map(String::as_str);
        assert!(RoomRights::matching(names().skip(1)).is_ok());
        assert_eq!(RoomRights::matching(names()), Err(RightsError::TooMany));
        assert!(RoomRights::matching([""]).is_err() && RoomRights::matching(["@x"]).is_err());
        let none = RoomRights::matching([]).unwrap();
        assert!(!none.allow(&RoomName::new("lobby").unwrap()), "no pattern allows no room");
        assert!(TokenId::new("").is_none() && TokenId::new(&"x".repeat(129)).is_none());
    }

    /// The plain definition, in exponential time.
    fn plainly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                plainly(rest, text) || !text.is_empty() && plainly(pattern, &text[1..])
            }
            (Some((a, pattern)), Some((b, text))) => a == b && plainly(pattern, text),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn it_is_what_the_plain_definition_says(pattern in "[ab*]{1,8}", room in "[ab]{1,8}") {
            prop_assert_eq!(
                matches(&pattern, &room),
                plainly(pattern.as_bytes(), room.as_bytes())
            );
        }
    }
}
