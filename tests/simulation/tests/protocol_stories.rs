//! The edges of `PROTOCOL.md`: refused and repeated requests, names, attempts, spellings and zeros.
use std::collections::BTreeMap;

use chat_proto::{
    Body, CloseCode, DisplayName, Epoch, HistoryRange, LeaveReason, LimitValues, Position, Request,
    Resume, RoomName, Seq, ServerFrame, SessionId, Welcome,
};
use chat_simulation::adapter::Item;
use chat_simulation::world::{AskedPage, Kind, Link, LogMood, Preset, Setup, Want, World};
use chat_state::Event;

fn world() -> World {
    World::new(Setup { hubs: 1, preset: Preset::Default })
}

fn name(text: &str) -> RoomName {
    RoomName::new(text).expect("a name")
}

fn seq(n: u64) -> Seq {
    Seq::new(n).expect("small")
}

/// What a `hello` resumes.
struct Resuming<'a> {
    /// The connection that began the session.
    of: usize,
    /// 0 stands for an absent field.
    attempt: u64,
    name: Option<&'a str>,
    rooms: BTreeMap<RoomName, Position>,
}

impl Resuming<'_> {
    fn attempt(of: usize, attempt: u64) -> Self {
        Self { of, attempt, name: None, rooms: BTreeMap::new() }
    }
}

/// Resumes a session on a new connection; returns the connection.
fn resume(world: &mut World, what: Resuming<'_>) -> usize {
    let index = world.connect(0, Kind::Mute, "guest");
    let session = SessionId::new(&format!("s{}", what.of)).expect("a session id");
    let resume = Resume { session, attempt: what.attempt, rooms: what.rooms.clone() };
    let request = Request::Hello {
        name: what.name.map(|name| DisplayName::new(name).expect("a name")),
        token: None,
        features: Vec::new(),
        resume: Some(resume.into()),
    };
    world.request(index, &request, Want::Resumed { rooms: what.rooms });
    world.settle();
    world.flush();
    index
}

fn lines(world: &World, conn: usize) -> Vec<&str> {
    world.conns[conn].view.lines.iter().map(String::as_str).collect()
}

fn welcome(world: &World, conn: usize) -> &Welcome {
    let found = world.conns[conn].view.frames.iter().find_map(|frame| match frame {
        ServerFrame::Welcome(welcome) => Some(&**welcome),
        _ => None,
    });
    found.expect("it was welcome")
}

fn closed(world: &World, conn: usize) -> Option<CloseCode> {
    world.conns[conn].closed()
}

#[test]
fn the_name_in_hello_wins_over_the_kept_name() {
    let mut world = world();
    let first = world.connect(0, Kind::V1, "ada");
    let hello = |name| Resuming { name, ..Resuming::attempt(first, 0) };
    let kept = resume(&mut world, hello(None));
    assert_eq!(lines(&world, kept)[0], "welcome ada again");
    let renamed = resume(&mut world, hello(Some("Ada L.")));
    assert_eq!(lines(&world, renamed)[0], "welcome Ada L. again");
    world.cut(renamed, LeaveReason::Disconnected);
    world.settle();
    world.pass(119_999);
    let kept = resume(&mut world, hello(None));
    assert_eq!(lines(&world, kept)[0], "welcome Ada L. again");
    world.cut(kept, LeaveReason::Disconnected);
    world.settle();
    world.pass(120_000);
    let forgotten = resume(&mut world, hello(None));
    assert_eq!(lines(&world, forgotten)[0], "welcome guest", "the session is not known any more");
}

#[test]
fn a_connection_with_a_lower_attempt_is_superseded() {
    let mut world = world();
    let first = world.connect(0, Kind::V1, "ada");
    let newest = resume(&mut world, Resuming::attempt(first, 5));
    assert_eq!(closed(&world, first), Some(CloseCode::Superseded));
    let delayed = resume(&mut world, Resuming::attempt(first, 4));
    assert_eq!(closed(&world, delayed), Some(CloseCode::Superseded));
    assert!(lines(&world, delayed).is_empty(), "{:?}", lines(&world, delayed));
    assert_eq!(world.conns[newest].link, Link::Open);
}

#[test]
fn a_kept_session_remembers_its_newest_attempt() {
    let mut world = world();
    let first = world.connect(0, Kind::V1, "ada");
    let newest = resume(&mut world, Resuming::attempt(first, 5));
    world.cut(newest, LeaveReason::Disconnected);
    world.settle();
    let delayed = resume(&mut world, Resuming::attempt(first, 4));
    assert_eq!(closed(&world, delayed), Some(CloseCode::Superseded));
}

#[test]
fn of_two_connections_with_equal_or_absent_attempts_the_later_one_wins() {
    for attempt in [5, 0] {
        let mut world = world();
        let first = world.connect(0, Kind::V1, "ada");
        let earlier = resume(&mut world, Resuming::attempt(first, 5));
        let later = resume(&mut world, Resuming::attempt(first, attempt));
        assert_eq!(closed(&world, earlier), Some(CloseCode::Superseded), "attempt {attempt}");
        assert_eq!(lines(&world, later), ["welcome ada again"], "attempt {attempt}");
    }
}

#[test]
fn a_resume_may_name_no_room() {
    let mut world = world();
    let first = world.connect(0, Kind::V1, "ada");
    world.join(first, &name("den"), 0);
    world.settle();
    let resumed = resume(&mut world, Resuming::attempt(first, 1));
    assert!(welcome(&world, resumed).resumed);
    assert!(welcome(&world, resumed).rooms.is_empty());
    world.say(resumed, &name("den"), None, "hi");
    world.settle();
    world.flush();
    assert_eq!(lines(&world, resumed), ["welcome ada again", "error not_member"]);
}

