//! The Hub's contract with its driver: who issues ids, when a turn ends, what is a mistake.
use std::collections::VecDeque;

use chat_proto::{
    BasicRequest, ClientFrame, CloseCode, Dialect, Epoch, LeaveReason, Request, RoomName, Seq,
    SessionId, Timestamp,
};
use chat_state::{
    Action, Actions, Appended, AuthError, CloseReason, Config, ConnId, Connect, CutOff, Event, Hub,
    Identity, LogHead, LogPage, Misuse, Mono, Now, Outcome, Probe, ReadError, Stats, Token,
};
use proptest::prelude::*;

const NOW: Now = Now { mono: Mono(0), wall: Timestamp(1_700_000_000_000) };

fn conn(slot: u32, generation: u32) -> ConnId {
    ConnId { slot, generation }
}

fn connect(hub: &mut Hub, dialect: Dialect) -> ConnId {
    let session = format!("s{}", hub.stats().sessions);
    let connect = Connect {
        session: SessionId::new(&session).expect("a session"),
        dialect,
        identity: Identity::Guest { name: None },
        probe: Probe::None,
        peer: None,
    };
    hub.connect(NOW, connect, &mut VecDeque::new())
}

fn handle(hub: &mut Hub, event: Event) -> Result<Actions, Misuse> {
    let mut out = VecDeque::new();
    hub.handle(NOW, event, &mut out).map(|()| out)
}

fn gone(conn: ConnId) -> Event {
    Event::Disconnected { conn, why: LeaveReason::Disconnected }
}

fn basic(conn: ConnId, request: BasicRequest) -> Event {
    Event::Received { conn, frame: ClientFrame::Basic(request) }
}

fn room() -> RoomName {
    RoomName::new("den").expect("a name")
}

fn page() -> LogPage {
    let epoch = Epoch::new("e").expect("an epoch");
    let head = LogHead { room: room(), epoch, first: Seq::ZERO.next(), last: Seq::ZERO };
    LogPage { head, entries: vec![] }
}

/// A `basic` connection joins, up to the question to the log.
fn join(hub: &mut Hub, conn: ConnId) -> Token {
    let out = handle(hub, basic(conn, BasicRequest::Join { room: room() })).expect("it is known");
    let load = out.iter().find_map(|action| match action {
        Action::Load { token, .. } => Some(*token),
        _ => None,
    });
    load.expect("a read of the log")
}

#[test]
fn the_smallest_free_slot_is_issued_again_with_the_next_generation() {
    let mut hub = Hub::new(Config::default());
    let ids = [(); 3].map(|()| connect(&mut hub, Dialect::V1));
    assert_eq!(ids, [conn(0, 0), conn(1, 0), conn(2, 0)]);
    for slot in [2, 0] {
        handle(&mut hub, gone(conn(slot, 0))).expect("it is known");
    }
    let ids = [(); 3].map(|()| connect(&mut hub, Dialect::V1));
    assert_eq!(ids, [conn(0, 1), conn(2, 1), conn(3, 0)]);
}

#[test]
fn the_id_of_a_closed_connection_stays_in_use_until_it_is_gone() {
    let mut hub = Hub::new(Config::default());
    let closed = connect(&mut hub, Dialect::V1);
    let frame = ClientFrame::V1 { id: None, request: Request::Ping };
    let out = handle(&mut hub, Event::Received { conn: closed, frame }).expect("it is known");
    let (code, reason) = (CloseCode::HelloExpected, CloseReason::HelloExpected);
    let close = |action: &Action| {
        matches!(action, Action::Close { conn, code: c, reason: r }
        if (*conn, *c, *r) == (closed, code, reason))
    };
    assert!(out.iter().any(close), "{out:?}");
    assert_eq!(connect(&mut hub, Dialect::V1), conn(1, 0), "the driver still has the first");
    assert!(handle(&mut hub, Event::Alive { conn: closed }).is_ok_and(|out| out.is_empty()));
    assert!(handle(&mut hub, gone(closed)).is_ok_and(|out| out.is_empty()));
    assert_eq!(connect(&mut hub, Dialect::V1), conn(0, 1));
    // Events of the older connection do not hit the newer one.
    assert!(handle(&mut hub, gone(closed)).is_ok_and(|out| out.is_empty()));
    assert_eq!(hub.stats().sessions, 2);
}

