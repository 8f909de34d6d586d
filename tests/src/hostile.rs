//! What no honest client sends, each with what has to come of it.
use chat_proto::ErrorCode;

use crate::client::raw::{CLOSE, CONTINUE, CONTINUE_END, PING, TEXT, TEXT_BEGIN, frame};

/// The limit `frame_bytes` that the tables are made for: its default.
pub const FRAME_BYTES: usize = 16_384;

/// Frames that break a rule of WebSocket, and the code that the server closes with.
#[must_use]
pub fn broken_frames() -> Vec<(&'static str, Vec<u8>, u16)> {
    let mut announced = vec![TEXT, 0xFF];
    announced.extend(i64::MAX.to_be_bytes());
    announced.extend([0; 4]);
    vec![
        ("unmasked", vec![TEXT, 2, b'h', b'i'], 1002),
        ("rsv1 (compression)", frame(TEXT | 0x40, b"hi"), 1002),
        ("rsv2", frame(TEXT | 0x20, b"hi"), 1002),
        ("rsv3", frame(TEXT | 0x10, b"hi"), 1002),
        ("reserved data opcode", frame(0x83, b"hi"), 1002),
        ("reserved control opcode", frame(0x8B, b"hi"), 1002),
        ("fragmented ping", frame(0x09, b"hi"), 1002),
        ("fragmented pong", frame(0x0A, b"hi"), 1002),
        ("fragmented close", frame(0x08, b"\x03\xe8"), 1002),
        ("control of 126 bytes", frame(PING, &[b'x'; 126]), 1002),
        ("continuation of nothing", frame(CONTINUE_END, b"hi"), 1002),
        ("text inside a text", [frame(TEXT_BEGIN, b"a"), frame(TEXT, b"b")].concat(), 1002),
        ("close of one byte", frame(CLOSE, &[3]), 1002),
        ("close with a bad reason", frame(CLOSE, b"\x03\xe8\xff"), 1007),
        ("close with a code that may not be sent", frame(CLOSE, b"\x03\xed"), 1002),
        ("binary", frame(0x82, b"hi"), 1003),
        ("not UTF-8", frame(TEXT, b"\xc3\x28"), 1007),
        ("surrogate", frame(TEXT, b"\xed\xa0\x80"), 1007),
        ("half a character at the end", frame(TEXT, b"\xc3"), 1007),
        ("one byte too long", frame(TEXT, &[b'x'; FRAME_BYTES + 1]), 1009),
        ("70 000 bytes", frame(TEXT, &[b'x'; 70_000]), 1009),
        (
            "too long in two fragments",
            [frame(TEXT_BEGIN, &[b'x'; 9000]), frame(CONTINUE_END, &[b'x'; 9000])].concat(),
            1009,
        ),
        ("2^63-1 bytes announced", announced, 1009),
    ]
}

/// Texts that are no frames of `chat.v1`, and the error that answers them.
#[must_use]
pub fn broken_json() -> Vec<(&'static str, String, ErrorCode)> {
    let bad = ErrorCode::BadFrame;
    let pad = FRAME_BYTES - 100;
    let open = "{\"a\":".repeat(pad / 5);
    let deep = format!("{}{}", "[".repeat(pad / 2), "]".repeat(pad / 2));
    vec![
        ("nothing", String::new(), bad),
        ("open lists", "[".repeat(FRAME_BYTES), bad),
        ("open objects", open, bad),
        ("a deep list", deep.clone(), bad),
        ("a deep type", format!(r#"{{"type":{deep}}}"#), bad),
        ("a key twice", r#"{"type":"join","room":"a","room":"b"}"#.into(), bad),
        ("an escaped key twice", r#"{"type":"ping","t\u0079pe":"pong"}"#.into(), bad),
        ("a number beyond any", r#"{"type":"history","room":"a","limit":1e999}"#.into(), bad),
        ("2^64", r#"{"type":"history","room":"a","limit":18446744073709551616}"#.into(), bad),
        ("below zero", r#"{"type":"history","room":"a","limit":-1}"#.into(), bad),
        ("above 2^53-1", r#"{"type":"history","room":"a","before":9007199254740992}"#.into(), bad),
        (
            "a number of 16 000 digits",
            format!(r#"{{"type":"history","room":"a","limit":{}}}"#, "9".repeat(16_000)),
            bad,
        ),
        ("a lone surrogate", r#"{"type":"message","room":"a","content":"\ud800"}"#.into(), bad),
        ("a raw NUL", "{\"type\":\"ping\0\"}".into(), bad),
        ("two frames in one", r#"{"type":"ping"}{"type":"ping"}"#.into(), bad),
        ("a byte order mark", "\u{feff}{\"type\":\"ping\"}".into(), bad),
        ("a long type", format!(r#"{{"type":"{}"}}"#, "x".repeat(pad)), ErrorCode::UnknownType),
        ("a NUL in a name", r#"{"type":"join","room":"a\u0000"}"#.into(), ErrorCode::InvalidName),
        (
            "a long name",
            format!(r#"{{"type":"join","room":"{}"}}"#, "x".repeat(pad)),
            ErrorCode::InvalidName,
        ),
    ]
}

/// Endless streams, each made of one part again and again after a beginning.
#[must_use]
pub fn floods() -> Vec<Flood> {
    let again = |part: Vec<u8>| part.repeat(4096 / part.len().max(1) + 1);
    let flood = |what, begin: Vec<u8>, part| Flood { what, begin, part: again(part), ends: true };
    vec![
        flood("empty fragments", frame(TEXT_BEGIN, b"a"), frame(CONTINUE, b"")),
        flood("fragments of a byte", frame(TEXT_BEGIN, b"a"), frame(CONTINUE, b"x")),
        Flood { ends: false, ..flood("pings", Vec::new(), frame(PING, b"")) },
        Flood { ends: false, ..flood("long pings", Vec::new(), frame(PING, &[b'x'; 125])) },
        Flood { ends: false, ..flood("pongs", Vec::new(), frame(0x8A, b"x")) },
        Flood {
            ends: false,
            ..flood(
                "pings inside a text",
                frame(TEXT_BEGIN, b"a"),
                [frame(PING, b""), frame(CONTINUE, b"")].concat(),
            )
        },
    ]
}

/// An endless stream.
#[derive(Clone, Debug)]
pub struct Flood {
    /// What it is made of.
    pub what: &'static str,
    /// What comes first.
    pub begin: Vec<u8>,
    /// What comes again and again: some kilobytes.
    pub part: Vec<u8>,
    /// Whether the server has to close for it; else it has to read it slowly.
    pub ends: bool,
}
