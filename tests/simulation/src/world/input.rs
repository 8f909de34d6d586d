//! The peers' part: connecting, asking, and the steps of a script.
use std::collections::BTreeMap;

use chat_proto::{
    BasicRequest, Dialect, DisplayName, HistoryRange, Key, LeaveReason, Position, Request,
    RequestId, Resume, RoomName, Seq, Token as Credentials, UserId,
};
use chat_state::{AddressKey, Connect, Event, Identity, Lost, Probe};

use super::check::{View, Want};
use super::conn::{Arrival, Conn, Link};
use super::driver::World;
use super::identities::session_of;
use super::script::{Ask, Kind, Step};
use crate::adapter::Port;

impl World {
    /// Lets a peer connect; returns its index.
    pub fn connect(&mut self, hub: usize, kind: Kind, name: &str) -> usize {
        self.arrive(&Arrival { hub, kind, name, credentials: None })
    }

    /// Lets a peer connect, with a credential or as a guest; returns its index.
    pub(super) fn arrive(&mut self, arrival: &Arrival<'_>) -> usize {
        let index = self.begin(arrival);
        if matches!(arrival.kind, Kind::V1 | Kind::Upgrades) {
            self.hello(index);
        }
        self.settle();
        index
    }

    fn begin(&mut self, arrival: &Arrival<'_>) -> usize {
        let Arrival { hub, kind, name, credentials } = *arrival;
        let index = self.conns.len();
        let dialect = match kind {
            Kind::Basic | Kind::Upgrades => Dialect::Basic,
            Kind::V1 | Kind::Mute => Dialect::V1,
        };
        // One that nobody has issued is nobody's, but its bearer hopes for the best.
        let user = credentials.map(|with| match self.tokens.grant(with) {
            Some(grant) => grant.user.clone(),
            None => UserId::new("nobody").expect("a user id"),
        });
        self.conns.push(Conn {
            name: name.into(),
            user,
            credentials: credentials.cloned(),
            root: index,
            hub,
            port: Port::new(dialect),
            link: Link::Open,
            reading: self.new_peers_read,
            input: std::collections::VecDeque::new(),
            view: View::new(name),
        });
        // Some share an address, some another one.
        let address = AddressKey([u8::from(index.is_multiple_of(3)); 16]);
        let peer = self.has_addresses.then_some(address);
        let identity = match credentials {
            None => Identity::Guest { name: Some(DisplayName::new(name).expect("a name")) },
            Some(with) => {
                // Some bring it with `hello`.
                let is_early = kind == Kind::Basic || index.is_multiple_of(2);
                Identity::Wanted { credentials: is_early.then(|| with.clone()) }
            }
        };
        let (session, probe) = (session_of(index), Probe::Transport);
        self.attach(index, Connect { session, dialect, identity, probe, peer });
        index
    }

    fn hello(&mut self, index: usize) {
        let token = self.token_of_hello(index);
        let request = Request::Hello { name: None, token, features: features(), resume: None };
        self.request(index, &request, Want::Welcome);
    }

    fn token_of_hello(&self, index: usize) -> Option<Credentials> {
        self.conns[index].credentials.clone().filter(|_| !index.is_multiple_of(2))
    }

    /// Lets a peer go on with its session by a new connection; returns its index.
    pub fn resume(&mut self, hub: usize, old: usize) -> usize {
        let rooms = self.conns[old].view.positions();
        self.resume_from(hub, old, rooms)
    }

    /// Lets a peer go on with its session from these positions, with its last credential if it has
    /// one.
    pub fn resume_from(
        &mut self,
        hub: usize,
        old: usize,
        rooms: BTreeMap<RoomName, Position>,
    ) -> usize {
        let credentials = self.conns[old].credentials.clone();
        self.resume_as(hub, old, rooms, credentials.as_ref())
    }

    pub(super) fn resume_as(
        &mut self,
        hub: usize,
        old: usize,
        rooms: BTreeMap<RoomName, Position>,
        credentials: Option<&Credentials>,
    ) -> usize {
        let (root, name) = (self.conns[old].root, self.conns[old].name.clone());
        let attempt = self.conns.iter().filter(|conn| conn.root == root).count() as u64;
        let index = self.begin(&Arrival { hub, kind: Kind::Mute, name: &name, credentials });
        self.settle();
        self.conns[index].root = root;
        let request = Request::Hello {
            name: None,
            token: self.token_of_hello(index),
            features: features(),
            resume: Some(
                Resume { session: session_of(root), attempt, rooms: rooms.clone() }.into(),
            ),
        };
        self.request(index, &request, Want::Resumed { rooms });
        self.settle();
        index
    }

