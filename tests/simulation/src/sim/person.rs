//! A person: the shipped Client, and an application that holds all that it is told against the
//! log.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chat_proto::{
    Dialect, DisplayName, Entry, Epoch, ErrorCode, Key, Request, RequestId, Resume, RoomName, Seq,
    ServerFrame, Token, UserId,
};
use chat_state::Mono;
use chat_state::client::{
    Action, Actions, Config, Delivery, Event, LeftReason, LinkId, Outcome, Query, State,
    StopReason, Ticket,
};

use super::link::{Link, Peer, Up};
use super::seen::Seen;
use super::{Due, Sim};
use crate::adapter::ClientAdapter;
use crate::history_check::Run;
use crate::world::{AskedPage, RoomLog, Want, page_is_right};

/// Nobody tries to connect more often than this...
const TRIES_MAX: usize = 30;
/// ...within this time.
const TRIES_MS: u64 = 10_000;
/// After this time an application starts a Client again that has no credential.
const TRY_AGAIN_MS: u64 = 5000;
/// No wait that a server asks for is longer.
const RETRY_MS_MAX: u64 = 600_000;

/// Somebody who chats.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) name: String,
    /// `None` while the process is down.
    pub(super) client: Option<ClientAdapter>,
    pub(super) life: u32,
    pub(super) wall: i64,
    saved: Option<Resume>,
    pub(super) is_on: bool,
    pub(super) links: BTreeMap<LinkId, usize>,
    /// The rooms that the person wants to be in.
    pub(super) wants: BTreeSet<RoomName>,
    pub(super) seen: BTreeMap<RoomName, Seen>,
    /// The user of the present session, as the server has told.
    pub(super) user: Option<UserId>,
    /// The newest credential.
    pub(super) token: Option<Token>,
    /// An operator has ordered something about the person.
    pub(super) was_ordered: bool,
    /// What is not settled.
    pub(super) open: BTreeMap<Ticket, Open>,
    /// Everything that was said.
    pub(super) said: Vec<Said>,
    /// What was delivered without a break, by room and log.
    pub(super) runs: Vec<(RoomName, Epoch, Run)>,
    /// How often a budget was over.
    pub(super) limited: usize,
    /// The start of the history in the last `joined`, which the Client does not tell.
    begins: Option<(RoomName, u64)>,
    /// The newest answer to a question about members.
    pub(super) counted: Option<u64>,
    /// How many members each room has, as the events say.
    pub(super) told: BTreeMap<RoomName, u64>,
    /// The server has asked not to come back before.
    pub(super) not_before: u64,
    /// When the last connections were tried.
    tries: VecDeque<u64>,
}

/// What a ticket stands for.
#[derive(Clone, Debug)]
pub(super) enum Open {
    Said(usize),
    Asked(Query),
}

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) room: RoomName,
    pub(super) content: String,
    pub(super) key: Key,
    pub(super) outcome: Option<Outcome>,
    /// When it was said, in simulated time: a step of the wall clock does not age it.
    born: u64,
    /// How often it was sent.
    times: usize,
}

impl Said {
    /// Returns true if a log has this text at a place.
    pub(super) fn is_at(&self, log: &RoomLog, seq: Seq) -> bool {
        let at = usize::try_from(seq.get() - 1).expect("a short log");
        log.entries.get(at).is_some_and(|entry| says(entry, &self.content))
    }

    /// Returns true if the ack does not say where the message is in this log: nobody knows what
    /// became of it, or another log has it. Then it may come to this one at any time.
    pub(super) fn is_stray(&self, log: &RoomLog) -> bool {
        match &self.outcome {
            Some(Outcome::Acked { seq, .. }) => !self.is_at(log, *seq),
            Some(Outcome::Refused(_) | Outcome::Full) => false,
            _ => true,
        }
    }
}

/// Returns true if an entry is a message with this text.
fn says(entry: &Entry, text: &str) -> bool {
    matches!(&entry.body, chat_proto::Body::Message { content, .. } if **content == *text)
}

/// Why something can be refused for good: the session is not in the room, or may not enter it.
fn is_final(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotMember | ErrorCode::TooManyRooms | ErrorCode::Forbidden)
}

