//! What a Hub does where an authority says who somebody is.
use std::collections::{BTreeMap, VecDeque};

use chat_proto::{
    BasicRequest, ClientFrame, CloseCode, Dialect, Epoch, ErrorCode, HistoryRange, LeaveReason,
    LostReason, Position, Recovery, Request, Resume, RoomName, Seq, ServerFrame, SessionId,
    Timestamp, Token as Credentials, UserId, Welcome,
};
use chat_state::{
    Action, AuthError, Config, ConnId, Connect, Event, Grant, Hub, Identity, KeyId, LogHead,
    LogPage, Mono, Now, Probe, Revoke, RoomRights, Stats, TimeValues, Token, TokenId,
};

const A: ConnId = ConnId { slot: 0, generation: 0 };
const B: ConnId = ConnId { slot: 1, generation: 0 };
const C: ConnId = ConnId { slot: 2, generation: 0 };
/// The clock on the wall at the start.
const WALL: u64 = 1_700_000_000_000;

/// A Hub whose log and authority are played by the test.
struct Test {
    hub: Hub,
    now: u64,
    out: VecDeque<Action>,
}

fn grant(user: &str) -> Grant {
    Grant::new(UserId::new(user).expect("an id"))
}

fn until(user: &str, ms: u64) -> Grant {
    Grant { expires: Some(Timestamp(WALL + ms)), ..grant(user) }
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).expect("a name")
}

fn session(name: &str) -> SessionId {
    SessionId::new(name).expect("a session")
}

fn credentials(text: &str) -> Credentials {
    Credentials(text.into())
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
        let hub = Hub::new(Config { times, ..Config::default() });
        Self { hub, now: 0, out: VecDeque::new() }
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.now), wall: Timestamp(WALL + self.now) }
    }

    fn handle(&mut self, event: Event) -> &mut Self {
        self.out.clear();
        self.hub.handle(self.now(), event, &mut self.out).expect("the Hub has issued it");
        self
    }

    fn pass(&mut self, ms: u64) -> &mut Self {
        self.out.clear();
        let end = self.now + ms;
        while let Some(Mono(due)) = self.hub.poll_timeout().filter(|due| due.0 <= end) {
            self.now = self.now.max(due);
            let now = self.now();
            self.hub.handle_timeout(now, &mut self.out);
        }
        self.now = end;
        self.hub.end_turn(self.now(), &mut self.out);
        self
    }

    fn connect(&mut self, conn: ConnId, name: &str, dialect: Dialect, with: Option<&str>) {
        let identity = Identity::Wanted { credentials: with.map(credentials) };
        let (session, probe) = (session(name), Probe::Transport);
        let connect = Connect { session, dialect, identity, probe, peer: None };
        self.out.clear();
        assert_eq!(self.hub.connect(self.now(), connect, &mut self.out), conn);
        assert!(self.out.is_empty(), "{:?}", self.out);
    }

    fn request(&mut self, conn: ConnId, request: Request) -> &mut Self {
        self.handle(Event::Received { conn, frame: ClientFrame::V1 { id: None, request } })
    }

    fn basic(&mut self, conn: ConnId, request: BasicRequest) -> &mut Self {
        self.handle(Event::Received { conn, frame: ClientFrame::Basic(request) })
    }

    /// The one question to the authority, with what it is about.
    fn asked(&self) -> (Token, String) {
        let mut asked = self.out.iter().filter_map(|action| match action {
            Action::Authenticate { token, credentials, .. } => Some((*token, &credentials.0)),
            _ => None,
        });
        let (token, text) = asked.next().unwrap_or_else(|| panic!("{:?}", self.out));
        assert!(asked.next().is_none());
        (token, text.to_string())
    }

    fn answer(&mut self, token: Token, result: Result<Grant, AuthError>) -> &mut Self {
        self.handle(Event::Authenticated { token, result: result.map(Box::new) })
    }

    /// A session of this grant, past its `welcome`.
    fn welcomed(&mut self, conn: ConnId, name: &str, grant: Grant) -> Welcome {
        self.connect(conn, name, Dialect::V1, None);
        self.request(conn, hello(Some("t"), None));
        let token = self.asked().0;
        self.answer(token, Ok(grant)).welcome()
    }

    fn welcome(&self) -> Welcome {
        let welcome = self.frames().find_map(|frame| match frame {
            ServerFrame::Welcome(welcome) => Some((**welcome).clone()),
            _ => None,
        });
        welcome.unwrap_or_else(|| panic!("{:?}", self.out))
    }

    fn frames(&self) -> impl Iterator<Item = &ServerFrame> {
        self.out.iter().filter_map(|action| match action {
            Action::Send { frame, .. } => Some(frame),
            _ => None,
        })
    }

    fn error(&self) -> Option<ErrorCode> {
        self.frames().find_map(|frame| match frame {
            ServerFrame::Error(error) => Some(error.code),
            _ => None,
        })
    }

    fn closed(&self) -> Option<(ConnId, CloseCode)> {
        self.out.iter().find_map(|action| match action {
            Action::Close { conn, code, .. } => Some((*conn, *code)),
            _ => None,
        })
    }

    fn expiring(&self) -> Option<u64> {
        self.frames().find_map(|frame| match frame {
            ServerFrame::AuthExpiring { expires_in_ms } => Some(*expires_in_ms),
            _ => None,
        })
    }

    /// Joins, and the log has nothing of the room.
    fn join(&mut self, conn: ConnId, name: &str) -> &mut Self {
        self.request(conn, Request::Join { room: room(name), history: 0 });
        self.empty_room(name)
    }

    fn empty_room(&mut self, name: &str) -> &mut Self {
        let load = self.out.iter().find_map(|action| match action {
            Action::Load { token, .. } => Some(*token),
            _ => None,
        });
        let token = load.unwrap_or_else(|| panic!("no read of the log: {:?}", self.out));
        let head = LogHead { room: room(name), epoch: epoch(), first: one(), last: Seq::ZERO };
        self.handle(Event::Loaded { token, result: Ok(LogPage { head, entries: vec![] }) })
    }
}

