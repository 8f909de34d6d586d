//! Names: what a user, a room, a session, a request and a send may be called.
use alloc::string::String;
use alloc::sync::Arc;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use precis_core::profile::PrecisFastInvocation;
use precis_profiles::Nickname;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use unicode_normalization::char::is_combining_mark;

use crate::text::Text;

/// Bytes of a room's or a display name: it must fit a log line beside the rest of it.
pub const NAME_BYTES_MAX: usize = 64;

/// What the names of inboxes begin with, and those of other rooms do not.
const INBOX_PREFIX: &str = "@";

/// Combining marks in a row: real scripts need up to three, "Zalgo" text many.
const COMBINING_MARKS_MAX: usize = 4;

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing is left of it once spaces at its ends are gone.
    Empty,
    /// More bytes than allowed.
    TooLong {
        /// The limit in bytes.
        max: usize,
    },
    /// It begins with `@` or `~`, which are reserved.
    ReservedPrefix,
    /// It begins with `@`, as inboxes do, and no user id follows.
    NotAnInbox,
    /// It has a character that its kind of name does not allow.
    Forbidden,
    /// More than four combining marks in a row.
    CombiningMarks,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong { max } => write!(f, "it is longer than {max} bytes"),
            Self::ReservedPrefix => f.write_str("it begins with '@' or '~', which are reserved"),
            Self::NotAnInbox => f.write_str("it begins with '@', and no user id follows"),
            Self::Forbidden => f.write_str("it has a character that is not allowed"),
            Self::CombiningMarks => f.write_str("it has too many combining marks in a row"),
        }
    }
}

impl core::error::Error for NameError {}

/// A user's identity: `[a-z0-9][a-z0-9._-]{0,63}`, ASCII, so that it can't be imitated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Makes a user id.
    ///
    /// # Errors
    /// Says why when the text does not fit the grammar.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check_length(text, 64)?;
        let first = text.as_bytes().first().copied().unwrap_or_default();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if !plain(first) || !text.bytes().all(|b| plain(b) || b"._-".contains(&b)) {
            return Err(NameError::Forbidden);
        }
        Ok(Self(text.into()))
    }
}

/// What a user is called: a label under the Nickname profile of
/// [RFC 8266](https://www.rfc-editor.org/rfc/rfc8266), 1 to 64 bytes. Two users may bear the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DisplayName(Arc<str>);

impl DisplayName {
    /// Makes a display name; spaces are trimmed and the text is normalized.
    ///
    /// # Errors
    /// Says why when the text is no nickname, too long, or begins with a reserved character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        nickname(text).map(Self)
    }
}

/// A room's name: a Nickname ([RFC 8266](https://www.rfc-editor.org/rfc/rfc8266)) of 1 to 64
/// bytes. It keeps its spelling; it is compared, ordered and hashed case-folded.
///
/// Two kinds of rooms have names that no such room can have: [inboxes](RoomName::inbox) of users
/// begin with `@`, and [rooms of the server's own](RoomName::reserved) with `~`.
#[derive(Clone, Debug)]
pub struct RoomName {
    spelled: Arc<str>,
    folded: Arc<str>,
}

impl RoomName {
    /// Makes the name of a room for everybody; spaces are trimmed and the text is normalized.
    ///
    /// # Errors
    /// Says why when the text is no nickname, too long, or begins with a reserved character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let spelled = nickname(text)?;
        if spelled.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
            return Ok(Self { folded: spelled.clone(), spelled });
        }
        let folded = nickname(&spelled.to_lowercase())?;
        Ok(Self { spelled, folded })
    }

    /// Makes the name of a user's inbox: `@` and the user id, so 2 to 65 bytes.
    #[must_use]
    pub fn inbox(user: &UserId) -> Self {
        let spelled: Arc<str> = [INBOX_PREFIX, user.as_str()].concat().into();
        Self { folded: spelled.clone(), spelled }
    }

    /// Reads a name that a `chat.v1` frame may have: that of a room for everybody, or of an inbox.
    ///
    /// # Errors
    /// Says why when the text is neither.
    pub fn from_wire(text: &str) -> Result<Self, NameError> {
        let Some(user) = text.strip_prefix(INBOX_PREFIX) else { return Self::new(text) };
        UserId::new(user).map(|user| Self::inbox(&user)).map_err(|_| NameError::NotAnInbox)
    }

    /// Makes the name of a room that a server keeps for itself: `~` and 1 to 63 of `[a-z0-9-]`.
    /// Clients can't name it.
    ///
    /// # Errors
    /// Says why when the text does not fit the grammar.
    pub fn reserved(text: &str) -> Result<Self, NameError> {
        check_length(text, NAME_BYTES_MAX)?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        match text.strip_prefix('~') {
            Some("") => Err(NameError::Empty),
            Some(rest) if rest.bytes().all(plain) => {
                let spelled: Arc<str> = text.into();
                Ok(Self { folded: spelled.clone(), spelled })
            }
            Some(_) | None => Err(NameError::Forbidden),
        }
    }

    /// Returns the name as it was first spelled.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.spelled
    }

    /// Returns the form that names are compared by.
    #[must_use]
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// Tells whether the room is a user's inbox.
    #[must_use]
    pub fn is_inbox(&self) -> bool {
        self.owner().is_some()
    }

    /// Returns the id of the user whose inbox the room is; `None` if it is no inbox.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.folded.strip_prefix(INBOX_PREFIX)
    }
}

