//! How many rooms there may be, over all Hubs.
use std::collections::{BTreeSet, VecDeque};

use chat_proto::{
    ClientFrame, Dialect, Epoch, ErrorCode, LimitValues, Request, RoomName, Seq, ServerFrame,
    SessionId, Timestamp,
};
use chat_simulation::world::{Preset, Setup, World, story_with};
use chat_state::{
    Action, Config, ConnId, Connect, Digest, DigestLine, Event, Hub, HubId, Identity, LogHead,
    LogPage, Mono, Now, Peers, Probe, Service, Signal, Span, guest,
};

const CONN: ConnId = ConnId { slot: 0, generation: 0 };
const OTHER: HubId = HubId { node: 7, incarnation: 1 };
const ANOTHER: HubId = HubId { node: 8, incarnation: 1 };

fn three_hubs(limits: LimitValues) -> World {
    World::with_limits(Setup { hubs: 3, preset: Preset::Default }, limits)
}

#[test]
fn a_room_that_is_new_everywhere_is_refused_and_one_that_is_somewhere_is_not() {
    story_with(
        three_hubs(LimitValues { rooms_total: 2, ..LimitValues::default() }),
        "v1 a\n v1 b on 1\n v1 c on 2\n a joins den\n b joins attic\n wait 1000\n a joins loft
         b joins loft\n c joins loft\n c joins den\n a joins attic\n c leaves den\n wait 1000
         c joins loft\n a leaves attic\n b leaves attic\n wait 1000\n c joins loft\n wait 1000
         a joins attic",
        "a: welcome a
         b: welcome b
         c: welcome c
         a: joined den at 0 with 1(a)
         b: joined attic at 0 with 1(b)
         a: error rooms_exhausted
         b: error rooms_exhausted
         c: error rooms_exhausted
         a: [den] join c
         c: joined den at 0 with 1(c)
         c: [den] members 2(c,a)
         a: joined attic at 0 with 1(a)
         a: [attic] members 2(a,b)
         b: [attic] join a
         a: [den] leave c (Left)
         c: left den
         c: error rooms_exhausted
         a: left attic
         b: [attic] leave a (Left)
         b: left attic
         c: joined loft at 0 with 1(c)
         a: error rooms_exhausted",
    );
}

fn session() -> SessionId {
    SessionId::new("s").expect("a session")
}

/// One Hub whose log is empty and answers at once; what others do is told to it.
struct Test {
    hub: Hub,
    now: u64,
    /// Counts what other Hubs have told.
    told: u64,
}

impl Test {
    /// A Hub with a session.
    fn new(rooms_total: u32) -> Self {
        let limits =
            LimitValues { rooms_total, rooms: 2000, messages_per_10s: 0, ..LimitValues::default() };
        let config = Config {
            limits: limits.build().expect("within bounds"),
            peers: Peers::Some,
            ..Config::default()
        };
        let mut test = Self { hub: Hub::new(config), now: 0, told: 0 };
        let (dialect, probe) = (Dialect::V1, Probe::None);
        let (session, peer) = (session(), None);
        let identity = Identity::Guest { name: None };
        let connect = Connect { session, dialect, identity, probe, peer };
        let now = Now { mono: Mono(0), wall: Timestamp(0) };
        assert_eq!(test.hub.connect(now, connect, &mut VecDeque::new()), CONN);
        let hello = Request::Hello { name: None, token: None, features: vec![], resume: None };
        test.request(hello);
        test
    }

    /// Handles an event and answers what it asks the log; returns what the session is told.
    fn handle(&mut self, event: Event) -> Vec<ServerFrame> {
        let (mut events, mut told) = (VecDeque::from([event]), Vec::new());
        while let Some(event) = events.pop_front() {
            let now = Now { mono: Mono(self.now), wall: Timestamp(self.now) };
            let mut out = VecDeque::new();
            self.hub.handle(now, event, &mut out).expect("the Hub has issued it");
            for action in out {
                match action {
                    Action::Load { token, room, .. } => {
                        let epoch = Epoch::new("e").expect("an epoch");
                        let head =
                            LogHead { room, epoch, first: Seq::ZERO.next(), last: Seq::ZERO };
                        let result = Ok(LogPage { head, entries: vec![] });
                        events.push_back(Event::Loaded { token, result });
                    }
                    Action::Send { frame, .. } => told.push(frame),
                    Action::AwaitDrain { conn } => events.push_back(Event::Drained { conn }),
                    _ => {}
                }
            }
        }
        told
    }

    fn request(&mut self, request: Request) -> Vec<ServerFrame> {
        let frame = ClientFrame::V1 { id: None, request };
        self.handle(Event::Received { conn: CONN, frame })
    }

    /// Joins a room, or tells why not.
    fn join(&mut self, name: &str) -> Result<(), ErrorCode> {
        self.enter(RoomName::new(name).expect("a name"))
    }

    fn enter(&mut self, room: RoomName) -> Result<(), ErrorCode> {
        let told = self.request(Request::Join { room, history: 0 });
        let answer = told.iter().find_map(|frame| match frame {
            ServerFrame::Joined(_) => Some(Ok(())),
            ServerFrame::Error(error) => Some(Err(error.code)),
            _ => None,
        });
        answer.expect("an answer")
    }

    fn leave(&mut self, name: &str) {
        let room = RoomName::new(name).expect("a name");
        self.request(Request::Leave { room });
    }

