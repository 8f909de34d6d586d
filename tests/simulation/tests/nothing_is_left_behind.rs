//! What a Hub holds and does follows what is there now, not what has been.
use std::collections::VecDeque;

use chat_proto::{BasicRequest, ClientFrame, Dialect, LeaveReason, LimitValues, RoomName};
use chat_proto::{SessionId, Timestamp};
use chat_state::{
    Action, Appended, Config, ConnId, Connect, Event, Hub, Identity, LogHead, LogPage, Lost, Mono,
    Now, Outcome, Peers, Probe, ReadError, Stats, TimeValues,
};

fn at(ms: u64) -> Now {
    Now { mono: Mono(ms), wall: Timestamp(ms) }
}

fn conn(generation: u32) -> ConnId {
    ConnId { slot: 0, generation }
}

fn connect(hub: &mut Hub, conn: ConnId, dialect: Dialect) -> VecDeque<Action> {
    let session = SessionId::new(&format!("s{}", conn.slot)).expect("a plain value");
    let identity = Identity::Guest { name: None };
    let probe = Probe::Transport;
    let mut actions = VecDeque::new();
    let connect = Connect { session, dialect, identity, probe, peer: None };
    assert_eq!(hub.connect(at(0), connect, &mut actions), conn);
    actions
}

fn handle(hub: &mut Hub, ms: u64, event: Event) -> VecDeque<Action> {
    let mut actions = VecDeque::new();
    hub.handle(at(ms), event, &mut actions).expect("the Hub has issued it");
    actions
}

/// The same of an event that is alone in its turn.
fn alone(hub: &mut Hub, event: Event) -> VecDeque<Action> {
    let mut actions = handle(hub, 0, event);
    hub.end_turn(at(0), &mut actions);
    actions
}

fn basic(conn: ConnId, request: BasicRequest) -> Event {
    Event::Received { conn, frame: ClientFrame::Basic(request) }
}

fn said(conn: ConnId, content: &str) -> Event {
    basic(conn, BasicRequest::Message { content: content.into() })
}

/// Joins a room whose log is empty.
fn join(hub: &mut Hub, conn: ConnId) -> LogHead {
    let room = RoomName::new("lobby").expect("a plain value");
    let epoch = chat_proto::Epoch::new("e").expect("a plain value");
    let actions = handle(hub, 0, basic(conn, BasicRequest::Join { room: room.clone() }));
    let (first, last) = (chat_proto::Seq::new(1).expect("a plain value"), chat_proto::Seq::ZERO);
    let head = LogHead { room, epoch, first, last };
    for action in actions {
        if let Action::Load { token, .. } = action {
            let page = LogPage { head: head.clone(), entries: Vec::new() };
            for action in handle(hub, 0, Event::Loaded { token, result: Ok(page) }) {
                if let Action::Head { token, .. } = action {
                    handle(hub, 0, Event::Head { token, result: Ok(head.clone()) });
                }
            }
        }
    }
    head
}

#[test]
fn connections_that_come_and_go_leave_no_timers() {
    let mut hub = Hub::new(Config::default());
    for n in 0..1000 {
        let dialect = if n % 2 == 0 { Dialect::V1 } else { Dialect::Basic };
        connect(&mut hub, conn(n), dialect);
        handle(&mut hub, 0, Event::Disconnected { conn: conn(n), why: LeaveReason::Disconnected });
    }
    assert_eq!(hub.stats(), Stats::default());
}

#[test]
fn answered_appends_leave_one_timer_until_the_last_deadline() {
    let mut hub = Hub::new(Config::default());
    connect(&mut hub, conn(0), Dialect::Basic);
    let head = join(&mut hub, conn(0));
    let before = hub.stats();
    for n in 1..=1000 {
        let actions = alone(&mut hub, said(conn(0), "hi"));
        let Some(Action::Append { token, .. }) = actions.front() else { panic!("{actions:?}") };
        let outcomes = vec![Outcome::New { seq: chat_proto::Seq::new(n).expect("a plain value") }];
        let result = Ok(Appended { epoch: head.epoch.clone(), outcomes });
        handle(&mut hub, 0, Event::Appended { token: *token, result });
        assert_eq!(hub.stats(), Stats { timers: before.timers + 1, ..before });
    }
    hub.handle_timeout(at(TimeValues::default().append_ms), &mut VecDeque::new());
    assert_eq!(hub.stats(), Stats { timers: 1, ..before }, "only the heartbeat is left");
}

#[test]
fn frames_that_were_read_before_the_pause_make_it_longer() {
    let limits = LimitValues { basic_messages_per_10s: 10, ..LimitValues::default() }
        .build()
        .expect("within bounds");
    let mut hub = Hub::new(Config { limits, ..Config::default() });
    connect(&mut hub, conn(0), Dialect::Basic);
    let idle = hub.stats().timers;
    // Ten are the burst; each of the others takes a second.
    let mut actions = VecDeque::new();
    for _ in 0..15 {
        actions.extend(handle(&mut hub, 0, said(conn(0), "outside a room")));
    }
    let pauses = actions.iter().filter(|a| matches!(a, Action::Pause { .. })).count();
    assert_eq!((pauses, hub.stats().timers), (1, idle + 1));
    let mut actions = VecDeque::new();
    hub.handle_timeout(at(4999), &mut actions);
    assert!(actions.is_empty(), "{actions:?}");
    hub.handle_timeout(at(5000), &mut actions);
    assert!(matches!(actions.front(), Some(Action::Unpause { .. })), "{actions:?}");
}

