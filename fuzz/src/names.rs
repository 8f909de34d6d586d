//! Names settle, stay within their bounds and deceive nobody.
use std::cmp::Ordering;
use std::collections::BTreeSet;

use chat_proto::{
    DisplayName, Epoch, Key, NAME_BYTES_MAX, RequestId, RoomKind, RoomName, SessionId, UserId,
};

/// Makes every kind of name from the text up to the first line feed and from the text behind it.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (one, other) = text.split_once('\n').unwrap_or((&text, ""));
    let made: Vec<_> = [one, other].into_iter().filter_map(room).collect();
    if let [one, other] = &made[..] {
        compared(one, other);
    }
    for text in [one, other, &text] {
        grammars(text);
        wire(text);
    }
}

/// A user's own room is named by the user id. Any other name is that of a public room.
fn wire(text: &str) {
    let read = RoomName::from_wire(text);
    match text.strip_prefix('@').map(UserId::new) {
        Some(Ok(user)) => {
            let inbox = RoomName::own(&user);
            assert_eq!((inbox.as_str(), inbox.folded()), (text, text));
            assert_eq!((inbox.owner(), Ok(&inbox)), (Some(user.as_str()), read.as_ref()));
            assert!(RoomName::new(text).is_err() && RoomName::server(text).is_err());
        }
        Some(Err(_)) => assert!(read.is_err(), "{text:?}"),
        None => {
            // The two may name different faults of a text that has several.
            assert_eq!(read.as_ref().ok(), RoomName::new(text).as_ref().ok());
            assert!(
                read.is_ok_and(|room| room.kind() == RoomKind::Public)
                    || RoomName::new(text).is_err()
            );
        }
    }
}

fn room(text: &str) -> Option<RoomName> {
    let display = DisplayName::new(text);
    let Ok(room) = RoomName::new(text) else {
        return None;
    };
    // A room's name is a display name whose folded form is one, too.
    assert_eq!(display.as_deref(), Ok(room.as_str()));
    for name in [room.as_str(), room.folded()] {
        assert!((1..=NAME_BYTES_MAX).contains(&name.len()), "{name:?}");
        assert!(!name.starts_with(['@', '~', ' ']) && !name.ends_with(' '), "{name:?}");
        assert!(!name.contains("  ") && !name.chars().any(char::is_control), "{name:?}");
        let reordering = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!name.chars().any(reordering), "{name:?}");
        let again = RoomName::new(name).expect("a name is a name");
        assert_eq!((again.as_str(), again.folded()), (name, room.folded()));
        compared(&room, &again);
    }
    Some(room)
}

/// Equality, order and folding say the same.
fn compared(one: &RoomName, other: &RoomName) {
    assert_eq!(one == other, one.folded() == other.folded());
    assert_eq!(one.cmp(other), one.folded().cmp(other.folded()));
    assert_eq!(one.cmp(other), other.cmp(one).reverse());
    assert_eq!(one.cmp(other) == Ordering::Equal, one == other);
    let set = BTreeSet::from([one, other]);
    assert_eq!(set.len(), if one == other { 1 } else { 2 });
}

/// What an identifier's type takes is what its grammar says, and it is taken as it is.
fn grammars(text: &str) {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let user = (1..=64).contains(&text.len())
        && plain(text.as_bytes()[0])
        && text.bytes().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-'));
    assert_eq!(UserId::new(text).is_ok_and(|id| id.as_str() == text), user, "{text:?}");
    let token = |max| {
        (1..=max).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    assert_eq!(SessionId::new(text).is_ok_and(|id| id.as_str() == text), token(64), "{text:?}");
    assert_eq!(Epoch::new(text).is_ok_and(|id| id.as_str() == text), token(32), "{text:?}");
    let visible = (1..=64).contains(&text.len()) && !text.chars().any(char::is_control);
    assert_eq!(RequestId::new(text).is_ok_and(|id| id.as_str() == text), visible, "{text:?}");
    assert_eq!(Key::new(text).is_ok_and(|id| id.as_str() == text), visible, "{text:?}");
}
