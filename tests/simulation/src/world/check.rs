//! What a peer was sent, held against the log: the safety half of the guarantees.
use std::collections::BTreeMap;

use chat_proto::{
    Dialect, Entry, Epoch, ErrorCode, HistoryRange, Joined, LostReason, Page, Position, Recovery,
    RoomName, Seq, ServerFrame, Welcome,
};

use super::log::SimLog;
use super::pages::{AskedPage, page_is_right};
use super::render;
use super::setup::Preset;
use crate::shape::Shape;

/// The reply that a request wants, and what the reply is judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the replies")]
pub enum Want {
    Welcome,
    Resumed { rooms: BTreeMap<RoomName, Position> },
    Joined { room: RoomName, history: u32 },
    Left { room: RoomName },
    Ack { room: RoomName, content: String },
    Page { room: RoomName, asked: AskedPage },
    Members { room: RoomName },
    Rooms,
    Typing,
    Pong,
    Authenticated,
    Error,
}

/// A room that the peer is in, as far as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sub {
    /// Which log; a `basic` peer is not told, but it shows with the first message.
    pub epoch: Option<Epoch>,
    /// The last entry it was given, or told that it will not get.
    pub last: Option<u64>,
    /// How many members the room has; a `basic` peer is not told.
    pub count: u64,
}

/// What a peer was told so far.
#[derive(Debug, Default)]
pub struct View {
    /// What the peer is called.
    pub name: String,
    /// It was welcome.
    pub welcome: bool,
    /// The rooms it is in.
    pub rooms: BTreeMap<RoomName, Sub>,
    /// Requests without a reply.
    pub due: BTreeMap<String, Want>,
    /// All that was received, for people.
    pub lines: Vec<String>,
    /// The newest answers of a kind, for tests that look at them.
    pub frames: Vec<ServerFrame>,
    /// What the log surely did not take: it must never be there.
    pub refused: Vec<(RoomName, String)>,
    /// The last ack of a room: the request's number, the log, and the place in it.
    acks: BTreeMap<RoomName, (u64, Epoch, Seq)>,
}

impl View {
    /// Makes the view of a peer that was told nothing.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Takes one frame; returns what the peer sends because of it.
    pub fn take(&mut self, log: &SimLog, dialect: Dialect, text: &str) -> Option<String> {
        match dialect {
            Dialect::Basic => {
                self.take_basic(log, text);
                None
            }
            Dialect::V1 => self.take_v1(log, text),
        }
    }

    /// The Hub has taken a `leave` of a `basic` peer.
    pub fn left(&mut self) {
        self.rooms.clear();
    }

    fn take_basic(&mut self, log: &SimLog, text: &str) {
        let shape = Shape::parse(text).expect("a frame of the dialect");
        let room = RoomName::new(&shape.room).expect("a room");
        let (kind, username, content) =
            (shape.kind.as_str(), shape.username.as_str(), shape.content.as_str());
        self.lines.push(render::basic(&room, kind, username, content));
        match kind {
            "join" => {
                if shape.others() == Some(0) && username == self.name {
                    // Entering a room leaves the one before.
                    self.rooms.clear();
                    self.rooms.insert(room.clone(), Sub { epoch: None, last: None, count: 0 });
                }
            }
            "leave" => {
                assert!(
                    shape.others() > Some(0) || username != self.name,
                    "whoever leaves gets no notice of it"
                );
            }
            "message" => self.basic_message(log, &room, username, content),
            other => panic!("a basic peer was sent a {other:?}"),
        }
        assert!(self.rooms.contains_key(&room), "{} is not in {room}: {text}", self.name);
    }

