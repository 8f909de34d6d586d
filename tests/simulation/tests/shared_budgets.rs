//! What sessions share: the budgets of users and of addresses, and how many sessions a user has.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chat_proto::{
    BasicRequest, ClientFrame, CloseCode, Dialect, ErrorCode, LeaveReason, LimitValues, Request,
    Resume, RoomName, ServerFrame, SessionId, Timestamp, Token as Credentials, UserId,
};
use chat_state::{
    Action, AddressKey, Asked, Config, ConnId, Connect, Event, Grant, Hub, HubId, Identity, Lost,
    Mono, Now, Peers, Probe, Signal, Stats, TimeValues,
};
use proptest::prelude::*;

/// Some Hubs that hear each other's signals at once; the authority is played by the test.
struct Test {
    hubs: Vec<Hub>,
    now: u64,
    /// Sessions so far.
    sessions: u32,
    /// Signals are lost.
    deaf: bool,
}

/// A connection and its Hub.
type At = (usize, ConnId);

impl Test {
    fn new(hubs: usize, limits: &LimitValues) -> Self {
        // Nobody here answers pings.
        let silence = 7 * 24 * 3600 * 1000;
        let times = TimeValues {
            heartbeat_ms: silence,
            heartbeat_dead_ms: silence,
            ..TimeValues::default()
        }
        .build()
        .expect("within bounds");
        let config = |hub| Config {
            hub: HubId { node: hub as u64, incarnation: 1 },
            peers: if hubs > 1 { Peers::Some } else { Peers::None },
            limits: limits.clone().build().expect("within bounds"),
            times: times.clone(),
            ..Config::default()
        };
        Self {
            hubs: (0..hubs).map(|hub| Hub::new(config(hub))).collect(),
            now: 0,
            sessions: 0,
            deaf: false,
        }
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.now), wall: Timestamp(self.now) }
    }

    fn handle(&mut self, hub: usize, event: Event) -> VecDeque<Action> {
        let mut out = VecDeque::new();
        let now = self.now();
        self.hubs[hub].handle(now, event, &mut out).expect("the Hub has issued it");
        self.carry(hub, &out);
        out
    }

    /// Lets the others hear what a Hub tells.
    fn carry(&mut self, hub: usize, out: &VecDeque<Action>) {
        let from = HubId { node: hub as u64, incarnation: 1 };
        let heard = if self.deaf { 0 } else { self.hubs.len() };
        for action in out {
            let Action::Signal { signal, .. } = action else { continue };
            for other in (0..heard).filter(|other| *other != hub) {
                self.handle(other, Event::Signal { from, signal: signal.clone() });
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            let due = self.hubs.iter().enumerate();
            let due = due.filter_map(|(hub, h)| Some((h.poll_timeout()?.0, hub))).min();
            let Some((at, hub)) = due.filter(|(at, _)| *at <= end) else { break };
            self.now = at.max(self.now);
            let (now, mut out) = (self.now(), VecDeque::new());
            self.hubs[hub].handle_timeout(now, &mut out);
            self.carry(hub, &out);
        }
        self.now = end;
    }

    fn connect(&mut self, hub: usize, dialect: Dialect, peer: u128) -> At {
        self.sessions += 1;
        let session = SessionId::new(&format!("s{}", self.sessions)).expect("a session");
        let identity = Identity::Wanted { credentials: Some(Credentials("t".into())) };
        let (probe, peer) = (Probe::Transport, Some(AddressKey(peer.to_be_bytes())));
        let connect = Connect { session, dialect, identity, probe, peer };
        let (now, mut out) = (self.now(), VecDeque::new());
        let conn = self.hubs[hub].connect(now, connect, &mut out);
        self.carry(hub, &out);
        (hub, conn)
    }

    /// Sends the first frame and lets the authority answer it.
    fn greet(&mut self, at: At, frame: ClientFrame, grant: Grant) -> VecDeque<Action> {
        let asked = self.handle(at.0, Event::Received { conn: at.1, frame });
        let token = asked.iter().find_map(|action| match action {
            Action::Authenticate { token, .. } => Some(*token),
            _ => None,
        });
        let token = token.unwrap_or_else(|| panic!("{asked:?}"));
        self.handle(at.0, Event::Authenticated { token, result: Ok(grant.into()) })
    }

    /// A session of this user from this address.
    fn session(&mut self, hub: usize, grant: Grant, peer: u128) -> At {
        let at = self.connect(hub, Dialect::V1, peer);
        let answer = self.greet(at, hello(None), grant);
        assert!(is_welcome(&answer), "{answer:?}");
        at
    }

    fn request(&mut self, at: At, request: Request) -> VecDeque<Action> {
        let frame = ClientFrame::V1 { id: None, request };
        self.handle(at.0, Event::Received { conn: at.1, frame })
    }

    /// Says something, in a room that it is not in: that costs as much.
    fn say(&mut self, at: At) -> Result<(), (u64, String)> {
        over(&self.request(at, message()))
    }

    fn cut(&mut self, at: At) {
        let why = LeaveReason::Left;
        self.handle(at.0, Event::Disconnected { conn: at.1, why });
    }
}