impl Person {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            client: None,
            life: 0,
            wall: 0,
            saved: None,
            is_on: false,
            links: BTreeMap::new(),
            wants: BTreeSet::new(),
            seen: BTreeMap::new(),
            user: None,
            token: None,
            was_ordered: false,
            open: BTreeMap::new(),
            said: Vec::new(),
            runs: Vec::new(),
            limited: 0,
            begins: None,
            counted: None,
            told: BTreeMap::new(),
            not_before: 0,
            tries: VecDeque::new(),
        }
    }

    fn end_seen(&mut self, room: &RoomName) {
        if let Some(seen) = self.seen.remove(room) {
            let (epoch, run) = seen.end();
            self.runs.push((room.clone(), epoch, run));
        }
    }

    pub(super) fn end_all_seen(&mut self) {
        for room in self.seen.keys().cloned().collect::<Vec<_>>() {
            self.end_seen(&room);
        }
    }
}

impl Sim {
    /// Starts a person's process, with what an earlier one has saved.
    pub(super) fn sit_down(&mut self, who: usize) {
        let config = Config {
            name: Some(DisplayName::new(&self.people[who].name).expect("a name")),
            token: self.fresh_token(who),
            features: vec!["typing".into()],
            history: 5,
            resume: self.people[who].saved.take(),
            ..Config::default()
        };
        let person = &mut self.people[who];
        person.life += 1;
        person.client = Some(ClientAdapter::new(config));
        self.sign_on(who);
    }

    /// Connects, and wants to be in the same rooms as before.
    pub(super) fn sign_on(&mut self, who: usize) {
        if self.people[who].client.is_none() {
            return;
        }
        self.people[who].is_on = true;
        self.people[who].not_before = 0;
        for room in self.people[who].wants.clone() {
            self.act(who, Event::Join { room });
        }
        self.act(who, Event::Start);
    }

    /// Stops the Client for a while.
    pub(super) fn sign_off(&mut self, who: usize) {
        let wants = self.people[who].wants.clone();
        self.act(who, Event::Stop);
        let person = &mut self.people[who];
        person.is_on = false;
        assert!(
            person.open.is_empty() || person.client.is_none(),
            "not settled: {:?}",
            person.open
        );
        person.wants = wants;
    }

    /// Ends a person's process; what the Client says of the session is kept.
    pub(super) fn get_up(&mut self, who: usize, ms: u64) {
        let person = &mut self.people[who];
        let Some(client) = person.client.take() else { return };
        person.saved = client.resume();
        let kept = |room: &RoomName| {
            person.saved.as_ref().is_some_and(|saved| saved.rooms.contains_key(room))
        };
        for room in person.seen.keys().cloned().collect::<Vec<_>>() {
            if kept(&room) {
                let seen = person.seen.get_mut(&room).expect("it is there");
                seen.inside = false;
                let saved = &person.saved.as_ref().expect("it is kept").rooms[&room];
                assert_eq!((&saved.epoch, saved.seq.get()), (seen.epoch(), seen.last));
            }
        }
        let gone: Vec<_> = person.seen.keys().filter(|room| !kept(room)).cloned().collect();
        gone.iter().for_each(|room| person.end_seen(room));
        person.open.clear();
        for index in std::mem::take(&mut self.people[who].links).into_values() {
            self.links[index].is_wanted = false;
            let silent = self.random.index(4);
            self.cut(index, silent);
        }
        let life = self.people[who].life;
        self.due(self.now + ms, Due::SitDown { who, life });
    }

    /// Gives an event to a Client and does what it asks for.
    pub(super) fn act(&mut self, who: usize, event: Event) {
        let (now, random) = (self.clock(self.people[who].wall), self.random.bits());
        let Some(client) = &mut self.people[who].client else { return };
        self.events += 1;
        let actions = client.handle(now, random, event);
        self.obey(who, actions);
    }

    pub(super) fn fire_client(&mut self, who: usize) {
        let (now, random) = (self.clock(self.people[who].wall), self.random.bits());
        let Some(client) = &mut self.people[who].client else { return };
        self.events += 1;
        let actions = client.fire(now, random);
        self.obey(who, actions);
    }

    /// Returns when the next timer of a Client is due.
    pub(super) fn client_timer(&self) -> Option<(u64, usize)> {
        let people = self.people.iter().enumerate();
        let due = people.filter_map(|(who, p)| Some((p.client.as_ref()?.poll_timeout()?, who)));
        due.min().map(|(Mono(at), who)| (at, who))
    }

