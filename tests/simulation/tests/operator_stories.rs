//! What a Hub does when an operator orders it.
use std::collections::VecDeque;

use chat_proto::{
    BasicRequest, ClientFrame, CloseCode, Dialect, Epoch, ErrorCode, LeaveReason, LostReason,
    Position, Recovery, Request, Resume, RoomName, Seq, ServerFrame, SessionId, Timestamp,
};
use chat_state::{
    Action, BANS_MAX, Config, ConnId, Connect, Event, Hub, Identity, LogHead, LogPage, Mono, Noted,
    Now, Order, Probe, Which, Whom, guest,
};

const A: ConnId = ConnId { slot: 0, generation: 0 };
const B: ConnId = ConnId { slot: 1, generation: 0 };
const C: ConnId = ConnId { slot: 2, generation: 0 };
const D: ConnId = ConnId { slot: 3, generation: 0 };
const E: ConnId = ConnId { slot: 4, generation: 0 };
const WALL: u64 = 1_700_000_000_000;

/// A Hub whose log is empty and answers at once.
struct Test {
    hub: Hub,
    now: u64,
    out: VecDeque<Action>,
    /// The log of this room does not answer.
    silent: Option<RoomName>,
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).expect("a name")
}

fn session(name: &str) -> SessionId {
    SessionId::new(name).expect("a session")
}

fn user(name: &str) -> Whom {
    Whom::User(guest(&session(name)))
}

impl Test {
    fn new() -> Self {
        Self { hub: Hub::new(Config::default()), now: 0, out: VecDeque::new(), silent: None }
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.now), wall: Timestamp(WALL + self.now) }
    }

    /// Handles an event and answers what it asks the log; keeps what else comes out.
    fn handle(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        self.out.clear();
        while let Some(event) = events.pop_front() {
            let mut out = VecDeque::new();
            self.hub.handle(self.now(), event, &mut out).expect("the Hub has issued it");
            for action in out {
                let head = |room| {
                    let epoch = Epoch::new("e").expect("an epoch");
                    LogHead { room, epoch, first: Seq::ZERO.next(), last: Seq::ZERO }
                };
                match action {
                    Action::Load { room, .. } if self.silent.as_ref() == Some(&room) => {}
                    Action::Load { token, room, .. } => {
                        let result = Ok(LogPage { head: head(room), entries: vec![] });
                        events.push_back(Event::Loaded { token, result });
                    }
                    Action::Head { token, room } => {
                        events.push_back(Event::Head { token, result: Ok(head(room)) });
                    }
                    action => self.out.push_back(action),
                }
            }
        }
    }

    fn connect(&mut self, conn: ConnId, name: &str, dialect: Dialect) {
        let (session, identity) = (session(name), Identity::Guest { name: None });
        let probe = Probe::None;
        let connect = Connect { session, dialect, identity, probe, peer: None };
        self.out.clear();
        assert_eq!(self.hub.connect(self.now(), connect, &mut self.out), conn);
    }

    fn request(&mut self, conn: ConnId, request: Request) {
        self.handle(Event::Received { conn, frame: ClientFrame::V1 { id: None, request } });
    }

    fn join(&mut self, conn: ConnId, name: &str) {
        self.request(conn, Request::Join { room: room(name), history: 0 });
    }

    /// A session past its `welcome`.
    fn welcomed(&mut self, conn: ConnId, name: &str) {
        self.connect(conn, name, Dialect::V1);
        self.request(conn, hello(None));
        assert!(matches!(self.told(conn)[..], [ServerFrame::Welcome(_)]), "{:?}", self.out);
    }

    fn cut(&mut self, conn: ConnId) {
        let why = LeaveReason::Disconnected;
        self.handle(Event::Disconnected { conn, why });
        assert!(self.out.is_empty(), "others are not told yet: {:?}", self.out);
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.out.clear();
        self.hub.handle_timeout(self.now(), &mut self.out);
    }

    fn order(&mut self, order: Order) {
        self.handle(Event::Operator(order));
    }

    fn told(&self, to: ConnId) -> Vec<ServerFrame> {
        let frames = self.out.iter().filter_map(|action| match action {
            Action::Send { to: chat_state::Recipients::One(conn), frame } if *conn == to => {
                Some(frame.clone())
            }
            Action::Send { to: chat_state::Recipients::All(roster), frame }
                if roster.iter().any(|conn| conn == to) =>
            {
                Some(frame.clone())
            }
            _ => None,
        });
        frames.collect()
    }

    fn closed(&self) -> Vec<(ConnId, CloseCode)> {
        let closes = self.out.iter().filter_map(|action| match action {
            Action::Close { conn, code, .. } => Some((*conn, *code)),
            _ => None,
        });
        closes.collect()
    }

    fn error(&self, to: ConnId) -> Option<ErrorCode> {
        self.told(to).iter().find_map(|frame| match frame {
            ServerFrame::Error(error) => Some(error.code),
            _ => None,
        })
    }

    fn rooms_of(&self, name: &str) -> Vec<String> {
        let which = Which { user: Some(guest(&session(name))), room: None };
        let (sessions, _) = self.hub.sessions_view(&which, 0, 100, 100);
        let rooms = sessions.iter().flat_map(|session| &session.rooms);
        rooms.map(|room| room.as_str().to_owned()).collect()
    }
}

