//! The laws of the codec: decode undoes encode, encode settles decode, and nothing panics.
use std::collections::BTreeMap;
use std::sync::Arc;

use chat_proto::{
    BasicRequest, Body, ClientFrame, DecodeError, Decoder, Dialect, DisplayName, Durability,
    Encoded, Entry, Epoch, ErrorBody, ErrorCode, HistoryRange, Joined, Key, LeaveReason,
    LimitValues, Limits, LostReason, Member, MembersView, Page, Position, Recovery, Request,
    RequestId, Resume, RoomName, RoomSummary, SEQ_MAX, Seq, ServerFrame, SessionId, Timestamp,
    Token, UserId, Welcome,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

fn room() -> impl Strategy<Value = RoomName> {
    prop_oneof![9 => open_room(), 1 => user().prop_map(|user| RoomName::own(&user))]
}

/// A room for everybody: `basic` can't name an inbox.
fn open_room() -> impl Strategy<Value = RoomName> {
    "[a-zA-Z\u{e0}-\u{f6}\u{4e00}-\u{4e20} ]{1,16}|[a-z]{64}"
        .prop_filter_map("a name", |s| RoomName::new(&s).ok())
}

fn display_name() -> impl Strategy<Value = DisplayName> {
    "\\PC{1,12}|[A-Za-z \"\\\\<]{1,64}".prop_filter_map("a name", |s| DisplayName::new(&s).ok())
}

fn user() -> impl Strategy<Value = UserId> {
    "[a-z0-9][a-z0-9._-]{0,63}".prop_map(|s| UserId::new(&s).expect("the grammar"))
}

fn request_id() -> impl Strategy<Value = RequestId> {
    "\\PC{1,16}|[ -~]{64}".prop_filter_map("an id", |s| RequestId::new(&s).ok())
}

fn key() -> impl Strategy<Value = Key> {
    "\\PC{1,16}|[ -~]{64}".prop_filter_map("a key", |s| Key::new(&s).ok())
}

fn epoch() -> impl Strategy<Value = Epoch> {
    "[A-Za-z0-9_-]{1,32}".prop_map(|s| Epoch::new(&s).expect("the grammar"))
}

fn seq() -> impl Strategy<Value = Seq> {
    prop_oneof![0..100_u64, SEQ_MAX - 9..=SEQ_MAX, 0..=SEQ_MAX]
        .prop_map(|n| Seq::new(n).expect("it is in range"))
}

/// The place of an entry.
fn place() -> impl Strategy<Value = Seq> {
    seq().prop_filter("places begin at 1", |seq| *seq != Seq::ZERO)
}

/// Text with whatever JSON has to escape.
fn content() -> impl Strategy<Value = Arc<str>> {
    let any_text = vec(any::<char>(), 0..40).prop_map(String::from_iter);
    prop_oneof![any_text, "[\0-\u{7f}]{0,40}", "[a-z]{100,300}", Just(String::new())]
        .prop_map(Arc::from)
}

fn text() -> impl Strategy<Value = String> {
    content().prop_map(|text| String::from(&*text))
}

fn member() -> impl Strategy<Value = Member> {
    (user(), display_name()).prop_map(|(user, username)| Member { user, username })
}

fn entry() -> impl Strategy<Value = Arc<Entry>> {
    let head = (room(), seq(), 0..=SEQ_MAX);
    (head, (user(), display_name()), option::of(key()), content(), option::of(seq())).prop_map(
        |((room, seq, ts), (user, username), key, content, reply_to)| {
            let body = Body::Message { content, reply_to };
            Arc::new(Entry::new(room, seq, Timestamp(ts), user, username, key, body))
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let range = prop_oneof![
        Just(HistoryRange::Latest),
        seq().prop_map(HistoryRange::Before),
        seq().prop_map(HistoryRange::After),
        seq().prop_map(HistoryRange::Around),
    ];
    let hello =
        (
            option::of(display_name()),
            option::of(content()),
            vec(text(), 0..=32),
            option::of(
                (session(), 0..=SEQ_MAX, positions())
                    .prop_map(|(session, attempt, rooms)| Resume { session, attempt, rooms }),
            ),
        );
    prop_oneof![
        hello.prop_map(|(name, token, features, resume)| {
            let resume = resume.map(Box::new);
            Request::Hello { name, token: token.map(Token), features, resume }
        }),
        (room(), any::<u32>()).prop_map(|(room, history)| Request::Join { room, history }),
        room().prop_map(|room| Request::Leave { room }),
        text().prop_map(|text| Request::Auth { token: Token(text.into()) }),
        (room(), option::of(key()), content(), option::of(place())).prop_map(
            |(room, key, content, reply_to)| Request::Message { room, key, content, reply_to }
        ),
        (room(), range, option::of(any::<u32>()))
            .prop_map(|(room, range, limit)| Request::History { room, range, limit }),
        room().prop_map(|room| Request::Members { room }),
        option::of(room()).prop_map(|after| Request::Rooms { after }),
        (room(), any::<bool>()).prop_map(|(room, active)| Request::Typing { room, active }),
        Just(Request::Ping),
        Just(Request::Pong),
    ]
}

fn session() -> impl Strategy<Value = SessionId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|s| SessionId::new(&s).expect("the grammar"))
}

fn position() -> impl Strategy<Value = Position> {
    (epoch(), seq()).prop_map(|(epoch, seq)| Position { epoch, seq })
}

fn positions() -> impl Strategy<Value = BTreeMap<RoomName, Position>> {
    btree_map(room(), position(), 0..4)
}

fn recovery() -> impl Strategy<Value = Recovery> {
    prop_oneof![
        position().prop_map(Recovery::Recovered),
        prop_oneof![
            Just(LostReason::EpochChanged),
            Just(LostReason::Truncated),
            Just(LostReason::TooFar),
            Just(LostReason::NotMember),
            Just(LostReason::Unavailable),
        ]
        .prop_map(Recovery::Lost),
    ]
}

fn view() -> impl Strategy<Value = MembersView> {
    (0..=SEQ_MAX, vec(member(), 0..4))
        .prop_map(|(count, members)| MembersView { count, members: members.into() })
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let durability = prop_oneof![
        Just(Durability::Memory),
        Just(Durability::Process),
        Just(Durability::Disk),
        Just(Durability::Replicated),
    ];
    let who = (option::of(request_id()), session(), user(), display_name());
    let limits = (0..Limits::TABLE.len(), any::<u32>()).prop_map(|(index, value)| {
        let mut limits = LimitValues::default();
        let set = limits.set(Limits::TABLE[index].0, u64::from(value));
        set.expect("it has that name").expect("it fits");
        limits
    });
    let rooms = btree_map(room(), recovery(), 0..4);
    (who, (any::<bool>(), rooms), durability, 0..=SEQ_MAX, limits, vec(text(), 0..3)).prop_map(
        |(
            (id, session, user, name),
            (resumed, rooms),
            durability,
            heartbeat_ms,
            limits,
            features,
        )| {
            Welcome {
                id,
                session,
                user,
                name,
                resumed,
                durability,
                heartbeat_ms,
                limits,
                features,
                rooms,
            }
        },
    )
}

fn lists() -> impl Strategy<Value = ServerFrame> {
    let events = || (epoch(), vec(entry(), 0..4));
    let joined = (option::of(request_id()), room(), events(), seq(), view(), any::<bool>());
    let page = (option::of(request_id()), room(), events(), any::<bool>(), any::<bool>());
    prop_oneof![
        joined.prop_map(|(id, room, (epoch, events), head, members, has_more_before)| {
            let joined = Joined { id, room, epoch, head, members, events, has_more_before };
            ServerFrame::Joined(joined.into())
        }),
        page.prop_map(|(id, room, (epoch, events), has_more_before, has_more_after)| {
            let page = Page { id, room, epoch, events, has_more_before, has_more_after };
            ServerFrame::Page(page.into())
        }),
    ]
}

fn replies() -> impl Strategy<Value = ServerFrame> {
    let id = || option::of(request_id());
    let ack = (id(), room(), option::of(seq()), option::of(0..=SEQ_MAX), any::<bool>());
    let summary = (room(), 0..=SEQ_MAX).prop_map(|(room, members)| RoomSummary { room, members });
    let code = (0..ErrorCode::ALL.len()).prop_map(|index| ErrorCode::ALL[index]);
    let error = (id(), code, text(), option::of(0..=SEQ_MAX), option::of(room()));
    prop_oneof![
        welcome().prop_map(|welcome| ServerFrame::Welcome(welcome.into())),
        lists(),
        (id(), room()).prop_map(|(id, room)| ServerFrame::Left { id, room }),
        ack.prop_map(|(id, room, seq, ts, duplicate)| {
            ServerFrame::Ack { id, room, seq, ts: ts.map(Timestamp), duplicate }
        }),
        (id(), room(), view()).prop_map(|(id, room, view)| ServerFrame::Members { id, room, view }),
        (id(), vec(summary, 0..4), any::<bool>())
            .prop_map(|(id, rooms, has_more)| ServerFrame::Rooms { id, rooms, has_more }),
        id().prop_map(|id| ServerFrame::Pong { id }),
        error.prop_map(|(id, code, message, retry_after_ms, room)| {
            let error = ErrorBody { retry_after_ms, room, ..ErrorBody::new(id, code, message) };
            ServerFrame::Error(error.into())
        }),
    ]
}

fn events() -> impl Strategy<Value = ServerFrame> {
    let reason = prop_oneof![
        Just(LeaveReason::Left),
        Just(LeaveReason::Disconnected),
        Just(LeaveReason::SlowConsumer),
        Just(LeaveReason::TimedOut),
        Just(LeaveReason::Draining),
    ];
    prop_oneof![
        entry().prop_map(ServerFrame::Entry),
        (room(), member()).prop_map(|(room, member)| ServerFrame::Join { room, member }),
        (room(), 0..=SEQ_MAX).prop_map(|(room, count)| ServerFrame::Presence { room, count }),
        (room(), member(), reason).prop_map(|(room, member, reason)| ServerFrame::Leave {
            room,
            member,
            reason
        }),
        (room(), member(), any::<bool>()).prop_map(|(room, member, active)| ServerFrame::Typing {
            room,
            member,
            active
        }),
        (room(), seq(), seq()).prop_map(|(room, from, to)| ServerFrame::Gap { room, from, to }),
        (text(), any::<bool>(), 0..=SEQ_MAX)
            .prop_map(|(code, reconnect, after_ms)| ServerFrame::Bye { code, reconnect, after_ms }),
        (option::of(request_id()), option::of(0..=SEQ_MAX))
            .prop_map(|(id, expires_in_ms)| { ServerFrame::Authenticated { id, expires_in_ms } }),
        (0..=SEQ_MAX).prop_map(|expires_in_ms| ServerFrame::AuthExpiring { expires_in_ms }),
        positions().prop_map(|heads| ServerFrame::Ping { heads }),
        (room(), seq(), seq()).prop_map(|(room, from, to)| ServerFrame::Hole { room, from, to }),
    ]
}

fn frame() -> impl Strategy<Value = ServerFrame> {
    prop_oneof![replies(), events()]
}

/// Text that looks like a frame until one looks closely.
fn nearly_a_frame() -> impl Strategy<Value = String> {
    let name = "type|id|room|name|key|content|features|reply_to|after|limit|history|active|x";
    let word = "hello|join|message|history|ping|lobby|1|\\\\ud800|\\\\u0041|\u{202e}|\\PC{0,80}";
    let value = prop_oneof![
        word.prop_map(|word| format!("\"{word}\"")),
        "-?[0-9]{1,25}(\\.[0-9]{1,3})?(e[0-9]{1,3})?",
        "null|true|false|\\{\\}|\\[\\]|\\[\\[1\\]\\]|\\{\"a\":\\{|\\[",
    ];
    let fields = vec((name, value), 0..6);
    (fields, "", ".{0,3}", any::<bool>()).prop_map(|(fields, before, after, closed)| {
        let fields: Vec<_> = fields.iter().map(|(n, v)| format!("\"{n}\":{v}")).collect();
        format!("{before}{{{}{}{after}", fields.join(","), if closed { "}" } else { "" })
    })
}

/// Characters that mapping, folding or normalizing changes, and marks that combine with them.
fn awkward_text() -> impl Strategy<Value = String> {
    let letters = " \u{a0}aZ\u{df}\u{130}\u{3a3}\u{212b}\u{ff20}@~\u{fb01}";
    let marks = "\u{300}\u{301}\u{327}\u{345}\u{3099}\u{1100}\u{1161}\u{11a8}";
    let all: Vec<char> = letters.chars().chain(marks.chars()).collect();
    vec(prop::sample::select(all), 0..24).prop_map(String::from_iter)
}

fn v1(text: &str) -> Result<ClientFrame, DecodeError> {
    Decoder::new(Dialect::V1).decode(text)
}

/// Checks what holds for the three views of every encoding.
fn views_agree(encoded: &Encoded) {
    let (text, line, websocket) = (encoded.text(), encoded.line(), encoded.websocket());
    assert_eq!(text, encoded.as_str());
    assert!(!text.contains(&b'\n') && !text.contains(&b'\r'), "{encoded:?}");
    assert_eq!(line.strip_suffix(b"\n"), Some(&text[..]));
    let (length, header) = match (websocket[0], websocket[1]) {
        (0x81, 126) => (u64::from(u16::from_be_bytes([websocket[2], websocket[3]])), 4),
        (0x81, 127) => (u64::from_be_bytes(websocket[2..10].try_into().expect("8 bytes")), 10),
        (0x81, short) => (u64::from(short), 2),
        (first, _) => panic!("{first:#x} does not begin a whole text frame"),
    };
    assert_eq!(length, text.len() as u64);
    assert_eq!(websocket[header..], text);
}

fn all_readings(text: &str) -> Result<(), TestCaseError> {
    let errors = [
        v1(text).err(),
        Decoder::new(Dialect::Basic).decode(text).err(),
        ServerFrame::decode(text).err(),
    ];
    for error in errors.into_iter().flatten() {
        prop_assert!(error.message.len() <= DecodeError::MESSAGE_BYTES_MAX);
        prop_assert!(!error.message.is_empty());
    }
    Ok(())
}

proptest! {
    #[test]
    fn decode_undoes_encode_for_requests(id in option::of(request_id()), request in request()) {
        let text = request.encode(id.as_ref());
        prop_assert!(!text.contains('\n'));
        prop_assert_eq!(v1(&text), Ok(ClientFrame::V1 { id, request }));
    }

    #[test]
    fn decode_undoes_encode_for_basic_requests(room in open_room(), content in content()) {
        let requests =
            [BasicRequest::Join { room }, BasicRequest::Leave, BasicRequest::Message { content }];
        for request in requests {
            let read = Decoder::new(Dialect::Basic).decode(&request.encode());
            prop_assert_eq!(read, Ok(ClientFrame::Basic(request)));
        }
    }

    #[test]
    fn decode_undoes_encode_for_server_frames(frame in frame()) {
        let encoded = frame.encode(Dialect::V1).expect("chat.v1 has every frame");
        views_agree(&encoded);
        prop_assert_eq!(ServerFrame::decode(encoded.as_str()), Ok(frame.clone()));
        // serde's own way in and out is the same.
        let text = serde_json::to_string(&frame).expect("it can be written");
        prop_assert_eq!(&text, encoded.as_str());
        let read: ServerFrame = serde_json::from_str(&text).expect("it can be read");
        prop_assert_eq!(read, frame);
    }

    #[test]
    fn a_basic_frame_has_its_four_fields(frame in frame()) {
        let Some(encoded) = frame.encode(Dialect::Basic) else { return Ok(()) };
        views_agree(&encoded);
        let value: Value = serde_json::from_str(encoded.as_str()).expect("it is JSON");
        let fields: Vec<_> = value.as_object().expect("it is an object").keys().collect();
        prop_assert_eq!(fields, ["content", "room", "type", "username"]);
        prop_assert!(value.as_object().expect("so").values().all(Value::is_string));
        prop_assert!(["join", "leave", "message"].iter().any(|kind| value["type"] == *kind));
    }

    #[test]
    fn encode_settles_decode(text in nearly_a_frame()) {
        if let Ok(ClientFrame::V1 { id, request }) = v1(&text) {
            let settled = request.encode(id.as_ref());
            let again = v1(&settled);
            prop_assert_eq!(&again, &Ok(ClientFrame::V1 { id: id.clone(), request }));
            let Ok(ClientFrame::V1 { request, .. }) = again else { unreachable!() };
            prop_assert_eq!(request.encode(id.as_ref()), settled);
        }
        if let Some(settled) = ServerFrame::decode(&text).ok().and_then(|f| f.encode(Dialect::V1)) {
            let again = ServerFrame::decode(settled.as_str()).expect("we wrote it");
            prop_assert_eq!(again.encode(Dialect::V1), Some(settled));
        }
    }

    #[test]
    fn nothing_panics_and_no_error_is_long(any in ".{0,200}", nearly in nearly_a_frame()) {
        all_readings(&any)?;
        all_readings(&nearly)?;
    }

    #[test]
    fn any_cut_of_a_frame_keeps_its_id(request in request(), cut in any::<prop::sample::Index>()) {
        let id = RequestId::new("the id").expect("it is one");
        let text = request.encode(Some(&id));
        let cut = cut.index(text.len());
        let cut = (0..=cut).rev().find(|&at| text.is_char_boundary(at)).expect("0 is one");
        let error = v1(&text[..cut]).expect_err("it is cut off");
        let read_id = text.find("the id\"").is_some_and(|at| at + "the id\"".len() <= cut);
        prop_assert_eq!(error.id, read_id.then_some(id));
    }

    #[test]
    fn names_settle(text in awkward_text()) {
        if let Ok(name) = RoomName::new(&text) {
            for again in [name.as_str(), name.folded()] {
                let again = RoomName::new(again).expect("it was a name");
                prop_assert_eq!(&again, &name);
                prop_assert_eq!(again.folded(), name.folded());
            }
            let spelled = RoomName::new(name.as_str()).expect("it was a name");
            prop_assert_eq!(spelled.as_str(), name.as_str());
            prop_assert!(name.as_str().len() <= 64 && name.folded().len() <= 64);
            prop_assert!(!name.folded().starts_with(['@', '~', ' ']));
            prop_assert_eq!(RoomName::from_wire(&text), Ok(name));
        }
    }
}
