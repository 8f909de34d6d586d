//! A simple server for one client. It follows the protocol without delay, unless a fault is
//! injected.
//!
//! It is a model and not the shipped Hub, which cannot be made to refuse, forget or leave out a
//! reply at will. What the shipped Hub and Client make of each other is for the simulation.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chat_proto::{
    Body, DisplayName, Durability, Entry, ErrorBody, ErrorCode, HistoryRange, Joined, Key,
    LimitValues, LostReason, Member, MembersView, Page, Position, Recovery, Request, RequestId,
    Resume, RoomName, Seq, ServerFrame, SessionId, Timestamp, UserId, Welcome,
};
use chat_simulation::world::{RoomLog, SimLog};
use chat_state::{Draft, Outcome};

/// Entries of a page; small, so that a gap takes several pages.
const PAGE: usize = 3;
/// The largest number of missed entries that a resume recovers.
const BEHIND: u64 = 8;

/// How long keys are remembered.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A fault of the next request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The request is refused.
    Refuse(ErrorCode, Option<u64>),
    /// The request succeeds and is answered with `unknown_outcome`.
    Unknown,
    /// The request succeeds and is not answered.
    Silence,
    /// The request is ignored.
    Overlook,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) logs: SimLog,
    pub(crate) now: Timestamp,
    session: u64,
    /// The rooms that the present connection has joined.
    pub(crate) members: BTreeSet<RoomName>,
    pub(crate) faults: VecDeque<Fault>,
    /// Frames on their way to the client.
    pub(crate) down: VecDeque<ServerFrame>,
    /// The next own entry is sent before its ack.
    shows_first: bool,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self {
            logs: SimLog::default(),
            now: Timestamp(0),
            session: 1,
            members: BTreeSet::new(),
            faults: VecDeque::new(),
            down: VecDeque::new(),
            shows_first: false,
        }
    }

    /// Ends the connection.
    pub(crate) fn cut(&mut self) {
        self.members.clear();
        self.down.clear();
    }

    /// Forgets the keys of a room that are older than a day.
    pub(crate) fn forget_keys(&mut self, room: &RoomName) {
        let before = Timestamp(self.now.0.saturating_sub(DAY_MS));
        self.logs.room(room).forget_keys(before);
    }

    /// Forgets the session and its user id.
    pub(crate) fn lose_session(&mut self) {
        self.session += 1;
    }

    /// Appends a message of another user; the client receives it if `shown`.
    pub(crate) fn somebody_says(&mut self, room: &RoomName, shown: bool) {
        let body = Body::Message { content: "others talk".into(), reply_to: None };
        let user = UserId::new("u_bob").expect("a user");
        self.append(room, user, None, body);
        let entry = self.newest(room);
        if shown && self.members.contains(room) {
            self.down.push_back(ServerFrame::Entry(entry));
        }
    }

    pub(crate) fn gap(&mut self, room: &RoomName, n: u64) {
        let from = Seq::ZERO.plus(self.logs.room(room).last()).next();
        (0..n).for_each(|_| self.somebody_says(room, false));
        if n > 0 && self.members.contains(room) {
            let to = Seq::ZERO.plus(self.logs.room(room).last());
            self.down.push_back(ServerFrame::Gap { room: room.clone(), from, to });
        }
    }

    /// Sends a ping with the heads of all joined rooms.
    pub(crate) fn ping(&mut self) {
        let mut heads = BTreeMap::new();
        for room in self.members.clone() {
            let log = self.logs.room(&room);
            let seq = Seq::ZERO.plus(log.last());
            heads.insert(room, Position { epoch: log.epoch.clone(), seq });
        }
        self.down.push_back(ServerFrame::Ping { heads });
    }

    fn user(&self) -> UserId {
        UserId::new(&format!("u{}", self.session)).expect("a user")
    }

    fn append(&mut self, room: &RoomName, user: UserId, key: Option<Key>, body: Body) -> Outcome {
        let username = DisplayName::new(&user).expect("a name");
        self.logs.room(room).take(Draft { user, username, key, ts: self.now, body })
    }

    fn newest(&mut self, room: &RoomName) -> Arc<Entry> {
        self.logs.room(room).entries.last().expect("it was appended").clone()
    }

    pub(crate) fn serve(&mut self, id: Option<RequestId>, request: Request) {
        let faulty = !matches!(request, Request::Hello { .. } | Request::Ping | Request::Pong);
        let fault = if faulty { self.faults.pop_front() } else { None };
        match fault {
            None => self.serve_well(id, request),
            Some(Fault::Refuse(code, retry_after_ms)) => {
                let error = ErrorBody { retry_after_ms, ..ErrorBody::new(id, code, "no") };
                self.down.push_back(ServerFrame::Error(error.into()));
            }
            Some(Fault::Overlook) => {}
            Some(fault @ (Fault::Silence | Fault::Unknown)) => {
                let before = self.down.len();
                self.serve_well(id.clone(), request);
                // Only the reply is left out.
                let replies = |frame: &ServerFrame| !matches!(frame, ServerFrame::Entry(_));
                let mut after = self.down.split_off(before);
                after.retain(|frame| !replies(frame));
                self.down.extend(after);
                if let Fault::Unknown = fault {
                    let error = ErrorBody::new(id, ErrorCode::UnknownOutcome, "who knows");
                    self.down.push_back(ServerFrame::Error(error.into()));
                }
            }
        }
    }

    fn serve_well(&mut self, id: Option<RequestId>, request: Request) {
        match request {
            Request::Hello { resume, .. } => self.hello(id, resume.map(|resume| *resume)),
            Request::Join { room, history } => self.join(id, &room, history),
            Request::Leave { room } => {
                self.members.remove(&room);
                self.down.push_back(ServerFrame::Left { id, room });
            }
            Request::Message { room, key, content, .. } if self.members.contains(&room) => {
                self.message(id, &room, (key.expect("a key"), content));
            }
            Request::History { room, range, .. } if self.members.contains(&room) => {
                self.history(id, &room, range);
            }
            Request::Members { room } if self.members.contains(&room) => {
                let view = self.view();
                self.down.push_back(ServerFrame::Members { id, room, view });
            }
            Request::Message { .. } | Request::History { .. } | Request::Members { .. } => {
                let error = ErrorBody::new(id, ErrorCode::NotMember, "you are not in there");
                self.down.push_back(ServerFrame::Error(error.into()));
            }
            Request::Rooms { .. } => {
                self.down.push_back(ServerFrame::Rooms { id, rooms: Vec::new(), has_more: false });
            }
            Request::Ping => self.down.push_back(ServerFrame::Pong { id }),
            _ => {}
        }
    }

    fn hello(&mut self, id: Option<RequestId>, resume: Option<Resume>) {
        let name = SessionId::new(&format!("s{}", self.session)).expect("a session");
        let mut welcome = Welcome {
            id,
            resumed: resume.as_ref().is_some_and(|resume| resume.session == name),
            session: name,
            user: self.user(),
            name: DisplayName::new("Ada").expect("a name"),
            durability: Durability::Memory,
            heartbeat_ms: 25_000,
            limits: LimitValues::default(),
            features: Vec::new(),
            rooms: BTreeMap::new(),
        };
        let mut missed = Vec::new();
        for (room, Position { epoch, seq }) in resume.map(|r| r.rooms).unwrap_or_default() {
            let log = self.logs.room(&room);
            let recovery = if log.epoch != epoch || seq.get() > log.last() {
                Recovery::Lost(LostReason::EpochChanged)
            } else if seq.get() + 1 < log.first {
                Recovery::Lost(LostReason::Truncated)
            } else if log.last() - seq.get() > BEHIND {
                Recovery::Lost(LostReason::TooFar)
            } else {
                missed.extend(after(log, seq.get()).cloned());
                Recovery::Recovered(Position { epoch, seq: Seq::ZERO.plus(log.last()) })
            };
            if let Recovery::Recovered(_) = recovery {
                self.members.insert(room.clone());
            }
            welcome.rooms.insert(room, recovery);
        }
        self.down.push_back(ServerFrame::Welcome(welcome.into()));
        self.down.extend(missed.into_iter().map(ServerFrame::Entry));
    }

    fn join(&mut self, id: Option<RequestId>, room: &RoomName, history: u32) {
        self.members.insert(room.clone());
        let members = self.view();
        let log = self.logs.room(room);
        let mut events: Vec<_> = after(log, 0).cloned().collect();
        let newest = events.len().saturating_sub(PAGE.min(history as usize));
        let joined = Joined {
            id,
            room: room.clone(),
            epoch: log.epoch.clone(),
            head: Seq::ZERO.plus(log.last()),
            members,
            has_more_before: newest > 0,
            events: events.split_off(newest),
        };
        self.down.push_back(ServerFrame::Joined(joined.into()));
    }

    fn message(&mut self, id: Option<RequestId>, room: &RoomName, (key, content): (Key, Arc<str>)) {
        let body = Body::Message { content, reply_to: None };
        let user = self.user();
        let outcome = self.append(room, user, Some(key), body);
        let (seq, ts, duplicate) = match outcome {
            Outcome::New { seq } => (seq, self.now, false),
            Outcome::Duplicate { seq, ts } => (seq, ts, true),
            Outcome::Conflict => panic!("a Client sends the same under a key"),
        };
        let (room_name, ts) = (room.clone(), Some(ts));
        let ack = ServerFrame::Ack { id, room: room_name, seq: Some(seq), ts, duplicate };
        if duplicate {
            return self.down.push_back(ack);
        }
        let entry = self.newest(room);
        let mut frames = [ack, ServerFrame::Entry(entry)];
        if self.shows_first {
            frames.reverse();
        }
        self.shows_first = !self.shows_first;
        self.down.extend(frames);
    }

    fn history(&mut self, id: Option<RequestId>, room: &RoomName, range: HistoryRange) {
        let log = self.logs.room(room);
        let after = match range {
            HistoryRange::After(seq) => seq.get(),
            _ => 0,
        };
        let all: Vec<_> = self::after(log, after).cloned().collect();
        let page = Page {
            id,
            room: room.clone(),
            epoch: log.epoch.clone(),
            has_more_before: after + 1 > log.first,
            has_more_after: all.len() > PAGE,
            events: all.into_iter().take(PAGE).collect(),
        };
        self.down.push_back(ServerFrame::Page(page.into()));
    }

    fn view(&self) -> MembersView {
        let username = DisplayName::new("Ada").expect("a name");
        MembersView { count: 1, members: vec![Member { user: self.user(), username }].into() }
    }
}

/// Returns the entries after a place that can be read.
fn after(log: &RoomLog, seq: u64) -> impl Iterator<Item = &Arc<Entry>> {
    log.entries.iter().filter(move |e| e.seq.get() > seq && e.seq.get() >= log.first)
}