fn epoch() -> Epoch {
    Epoch::new("e").expect("an epoch")
}

fn one() -> Seq {
    Seq::ZERO.next()
}

fn hello(token: Option<&str>, resume: Option<Resume>) -> Request {
    let resume = resume.map(Box::new);
    Request::Hello { name: None, token: token.map(credentials), features: vec![], resume }
}

fn resume(name: &str, rooms: &[&str]) -> Resume {
    let position = Position { epoch: epoch(), seq: Seq::ZERO };
    let rooms: BTreeMap<_, _> = rooms.iter().map(|name| (room(name), position.clone())).collect();
    Resume { session: session(name), attempt: 1, rooms }
}

fn auth() -> Request {
    Request::Auth { token: credentials("t2") }
}

#[test]
fn the_credential_says_who_it_is() {
    let mut test = Test::new();
    test.connect(A, "s", Dialect::V1, Some("of the handshake"));
    test.request(A, hello(Some("of the hello"), None));
    let (token, text) = test.asked();
    assert_eq!(text, "of the hello");
    assert_eq!(test.request(A, Request::Ping).error(), Some(ErrorCode::HelloExpected));
    assert_eq!(test.request(A, hello(None, None)).error(), Some(ErrorCode::AlreadyWelcome));
    assert_eq!(test.closed(), None);
    let named = Grant { name: Some("Ada".parse_name()), messages_per_10s: Some(7), ..grant("ada") };
    let welcome = test.answer(token, Ok(named)).welcome();
    assert_eq!((welcome.user.as_str(), welcome.name.as_str()), ("ada", "Ada"));
    assert_eq!(welcome.limits.messages_per_10s, 7);
    // The second answer to one question says nothing.
    assert!(test.answer(token, Ok(grant("mallory"))).out.is_empty());

    test.connect(B, "s2", Dialect::V1, Some("of the handshake"));
    test.request(B, hello(None, None));
    let (token, text) = test.asked();
    assert_eq!(text, "of the handshake");
    let welcome = test.answer(token, Ok(grant("bob"))).welcome();
    assert_eq!((welcome.user.as_str(), welcome.name.as_str()), ("bob", "bob"));
}

