//! What hostile clients and broken peers try, and what they leave behind.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chat_proto::{
    Body, ClientFrame, Dialect, DisplayName, Entry, Epoch, LeaveReason, LimitValues, Member,
    Request, Resume, RoomName, Seq, SessionId, Timestamp, Token as Credentials, UserId,
};
use chat_state::{
    Action, Config, ConnId, Connect, Digest, DigestLine, Event, Hub, HubId, Identity, LogHead,
    LogPage, MemberId, Mono, Now, Peers, Probe, RosterPart, Signal, Stamp, Stats, Token,
};

const PEER: HubId = HubId { node: 7, incarnation: 1 };

struct Test {
    hub: Hub,
    now: u64,
}

fn seq(n: u64) -> Seq {
    Seq::new(n).expect("small")
}

fn named(name: &str) -> RoomName {
    RoomName::new(name).expect("a name")
}

fn entry(room: &RoomName, n: u64) -> Arc<Entry> {
    let user = UserId::new("u").expect("an id");
    let name = DisplayName::new("U").expect("a name");
    let body = Body::Message { content: "x".into(), reply_to: None };
    Entry::new(room.clone(), seq(n), Timestamp(0), user, name, None, body).into()
}

fn page(room: &RoomName, last: u64, entries: impl Iterator<Item = u64>) -> LogPage {
    let epoch = Epoch::new("e").expect("an epoch");
    let head = LogHead { room: room.clone(), epoch, first: seq(1), last: seq(last) };
    LogPage { head, entries: entries.map(|n| entry(room, n)).collect() }
}

impl Test {
    fn new(peers: Peers, limits: LimitValues) -> Self {
        let limits = limits.build().expect("within bounds");
        Self { hub: Hub::new(Config { peers, limits, ..Config::default() }), now: 0 }
    }
    fn now(&self) -> Now {
        Now { mono: Mono(self.now), wall: Timestamp(self.now) }
    }
    fn connect(&mut self, session: &str, dialect: Dialect, identity: Identity) -> ConnId {
        let session = SessionId::new(session).expect("a session");
        let probe = Probe::Transport;
        let connect = Connect { session, dialect, identity, probe, peer: None };
        let now = self.now();
        self.hub.connect(now, connect, &mut VecDeque::new())
    }
    fn guest(&mut self, session: &str) -> ConnId {
        let conn = self.connect(session, Dialect::V1, Identity::Guest { name: None });
        self.request(conn, hello(None));
        conn
    }
    fn request(&mut self, conn: ConnId, request: Request) -> VecDeque<Action> {
        self.handle(Event::Received { conn, frame: ClientFrame::V1 { id: None, request } })
    }
    fn handle(&mut self, event: Event) -> VecDeque<Action> {
        let mut actions = VecDeque::new();
        let now = self.now();
        self.hub.handle(now, event, &mut actions).expect("the Hub has issued it");
        actions
    }
    fn pass(&mut self, ms: u64) -> VecDeque<Action> {
        let mut actions = VecDeque::new();
        self.now += ms;
        let now = self.now();
        self.hub.handle_timeout(now, &mut actions);
        self.hub.end_turn(now, &mut actions);
        actions
    }
    fn join(&mut self, conn: ConnId, room: &RoomName, last: u64) {
        let opens = self.request(conn, Request::Join { room: room.clone(), history: 0 });
        if let Some(token) = loads(&opens).pop() {
            self.handle(Event::Loaded { token, result: Ok(page(room, last, 0..0)) });
        }
    }
}

fn loads(actions: &VecDeque<Action>) -> Vec<Token> {
    let load = |action: &Action| match action {
        Action::Load { token, .. } => Some(*token),
        _ => None,
    };
    actions.iter().filter_map(load).collect()
}

fn hello(resume: Option<Resume>) -> Request {
    Request::Hello { name: None, token: None, features: vec![], resume: resume.map(Box::new) }
}

fn resume(session: &str) -> Resume {
    let session = SessionId::new(session).expect("a session");
    Resume { session, attempt: 0, rooms: BTreeMap::new() }
}

