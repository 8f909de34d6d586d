//! What a Hub does about inboxes: each is a room for its user's sessions alone.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chat_proto::{
    BasicRequest, Body, ClientFrame, CloseCode, Dialect, DisplayName, Entry, Epoch, ErrorBody,
    ErrorCode, HistoryRange, LeaveReason, LostReason, Position, Recovery, Request, Resume,
    RoomName, Seq, ServerFrame, SessionId, Timestamp, Token as Credentials, UserId,
};
use chat_state::{
    Action, Asked, Config, ConnId, Connect, Event, Grant, Hub, HubId, Identity, Keep, LogHead,
    LogPage, Lost, Mono, Now, Order, Peers, Probe, ReadRange, Recipients, RoomRights, Signal,
    TimeValues, guest,
};

const A: ConnId = ConnId { slot: 0, generation: 0 };
const A2: ConnId = ConnId { slot: 1, generation: 0 };
const B: ConnId = ConnId { slot: 2, generation: 0 };
const WALL: u64 = 1_700_000_000_000;

/// A Hub with others around it. The log and the authority are played: a credential is the user id
/// and, after a colon, patterns of rooms.
struct Test {
    hub: Hub,
    now: u64,
    log: BTreeMap<RoomName, Vec<Arc<Entry>>>,
    out: VecDeque<Action>,
}

fn inbox(user: &str) -> RoomName {
    RoomName::own(&UserId::new(user).expect("an id"))
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).expect("a name")
}

fn epoch() -> Epoch {
    Epoch::new("e").expect("an epoch")
}

fn seq(n: u64) -> Seq {
    Seq::new(n).expect("a place")
}

fn grant(credentials: &Credentials) -> Grant {
    let (user, rooms) = credentials.0.split_once(':').unwrap_or((&credentials.0, "*"));
    let rooms = RoomRights::matching(rooms.split(',')).expect("patterns");
    Grant { rooms, ..Grant::new(UserId::new(user).expect("an id")) }
}

fn hello(token: Option<&str>, resume: Option<Resume>) -> Request {
    let token = token.map(|token| Credentials(token.into()));
    Request::Hello { name: None, token, features: vec![], resume: resume.map(Into::into) }
}

fn resume(session: &str, room: &RoomName, n: u64) -> Resume {
    let session = SessionId::new(session).expect("a session");
    let position = Position { epoch: epoch(), seq: seq(n) };
    Resume { session, attempt: 1, rooms: [(room.clone(), position)].into() }
}

