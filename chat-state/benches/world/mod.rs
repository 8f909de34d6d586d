//! A Hub with one room of any size. Whoever measures gives a meter, which runs one call of the Hub;
//! what has to happen around it is not measured.
pub(crate) mod reader;

use std::collections::BTreeMap;

use chat_proto::{
    ClientFrame, Dialect, Epoch, Key, LeaveReason, LimitValues, Position, Request, RequestId,
    Resume, RoomName, Seq, ServerFrame, SessionId, Timestamp, UserId,
};
use chat_state::{
    Action, Actions, AddressKey, Appended, Config, ConnId, Connect, Event, Grant, Hub, Identity,
    LogHead, LogPage, Mono, Now, Outcome, Peers, Probe,
};

/// Runs the call that it is given, once, and measures it.
pub(crate) type Meter<'a> = &'a mut dyn FnMut(&mut dyn FnMut());

/// A Hub, and what is around it.
pub(crate) struct World {
    hub: Hub,
    out: Actions,
    now: Now,
    /// Connections so far.
    count: u32,
    last: Seq,
    epoch: Epoch,
}

impl World {
    /// Makes a room of this many members that all speak `chat.v1`, with its recent entries full.
    pub(crate) fn with_room(members: u32) -> Self {
        let mut world = Self::with_sessions(0);
        for _ in 0..members {
            let conn = world.newcomer();
            world.join(conn, &mut free);
        }
        for _ in 0..300 {
            world.message(&mut free);
        }
        world
    }

    /// Makes sessions that are in no room.
    pub(crate) fn with_sessions(sessions: u32) -> Self {
        let mut world = Self::new(Peers::None);
        for _ in 0..sessions {
            world.newcomer();
        }
        world
    }

    /// Makes a Hub without sessions.
    pub(crate) fn new(peers: Peers) -> Self {
        let most = 10_000_000;
        let limits = LimitValues {
            connections: most,
            members: most,
            messages_per_10s: most,
            address_messages_per_10s: most,
            user_messages_per_10s: most,
            ..LimitValues::default()
        };
        let limits = limits.build().expect("within bounds");
        let hub = Hub::new(Config { limits, peers, ..Config::default() });
        let now = Now { mono: Mono(1), wall: Timestamp(1_700_000_000_000) };
        let epoch = Epoch::new("e1").expect("a plain word");
        // The adapter has one queue of actions for all calls.
        let out = Actions::with_capacity(4096);
        Self { hub, out, now, count: 0, last: Seq::ZERO, epoch }
    }

    /// Connects a guest who says `hello`.
    pub(crate) fn newcomer(&mut self) -> ConnId {
        self.newcomer_as(Identity::Guest { name: None })
    }

    /// Connects somebody who says `hello`.
    pub(crate) fn newcomer_as(&mut self, identity: Identity) -> ConnId {
        let conn = self.connect(identity);
        self.handle(request(conn, hello(None)), &mut free);
        self.perform();
        conn
    }

    /// Somebody enters the room.
    pub(crate) fn join(&mut self, conn: ConnId, meter: Meter<'_>) {
        self.handle(request(conn, Request::Join { room: room(), history: 0 }), meter);
        self.perform();
    }

    /// Somebody enters the room while a message is still on its way to the members before it.
    pub(crate) fn join_during_broadcast(&mut self, conn: ConnId, meter: Meter<'_>) {
        self.broadcast(member(0), &mut free);
        self.handle(request(conn, Request::Join { room: room(), history: 0 }), meter);
        self.perform();
    }

    /// Somebody leaves it.
    pub(crate) fn leave(&mut self, conn: ConnId, meter: Meter<'_>) {
        self.handle(request(conn, Request::Leave { room: room() }), meter);
        self.perform();
    }

    /// The first member says something: from the frame to the append at the end of the turn, and
    /// from the log's answer to the broadcast.
    pub(crate) fn message(&mut self, meter: Meter<'_>) {
        self.message_of(member(0), meter);
    }

    /// The same of another member.
    pub(crate) fn message_of(&mut self, conn: ConnId, meter: Meter<'_>) {
        self.broadcast(conn, meter);
        self.perform();
    }

    fn broadcast(&mut self, conn: ConnId, meter: Meter<'_>) {
        let message = Request::Message {
            room: room(),
            key: Key::new("01J9ZC7V5T8N4M2K6Q0R3S1W8X").ok(),
            content: "Has anybody seen the minutes of the meeting, please?".into(),
            reply_to: None,
        };
        self.handle(request(conn, message), meter);
        self.end_turn(meter);
        let appended = self.out.drain(..).find_map(|action| match action {
            Action::Append { token, .. } => Some(token),
            _ => None,
        });
        self.last = self.last.next();
        let outcomes = vec![Outcome::New { seq: self.last }];
        let result = Ok(Appended { epoch: self.epoch.clone(), outcomes });
        self.handle(Event::Appended { token: appended.expect("a batch"), result }, meter);
        let shown = self
            .out
            .iter()
            .any(|action| matches!(action, Action::Send { frame: ServerFrame::Entry(_), .. }));
        assert!(shown, "the entry was broadcast");
    }