#[test]
fn a_connection_that_is_refused_at_once_has_an_id_of_its_own() {
    let mut hub = Hub::new(Config::default());
    handle(&mut hub, Event::Drain { deadline: Mono(1000) }).expect("it names nobody");
    let connect = Connect {
        session: SessionId::new("s").expect("a session"),
        dialect: Dialect::V1,
        identity: Identity::Guest { name: None },
        probe: Probe::None,
        peer: None,
    };
    let mut out = VecDeque::new();
    let first = hub.connect(NOW, connect.clone(), &mut out);
    let reason = CloseReason::Draining;
    assert!(
        matches!(out[0], Action::Close { conn, reason: r, .. } if (conn, r) == (first, reason))
    );
    assert_eq!((first, hub.connect(NOW, connect, &mut out)), (conn(0, 0), conn(1, 0)));
    handle(&mut hub, gone(first)).expect("it is known");
    assert_eq!(hub.stats().sessions, 0);
}

#[test]
fn what_was_never_issued_is_a_mistake_and_changes_nothing() {
    let mut hub = Hub::new(Config::default());
    let known = connect(&mut hub, Dialect::Basic);
    let load = join(&mut hub, known);
    let before = hub.stats();
    for unknown in [conn(1, 0), conn(0, 1), conn(u32::MAX, u32::MAX)] {
        let misuse = Misuse::UnknownConnection(unknown);
        for event in [
            gone(unknown),
            Event::Alive { conn: unknown },
            Event::Congested { conn: unknown },
            Event::Drained { conn: unknown },
            Event::CutOff { conn: unknown, reason: CutOff::SlowConsumer },
            basic(unknown, BasicRequest::Leave),
        ] {
            assert_eq!(handle(&mut hub, event).expect_err("it is unknown"), misuse);
        }
    }
    for unknown in [Token(load.0 + 1), Token(load.0 + (1 << 32)), Token(u64::MAX)] {
        let event = Event::Loaded { token: unknown, result: Ok(page()) };
        let misuse = Misuse::UnknownToken(unknown);
        assert_eq!(handle(&mut hub, event).expect_err("it is unknown"), misuse);
    }
    let epoch = Epoch::new("e").expect("an epoch");
    for event in [
        Event::Head { token: load, result: Err(ReadError("x".into())) },
        Event::Appended { token: load, result: Ok(Appended { epoch, outcomes: vec![] }) },
        Event::Authenticated { token: load, result: Err(AuthError::Invalid) },
    ] {
        assert_eq!(handle(&mut hub, event).expect_err("a read"), Misuse::WrongAnswer(load));
    }
    assert_eq!(hub.stats(), before);
    // The question still waits for its answer. A second answer comes late.
    let loaded = || Event::Loaded { token: load, result: Ok(page()) };
    assert!(handle(&mut hub, loaded()).is_ok_and(|out| !out.is_empty()));
    assert!(handle(&mut hub, loaded()).is_ok_and(|out| out.is_empty()));
}

#[test]
fn messages_wait_for_the_end_of_the_turn() {
    let mut hub = Hub::new(Config::default());
    let [a, b] = [(); 2].map(|()| connect(&mut hub, Dialect::Basic));
    let load = join(&mut hub, a);
    handle(&mut hub, Event::Loaded { token: load, result: Ok(page()) }).expect("it is known");
    handle(&mut hub, basic(b, BasicRequest::Join { room: room() })).expect("it is known");
    let timers = hub.poll_timeout();
    for conn in [a, b, a] {
        let said = BasicRequest::Message { content: "x".into() };
        let out = handle(&mut hub, basic(conn, said)).expect("it is known");
        assert!(out.is_empty(), "{out:?}");
    }
    assert_eq!(hub.poll_timeout(), timers, "messages are no timers");
    let mut out = VecDeque::new();
    hub.handle_timeout(NOW, &mut out);
    assert!(out.is_empty(), "{out:?}");
    hub.end_turn(NOW, &mut out);
    let Some(Action::Append { token, drafts, .. }) = out.pop_front() else { panic!("{out:?}") };
    assert_eq!((drafts.len(), out.len()), (3, 0), "one batch for the room");
    hub.end_turn(NOW, &mut out);
    assert!(out.is_empty(), "{out:?}");
    let outcomes = (1..4).map(|n| Outcome::New { seq: Seq::new(n).expect("small") }).collect();
    let result = Ok(Appended { epoch: Epoch::new("e").expect("an epoch"), outcomes });
    handle(&mut hub, Event::Appended { token, result }).expect("it is known");
}