fn user(name: &str) -> Grant {
    Grant::new(UserId::new(name).expect("an id"))
}

fn message() -> Request {
    let room = RoomName::new("den").expect("a name");
    Request::Message { room, key: None, content: "x".into(), reply_to: None }
}

fn hello(resume: Option<Resume>) -> ClientFrame {
    let (name, token, features) = (None, None, Vec::new());
    let request = Request::Hello { name, token, features, resume: resume.map(Box::new) };
    ClientFrame::V1 { id: None, request }
}

fn errors(actions: &VecDeque<Action>) -> impl Iterator<Item = &chat_proto::ErrorBody> {
    actions.iter().filter_map(|action| match action {
        Action::Send { frame: ServerFrame::Error(error), .. } => Some(&**error),
        _ => None,
    })
}

/// Whether a budget has refused it: when to come back, and why.
fn over(actions: &VecDeque<Action>) -> Result<(), (u64, String)> {
    let refused = errors(actions).find(|error| error.code == ErrorCode::RateLimited);
    refused.map_or(Ok(()), |error| {
        Err((error.retry_after_ms.expect("it says when"), error.message.clone()))
    })
}

fn is_welcome(actions: &VecDeque<Action>) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::Send { frame: ServerFrame::Welcome(_), .. }))
}

fn closed(actions: &VecDeque<Action>) -> Option<CloseCode> {
    actions.iter().find_map(|action| match action {
        Action::Close { code, .. } => Some(*code),
        _ => None,
    })
}

fn limits(session: u32, user: u32, address: u32) -> LimitValues {
    LimitValues {
        messages_per_10s: session,
        user_messages_per_10s: user,
        address_messages_per_10s: address,
        ..LimitValues::default()
    }
}

/// A level that rises with each request and sinks with time, in ten-thousandths of a message.
#[derive(Clone, Copy, Default)]
struct Level {
    level: u64,
    at: u64,
}

impl Level {
    fn now(&mut self, now: u64, per_window: u32) -> u64 {
        self.level = self.level.saturating_sub((now - self.at) * u64::from(per_window));
        self.at = now;
        self.level
    }
}

proptest! {
    /// What is let through is what all three budgets have, and all that they have. Over several
    /// Hubs it is more by what they have not told each other yet.
    #[test]
    fn g10_fair_among_users_and_addresses(
        (hubs, budgets) in (1..=3_usize, (1..40_u32, 1..60_u32, 1..80_u32)),
        sessions in proptest::collection::vec((0..3_usize, 0..2_u8, 0..2_u128), 1..7),
        asked in proptest::collection::vec((0..700_u64, 0..7_usize, any::<bool>()), 1..160),
    ) {
        let (session, user_budget, address) = budgets;
        let mut test = Test::new(hubs, &limits(session, user_budget, address));
        // Of kind 0 sessions, 1 users, 2 addresses. What `hello` cost is back when it begins.
        let mut levels: BTreeMap<(u8, u128), (u32, Level)> = BTreeMap::new();
        let mut all = Vec::new();
        for (n, (hub, who, peer)) in sessions.into_iter().enumerate() {
            test.pass(10_000);
            let keys = [(0, n as u128), (1, who.into()), (2, peer)];
            all.push((test.session(hub % hubs, user(&format!("u{who}")), peer), keys));
            for (key, budget) in keys.into_iter().zip([session, user_budget, address]) {
                levels.insert(key, (budget, Level::default()));
            }
        }
        test.pass(20_000);
        let others = hubs as u64 - 1;
        // Who went on for too long is heard no more.
        let mut ended = BTreeSet::new();
        for (gap, n, small) in asked {
            test.pass(gap);
            let (at, keys) = all[n % all.len()];
            if ended.contains(&at) {
                continue;
            }
            let cost = if small { 100 } else { 1000 };
            let request = if small { Request::Ping } else { message() };
            let answer = test.request(at, request);
            let ends = closed(&answer) == Some(CloseCode::RateLimited);
            let taken = over(&answer).is_ok() && !ends;
            if ends {
                ended.insert(at);
            }
            let mut has = true;
            for key in keys {
                let (per_window, level) = levels.get_mut(&key).expect("it was made");
                let level_now = level.now(test.now, *per_window) + cost * 10;
                let most = u64::from(*per_window) * 10_000;
                // A request of each Hub may come before what the others have told.
                let untold = if key.0 == 0 { 0 } else { others * (most / 32 + 10_000) };
                prop_assert!(!taken || level_now <= most + untold + 100, "{:?}", key);
                has &= level_now + 100 <= most;
            }
            prop_assert!(taken || !has || others > 0, "refused although there was enough");
            if taken {
                keys.iter().for_each(|key| {
                    levels.get_mut(key).expect("it was made").1.level += cost * 10;
                });
            }
        }
        // Nothing is left once all have gone and what they spent is back.
        all.into_iter().for_each(|(at, _)| test.cut(at));
        test.pass(200_000);
        for hub in &test.hubs {
            prop_assert_eq!(hub.stats(), Stats::default());
        }
    }
}