#[test]
fn who_is_not_known_is_turned_away() {
    let refused = [
        (Err(AuthError::Invalid), ErrorCode::Unauthorized, CloseCode::Unauthorized),
        (Err(AuthError::Expired), ErrorCode::Unauthorized, CloseCode::Unauthorized),
        (Err(AuthError::Unavailable), ErrorCode::AuthUnavailable, CloseCode::Overloaded),
        (Ok(until("ada", 0)), ErrorCode::Unauthorized, CloseCode::Unauthorized),
    ];
    for (result, error, code) in refused {
        let mut test = Test::new();
        test.connect(A, "s", Dialect::V1, None);
        test.request(A, hello(Some("t"), None));
        let token = test.asked().0;
        test.answer(token, result);
        assert_eq!((test.error(), test.closed()), (Some(error), Some((A, code))));
        assert_eq!(test.hub.stats(), Stats::default(), "nothing is left of it");
    }
    let mut test = Test::new();
    test.connect(A, "s", Dialect::V1, None);
    test.request(A, hello(None, None));
    assert_eq!(test.error(), Some(ErrorCode::Unauthorized));
    assert_eq!(test.closed(), Some((A, CloseCode::Unauthorized)));
}

#[test]
fn an_authority_that_is_silent_is_given_up() {
    let mut test = Test::new();
    test.connect(A, "s", Dialect::V1, None);
    test.pass(9000).request(A, hello(Some("t"), None));
    let token = test.asked().0;
    assert_eq!(test.pass(9999).closed(), None, "its time begins with the question");
    assert_eq!(test.pass(1).closed(), Some((A, CloseCode::Overloaded)));
    assert!(test.answer(token, Ok(grant("ada"))).out.is_empty());
    assert_eq!(test.hub.stats(), Stats::default());
}

#[test]
fn a_basic_connection_waits_with_its_first_frame() {
    let mut test = Test::new();
    test.connect(A, "s", Dialect::Basic, Some("t"));
    test.basic(A, BasicRequest::Join { room: room("lobby") });
    let token = test.asked().0;
    assert!(test.out.iter().any(|a| matches!(a, Action::Pause { conn: A })), "{:?}", test.out);
    // What was read before the pause is dropped: nothing is kept for one who is not known.
    assert!(test.basic(A, BasicRequest::Join { room: room("den") }).out.is_empty());
    test.answer(token, Ok(Grant { name: Some("Ada".parse_name()), ..grant("ada") }));
    assert!(test.out.iter().any(|a| matches!(a, Action::Unpause { conn: A })), "{:?}", test.out);
    test.empty_room("lobby");
    let ServerFrame::Join { room, member } = test.frames().next().expect("a notice") else {
        panic!("{:?}", test.out)
    };
    assert_eq!((room.as_str(), member.user.as_str()), ("lobby", "ada"));
    assert_eq!(member.username.as_str(), "Ada");

    for with in [None, Some("bad")] {
        let mut test = Test::new();
        test.connect(A, "s", Dialect::Basic, with);
        test.basic(A, BasicRequest::Join { room: self::room("lobby") });
        if with.is_some() {
            let token = test.asked().0;
            test.answer(token, Err(AuthError::Invalid));
        }
        assert_eq!(test.closed(), Some((A, CloseCode::Unauthorized)));
        assert_eq!(test.hub.stats(), Stats::default());
    }
    // One that says nothing is not kept for ever.
    let mut test = Test::new();
    test.connect(A, "s", Dialect::Basic, None);
    assert_eq!(test.pass(10_000).closed(), Some((A, CloseCode::HeartbeatTimeout)));
}