    /// Another Hub tells how many members it has in a room.
    fn census(&mut self, from: HubId, name: &str, count: u64) {
        let room = RoomName::new(name).expect("a name");
        self.told += 1;
        let (at, covers) = (self.told, None);
        let lines = vec![DigestLine { room, version: at, count, head: None }];
        let signal = Signal::Digest(Digest { at, covers, lines });
        self.handle(Event::Signal { from, signal });
    }

    /// Lets time pass, with the timers that are due in it.
    fn pass(&mut self, ms: u64) -> Vec<Vec<Action>> {
        let (end, mut turns) = (self.now + ms, Vec::new());
        while let Some(due) = self.hub.poll_timeout().filter(|due| due.0 <= end) {
            self.now = due.0.max(self.now);
            let now = Now { mono: Mono(self.now), wall: Timestamp(self.now) };
            let mut out = VecDeque::new();
            self.hub.handle_timeout(now, &mut out);
            turns.push(out.into());
        }
        self.now = end;
        turns
    }
}

const FULL: Result<(), ErrorCode> = Err(ErrorCode::RoomsExhausted);

#[test]
fn a_room_that_is_here_and_elsewhere_is_one_room() {
    let mut test = Test::new(3);
    assert_eq!(test.join("a"), Ok(()));
    test.census(OTHER, "a", 1);
    test.census(OTHER, "b", 1);
    test.census(ANOTHER, "b", 1);
    assert_eq!((test.join("c"), test.join("d")), (Ok(()), FULL));
    // It is left here, and is still there.
    test.leave("a");
    assert_eq!(test.join("d"), FULL);
    test.census(OTHER, "b", 0);
    assert_eq!(test.join("d"), FULL, "another one has it");
    test.census(ANOTHER, "b", 0);
    assert_eq!((test.join("d"), test.join("e")), (Ok(()), FULL));
    assert_eq!(test.join("a"), Ok(()));
    test.census(OTHER, "a", 0);
    assert_eq!(test.join("e"), FULL);
    for room in ["a", "c", "d"] {
        test.leave(room);
    }
    for room in ["e", "f", "g"] {
        assert_eq!(test.join(room), Ok(()), "{room}");
    }
    assert_eq!(test.join("h"), FULL);
}

#[test]
fn an_inbox_has_a_place_as_long_as_its_own_hub_has_one() {
    let inbox = || RoomName::own(&guest(&session()));
    let mut test = Test::new(2);
    test.census(OTHER, "a", 1);
    test.census(OTHER, "b", 1);
    assert_eq!((test.join("c"), test.enter(inbox())), (FULL, Ok(())));
    assert_eq!(test.join("a"), Ok(()));
    // Beyond what one Hub keeps nobody gets in, wherever a room is.
    assert_eq!(test.join("b"), FULL);
    let mut test = Test::new(1);
    assert_eq!((test.join("a"), test.enter(inbox())), (Ok(()), FULL));
    let mut test = Test::new(1);
    assert_eq!((test.enter(inbox()), test.join("a")), (Ok(()), FULL));
}

#[test]
fn the_rooms_of_a_hub_that_falls_silent_are_forgotten_with_its_lease() {
    let mut test = Test::new(2);
    test.census(OTHER, "a", 1);
    test.census(ANOTHER, "b", 1);
    for _ in 0..3 {
        test.pass(5000);
        let signal = Signal::Alive { service: Service::Active };
        test.handle(Event::Signal { from: ANOTHER, signal });
    }
    test.pass(4999);
    assert_eq!(test.join("c"), FULL);
    test.pass(1);
    assert_eq!((test.join("c"), test.join("d")), (Ok(()), FULL), "the other one lives");
    test.pass(15_000);
    assert_eq!(test.join("d"), Ok(()));
}

#[test]
fn the_rooms_of_an_older_incarnation_are_forgotten_at_once() {
    let mut test = Test::new(1);
    test.census(OTHER, "a", 1);
    assert_eq!(test.join("b"), FULL);
    let from = HubId { incarnation: 2, ..OTHER };
    let signal = Signal::Alive { service: Service::Active };
    test.handle(Event::Signal { from, signal });
    // What it says late does not count.
    test.census(OTHER, "a", 1);
    assert_eq!(test.join("b"), Ok(()));
}

#[test]
fn a_room_that_a_complete_digest_does_not_list_is_forgotten() {
    let mut test = Test::new(1);
    test.census(OTHER, "a", 1);
    let digest = |at| {
        let covers = Some(Span { after: None, upto: None });
        let signal = Signal::Digest(Digest { at, covers, lines: Vec::new() });
        Event::Signal { from: OTHER, signal }
    };
    test.handle(digest(0));
    assert_eq!(test.join("b"), FULL, "it is older");
    test.handle(digest(9));
    assert_eq!(test.join("b"), Ok(()));
}

#[test]
fn many_rooms_are_told_in_turns() {
    const ROOMS: usize = 1300;
    let mut test = Test::new(2000);
    test.pass(1000);
    for n in 0..ROOMS {
        assert_eq!(test.join(&n.to_string()), Ok(()));
    }
    let (mut told, mut turns) = (BTreeSet::new(), Vec::new());
    for actions in test.pass(2000) {
        let before = told.len();
        for action in actions {
            if let Action::Signal { signal: Signal::Digest(digest), .. } = action {
                assert!(digest.lines.iter().all(|line| line.count == 1));
                told.extend(digest.lines.into_iter().map(|line| line.room));
            }
        }
        turns.push(told.len() - before);
    }
    turns.retain(|told| *told > 0);
    assert_eq!(turns, [256, 256, 256, 256, 256, 20]);
}
