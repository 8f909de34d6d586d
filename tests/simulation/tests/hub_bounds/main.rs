//! What a single Hub asks of the log, and what it does with strange answers.
mod late_answers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chat_proto::{
    Body, ClientFrame, CloseCode, Decoder, Dialect, DisplayName, Entry, Epoch, ErrorCode,
    HistoryRange, LeaveReason, LimitValues, Position, Request, Resume, RoomName, Seq, ServerFrame,
    SessionId, Timestamp, UserId,
};
use chat_state::{
    Action, AppendError, Appended, Config, ConnId, Connect, Digest, DigestLine, Event, Hub, HubId,
    Identity, Keep, LogHead, LogPage, Mono, Now, Outcome, Peers, Probe, ReadRange, Signal, Token,
};

const CONN: ConnId = ConnId { slot: 0, generation: 0 };
const PEER: HubId = HubId { node: 7, incarnation: 1 };

/// A Hub with one member, whose log is played by the test.
struct Test {
    hub: Hub,
    now: u64,
}

fn room() -> RoomName {
    RoomName::new("den").expect("a name")
}

fn seq(n: u64) -> Seq {
    Seq::new(n).expect("small")
}

fn entry(n: u64) -> Arc<Entry> {
    let (user, username) =
        (UserId::new("u").expect("an id"), DisplayName::new("U").expect("a name"));
    let body = Body::Message { content: "x".into(), reply_to: None };
    Entry::new(room(), seq(n), Timestamp(0), user, username, None, body).into()
}

/// What the log answers if it has entries up to here.
fn page(last: u64, entries: impl Iterator<Item = u64>) -> LogPage {
    let epoch = Epoch::new("e").expect("an epoch");
    let head = LogHead { room: room(), epoch, first: seq(1), last: seq(last) };
    LogPage { head, entries: entries.map(entry).collect() }
}

impl Test {
    /// Of a room with so many entries, which the Hub does not have at hand.
    fn joined(limits: LimitValues, last: u64) -> Self {
        let mut test = Self::new(limits);
        test.connect(CONN, "s");
        test.request(CONN, hello(None));
        let opens = test.request(CONN, Request::Join { room: room(), history: 0 });
        let token = load(&opens).0;
        test.handle(Event::Loaded { token, result: Ok(page(last, 0..0)) });
        test
    }

    fn new(limits: LimitValues) -> Self {
        let config = Config {
            peers: Peers::Some,
            limits: limits.build().expect("within bounds"),
            ..Config::default()
        };
        Self { hub: Hub::new(config), now: 0 }
    }

    fn connect(&mut self, conn: ConnId, session: &str) {
        let session = SessionId::new(session).expect("a session");
        let identity = Identity::Guest { name: None };
        let (dialect, probe) = (Dialect::V1, Probe::Transport);
        let connect = Connect { session, dialect, identity, probe, peer: None };
        let now = Now { mono: Mono(self.now), wall: Timestamp(self.now) };
        assert_eq!(self.hub.connect(now, connect, &mut VecDeque::new()), conn);
    }

    fn request(&mut self, conn: ConnId, request: Request) -> VecDeque<Action> {
        self.handle(Event::Received { conn, frame: ClientFrame::V1 { id: None, request } })
    }

    fn handle(&mut self, event: Event) -> VecDeque<Action> {
        let mut actions = VecDeque::new();
        let now = Now { mono: Mono(self.now), wall: Timestamp(self.now) };
        self.hub.handle(now, event, &mut actions).expect("the Hub has issued it");
        actions
    }

    fn pass(&mut self, ms: u64) -> VecDeque<Action> {
        let mut actions = VecDeque::new();
        self.now += ms;
        let now = Now { mono: Mono(self.now), wall: Timestamp(self.now) };
        self.hub.handle_timeout(now, &mut actions);
        self.hub.end_turn(now, &mut actions);
        actions
    }