#[test]
fn many_sessions_of_a_user_have_one_budget() {
    let mut test = Test::new(1, &limits(100, 20, 0));
    let many: Vec<At> = (0..10).map(|peer| test.session(0, user("ada"), peer)).collect();
    let bob = test.session(0, user("bob"), 0);
    let taken = (0..1000).filter(|n| test.say(many[n % many.len()]).is_ok()).count();
    assert_eq!(taken, 20);
    let refused = test.say(many[0]).expect_err("it is spent");
    assert_eq!(refused, (500, "too many requests: limit `user_messages_per_10s`".into()));
    assert_eq!(test.say(bob), Ok(()), "another user's is another one");
    test.pass(500);
    assert!(test.say(many[1]).is_ok() && test.say(many[2]).is_err());
}

#[test]
fn coming_back_gives_no_fresh_budget() {
    for (what, limits) in [("user", limits(0, 20, 0)), ("address", limits(0, 0, 20))] {
        let mut test = Test::new(1, &limits);
        let ada = test.session(0, user("ada"), 1);
        while test.say(ada).is_ok() {}
        test.cut(ada);
        assert_eq!(test.hubs[0].stats().budgets, 1, "{what}");
        test.pass(1000);
        // At the address's cost it can't even say `hello` over and over.
        let again = test.session(0, user("ada"), 1);
        let taken = (0..10).filter(|_| test.say(again).is_ok()).count();
        assert!((1..=2).contains(&taken), "{what}: {taken}");
        test.cut(again);
        test.pass(9_999);
        assert_eq!(test.hubs[0].stats().budgets, 1, "{what}");
        test.pass(1);
        assert_eq!(test.hubs[0].stats(), Stats::default(), "{what}");
    }
}

#[test]
fn hubs_tell_each_other_what_was_spent() {
    let mut test = Test::new(2, &limits(0, 64, 0));
    let here = test.session(0, user("ada"), 1);
    let there = test.session(1, user("ada"), 2);
    let taken = |test: &mut Test, at| (0..80).filter(|_| test.say(at).is_ok()).count();
    // Every second message is told.
    assert_eq!((taken(&mut test, here), taken(&mut test, there)), (64, 0));
    // Nobody is known there yet: it is remembered for those who come.
    test.pass(30_000);
    assert_eq!(taken(&mut test, here), 64);
    test.cut(there);
    let late = test.session(1, user("ada"), 2);
    assert_eq!(taken(&mut test, late), 0);
    // What was told twice is not waited for without end.
    for _ in 0..100 {
        let by = chat_state::Spender::User(UserId::new("ada").expect("an id"));
        let signal = Signal::Spent { by, cost: 64_000, per_window: 64 };
        test.handle(1, Event::Signal { from: HubId::default(), signal });
    }
    assert!(matches!(test.say(late), Err((10_000..=10_200, _))));
}

#[test]
fn a_credential_of_its_own_budget_has_it_for_its_user() {
    let mut test = Test::new(1, &limits(10, 10, 30));
    let own = |n| Grant { messages_per_10s: Some(n), ..user("bot") };
    let taken = |test: &mut Test, at| (0..50).filter(|_| test.say(at).is_ok()).count();
    let bot = test.session(0, own(20), 1);
    // What `hello` has cost comes back.
    test.pass(1000);
    assert_eq!(taken(&mut test, bot), 20);
    test.pass(30_000);
    let (one, other) = (test.session(0, own(20), 1), test.session(0, own(25), 1));
    test.pass(1000);
    assert_eq!((taken(&mut test, one), taken(&mut test, other)), (20, 0), "they share it");
    test.pass(30_000);
    // One without a limit has none by its address either.
    let free = test.session(0, Grant { messages_per_10s: Some(0), ..user("free") }, 1);
    assert_eq!((0..1000).filter(|_| test.say(free).is_ok()).count(), 1000);
}

