//! What PROTOCOL says in passing: rare orders of events, each with the sentence that it is about.
mod harness;

use chat_proto::{
    BasicRequest, CloseCode, Dialect, ErrorCode, HistoryRange, LimitValues, LostReason, Recovery,
    Request, ServerFrame, Token as Credentials,
};
use chat_state::{
    Action, Event, Grant, Identity, LogHead, LogPage, Mono, Order, TimeValues, Whom, guest,
};
use harness::{Test, hello, message, resume_of, room, seq, session, user};

/// G9, "Coming back": the others see a member leave after 10 s, unless the session is resumed in
/// the room; a session is in at most `rooms` rooms.
#[test]
fn a_session_does_not_linger_for_ever_in_rooms_that_it_has_not_come_back_to() {
    let mut test = Test::new(1, &LimitValues { rooms: 2, ..LimitValues::default() });
    let b = test.welcomed("b");
    test.join(b, "room 0");
    let mut conn = test.welcomed("a");
    let mut is_left = false;
    for n in 0..30 {
        test.join(conn, &format!("room {n}"));
        test.cut(conn);
        is_left |= test.is_left(b, "room 0");
        test.pass(9000);
        is_left |= test.is_left(b, "room 0");
        conn = test.resumed("a", n + 1, &[]);
        assert!(test.welcome(0, conn).is_some());
    }
    let stats = test.hubs[0].stats();
    let members = test.hubs[0].room_view(&room("room 0")).map(|view| view.members);
    assert!(is_left, "270 s and `a` is still shown in room 0: {members:?}, {stats:?}");
    assert!(stats.rooms <= 4, "{stats:?}");
}

/// G10: no request within all budgets is refused for a budget. A session without a limit has none
/// by its address.
#[test]
fn what_a_session_without_a_limit_sends_is_not_charged_to_its_neighbours_on_another_hub() {
    let limits = LimitValues {
        messages_per_10s: 1000,
        user_messages_per_10s: 0,
        address_messages_per_10s: 64,
        ..LimitValues::default()
    };
    let mut test = Test::new(2, &limits);
    let grant = Grant { messages_per_10s: Some(0), ..user("machine") };
    let machine = test.known(0, "m", grant, 1);
    for _ in 0..1000 {
        test.request(0, machine, message("den"));
        assert_ne!(test.error(0, machine), Some(ErrorCode::RateLimited));
    }
    test.pass(3_600_000);
    let ada = test.known(0, "ada", user("ada"), 1);
    for _ in 0..2 {
        test.request(0, ada, message("den"));
        assert_ne!(test.error(0, ada), Some(ErrorCode::RateLimited));
    }
    // The address has spent 3 messages of 64 within its budget.
    let credentials = Some(Credentials("t".into()));
    test.grant = Some(user("bob"));
    let identity = Identity::Wanted { credentials };
    let bob = test.connect_as(1, "bob", Dialect::V1, identity, Some(1));
    test.request(1, bob, hello(None));
    assert!(test.welcome(1, bob).is_some(), "{:?}", test.told(1, bob));
}

/// The same, when an operator sets a limit where there was none.
#[test]
fn what_was_sent_before_there_was_a_limit_does_not_count() {
    let limits = LimitValues {
        messages_per_10s: 0,
        user_messages_per_10s: 0,
        address_messages_per_10s: 0,
        ..LimitValues::default()
    };
    let mut test = Test::new(2, &limits);
    let ada = test.known(0, "ada", user("ada"), 1);
    let bob = test.known(1, "bob", user("bob"), 1);
    for _ in 0..1000 {
        test.request(0, ada, message("den"));
    }
    test.pass(3_600_000);
    let limits = LimitValues { address_messages_per_10s: 64, ..limits };
    let limits = limits.build().expect("within bounds");
    for hub in 0..2 {
        test.handle(hub, Event::Reconfigure { limits: limits.clone() });
    }
    test.request(0, ada, message("den"));
    test.request(1, bob, message("den"));
    assert_ne!(test.error(1, bob), Some(ErrorCode::RateLimited), "{:?}", test.told(1, bob));
}