    /// Another Hub has appended these.
    fn committed(&mut self, seqs: impl Iterator<Item = u64>) -> VecDeque<Action> {
        let LogPage { head, entries } = page(0, seqs);
        let signal = Signal::Committed { epoch: head.epoch, room: room(), entries: entries.into() };
        self.handle(Event::Signal { from: PEER, signal })
    }
}

/// The one read of the log that is asked for.
fn load(actions: &VecDeque<Action>) -> (Token, ReadRange) {
    let mut loads = loads(actions);
    let load = loads.next().expect("a read");
    assert!(loads.next().is_none(), "{actions:?}");
    load
}

fn loads(actions: &VecDeque<Action>) -> impl Iterator<Item = (Token, ReadRange)> {
    actions.iter().filter_map(|action| match action {
        Action::Load { token, range, .. } => Some((*token, *range)),
        _ => None,
    })
}

fn shown(actions: &VecDeque<Action>) -> Vec<u64> {
    let seqs = actions.iter().filter_map(|action| match action {
        Action::Send { frame: ServerFrame::Entry(entry), .. } => Some(entry.seq.get()),
        _ => None,
    });
    seqs.collect()
}

fn closes(actions: &VecDeque<Action>, which: ConnId, why: CloseCode) -> bool {
    actions.iter().any(|action| match action {
        Action::Close { conn, code, .. } => (*conn, *code) == (which, why),
        _ => false,
    })
}

fn hello(resume: Option<Resume>) -> Request {
    Request::Hello { name: None, token: None, features: vec![], resume: resume.map(Box::new) }
}

fn resume(attempt: u64) -> Resume {
    let session = SessionId::new("s").expect("a session");
    Resume { session, attempt, rooms: BTreeMap::new() }
}

#[test]
fn a_signal_that_is_only_late_costs_no_read() {
    let mut test = Test::joined(LimitValues::default(), 0);
    assert_eq!(loads(&test.committed(2..3)).count(), 0);
    assert_eq!(loads(&test.pass(19)).count(), 0);
    assert_eq!(shown(&test.committed(1..2)), [1, 2]);
    assert_eq!(loads(&test.pass(1000)).count(), 0);
    // One that does not come does.
    test.committed(4..5);
    assert_eq!(loads(&test.pass(19)).count(), 0);
    let (token, range) = load(&test.pass(1));
    assert_eq!((range.from, range.to, range.keep), (seq(3), seq(4), Keep::Oldest));
    let actions = test.handle(Event::Loaded { token, result: Ok(page(4, 3..4)) });
    assert_eq!(shown(&actions), [3, 4]);
}

#[test]
fn a_read_for_one_who_lags_fits_its_outbox() {
    let limits =
        LimitValues { outbox_high_bytes: 1024, recent_entries: 1, ..LimitValues::default() };
    let mut test = Test::joined(limits, 0);
    test.handle(Event::Congested { conn: CONN });
    assert!(shown(&test.committed(1..301)).is_empty());
    let mut next = 1;
    // However short they are, it gets a few at a time, and has to take them before it gets more.
    for _ in 0..5 {
        let (token, range) = load(&test.handle(Event::Drained { conn: CONN }));
        assert_eq!(range.from, seq(next));
        assert!((1..=4).contains(&range.limit) && range.bytes <= 1024, "{range:?}");
        let end = next + u64::from(range.limit);
        let actions = test.handle(Event::Loaded { token, result: Ok(page(300, next..end)) });
        assert!(shown(&actions).into_iter().eq(next..end));
        assert!(matches!(actions.back(), Some(Action::AwaitDrain { conn: CONN })), "{actions:?}");
        next = end;
    }
}

#[test]
fn a_log_without_what_was_delivered_to_others_is_not_asked_for_ever() {
    let mut test = Test::joined(LimitValues { recent_entries: 1, ..LimitValues::default() }, 0);
    test.handle(Event::Congested { conn: CONN });
    test.committed(1..4);
    let (token, _) = load(&test.handle(Event::Drained { conn: CONN }));
    // Some of it is progress.
    let actions = test.handle(Event::Loaded { token, result: Ok(page(3, 1..2)) });
    assert_eq!(shown(&actions), [1]);
    let (token, range) = load(&actions);
    assert_eq!(range.from, seq(2));
    let actions = test.handle(Event::Loaded { token, result: Ok(page(3, 0..0)) });
    let code = CloseCode::SlowConsumer;
    assert!(closes(&actions, CONN, code), "{actions:?}");
}

