//! Who is shown who is typing.
use std::collections::VecDeque;

use chat_proto::{ClientFrame, Dialect, Epoch, Request, RoomName, Seq, ServerFrame, SessionId};
use chat_state::{
    Action, Actions, Config, ConnId, Connect, Event, Hub, Identity, LogHead, LogPage, Mono, Now,
    Probe, Recipients,
};

const NOW: Now = Now { mono: Mono(0), wall: chat_proto::Timestamp(0) };

/// The entries of the log, none of which is in the Hub's memory.
const LOG_LEN: u64 = 50;

fn room() -> RoomName {
    RoomName::new("den").expect("a name")
}

fn handle(hub: &mut Hub, event: Event) -> Actions {
    let mut out = VecDeque::new();
    hub.handle(NOW, event, &mut out).expect("the Hub has issued it");
    out
}

fn ask(hub: &mut Hub, conn: ConnId, request: Request) -> Actions {
    handle(hub, Event::Received { conn, frame: ClientFrame::V1 { id: None, request } })
}

/// A session past its `welcome`.
fn welcomed(hub: &mut Hub, session: &str, features: &[&str]) -> ConnId {
    let connect = Connect {
        session: SessionId::new(session).expect("a session"),
        dialect: Dialect::V1,
        identity: Identity::Guest { name: None },
        probe: Probe::None,
        peer: None,
    };
    let conn = hub.connect(NOW, connect, &mut VecDeque::new());
    let features = features.iter().map(|name| String::from(*name)).collect();
    ask(hub, conn, Request::Hello { name: None, token: None, features, resume: None });
    conn
}

fn member(hub: &mut Hub, session: &str, features: &[&str]) -> ConnId {
    let conn = welcomed(hub, session, features);
    for action in ask(hub, conn, Request::Join { room: room(), history: 0 }) {
        if let Action::Load { token, room, .. } = action {
            let epoch = Epoch::new("e").expect("an epoch");
            let last = Seq::ZERO.plus(LOG_LEN);
            let head = LogHead { room, epoch, first: Seq::ZERO.next(), last };
            let page = LogPage { head, entries: Vec::new() };
            handle(hub, Event::Loaded { token, result: Ok(page) });
        }
    }
    conn
}

#[test]
fn only_sessions_that_asked_for_it_are_shown_who_is_typing() {
    let mut hub = Hub::new(Config::default());
    let typist = member(&mut hub, "a", &["typing"]);
    let curious = member(&mut hub, "b", &["typing"]);
    member(&mut hub, "c", &[]);
    member(&mut hub, "d", &["another"]);
    let out = ask(&mut hub, typist, Request::Typing { room: room(), active: true });
    assert_eq!(shown(&out), [curious]);
}

#[test]
fn a_session_whose_join_is_not_decided_is_not_shown() {
    let mut hub = Hub::new(Config::default());
    let curious = member(&mut hub, "a", &["typing"]);
    let waiting = welcomed(&mut hub, "b", &[]);
    let asked = ask(&mut hub, waiting, Request::Join { room: room(), history: 10 });
    assert!(matches!(asked.front(), Some(Action::Load { .. })), "{asked:?}");
    let typing = Request::Typing { room: room(), active: true };
    assert_eq!(shown(&ask(&mut hub, waiting, typing.clone())), []);
    let later = member(&mut hub, "c", &[]);
    assert_eq!(shown(&ask(&mut hub, later, typing)), [curious]);
}

/// Returns who is shown that somebody is typing.
fn shown(out: &Actions) -> Vec<ConnId> {
    out.iter()
        .filter_map(|action| match action {
            Action::Send { to, frame: ServerFrame::Typing { .. } } => Some(to),
            _ => None,
        })
        .flat_map(|to| match to {
            Recipients::One(conn) => vec![*conn],
            Recipients::All(roster) => roster.iter().collect(),
            Recipients::AllBut(..) => panic!("{to:?}"),
        })
        .collect()
}