    /// One who takes nothing misses entries and is fed with them once it does.
    pub(crate) fn catch_up(&mut self, conn: ConnId, missed: u64, meter: Meter<'_>) {
        self.handle(Event::Congested { conn }, &mut free);
        for _ in 0..missed {
            self.message(&mut free);
        }
        self.handle(Event::Drained { conn }, meter);
        assert!(self.out.len() as u64 >= missed, "it was fed");
        self.perform();
    }

    /// One loses its connection, misses entries and goes on with another connection.
    pub(crate) fn resume(&mut self, who: &mut Returner, missed: u64, meter: Meter<'_>) {
        let position = Position { epoch: self.epoch.clone(), seq: self.last };
        let lost = Event::Disconnected { conn: who.conn, why: LeaveReason::Disconnected };
        self.handle(lost, &mut free);
        self.perform();
        who.conn = self.connect(Identity::Guest { name: None });
        for _ in 0..missed {
            self.message(&mut free);
        }
        let rooms = BTreeMap::from([(room(), position)]);
        let resume = Resume { session: who.session.clone(), attempt: 1, rooms };
        self.handle(request(who.conn, hello(Some(resume))), meter);
        assert!(self.out.len() as u64 > missed, "it was recovered");
        self.perform();
    }

    /// The time of everybody's heartbeat comes.
    pub(crate) fn heartbeat(&mut self, meter: Meter<'_>) {
        self.now.mono = self.now.mono.plus(25_000);
        let (hub, out, now) = (&mut self.hub, &mut self.out, self.now);
        meter(&mut || hub.handle_timeout(now, out));
        assert!(self.out.len() >= self.count as usize, "everybody was asked");
        self.perform();
        for slot in 0..self.count {
            let conn = member(slot);
            let frame = ClientFrame::V1 { id: None, request: Request::Pong };
            self.handle(Event::Received { conn, frame }, &mut free);
        }
    }

    fn connect(&mut self, identity: Identity) -> ConnId {
        let connect = Connect {
            session: session(self.count),
            dialect: Dialect::V1,
            identity,
            probe: Probe::Transport,
            peer: Some(AddressKey([7; 16])),
        };
        self.count += 1;
        // Their heartbeats are not all due at the same time, nor before a million has come.
        self.now.mono = self.now.mono.plus(u64::from(self.count.is_multiple_of(64)));
        self.hub.connect(self.now, connect, &mut self.out)
    }

    pub(crate) fn handle(&mut self, event: Event, meter: Meter<'_>) {
        let (hub, out, now) = (&mut self.hub, &mut self.out, self.now);
        let mut event = Some(event);
        meter(&mut || {
            if let Some(event) = event.take() {
                hub.handle(now, event, out).expect("the Hub has issued it");
            }
        });
    }

    fn end_turn(&mut self, meter: Meter<'_>) {
        let (hub, out, now) = (&mut self.hub, &mut self.out, self.now);
        meter(&mut || hub.end_turn(now, out));
    }

    /// Does what was asked for: a room's log is empty when it is opened, all credentials are of the
    /// same user, frames go nowhere.
    pub(crate) fn perform(&mut self) {
        self.perform_metered(&mut free);
    }

    pub(crate) fn perform_metered(&mut self, meter: Meter<'_>) {
        while let Some(action) = self.out.pop_front() {
            let answer = match action {
                Action::Load { token, room, .. } => {
                    let (first, last) = (Seq::ZERO.next(), Seq::ZERO);
                    let head = LogHead { room, epoch: self.epoch.clone(), first, last };
                    Event::Loaded { token, result: Ok(LogPage { head, entries: Vec::new() }) }
                }
                Action::Authenticate { token, .. } => {
                    let user = UserId::new("ada").expect("a plain word");
                    Event::Authenticated { token, result: Ok(Box::new(Grant::new(user))) }
                }
                _ => continue,
            };
            self.handle(answer, meter);
        }
    }
}

/// One who keeps its session over several connections.
pub(crate) struct Returner {
    conn: ConnId,
    session: SessionId,
}

impl Returner {
    /// Takes somebody who has had one connection so far.
    pub(crate) fn new(conn: ConnId) -> Self {
        Self { conn, session: session(conn.slot) }
    }
}

/// Measures nothing.
pub(crate) fn free(call: &mut dyn FnMut()) {
    call();
}

/// Names the connection that came as this one.
pub(crate) fn member(n: u32) -> ConnId {
    ConnId { slot: n, generation: 0 }
}

pub(crate) fn request(conn: ConnId, request: Request) -> Event {
    Event::Received { conn, frame: ClientFrame::V1 { id: RequestId::new("17").ok(), request } }
}

fn hello(resume: Option<Resume>) -> Request {
    let features = vec!["typing".into()];
    Request::Hello { name: None, token: None, features, resume: resume.map(Box::new) }
}

fn session(n: u32) -> SessionId {
    SessionId::new(&format!("k3XcQ2Vn8sTq7{n:08}")).expect("letters and digits")
}

pub(crate) fn room() -> RoomName {
    RoomName::new("lobby").expect("a plain word")
}