#[test]
fn rooms_are_those_that_the_credential_allows() {
    let rooms = RoomRights::matching(["lobby", "team-*"]).expect("patterns");
    let mut test = Test::new();
    test.welcomed(A, "s", Grant { rooms: rooms.clone(), ..grant("ada") });
    for name in ["secret", "team", "my lobby"] {
        test.request(A, Request::Join { room: room(name), history: 10 });
        assert_eq!(test.error(), Some(ErrorCode::Forbidden), "{name}");
        assert!(!test.out.iter().any(|action| matches!(action, Action::Load { .. })));
    }
    let range = HistoryRange::Latest;
    test.request(A, Request::History { room: room("secret"), range, limit: None });
    assert_eq!(test.error(), Some(ErrorCode::NotMember));
    test.join(A, "Team-A");
    assert!(matches!(test.frames().next(), Some(ServerFrame::Joined(_))), "{:?}", test.out);

    // In `basic` it can't be told, and costs nothing of what one has.
    test.connect(B, "b", Dialect::Basic, Some("t"));
    test.basic(B, BasicRequest::Join { room: room("lobby") });
    let token = test.asked().0;
    test.answer(token, Ok(Grant { rooms, ..grant("bob") })).empty_room("lobby");
    assert!(test.basic(B, BasicRequest::Join { room: room("secret") }).out.is_empty());
    test.basic(B, BasicRequest::Message { content: "still here".into() }).pass(0);
    assert!(test.out.iter().any(|action| matches!(action, Action::Append { .. })));
}

#[test]
fn a_resume_is_checked_again_and_only_for_the_same_user() {
    let mut test = Test::new();
    test.welcomed(A, "s", grant("ada"));
    test.join(A, "secret");
    test.handle(Event::Disconnected { conn: A, why: LeaveReason::Disconnected });

    // Another user knows the session's name: it gets nothing of it.
    let again = |generation| ConnId { generation, ..A };
    test.connect(again(1), "x", Dialect::V1, None);
    test.request(again(1), hello(Some("t"), Some(resume("s", &["secret"]))));
    let token = test.asked().0;
    let only = RoomRights::matching(["lobby"]).expect("patterns");
    let welcome = test.answer(token, Ok(Grant { rooms: only, ..grant("mallory") })).welcome();
    assert_eq!(welcome.user.as_str(), "mallory");
    assert_eq!(welcome.rooms[&room("secret")], Recovery::Lost(LostReason::NotMember));
    assert_eq!(test.hub.stats().away, 1, "the session still waits for its user");
    test.handle(Event::Disconnected { conn: again(1), why: LeaveReason::Left });

    test.connect(again(2), "y", Dialect::V1, None);
    test.request(again(2), hello(Some("t"), Some(resume("s", &["secret"]))));
    let token = test.asked().0;
    let welcome = test.answer(token, Ok(grant("ada"))).welcome();
    assert!(matches!(welcome.rooms[&room("secret")], Recovery::Recovered(_)), "{welcome:?}");
    assert_eq!(test.hub.stats().away, 0);

    // A live session is not taken over by another user either.
    test.connect(B, "z", Dialect::V1, None);
    test.request(B, hello(Some("t"), Some(resume("s", &[]))));
    let token = test.asked().0;
    assert_eq!(test.answer(token, Ok(grant("mallory"))).closed(), None);
}

#[test]
fn a_credential_is_renewed_in_place_or_ends() {
    let mut test = Test::new();
    test.welcomed(A, "s", until("ada", 600_000));
    test.join(A, "lobby");
    assert_eq!(test.pass(539_999).expiring(), None);
    assert_eq!(test.pass(1).expiring(), Some(60_000));
    test.request(A, auth());
    let token = test.asked().0;
    assert_eq!(test.request(A, auth()).error(), Some(ErrorCode::AuthUnavailable), "one at a time");
    assert_eq!(
        test.answer(token, Ok(until("bob", 900_000))).error(),
        Some(ErrorCode::Unauthorized)
    );
    assert_eq!(test.closed(), None, "a refused renewal changes nothing");
    let token = test.request(A, auth()).asked().0;
    assert_eq!(test.answer(token, Err(AuthError::Invalid)).error(), Some(ErrorCode::Unauthorized));
    let token = test.request(A, auth()).asked().0;
    test.answer(token, Ok(until("ada", 900_000)));
    let told = ServerFrame::Authenticated { id: None, expires_in_ms: Some(360_000) };
    assert_eq!(test.frames().next(), Some(&told));
    assert_eq!(test.pass(299_999).closed(), None, "the old end counts no more");
    assert_eq!(test.pass(1).expiring(), Some(60_000));
    assert_eq!(test.pass(59_999).closed(), None);
    assert_eq!(test.pass(1).closed(), Some((A, CloseCode::AuthExpired)));
    assert_eq!(test.hub.stats().away, 1, "it may come back with another");
}