/// "Falling behind": the server sends a congested connection no live events.
#[test]
fn a_member_does_not_go_live_while_its_connection_is_congested() {
    let limits = LimitValues { recent_entries: 1, ..LimitValues::default() };
    let mut test = Test::new(1, &limits);
    let (a, b) = (test.welcomed("a"), test.welcomed("b"));
    test.join(a, "den");
    test.join(b, "den");
    test.handle(0, Event::Congested { conn: a });
    for _ in 0..5 {
        test.request(0, b, message("den"));
    }
    test.slow = vec![room("den")];
    test.handle(0, Event::Drained { conn: a });
    // What A has missed is being read. Its outbox fills meanwhile.
    test.handle(0, Event::Congested { conn: a });
    let (hub, answer) = test.held.pop().expect("a read");
    test.handle(hub, answer);
    test.request(0, b, message("den"));
    let live = test.told(0, a).into_iter().filter(|f| matches!(f, ServerFrame::Entry(_))).count();
    assert_eq!(live, 0, "a congested connection is sent live events");
}

/// Section 11: `room_drafts` messages of one room wait for the log. At the limit reading stops.
#[test]
fn no_more_than_room_drafts_wait_for_the_log_whoever_comes_and_goes() {
    let limits = LimitValues { room_drafts: 4, ..LimitValues::default() };
    let mut test = Test::new(1, &limits);
    test.slow_appends = true;
    for n in 0..500 {
        let conn = test.connect(&format!("s{n}"), Dialect::Basic);
        test.basic(conn, BasicRequest::Join { room: room("den") });
        test.basic(conn, BasicRequest::Message { content: "x".into() });
        test.cut(conn);
    }
    // The log takes no time any more: everything that waits is appended.
    test.slow_appends = false;
    test.pass(60_000);
    let drafts = test.log.get(&room("den")).map_or(0, Vec::len);
    assert!(drafts <= 4 + 4, "{drafts} drafts waited, beside those of the first batch");
}

/// G13: a server that drains sends each `chat.v1` session a `bye` before it closes it with 4100.
#[test]
fn a_session_that_begins_during_a_drain_gets_a_bye() {
    let mut test = Test::new(1, &LimitValues::default());
    let _first = test.connect("a", Dialect::V1);
    // A connection over lines: its first frame chooses the dialect.
    let conn = test.connect("b", Dialect::Basic);
    test.handle(0, Event::Drain { deadline: Mono(10_000) });
    test.request(0, conn, hello(None));
    assert!(test.welcome(0, conn).is_some(), "{:?}", test.out);
    let byes = |test: &Test| {
        test.told(0, conn).iter().any(|frame| matches!(frame, ServerFrame::Bye { .. }))
    };
    let early = byes(&test);
    test.pass(20_000);
    assert_eq!(test.closed(conn), Some(CloseCode::Draining));
    assert!(early || byes(&test), "closed without a `bye`");
}

/// `LogHead::room`: a Hub takes an answer for another room as a failed read.
#[test]
fn a_head_of_another_room_is_a_failed_read() {
    let mut test = Test::new(1, &LimitValues::default());
    let a = test.welcomed("a");
    test.join(a, "den");
    for _ in 0..3 {
        test.request(0, a, message("den"));
    }
    // A resume beyond what is known makes the Hub ask for the head.
    test.slow = vec![room("den")];
    let b = test.resumed("b", 1, &[("den", 9)]);
    let (hub, event) = test.held.pop().expect("a question");
    let Event::Head { token, result: Ok(head) } = event else { panic!("{event:?}") };
    let head = LogHead { room: room("other"), last: seq(3), first: seq(3), ..head };
    test.handle(hub, Event::Head { token, result: Ok(head) });
    let told = test.welcome(0, b).map(|welcome| welcome.rooms);
    assert_eq!(told, None, "decided by the head of another room");
}

