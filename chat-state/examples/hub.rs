//! A Hub without a network: an in-memory log, two connections, one that lags, an append that fails,
//! and a session that comes back. Run it with `cargo run -p chat-state --example hub`.
use std::collections::BTreeMap;
use std::sync::Arc;

use chat_proto::{
    ClientFrame, Dialect, DisplayName, Entry, Epoch, LeaveReason, Position, Request, Resume,
    RoomName, Seq, ServerFrame, SessionId, Timestamp,
};
use chat_state::{
    Action, Actions, AppendError, Appended, Config, ConnId, Connect, Draft, Event, Hub, Identity,
    LogHead, LogPage, Mono, Now, Outcome, Probe, Recipients,
};

/// The driver owns what the Hub only asks for: the clock, the log and the connections.
struct Driver {
    hub: Hub,
    log: BTreeMap<RoomName, Vec<Arc<Entry>>>,
    /// Makes the log refuse appends.
    is_disk_full: bool,
    names: BTreeMap<ConnId, &'static str>,
}

impl Driver {
    /// Connects a guest and sends `hello`, perhaps to resume an earlier session.
    fn connect(&mut self, name: &'static str, secret: &str, resume: Option<Resume>) -> ConnId {
        let connect = Connect {
            session: SessionId::new(secret).expect("a session id"),
            dialect: Dialect::V1,
            identity: Identity::Guest { name: None },
            probe: Probe::None,
            peer: None,
        };
        let conn = self.hub.connect(NOW, connect, &mut Actions::new());
        self.names.insert(conn, name);
        let (name, resume) = (DisplayName::new(name).ok(), resume.map(Box::new));
        self.ask(conn, Request::Hello { name, token: None, features: vec![], resume });
        conn
    }

    fn ask(&mut self, conn: ConnId, request: Request) {
        self.turn(Event::Received { conn, frame: ClientFrame::V1 { id: None, request } });
    }

    /// One turn: an event goes in, drafts are offered to the log, actions come out.
    fn turn(&mut self, event: Event) {
        let mut actions = Actions::new();
        self.hub.handle(NOW, event, &mut actions).expect("this driver makes no mistakes");
        self.hub.end_turn(NOW, &mut actions);
        actions.into_iter().for_each(|action| self.perform(action));
    }

    /// The log answers at once. A real one answers later, with the same token.
    fn perform(&mut self, action: Action) {
        match action {
            Action::Send { to: Recipients::One(conn), frame } => self.show(conn, &frame),
            Action::Send { to: Recipients::All(roster), frame } => {
                roster.iter().for_each(|conn| self.show(conn, &frame));
            }
            Action::Send { to: Recipients::AllBut(roster, but), frame } => {
                roster.iter().filter(|conn| *conn != but).for_each(|conn| self.show(conn, &frame));
            }
            Action::Append { token, room, drafts } => {
                let result = self.append(&room, drafts);
                self.turn(Event::Appended { token, result });
            }
            Action::Load { token, room, range } => {
                let wanted = |entry: &&Arc<Entry>| (range.from..=range.to).contains(&entry.seq);
                let entries = self.log.get(&room).into_iter().flatten();
                let entries = entries.filter(wanted).take(range.limit as usize).cloned().collect();
                let page = LogPage { head: self.head(room), entries };
                self.turn(Event::Loaded { token, result: Ok(page) });
            }
            // The outboxes of this driver are never full.
            Action::AwaitDrain { conn } => self.turn(Event::Drained { conn }),
            // No other action matters here.
            _ => {}
        }
    }

    fn append(&mut self, room: &RoomName, drafts: Vec<Draft>) -> Result<Appended, AppendError> {
        if self.is_disk_full {
            return Err(AppendError::Refused("the disk is full".into()));
        }
        let log = self.log.entry(room.clone()).or_default();
        let mut outcomes = Vec::new();
        for draft in drafts {
            let seq = log.last().map_or(Seq::ZERO, |entry| entry.seq).next();
            log.push(Arc::new(draft.into_entry(room.clone(), seq)));
            outcomes.push(Outcome::New { seq });
        }
        Ok(Appended { epoch: epoch(), outcomes })
    }

    fn head(&self, room: RoomName) -> LogHead {
        let last = self.log.get(&room).and_then(|log| log.last()).map_or(Seq::ZERO, |e| e.seq);
        LogHead { room, epoch: epoch(), first: Seq::ZERO.next(), last }
    }

    fn show(&self, conn: ConnId, frame: &ServerFrame) {
        let text = frame.encode(Dialect::V1).expect("a frame of chat.v1");
        println!("{} <- {}", self.names[&conn], text.as_str());
    }
}

/// Time stands still in this example.
const NOW: Now = Now { mono: Mono(0), wall: Timestamp(1_700_000_000_000) };

fn epoch() -> Epoch {
    Epoch::new("e1").expect("an epoch")
}

fn say(content: &str) -> Request {
    Request::Message { room: den(), key: None, content: content.into(), reply_to: None }
}

fn den() -> RoomName {
    RoomName::new("den").expect("a room name")
}

fn main() {
    let (hub, log, names) = (Hub::new(Config::default()), BTreeMap::new(), BTreeMap::new());
    let mut driver = Driver { hub, log, is_disk_full: false, names };
    let ada = driver.connect("Ada", "secret-of-ada", None);
    let bob = driver.connect("Bob", "secret-of-bob", None);
    for conn in [ada, bob] {
        driver.ask(conn, Request::Join { room: den(), history: 10 });
    }
    println!("-- Bob does not read: his outbox is over its high-water mark, so he is fed later");
    driver.turn(Event::Congested { conn: bob });
    driver.ask(ada, say("Bob, are you there?"));
    driver.turn(Event::Drained { conn: bob });
    println!("-- the log refuses a message: Ada gets an error, and nobody is shown it");
    driver.is_disk_full = true;
    driver.ask(ada, say("This will be refused."));
    driver.is_disk_full = false;
    println!("-- Bob loses his connection, misses a message and resumes after entry 1");
    driver.turn(Event::Disconnected { conn: bob, why: LeaveReason::Disconnected });
    driver.ask(ada, say("Bob will miss this."));
    let session = SessionId::new("secret-of-bob").expect("a session id");
    let position = Position { epoch: epoch(), seq: Seq::ZERO.next() };
    let resume = Resume { session, attempt: 1, rooms: [(den(), position)].into() };
    driver.connect("Bob", "a-fresh-secret", Some(resume));
}
