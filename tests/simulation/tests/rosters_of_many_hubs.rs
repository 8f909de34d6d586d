//! One Hub beside many others that have members in the same room.
use std::collections::VecDeque;

use chat_proto::{
    ClientFrame, Dialect, DisplayName, Epoch, LimitValues, Member, MembersView, Request, RoomName,
    Seq, ServerFrame, SessionId, Timestamp, UserId,
};
use chat_state::{
    Action, Config, ConnId, Connect, Event, Hub, HubId, Identity, LogHead, LogPage, MemberId, Mono,
    Now, Peers, Probe, RosterPart, Signal, Stamp,
};

const HUBS: u32 = 64;
const NAMED: u32 = 200;
const NOW: Now = Now { mono: Mono(0), wall: Timestamp(0) };

/// A Hub whose log is empty and answers at once.
struct Test {
    hub: Hub,
    room: RoomName,
}

fn conn(slot: u32) -> ConnId {
    ConnId { slot, generation: 0 }
}

impl Test {
    fn new() -> Self {
        let limits = LimitValues { messages_per_10s: 0, ..LimitValues::default() };
        let config = Config {
            limits: limits.build().expect("within bounds"),
            peers: Peers::Some,
            ..Config::default()
        };
        Self { hub: Hub::new(config), room: RoomName::new("den").expect("a room") }
    }

    fn handle(&mut self, event: Event) -> Vec<ServerFrame> {
        let (mut events, mut told) = (VecDeque::from([event]), Vec::new());
        while let Some(event) = events.pop_front() {
            let mut out = VecDeque::new();
            self.hub.handle(NOW, event, &mut out).expect("the Hub has issued it");
            for action in out {
                match action {
                    Action::Load { token, room, .. } => {
                        let epoch = Epoch::new("e").expect("an epoch");
                        let (first, last) = (Seq::ZERO.next(), Seq::ZERO);
                        let head = LogHead { room, epoch, first, last };
                        let result = Ok(LogPage { head, entries: vec![] });
                        events.push_back(Event::Loaded { token, result });
                    }
                    Action::Send { frame, .. } => told.push(frame),
                    Action::AwaitDrain { conn } => events.push_back(Event::Drained { conn }),
                    _ => {}
                }
            }
        }
        told
    }

    fn connect(&mut self, slot: u32) {
        let session = SessionId::new(&format!("s{slot}")).expect("a session");
        let connect = Connect {
            session,
            dialect: Dialect::V1,
            identity: Identity::Guest { name: None },
            probe: Probe::None,
            peer: None,
        };
        assert_eq!(self.hub.connect(NOW, connect, &mut VecDeque::new()), conn(slot));
        let hello = Request::Hello { name: None, token: None, features: vec![], resume: None };
        self.request(slot, hello);
    }

    fn request(&mut self, slot: u32, request: Request) -> Vec<ServerFrame> {
        let frame = ClientFrame::V1 { id: None, request };
        self.handle(Event::Received { conn: conn(slot), frame })
    }

    fn join(&mut self, slot: u32) -> MembersView {
        let told = self.request(slot, Request::Join { room: self.room.clone(), history: 0 });
        let joined = told.into_iter().find_map(|frame| match frame {
            ServerFrame::Joined(joined) => Some(joined.members),
            _ => None,
        });
        joined.expect("a reply")
    }

    /// Another Hub reports its part of the roster.
    fn report(&mut self, hub: u32, version: u64, members: impl Iterator<Item = u32>) {
        let members: Vec<_> = members.map(|n| (MemberId(u64::from(n)), member(n))).collect();
        let (room, count) = (self.room.clone(), members.len() as u64);
        let signal = Signal::Rosters { parts: vec![RosterPart { room, version, count, members }] };
        self.handle(Event::Signal { from: peer(hub), signal });
    }
}

fn peer(n: u32) -> HubId {
    HubId { node: u64::from(n), incarnation: 1 }
}

fn member(n: u32) -> Member {
    let user = UserId::new(&format!("u{n}")).expect("a user id");
    Member { user, username: DisplayName::new("Ada").expect("a name") }
}

/// Two Hubs at a time name each member, so that every name has to be recognized.
#[test]
fn members_that_two_hubs_name_count_once_beside_64_hubs() {
    let mut test = Test::new();
    test.connect(0);
    test.join(0);
    for hub in 1..=HUBS {
        let first = hub / 2 * NAMED;
        test.report(hub, 1, first..first + NAMED);
    }
    let named = u64::from((HUBS / 2 + 1) * NAMED);
    for slot in 1..50 {
        test.connect(slot);
        let view = test.join(slot);
        assert_eq!(view.count, u64::from(slot) + 1 + named);
        assert_eq!(view.members.len(), NAMED as usize);
    }
}

#[test]
fn a_roster_that_was_overtaken_by_a_change_is_asked_for_again() {
    let mut test = Test::new();
    test.connect(0);
    test.join(0);
    test.report(1, 5, 1..=1);
    let (room, id, member) = (test.room.clone(), MemberId(3), member(3));
    // The change 6 is lost, and the answer to the question after it comes late.
    let stamp = Stamp { version: 7, after: 6 };
    let came = Signal::Came { room, id, member, attempt: 0, stamp };
    test.handle(Event::Signal { from: peer(1), signal: came });
    test.report(1, 6, 1..=2);
    let members = |test: &mut Test| {
        let room = test.room.clone();
        let told = test.request(0, Request::Members { room });
        let count = told.into_iter().find_map(|frame| match frame {
            ServerFrame::Members { view, .. } => Some(view.count),
            _ => None,
        });
        count.expect("a reply")
    };
    assert_eq!(members(&mut test), 3, "the member that has come stays");
    test.report(1, 7, 1..=3);
    assert_eq!(members(&mut test), 4);
}
