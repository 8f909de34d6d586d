//! Generates arbitrary frames of a server, and arbitrary events of a network and an application.
use std::sync::Arc;

use chat_proto::{
    Body, DisplayName, Durability, Entry, Epoch, ErrorBody, ErrorCode, Joined, Key, LeaveReason,
    LimitValues, LostReason, Member, MembersView, Page, Position, Recovery, RequestId, RoomName,
    SEQ_MAX, Seq, ServerFrame, SessionId, Timestamp, Token, UserId, Welcome,
};
use chat_state::client::{Event, LinkId};
use proptest::prelude::*;

use crate::world::room;

/// Generates any event. Its link is given as the distance from the present one.
pub(crate) fn event() -> impl Strategy<Value = Anything> {
    prop_oneof![
        20 => (link(), frame()).prop_map(|(link, frame)| Anything::Frame(link, frame.into())),
        2 => link().prop_map(Anything::Opened),
        1 => link().prop_map(Anything::Malformed),
        2 => (link(), close()).prop_map(|(link, code)| Anything::Closed(link, code)),
        1 => Just(Anything::Application(Event::Start)),
        1 => Just(Anything::Application(Event::Stop)),
        1 => Just(Anything::Application(Event::Wake)),
        1 => any::<bool>().prop_map(|some| {
            let token = some.then(|| Token("t".into()));
            Anything::Application(Event::Token { token })
        }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(n, active)| {
            Anything::Application(Event::Typing { room: room(n), active })
        }),
    ]
}

#[derive(Clone, Debug)]
pub(crate) enum Anything {
    Application(Event),
    Opened(u64),
    Malformed(u64),
    Closed(u64, Option<u16>),
    Frame(u64, Box<ServerFrame>),
}

impl Anything {
    pub(crate) fn event(&self, present: LinkId) -> Event {
        let link = |back: u64| LinkId(present.0.saturating_sub(back));
        match self.clone() {
            Self::Application(event) => event,
            Self::Opened(back) => Event::Opened { link: link(back) },
            Self::Malformed(back) => Event::Malformed { link: link(back) },
            Self::Closed(back, code) => Event::Closed { link: link(back), code },
            Self::Frame(back, frame) => Event::Received { link: link(back), frame: *frame },
        }
    }
}

fn link() -> impl Strategy<Value = u64> {
    prop_oneof![9 => Just(0), 1 => 1..3_u64]
}

fn close() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![Just(None), (4000..4400_u16).prop_map(Some), any::<u16>().prop_map(Some)]
}

fn seq() -> impl Strategy<Value = Seq> {
    let far = (SEQ_MAX - 2..=SEQ_MAX).prop_map(|n| Seq::new(n).expect("small enough"));
    prop_oneof![20 => (0..12_u64).prop_map(|n| Seq::ZERO.plus(n)), 1 => far]
}

fn epoch() -> impl Strategy<Value = Epoch> {
    (0..3_u8).prop_map(|n| Epoch::new(&format!("x{n}")).expect("an epoch"))
}

fn any_room() -> impl Strategy<Value = RoomName> {
    (0..3_u8).prop_map(room)
}

/// Generates ids; the small ones match open requests, because requests are numbered from 1.
fn id() -> impl Strategy<Value = Option<RequestId>> {
    let number = prop_oneof![1..12_u64, any::<u64>()];
    prop::option::weighted(0.9, number.prop_map(|n| RequestId::new(&n.to_string()).expect("an id")))
}

fn user() -> impl Strategy<Value = UserId> {
    (0..3_u8).prop_map(|n| UserId::new(&format!("u{n}")).expect("a user"))
}

fn member() -> impl Strategy<Value = Member> {
    user().prop_map(|user| Member { user, username: DisplayName::new("X").expect("a name") })
}

fn entry() -> impl Strategy<Value = Arc<Entry>> {
    (any_room(), seq(), user(), prop::option::of(0..20_u8)).prop_map(|(room, seq, user, key)| {
        let key = key.map(|n| Key::new(&format!("k{n:04}")).expect("a key"));
        let (user, username) = (user, DisplayName::new("X").expect("a name"));
        let body = Body::Message { content: "x".into(), reply_to: None };
        Arc::new(Entry::new(room, seq, Timestamp(0), user, username, key, body))
    })
}

fn entries() -> impl Strategy<Value = Vec<Arc<Entry>>> {
    prop::collection::vec(entry(), 0..5)
}

fn view() -> impl Strategy<Value = MembersView> {
    prop::collection::vec(member(), 0..3)
        .prop_map(|members| MembersView { count: members.len() as u64, members: members.into() })
}

fn position() -> impl Strategy<Value = Position> {
    (epoch(), seq()).prop_map(|(epoch, seq)| Position { epoch, seq })
}

