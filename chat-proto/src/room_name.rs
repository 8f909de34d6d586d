//! The names of rooms.
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::names::{NAME_BYTES_MAX, NameError, UserId, check_length, nickname};
use crate::room_kind::RoomKind;
use crate::text::Text;

/// A room's name. It keeps its spelling; it is compared, ordered and hashed case-folded.
///
/// The name of a public room is a Nickname ([RFC 8266](https://www.rfc-editor.org/rfc/rfc8266)) of
/// 1 to 64 bytes that begins with no [prefix](RoomKind::prefix) of another kind.
#[derive(Clone)]
pub struct RoomName {
    /// The name as it was spelled, and behind it the folded form if that differs: in one piece,
    /// since a name is copied with every message.
    text: Arc<str>,
    /// Bytes of the spelling.
    spelled: u8,
    kind: RoomKind,
}

impl RoomName {
    /// Makes the name of a public room; spaces are trimmed and the text is normalized.
    ///
    /// # Errors
    /// If the text is no nickname, is too long, or begins with a reserved character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let spelled = nickname(text)?;
        let kind = RoomKind::Public;
        if spelled.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
            return Ok(Self::folded_already(spelled, kind));
        }
        let folded = nickname(&spelled.to_lowercase())?;
        if folded == spelled {
            return Ok(Self::folded_already(spelled, kind));
        }
        let text = format!("{spelled}{folded}").into();
        Ok(Self { text, spelled: short_len(&spelled), kind })
    }

    /// Makes a name whose spelling is its folded form.
    fn folded_already(text: Arc<str>, kind: RoomKind) -> Self {
        Self { spelled: short_len(&text), text, kind }
    }

    /// Makes the name of a user's own room: `@` and the user id, so 2 to 65 bytes.
    #[must_use]
    pub fn own(user: &UserId) -> Self {
        Self::prefixed(RoomKind::Own, user.as_str())
    }

    /// Makes the name of a room that the server keeps for itself: `~` and 1 to 63 of `[a-z0-9-]`.
    /// Only the server uses it: no frame of a client can hold such a name.
    ///
    /// # Errors
    /// If the text does not fit the grammar.
    pub fn server(text: &str) -> Result<Self, NameError> {
        check_length(text, NAME_BYTES_MAX)?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        match text.strip_prefix('~') {
            Some("") => Err(NameError::Empty),
            Some(word) if word.bytes().all(plain) => Ok(Self::prefixed(RoomKind::Server, word)),
            Some(_) | None => Err(NameError::Forbidden),
        }
    }

    /// Makes a name of a kind with a prefix. Its spelling is its folded form.
    fn prefixed(kind: RoomKind, rest: &str) -> Self {
        let mut name = String::from(kind.prefix().expect("only kinds with a prefix come here"));
        name.push_str(rest);
        Self::folded_already(name.into(), kind)
    }

    /// Reads a name that a `chat.v1` frame may hold: that of a public room or of a user's own room.
    ///
    /// # Errors
    /// If the text is neither.
    pub fn from_wire(text: &str) -> Result<Self, NameError> {
        match RoomKind::of(text) {
            RoomKind::Public => Self::new(text),
            RoomKind::Own => {
                let user = UserId::new(&text[1..]).map_err(|_| NameError::NotAnInbox)?;
                Ok(Self::own(&user))
            }
            RoomKind::Server => Err(NameError::ReservedPrefix),
        }
    }

    /// Returns the name as it was first spelled.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text[..usize::from(self.spelled)]
    }

    /// Returns the form that names are compared by.
    #[must_use]
    pub fn folded(&self) -> &str {
        let spelled = usize::from(self.spelled);
        if spelled == self.text.len() { &self.text } else { &self.text[spelled..] }
    }

    /// Returns the kind of the room.
    #[must_use]
    pub const fn kind(&self) -> RoomKind {
        self.kind
    }

    /// Returns the id of the user whose own room this is; `None` for rooms of other kinds.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        match self.kind {
            RoomKind::Own => self.folded().strip_prefix('@'),
            RoomKind::Public | RoomKind::Server => None,
        }
    }
}

