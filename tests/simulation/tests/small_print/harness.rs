//! Hubs that share a log, and the connections of a test.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chat_proto::{
    BasicRequest, ClientFrame, CloseCode, Dialect, Entry, Epoch, ErrorCode, LeaveReason,
    LimitValues, Position, Request, Resume, RoomName, Seq, ServerFrame, SessionId, Timestamp,
    Token as Credentials, UserId,
};
use chat_state::{
    Action, AddressKey, Appended, Config, ConnId, Connect, Event, Grant, Hub, HubId, Identity,
    Keep, LogHead, LogPage, Mono, Now, Outcome, Peers, Probe, Recipients, TimeValues,
};

pub(crate) const WALL: u64 = 1_700_000_000_000;

/// Some Hubs that share a log and hear each other's signals at once.
pub(crate) struct Test {
    pub(crate) hubs: Vec<Hub>,
    pub(crate) now: u64,
    pub(crate) log: BTreeMap<RoomName, Vec<Arc<Entry>>>,
    /// Everything that came out since the last `clear`.
    pub(crate) out: Vec<(usize, Action)>,
    /// The log keeps the answers to reads of these rooms.
    pub(crate) slow: Vec<RoomName>,
    /// The log keeps the answers to appends.
    pub(crate) slow_appends: bool,
    pub(crate) held: Vec<(usize, Event)>,
    pub(crate) loads: usize,
    pub(crate) heads: usize,
    /// The authority grants this to whoever asks next.
    pub(crate) grant: Option<Grant>,
}

pub(crate) fn room(name: &str) -> RoomName {
    RoomName::new(name).expect("a name")
}

pub(crate) fn session(name: &str) -> SessionId {
    SessionId::new(name).expect("a session")
}

pub(crate) fn seq(n: u64) -> Seq {
    Seq::new(n).expect("small")
}

pub(crate) fn epoch() -> Epoch {
    Epoch::new("e").expect("an epoch")
}

pub(crate) fn position(n: u64) -> Position {
    Position { epoch: epoch(), seq: seq(n) }
}

pub(crate) fn id(hub: usize) -> HubId {
    HubId { node: hub as u64 + 1, incarnation: 1 }
}

pub(crate) fn user(name: &str) -> Grant {
    Grant::new(UserId::new(name).expect("an id"))
}

pub(crate) fn resume_of(name: &str, attempt: u64, rooms: &[(&str, u64)]) -> Resume {
    let rooms = rooms.iter().map(|(name, n)| (room(name), position(*n))).collect();
    Resume { session: session(name), attempt, rooms }
}

pub(crate) fn hello(resume: Option<Resume>) -> Request {
    let token = None;
    Request::Hello { name: None, token, features: vec![], resume: resume.map(Into::into) }
}

pub(crate) fn message(name: &str) -> Request {
    Request::Message { room: room(name), key: None, content: "x".into(), reply_to: None }
}

impl Test {
    pub(crate) fn new(hubs: usize, limits: &LimitValues) -> Self {
        let silence = 7 * 24 * 3600 * 1000;
        // Nobody here answers pings.
        let (heartbeat_ms, heartbeat_dead_ms) = (silence, silence);
        let times = TimeValues { heartbeat_ms, heartbeat_dead_ms, ..TimeValues::default() };
        Self::with_times(hubs, limits, &times)
    }

    pub(crate) fn with_times(hubs: usize, limits: &LimitValues, times: &TimeValues) -> Self {
        let config = |hub| Config {
            hub: id(hub),
            peers: if hubs > 1 { Peers::Some } else { Peers::None },
            limits: limits.clone().build().expect("within bounds"),
            times: times.clone().build().expect("within bounds"),
            ..Config::default()
        };
        Self {
            hubs: (0..hubs).map(|hub| Hub::new(config(hub))).collect(),
            now: 0,
            log: BTreeMap::new(),
            out: Vec::new(),
            slow: Vec::new(),
            slow_appends: false,
            held: Vec::new(),
            loads: 0,
            heads: 0,
            grant: None,
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: Mono(self.now), wall: Timestamp(WALL + self.now) }
    }

    pub(crate) fn head(&self, room: &RoomName) -> LogHead {
        let last = self.log.get(room).map_or(0, Vec::len) as u64;
        LogHead { room: room.clone(), epoch: epoch(), first: seq(1), last: seq(last) }
    }

