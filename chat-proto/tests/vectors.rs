//! Runs the golden vectors: what is written in `vectors/` is what the code reads and writes.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chat_proto::{
    Advice, Body, ClientFrame, CloseCode, DecodeError, Decoder, Dialect, DisplayName, Entry, Epoch,
    Key, LeaveReason, Member, NameError, RequestId, RoomName, Seq, ServerFrame, SessionId,
    Timestamp, UserId, tables,
};
use serde_json::{Value, json};

mod common;

/// The frames of the `basic` dialect, the same in both directions.
const BASIC: [&str; 3] = ["join", "leave", "message"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn load(path: &str) -> Value {
    let text = fs::read_to_string(folder().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn list<'a>(file: &'a Value, name: &str) -> &'a [Value] {
    file[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("`{name}` is no string in {value}"))
}

/// The files that there have to be, each with its dialect, direction and frame.
fn expected_files() -> Vec<(String, [&'static str; 3])> {
    let mut files = Vec::new();
    let mut add = |folder: &str, dialect, direction, frame: &'static str| {
        files.push((format!("{folder}/{direction}/{frame}.json"), [dialect, direction, frame]));
    };
    for frame in BASIC {
        add("basic", "basic", "client", frame);
        add("basic", "basic", "server", frame);
    }
    tables::REQUESTS.iter().for_each(|(frame, _)| add("v1", "chat.v1", "client", frame));
    tables::SERVER_FRAMES.iter().for_each(|(frame, _)| add("v1", "chat.v1", "server", frame));
    files
}

#[test]
fn every_frame_has_a_file_and_every_file_a_frame() {
    let mut wanted: BTreeSet<String> = expected_files().into_iter().map(|(path, _)| path).collect();
    wanted.extend(["README.md", "close_codes.json", "names.json"].map(String::from));
    let mut found = BTreeSet::new();
    let mut folders = vec![folder()];
    while let Some(current) = folders.pop() {
        for file in fs::read_dir(current).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.parent().is_some_and(|folder| folder.ends_with("scenarios")) {
                // They are about behaviour: `tests/simulation/tests/client_scenarios.rs` runs them.
                assert!(path.extension().is_some_and(|ending| ending == "json"), "{path:?}");
            } else {
                let path = path.strip_prefix(folder()).unwrap().to_str().unwrap().to_owned();
                found.insert(path);
            }
        }
    }
    let missing: Vec<_> = wanted.difference(&found).collect();
    let unused: Vec<_> = found.difference(&wanted).collect();
    assert!(missing.is_empty() && unused.is_empty(), "missing {missing:?}, unused {unused:?}");
}

#[test]
fn every_vector_holds() {
    for (path, [dialect, direction, frame]) in expected_files() {
        let file = load(&path);
        let head = ["dialect", "direction", "frame"].map(|name| text(&file, name));
        assert_eq!(head, [dialect, direction, frame], "{path}");
        assert!(!list(&file, "valid").is_empty(), "{path} has no valid frame");
        for vector in list(&file, "valid") {
            let place = format!("{path}: {}", text(vector, "name"));
            assert_eq!(vector["value"]["type"], frame, "{place}");
            match (dialect, direction) {
                (_, "client") => client_reads(&place, dialect, vector),
                ("basic", _) => basic_server_writes(&place, vector),
                _ => server_writes(&place, vector),
            }
        }
        for vector in list(&file, "reads_as") {
            let place = format!("{path}: {}", text(vector, "name"));
            let read = ServerFrame::decode(text(vector, "wire"));
            assert_eq!(common::of_frame(&read.expect(&place)), vector["value"], "{place}");
        }
        for vector in list(&file, "invalid") {
            refuses(&format!("{path}: {}", text(vector, "name")), (dialect, direction), vector);
        }
    }
}

fn decoder(dialect: &str) -> Decoder {
    Decoder::new(if dialect == "basic" { Dialect::Basic } else { Dialect::V1 })
}

fn client_reads(place: &str, dialect: &str, vector: &Value) {
    let read = decoder(dialect).decode(text(vector, "wire")).expect(place);
    let (meaning, again) = match &read {
        ClientFrame::Basic(request) => (common::of_basic(request), request.encode()),
        ClientFrame::V1 { id, request } => {
            (common::of_request(id.as_ref(), request), request.encode(id.as_ref()))
        }
    };
    assert_eq!(meaning, vector["value"], "{place}");
    assert_eq!(decoder(dialect).decode(&again).as_ref(), Ok(&read), "{place}");
}

fn server_writes(place: &str, vector: &Value) {
    let wire = text(vector, "wire");
    let frame = ServerFrame::decode(wire).expect(place);
    assert_eq!(common::of_frame(&frame), vector["value"], "{place}");
    assert_eq!(frame.encode(Dialect::V1).expect(place).as_str(), wire, "{place}");
}