#[test]
fn a_driver_cuts_a_connection_off_for_a_reason_of_its_own() {
    let mut hub = Hub::new(Config::default());
    for (reason, code) in [
        (CutOff::SlowConsumer, CloseCode::SlowConsumer),
        (CutOff::CrowdedOut, CloseCode::Overloaded),
        (CutOff::Transport(CloseCode::InvalidUtf8), CloseCode::InvalidUtf8),
    ] {
        let cut = connect(&mut hub, Dialect::Basic);
        let out = handle(&mut hub, Event::CutOff { conn: cut, reason }).expect("it is known");
        let [Action::Close { conn, code: told, reason: why }] = out.as_slices().0 else {
            panic!("{out:?}")
        };
        assert_eq!((*conn, *told, *why), (cut, code, reason.into()));
        handle(&mut hub, gone(cut)).expect("it is known");
        assert_eq!(hub.stats(), Stats::default());
    }
}

/// A driver that gives out names which are in use, over all that a connection can do.
fn any_use_of_two_names(steps: &[(u8, u8)]) {
    let mut hub = Hub::new(Config::default());
    let (mut conns, mut actions): (Vec<ConnId>, Actions) = (Vec::new(), VecDeque::new());
    for (what, who) in steps {
        let dialect = if who % 3 == 0 { Dialect::Basic } else { Dialect::V1 };
        let conn = conns.get(usize::from(*who) % conns.len().max(1)).copied();
        let v1 =
            |conn, request| Event::Received { conn, frame: ClientFrame::V1 { id: None, request } };
        let event = match (what % 6, conn) {
            (0, _) | (_, None) => {
                let connect = Connect {
                    session: SessionId::new(&format!("s{}", who % 2)).expect("a session"),
                    dialect,
                    identity: Identity::Guest { name: None },
                    probe: Probe::None,
                    peer: None,
                };
                conns.push(hub.connect(NOW, connect, &mut actions));
                None
            }
            (1, Some(conn)) => {
                let hello =
                    Request::Hello { name: None, token: None, features: vec![], resume: None };
                Some(v1(conn, hello))
            }
            (2, Some(conn)) => Some(v1(conn, Request::Join { room: room(), history: 0 })),
            (3, Some(conn)) => Some(basic(conn, BasicRequest::Join { room: room() })),
            (4, Some(conn)) => Some(v1(conn, Request::Leave { room: room() })),
            (_, Some(conn)) => {
                conns.retain(|known| *known != conn);
                Some(gone(conn))
            }
        };
        if let Some(event) = event {
            hub.handle(NOW, event, &mut actions).expect("the Hub has issued it");
        }
        while let Some(action) = actions.pop_front() {
            if let Action::Load { token, .. } = action {
                let event = Event::Loaded { token, result: Ok(page()) };
                hub.handle(NOW, event, &mut actions).expect("the Hub has asked");
            }
        }
        let rooms = hub.rooms_view(None, 10);
        assert!(rooms.iter().all(|room| room.members <= 2), "a name is a member once: {rooms:?}");
    }
}

proptest! {
    #[test]
    fn a_name_given_to_several_connections_is_a_member_once(
        steps in proptest::collection::vec((0..6_u8, 0..12_u8), 0..60),
    ) {
        any_use_of_two_names(&steps);
    }
}

#[test]
fn of_two_connections_with_one_name_the_newer_has_the_session() {
    let mut hub = Hub::new(Config::default());
    let mut out = VecDeque::new();
    let connect = || Connect {
        session: SessionId::new("same").expect("a session"),
        dialect: Dialect::Basic,
        identity: Identity::Guest { name: None },
        probe: Probe::None,
        peer: None,
    };
    let older = hub.connect(NOW, connect(), &mut out);
    assert!(out.is_empty());
    hub.connect(NOW, connect(), &mut out);
    assert!(
        matches!(
            out.pop_front(),
            Some(Action::Close { conn, reason: CloseReason::Superseded, .. }) if conn == older
        ),
        "{out:?}"
    );
}