#[test]
fn a_session_that_went_on_elsewhere_is_not_kept() {
    // The name of the session among Hubs is what another Hub is told of it.
    let mut other = Test::new(LimitValues::default());
    other.connect(CONN, "x");
    let told = other.request(CONN, hello(Some(resume(3))));
    let resumed = |action: &Action| match action {
        Action::Signal { signal: Signal::Resumed { member, attempt: 3 }, .. } => Some(*member),
        _ => None,
    };
    let member = told.iter().find_map(resumed).expect("a signal");
    for (elsewhere, kept) in [(2, 1), (3, 1), (4, 0)] {
        let resumed = Signal::Resumed { member, attempt: elsewhere };
        // It has lost its connection.
        let mut test = Test::new(LimitValues::default());
        test.connect(CONN, "y");
        test.request(CONN, hello(Some(resume(3))));
        let why = LeaveReason::Disconnected;
        test.handle(Event::Disconnected { conn: CONN, why });
        assert_eq!(test.hub.stats().away, 1);
        test.handle(Event::Signal { from: PEER, signal: resumed.clone() });
        assert_eq!(test.hub.stats().away, kept, "{elsewhere}");
        // It has not.
        let mut test = Test::new(LimitValues::default());
        test.connect(CONN, "y");
        test.request(CONN, hello(Some(resume(3))));
        test.handle(Event::Signal { from: PEER, signal: resumed });
        assert_eq!(test.hub.stats().sessions, kept, "{elsewhere}");
    }
}

#[test]
fn the_later_of_two_connections_with_the_same_count_has_the_session() {
    let mut test = Test::new(LimitValues::default());
    let later = |slot| ConnId { slot, generation: 0 };
    test.connect(CONN, "x");
    test.request(CONN, hello(Some(resume(3))));
    test.connect(later(1), "y");
    let code = CloseCode::Superseded;
    let actions = test.request(later(1), hello(Some(resume(3))));
    assert!(closes(&actions, CONN, code), "{actions:?}");
    test.connect(later(2), "z");
    let actions = test.request(later(2), hello(Some(resume(2))));
    assert!(closes(&actions, later(2), code), "{actions:?}");
}

#[test]
fn whoever_never_keeps_to_the_budget_is_closed() {
    let mut test = Test::joined(LimitValues { messages_per_10s: 2, ..LimitValues::default() }, 0);
    let over = |actions: &VecDeque<Action>| closes(actions, CONN, CloseCode::RateLimited);
    let say = || Request::Message { room: room(), key: None, content: "x".into(), reply_to: None };
    test.request(CONN, say());
    for _ in 0..100 {
        assert!(!over(&test.request(CONN, say())));
    }
    // It has kept to it for a while: that counts anew.
    test.pass(10_001);
    test.request(CONN, say());
    test.request(CONN, say());
    for _ in 0..100 {
        assert!(!over(&test.request(CONN, say())));
    }
    test.pass(10_000);
    test.request(CONN, say());
    test.request(CONN, say());
    assert!(over(&test.request(CONN, say())));
}