fn basic_server_writes(place: &str, vector: &Value) {
    let value = &vector["value"];
    let room = RoomName::from_wire(text(value, "room")).expect(place);
    let user = UserId::new("u").expect(place);
    let username = DisplayName::new(text(value, "username")).expect(place);
    let member = Member { user: user.clone(), username: username.clone() };
    let frame = match text(value, "type") {
        kind @ ("join" | "leave") if vector["others"].is_u64() => ServerFrame::Crowd {
            room,
            first: member,
            others: vector["others"].as_u64().expect(place),
            came: kind == "join",
        },
        "join" => ServerFrame::Join { room, member },
        "leave" => ServerFrame::Leave { room, member, reason: LeaveReason::Left },
        _ => {
            let body = Body::Message { content: text(value, "content").into(), reply_to: None };
            let (room, seq, ts) = (room, Seq::new(1).expect(place), Timestamp(2));
            ServerFrame::Entry(Arc::new(Entry::new(room, seq, ts, user, username, None, body)))
        }
    };
    let wire = frame.encode(Dialect::Basic).expect(place);
    assert_eq!(wire.as_str(), text(vector, "wire"), "{place}");
    assert_eq!(&serde_json::from_str::<Value>(wire.as_str()).expect(place), value, "{place}");
}

fn refuses(place: &str, (dialect, direction): (&str, &str), vector: &Value) {
    let wire = text(vector, "wire");
    let error: DecodeError = if direction == "client" {
        decoder(dialect).decode(wire).expect_err(place)
    } else {
        ServerFrame::decode(wire).expect_err(place)
    };
    let wanted = &vector["error"];
    assert_eq!(error.code.as_str(), text(wanted, "code"), "{place}: {error}");
    assert_eq!(json!(error.id), wanted["id"], "{place}: {error}");
    let part = text(wanted, "message_contains");
    assert!(error.message.contains(part), "{place}: {part:?} is not in {:?}", error.message);
}

#[test]
fn every_close_code_has_its_advice() {
    let file = load("close_codes.json");
    let advice = |code| match Advice::of(code) {
        Advice::FixFirst => "fix_first",
        Advice::BackOff => "back_off",
        Advice::ResumeNow => "resume_now",
        Advice::StayAway => "stay_away",
    };
    let row = |code: u16| {
        let reconnect = Advice::of(code).reconnect();
        json!({"code": code, "advice": advice(code), "reconnect": reconnect})
    };
    let known: Vec<Value> = CloseCode::ALL
        .iter()
        .map(|code| {
            let mut row = row(code.number());
            row["reason"] = json!(code.reason());
            row
        })
        .collect();
    assert_eq!(list(&file, "known"), known);
    assert!(list(&file, "unknown").len() > 10);
    for vector in list(&file, "unknown") {
        let code = u16::try_from(vector["code"].as_u64().unwrap()).unwrap();
        assert!(CloseCode::ALL.iter().all(|known| known.number() != code), "{code} is known");
        assert_eq!(&row(code), vector);
    }
}

#[test]
fn every_name_is_mapped_or_refused() {
    let file = load("names.json");
    for vector in list(&file, "rooms_and_display_names") {
        let (name, label) = (RoomName::new(text(vector, "text")), text(vector, "text"));
        if let Some(error) = vector["error"].as_str() {
            assert_eq!(name.map_err(error_name), Err(error), "{vector}");
            continue;
        }
        let name = name.unwrap_or_else(|e| panic!("{vector}: {e}"));
        let got = json!({"text": label, "canonical": name.as_str(), "folded": name.folded()});
        assert_eq!(&got, vector);
        assert_eq!(DisplayName::new(label).unwrap().as_str(), name.as_str(), "{vector}");
    }
    for vector in list(&file, "inboxes") {
        let (name, user) = (RoomName::from_wire(text(vector, "text")), vector["user"].as_str());
        let Some(user) = user else {
            assert!(name.is_err(), "{vector}");
            continue;
        };
        let name = name.unwrap_or_else(|e| panic!("{vector}: {e}"));
        assert_eq!((name.owner(), name.as_str()), (Some(user), text(vector, "text")), "{vector}");
    }
    let check = |list_name: &str, valid: fn(&str) -> bool| {
        assert!(!list(&file, list_name).is_empty(), "{list_name}");
        for vector in list(&file, list_name) {
            assert_eq!(vector["valid"], valid(text(vector, "text")), "{list_name}: {vector}");
        }
    };
    check("user_ids", |text| UserId::new(text).is_ok());
    check("session_ids", |text| SessionId::new(text).is_ok());
    check("epochs", |text| Epoch::new(text).is_ok());
    check("request_ids_and_keys", |text| RequestId::new(text).is_ok());
    check("request_ids_and_keys", |text| Key::new(text).is_ok());
}

fn error_name(error: NameError) -> &'static str {
    match error {
        NameError::Empty => "empty",
        NameError::TooLong { .. } => "too_long",
        NameError::ReservedPrefix => "reserved_prefix",
        NameError::NotAnInbox => "not_an_inbox",
        NameError::Forbidden => "forbidden",
        NameError::CombiningMarks => "combining_marks",
    }
}
