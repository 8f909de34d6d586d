//! Decode undoes encode.
use std::collections::BTreeMap;
use std::sync::Arc;

use chat_proto::{
    Body, ClientFrame, Decoder, Dialect, Durability, Encoded, Entry, ErrorBody, ErrorCode,
    HistoryRange, Joined, LeaveReason, LimitValues, Limits, LostReason, Member, MembersView, Page,
    Position, Recovery, Request, Resume, RoomName, RoomSummary, ServerFrame, Token, Welcome,
};

use crate::input::Input;

/// Makes a request and a server frame of the bytes, writes both and reads them again.
pub fn round_trip(data: &[u8]) {
    let mut input = Input(data);
    let id = input.id();
    let request = request(&mut input);
    let text = request.encode(id.as_ref());
    assert!(!text.contains('\n'), "one line: {text}");
    let read = Decoder::new(Dialect::V1).decode(&text);
    assert_eq!(read, Ok(ClientFrame::V1 { id, request }));

    let frame = frame(&mut input);
    let encoded = frame.encode(Dialect::V1).expect("chat.v1 has every frame");
    views_agree(&encoded);
    assert_eq!(ServerFrame::decode(encoded.as_str()), Ok(frame.clone()));
    if let Some(encoded) = frame.encode(Dialect::Basic) {
        views_agree(&encoded);
        // A `basic` frame has no `seq`, so it is no `chat.v1` frame, but it is one line of JSON.
        assert!(encoded.as_str().starts_with(r#"{"type":""#));
    }
}

fn views_agree(encoded: &Encoded) {
    let (text, line, websocket) = (encoded.text(), encoded.line(), encoded.websocket());
    assert!(!text.contains(&b'\n'), "{encoded:?}");
    assert_eq!(line.strip_suffix(b"\n"), Some(&text[..]));
    assert!(websocket.ends_with(&text) && websocket[0] == 0x81);
    let header = match text.len() {
        0..126 => 2,
        126..65_536 => 4,
        _ => 10,
    };
    assert_eq!(websocket.len(), header + text.len());
}

fn request(input: &mut Input<'_>) -> Request {
    match input.byte() % 10 {
        0 => Request::Hello {
            name: input.maybe(Input::display_name),
            token: input.maybe(|input| Token(input.text().into())),
            features: input.list(Input::text),
            resume: input.maybe(|input| {
                Resume {
                    session: input.session(),
                    attempt: input.integer(),
                    rooms: positions(input),
                }
                .into()
            }),
        },
        1 => Request::Join { room: input.room(), history: input.integer() as u32 },
        2 => Request::Leave { room: input.room() },
        3 => Request::Message {
            room: input.room(),
            key: input.key(),
            content: input.text().into(),
            reply_to: input.maybe(Input::place),
        },
        4 => Request::History {
            room: input.room(),
            range: match input.byte() % 4 {
                0 => HistoryRange::Latest,
                1 => HistoryRange::Before(input.seq()),
                2 => HistoryRange::After(input.seq()),
                _ => HistoryRange::Around(input.seq()),
            },
            limit: input.maybe(|input| input.integer() as u32),
        },
        5 => Request::Members { room: input.room() },
        6 => Request::Rooms { after: input.maybe(Input::room) },
        7 => Request::Typing { room: input.room(), active: input.flag() },
        8 => Request::Ping,
        9 => Request::Auth { token: Token(input.text().into()) },
        _ => Request::Pong,
    }
}

fn frame(input: &mut Input<'_>) -> ServerFrame {
    match input.byte() % 19 {
        0 => ServerFrame::Welcome(Box::new(welcome(input))),
        1 => ServerFrame::Joined(Box::new(Joined {
            id: input.id(),
            room: input.room(),
            epoch: input.epoch(),
            head: input.seq(),
            members: view(input),
            events: input.list(entry),
            has_more_before: input.flag(),
        })),
        2 => ServerFrame::Left { id: input.id(), room: input.room() },
        3 => ServerFrame::Ack {
            id: input.id(),
            room: input.room(),
            seq: input.maybe(Input::seq),
            ts: input.maybe(Input::time),
            duplicate: input.flag(),
        },
        4 => ServerFrame::Page(Box::new(Page {
            id: input.id(),
            room: input.room(),
            epoch: input.epoch(),
            events: input.list(entry),
            has_more_before: input.flag(),
            has_more_after: input.flag(),
        })),
        5 => ServerFrame::Members { id: input.id(), room: input.room(), view: view(input) },
        6 => ServerFrame::Rooms {
            id: input.id(),
            rooms: input.list(|i| RoomSummary { room: i.room(), members: i.integer() }),
            has_more: input.flag(),
        },
        7 => ServerFrame::Pong { id: input.id() },
        8 => ServerFrame::Error(Box::new(error(input))),
        9 => ServerFrame::Entry(entry(input)),
        10 => ServerFrame::Join { room: input.room(), member: member(input) },
        11 => ServerFrame::Leave {
            room: input.room(),
            member: member(input),
            reason: reason(input.byte()),
        },
        12 => {
            ServerFrame::Typing { room: input.room(), member: member(input), active: input.flag() }
        }
        13 => ServerFrame::Gap { room: input.room(), from: input.seq(), to: input.seq() },
        14 => ServerFrame::Bye {
            code: input.text(),
            reconnect: input.flag(),
            after_ms: input.integer(),
        },
        15 => ServerFrame::Hole { room: input.room(), from: input.seq(), to: input.seq() },
        16 => ServerFrame::Authenticated {
            id: input.id(),
            expires_in_ms: input.maybe(Input::integer),
        },
        17 => ServerFrame::AuthExpiring { expires_in_ms: input.integer() },
        18 => ServerFrame::Presence { room: input.room(), count: input.integer() },
        _ => ServerFrame::Ping { heads: positions(input) },
    }
}

fn welcome(input: &mut Input<'_>) -> Welcome {
    let mut limits = LimitValues::default();
    let (name, ..) = Limits::TABLE[usize::from(input.byte()) % Limits::TABLE.len()];
    // A value beyond the field is refused and leaves the default.
    let _ = limits.set(name, input.integer());
    Welcome {
        id: input.id(),
        session: input.session(),
        user: input.user(),
        name: input.display_name(),
        resumed: input.flag(),
        durability: match input.byte() % 4 {
            0 => Durability::Memory,
            1 => Durability::Process,
            2 => Durability::Disk,
            _ => Durability::Replicated,
        },
        heartbeat_ms: input.integer(),
        limits,
        features: input.list(Input::text),
        rooms: input.list(|input| (input.room(), recovery(input))).into_iter().collect(),
    }
}

fn positions(input: &mut Input<'_>) -> BTreeMap<RoomName, Position> {
    input.list(|input| (input.room(), position(input))).into_iter().collect()
}

fn position(input: &mut Input<'_>) -> Position {
    Position { epoch: input.epoch(), seq: input.seq() }
}

fn recovery(input: &mut Input<'_>) -> Recovery {
    match input.byte() % 6 {
        0 => Recovery::Lost(LostReason::EpochChanged),
        1 => Recovery::Lost(LostReason::Truncated),
        2 => Recovery::Lost(LostReason::TooFar),
        3 => Recovery::Lost(LostReason::NotMember),
        4 => Recovery::Lost(LostReason::Unavailable),
        _ => Recovery::Recovered(position(input)),
    }
}

fn error(input: &mut Input<'_>) -> ErrorBody {
    let code = ErrorCode::ALL[usize::from(input.byte()) % ErrorCode::ALL.len()];
    let mut error = ErrorBody::new(input.id(), code, input.text());
    error.retry_after_ms = input.maybe(Input::integer);
    error.room = input.maybe(Input::room);
    error
}

fn reason(byte: u8) -> LeaveReason {
    match byte % 5 {
        0 => LeaveReason::Left,
        1 => LeaveReason::Disconnected,
        2 => LeaveReason::SlowConsumer,
        3 => LeaveReason::TimedOut,
        _ => LeaveReason::Draining,
    }
}

fn member(input: &mut Input<'_>) -> Member {
    Member { user: input.user(), username: input.display_name() }
}

fn view(input: &mut Input<'_>) -> MembersView {
    MembersView { count: input.integer(), members: input.list(member).into() }
}

fn entry(input: &mut Input<'_>) -> Arc<Entry> {
    let (room, seq, ts) = (input.room(), input.seq(), input.time());
    let (user, username) = (input.user(), input.display_name());
    let key = input.key();
    let body = Body::Message { content: input.text().into(), reply_to: input.maybe(Input::seq) };
    Arc::new(Entry::new(room, seq, ts, user, username, key, body))
}