#[test]
fn a_short_credential_is_not_renewed_in_a_circle() {
    let mut test = Test::new();
    test.welcomed(A, "s", until("ada", 10_000));
    assert_eq!(test.expiring(), None);
    assert_eq!(test.pass(4999).expiring(), None);
    assert_eq!(test.pass(1).expiring(), Some(5000));
    assert_eq!(test.pass(4999).expiring(), None, "it is told once");
    assert_eq!(test.pass(1).closed(), Some((A, CloseCode::AuthExpired)));
}

#[test]
fn a_narrower_credential_ends_what_it_does_not_allow() {
    let mut test = Test::new();
    test.welcomed(A, "s", grant("ada"));
    test.join(A, "secret");
    let token = test.request(A, auth()).asked().0;
    let rooms = RoomRights::matching(["lobby"]).expect("patterns");
    test.answer(token, Ok(Grant { rooms, ..grant("ada") }));
    assert_eq!(test.closed(), Some((A, CloseCode::AuthExpired)));
}

#[test]
fn what_is_revoked_ends_and_is_forgotten() {
    let token_id = TokenId::new("t1").expect("short");
    let (key, other) = (Some(KeyId([1; 16])), Some(KeyId([2; 16])));
    let ada = || Grant { token_id: Some(token_id.clone()), key, ..grant("ada") };
    let of = |what: Revoke| {
        let mut test = Test::new();
        test.welcomed(A, "s", ada());
        test.join(A, "lobby");
        test.welcomed(B, "b", Grant { token_id: TokenId::new("t2"), key: other, ..grant("bob") });
        test.handle(Event::Revoke(what.clone()));
        assert_eq!(test.closed(), Some((A, CloseCode::Unauthorized)), "{what:?}");
        assert_eq!((test.hub.stats().sessions, test.hub.stats().away), (1, 0));

        // One that has lost its connection can't come back to what it was.
        test.welcomed(C, "s", ada());
        test.handle(Event::Disconnected { conn: C, why: LeaveReason::Disconnected });
        assert_eq!(test.hub.stats().away, 1);
        test.handle(Event::Revoke(what));
        assert_eq!((test.hub.stats().sessions, test.hub.stats().away), (1, 0));
    };
    of(Revoke::User(UserId::new("ada").expect("an id")));
    of(Revoke::Session(session("s")));
    of(Revoke::Token(token_id.clone()));
    of(Revoke::Key(KeyId([1; 16])));

    // It is the present credential's key that counts.
    let mut test = Test::new();
    test.welcomed(A, "s", ada());
    let token = test.request(A, auth()).asked().0;
    test.answer(token, Ok(Grant { key: other, ..ada() }));
    test.handle(Event::Revoke(Revoke::Key(KeyId([1; 16]))));
    assert_eq!(test.closed(), None);
    assert_eq!(format!("{:?}", KeyId([1; 16])), "KeyId", "it is never printed");
}

#[test]
fn guests_bring_no_tokens() {
    let mut test = Test::new();
    let identity = Identity::Guest { name: None };
    let (session, dialect, probe) = (session("s"), Dialect::V1, Probe::Transport);
    let connect = Connect { session, dialect, identity, probe, peer: None };
    assert_eq!(test.hub.connect(test.now(), connect, &mut test.out), A);
    assert_eq!(test.request(A, hello(Some("t"), None)).error(), Some(ErrorCode::Unauthorized));
    test.request(A, hello(None, None)).welcome();
    assert_eq!(test.request(A, auth()).error(), Some(ErrorCode::Unauthorized));
    assert_eq!(test.closed(), None);
}

trait ParseName {
    fn parse_name(&self) -> chat_proto::DisplayName;
}

impl ParseName for str {
    fn parse_name(&self) -> chat_proto::DisplayName {
        chat_proto::DisplayName::new(self).expect("a name")
    }
}