fn hello(resume: Option<Resume>) -> Request {
    Request::Hello { name: None, token: None, features: vec![], resume: resume.map(Into::into) }
}

#[test]
fn a_kick_ends_one_membership_of_those_it_names() {
    let mut test = Test::new();
    test.welcomed(A, "a");
    test.welcomed(B, "b");
    for conn in [A, B] {
        test.join(conn, "lobby");
        test.join(conn, "other");
    }
    test.order(Order::Kick { room: room("LOBBY"), whom: user("a") });
    assert_eq!(test.closed(), []);
    assert!(matches!(&test.told(A)[..], [ServerFrame::Error(error)]
        if error.code == ErrorCode::Forbidden && error.room == Some(room("lobby"))));
    assert!(matches!(&test.told(B)[..], [ServerFrame::Leave { reason, .. }]
        if *reason == LeaveReason::Removed));
    assert_eq!((test.rooms_of("a"), test.rooms_of("b").len()), (vec!["other".into()], 2));
    // A second one finds nobody, and neither does one for another user or room.
    test.order(Order::Kick { room: room("lobby"), whom: user("a") });
    test.order(Order::Kick { room: room("lobby"), whom: user("nobody") });
    test.order(Order::Kick { room: room("nowhere"), whom: user("b") });
    assert!(test.out.is_empty(), "{:?}", test.out);
    test.join(A, "lobby");
    assert!(matches!(test.told(A)[..], [ServerFrame::Joined(_)]));
}

#[test]
fn a_close_forgets_the_session_unless_it_may_come_back() {
    for (code, away) in [(CloseCode::Draining, 1), (CloseCode::Removed, 0)] {
        let mut test = Test::new();
        test.welcomed(A, "a");
        test.join(A, "lobby");
        let (sessions, _) = test.hub.sessions_view(&Which::default(), 0, 100, 100);
        let whom = Whom::Session(sessions[0].id);
        test.order(Order::Close { whom: whom.clone(), code });
        assert_eq!(test.closed(), [(A, code)]);
        let stats = test.hub.stats();
        assert_eq!((stats.sessions, stats.away, stats.rooms), (0, away, away), "{code}");
        // One that has lost its connection is ended, too.
        test.order(Order::Close { whom, code: CloseCode::Removed });
        assert_eq!((test.hub.stats().away, test.hub.stats().rooms), (0, 0), "{code}");
    }
}

#[test]
fn a_ban_of_the_server_holds_for_a_fresh_session_and_a_resumed_one_until_it_ends() {
    let mut test = Test::new();
    test.welcomed(A, "a");
    let (a, until) = (guest(&session("a")), Some(Timestamp(WALL + 1000)));
    test.order(Order::Ban { user: a.clone(), room: None, until });
    assert_eq!(test.closed(), [(A, CloseCode::Removed)]);
    let resume = Resume { session: session("a"), attempt: 1, rooms: [].into() };
    test.now = 999;
    for (conn, name, resume) in [(B, "a", None), (C, "c", Some(resume.clone()))] {
        test.connect(conn, name, Dialect::V1);
        test.request(conn, hello(resume));
        assert_eq!(test.error(conn), Some(ErrorCode::Forbidden));
        assert_eq!(test.closed(), [(conn, CloseCode::Removed)]);
    }
    test.now = 1000;
    test.connect(D, "d", Dialect::V1);
    test.request(D, hello(Some(resume.clone())));
    assert!(matches!(test.told(D)[..], [ServerFrame::Welcome(_)]), "{:?}", test.out);
    // One that has ended already changes nothing; one that is lifted ends at once.
    test.order(Order::Ban { user: a.clone(), room: None, until });
    assert_eq!(test.closed(), []);
    test.order(Order::Ban { user: a.clone(), room: None, until: None });
    assert_eq!(test.closed(), [(D, CloseCode::Removed)]);
    test.order(Order::Unban { user: a, room: None });
    test.connect(E, "e", Dialect::V1);
    test.request(E, hello(Some(resume)));
    assert!(matches!(test.told(E)[..], [ServerFrame::Welcome(_)]), "{:?}", test.out);
}