    fn obey(&mut self, who: usize, actions: Actions) {
        for action in actions {
            self.note(|| format!("p{who} {action:?}"));
            match action {
                Action::Open { link } => {
                    self.tries_in_time(who);
                    let node = self.random.index(self.nodes.len());
                    let peer = (Peer::Person { who, link }, self.people[who].life);
                    let index = self.connect(peer, node, Dialect::V1);
                    self.people[who].links.insert(link, index);
                }
                Action::Transmit { link, id, request } => {
                    let index = self.people[who].links[&link];
                    self.will_be_told(who, index, (id.as_ref(), &request));
                    self.transmit(index, Up::Text(request.encode(id.as_ref())));
                }
                Action::Close { link, code } => {
                    let index = self.people[who].links.remove(&link).expect("it was open");
                    self.links[index].is_wanted = false;
                    self.transmit(index, Up::Close(code));
                }
                Action::NeedToken => self.needs_token(who),
                Action::Deliver(delivery) => self.take(who, delivery),
            }
        }
    }

    /// A Client does not hammer a server, nor come back before it was asked to.
    fn tries_in_time(&mut self, who: usize) {
        let person = &mut self.people[who];
        assert!(self.now >= person.not_before, "{} is back too early", person.name);
        person.tries.push_back(self.now);
        if person.tries.len() > TRIES_MAX {
            let first = person.tries.pop_front().unwrap_or_default();
            assert!(self.now - first > TRIES_MS, "{} hammers", person.name);
        }
    }

    /// Notes what a request is, for the reply.
    fn will_be_told(
        &mut self,
        who: usize,
        index: usize,
        (id, request): (Option<&RequestId>, &Request),
    ) {
        let want = match request.clone() {
            Request::Hello { resume: None, .. } => Want::Welcome,
            Request::Hello { resume: Some(resume), .. } => Want::Resumed { rooms: resume.rooms },
            Request::Join { room, history } => Want::Joined { room, history },
            Request::Leave { room } => Want::Left { room },
            Request::Message { room, content, .. } => {
                let now = self.now;
                let mut said = self.people[who].said.iter_mut().rev();
                let said = said.find(|said| *said.content == *content).expect("it was said");
                said.times += 1;
                let age = now.saturating_sub(said.born);
                assert!(age < 24 * 60 * 60 * 1000, "{said:?} is sent after {age} ms");
                Want::Ack { room, content: content.to_string() }
            }
            Request::History { room, range, limit } => {
                let limit = limit.unwrap_or(u32::MAX);
                let asked = self.links[index].view.asks_page(&self.log, &room, range, limit);
                Want::Page { room, asked }
            }
            Request::Members { room } => Want::Members { room },
            Request::Rooms { .. } => Want::Rooms,
            Request::Ping => Want::Pong,
            Request::Auth { .. } => Want::Authenticated,
            _ => return,
        };
        if let Some(id) = id {
            self.links[index].view.due.insert(id.to_string(), want);
        }
    }

    /// A frame has arrived.
    pub(super) fn hear(&mut self, who: usize, (link, index): (LinkId, usize), text: &str) {
        let frame = ServerFrame::decode(text).expect("what is sent can be read");
        match &frame {
            ServerFrame::Joined(joined) => {
                let first = joined.events.first().map(|entry| entry.seq.get() - 1);
                let begins = first.unwrap_or(joined.head.get());
                self.people[who].begins = Some((joined.room.clone(), begins));
            }
            ServerFrame::Error(error) => {
                if error.code == ErrorCode::RateLimited {
                    self.people[who].limited += 1;
                }
                if error.code == ErrorCode::LogUnavailable {
                    self.is_surely_not_there(who, index, error.id.as_ref());
                }
            }
            ServerFrame::Bye { after_ms, .. } => {
                self.links[index].bye = Some(self.now + after_ms);
            }
            _ => {}
        }
        let here = &mut self.links[index];
        // A Client pings without an id.
        let is_pong = matches!(frame, ServerFrame::Pong { id: None });
        if !here.is_leaky && !is_pong {
            here.view.take(&self.log, Dialect::V1, text);
            // Only the newest frames are of interest, and there are many.
            here.view.lines.clear();
            here.view.frames.clear();
        }
        self.act(who, Event::Received { link, frame });
    }