#[test]
fn a_resume_keeps_the_strikes_until_a_quiet_time_ends_them() {
    let mut test = Test::joined(LimitValues { messages_per_10s: 2, ..LimitValues::default() }, 0);
    let say = || Request::Message { room: room(), key: None, content: "x".into(), reply_to: None };
    let conn = |generation| ConnId { slot: 0, generation };
    let closes = |actions: &VecDeque<Action>, generation| {
        closes(actions, conn(generation), CloseCode::RateLimited)
    };
    while !closes(&test.request(CONN, say()), 0) {}
    let resumed = |test: &mut Test, generation| {
        test.handle(Event::Disconnected {
            conn: conn(generation - 1),
            why: LeaveReason::Disconnected,
        });
        test.connect(conn(generation), "again");
        test.request(conn(generation), hello(Some(resume(generation.into()))));
    };
    // The count saturates: it stays above the limit however often the session comes back.
    for generation in 1..=300 {
        resumed(&mut test, generation);
        assert!(closes(&test.request(conn(generation), say()), generation), "{generation}");
    }
    resumed(&mut test, 301);
    test.pass(10_001);
    for _ in 0..102 {
        assert!(!closes(&test.request(conn(301), say()), 301), "a new run has begun");
    }
    assert!(closes(&test.request(conn(301), say()), 301));
}

/// Joins so many rooms and returns how often each one's end is told by the next 16 pings.
fn told_by_pings(rooms: usize) -> BTreeMap<RoomName, usize> {
    let mut test = Test::new(LimitValues::default());
    test.connect(CONN, "s");
    test.request(CONN, hello(None));
    for n in 0..rooms {
        let room = RoomName::new(&format!("room {n}")).expect("a name");
        let opens = test.request(CONN, Request::Join { room: room.clone(), history: 0 });
        let LogPage { head, entries } = page(5, 0..0);
        let head = LogHead { room, ..head };
        let token = load(&opens).0;
        test.handle(Event::Loaded { token, result: Ok(LogPage { head, entries }) });
    }
    let mut told = BTreeMap::<RoomName, usize>::new();
    for _ in 0..16 {
        for action in test.pass(25_000) {
            if let Action::Send { frame: ServerFrame::Ping { heads }, .. } = action {
                assert!(heads.len() <= 64);
                heads.into_keys().for_each(|room| *told.entry(room).or_default() += 1);
            }
        }
        test.request(CONN, Request::Pong);
    }
    told
}

#[test]
fn pings_tell_the_ends_of_many_rooms_in_turn() {
    // Every fourth one tells of 64 at most.
    for (rooms, times) in [(100, 2), (64, 4), (1, 4)] {
        let told = told_by_pings(rooms);
        assert_eq!(told.len(), rooms);
        assert!(told.values().all(|count| *count == times), "{told:?}");
    }
}

#[test]
fn whoever_is_not_in_a_room_is_told_in_which() {
    let mut test = Test::joined(LimitValues::default(), 0);
    let other = RoomName::new("attic").expect("a name");
    let mut actions = test.request(CONN, Request::Members { room: other.clone() });
    let [Action::Send { frame: ServerFrame::Error(error), .. }] = actions.make_contiguous() else {
        panic!("{actions:?}")
    };
    assert_eq!((error.code, &error.room), (ErrorCode::NotMember, &Some(other)));
}

/// Lets a member say so many things of this length in one turn, and returns how many drafts each
/// batch has, and its bytes.
fn batches(count: usize, bytes: usize) -> Vec<(usize, usize)> {
    let limits = LimitValues { messages_per_10s: 0, ..LimitValues::default() };
    let mut test = Test::joined(limits, 0);
    let content: Arc<str> = "x".repeat(bytes).into();
    let mut offered = VecDeque::new();
    for _ in 0..count {
        let content = content.clone();
        let say = Request::Message { room: room(), key: None, content, reply_to: None };
        offered.extend(test.request(CONN, say));
    }
    offered.extend(test.pass(0));
    let (mut batches, mut last) = (Vec::new(), 0);
    while let Some(action) = offered.pop_front() {
        let Action::Append { token, drafts, .. } = action else { continue };
        batches.push((drafts.len(), drafts.iter().map(|draft| draft.body.size()).sum()));
        let places = last + 1..=last + drafts.len() as u64;
        let outcomes = places.map(|n| Outcome::New { seq: seq(n) }).collect();
        last += drafts.len() as u64;
        let result = Ok(Appended { epoch: page(0, 0..0).head.epoch, outcomes });
        test.handle(Event::Appended { token, result });
        offered.extend(test.pass(0));
    }
    batches
}