    /// Puts a request on its way.
    pub fn request(&mut self, index: usize, request: &Request, want: Want) {
        self.spoken += 1;
        let id = RequestId::new(&format!("r{}", self.spoken)).expect("an id");
        let conn = &mut self.conns[index];
        conn.view.due.insert(id.to_string(), want);
        conn.input.push_back(request.encode(Some(&id)));
    }

    /// Puts any text on its way.
    pub fn raw(&mut self, index: usize, text: &str) {
        self.conns[index].input.push_back(text.into());
    }

    /// Lets a peer join a room.
    pub fn join(&mut self, index: usize, room: &RoomName, history: u32) {
        match self.conns[index].dialect() {
            Dialect::Basic => {
                self.raw(index, &BasicRequest::Join { room: room.clone() }.encode());
            }
            Dialect::V1 => {
                let request = Request::Join { room: room.clone(), history };
                self.request(index, &request, Want::Joined { room: room.clone(), history });
            }
        }
    }

    /// Lets a peer leave a room.
    pub fn leave(&mut self, index: usize, room: &RoomName) {
        match self.conns[index].dialect() {
            Dialect::Basic => self.raw(index, &BasicRequest::Leave.encode()),
            Dialect::V1 => {
                let request = Request::Leave { room: room.clone() };
                self.request(index, &request, Want::Left { room: room.clone() });
            }
        }
    }

    /// Lets a peer speak. Texts have to differ, so that a `basic` peer's can be found in the log.
    pub fn say(&mut self, index: usize, room: &RoomName, key: Option<Key>, content: &str) {
        match self.conns[index].dialect() {
            Dialect::Basic => {
                self.raw(index, &BasicRequest::Message { content: content.into() }.encode());
            }
            Dialect::V1 => {
                let (room, reply_to) = (room.clone(), None);
                let want = Want::Ack { room: room.clone(), content: content.into() };
                let request = Request::Message { room, key, content: content.into(), reply_to };
                self.request(index, &request, want);
            }
        }
    }

    /// Lets a peer of `chat.v1` read back.
    pub fn history(&mut self, index: usize, room: &RoomName, range: HistoryRange, limit: u32) {
        let request = Request::History { room: room.clone(), range, limit: Some(limit) };
        let asked = self.conns[index].view.asks_page(&self.log, room, range, limit.max(1));
        let want = Want::Page { room: room.clone(), asked };
        self.request(index, &request, want);
    }

    /// Plays one step and all that follows from it at once.
    pub fn apply(&mut self, step: Step) {
        match step {
            Step::Connect { hub, kind } => {
                let name = format!("c{}", self.conns.len());
                self.connect(usize::from(hub) % self.hubs.len(), kind, &name);
            }
            Step::Resume { conn, hub } => {
                let once_welcome = |c: &Conn| c.view.welcome;
                let all: Vec<_> = (0..self.conns.len()).collect();
                let all: Vec<_> =
                    all.into_iter().filter(|c| once_welcome(&self.conns[*c])).collect();
                if let Some(at) = usize::from(conn).checked_rem(all.len()) {
                    self.resume(usize::from(hub) % self.hubs.len(), all[at]);
                }
            }
            Step::Join { conn, room, history } => {
                self.with(conn, |w, c| w.join(c, &room_name(room), history.into()));
            }
            Step::Leave { conn, room } => self.with(conn, |w, c| w.leave(c, &room_name(room))),
            Step::Say { conn, room, key, size } => {
                self.with(conn, |w, c| w.say_something(c, room, key, size));
            }
            Step::History { conn, room, range, at, limit } => self.with(conn, |w, c| {
                let at = Seq::new(u64::from(at % 12)).expect("small");
                let range = match range % 4 {
                    0 => HistoryRange::Latest,
                    1 => HistoryRange::Before(at),
                    2 => HistoryRange::After(at),
                    _ => HistoryRange::Around(at),
                };
                if w.conns[c].dialect() == Dialect::V1 {
                    w.history(c, &room_name(room), range, u32::from(limit % 6));
                }
            }),
            Step::Ask { conn, room, what } => self.with(conn, |w, c| w.ask_for(c, room, what)),
            Step::SayLate { conn, room, ms } => {
                self.with(conn, |w, c| w.say_something(c, room, 0, 0));
                self.sleep(ms.into());
            }
            Step::Cut { conn } => self.with(conn, |w, c| w.cut(c, LeaveReason::Disconnected)),
            Step::Stall { conn } => self.with(conn, |w, c| w.conns[c].reading = false),
            Step::Sip { conn, frames } => self.with(conn, |w, c| w.read(c, frames.into())),
            Step::Read { conn } => self.with(conn, |w, c| w.conns[c].reading = true),
            _ => self.apply_to_the_rest(step),
        }
        self.flush();
        self.settle();
    }