/// The same for a page: entries of another room are delivered to a member.
#[test]
fn a_page_of_another_room_is_a_failed_read() {
    let limits = LimitValues { recent_entries: 1, ..LimitValues::default() };
    let mut test = Test::new(1, &limits);
    let (a, b) = (test.welcomed("a"), test.welcomed("b"));
    for name in ["den", "secret"] {
        test.join(b, name);
        for _ in 0..3 {
            test.request(0, b, message(name));
        }
    }
    test.join(a, "den");
    test.slow = vec![room("den")];
    test.request(
        0,
        a,
        Request::History { room: room("den"), range: HistoryRange::Latest, limit: None },
    );
    let (hub, event) = test.held.pop().expect("a question");
    let Event::Loaded { token, .. } = event else { panic!("{event:?}") };
    let (head, entries) = (test.head(&room("secret")), test.log[&room("secret")].clone());
    test.handle(hub, Event::Loaded { token, result: Ok(LogPage { head, entries }) });
    let pages = test.told(0, a).into_iter().find_map(|frame| match frame {
        ServerFrame::Page(page) => Some(page),
        _ => None,
    });
    let shown = pages.map(|page| page.events.iter().map(|e| e.room.clone()).collect::<Vec<_>>());
    assert_eq!(shown, None, "a page of `den` with entries of `secret`");
}

/// "Operators": a session that an operator removes from a room is no longer a member.
#[test]
fn a_kick_ends_a_membership_whose_resume_is_yet_to_begin() {
    let mut test = Test::new(1, &LimitValues::default());
    let (a, b) = (test.welcomed("a"), test.welcomed("b"));
    test.join(a, "zoo");
    test.join(b, "zoo");
    test.cut(a);
    let slow: Vec<String> = (0..8).map(|n| format!("slow {n}")).collect();
    test.slow = slow.iter().map(|name| room(name)).collect();
    let mut rooms: Vec<_> = slow.iter().map(|name| (name.as_str(), 0)).collect();
    rooms.push(("zoo", 0));
    let again = test.resumed("a", 1, &rooms);
    assert!(test.welcome(0, again).is_none(), "eight logs are slow");
    let whom = Whom::User(guest(&session("a")));
    test.handle(0, Event::Operator(Order::Kick { room: room("zoo"), whom }));
    assert!(test.is_left(b, "zoo"), "{:?}", test.out);
    for (hub, event) in std::mem::take(&mut test.held) {
        test.go_on(hub, event);
    }
    let welcome = test.welcome(0, again).expect("all rooms are decided");
    assert_eq!(welcome.rooms[&room("zoo")], Recovery::Lost(LostReason::NotMember));
}

/// "The older connection": a connection with a lower attempt than the newest known is closed.
#[test]
fn a_resume_without_a_count_does_not_let_older_connections_back() {
    let mut test = Test::new(1, &LimitValues::default());
    let a = test.welcomed("a");
    test.cut(a);
    let five = test.resumed("a", 5, &[]);
    test.cut(five);
    let uncounted = test.resumed("a", 0, &[]);
    assert!(test.welcome(0, uncounted).is_some());
    let conn = test.connect("late", Dialect::V1);
    test.request(0, conn, hello(Some(resume_of("a", 3, &[]))));
    assert_eq!(test.closed(conn), Some(CloseCode::Superseded), "{:?}", test.out);
}

/// "Operators": who is banned from the server is gone from its rooms, also while cut off.
#[test]
fn a_ban_from_the_server_ends_the_stay_of_a_session_that_is_not_kept() {
    let times = TimeValues { session_ms: 0, ..TimeValues::default() };
    let mut test = Test::with_times(1, &LimitValues::default(), &times);
    let (a, b) = (test.welcomed("a"), test.welcomed("b"));
    test.join(a, "den");
    test.join(b, "den");
    test.cut(a);
    let user = guest(&session("a"));
    test.handle(0, Event::Operator(Order::Ban { user, room: None, until: None }));
    assert!(test.is_left(b, "den"), "a banned user is shown as a member");
}

