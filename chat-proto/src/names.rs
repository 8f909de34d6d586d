//! Names of users, sessions, requests and sends. The names of rooms build on them.
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use precis_core::profile::PrecisFastInvocation;
use precis_profiles::Nickname;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use unicode_normalization::char::is_combining_mark;

use crate::room_kind::RoomKind;
use crate::text::Text;

/// Bytes of a room's name or a display name. Such a name fits a log line beside other text.
pub const NAME_BYTES_MAX: usize = 64;

/// Combining marks in a row: real scripts need up to three, "Zalgo" text many.
const COMBINING_MARKS_MAX: usize = 4;

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It has no characters but spaces.
    Empty,
    /// More bytes than allowed.
    TooLong {
        /// The limit in bytes.
        max: usize,
    },
    /// It begins with `@` or `~`, which are reserved.
    ReservedPrefix,
    /// It begins with `@`, as the names of users' own rooms do, and no user id follows.
    NotAnInbox,
    /// It has a character that such names do not allow.
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

/// A user's identity: `[a-z0-9][a-z0-9._-]{0,63}`. It is ASCII so that no other id looks the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Makes a user id.
    ///
    /// # Errors
    /// If the text does not fit the grammar.
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

/// A user's label under the Nickname profile of
/// [RFC 8266](https://www.rfc-editor.org/rfc/rfc8266), 1 to 64 bytes. Two users may have the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DisplayName(Arc<str>);

impl DisplayName {
    /// Makes a display name; spaces are trimmed and the text is normalized.
    ///
    /// # Errors
    /// If the text is no nickname, is too long, or begins with a reserved character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        nickname(text).map(Self)
    }
}

/// A session's secret id, which is the right to resume the session: 1 to 64 of `[A-Za-z0-9_-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Makes a session id. A server must take at least 128 random bits for it.
    ///
    /// # Errors
    /// If the text does not fit the grammar.
    pub fn new(text: &str) -> Result<Self, NameError> {
        token(text, 64).map(Self)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// A client's id of one of its requests: 1 to 64 bytes, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Makes a request id.
    ///
    /// # Errors
    /// If the text is empty, is too long or has a control character.
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
    /// If the text is empty, is too long or has a control character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        visible(text).map(Self)
    }
}

/// Implements what the names that are plain strings have in common.
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

pub(crate) fn check_length(text: &str, max: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        n if n > max => Err(NameError::TooLong { max }),
        _ => Ok(()),
    }
}

/// Enforces the Nickname profile, the length, and the rules against deceptive names.
pub(crate) fn nickname(text: &str) -> Result<Arc<str>, NameError> {
    // Refuse long texts before the profile does work that grows with the text.
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
    if RoomKind::of(&name) != RoomKind::Public {
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

    #[test]
    fn deceptive_names_are_refused() {
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
        fn no_text_makes_a_name_panic(text in proptest::collection::vec(any::<char>(), 0..80)) {
            let text: String = text.into_iter().collect();
            let _ = (DisplayName::new(&text), UserId::new(&text), Key::new(&text));
        }
    }
}