#[test]
fn a_ban_of_a_room_is_for_that_room_and_for_resumes_too() {
    let mut test = Test::new();
    test.welcomed(A, "a");
    test.join(A, "lobby");
    test.join(A, "other");
    let (a, lobby) = (guest(&session("a")), Some(room("Lobby")));
    test.order(Order::Ban { user: a.clone(), room: lobby.clone(), until: None });
    assert_eq!((test.error(A), test.closed()), (Some(ErrorCode::Forbidden), vec![]));
    test.join(A, "lobby");
    assert_eq!(test.error(A), Some(ErrorCode::Forbidden));
    assert_eq!(test.rooms_of("a"), ["other"]);
    let position = Position { epoch: Epoch::new("e").expect("an epoch"), seq: Seq::ZERO };
    let rooms = ["lobby", "other"].map(|name| (room(name), position.clone())).into();
    test.connect(B, "b", Dialect::V1);
    test.request(B, hello(Some(Resume { session: session("a"), attempt: 1, rooms })));
    let frames = test.told(B);
    let ServerFrame::Welcome(welcome) = &frames[0] else { panic!("{frames:?}") };
    assert_eq!(welcome.rooms[&room("lobby")], Recovery::Lost(LostReason::NotMember));
    assert!(matches!(welcome.rooms[&room("other")], Recovery::Recovered(_)));
    test.order(Order::Unban { user: a, room: lobby });
    test.join(B, "lobby");
    assert!(matches!(test.told(B)[..], [ServerFrame::Joined(_)]), "{:?}", test.out);
}

#[test]
fn a_ban_of_a_room_ends_the_stay_of_those_who_have_lost_their_connection() {
    let mut test = Test::new();
    for (conn, name) in [(A, "a"), (B, "b")] {
        test.welcomed(conn, name);
        test.join(conn, "lobby");
        test.join(conn, "other");
    }
    test.cut(A);
    test.order(Order::Kick { room: room("lobby"), whom: user("nobody") });
    assert!(test.out.is_empty(), "{:?}", test.out);
    let a = guest(&session("a"));
    test.order(Order::Ban { user: a, room: Some(room("lobby")), until: None });
    assert!(
        matches!(&test.told(B)[..], [ServerFrame::Leave { room: left, reason, .. }]
        if *left == room("lobby") && *reason == LeaveReason::Removed),
        "{:?}",
        test.out
    );
    test.pass(10_000);
    assert!(
        matches!(&test.told(B)[..], [ServerFrame::Leave { room: left, reason, .. }]
        if *left == room("other") && *reason == LeaveReason::Disconnected),
        "{:?}",
        test.out
    );
}

#[test]
fn a_kick_ends_a_membership_that_is_being_resumed() {
    let mut test = Test::new();
    for (conn, name) in [(A, "a"), (B, "b")] {
        test.welcomed(conn, name);
        test.join(conn, "lobby");
    }
    test.cut(A);
    let again = ConnId { slot: 0, generation: 1 };
    test.silent = Some(room("silent"));
    let position = Position { epoch: Epoch::new("e").expect("an epoch"), seq: Seq::ZERO };
    let rooms = ["lobby", "silent"].map(|name| (room(name), position.clone())).into();
    test.connect(again, "c", Dialect::V1);
    test.request(again, hello(Some(Resume { session: session("a"), attempt: 1, rooms })));
    assert!(test.told(again).is_empty(), "a room is not decided");
    test.order(Order::Kick { room: room("lobby"), whom: user("a") });
    assert!(
        matches!(&test.told(B)[..], [ServerFrame::Leave { reason, .. }]
        if *reason == LeaveReason::Removed),
        "{:?}",
        test.out
    );
    test.pass(60_000);
    let frames = test.told(again);
    let ServerFrame::Welcome(welcome) = &frames[0] else { panic!("{frames:?}") };
    assert_eq!(welcome.rooms[&room("lobby")], Recovery::Lost(LostReason::NotMember));
    assert_eq!(test.rooms_of("a"), [""; 0]);
}