impl PartialEq for RoomName {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}
impl Eq for RoomName {}
impl PartialOrd for RoomName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for RoomName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}
impl Hash for RoomName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}
impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelled)
    }
}
impl Serialize for RoomName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.spelled)
    }
}
impl<'de> Deserialize<'de> for RoomName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_wire(Text::deserialize(deserializer)?.as_str()).map_err(de::Error::custom)
    }
}

/// A session's secret name: who knows it may resume the session. 1 to 64 of `[A-Za-z0-9_-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Makes a session id. Whoever makes one for a server takes at least 128 random bits.
    ///
    /// # Errors
    /// Says why when the text does not fit the grammar.
    pub fn new(text: &str) -> Result<Self, NameError> {
        token(text, 64).map(Self)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// A client's name for one of its requests: 1 to 64 bytes, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Makes a request id.
    ///
    /// # Errors
    /// Says why when the text is empty, too long or has a control character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        visible(text).map(Self)
    }
}

/// A client's idempotency key of a send: 1 to 64 bytes, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Makes a key.
    ///
    /// # Errors
    /// Says why when the text is empty, too long or has a control character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        visible(text).map(Self)
    }
}

/// What the string-like names have in common.
macro_rules! string_name {
    ($($name:ident),+) => {$(
        impl $name {
            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl core::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(Text::deserialize(deserializer)?.as_str()).map_err(de::Error::custom)
            }
        }
    )+};
}
string_name!(UserId, DisplayName, SessionId, RequestId, Key);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `1*max( ALPHA / DIGIT / "-" / "_" )`.
pub(crate) fn token(text: &str, max: usize) -> Result<Arc<str>, NameError> {
    check_length(text, max)?;
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(NameError::Forbidden);
    }
    Ok(text.into())
}

fn visible(text: &str) -> Result<Arc<str>, NameError> {
    check_length(text, 64)?;
    if text.chars().any(char::is_control) {
        return Err(NameError::Forbidden);
    }
    Ok(text.into())
}

fn check_length(text: &str, max: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        n if n > max => Err(NameError::TooLong { max }),
        _ => Ok(()),
    }
}

/// Enforces the Nickname profile and what we ask beyond it.
fn nickname(text: &str) -> Result<Arc<str>, NameError> {
    // The profile would also refuse these, but only after work that grows with the text.
    if text.len() > 4 * NAME_BYTES_MAX {
        return Err(NameError::TooLong { max: NAME_BYTES_MAX });
    }
    let plain = |b: u8| b.is_ascii_graphic();
    let name: Arc<str> = if text.bytes().all(plain) {
        text.into()
    } else if text.trim().is_empty() {
        return Err(NameError::Empty);
    } else {
        let enforced = Nickname::enforce(text).map_err(|_| NameError::Forbidden)?;
        String::from(enforced).into()
    };
    check_length(&name, NAME_BYTES_MAX)?;
    if name.starts_with(['@', '~']) {
        return Err(NameError::ReservedPrefix);
    }
    if name.chars().any(is_bidi_control) {
        return Err(NameError::Forbidden);
    }
    let mut marks = 0;
    for c in name.chars() {
        marks = if is_combining_mark(c) { marks + 1 } else { 0 };
        if marks > COMBINING_MARKS_MAX {
            return Err(NameError::CombiningMarks);
        }
    }
    Ok(name)
}