#[test]
fn lower_limits_count_at_once_for_those_who_are_there() {
    let mut test = Test::new(1, &limits(0, 100, 0));
    let ada = test.session(0, user("ada"), 1);
    assert_eq!((0..50).filter(|_| test.say(ada).is_ok()).count(), 50);
    test.handle(0, Event::Reconfigure { limits: limits(0, 4, 0).build().expect("within bounds") });
    // Half of the window is spent, and half is left.
    assert_eq!((0..50).filter(|_| test.say(ada).is_ok()).count(), 2);
    test.handle(0, Event::Reconfigure { limits: limits(0, 0, 0).build().expect("within bounds") });
    assert_eq!((0..500).filter(|_| test.say(ada).is_ok()).count(), 500);
}

#[test]
fn a_flood_that_does_not_care_is_told_and_closed() {
    let mut test = Test::new(1, &limits(0, 5, 0));
    let (ada, calm) = (test.session(0, user("ada"), 1), test.session(0, user("ada"), 1));
    let mut answers = (0..).map(|_| test.request(ada, message()));
    let last = answers.find(|answer| closed(answer).is_some()).expect("it ends");
    drop(answers);
    assert_eq!(closed(&last), Some(CloseCode::RateLimited));
    let bye = last.iter().find_map(|action| match action {
        Action::Send { frame: ServerFrame::Bye { code, reconnect, after_ms }, .. } => {
            Some((code.as_str(), *reconnect, *after_ms))
        }
        _ => None,
    });
    assert_eq!(bye, Some(("rate_limited", true, 10_000)));
    // The user's other session has to wait as long, and is not closed for it.
    assert!(test.say(calm).is_err());
    test.pass(2000);
    assert_eq!(test.say(calm), Ok(()));
}

#[test]
fn a_user_has_so_many_sessions() {
    let mut test = Test::new(1, &LimitValues { user_sessions: 2, ..LimitValues::default() });
    let first = test.session(0, user("ada"), 1);
    let second = test.session(0, user("ada"), 1);
    let third = test.connect(0, Dialect::V1, 1);
    let answer = test.greet(third, hello(None), user("ada"));
    let error = errors(&answer).next().expect("an error");
    assert_eq!((error.code, error.retryable), (ErrorCode::TooManySessions, true));
    assert!(error.message.contains("`user_sessions` (2)"), "{}", error.message);
    assert_eq!(closed(&answer), Some(CloseCode::Overloaded));
    // A `basic` connection is a session, too, and can't be told.
    let basic = test.connect(0, Dialect::Basic, 1);
    let join = || BasicRequest::Join { room: RoomName::new("den").expect("a name") };
    let answer = test.greet(basic, ClientFrame::Basic(join()), user("ada"));
    assert_eq!((closed(&answer), errors(&answer).count()), (Some(CloseCode::Overloaded), 0));
    test.session(0, user("bob"), 1);
    // One that comes back takes the place of the connection that it had.
    let session = SessionId::new("s2").expect("a session");
    let resume = Resume { session, attempt: 1, rooms: BTreeMap::new() };
    let again = test.connect(0, Dialect::V1, 1);
    let answer = test.greet(again, hello(Some(resume)), user("ada"));
    assert!(is_welcome(&answer), "{answer:?}");
    assert_eq!(closed(&answer), Some(CloseCode::Superseded), "the second one: {second:?}");
    test.cut(first);
    test.session(0, user("ada"), 1);
}

/// Tries to begin a session; tells whether it was welcome.
fn comes(test: &mut Test, hub: usize, who: &str) -> Option<At> {
    let at = test.connect(hub, Dialect::V1, 1);
    let answer = test.greet(at, hello(None), user(who));
    let refused = errors(&answer).any(|error| error.code == ErrorCode::TooManySessions);
    assert_eq!(is_welcome(&answer), !refused, "{answer:?}");
    (!refused).then_some(at)
}