    /// What the log is told not to have taken, the first time that it was sent, is not there.
    fn is_surely_not_there(&self, who: usize, index: usize, id: Option<&RequestId>) {
        let want = id.and_then(|id| self.links[index].view.due.get(id.as_str()));
        let Some(Want::Ack { room, content }) = want else { return };
        let mut said = self.people[who].said.iter();
        let said = said.find(|said| said.content == *content).expect("it was said");
        let mut logs = self.log.of_room(room);
        let there = logs.any(|log| log.entries.iter().any(|entry| says(entry, content)));
        assert!(said.times > 1 || !there, "{said:?} was refused and is in the log");
    }

    /// The application is told something.
    fn take(&mut self, who: usize, delivery: Delivery) {
        self.people[who].count(&delivery);
        match delivery {
            Delivery::State(state) => self.state(who, &state),
            Delivery::Joined { room, epoch, fresh, .. } => self.joined(who, (room, epoch), fresh),
            Delivery::Entry(entry) => {
                let seen = self.people[who].seen.get_mut(&entry.room);
                seen.expect("entries follow a join").entry(&self.log, &entry);
            }
            Delivery::Lost { room, from, to } => {
                let person = &mut self.people[who];
                let seen = person.seen.get_mut(&room).expect("a loss follows a join");
                let run = seen.lost(&self.log, &room, from.get(), to.get());
                person.runs.push((room, seen.epoch().clone(), run));
            }
            Delivery::Reset { room, epoch } => {
                let person = &mut self.people[who];
                let same = person.seen.get(&room).is_some_and(|seen| *seen.epoch() == epoch);
                let replaced = self.log.of_room(&room).count() > 1;
                assert!(replaced || !same, "{}: {room} has no other log", person.name);
                person.end_seen(&room);
            }
            Delivery::Left { room, why } => {
                let person = &mut self.people[who];
                person.end_seen(&room);
                if matches!(why, LeftReason::Refused(_) | LeftReason::TooMany) {
                    person.wants.remove(&room);
                }
            }
            Delivery::Settled { ticket, outcome } => self.settled(who, ticket, outcome),
            Delivery::Welcome(welcome) => self.people[who].user = Some(welcome.user.clone()),
            Delivery::Members { .. }
            | Delivery::Presence { .. }
            | Delivery::MemberJoined { .. }
            | Delivery::MemberLeft { .. }
            | Delivery::Typing { .. } => {}
        }
    }

    fn state(&mut self, who: usize, state: &State) {
        let person = &mut self.people[who];
        if *state != State::Online {
            person.seen.values_mut().for_each(|seen| seen.inside = false);
        }
        match state {
            State::Stopped { why: StopReason::Asked } => {}
            State::Stopped { why: StopReason::Unauthorized } if person.token.is_some() => {
                // Two credentials in a row were revoked: the application tries again later.
                person.is_on = false;
                let life = person.life;
                self.due(self.now + TRY_AGAIN_MS, Due::SignOn { who, life });
            }
            State::Stopped { why } => panic!("{} has stopped for good: {why:?}", person.name),
            State::Idle | State::Connecting | State::Online | State::Waiting { .. } => {}
        }
    }

    fn joined(&mut self, who: usize, (room, epoch): (RoomName, Epoch), fresh: bool) {
        let person = &mut self.people[who];
        if fresh {
            let (of, begins) = person.begins.take().expect("a fresh join comes with a reply");
            assert_eq!(of, room);
            assert!(!person.seen.contains_key(&room), "{}: {room} anew", person.name);
            person.seen.insert(room.clone(), Seen::new(&person.name, epoch, begins));
        } else {
            let seen = person.seen.get(&room).expect("a position goes on");
            assert_eq!(*seen.epoch(), epoch, "{}: another log of {room}", person.name);
        }
        person.seen.get_mut(&room).expect("it is there").inside = true;
    }