/// The `Bidi_Control` property of Unicode ([UAX #9 §2](https://www.unicode.org/reports/tr9/)).
const fn is_bidi_control(c: char) -> bool {
    let mark = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}');
    mark || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::string::ToString;

    #[test]
    fn a_room_keeps_its_spelling_and_compares_folded() {
        let a = RoomName::new("  Straße  Café ").unwrap();
        assert_eq!(a.as_str(), "Straße Café");
        assert_eq!(a, RoomName::new("STRAßE CAFÉ").unwrap());
        assert_ne!(a, RoomName::new("Strasse Café").unwrap());
        assert_eq!(RoomName::new("ＬＯＢＢＹ").unwrap(), RoomName::new("lobby").unwrap());
    }

    #[test]
    fn a_reserved_room_is_one_that_clients_cannot_name() {
        let room = RoomName::reserved("~health-1").unwrap();
        assert_eq!((room.as_str(), room.folded()), ("~health-1", "~health-1"));
        assert_eq!(RoomName::new("~health-1"), Err(NameError::ReservedPrefix));
        assert_eq!(RoomName::reserved("~"), Err(NameError::Empty));
        for text in ["health", "@health", "~Health", "~a b", "~é", "~\n"] {
            assert_eq!(RoomName::reserved(text), Err(NameError::Forbidden), "{text:?}");
        }
    }

    #[test]
    fn an_inbox_is_named_by_its_user_and_by_no_other_spelling() {
        let longest = "z".repeat(64);
        for id in ["ada", "0", "guest-7f.x", &longest] {
            let inbox = RoomName::inbox(&UserId::new(id).unwrap());
            assert_eq!(inbox.as_str(), format!("@{id}"));
            assert_eq!((inbox.folded(), inbox.owner()), (inbox.as_str(), Some(id)));
            assert_eq!(RoomName::from_wire(inbox.as_str()), Ok(inbox.clone()));
            assert!(RoomName::new(inbox.as_str()).is_err());
        }
        for text in ["@", "@Ada", "@ada ", "@@ada", "@-a", "@a b", "@é", &format!("@{longest}z")] {
            assert_eq!(RoomName::from_wire(text), Err(NameError::NotAnInbox), "{text:?}");
        }
        for text in [" @ada", "＠ada", "~ada"] {
            assert_eq!(RoomName::from_wire(text), Err(NameError::ReservedPrefix), "{text:?}");
        }
        let lobby = RoomName::from_wire(" Lobby").unwrap();
        assert_eq!((lobby.as_str(), lobby.is_inbox()), ("Lobby", false));
        assert!(!RoomName::reserved("~health").unwrap().is_inbox());
    }

    #[test]
    fn what_could_deceive_is_refused() {
        for (text, why) in [
            ("", NameError::Empty),
            ("  ", NameError::Empty),
            ("\u{3000}\u{a0}", NameError::Empty),
            ("@ada", NameError::ReservedPrefix),
            (" ~ada", NameError::ReservedPrefix),
            ("＠ada", NameError::ReservedPrefix),
            ("a\u{202e}b", NameError::Forbidden),
            ("a\u{200f}b", NameError::Forbidden),
            ("a\nb", NameError::Forbidden),
            ("a\0b", NameError::Forbidden),
            ("a\u{200b}b", NameError::Forbidden),
            ("e\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}", NameError::CombiningMarks),
        ] {
            assert_eq!(DisplayName::new(text), Err(why), "{text:?}");
        }
        assert_eq!(DisplayName::new(&"x".repeat(65)), Err(NameError::TooLong { max: 64 }));
        assert!(DisplayName::new(&"x".repeat(64)).is_ok());
        // 'İ' grows when it is folded: both forms must fit.
        assert!(RoomName::new(&"İ".repeat(32)).is_err());
    }

    #[test]
    fn user_ids_are_plain_ascii() {
        for good in ["a", "0", "u_ada", "guest-7f.x"] {
            assert_eq!(UserId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "_a", "A", "ä", "a b", "a/b", &"a".repeat(65)] {
            assert!(UserId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_session_id_is_not_printed() {
        let id = SessionId::new("secret").unwrap();
        assert!(!format!("{id:?}").contains("secret"));
    }

    proptest! {
        #[test]
        fn enforcing_twice_changes_nothing(text in "\\PC{0,40}") {
            if let Ok(name) = RoomName::new(&text) {
                let again = RoomName::new(name.as_str()).unwrap();
                prop_assert_eq!(again.as_str(), name.as_str());
                prop_assert_eq!(again.folded(), name.folded());
                let folded = RoomName::new(name.folded()).unwrap();
                prop_assert_eq!(folded.folded(), name.folded());
                prop_assert!(name.as_str().len() <= NAME_BYTES_MAX);
            }
        }

        #[test]
        fn no_name_panics(text in proptest::collection::vec(any::<char>(), 0..80)) {
            let text: String = text.into_iter().collect();
            let _ = (RoomName::new(&text), UserId::new(&text), Key::new(&text.to_string()));
        }
    }
}
