//! A Hub without a network: an in-memory log, two connections, one that lags, an append that fails,
//! and a session that comes back. Run it with `cargo run -p chat-state --example hub`.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chat_proto::{
    ClientFrame, Dialect, DisplayName, Entry, Epoch, LeaveReason, Position, Request, Resume,
    RoomName, Seq, ServerFrame, SessionId, Timestamp,
};
use chat_state::{
    Action, Actions, AppendError, Appended, Config, ConnId, Connect, Draft, Event, Hub, Identity,
    Keep, LogHead, LogPage, Mono, Now, Outcome, Probe, ReadError, ReadRange,
};

/// The driver has what the Hub only asks for: the clock, the connections, and the log of a room.
struct Driver {
    hub: Hub,
    log: Vec<Arc<Entry>>,
    disk_is_full: bool,
    names: BTreeMap<ConnId, &'static str>,
    events: VecDeque<Event>,
    actions: Actions,
}

impl Driver {
    /// Connects a guest and sends `hello`, perhaps to resume an earlier session.
    fn connect(&mut self, name: &'static str, secret: &str, resume: Option<Resume>) -> ConnId {
        // The name of a new session, which nobody may guess.
        let session = SessionId::new(secret).expect("a session id");
        let (dialect, identity) = (Dialect::V1, Identity::Guest { name: None });
        let connect = Connect { session, dialect, identity, probe: Probe::None, peer: None };
        let conn = self.hub.connect(NOW, connect, &mut self.actions);
        self.names.insert(conn, name);
        let (name, resume) = (DisplayName::new(name).ok(), resume.map(Box::new));
        self.ask(conn, Request::Hello { name, token: None, features: vec![], resume });
        conn
    }

    fn ask(&mut self, conn: ConnId, request: Request) {
        self.happened(Event::Received { conn, frame: ClientFrame::V1 { id: None, request } });
    }

    /// Handles an event and those that follow from it, each in a turn of its own.
    fn happened(&mut self, event: Event) {
        self.events.push_back(event);
        while let Some(event) = self.events.pop_front() {
            self.hub.handle(NOW, event, &mut self.actions).expect("this driver makes no mistakes");
            self.hub.end_turn(NOW, &mut self.actions);
            while let Some(action) = self.actions.pop_front() {
                self.perform(action);
            }
        }
    }

    /// The log answers at once. A real one answers later, with the same token.
    fn perform(&mut self, action: Action) {
        let event = match action {
            Action::Send { to, frame } => return to.iter().for_each(|to| self.show(to, &frame)),
            Action::Append { token, drafts, .. } => {
                Event::Appended { token, result: self.take(drafts) }
            }
            Action::Load { token, range, .. } => Event::Loaded { token, result: self.read(range) },
            Action::Head { token, .. } => Event::Head { token, result: Ok(self.head()) },
            // What was sent has gone out already.
            Action::AwaitDrain { conn } => Event::Drained { conn },
            Action::Close { conn, .. } => Event::Disconnected { conn, why: LOST },
            Action::Authenticate { .. } => unreachable!("all are guests"),
            // Reading can't be paused here, nobody probes, and there are no other Hubs.
            _ => return,
        };
        self.events.push_back(event);
    }

    /// A real log also recognizes a repeated `key`: [`Outcome::Duplicate`], [`Outcome::Conflict`].
    fn take(&mut self, drafts: Vec<Draft>) -> Result<Appended, AppendError> {
        if self.disk_is_full {
            return Err(AppendError::Refused("the disk is full".into()));
        }
        let outcomes = drafts.into_iter().map(|draft| {
            let seq = self.head().last.next();
            self.log.push(Arc::new(draft.into_entry(den(), seq)));
            Outcome::New { seq }
        });
        Ok(Appended { epoch: epoch(), outcomes: outcomes.collect() })
    }

    /// A real log also keeps to `range.bytes`.
    fn read(&self, range: ReadRange) -> Result<LogPage, ReadError> {
        let wanted = self.log.iter().filter(|entry| (range.from..=range.to).contains(&entry.seq));
        let excess = wanted.clone().count().saturating_sub(range.limit as usize);
        let skipped = if range.keep == Keep::Newest { excess } else { 0 };
        let entries = wanted.skip(skipped).take(range.limit as usize).cloned().collect();
        Ok(LogPage { head: self.head(), entries })
    }

    fn head(&self) -> LogHead {
        let last = self.log.last().map_or(Seq::ZERO, |entry| entry.seq);
        LogHead { room: den(), epoch: epoch(), first: Seq::ZERO.next(), last }
    }

    fn show(&self, conn: ConnId, frame: &ServerFrame) {
        let text = frame.encode(Dialect::V1).expect("a frame of chat.v1");
        println!("{} <- {}", self.names[&conn], text.as_str());
    }
}

/// Time stands still in this example.
const NOW: Now = Now { mono: Mono(0), wall: Timestamp(1_700_000_000_000) };
/// Why connections end here. [`LeaveReason::Left`] would end the session, too.
const LOST: LeaveReason = LeaveReason::Disconnected;

/// The name of the log. A new log has a new name.
fn epoch() -> Epoch {
    Epoch::new("e1").expect("an epoch")
}

fn den() -> RoomName {
    RoomName::new("den").expect("a room name")
}

fn say(content: &str) -> Request {
    Request::Message { room: den(), key: None, content: content.into(), reply_to: None }
}

fn main() {
    let (hub, names, events) = (Hub::new(Config::default()), BTreeMap::new(), VecDeque::new());
    let (log, actions) = (vec![], Actions::new());
    let mut driver = Driver { hub, log, disk_is_full: false, names, events, actions };
    let ada = driver.connect("Ada", "secret-of-ada", None);
    let bob = driver.connect("Bob", "secret-of-bob", None);
    for conn in [ada, bob] {
        driver.ask(conn, Request::Join { room: den(), history: 10 });
    }
    println!("-- Bob does not read");
    driver.happened(Event::Congested { conn: bob });
    driver.ask(ada, say("Bob, are you there?"));
    println!("-- Bob reads again and gets what he has missed");
    driver.happened(Event::Drained { conn: bob });
    println!("-- the log refuses a message: Ada gets an error, and nobody is shown it");
    driver.disk_is_full = true;
    driver.ask(ada, say("This will be refused."));
    driver.disk_is_full = false;
    println!("-- Bob loses his connection, misses a message and resumes after entry 1");
    driver.happened(Event::Disconnected { conn: bob, why: LOST });
    driver.ask(ada, say("Bob will miss this."));
    let session = SessionId::new("secret-of-bob").expect("a session id");
    let position = Position { epoch: epoch(), seq: Seq::ZERO.next() };
    let resume = Resume { session, attempt: 1, rooms: [(den(), position)].into() };
    driver.connect("Bob", "not-used-by-a-resume", Some(resume));
}