proptest! {
    /// Whatever came and went on whichever Hub, a user has so many sessions in all. Signals that
    /// were lost are made up for once Hubs know it, and after a time without their knowing.
    #[test]
    fn a_user_has_so_many_sessions_over_all_hubs(
        (hubs, most, told) in (2..=3_usize, 1..5_u32, any::<bool>()),
        steps in proptest::collection::vec((0..10_u8, 0..3_usize, 0..2_u8, 0..90_000_u64), 1..80),
    ) {
        let limits = LimitValues { user_sessions: most, ..LimitValues::default() };
        let mut test = Test::new(hubs, &limits);
        let mut all: Vec<(At, u8)> = Vec::new();
        for (step, n, who, gap) in steps {
            match step {
                0..=4 => {
                    let there = all.iter().filter(|(_, of)| *of == who).count();
                    let came = comes(&mut test, n % hubs, &format!("u{who}"));
                    let fits = there < most as usize;
                    prop_assert!(test.deaf || came.is_some() == fits, "{there} of {most}");
                    all.extend(came.map(|at| (at, who)));
                }
                5..=7 if !all.is_empty() => test.cut(all.swap_remove(n % all.len()).0),
                8 => test.pass(gap),
                9 if !test.deaf => test.deaf = true,
                _ => heal(&mut test, told),
            }
        }
        heal(&mut test, told);
        all.drain(..).for_each(|(at, _)| test.cut(at));
        test.pass(200_000);
        for hub in &test.hubs {
            prop_assert_eq!(hub.stats(), Stats::default());
        }
    }
}

/// Signals get through again, and Hubs are told that some did not, or are not.
fn heal(test: &mut Test, told: bool) {
    test.deaf = false;
    if told {
        (0..test.hubs.len()).for_each(|hub| drop(test.handle(hub, Event::SignalsLost(Lost::All))));
        test.pass(20_000);
    } else {
        test.pass(150_000);
    }
}

#[test]
fn a_large_number_of_sessions_is_told_in_parts() {
    let mut test = Test::new(2, &LimitValues { user_sessions: 64, ..LimitValues::default() });
    let came = (0..200).filter(|n| comes(&mut test, n % 2, "ada").is_some()).count();
    // One more may come to each Hub than it has told.
    assert!((64..=65).contains(&came), "{came}");
    let mut test = Test::new(2, &LimitValues { user_sessions: 64, ..LimitValues::default() });
    let users: Vec<At> = (0..100).map(|n| test.session(0, user(&format!("u{n}")), 1)).collect();
    assert_eq!(test.hubs[1].stats().users, 0, "one session each is nothing to tell");
    users.into_iter().for_each(|at| test.cut(at));
}

/// A Hub that asks again and again is told of the last users, too.
#[test]
fn frequent_questions_keep_no_user_from_being_told() {
    let mut test = Test::new(2, &LimitValues { user_sessions: 2, ..LimitValues::default() });
    test.deaf = true;
    for n in 0..600 {
        let who = format!("u{n:03}");
        assert!((0..2).all(|_| comes(&mut test, 0, &who).is_some()));
    }
    test.deaf = false;
    let from = HubId { node: 1, incarnation: 1 };
    for _ in 0..60 {
        let signal = Signal::AskDigest { rooms: Asked::All };
        test.handle(0, Event::Signal { from, signal });
        test.pass(1000);
    }
    for who in ["u000", "u300", "u599"] {
        assert!(comes(&mut test, 1, who).is_none(), "{who} has two sessions on the other Hub");
    }
}

#[test]
fn a_session_that_moves_to_another_hub_takes_its_own_place() {
    let mut test = Test::new(2, &LimitValues { user_sessions: 2, ..LimitValues::default() });
    let first = test.session(0, user("ada"), 1);
    test.session(0, user("ada"), 1);
    let resume = |session: &str, attempt| {
        let session = SessionId::new(session).expect("a session");
        hello(Some(Resume { session, attempt, rooms: BTreeMap::new() }))
    };
    let again = test.connect(1, Dialect::V1, 1);
    let answer = test.greet(again, resume("s2", 1), user("ada"));
    assert!(is_welcome(&answer), "{answer:?}");
    assert!(comes(&mut test, 0, "ada").is_none() && comes(&mut test, 1, "ada").is_none());
    test.cut(first);
    test.session(1, user("ada"), 1);
    // Whoever only says so gains one session, however often it is said.
    for (n, welcome) in [true, false, false].into_iter().enumerate() {
        let liar = test.connect(0, Dialect::V1, 1);
        let answer = test.greet(liar, resume(&format!("made-up-{n}"), 1), user("ada"));
        assert_eq!(is_welcome(&answer), welcome, "{n}: {answer:?}");
    }
}