    /// Clears what came out, handles an event and everything that follows from it.
    pub(crate) fn handle(&mut self, hub: usize, event: Event) {
        self.out.clear();
        self.go_on(hub, event);
    }

    pub(crate) fn go_on(&mut self, hub: usize, event: Event) {
        let mut events = VecDeque::from([(hub, event)]);
        while let Some((hub, event)) = events.pop_front() {
            let (mut out, now) = (VecDeque::new(), self.now());
            self.hubs[hub].handle(now, event, &mut out).expect("the Hub has issued it");
            self.hubs[hub].end_turn(now, &mut out);
            self.act(hub, out, &mut events);
        }
    }

    pub(crate) fn act(
        &mut self,
        hub: usize,
        out: VecDeque<Action>,
        events: &mut VecDeque<(usize, Event)>,
    ) {
        for action in out {
            match &action {
                Action::Load { token, room, range } => {
                    self.loads += 1;
                    let all = self.log.get(room).cloned().unwrap_or_default();
                    let mut entries: Vec<_> = all
                        .into_iter()
                        .filter(|entry| entry.seq >= range.from && entry.seq <= range.to)
                        .collect();
                    let limit = range.limit as usize;
                    match range.keep {
                        Keep::Oldest => entries.truncate(limit),
                        Keep::Newest => {
                            entries.drain(..entries.len().saturating_sub(limit));
                        }
                    }
                    let result = Ok(LogPage { head: self.head(room), entries });
                    let event = Event::Loaded { token: *token, result };
                    if self.slow.contains(room) {
                        self.held.push((hub, event));
                    } else {
                        events.push_back((hub, event));
                    }
                }
                Action::Head { token, room } => {
                    self.heads += 1;
                    let event = Event::Head { token: *token, result: Ok(self.head(room)) };
                    if self.slow.contains(room) {
                        self.held.push((hub, event));
                    } else {
                        events.push_back((hub, event));
                    }
                }
                Action::Append { token, room, drafts } if self.slow_appends => {
                    let _ = (token, room, drafts);
                }
                Action::Append { token, room, drafts } => {
                    let log = self.log.entry(room.clone()).or_default();
                    let mut outcomes = Vec::new();
                    for draft in drafts {
                        let seq = seq(log.len() as u64 + 1);
                        log.push(Arc::new(draft.clone().into_entry(room.clone(), seq)));
                        outcomes.push(Outcome::New { seq });
                    }
                    let result = Ok(Appended { epoch: epoch(), outcomes });
                    events.push_back((hub, Event::Appended { token: *token, result }));
                }
                Action::Authenticate { token, .. } => {
                    let grant = self.grant.clone().expect("a grant");
                    let event = Event::Authenticated { token: *token, result: Ok(grant.into()) };
                    events.push_back((hub, event));
                }
                Action::Signal { signal, .. } => {
                    for other in (0..self.hubs.len()).filter(|other| *other != hub) {
                        let event = Event::Signal { from: id(hub), signal: signal.clone() };
                        events.push_back((other, event));
                    }
                }
                _ => {}
            }
            self.out.push((hub, action));
        }
    }