#[test]
fn reasons_to_ask_the_log_do_not_pile_up() {
    let mut hub = Hub::new(Config { peers: Peers::Some, ..Config::default() });
    connect(&mut hub, conn(0), Dialect::Basic);
    join(&mut hub, conn(0));
    let before = hub.stats();
    let mut failed = 0;
    for ms in 0..2500 {
        let mut actions = handle(&mut hub, ms, Event::SignalsLost(Lost::All));
        hub.handle_timeout(at(ms), &mut actions);
        for action in actions {
            if let Action::Head { token, .. } = action {
                let result = Err(ReadError("down".into()));
                handle(&mut hub, ms, Event::Head { token, result });
                failed += 1;
            }
        }
    }
    // Two recoveries, and the retries of reads that have failed.
    assert!((2..=7).contains(&failed), "{failed}");
    assert_eq!(hub.stats().pending, 0);
    assert!(hub.stats().timers <= before.timers + 100, "one retry each at most");
    // The log hangs: however many reasons there are, one question waits.
    let mut asked = 0;
    for ms in 2500..4500 {
        let mut actions = handle(&mut hub, ms, Event::SignalsLost(Lost::All));
        hub.handle_timeout(at(ms), &mut actions);
        asked += actions.iter().filter(|a| matches!(a, Action::Head { .. })).count();
    }
    assert_eq!((asked, hub.stats().pending), (1, 1));
}

#[test]
fn the_shortest_times_are_no_hot_loop() {
    let times = TimeValues {
        heartbeat_ms: 1,
        basic_heartbeat_ms: 1,
        append_ms: 1,
        hole_ms: 0,
        retry_ms: 1,
        census_ms: 1,
        poll_ms: 1,
        ..TimeValues::default()
    };
    let times = times.build().expect("within bounds");
    let mut hub = Hub::new(Config { peers: Peers::Some, times, ..Config::default() });
    connect(&mut hub, conn(0), Dialect::Basic);
    join(&mut hub, conn(0));
    handle(&mut hub, 0, said(conn(0), "hi"));
    for ms in 0..100 {
        // It returns.
        hub.handle_timeout(at(ms), &mut VecDeque::new());
        hub.end_turn(at(ms), &mut VecDeque::new());
    }
}

#[test]
fn a_frame_of_another_dialect_means_nothing() {
    let mut hub = Hub::new(Config::default());
    connect(&mut hub, conn(0), Dialect::V1);
    let room = RoomName::new("lobby").expect("a plain value");
    let actions = handle(&mut hub, 0, basic(conn(0), BasicRequest::Join { room }));
    assert!(actions.is_empty(), "{actions:?}");
    connect(&mut hub, ConnId { slot: 1, generation: 0 }, Dialect::Basic);
    join(&mut hub, ConnId { slot: 1, generation: 0 });
    let request = chat_proto::Request::Rooms { after: None };
    let frame = ClientFrame::V1 { id: None, request };
    let event = Event::Received { conn: ConnId { slot: 1, generation: 0 }, frame };
    let actions = handle(&mut hub, 0, event);
    assert!(actions.is_empty(), "{actions:?}");
}

#[test]
fn a_peer_that_can_not_be_asked_whether_it_lives_is_left_in_peace() {
    let mut hub = Hub::new(Config::default());
    let session = SessionId::new("s").expect("a plain value");
    let (dialect, identity) = (Dialect::Basic, Identity::Guest { name: None });
    let connect = Connect { session, dialect, identity, probe: Probe::None, peer: None };
    hub.connect(at(0), connect, &mut VecDeque::new());
    assert_eq!(hub.poll_timeout(), None);
}

/// The work of a leave does not grow with those who have left before it.
#[test]
fn thousands_can_say_farewell_while_the_log_is_slow() {
    const MANY: u32 = 4000;
    let mut hub = Hub::new(Config::default());
    let peer = |slot| ConnId { slot, generation: 0 };
    let (mut asked, mut seq) = (VecDeque::new(), 0);
    let mut head = None;
    for slot in 0..MANY {
        connect(&mut hub, peer(slot), Dialect::Basic);
        head = Some(join(&mut hub, peer(slot)));
        asked.extend(alone(&mut hub, said(peer(slot), "farewell")));
    }
    for slot in 0..MANY {
        let why = LeaveReason::Disconnected;
        asked.extend(handle(&mut hub, 0, Event::Disconnected { conn: peer(slot), why }));
    }
    while let Some(action) = asked.pop_front() {
        let Action::Append { token, drafts, .. } = action else { continue };
        let place = |n: usize| Outcome::New {
            seq: chat_proto::Seq::new(seq + n as u64).expect("a plain value"),
        };
        let outcomes: Vec<_> = (1..=drafts.len()).map(place).collect();
        seq += drafts.len() as u64;
        let epoch = head.as_ref().expect("a plain value").epoch.clone();
        let result = Ok(Appended { epoch, outcomes });
        asked.extend(alone(&mut hub, Event::Appended { token, result }));
    }
    assert_eq!(seq, u64::from(MANY));
    assert_eq!(hub.stats(), Stats::default());
}