fn recovery() -> impl Strategy<Value = Recovery> {
    prop_oneof![
        position().prop_map(Recovery::Recovered),
        Just(Recovery::Lost(LostReason::EpochChanged)),
        Just(Recovery::Lost(LostReason::NotMember)),
        Just(Recovery::Lost(LostReason::Unknown)),
    ]
}

fn welcome() -> impl Strategy<Value = ServerFrame> {
    let rooms = prop::collection::btree_map(any_room(), recovery(), 0..3);
    let limits = prop_oneof![Just(None), (1..400_u32, 0..3_u32).prop_map(Some)];
    (id(), user(), rooms, limits, any::<u64>()).prop_map(|(id, user, rooms, limits, ms)| {
        let limits = limits.map_or_else(LimitValues::default, |(bytes, in_flight)| LimitValues {
            frame_bytes: bytes,
            message_bytes: bytes,
            in_flight,
            ..LimitValues::default()
        });
        let welcome = Welcome {
            id,
            session: SessionId::new("x").expect("a session"),
            user,
            name: DisplayName::new("X").expect("a name"),
            resumed: ms % 2 == 0,
            durability: Durability::Disk,
            heartbeat_ms: ms,
            limits,
            features: vec!["typing".into()],
            rooms,
        };
        ServerFrame::Welcome(welcome.into())
    })
}

fn error() -> impl Strategy<Value = ServerFrame> {
    let code = prop::sample::select(ErrorCode::ALL);
    let after = prop_oneof![Just(None), Just(Some(50)), any::<u64>().prop_map(Some)];
    (id(), code, any::<bool>(), after).prop_map(|(id, code, retryable, retry_after_ms)| {
        let error = ErrorBody { retryable, retry_after_ms, ..ErrorBody::new(id, code, "no") };
        ServerFrame::Error(error.into())
    })
}

fn joined() -> impl Strategy<Value = ServerFrame> {
    (id(), any_room(), position(), entries(), view()).prop_map(
        |(id, room, Position { epoch, seq }, events, members)| {
            let has_more_before = true;
            let joined = Joined { id, room, epoch, head: seq, members, events, has_more_before };
            ServerFrame::Joined(joined.into())
        },
    )
}

fn page() -> impl Strategy<Value = ServerFrame> {
    (id(), any_room(), epoch(), entries(), any::<bool>()).prop_map(
        |(id, room, epoch, events, more)| {
            let (has_more_before, has_more_after) = (more, !more);
            let page = Page { id, room, epoch, events, has_more_before, has_more_after };
            ServerFrame::Page(page.into())
        },
    )
}

fn frame() -> impl Strategy<Value = ServerFrame> {
    let bye = (any::<bool>(), any::<u64>()).prop_map(|(reconnect, after_ms)| ServerFrame::Bye {
        code: "because".into(),
        reconnect,
        after_ms,
    });
    let reason = LeaveReason::Unknown;
    prop_oneof![
        4 => welcome(),
        4 => joined(),
        6 => entry().prop_map(ServerFrame::Entry),
        4 => page(),
        4 => error(),
        2 => (any_room(), seq(), seq())
            .prop_map(|(room, from, to)| ServerFrame::Gap { room, from, to }),
        2 => (any_room(), seq(), seq())
            .prop_map(|(room, from, to)| ServerFrame::Hole { room, from, to }),
        2 => prop::collection::btree_map(any_room(), position(), 0..3)
            .prop_map(|heads| ServerFrame::Ping { heads }),
        3 => (id(), any_room(), prop::option::of(seq()), any::<bool>()).prop_map(
            |(id, room, seq, duplicate)| ServerFrame::Ack { id, room, seq, ts: None, duplicate }
        ),
        2 => (id(), any_room()).prop_map(|(id, room)| ServerFrame::Left { id, room }),
        1 => (id(), any_room(), view())
            .prop_map(|(id, room, view)| ServerFrame::Members { id, room, view }),
        1 => id().prop_map(|id| ServerFrame::Rooms { id, rooms: Vec::new(), has_more: true }),
        1 => id().prop_map(|id| ServerFrame::Pong { id }),
        1 => (any_room(), member()).prop_map(|(room, member)| ServerFrame::Join { room, member }),
        1 => (any_room(), 0..9_u64).prop_map(|(room, count)| ServerFrame::Presence { room, count }),
        1 => (any_room(), member())
            .prop_map(move |(room, member)| ServerFrame::Leave { room, member, reason }),
        1 => (any_room(), member(), any::<bool>())
            .prop_map(|(room, member, active)| ServerFrame::Typing { room, member, active }),
        1 => bye,
        1 => Just(ServerFrame::Unknown),
    ]
}