    fn basic_message(&mut self, log: &SimLog, room: &RoomName, username: &str, content: &str) {
        let same = |entry: &&std::sync::Arc<Entry>| {
            let chat_proto::Body::Message { content: said, .. } = &entry.body else { return false };
            **said == *content && *entry.username == *username
        };
        let in_log = |l: &'_ super::log::RoomLog| {
            l.entries.iter().find(same).map(|entry| (entry.seq.get(), l.epoch.clone()))
        };
        let found: Vec<_> = log.of_room(room).filter_map(in_log).collect();
        let sub = self.rooms.get_mut(room).expect("a member gets messages");
        assert!(!found.is_empty(), "{content:?} is not in the log of {room}");
        // A text with a key may stand in two logs: then it is of the one that the member follows.
        let its = found.iter().find(|(_, epoch)| sub.epoch.as_ref() == Some(epoch));
        let Some((seq, epoch)) = its.or(found.first().filter(|_| found.len() == 1)) else {
            return *sub = Sub { epoch: None, last: None, count: 0 };
        };
        if let Some(last) = sub.last {
            assert_eq!(*seq, last + 1, "{} in {room}", self.name);
        }
        let before = sub.epoch.get_or_insert(epoch.clone());
        assert_eq!(before, epoch, "{} in {room}: two logs in one stay", self.name);
        sub.last = Some(*seq);
    }

    fn take_v1(&mut self, log: &SimLog, text: &str) -> Option<String> {
        let frame = ServerFrame::decode(text).expect("what is sent can be read");
        self.lines.push(render::v1(&frame));
        self.frames.push(frame.clone());
        match frame {
            ServerFrame::Welcome(welcome) => self.welcome(log, &welcome),
            ServerFrame::Joined(joined) => self.joined(log, &joined),
            ServerFrame::Left { id, room } => {
                self.replied(id.as_deref(), &Want::Left { room: room.clone() });
                self.rooms.remove(&room);
            }
            ServerFrame::Ack { id, room, seq, duplicate, .. } => {
                self.acked(log, id.as_deref(), &room, seq, duplicate);
            }
            ServerFrame::Page(page) => self.page(log, &page),
            ServerFrame::Members { id: None, room, view } => *self.count(&room) = view.count,
            ServerFrame::Presence { room, count } => *self.count(&room) = count,
            ServerFrame::Join { room, .. } => *self.count(&room) += 1,
            ServerFrame::Leave { room, .. } => {
                let count = self.count(&room);
                *count = count.saturating_sub(1);
            }
            ServerFrame::Members { id, room, .. } => {
                self.replied(id.as_deref(), &Want::Members { room });
            }
            ServerFrame::Rooms { id, .. } => self.replied(id.as_deref(), &Want::Rooms),
            ServerFrame::Pong { id } => self.replied(id.as_deref(), &Want::Pong),
            ServerFrame::Error(error) => {
                assert_ne!(error.code, ErrorCode::Unknown);
                if let (None, ErrorCode::Forbidden, Some(room)) =
                    (&error.id, error.code, &error.room)
                {
                    // An operator has taken the session out of the room.
                    self.rooms.remove(room);
                }
                if let Some(id) = error.id {
                    let want = self.due.remove(&*id);
                    let want = want.unwrap_or_else(|| panic!("{}: no request {id:?}", self.name));
                    self.refused_for(error.code, want);
                }
            }
            ServerFrame::Entry(entry) => self.entry(log, &entry),
            ServerFrame::Gap { room, from, to } => {
                self.skip(log, &room, (from.get(), to.get()), Missing::CanBePaged);
            }
            ServerFrame::Hole { room, from, to } => {
                self.skip(log, &room, (from.get(), to.get()), Missing::IsGone);
            }
            ServerFrame::Typing { room, .. } => {
                self.count(&room);
            }
            ServerFrame::Ping { .. } => return Some(r#"{"type":"pong"}"#.into()),
            ServerFrame::Authenticated { id, .. } => {
                self.replied(id.as_deref(), &Want::Authenticated);
            }
            ServerFrame::AuthExpiring { .. } => {
                assert!(self.welcome, "{}: warned before `welcome`", self.name);
            }
            ServerFrame::Bye { .. } => {}
            other => panic!("a peer was sent {other:?}"),
        }
        None
    }

    /// How many members a room has as far as the peer was told; it has to be one of them.
    fn count(&mut self, room: &RoomName) -> &mut u64 {
        let sub = self.rooms.get_mut(room);
        &mut sub.unwrap_or_else(|| panic!("{} is not in {room}", self.name)).count
    }

    fn replied(&mut self, id: Option<&str>, want: &Want) {
        let id = id.expect("every request of these peers has an id");
        let due = self.due.remove(id);
        assert_eq!(due.as_ref(), Some(want), "{}: reply to {id}", self.name);
    }

    /// Where the peer is in its rooms.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<RoomName, Position> {
        let position = |sub: &Sub| {
            let seq = Seq::new(sub.last?).expect("a short log");
            Some(Position { epoch: sub.epoch.clone()?, seq })
        };
        self.rooms.iter().filter_map(|(room, sub)| Some((room.clone(), position(sub)?))).collect()
    }

    fn welcome(&mut self, log: &SimLog, welcome: &Welcome) {
        self.welcome = true;
        let id = welcome.id.as_deref().expect("every request of these peers has an id");
        let asked = match self.due.remove(id) {
            Some(Want::Welcome) if !welcome.resumed => BTreeMap::new(),
            // A session that the server no longer knows is not resumed, but its rooms may be.
            Some(Want::Resumed { rooms }) => rooms,
            other => panic!("{}: {welcome:?} for {other:?}", self.name),
        };
        assert!(asked.keys().eq(welcome.rooms.keys()), "{}: {welcome:?}", self.name);
        for (room, recovery) in &welcome.rooms {
            self.recovered(log, room, &asked[room], recovery);
        }
    }

    fn recovered(&mut self, log: &SimLog, room: &RoomName, from: &Position, how: &Recovery) {
        let there = log.of_epoch(room, &from.epoch);
        match how {
            Recovery::Recovered(head) => {
                assert_eq!(head.epoch, from.epoch, "{}: another log of {room}", self.name);
                let log = there.expect("the log has this epoch");
                assert!(head.seq >= from.seq, "{}: {room} goes back", self.name);
                assert!(head.seq.get() <= log.last(), "{}: head is beyond the log", self.name);
                let (epoch, last) = (Some(from.epoch.clone()), Some(from.seq.get()));
                let sub = Sub { epoch, last, count: 0 };
                self.rooms.insert(room.clone(), sub);
            }
            Recovery::Lost(LostReason::EpochChanged) => {
                let newest = log.of_room(room).next();
                let same = newest.is_some_and(|log| log.epoch == from.epoch);
                let has = newest.is_some_and(|log| from.seq.get() <= log.last());
                assert!(!(same && has), "{}: {room} has the same log", self.name);
            }
            Recovery::Lost(LostReason::Truncated) => {
                let log = there.expect("the log has this epoch");
                assert!(from.seq.get() + 1 < log.first, "{}: nothing is missing", self.name);
            }
            Recovery::Lost(LostReason::TooFar) => {
                let log = there.expect("the log has this epoch");
                let behind = u64::from(Preset::Tiny.limits().behind_entries);
                assert!(log.last() - from.seq.get() > behind, "{}: it is not far", self.name);
            }
            Recovery::Lost(LostReason::NotMember | LostReason::Unavailable) => {}
            Recovery::Lost(other) => panic!("{}: {room} is lost: {other:?}", self.name),
        }
    }

    fn joined(&mut self, log: &SimLog, joined: &Joined) {
        let id = joined.id.as_deref().expect("every join has an id");
        let Some(Want::Joined { room, history }) = self.due.remove(id) else {
            panic!("{}: no join {id}", self.name)
        };
        assert_eq!(room, joined.room);
        assert!(joined.events.len() <= history as usize, "{}: too much history", self.name);
        let log = log.of_epoch(&room, &joined.epoch).expect("the log has this epoch");
        assert!(joined.head.get() <= log.last(), "{}: head is beyond the log", self.name);
        log.has(&joined.events);
        if let Some(newest) = joined.events.last() {
            assert_eq!(newest.seq, joined.head, "{}: history ends at the head", self.name);
        } else if history > 0 {
            assert!(joined.head.get() < log.first, "{}: history is missing", self.name);
        }
        if let Some(oldest) = joined.events.first() {
            assert!(!joined.has_more_before || oldest.seq.get() > 1);
            assert!(joined.has_more_before || oldest.seq.get() <= log.first);
        }
        let (epoch, last) = (Some(joined.epoch.clone()), Some(joined.head.get()));
        let sub = Sub { epoch, last, count: joined.members.count };
        self.rooms.insert(room, sub);
    }

    fn refused_for(&mut self, code: ErrorCode, want: Want) {
        let (Want::Ack { room, content }, ErrorCode::LogUnavailable) = (want, code) else { return };
        // Texts with a key are sent again, and then they may get there.
        if content.starts_with('m') {
            self.refused.push((room, content));
        }
    }

    fn acked(
        &mut self,
        log: &SimLog,
        id: Option<&str>,
        room: &RoomName,
        seq: Option<Seq>,
        duplicate: bool,
    ) {
        let id = id.expect("every request of these peers has an id");
        match (self.due.remove(id), seq) {
            (Some(Want::Typing), None) => {}
            (Some(Want::Ack { room: asked, content }), Some(seq)) => {
                assert_eq!(*room, asked);
                let there = |entry: &Entry| {
                    let chat_proto::Body::Message { content: said, .. } = &entry.body else {
                        return false;
                    };
                    **said == *content && *entry.username == *self.name
                };
                let at = usize::try_from(seq.get() - 1).expect("a short log");
                let found = log.of_room(room).find(|l| l.entries.get(at).is_some_and(|e| there(e)));
                let Some(found) = found else {
                    panic!("{}: {content:?} was acked and is not at {seq}", self.name)
                };
                // A text with a key may stand in two logs, so it can't be told which one this is.
                if !duplicate && content.starts_with('m') {
                    let number = id.trim_start_matches('r').parse().expect("ids are numbered");
                    self.acked_in_order(room, (number, found.epoch.clone(), seq));
                }
            }
            (want, seq) => panic!("{}: {want:?} was acked with {seq:?}", self.name),
        }
    }

    /// What one session sends to a room keeps its order.
    fn acked_in_order(&mut self, room: &RoomName, ack: (u64, Epoch, Seq)) {
        let (number, epoch, seq) = ack.clone();
        if let Some((before, log, last)) = self.acks.insert(room.clone(), ack)
            && log == epoch
        {
            assert!(before < number && last < seq, "{} in {room}: {before} {last}", self.name);
        }
    }

    fn page(&mut self, log: &SimLog, page: &Page) {
        let id = page.id.as_deref().expect("every request of these peers has an id");
        let Some(Want::Page { room, asked }) = self.due.remove(id) else {
            panic!("{}: no history request {id}", self.name)
        };
        assert_eq!(room, page.room);
        page_is_right(log, page, asked);
    }

    /// Returns what a request for a page is to be judged by.
    #[must_use]
    pub fn asks_page(
        &self,
        log: &SimLog,
        room: &RoomName,
        range: HistoryRange,
        limit: u32,
    ) -> AskedPage {
        let log = log.of_room(room).next();
        let sub = self.rooms.get(room);
        let sub = sub.filter(|sub| sub.epoch.as_ref() == log.map(|log| &log.epoch));
        AskedPage { range, limit, known: sub.and_then(|sub| sub.last).unwrap_or(0) }
    }

    fn entry(&mut self, log: &SimLog, entry: &Entry) {
        let sub = self.rooms.get_mut(&entry.room);
        let sub = sub.unwrap_or_else(|| panic!("{}: {} outside its room", self.name, entry.seq));
        let expected = sub.last.map(|last| last + 1);
        assert_eq!(Some(entry.seq.get()), expected, "{} in {}", self.name, entry.room);
        sub.last = expected;
        let epoch = sub.epoch.as_ref().expect("a v1 member knows the epoch");
        let log = log.of_epoch(&entry.room, epoch).expect("the log has this epoch");
        let there = log.entries.get(usize::try_from(entry.seq.get() - 1).expect("short"));
        assert_eq!(there.map(|e| &**e), Some(entry), "{}: shown, but not in the log", self.name);
    }

    fn skip(&mut self, log: &SimLog, room: &RoomName, (from, to): (u64, u64), missing: Missing) {
        let sub = self.rooms.get_mut(room).expect("only members are told of gaps");
        assert_eq!(Some(from), sub.last.map(|last| last + 1), "{}: gap in {room}", self.name);
        assert!(from <= to, "{}: an empty gap", self.name);
        let epoch = sub.epoch.as_ref().expect("a v1 member knows the epoch");
        let log = log.of_epoch(room, epoch).expect("the log has this epoch");
        match missing {
            Missing::IsGone => {
                assert!(to < log.first, "{}: {from}..={to} is still there", self.name);
            }
            Missing::CanBePaged => {
                let behind = u64::from(Preset::Tiny.limits().behind_entries);
                assert!(to - from >= behind, "{}: {from}..={to} is not much", self.name);
            }
        }
        sub.last = Some(to);
    }
}

/// Why entries are left out.
#[derive(Clone, Copy)]
enum Missing {
    /// The log has forgotten them.
    IsGone,
    /// There are too many to feed.
    CanBePaged,
}
