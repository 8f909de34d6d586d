//! What a frame means, as JSON with every field spelled out.
use chat_proto::{BasicRequest, Entry, HistoryRange, Request, RequestId, ServerFrame};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The meaning of a `basic` request.
pub(crate) fn of_basic(request: &BasicRequest) -> Value {
    match request {
        BasicRequest::Join { room } => json!({"type": "join", "room": room.as_str()}),
        BasicRequest::Leave => json!({"type": "leave"}),
        BasicRequest::Message { content } => json!({"type": "message", "content": &**content}),
    }
}

/// The meaning of a `chat.v1` request.
pub(crate) fn of_request(id: Option<&RequestId>, request: &Request) -> Value {
    let mut value = match request {
        Request::Hello { name, token, features, resume } => json!({
            "name": name, "token": token.as_ref().map(|t| &*t.0), "features": features,
            "resume": resume.as_ref().map(|resume| json!({
                "session": resume.session, "attempt": resume.attempt, "rooms": resume.rooms,
            })),
        }),
        Request::Auth { token } => json!({"token": &*token.0}),
        Request::Join { room, history } => json!({"room": room, "history": history}),
        Request::Leave { room } | Request::Members { room } => json!({"room": room}),
        Request::Message { room, key, content, reply_to } => json!({
            "room": room, "key": key, "content": content, "reply_to": reply_to,
        }),
        Request::History { room, range, limit } => {
            let (before, after, around) = match range {
                HistoryRange::Latest => (None, None, None),
                HistoryRange::Before(seq) => (Some(seq), None, None),
                HistoryRange::After(seq) => (None, Some(seq), None),
                HistoryRange::Around(seq) => (None, None, Some(seq)),
            };
            json!({
                "room": room, "before": before, "after": after, "around": around, "limit": limit,
            })
        }
        Request::Rooms { after } => json!({"after": after}),
        Request::Typing { room, active } => json!({"room": room, "active": active}),
        Request::Ping | Request::Pong => json!({}),
        other => panic!("no meaning is written down for {other:?}"),
    };
    value["type"] = json!(request.kind());
    value["id"] = json!(id);
    value
}

/// The meaning of a `chat.v1` server frame.
pub(crate) fn of_frame(frame: &ServerFrame) -> Value {
    match frame {
        ServerFrame::Entry(entry) => of_entry(entry),
        ServerFrame::Joined(joined) => with_events(frame, &joined.events),
        ServerFrame::Page(page) => with_events(frame, &page.events),
        other => spelled_out(other),
    }
}

fn of_entry(entry: &Entry) -> Value {
    let mut value = written(entry);
    for field in ["reply_to", "key"] {
        value.entry(field).or_insert(Value::Null);
    }
    value.into()
}

fn with_events(frame: &ServerFrame, events: &[std::sync::Arc<Entry>]) -> Value {
    let mut value = spelled_out(frame);
    value["events"] = events.iter().map(|entry| of_entry(entry)).collect();
    value
}

/// Adds the fields that the wire leaves out.
fn spelled_out(frame: &ServerFrame) -> Value {
    let mut value = written(frame);
    let absent: &[&str] = match value["type"].as_str() {
        Some("ack") => &["id", "seq", "ts"],
        Some("authenticated") => &["id", "expires_in_ms"],
        Some("error") => &["id", "retry_after_ms", "room"],
        Some("welcome" | "joined" | "left" | "page" | "members" | "rooms" | "pong") => &["id"],
        _ => &[],
    };
    for field in absent {
        value.entry(*field).or_insert(Value::Null);
    }
    if value["type"] == "ack" {
        value.entry("duplicate").or_insert(Value::Bool(false));
    }
    if value["type"] == "ping" {
        value.entry("heads").or_insert(json!({}));
    }
    if value["type"] == "welcome" {
        value.entry("rooms").or_insert(json!({}));
    }
    value.into()
}

fn written(what: &impl Serialize) -> Map<String, Value> {
    let text = serde_json::to_string(what).expect("it can be written");
    serde_json::from_str(&text).expect("it is an object")
}