impl Test {
    fn new() -> Self {
        // Nobody here answers pings.
        let silence = 7 * 24 * 3600 * 1000;
        let times = TimeValues {
            heartbeat_ms: silence,
            heartbeat_dead_ms: silence,
            ..TimeValues::default()
        }
        .build()
        .expect("within bounds");
        let hub = Hub::new(Config { times, peers: Peers::Some, ..Config::default() });
        Self { hub, now: 0, log: BTreeMap::new(), out: VecDeque::new() }
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.now), wall: Timestamp(WALL + self.now) }
    }

    fn handle(&mut self, event: Event) {
        self.out.clear();
        self.play(VecDeque::from([event]));
    }

    /// Handles events and what the log and the authority answer; keeps what else comes out.
    fn play(&mut self, mut events: VecDeque<Event>) {
        while let Some(event) = events.pop_front() {
            let mut out = VecDeque::new();
            self.hub.handle(self.now(), event, &mut out).expect("the Hub has issued it");
            self.hub.end_turn(self.now(), &mut out);
            events.extend(out.into_iter().filter_map(|action| self.answer(action)));
        }
    }

    fn answer(&mut self, action: Action) -> Option<Event> {
        let said = |room: &RoomName| self.log.get(room).cloned().unwrap_or_default();
        let head = |room: &RoomName| LogHead {
            room: room.clone(),
            epoch: epoch(),
            first: seq(1),
            last: seq(said(room).len() as u64),
        };
        match action {
            Action::Load { token, room, range } => {
                let entries = some(&said(&room), range);
                let result = Ok(LogPage { head: head(&room), entries });
                Some(Event::Loaded { token, result })
            }
            Action::Head { token, room } => {
                let result = Ok(head(&room));
                self.out.push_back(Action::Head { token, room });
                Some(Event::Head { token, result })
            }
            Action::Authenticate { token, credentials, .. } => {
                Some(Event::Authenticated { token, result: Ok(grant(&credentials).into()) })
            }
            action => {
                self.out.push_back(action);
                None
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.out.clear();
        let end = self.now + ms;
        while let Some(Mono(due)) = self.hub.poll_timeout().filter(|due| due.0 <= end) {
            self.now = self.now.max(due);
            let mut out = VecDeque::new();
            self.hub.handle_timeout(self.now(), &mut out);
            let events = out.into_iter().filter_map(|action| self.answer(action)).collect();
            self.play(events);
        }
        self.now = end;
    }

    fn connect(&mut self, conn: ConnId, session: &str, dialect: Dialect, identity: Identity) {
        let session = SessionId::new(session).expect("a session");
        let probe = Probe::None;
        let connect = Connect { session, dialect, identity, probe, peer: None };
        self.out.clear();
        assert_eq!(self.hub.connect(self.now(), connect, &mut self.out), conn);
    }

    fn request(&mut self, conn: ConnId, request: Request) {
        self.handle(Event::Received { conn, frame: ClientFrame::V1 { id: None, request } });
    }

    /// A session with this credential, past its `welcome`.
    fn welcomed(&mut self, conn: ConnId, session: &str, token: &str) {
        self.connect(conn, session, Dialect::V1, Identity::Wanted { credentials: None });
        self.request(conn, hello(Some(token), None));
        assert!(matches!(self.told(conn)[..], [ServerFrame::Welcome(_)]), "{:?}", self.out);
    }

    fn join(&mut self, conn: ConnId, room: &RoomName) {
        self.request(conn, Request::Join { room: room.clone(), history: 10 });
    }

    fn joined(&mut self, conn: ConnId, room: &RoomName) -> chat_proto::Joined {
        self.join(conn, room);
        match self.told(conn).remove(0) {
            ServerFrame::Joined(joined) => *joined,
            other => panic!("not joined, but {other:?}"),
        }
    }

    /// An operator's backend puts a message into the log, without a word to the Hub.
    fn put(&mut self, room: &RoomName, content: &str) -> Arc<Entry> {
        let entries = self.log.entry(room.clone()).or_default();
        let (room, seq, ts) = (room.clone(), seq(entries.len() as u64 + 1), Timestamp(WALL));
        let (user, username) =
            (UserId::new("service.api").expect("an id"), DisplayName::new("api").expect("a name"));
        let body = Body::Message { content: content.into(), reply_to: None };
        let entry = Arc::new(Entry::new(room, seq, ts, user, username, None, body));
        entries.push(entry.clone());
        entry
    }

    /// The same, and the Hub is told.
    fn publish(&mut self, room: &RoomName, content: &str) {
        let entries = [self.put(room, content)].into();
        let signal = Signal::Committed { epoch: epoch(), room: room.clone(), entries };
        self.handle(Event::Signal { from: HubId::default(), signal });
    }

    fn told(&self, to: ConnId) -> Vec<ServerFrame> {
        let is_told = |recipients: &Recipients| match recipients {
            Recipients::One(conn) => *conn == to,
            Recipients::All(roster) => roster.iter().any(|conn| conn == to),
            Recipients::AllBut(roster, but) => *but != to && roster.iter().any(|conn| conn == to),
        };
        let frames = self.out.iter().filter_map(|action| match action {
            Action::Send { to, frame } if is_told(to) => Some(frame.clone()),
            _ => None,
        });
        frames.collect()
    }

    fn error(&self, to: ConnId) -> ErrorBody {
        match &self.told(to)[..] {
            [ServerFrame::Error(error)] => (**error).clone(),
            other => panic!("no error, but {other:?}"),
        }
    }

    fn entries(&self, to: ConnId) -> Vec<u64> {
        let frames = self.told(to).into_iter().map(|frame| match frame {
            ServerFrame::Entry(entry) => entry.seq.get(),
            other => panic!("no entry, but {other:?}"),
        });
        frames.collect()
    }

    fn signals(&self) -> Vec<&Signal> {
        let signals = self.out.iter().filter_map(|action| match action {
            Action::Signal { signal, .. } => Some(signal),
            _ => None,
        });
        signals.collect()
    }
}

fn some(entries: &[Arc<Entry>], range: ReadRange) -> Vec<Arc<Entry>> {
    let inside = |entry: &&Arc<Entry>| entry.seq >= range.from && entry.seq <= range.to;
    let mut entries: Vec<_> = entries.iter().filter(inside).cloned().collect();
    let most = range.limit as usize;
    match range.keep {
        Keep::Oldest => entries.truncate(most),
        Keep::Newest => drop(entries.drain(..entries.len().saturating_sub(most))),
    }
    entries
}

/// All that a client can ask of a room.
fn requests(room: &RoomName) -> [Request; 6] {
    let room = || room.clone();
    [
        Request::Join { room: room(), history: 10 },
        Request::Leave { room: room() },
        Request::Members { room: room() },
        Request::History { room: room(), range: HistoryRange::Latest, limit: None },
        Request::Message { room: room(), key: None, content: "hi".into(), reply_to: None },
        Request::Typing { room: room(), active: true },
    ]
}

#[test]
fn an_inbox_is_a_room_for_all_sessions_of_its_user() {
    let mut test = Test::new();
    test.welcomed(A, "a", "ada");
    test.welcomed(A2, "a2", "ada");
    test.publish(&inbox("ada"), "before");
    assert!(test.out.is_empty(), "nobody is there: {:?}", test.out);
    let joined = test.joined(A, &inbox("ada"));
    assert_eq!((joined.head, joined.events.len(), joined.has_more_before), (seq(1), 1, false));
    assert_eq!((joined.room.as_str(), joined.members.count), ("@ada", 0));
    test.joined(A2, &inbox("ada"));
    assert!(test.told(A).is_empty(), "no notice: {:?}", test.out);
    for n in 2..5 {
        test.publish(&inbox("ada"), "live");
        assert_eq!((test.entries(A), test.entries(A2)), (vec![n], vec![n]));
    }
    let range = HistoryRange::Before(seq(3));
    test.request(A, Request::History { room: inbox("ada"), range, limit: None });
    let [ServerFrame::Page(page)] = &test.told(A)[..] else { panic!("{:?}", test.out) };
    assert_eq!((page.events.len(), page.has_more_after), (2, true));
    test.request(A, Request::Leave { room: inbox("ada") });
    assert!(matches!(test.told(A)[..], [ServerFrame::Left { .. }]), "{:?}", test.out);
    assert!(test.told(A2).is_empty(), "no notice: {:?}", test.out);
    test.publish(&inbox("ada"), "after");
    assert_eq!((test.entries(A), test.entries(A2)), (vec![], vec![5]));
}

#[test]
fn nobody_else_is_told_whether_there_is_one() {
    let mut test = Test::new();
    test.welcomed(A, "a", "ada");
    test.publish(&inbox("ada"), "secret");
    test.joined(A, &inbox("ada"));
    let bob = A2;
    test.welcomed(bob, "b", "bob");
    for (about, nothing) in requests(&inbox("ada")).into_iter().zip(requests(&inbox("eve"))) {
        test.request(bob, about.clone());
        let told = test.error(bob);
        assert!(test.told(A).is_empty(), "{:?}", test.out);
        test.request(bob, nothing);
        let of_nothing = test.error(bob);
        assert_eq!((told.code, &told.message), (of_nothing.code, &of_nothing.message));
        let wanted = match about {
            Request::Leave { .. } | Request::Members { .. } | Request::History { .. } => {
                ErrorCode::NotMember
            }
            _ => ErrorCode::Forbidden,
        };
        assert_eq!((told.code, told.retryable), (wanted, false), "{about:?}");
    }
    test.publish(&inbox("ada"), "secret");
    assert_eq!((test.entries(A), test.entries(bob)), (vec![2], vec![]));
    assert_eq!(test.hub.stats().rooms, 1, "none is opened for one who may not be there");
}

#[test]
fn its_user_says_nothing_there_and_is_seen_by_nobody() {
    let mut test = Test::new();
    test.welcomed(A, "a", "ada");
    test.welcomed(A2, "a2", "ada");
    test.joined(A, &inbox("ada"));
    test.joined(A2, &inbox("ada"));
    for request in [
        Request::Message { room: inbox("ada"), key: None, content: "hi".into(), reply_to: None },
        Request::Typing { room: inbox("ada"), active: true },
    ] {
        test.request(A, request);
        let error = test.error(A);
        // With the room's name it would say that the session is out of it.
        assert_eq!((error.code, error.id, error.room), (ErrorCode::Forbidden, None, None));
        assert!(error.message.contains("operator"), "{}", error.message);
        assert_eq!(test.out.len(), 1, "no append, no signal: {:?}", test.out);
    }
    test.request(A, Request::Members { room: inbox("ada") });
    assert!(matches!(&test.told(A)[..], [ServerFrame::Members { view, .. }]
        if view.count == 0 && view.members.is_empty()));
}

#[test]
fn no_list_and_no_other_hub_learns_of_it() {
    let mut test = Test::new();
    test.welcomed(A, "a", "ada");
    test.welcomed(A2, "a2", "ada");
    let mut signals = 0;
    let mut check = |test: &Test| {
        for signal in test.signals() {
            signals += 1;
            assert!(!format!("{signal:?}").contains("@ada"), "{signal:?}");
        }
    };
    for conn in [A, A2] {
        test.joined(conn, &inbox("ada"));
        check(&test);
    }
    test.join(A, &room("lobby"));
    check(&test);
    let from = HubId { node: 7, incarnation: 1 };
    test.handle(Event::Signal { from, signal: Signal::AskDigest { rooms: Asked::All } });
    check(&test);
    test.pass(10_000);
    check(&test);
    test.handle(Event::SignalsLost(Lost::All));
    check(&test);
    for after in [None, Some(inbox("a"))] {
        test.request(A, Request::Rooms { after });
        assert!(
            matches!(&test.told(A)[..], [ServerFrame::Rooms { rooms, has_more: false, .. }]
            if rooms.len() == 1 && rooms[0].room == room("lobby")),
            "{:?}",
            test.out
        );
    }
    assert_eq!(test.hub.rooms_view(None, 100).len(), 1);
    assert_eq!((test.hub.members(), test.hub.stats().rooms), (1, 2));
    assert_eq!(test.hub.room_view(&inbox("ada")).map(|view| view.members), Some(2));
    for (conn, why) in [(A, LeaveReason::Disconnected), (A2, LeaveReason::Left)] {
        test.handle(Event::Disconnected { conn, why });
        check(&test);
    }
    test.pass(200_000);
    check(&test);
    assert!(signals > 5, "the lobby was told of");
    assert_eq!((test.hub.stats().rooms, test.hub.stats().away), (0, 0), "nothing stays behind");
}

#[test]
fn what_no_signal_told_is_found_in_the_log() {
    let mut test = Test::new();
    test.welcomed(A, "a", "ada");
    test.joined(A, &inbox("ada"));
    test.join(A, &room("lobby"));
    for n in 1..4 {
        // The signal was lost.
        test.put(&inbox("ada"), "lost");
        test.pass(TimeValues::default().poll_ms * 2);
        let asked = |name: &RoomName| {
            let heads = test.out.iter();
            heads.filter(|a| matches!(a, Action::Head { room, .. } if room == name)).count()
        };
        assert!(asked(&inbox("ada")) > 0 && asked(&room("lobby")) > 0, "both are polled");
        let told = test.told(A);
        let entries = told.iter().filter_map(|frame| match frame {
            ServerFrame::Entry(entry) => Some(entry.seq.get()),
            _ => None,
        });
        assert_eq!(entries.collect::<Vec<_>>(), [n]);
    }
}

#[test]
fn neither_the_rooms_of_a_token_nor_bans_of_rooms_concern_it() {
    let mut test = Test::new();
    test.welcomed(A, "a", "ada:team-*");
    test.joined(A, &inbox("ada"));
    test.join(A, &room("lobby"));
    assert_eq!(test.error(A).code, ErrorCode::Forbidden);
    test.request(A, Request::Auth { token: Credentials("ada:other".into()) });
    assert!(matches!(test.told(A)[..], [ServerFrame::Authenticated { .. }]), "{:?}", test.out);
    let ada = UserId::new("ada").expect("an id");
    let ban = |room| Order::Ban { user: ada.clone(), room, until: None };
    test.handle(Event::Operator(ban(Some(inbox("ada")))));
    assert!(test.out.is_empty(), "{:?}", test.out);
    test.joined(A, &inbox("ada"));
    // Another user's credential ends no session and opens no other inbox.
    test.request(A, Request::Auth { token: Credentials("bob".into()) });
    assert_eq!(test.error(A).code, ErrorCode::Unauthorized);
    test.join(A, &inbox("bob"));
    assert_eq!(test.error(A).code, ErrorCode::Forbidden);
    test.publish(&inbox("ada"), "still here");
    assert_eq!(test.entries(A), [1]);
    test.handle(Event::Operator(ban(None)));
    assert!(matches!(test.out[0], Action::Close { conn: A, code: CloseCode::Removed, .. }));
}

#[test]
fn a_resume_recovers_it_for_its_user_only() {
    let mut test = Test::new();
    test.welcomed(A, "a", "ada");
    test.joined(A, &inbox("ada"));
    test.publish(&inbox("ada"), "seen");
    test.handle(Event::Disconnected { conn: A, why: LeaveReason::Disconnected });
    for _ in 0..3 {
        test.publish(&inbox("ada"), "missed");
    }
    let again = ConnId { generation: 1, ..A };
    for (conn, token, recovered) in [(again, "bob", false), (A2, "ada", true)] {
        test.connect(conn, "fresh", Dialect::V1, Identity::Wanted { credentials: None });
        test.request(conn, hello(Some(token), Some(resume("a", &inbox("ada"), 1))));
        let mut told = test.told(conn);
        let ServerFrame::Welcome(welcome) = told.remove(0) else { panic!("{told:?}") };
        let lost = Recovery::Lost(LostReason::NotMember);
        let head = Recovery::Recovered(Position { epoch: epoch(), seq: seq(4) });
        assert_eq!(welcome.rooms[&inbox("ada")], if recovered { head } else { lost });
        let missed = if recovered { vec![2, 3, 4] } else { vec![] };
        let entries = told.iter().map(|frame| match frame {
            ServerFrame::Entry(entry) => entry.seq.get(),
            other => panic!("no presence either: {other:?}"),
        });
        assert_eq!(entries.collect::<Vec<_>>(), missed);
    }
    test.publish(&inbox("ada"), "live");
    assert_eq!((test.entries(A2), test.entries(again)), (vec![5], vec![]));
}

#[test]
fn a_guest_has_one_and_basic_has_none() {
    let mut test = Test::new();
    let id = guest(&SessionId::new("g").expect("a session"));
    test.connect(A, "g", Dialect::V1, Identity::Guest { name: None });
    test.request(A, hello(None, None));
    test.joined(A, &RoomName::own(&id));
    test.publish(&RoomName::own(&id), "for a guest");
    assert_eq!(test.entries(A), [1]);
    // Its name is known, its secret is not: another guest is another user.
    test.connect(A2, "h", Dialect::V1, Identity::Guest { name: None });
    test.request(A2, hello(None, None));
    test.join(A2, &RoomName::own(&id));
    assert_eq!(test.error(A2).code, ErrorCode::Forbidden);
    let own = guest(&SessionId::new("b").expect("a session"));
    test.connect(B, "b", Dialect::Basic, Identity::Guest { name: None });
    let join = BasicRequest::Join { room: RoomName::own(&own) };
    test.handle(Event::Received { conn: B, frame: ClientFrame::Basic(join) });
    assert!(test.out.is_empty(), "{:?}", test.out);
}