#[test]
fn what_waits_for_the_log_is_offered_together_but_not_too_much_of_it() {
    assert_eq!(batches(3, 10), [(3, 30)]);
    // Many short ones.
    let short = batches(1000, 1);
    assert!(short.len() <= 6 && short.iter().all(|(count, _)| *count <= 256), "{short:?}");
    // Some long ones: what one takes is no more than a MiB, and yet not one at a time.
    let long = batches(400, 8192);
    assert_eq!(long.iter().map(|(count, _)| count).sum::<usize>(), 400);
    assert!(long.len() <= 6 && long.iter().all(|(_, bytes)| *bytes <= 1 << 20), "{long:?}");
}

#[test]
fn a_whole_batch_does_not_wait_for_the_end_of_the_turn() {
    let limits = LimitValues { room_drafts: 4, messages_per_10s: 0, ..LimitValues::default() };
    let mut test = Test::joined(limits, 0);
    let mut says = |n: usize| {
        let say = Request::Message { room: room(), key: None, content: "x".into(), reply_to: None };
        let actions = test.request(CONN, say);
        let offered = |action: &Action| matches!(action, Action::Append { .. });
        let refused = |action: &Action| matches!(action, Action::Send { .. });
        assert_eq!(actions.iter().any(offered), n == 4, "{n}: {actions:?}");
        actions.iter().any(refused)
    };
    // Four on their way, four that wait, and no more.
    let refused: Vec<_> = (1..=9).map(&mut says).collect();
    assert_eq!(refused, [[false; 8].as_slice(), &[true]].concat());
}

#[test]
fn a_paused_connection_is_read_again_once_half_of_it_is_answered() {
    let mut test = Test::joined(LimitValues { in_flight: 4, ..LimitValues::default() }, 100);
    let range = HistoryRange::Before(seq(9));
    let ask = || Request::History { room: room(), range, limit: Some(2) };
    let mut reads = VecDeque::new();
    for n in 1..=4 {
        let actions = test.request(CONN, ask());
        reads.extend(loads(&actions));
        assert_eq!(reads.len(), 1, "a connection has one read in flight");
        assert_eq!(actions.iter().any(|a| matches!(a, Action::Pause { .. })), n == 4);
    }
    for n in 1..=4 {
        let (token, _) = reads.pop_front().expect("the next request is read for");
        let actions = test.handle(Event::Loaded { token, result: Ok(page(100, 7..9)) });
        assert_eq!(actions.iter().any(|a| matches!(a, Action::Unpause { .. })), n == 2);
        reads.extend(loads(&actions));
    }
    assert!(reads.is_empty(), "everything is answered");
}

#[test]
fn a_room_has_the_spelling_of_its_log() {
    let mut test = Test::new(LimitValues::default());
    test.connect(CONN, "s");
    test.request(CONN, hello(None));
    let name = RoomName::new("DEN").expect("a name");
    let opens = test.request(CONN, Request::Join { room: name, history: 0 });
    let token = load(&opens).0;
    let actions = test.handle(Event::Loaded { token, result: Ok(page(0, 0..0)) });
    let told = actions.iter().find_map(|action| match action {
        Action::Send { frame: ServerFrame::Joined(joined), .. } => Some(joined.room.as_str()),
        _ => None,
    });
    assert_eq!(told, Some("den"));
}

#[test]
fn nobody_is_gone_before_the_last_one_is() {
    let drained = |actions: &VecDeque<Action>| {
        actions.iter().any(|action| matches!(action, Action::DrainedAll))
    };
    let mut test = Test::new(LimitValues::default());
    test.connect(CONN, "s");
    test.request(CONN, hello(None));
    assert!(!drained(&test.handle(Event::Drain { deadline: Mono(1000) })));
    let gone = Event::Disconnected { conn: CONN, why: LeaveReason::Disconnected };
    assert!(drained(&test.handle(gone.clone())));
    // Whoever has lost the connection can't come back, and is not waited for.
    let mut test = Test::joined(LimitValues::default(), 0);
    test.handle(gone);
    assert!(drained(&test.handle(Event::Drain { deadline: Mono(1000) })));
}