    /// Lets time pass, with all timers in their order. Keeps what comes out.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.out.clear();
        let end = self.now + ms;
        let mut turns = 0;
        loop {
            let due = self.hubs.iter().enumerate();
            let due = due.filter_map(|(hub, h)| Some((h.poll_timeout()?.0, hub))).min();
            let Some((at, hub)) = due.filter(|(at, _)| *at <= end) else { break };
            turns += 1;
            assert!(turns < 1_000_000, "timers fire for ever");
            self.now = at.max(self.now);
            let (mut out, now) = (VecDeque::new(), self.now());
            self.hubs[hub].handle_timeout(now, &mut out);
            self.hubs[hub].end_turn(now, &mut out);
            let mut events = VecDeque::new();
            self.act(hub, out, &mut events);
            while let Some((hub, event)) = events.pop_front() {
                let (mut out, now) = (VecDeque::new(), self.now());
                self.hubs[hub].handle(now, event, &mut out).expect("the Hub has issued it");
                self.hubs[hub].end_turn(now, &mut out);
                self.act(hub, out, &mut events);
            }
        }
        self.now = end;
    }

    pub(crate) fn connect_as(
        &mut self,
        hub: usize,
        name: &str,
        dialect: Dialect,
        identity: Identity,
        peer: Option<u8>,
    ) -> ConnId {
        let peer = peer.map(|peer| AddressKey([peer; 16]));
        let session = session(name);
        let connect = Connect { session, dialect, identity, probe: Probe::None, peer };
        let (mut out, now) = (VecDeque::new(), self.now());
        let conn = self.hubs[hub].connect(now, connect, &mut out);
        self.out.extend(out.into_iter().map(|action| (hub, action)));
        conn
    }

    pub(crate) fn connect(&mut self, name: &str, dialect: Dialect) -> ConnId {
        self.connect_as(0, name, dialect, Identity::Guest { name: None }, None)
    }

    pub(crate) fn request(&mut self, hub: usize, conn: ConnId, request: Request) {
        self.handle(hub, Event::Received { conn, frame: ClientFrame::V1 { id: None, request } });
    }

    pub(crate) fn basic(&mut self, conn: ConnId, request: BasicRequest) {
        self.handle(0, Event::Received { conn, frame: ClientFrame::Basic(request) });
    }

    pub(crate) fn join(&mut self, conn: ConnId, name: &str) {
        self.request(0, conn, Request::Join { room: room(name), history: 0 });
    }

    /// A guest's session past its `welcome`.
    pub(crate) fn welcomed(&mut self, name: &str) -> ConnId {
        let conn = self.connect(name, Dialect::V1);
        self.request(0, conn, hello(None));
        assert!(matches!(self.told(0, conn)[..], [ServerFrame::Welcome(_)]), "{:?}", self.out);
        conn
    }

    /// A guest's session that is resumed on a new connection.
    pub(crate) fn resumed(&mut self, name: &str, attempt: u64, rooms: &[(&str, u64)]) -> ConnId {
        let conn = self.connect(&format!("fresh-{name}-{attempt}"), Dialect::V1);
        self.request(0, conn, hello(Some(resume_of(name, attempt, rooms))));
        conn
    }

    /// A session of a user whom the authority knows.
    pub(crate) fn known(&mut self, hub: usize, name: &str, grant: Grant, peer: u8) -> ConnId {
        let credentials = Some(Credentials("t".into()));
        let identity = Identity::Wanted { credentials };
        self.grant = Some(grant);
        let conn = self.connect_as(hub, name, Dialect::V1, identity, Some(peer));
        self.request(hub, conn, hello(None));
        assert!(self.welcome(hub, conn).is_some(), "{:?}", self.out);
        conn
    }

    pub(crate) fn cut(&mut self, conn: ConnId) {
        self.handle(0, Event::Disconnected { conn, why: LeaveReason::Disconnected });
    }

    pub(crate) fn told(&self, hub: usize, to: ConnId) -> Vec<ServerFrame> {
        let frames = self.out.iter().filter(|(at, _)| *at == hub);
        let frames = frames.filter_map(|(_, action)| match action {
            Action::Send { to: Recipients::One(conn), frame } if *conn == to => Some(frame),
            Action::Send { to: Recipients::All(roster), frame }
                if roster.iter().any(|conn| conn == to) =>
            {
                Some(frame)
            }
            Action::Send { to: Recipients::AllBut(roster, but), frame }
                if *but != to && roster.iter().any(|conn| conn == to) =>
            {
                Some(frame)
            }
            _ => None,
        });
        frames.cloned().collect()
    }

    pub(crate) fn welcome(&self, hub: usize, to: ConnId) -> Option<chat_proto::Welcome> {
        self.told(hub, to).into_iter().find_map(|frame| match frame {
            ServerFrame::Welcome(welcome) => Some(*welcome),
            _ => None,
        })
    }

    pub(crate) fn error(&self, hub: usize, to: ConnId) -> Option<ErrorCode> {
        self.told(hub, to).iter().find_map(|frame| match frame {
            ServerFrame::Error(error) => Some(error.code),
            _ => None,
        })
    }

    pub(crate) fn closed(&self, conn: ConnId) -> Option<CloseCode> {
        self.out.iter().find_map(|(_, action)| match action {
            Action::Close { conn: closed, code, .. } if *closed == conn => Some(*code),
            _ => None,
        })
    }

    pub(crate) fn is_left(&self, to: ConnId, name: &str) -> bool {
        self.told(0, to).iter().any(
            |frame| matches!(frame, ServerFrame::Leave { room: left, .. } if *left == room(name)),
        )
    }
}
