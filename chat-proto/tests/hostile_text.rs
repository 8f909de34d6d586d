//! Decoding is total: whatever the text is, it is a frame or a clear, short error, and a broken
//! request is answered under its `id` if that can be read.
use chat_proto::{ClientFrame, DecodeError, Decoder, Dialect, ErrorCode, ServerFrame};

fn v1(text: &str) -> Result<ClientFrame, DecodeError> {
    Decoder::new(Dialect::V1).decode(text)
}

/// Expects an error, with its code, its id and a part of its message.
#[track_caller]
fn refused(text: &str, code: ErrorCode, id: Option<&str>, part: &str) {
    let error = v1(text).expect_err("it is broken");
    assert_eq!((error.code, error.id.as_deref()), (code, id), "{error}");
    assert!(error.message.contains(part), "{part:?} is not in {:?}", error.message);
    assert!(error.message.len() <= DecodeError::MESSAGE_BYTES_MAX, "{error}");
}

#[track_caller]
fn bad(text: &str, id: Option<&str>, part: &str) {
    refused(text, ErrorCode::BadFrame, id, part);
}

#[test]
fn what_is_no_object_is_refused() {
    bad("", None, "EOF while parsing a value at line 1 column 0");
    bad(" \t\r\n", None, "EOF");
    bad("\u{feff}{\"type\":\"ping\"}", None, "at line 1 column 1");
    bad("null", None, "expected a JSON object");
    bad("17", None, "expected a JSON object");
    bad("\"ping\"", None, "expected a JSON object");
    bad("\0", None, "at line 1 column 1");
    // A derived reader would take a struct's fields from an array.
    bad(r#"["ping"]"#, None, "expected a JSON object");
    bad(
        r#"["ping",null,null,null,null,null,null,null,null,null,null,null,null,null,null]"#,
        None,
        "",
    );
    assert!(Decoder::new(Dialect::Basic).decode(r#"["leave",null,null]"#).is_err());
    assert!(ServerFrame::decode(r#"["ping"]"#).is_err());
}

#[test]
fn a_value_of_the_wrong_type_is_named() {
    for (field, value) in [
        ("type", "5"),
        ("room", "{}"),
        ("name", "[1,2]"),
        ("token", "true"),
        ("key", "1.5"),
        ("content", "{\"a\":[1]}"),
        ("features", "\"typing\""),
        ("features", "[1]"),
        ("reply_to", "\"7\""),
        ("reply_to", "-1"),
        ("before", "1.0"),
        ("after", "true"),
        ("after", "-1"),
        ("around", "[]"),
        ("limit", "18446744073709551616"),
        ("limit", "1e400"),
        ("history", "1e2"),
        ("active", "1"),
    ] {
        let part = format!("`{field}`: ");
        bad(&format!(r#"{{"{field}":{value},"id":"7"}}"#), Some("7"), &part);
        bad(&format!(r#"{{"id":"7","type":"ping","{field}":{value}}}"#), Some("7"), "");
    }
    bad(r#"{"type":"ping","id":7}"#, None, "`id`: invalid type: integer `7`, expected a string");
    bad(r#"{"type":"ping","id":{}}"#, None, "`id`: ");
}

#[test]
fn a_field_given_twice_is_refused() {
    bad(r#"{"type":"ping","id":"1","type":"ping"}"#, Some("1"), "duplicate field `type`");
    bad(r#"{"id":"1","type":"join","room":"a","room":"a"}"#, Some("1"), "duplicate field `room`");
    bad(r#"{"id":"1","type":"ping","room":null,"room":null}"#, Some("1"), "duplicate field `room`");
    // Escapes do not hide it, and an id that is there twice answers to neither.
    bad(r#"{"type":"ping","t\u0079pe":"pong"}"#, None, "duplicate field `type`");
    bad(r#"{"type":"ping","id":"1","id":"2"}"#, None, "duplicate field `id`");
    // Nobody reads the unknown ones.
    assert!(v1(r#"{"type":"ping","x":1,"x":2}"#).is_ok());
}

#[test]
fn a_break_is_placed_and_the_id_before_it_read() {
    bad(r#"{"id":"1","type":"ping""#, Some("1"), "EOF while parsing an object at line 1 column 23");
    bad(r#"{"id":"1","type":"pi"#, Some("1"), "`type`: EOF while parsing a string");
    bad(r#"{"id":"1","type":"ping"} {}"#, Some("1"), "trailing characters at line 1 column 26");
    bad(r#"{"type":"ping","id":"1"}]"#, Some("1"), "trailing characters");
    bad(r#"{"type":"ping","id":"1",}"#, Some("1"), "trailing comma");
    bad("{\"type\":\"ping\",\n\"id\":\"1\"\n\"x\":1}", Some("1"), "at line 3 column 1");
    bad(r#"{'type':'ping'}"#, None, "key must be a string at line 1 column 2");
    bad("{\"type\":\"ping\0\"}", None, "control character");
    bad(
        "{\"id\":\"1\",\"type\":\"message\",\"content\":\"a\nb\"}",
        Some("1"),
        "`content`: control",
    );
}

#[test]
fn lone_surrogates_are_refused_and_pairs_read() {
    bad(r#"{"type":"message","id":"1","content":"\ud800"}"#, Some("1"), "`content`: ");
    bad(r#"{"type":"message","content":"\ud800\u0041","id":"1"}"#, Some("1"), "surrogate");
    bad(r#"{"type":"message","content":"\udc00","id":"1"}"#, Some("1"), "surrogate");
    assert!(v1(r#"{"type":"message","room":"r","content":"\ud83d\ude00 \u0000"}"#).is_ok());
}

#[test]
fn depth_costs_no_stack() {
    let n = 60_000;
    bad(&"[".repeat(n), None, "expected a JSON object");
    bad(&"{\"a\":".repeat(10_000), None, "EOF");
    bad(&format!(r#"{{"id":"1","x":{}"#, "[".repeat(n)), Some("1"), "EOF");
    bad(&format!(r#"{{"id":{},"x":1}}"#, "[".repeat(n)), None, "`id`");
    bad(&format!(r#"{{"after":{},"x":1}}"#, "[".repeat(n)), None, "`after`");
    let deep = format!(r#"{{"type":{}{},"id":"1"}}"#, "[".repeat(n), "]".repeat(n));
    bad(&deep, Some("1"), "`type`");
    // What nobody reads may be as deep as it likes.
    let unread = format!(r#"{{"type":"ping","x":{}{},"id":"1"}}"#, "[".repeat(n), "]".repeat(n));
    assert!(v1(&unread).is_ok());
    let closed = format!(r#"{{"type":"page","x":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    assert!(ServerFrame::decode(&closed).is_err());
}

#[test]
fn long_values_are_not_repeated() {
    let long = "x".repeat(1 << 20);
    bad(&format!(r#"{{"id":"1","limit":"{long}"}}"#), Some("1"), "... at line 1 column 1048");
    let wide = "\u{1f600}".repeat(1 << 18);
    bad(&format!(r#"{{"id":"1","limit":"{wide}"}}"#), Some("1"), "... at line 1 column ");
    refused(&format!(r#"{{"type":"{long}","id":"1"}}"#), ErrorCode::UnknownType, Some("1"), "xxx");
    let bidi = "\u{202e}".repeat(1 << 10);
    refused(&format!(r#"{{"type":"{bidi}"}}"#), ErrorCode::UnknownType, None, "\\u{202e}");
    let room = format!(r#"{{"type":"join","id":"1","room":"{long}"}}"#);
    refused(&room, ErrorCode::InvalidName, Some("1"), "`room` can't be used: it is longer");
    let id = format!(r#"{{"type":"ping","id":"{long}"}}"#);
    refused(&id, ErrorCode::InvalidName, None, "`id` can't be used: it is longer than 64 bytes");
    let list = format!(r#"{{"type":"hello","id":"1","features":[{}""]}}"#, "\"\",".repeat(99_999));
    bad(&list, Some("1"), "`features`: more than 32");
    let error = ServerFrame::decode(&format!(r#"{{"type":"left","room":{long:?}}}"#)).unwrap_err();
    assert!(error.message.len() <= DecodeError::MESSAGE_BYTES_MAX);
}

#[test]
fn a_fault_in_meaning_is_named() {
    refused(r#"{"id":"1"}"#, ErrorCode::BadFrame, Some("1"), "`type` is missing");
    refused(r#"{"id":"1","type":null}"#, ErrorCode::BadFrame, Some("1"), "`type` is missing");
    refused(r#"{"id":"1","type":"PING"}"#, ErrorCode::UnknownType, Some("1"), "\"PING\"");
    bad(r#"{"type":"join","id":"1"}"#, Some("1"), "`room` is missing");
    bad(r#"{"type":"message","id":"1","room":"r"}"#, Some("1"), "`content` is missing");
    let above = r#"{"type":"history","id":"1","room":"r","before":9007199254740992}"#;
    bad(above, Some("1"), "`before` is above 9007199254740991");
    let two = r#"{"type":"history","id":"1","room":"r","before":1,"around":1}"#;
    bad(two, Some("1"), "give one of `before`, `after` and `around`");
    bad(
        r#"{"type":"history","id":"1","room":"r","after":"s"}"#,
        Some("1"),
        "`after` has to be a n",
    );
    bad(r#"{"type":"rooms","id":"1","after":3}"#, Some("1"), "`after` has to be a room's name");
}

#[test]
fn a_broken_hello_still_chooses_its_dialect() {
    let mut decoder = Decoder::new(Dialect::Basic);
    let error = decoder.decode(r#"{"type":"hello","id":"0","name":7}"#).unwrap_err();
    assert_eq!((decoder.dialect(), error.id.as_deref()), (Dialect::V1, Some("0")));
    assert!(decoder.decode(r#"{"type":"ping"}"#).is_ok());

    let mut decoder = Decoder::new(Dialect::Basic);
    assert!(decoder.decode(r#"{"type":"message","content":"hi"}"#).is_ok());
    let late = decoder.decode(r#"{"type":"hello"}"#).unwrap_err();
    assert_eq!((decoder.dialect(), late.code), (Dialect::Basic, ErrorCode::UnknownType));
}