#[test]
fn the_rooms_of_welcome_are_spelled_as_in_the_resume() {
    let mut world = world();
    let first = world.connect(0, Kind::V1, "ada");
    world.join(first, &name("Den"), 0);
    world.settle();
    let position = Position { epoch: Epoch::new("e1").expect("an epoch"), seq: Seq::ZERO };
    let rooms = BTreeMap::from([(name("dEN"), position)]);
    let resumed = resume(&mut world, Resuming { rooms, ..Resuming::attempt(first, 1) });
    let spelled: Vec<_> = welcome(&world, resumed).rooms.keys().map(RoomName::as_str).collect();
    assert_eq!(spelled, ["dEN"]);
}

#[test]
fn a_refused_hello_may_be_repeated_until_its_time_is_over() {
    let mut world = world();
    let ada = world.connect(0, Kind::Mute, "ada");
    for refused in [
        r#"{"type":"hello","name":"\u0000"}"#,
        r#"{"type":"hello","token":"t"}"#,
        r#"{"type":"hello","resume":{"session":"s","rooms":{"~den":{"epoch":"e1","seq":1}}}}"#,
        r#"{"type":"hello","name":"#,
    ] {
        world.raw(ada, refused);
        world.settle();
    }
    let refused = ["invalid_name", "unauthorized", "invalid_name", "bad_frame"];
    let mut told: Vec<String> = refused.map(|code| format!("error {code}")).into();
    world.pass(9999);
    world.flush();
    assert_eq!(lines(&world, ada), told);
    let hello = Request::Hello { name: None, token: None, features: Vec::new(), resume: None };
    world.request(ada, &hello, Want::Welcome);
    world.settle();
    world.flush();
    told.push("welcome ada".into());
    assert_eq!(lines(&world, ada), told);

    let late = world.connect(0, Kind::Mute, "late");
    world.pass(9000);
    world.raw(late, r#"{"type":"hello","name":"\u0000"}"#);
    world.settle();
    world.pass(1000);
    assert_eq!(closed(&world, late), Some(CloseCode::HeartbeatTimeout), "no time is added");
}

#[test]
fn a_limit_of_0_counts_as_1() {
    let mut world = world();
    let (ada, den) = (world.connect(0, Kind::V1, "ada"), name("den"));
    world.join(ada, &den, 0);
    for text in ["1", "2", "3"] {
        world.say(ada, &den, None, text);
        world.settle();
    }
    let range = HistoryRange::After(seq(1));
    let request = Request::History { room: den.clone(), range, limit: Some(0) };
    let asked = AskedPage { range, limit: 1, known: 3 };
    world.request(ada, &request, Want::Page { room: den, asked });
    world.settle();
    world.flush();
    assert_eq!(lines(&world, ada).last(), Some(&"page 2<ada>2 more-before more-after"));
}

#[test]
fn a_reply_to_beyond_the_head_is_carried_as_sent() {
    let mut world = world();
    let (ada, den) = (world.connect(0, Kind::V1, "ada"), name("den"));
    world.join(ada, &den, 0);
    let (content, reply_to) = ("hi", Some(seq(99)));
    let request =
        Request::Message { room: den.clone(), key: None, content: content.into(), reply_to };
    world.request(ada, &request, Want::Ack { room: den, content: content.into() });
    world.settle();
    world.flush();
    let found = world.conns[ada].view.frames.iter().find_map(|frame| match frame {
        ServerFrame::Entry(entry) => Some(entry.body.clone()),
        _ => None,
    });
    assert_eq!(found, Some(Body::Message { content: content.into(), reply_to }));
}

#[test]
fn requests_with_the_same_id_are_both_answered() {
    let mut world = world();
    let (ada, den) = (world.connect(0, Kind::V1, "ada"), name("den"));
    world.join(ada, &den, 0);
    world.settle();
    world.flush();
    world.log.mood = LogMood::Holds;
    // The view of a peer takes an id only once.
    world.conns[ada].reading = false;
    for content in ["one", "two"] {
        world.raw(
            ada,
            &format!(r#"{{"type":"message","id":"x","room":"den","content":"{content}"}}"#),
        );
        world.settle();
    }
    world.log.mood = LogMood::Prompt;
    while let Some((hub, event)) = world.log.answer(0) {
        world.tell(hub, event);
        world.settle();
    }
    let acks = world.conns[ada].port.outbox.iter().filter(|item| match item {
        Item::Frame(frame) => frame.as_str().starts_with(r#"{"type":"ack","id":"x""#),
        Item::Left | Item::Close(_) => false,
    });
    assert_eq!(acks.count(), 2);
}

#[test]
fn a_congested_client_that_takes_its_frames_is_not_timed_out() {
    let limits = LimitValues { outbox_high_bytes: 1024, ..LimitValues::default() };
    let mut world = World::with_limits(Setup { hubs: 1, preset: Preset::Default }, limits);
    let den = name("den");
    let [ada, bob] = ["ada", "bob"].map(|name| world.connect(0, Kind::V1, name));
    [ada, bob].into_iter().for_each(|conn| world.join(conn, &den, 0));
    world.settle();
    world.flush();
    world.conns[bob].reading = false;
    for _ in 0..4 {
        world.say(ada, &den, None, &"x".repeat(600));
        world.settle();
        world.flush();
    }
    assert!(world.conns[bob].port.is_congested, "nothing is read from it");
    let conn = world.conns[bob].id();
    for _ in 0..5 {
        world.pass(34_000);
        world.tell(0, Event::Drained { conn });
        world.settle();
    }
    assert_eq!(world.conns[bob].link, Link::Open);
    world.pass(35_000);
    assert_eq!(closed(&world, bob), Some(CloseCode::HeartbeatTimeout));
}