/// "Falling behind": a client that takes nothing is closed with 4200 or 4201.
#[test]
fn a_client_that_takes_nothing_is_closed_whatever_it_has_asked_for() {
    let limits = LimitValues { in_flight: 4, outbox_high_bytes: 1024, ..LimitValues::default() };
    let mut test = Test::with_times(1, &limits, &TimeValues::default());
    let a = test.welcomed("a");
    test.join(a, "den");
    // It sends requests until it is not read any more, and reads none of the replies.
    let mut asked = 0;
    let is_paused = |test: &Test| {
        test.out.iter().any(|(_, action)| matches!(action, Action::Pause { conn } if *conn == a))
    };
    while !is_paused(&test) {
        test.request(0, a, Request::Members { room: room("den") });
        asked += 1;
        assert!(asked < 100, "it is not paused");
    }
    test.pass(3_600_000);
    let code = test.closed(a).map(CloseCode::number);
    assert!(matches!(code, Some(4200 | 4201)), "not closed after an hour of silence: {code:?}");
}

/// "Limits in operation": an operator may change limits while the server runs. They apply at once.
#[test]
fn a_basic_connection_is_read_again_once_its_limit_is_lifted() {
    let limits = LimitValues { basic_messages_per_10s: 1, ..LimitValues::default() };
    let mut test = Test::new(1, &limits);
    let a = test.connect("a", Dialect::Basic);
    // Frames of one packet, all read before the pause.
    for _ in 0..100 {
        test.basic(a, BasicRequest::Message { content: "x".into() });
    }
    let limits = LimitValues { basic_messages_per_10s: 0, ..limits }.build().expect("in bounds");
    test.handle(0, Event::Reconfigure { limits });
    let is_read = |test: &Test| {
        test.out.iter().any(|(_, action)| matches!(action, Action::Unpause { conn } if *conn == a))
    };
    let at_once = is_read(&test);
    test.pass(60_000);
    assert!(at_once || is_read(&test), "not read 60 s after the limit was lifted");
}

/// "Coming back": whatever ends for others after 10 s ends on a Hub whose log can't be read, too.
#[test]
fn a_session_that_never_gets_its_room_back_is_shown_as_gone() {
    let mut test = Test::new(1, &LimitValues::default());
    let (a, b) = (test.welcomed("a"), test.welcomed("b"));
    test.join(a, "den");
    test.join(b, "den");
    test.cut(a);
    let mut is_left = false;
    for n in 1..=20 {
        // It comes back each time without the room, and is cut off again.
        let conn = test.resumed("a", n, &[]);
        test.pass(1000);
        is_left |= test.is_left(b, "den");
        test.cut(conn);
        is_left |= test.is_left(b, "den");
        test.pass(8000);
        is_left |= test.is_left(b, "den");
    }
    assert!(is_left, "180 s without the room, and still shown as a member");
}

/// "Limits in operation": an operator may change limits while the server runs. They apply at once.
#[test]
fn a_raised_limit_on_listed_members_applies_to_members_on_other_hubs() {
    let limits = LimitValues { members_listed: 1, ..LimitValues::default() };
    let mut test = Test::new(2, &limits);
    let a = test.welcomed("a");
    test.join(a, "den");
    for n in 0..5 {
        let identity = Identity::Guest { name: None };
        let conn = test.connect_as(1, &format!("b{n}"), Dialect::V1, identity, None);
        test.request(1, conn, hello(None));
        test.request(1, conn, Request::Join { room: room("den"), history: 0 });
    }
    let limits = LimitValues { members_listed: 200, ..limits }.build().expect("within bounds");
    for hub in 0..2 {
        test.handle(hub, Event::Reconfigure { limits: limits.clone() });
    }
    test.pass(60_000);
    test.request(0, a, Request::Members { room: room("den") });
    let view = test.told(0, a).into_iter().find_map(|frame| match frame {
        ServerFrame::Members { view, .. } => Some((view.count, view.members.len())),
        _ => None,
    });
    assert_eq!(view, Some((6, 6)), "the count and the names, 60 s later");
}