#[test]
fn a_connection_that_began_as_basic_and_resumes_leaves_nothing_behind() {
    let mut test = Test::new(Peers::None, LimitValues::default());
    for session in ["fresh", "fresh"] {
        let conn = test.connect(session, Dialect::Basic, Identity::Guest { name: None });
        test.request(conn, hello(Some(resume("older"))));
        test.handle(Event::Disconnected { conn, why: LeaveReason::Left });
    }
    assert_eq!(test.hub.stats(), Stats::default());
}

/// Many joins wait behind one read, and its answer lets all of them in.
fn joins_at_once(count: usize) {
    let limits = LimitValues {
        rooms: 65_536,
        outbox_high_bytes: 64 << 20,
        outbox_bytes: 128 << 20,
        messages_per_10s: 0,
        ..LimitValues::default()
    };
    let mut test = Test::new(Peers::None, limits);
    let conn = test.guest("s");
    let den = named("den");
    test.join(conn, &den, 300);
    // A join with history, which the log takes its time to read.
    let asked = test.request(conn, Request::Join { room: den.clone(), history: 50 });
    let slow = loads(&asked).pop().expect("a read");
    for n in 0..count {
        test.join(conn, &named(&format!("room {n}")), 0);
    }
    let actions = test.handle(Event::Loaded { token: slow, result: Ok(page(&den, 300, 251..301)) });
    assert!(actions.len() > count);
}

#[test]
fn any_number_of_joins_at_once_fits_on_the_stack_of_a_thread() {
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    let joined = thread.spawn(|| joins_at_once(20_000)).expect("a thread").join();
    joined.expect("no panic");
}

#[test]
fn an_absurd_count_of_a_peer_does_not_overflow_the_list_of_rooms() {
    let mut test = Test::new(Peers::Some, LimitValues::default());
    let conn = test.guest("s");
    test.join(conn, &named("den"), 0);
    let line = DigestLine { room: named("den"), version: 5, count: u64::MAX, head: None };
    let digest = Digest { at: 5, covers: None, lines: vec![line] };
    test.handle(Event::Signal { from: PEER, signal: Signal::Digest(digest) });
    test.request(conn, Request::Rooms { after: None });
}

#[test]
fn an_absurd_count_of_a_peer_does_not_overflow_its_register() {
    let mut test = Test::new(Peers::Some, LimitValues::default());
    let conn = test.guest("s");
    let den = named("den");
    test.join(conn, &den, 0);
    let part = RosterPart { room: den.clone(), version: 5, count: u64::MAX, members: vec![] };
    let signal = Signal::Rosters { parts: vec![part] };
    test.handle(Event::Signal { from: PEER, signal });
    let member = Member {
        user: UserId::new("u").expect("an id"),
        username: DisplayName::new("U").expect("a name"),
    };
    let stamp = Stamp { version: 6, after: 5 };
    let signal = Signal::Came { room: den, id: MemberId(1), member, attempt: 0, stamp };
    test.handle(Event::Signal { from: PEER, signal });
}

#[test]
fn questions_to_the_authority_end_with_their_connections() {
    let mut test = Test::new(Peers::None, LimitValues::default());
    for n in 0..1000 {
        let wanted = Identity::Wanted { credentials: None };
        let conn = test.connect(&format!("s{n}"), Dialect::V1, wanted);
        let token = Some(Credentials("t".into()));
        let hello = Request::Hello { name: None, token, features: vec![], resume: None };
        test.request(conn, hello);
        test.handle(Event::Disconnected { conn, why: LeaveReason::Disconnected });
    }
    test.pass(3_600_000);
    assert_eq!(test.hub.stats().pending, 0);
}

#[test]
fn a_session_has_one_read_of_the_log_in_flight() {
    let mut test = Test::new(Peers::None, LimitValues::default());
    let conn = test.guest("s");
    let den = named("den");
    test.join(conn, &den, 300);
    let mut asked = 0;
    for _ in 0..900 {
        let actions = test.request(conn, Request::Join { room: den.clone(), history: 200 });
        asked += loads(&actions).len();
    }
    assert!(asked <= 2, "{asked} reads that the log has not answered");
}