#[test]
fn what_can_not_be_read_is_answered() {
    let mut test = Test::joined(LimitValues::default(), 0);
    let error = Decoder::new(Dialect::V1).decode("{}").expect_err("it has no type");
    let actions = test.handle(Event::Malformed { conn: CONN, error, dialect: Dialect::V1 });
    let told =
        |action: &Action| matches!(action, Action::Send { frame: ServerFrame::Error(_), .. });
    assert!(actions.iter().any(told), "{actions:?}");
}

#[test]
fn no_more_sessions_are_kept_than_there_may_be_connections() {
    let mut test = Test::new(LimitValues { connections: 2, ..LimitValues::default() });
    for n in 0..4 {
        let conn = ConnId { slot: 0, generation: n };
        test.connect(conn, &format!("s{n}"));
        test.request(conn, hello(None));
        test.handle(Event::Disconnected { conn, why: LeaveReason::Disconnected });
        assert_eq!(test.hub.stats().away, 2.min(n as usize + 1));
    }
}

#[test]
fn a_welcome_names_the_features_that_both_have() {
    for (asked, both) in [("typing", 1), ("other", 0)] {
        let mut test = Test::new(LimitValues::default());
        test.connect(CONN, "s");
        let features = vec![asked.into()];
        let hello = Request::Hello { name: None, token: None, features, resume: None };
        let actions = test.request(CONN, hello);
        let told = actions.iter().find_map(|action| match action {
            Action::Send { frame: ServerFrame::Welcome(welcome), .. } => Some(&welcome.features),
            _ => None,
        });
        assert_eq!(told.expect("a welcome").len(), both, "{asked}");
    }
}

#[test]
fn of_the_rooms_of_other_hubs_no_more_are_known_than_there_may_be() {
    let mut test = Test::new(LimitValues { rooms_total: 2, ..LimitValues::default() });
    let script = [("a", 1, 1), ("b", 1, 2), ("c", 1, 2), ("a", 0, 1), ("c", 1, 2)];
    for (at, (name, count, known)) in (1..).zip(script) {
        let room = RoomName::new(name).expect("a name");
        let lines = vec![DigestLine { room, version: at, count, head: None }];
        let signal = Signal::Digest(Digest { at, covers: None, lines });
        test.handle(Event::Signal { from: PEER, signal });
        assert_eq!(test.hub.stats().elsewhere, known, "{name} {count}");
    }
}

#[test]
fn where_a_room_ends_is_asked_every_so_often() {
    let mut test = Test::joined(LimitValues::default(), 0);
    for _ in 0..3 {
        let actions = test.pass(5000);
        let asked = actions.iter().find_map(|action| match action {
            Action::Head { token, .. } => Some(*token),
            _ => None,
        });
        let token = asked.expect("a question");
        test.handle(Event::Head { token, result: Ok(page(0, 0..0).head) });
    }
}

#[test]
fn what_is_not_at_hand_is_read() {
    let mut test = Test::joined(LimitValues::default(), 100);
    let range = HistoryRange::After(seq(99));
    let asks = test.request(CONN, Request::History { room: room(), range, limit: None });
    assert_eq!(load(&asks).1.from, seq(100));
}

#[test]
fn a_resume_that_waits_for_the_log_ends_though_the_timer_is_late() {
    let mut test = Test::new(LimitValues::default());
    test.connect(CONN, "s");
    let rooms =
        BTreeMap::from([(room(), Position { epoch: page(0, 0..0).head.epoch, seq: seq(1) })]);
    load(&test.request(CONN, hello(Some(Resume { rooms, ..resume(1) }))));
    let welcome =
        |action: &Action| matches!(action, Action::Send { frame: ServerFrame::Welcome(_), .. });
    assert!(test.pass(5100).iter().any(welcome));
}