#[test]
fn a_basic_member_that_can_not_be_told_is_closed() {
    let mut test = Test::new();
    test.connect(A, "a", Dialect::Basic);
    let join = ClientFrame::Basic(BasicRequest::Join { room: room("lobby") });
    test.handle(Event::Received { conn: A, frame: join.clone() });
    test.order(Order::Kick { room: room("lobby"), whom: user("a") });
    assert_eq!(test.closed(), [(A, CloseCode::Removed)]);
    assert_eq!((test.hub.stats().sessions, test.hub.stats().rooms), (0, 0));
    let a = guest(&session("b"));
    test.order(Order::Ban { user: a, room: None, until: None });
    test.connect(B, "b", Dialect::Basic);
    test.handle(Event::Received { conn: B, frame: join });
    assert_eq!(test.hub.stats().rooms, 0, "it is dropped, like all that can't be done");
}

#[test]
fn bans_are_bounded() {
    let mut test = Test::new();
    let name = |n| guest(&session(&format!("s{n}")));
    for n in 0..=BANS_MAX {
        let until = Some(Timestamp(WALL + 1_000_000 + n as u64));
        test.order(Order::Ban { user: name(n), room: None, until });
    }
    for (conn, n, banned) in [(A, 0, false), (B, 1, true), (C, BANS_MAX, true)] {
        test.connect(conn, &format!("s{n}"), Dialect::V1);
        test.request(conn, hello(None));
        assert_eq!(test.error(conn).is_some(), banned, "{n}: the one that ends first goes");
    }
}

#[test]
fn changing_a_ban_leaves_all_other_bans_when_the_table_is_full() {
    let mut test = Test::new();
    let name = |n| guest(&session(&format!("s{n}")));
    for n in 0..BANS_MAX {
        let until = Some(Timestamp(WALL + 1_000_000 + n as u64));
        test.order(Order::Ban { user: name(n), room: None, until });
    }
    let last = BANS_MAX - 1;
    test.order(Order::Ban { user: name(last), room: None, until: None });
    let forgotten = |action: &Action| matches!(action, Action::Note(Noted::BanForgotten));
    assert!(!test.out.iter().any(forgotten), "no ban is forgotten");
    for (conn, n) in [(A, 0), (B, 1), (C, last)] {
        test.connect(conn, &format!("s{n}"), Dialect::V1);
        test.request(conn, hello(None));
        assert_eq!(test.error(conn), Some(ErrorCode::Forbidden), "ban {n} holds");
    }
}

#[test]
fn what_is_shown_comes_in_parts_and_changes_nothing() {
    let mut test = Test::new();
    for (conn, name) in [(A, "a"), (B, "b"), (C, "c")] {
        test.welcomed(conn, name);
        test.join(conn, name);
        test.join(conn, "all");
    }
    let before = test.hub.stats();
    let names = |rooms: Vec<chat_state::RoomView>| -> Vec<String> {
        rooms.iter().map(|view| format!("{} {}", view.room, view.members)).collect()
    };
    assert_eq!(names(test.hub.rooms_view(None, 2)), ["a 1", "all 3"]);
    assert_eq!(names(test.hub.rooms_view(Some(&room("ALL")), 9)), ["b 1", "c 1"]);
    assert_eq!(test.hub.room_view(&room("all")).map(|view| view.members), Some(3));
    assert_eq!(test.hub.room_view(&room("nobody")), None);
    assert_eq!(test.hub.members(), 6);
    let all = Which { room: Some(room("all")), user: None };
    let (one, next) = test.hub.sessions_view(&all, 0, 100, 1);
    assert_eq!((one.len(), next), (1, Some(1)));
    let (none, next) = test.hub.sessions_view(&all, 1, 1, 0);
    assert_eq!((none.len(), next), (0, Some(1)));
    let (rest, next) = test.hub.sessions_view(&all, 1, 100, 100);
    assert_eq!((rest.len(), next), (2, None));
    let (beyond, next) = test.hub.sessions_view(&all, 99, 100, 100);
    assert_eq!((beyond.len(), next), (0, None));
    assert_eq!(test.hub.stats(), before);
}