    fn settled(&mut self, who: usize, ticket: Ticket, outcome: Outcome) {
        let open = self.people[who].open.remove(&ticket);
        let person = &self.people[who];
        match open.unwrap_or_else(|| panic!("{}: {ticket:?} is settled twice", person.name)) {
            Open::Said(index) => {
                let said = person.said[index].clone();
                match &outcome {
                    Outcome::Acked { seq, .. } => self.is_in_log(who, &said, *seq),
                    Outcome::Refused(error) | Outcome::Unknown(error) => {
                        assert!(is_final(error.code), "{error:?}");
                    }
                    Outcome::Stopped | Outcome::Full => {}
                    Outcome::Expired => {
                        let age = self.now.saturating_sub(said.born);
                        assert!(age >= 24 * 60 * 60 * 1000, "{said:?} is expired at {age} ms");
                    }
                    other => panic!("{}: {other:?} for {said:?}", person.name),
                }
                self.people[who].said[index].outcome = Some(outcome);
            }
            Open::Asked(ask) => self.answered(who, &ask, outcome),
        }
    }

    fn is_in_log(&self, who: usize, said: &Said, seq: Seq) {
        let name = &self.people[who].name;
        let there = self.log.of_room(&said.room).any(|log| said.is_at(log, seq));
        assert!(there, "{name}: {said:?} was acked and is not at {seq}");
    }

    fn answered(&mut self, who: usize, query: &Query, outcome: Outcome) {
        match (query, outcome) {
            (_, Outcome::Expired | Outcome::Stopped | Outcome::Full) => {}
            (Query::History { .. } | Query::Members { .. }, Outcome::Refused(error)) => {
                assert!(is_final(error.code), "{error:?}");
            }
            (Query::History { room, range, limit }, Outcome::Page(page)) => {
                assert_eq!(page.room, *room);
                let limit = limit.unwrap_or(u32::MAX);
                page_is_right(&self.log, &page, AskedPage { range: *range, limit, known: 0 });
            }
            (Query::Members { .. }, Outcome::Members(view)) => {
                assert!(view.members.len() as u64 <= view.count);
                self.people[who].counted = Some(view.count);
            }
            (Query::Rooms { .. }, Outcome::Rooms { rooms, .. }) => {
                assert!(rooms.windows(2).all(|pair| pair[0].room < pair[1].room));
            }
            (query, outcome) => panic!("{outcome:?} for {query:?}"),
        }
    }

    /// A person says something new.
    pub(super) fn say(&mut self, who: usize, room: &RoomName) {
        if !self.people[who].wants.contains(room) || self.people[who].client.is_none() {
            return;
        }
        self.spoken += 1;
        let content = format!("t{} of {}", self.spoken, self.people[who].name);
        // A person's keys are its own: others have the same.
        let key = Key::new(&format!("key {}", self.people[who].said.len())).expect("a key");
        let born = self.now;
        let ticket = Ticket(self.spoken);
        let person = &mut self.people[who];
        let said = Said {
            room: room.clone(),
            content: content.clone(),
            key: key.clone(),
            outcome: None,
            born,
            times: 0,
        };
        person.open.insert(ticket, Open::Said(person.said.len()));
        person.said.push(said);
        let (room, content) = (room.clone(), content.into());
        self.act(who, Event::Send { ticket, room, key, content, reply_to: None });
    }

    /// A person asks something.
    pub(super) fn inquire(&mut self, who: usize, query: Query) {
        if self.people[who].client.is_none() {
            return;
        }
        self.spoken += 1;
        let ticket = Ticket(self.spoken);
        self.people[who].open.insert(ticket, Open::Asked(query.clone()));
        self.act(who, Event::Query { ticket, query });
    }

    /// Makes a link to a node; it is accepted or refused a little later.
    pub(super) fn connect(&mut self, peer: (Peer, u32), node: usize, dialect: Dialect) -> usize {
        let index = self.links.len();
        let life = self.nodes[node].life;
        let name = match peer.0 {
            Peer::Person { who, .. } => &self.people[who].name,
            Peer::Plain { who } => &self.plain[who].name,
        };
        self.links.push(Link::new(peer, (node, life), dialect, name));
        let at = self.arrival(index);
        self.due(at, Due::Accept { link: index });
        index
    }

    /// A person's link is gone or was refused, as far as the person sees.
    pub(super) fn link_ends(&mut self, who: usize, link: LinkId, code: Option<u16>) {
        if let Some(index) = self.people[who].links.remove(&link) {
            if let Some(after) = self.links[index].bye {
                self.people[who].not_before = after.min(self.now + RETRY_MS_MAX);
            }
            self.act(who, Event::Closed { link, code });
        }
    }
}
