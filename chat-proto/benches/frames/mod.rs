//! The frames that benches encode, decode and refuse: each as it is seen every day.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chat_proto::{
    Body, Dialect, DisplayName, Durability, Entry, Epoch, ErrorBody, ErrorCode, Joined, Key,
    LeaveReason, LimitValues, Member, MembersView, Page, Position, RequestId, RoomName, Seq,
    ServerFrame, SessionId, Timestamp, UserId, Welcome,
};

/// Something with a name to report it by.
pub(crate) struct Case<T> {
    pub(crate) name: &'static str,
    pub(crate) value: T,
}

impl<T> fmt::Display for Case<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Makes a message of 64 bytes that was not encoded yet.
pub(crate) fn entry(seq: u64) -> Entry {
    let (room, seq, ts) =
        (room(), Seq::new(seq).expect("it is well formed"), Timestamp(1_700_000_000_000 + seq));
    let key = Key::new("01J9ZC7V5T8N4M2K6Q0R3S1W8X").expect("it is well formed");
    let Member { user, username } = member(7);
    let body = Body::Message { content: CONTENT.into(), reply_to: None };
    Entry::new(room, seq, ts, user, username, Some(key), body)
}

/// What a server sends. Entries in them were not encoded yet.
pub(crate) fn server_frames() -> Vec<Case<ServerFrame>> {
    let id = || RequestId::new("17").ok();
    let view = || MembersView { count: 5000, members: Arc::new((0..200).map(member).collect()) };
    let (seq, events) =
        (|n| Seq::new(n).expect("it is well formed"), |n| (1..=n).map(|n| Arc::new(entry(n))));
    let error = ErrorBody::new(id(), ErrorCode::NotMember, "join the room first");
    let joined = Joined {
        id: id(),
        room: room(),
        epoch: epoch(),
        head: seq(50),
        members: view(),
        events: events(50).collect(),
        has_more_before: false,
    };
    let page = Page {
        id: id(),
        room: room(),
        epoch: epoch(),
        events: events(100).collect(),
        has_more_before: true,
        has_more_after: false,
    };
    let heads = BTreeMap::from([(room(), Position { epoch: epoch(), seq: seq(50) })]);
    let ack = ServerFrame::Ack {
        id: id(),
        room: room(),
        seq: Some(seq(42)),
        ts: Some(Timestamp(1_700_000_000_000)),
        duplicate: false,
    };
    let case = |name, value| Case { name, value };
    vec![
        case("welcome", ServerFrame::Welcome(welcome().into())),
        case("joined (200 members, 50 entries)", ServerFrame::Joined(joined.into())),
        case("page (100 entries)", ServerFrame::Page(page.into())),
        case("members (200)", ServerFrame::Members { id: id(), room: room(), view: view() }),
        case("ack", ack),
        case("error", ServerFrame::Error(error.into())),
        case("join", ServerFrame::Join { room: room(), member: member(1) }),
        case(
            "leave",
            ServerFrame::Leave { room: room(), member: member(1), reason: LeaveReason::Left },
        ),
        case("typing", ServerFrame::Typing { room: room(), member: member(1), active: true }),
        case("ping", ServerFrame::Ping { heads }),
    ]
}

/// What clients send.
pub(crate) fn client_texts() -> Vec<Case<(Dialect, String)>> {
    let key = "01J9ZC7V5T8N4M2K6Q0R3S1W8X";
    let resume = r#""resume":{"session":"k3XcQ2Vn8sTq7LwPz1YbRg","attempt":2,"#;
    let resume = format!(r#"{resume}"rooms":{{"lobby":{{"epoch":"e1","seq":41}}}}}}"#);
    let message = format!(r#"{{"type":"message","id":"2","key":"{key}""#);
    let v1 = |name, text: String| Case { name, value: (Dialect::V1, text) };
    let basic = |name, text: String| Case { name, value: (Dialect::Basic, text) };
    vec![
        v1("hello", r#"{"type":"hello","id":"0","name":"Ada","features":["typing"]}"#.into()),
        v1(
            "hello with resume",
            format!(r#"{{"type":"hello","id":"0","name":"Ada","features":["typing"],{resume}}}"#),
        ),
        v1("join", r#"{"type":"join","id":"1","room":"lobby","history":50}"#.into()),
        v1("message", format!(r#"{message},"room":"lobby","content":"{CONTENT}"}}"#)),
        v1(
            "message with escapes",
            format!(r#"{message},"room":"Café Zoë","content":"\"{CONTENT}\"\n"}}"#),
        ),
        v1(
            "history",
            r#"{"type":"history","id":"5","room":"lobby","before":42,"limit":100}"#.into(),
        ),
        v1("typing", r#"{"type":"typing","room":"lobby","active":true}"#.into()),
        v1("pong", r#"{"type":"pong"}"#.into()),
        basic("join", r#"{"type":"join","room":"lobby"}"#.into()),
        basic("leave", r#"{"type":"leave"}"#.into()),
        basic("message", format!(r#"{{"type":"message","content":"{CONTENT}"}}"#)),
    ]
}

/// What is refused.
pub(crate) fn bad_texts() -> Vec<Case<(Dialect, String)>> {
    let v1 = |name, text: String| Case { name, value: (Dialect::V1, text) };
    vec![
        v1("no JSON", "hello, is anybody there?".into()),
        v1("cut off", r#"{"type":"message","id":"2","room":"lobby","content":"Hell"#.into()),
        v1("unknown type", r#"{"type":"dance","id":"2","room":"lobby"}"#.into()),
        v1("bad name", r#"{"type":"join","id":"2","room":"~lobby"}"#.into()),
        v1("wrong field", r#"{"type":"join","id":"2","room":["lobby"]}"#.into()),
        v1("nested 1000 deep", format!(r#"{{"type":"join","id":"2","x":{}"#, "[".repeat(1000))),
        Case { name: "basic: no JSON", value: (Dialect::Basic, "hello?".into()) },
    ]
}

fn welcome() -> Welcome {
    Welcome {
        id: RequestId::new("0").ok(),
        session: SessionId::new("k3XcQ2Vn8sTq7LwPz1YbRg").expect("it is well formed"),
        user: UserId::new("guest-abcdefghijkmnpqrstuv").expect("it is well formed"),
        name: DisplayName::new("Ada").expect("it is well formed"),
        resumed: false,
        durability: Durability::Disk,
        heartbeat_ms: 25_000,
        limits: LimitValues::default(),
        features: vec!["typing".into()],
        rooms: BTreeMap::new(),
    }
}

fn room() -> RoomName {
    RoomName::new("lobby").expect("it is well formed")
}

fn epoch() -> Epoch {
    Epoch::new("e1").expect("it is well formed")
}

fn member(n: u32) -> Member {
    let user = UserId::new(&format!("guest-abcdefghijkmnpq{n:04}")).expect("it is well formed");
    Member { user, username: DisplayName::new(&format!("Ada{n}")).expect("it is well formed") }
}

const CONTENT: &str = "Has anybody seen the minutes of the meeting of last Tuesday, please?";