    fn apply_to_the_rest(&mut self, step: Step) {
        let hub_of = |n: u8, hubs: usize| usize::from(n) % hubs;
        match step {
            Step::Log { mood } => self.log.mood = mood,
            Step::Answer { n } => {
                if let Some((hub, event)) = self.log.answer(n.into()) {
                    self.tell(hub, event);
                }
            }
            Step::Trim { room, keep } => self.log.trim(&room_name(room), keep.into()),
            Step::Replace { room } => self.log.replace(&room_name(room)),
            Step::Carry { mood } => self.broker.mood = mood,
            Step::Deliver { n } => {
                let carried = self.broker.take(n.into());
                self.deliver(carried);
            }
            Step::Lose { n } => self.broker.lose(n.into()),
            Step::Repeat { n } => {
                let carried = self.broker.copy(n.into());
                self.deliver(carried);
            }
            Step::SignalsLost { hub } => {
                self.tell(hub_of(hub, self.hubs.len()), Event::SignalsLost(Lost::All));
            }
            Step::Pass { ms } => self.pass(ms.into()),
            Step::Drain { hub, ms } => {
                self.drain(hub_of(hub, self.hubs.len()), ms.into());
            }
            _ => self.apply_to_identities(step),
        }
    }

    /// Delivers a signal that was held.
    pub fn deliver(&mut self, carried: Option<super::broker::Carried>) {
        if let Some(carried) = carried {
            let event = Event::Signal { from: carried.from, signal: carried.signal };
            self.tell(carried.to, event);
        }
    }

    /// Tells a Hub to leave service within a time.
    pub fn drain(&mut self, hub: usize, ms: u64) {
        let deadline = self.now.mono.plus(ms);
        self.tell(hub, Event::Drain { deadline });
    }

    /// Returns the connections that are open.
    #[must_use]
    pub fn open(&self) -> Vec<usize> {
        let all = self.conns.iter().enumerate();
        all.filter(|(_, c)| c.link == Link::Open).map(|(index, _)| index).collect()
    }

    fn with(&mut self, n: u8, act: impl FnOnce(&mut Self, usize)) {
        let live = self.open();
        if let Some(at) = usize::from(n).checked_rem(live.len()) {
            act(self, live[at]);
        }
    }

    fn say_something(&mut self, index: usize, room: u8, key: u8, size: u8) {
        self.spoken += 1;
        let root = self.conns[index].root;
        let padding = "x".repeat(usize::from(size.saturating_sub(200)) * 20);
        // Sessions of one user have keys of their own.
        let (of, whose) = match &self.conns[index].user {
            Some(user) => (format!("{root} as {user}"), format!(" of {root}")),
            None => (root.to_string(), String::new()),
        };
        let text = match (key, self.conns[index].dialect()) {
            (0, _) | (_, Dialect::Basic) => format!("m{}{padding}", self.spoken),
            // The same key says the same, mostly.
            (key, Dialect::V1) if size.is_multiple_of(4) => {
                format!("k{key} of {of}, not the same")
            }
            (key, Dialect::V1) => format!("k{key} of {of}"),
        };
        let key = (key > 0).then(|| Key::new(&format!("k{key}{whose}")).expect("a key"));
        self.say(index, &room_name(room), key, &text);
    }

    fn ask_for(&mut self, index: usize, room: u8, what: Ask) {
        let room = room_name(room);
        if self.conns[index].dialect() == Dialect::Basic {
            let text = if what == Ask::Nonsense { "{]" } else { r#"{"type":"dance"}"# };
            return self.raw(index, text);
        }
        let (request, want) = match what {
            Ask::Members => (Request::Members { room: room.clone() }, Want::Members { room }),
            Ask::Rooms => (Request::Rooms { after: None }, Want::Rooms),
            Ask::Types => (Request::Typing { room, active: true }, Want::Typing),
            Ask::StopsTyping => (Request::Typing { room, active: false }, Want::Typing),
            Ask::Ping => (Request::Ping, Want::Pong),
            Ask::Hello => return self.hello(index),
            Ask::Nonsense => return self.raw(index, r#"{"type":"dance","id":7}"#),
        };
        self.request(index, &request, want);
    }
}

/// The rooms of scripts: three, one of them with two spellings.
pub(super) fn room_name(n: u8) -> RoomName {
    let name = match n % 8 {
        0..=3 => "lobby",
        4 => "Lobby",
        5 | 6 => "den",
        _ => "attic",
    };
    RoomName::new(name).expect("a room's name")
}

/// The optional parts of the protocol that `chat.v1` peers ask for.
fn features() -> Vec<String> {
    vec!["typing".into()]
}
