//! Estimates of how many bytes something takes on the wire as JSON.
use chat_proto::{Body, Entry};

/// Bytes of an entry's fields besides its content and its names: keywords, numbers and punctuation.
const ENTRY_FIELDS: u32 = 160;

/// Bytes of one member in a list.
const MEMBER: u32 = 100;

/// Bytes of one room in a list of rooms.
const ROOM: u32 = 100;

/// Bytes of a frame besides the entries, members or rooms that it lists.
const FRAME: u32 = 200;

/// Returns the bytes of an entry as a frame of its own, at most.
pub(crate) fn entry(entry: &Entry) -> u32 {
    let content = match &entry.body {
        Body::Message { content, .. } => escaped(content),
        _ => 0,
    };
    content.saturating_add(names(entry)).saturating_add(ENTRY_FIELDS)
}

/// Returns the bytes of an entry's names. They have no control characters, so a byte of a name
/// takes two bytes at most.
fn names(entry: &Entry) -> u32 {
    let key = entry.key.as_ref().map_or(0, |key| key.as_str().len());
    let (room, name) = (entry.room.as_str().len(), entry.username.as_str().len());
    (entry.user.as_str().len() + 2 * (room + name + key)) as u32
}

/// Returns the bytes of a frame that lists `count` members.
pub(crate) fn members(count: usize) -> u32 {
    list(count, MEMBER)
}

/// Returns the bytes of a frame that lists `count` rooms.
pub(crate) fn rooms(count: usize) -> u32 {
    list(count, ROOM)
}

/// Returns how many entries fit into this many bytes at most: that many have no content.
pub(crate) fn entries_within(bytes: u32) -> u32 {
    bytes / ENTRY_FIELDS
}

fn list(count: usize, each: u32) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX).saturating_mul(each).saturating_add(FRAME)
}

/// Returns the bytes of a text as a JSON string (RFC 8259, section 7), at most.
fn escaped(text: &str) -> u32 {
    // Most texts have nothing to escape: eight bytes are looked at together.
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let suspects = words.iter().filter(|word| may_grow(u64::from_le_bytes(**word)));
    let added = suspects.flatten().chain(rest).map(|byte| added(*byte)).sum::<usize>();
    u32::try_from(text.len() + added).unwrap_or(u32::MAX)
}

/// Returns by how many bytes a byte grows when it is escaped.
const fn added(byte: u8) -> usize {
    match byte {
        0..0x20 => 5,
        b'"' | b'\\' => 1,
        _ => 0,
    }
}

/// Returns true if one of eight bytes has to be escaped, and never false then. The test for a zero
/// byte and for a byte less than a number are those of "Bit Twiddling Hacks" by S. E. Anderson.
const fn may_grow(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES * 0x80;
    let quotes = word ^ (ONES * b'"' as u64);
    let backslashes = word ^ (ONES * b'\\' as u64);
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    let zeros = quotes.wrapping_sub(ONES) & !quotes | backslashes.wrapping_sub(ONES) & !backslashes;
    (controls | zeros) & HIGH != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use chat_proto::{DisplayName, Key, RoomName, Seq, ServerFrame, Timestamp, UserId};

    fn entry_of(content: &str, room: &str, key: Option<&str>) -> Entry {
        let name = DisplayName::new(room).unwrap();
        let room = RoomName::new(room).unwrap();
        let user = UserId::new(&"u".repeat(64)).unwrap();
        let key = key.map(|key| Key::new(key).unwrap());
        let seq = Seq::new(chat_proto::SEQ_MAX).unwrap();
        let body = Body::Message { content: content.into(), reply_to: Some(seq) };
        Entry::new(room, seq, Timestamp(1_700_000_000_000), user, name, key, body)
    }

    #[test]
    fn an_entry_is_never_longer_than_its_estimate() {
        let contents = ["", "hi", "\u{1}\u{2}\n", "\"\\\"", "\u{e9}\u{1f600}", "said \"no\" again"];
        let quotes = "\"".repeat(64);
        for content in contents {
            for repeat in [1, 2, 500] {
                let made = match repeat {
                    1 => entry_of(content, &quotes, Some(&quotes)),
                    _ => entry_of(&content.repeat(repeat), "lobby", None),
                };
                let estimate = entry(&made) as usize;
                let frame = ServerFrame::Entry(Arc::new(made));
                let encoded = frame.encode(chat_proto::Dialect::V1).expect("an entry is a frame");
                assert!(encoded.as_str().len() <= estimate, "{content:?} takes {estimate}");
            }
        }
    }

    #[test]
    fn a_text_grows_by_what_is_escaped() {
        for (text, bytes) in [
            ("", 0),
            ("plain words of some length, nothing else", 40),
            ("\"", 2),
            ("eight by\"eight by", 18),
            ("\u{1f}seven..\\", 15),
            ("\u{e9}\u{1f600} two letters", 18),
        ] {
            assert_eq!(escaped(text), bytes, "{text:?}");
        }
    }
}