/// Returns the length of a name, which is at most [`NAME_BYTES_MAX`] and a prefix.
fn short_len(name: &str) -> u8 {
    u8::try_from(name.len()).expect("names are short")
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RoomName").field(&self.as_str()).finish()
    }
}
impl PartialEq for RoomName {
    fn eq(&self, other: &Self) -> bool {
        self.folded() == other.folded()
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
        self.folded().cmp(other.folded())
    }
}
impl Hash for RoomName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}
impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl Serialize for RoomName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for RoomName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_wire(Text::deserialize(deserializer)?.as_str()).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;

    #[test]
    fn a_room_keeps_its_spelling_and_compares_folded() {
        let a = RoomName::new("  Straße  Café ").unwrap();
        assert_eq!(a.as_str(), "Straße Café");
        assert_eq!(a, RoomName::new("STRAßE CAFÉ").unwrap());
        assert_ne!(a, RoomName::new("Strasse Café").unwrap());
        assert_eq!(RoomName::new("ＬＯＢＢＹ").unwrap(), RoomName::new("lobby").unwrap());
        // 'İ' grows when it is folded: both forms must fit.
        assert!(RoomName::new(&"İ".repeat(32)).is_err());
    }

    #[test]
    fn clients_cannot_name_a_room_of_the_server() {
        let room = RoomName::server("~health-1").unwrap();
        assert_eq!((room.as_str(), room.folded()), ("~health-1", "~health-1"));
        assert_eq!((room.kind(), room.owner()), (RoomKind::Server, None));
        assert_eq!(RoomName::new("~health-1"), Err(NameError::ReservedPrefix));
        assert_eq!(RoomName::from_wire("~health-1"), Err(NameError::ReservedPrefix));
        assert_eq!(RoomName::server("~"), Err(NameError::Empty));
        for text in ["health", "@health", "~Health", "~a b", "~é", "~\n"] {
            assert_eq!(RoomName::server(text), Err(NameError::Forbidden), "{text:?}");
        }
    }

    #[test]
    fn a_user_s_own_room_has_one_spelling() {
        let longest = "z".repeat(64);
        for id in ["ada", "0", "guest-7f.x", &longest] {
            let own = RoomName::own(&UserId::new(id).unwrap());
            assert_eq!(own.as_str(), format!("@{id}"));
            assert_eq!((own.folded(), own.owner()), (own.as_str(), Some(id)));
            assert_eq!(own.kind(), RoomKind::Own);
            assert_eq!(RoomName::from_wire(own.as_str()), Ok(own.clone()));
            assert!(RoomName::new(own.as_str()).is_err());
        }
        for text in ["@", "@Ada", "@ada ", "@@ada", "@-a", "@a b", "@é", &format!("@{longest}z")] {
            assert_eq!(RoomName::from_wire(text), Err(NameError::NotAnInbox), "{text:?}");
        }
        for text in [" @ada", "＠ada", "~ada"] {
            assert_eq!(RoomName::from_wire(text), Err(NameError::ReservedPrefix), "{text:?}");
        }
        let lobby = RoomName::from_wire(" Lobby").unwrap();
        assert_eq!((lobby.as_str(), lobby.kind()), ("Lobby", RoomKind::Public));
        assert_eq!(lobby.owner(), None);
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
        fn the_names_of_a_kind_are_neighbours(text in "\\PC{1,40}", user in "[a-z0-9]{1,8}") {
            if let Ok(public) = RoomName::new(&text) {
                let own = RoomName::own(&UserId::new(&user).unwrap());
                let server = RoomName::server("~health").unwrap();
                for named in [own, server] {
                    let prefix = named.kind().prefix().unwrap();
                    prop_assert!(named.folded().starts_with(prefix));
                    prop_assert!(!public.folded().starts_with(prefix));
                }
            }
        }
    }
}
