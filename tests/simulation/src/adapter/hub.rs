//! A Hub and what its adapter knows of it.
use std::collections::{BTreeMap, BTreeSet};

use chat_proto::{
    BasicRequest, ClientFrame, Dialect, Limits, Recovery, Request, RoomName, ServerFrame, SessionId,
};
use chat_state::{
    Action, Actions, AddressKey, Config, ConnId, Connect, Event, Hub, HubId, Mono, Now, Peers,
    Recipients, Signal, SignalTo, Spender, Stats, Token,
};

use super::authority::Authority;
use super::fairness::{Asked, Budget};
use super::grants::End;
use super::identity::{Identified, SessionKey};
use super::table::{Entry, Table};
use super::task::{Question, Task};

/// Whether a Hub has had an event since its last turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Open,
    Ended,
}

/// A Hub with the table of its connections. Everything that goes in or out is checked.
#[derive(Debug)]
pub struct HubAdapter {
    id: HubId,
    limits: Limits,
    append_ms: u64,
    hub: Hub,
    /// Timers were due before the event that is handled.
    is_late: bool,
    table: Table,
    turn: Turn,
    /// The questions without an answer.
    questions: BTreeSet<Token>,
    /// The last append of each room that was not answered, and when it was asked.
    appends: BTreeMap<RoomName, (Token, Mono)>,
    /// The rooms in which something was said that may not be in the log yet.
    spoken_in: BTreeSet<RoomName>,
    follows: BTreeSet<RoomName>,
    /// Whether there are other Hubs.
    peers: Peers,
    /// Who everybody is, and who is kept out.
    authority: Authority,
    /// What each address has spent.
    addresses: BTreeMap<AddressKey, Budget>,
    /// What each address has spent without peers being told, at least.
    untold: BTreeMap<AddressKey, u32>,
    /// What sessions without a connection have spent.
    sessions: BTreeMap<SessionKey, Budget>,
    deadline: Option<Mono>,
    is_drained: bool,
}

impl HubAdapter {
    /// Makes a Hub without connections.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            id: config.hub,
            limits: config.limits.clone(),
            append_ms: config.times.append_ms,
            peers: config.peers,
            authority: Authority::new(&config),
            hub: Hub::new(config),
            is_late: false,
            table: Table::default(),
            turn: Turn::Ended,
            questions: BTreeSet::new(),
            appends: BTreeMap::new(),
            spoken_in: BTreeSet::new(),
            follows: BTreeSet::new(),
            addresses: BTreeMap::new(),
            untold: BTreeMap::new(),
            sessions: BTreeMap::new(),
            deadline: None,
            is_drained: false,
        }
    }

    /// Returns the id of the Hub.
    #[must_use]
    pub fn id(&self) -> HubId {
        self.id
    }

    /// Returns what the Hub holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.hub.stats()
    }

    /// Returns when the next timer is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.hub.poll_timeout()
    }

    /// Returns true if an event was handled since the last turn ended.
    #[must_use]
    pub fn turn_is_open(&self) -> bool {
        self.turn == Turn::Open
    }

    /// Returns the owner's key of a connection that is open.
    #[must_use]
    pub fn find(&self, conn: ConnId) -> Option<usize> {
        self.table.find(conn).map(|entry| entry.key)
    }

    /// Returns a connection that the Hub has closed and the owner has not reported as gone.
    #[must_use]
    pub fn next_closed(&self) -> Option<ConnId> {
        self.table.closed().next()
    }

    /// Returns true if a signal is meant for this Hub.
    #[must_use]
    pub fn wants(&self, to: &SignalTo) -> bool {
        match to {
            SignalTo::Followers(room) => self.follows.contains(room),
            SignalTo::Hub(id) => *id == self.id,
            SignalTo::Everyone => true,
        }
    }

    /// Returns true if the Hub follows no room.
    #[must_use]
    pub fn follows_nothing(&self) -> bool {
        self.follows.is_empty()
    }

    /// Returns the deadline of the drain, if one has begun.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        self.deadline
    }

    /// Returns true if the Hub has reported the end of its drain.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// Takes a connection that the owner calls `key`.
    pub fn connect(&mut self, now: Now, key: usize, connect: Connect) -> (ConnId, Vec<Task>) {
        let mut actions = Actions::new();
        let (session, address) = (connect.session.clone(), connect.peer);
        let identified = Identified::new(&connect);
        let conn = self.hub.connect(now, connect, &mut actions);
        self.authority.connected(conn, identified);
        let budget = Budget::default();
        self.table.take(conn, Entry { key, address, is_paused: false, session, budget });
        (conn, self.tasks(now, actions))
    }

    /// Handles an event.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Task> {
        self.turn = Turn::Open;
        match &event {
            Event::Disconnected { conn, .. } => return self.disconnected(now, *conn, event),
            Event::Appended { token, .. } => {
                self.appends.retain(|_, (open, _)| open != token);
                self.questions.remove(token);
            }
            Event::Head { token, .. }
            | Event::Loaded { token, .. }
            | Event::Authenticated { token, .. } => {
                self.questions.remove(token);
            }
            Event::Drain { deadline } => _ = self.deadline.get_or_insert(*deadline),
            Event::Reconfigure { limits } => self.limits = limits.clone(),
            Event::Signal {
                signal: Signal::Spent { by: Spender::Address(address), cost, per_window },
                ..
            } => {
                let budget = self.addresses.entry(*address).or_default();
                budget.note(now.mono, *cost, *per_window);
            }
            _ => {}
        }
        let asked = match &event {
            // The first frame of a `basic` connection costs nothing before it is handled.
            Event::Received { conn, frame: ClientFrame::Basic(_) }
                if !self.authority.has_admitted(*conn) =>
            {
                None
            }
            Event::Authenticated { token, .. } => {
                self.authority.first_frame(*token).map(Asked::of_basic)
            }
            _ => Asked::by(&event, &self.limits),
        };
        let occasion = self.authority.occasion(now, &event, self.poll_timeout());
        self.is_late = occasion.is_late;
        self.spoken_in.extend(self.authority.speaks_in(&event));
        let mut actions = Actions::new();
        self.hub.handle(now, event, &mut actions).expect("the Hub has issued it");
        self.authority.check(now, &occasion, &actions);
        // Whose session it is the Hub may have had to ask the authority first.
        if let Some((conn, session)) = occasion.resumed() {
            self.resumes(conn, session);
        }
        let asked = asked.filter(|asked| !asked.is_turned_away(&actions));
        let is_over =
            |asked: &Asked| self.budgets_are_kept(now.mono, asked, &actions).then_some(asked.conn);
        let over = asked.as_ref().and_then(is_over);
        let tasks = self.tasks(now, actions);
        // A Hub that leaves service shows those who have gone until its own end.
        let is_final = occasion.revoked.is_some() || occasion.order.is_some();
        if is_final && self.deadline.is_none() {
            // Whoever has said something is shown until it is in the log.
            let mut rooms = self.hub.rooms_view(None, usize::MAX);
            let has_said =
                |room: &RoomName| self.spoken_in.contains(room) || self.appends.contains_key(room);
            // What was said in a room that is not open yet is not even offered to the log.
            rooms.retain(|view| view.position.is_some() && !has_said(&view.room));
            self.authority.nobody_else_is_shown(now.mono, &rooms);
        }
        self.peers_are_told();
        let entry = over.and_then(|conn| self.table.find(conn));
        assert!(entry.is_none_or(|entry| entry.is_paused), "{entry:?} is read over its budget");
        tasks
    }

    /// Reports that a connection is gone. If the Hub had closed it, checks that late events of the
    /// connection change nothing.
    fn disconnected(&mut self, now: Now, conn: ConnId, event: Event) -> Vec<Task> {
        let entry = self.table.release(conn);
        let was_closed = entry.is_none();
        if let (Some(entry), Event::Disconnected { why, .. }) = (entry, &event) {
            self.keep(conn, entry);
            self.authority.ended(now.mono, conn, End::Gone(*why));
        }
        // Any event does what is due for peers, a late one too.
        let mut tasks = if was_closed { self.fire(now) } else { Vec::new() };
        let mut actions = Actions::new();
        let before = self.hub.stats();
        if was_closed {
            for late in late_events(conn) {
                self.hub.handle(now, late, &mut actions).expect("it was issued");
            }
            assert!(actions.is_empty(), "late events did {actions:?}");
        }
        self.hub.handle(now, event, &mut actions).expect("it was issued");
        if was_closed {
            // Any event may drop a timer that is not needed any more.
            let timers = self.hub.stats().timers.max(before.timers);
            let after = Stats { timers, ..self.hub.stats() };
            assert_eq!(after, before, "late events changed something");
            let to_peers = |action: &Action| matches!(action, Action::Signal { .. });
            assert!(actions.iter().all(to_peers), "late events did {actions:?}");
        }
        tasks.extend(self.tasks(now, actions));
        tasks
    }

    /// Fires the timers that are due.
    pub fn fire(&mut self, now: Now) -> Vec<Task> {
        self.turn = Turn::Open;
        let mut actions = Actions::new();
        let is_late = self.hub.poll_timeout().is_some_and(|due| due < now.mono);
        let occasion = self.authority.timeout(now.mono);
        self.hub.handle_timeout(now, &mut actions);
        self.authority.check(now, &occasion, &actions);
        self.is_late = is_late;
        let tasks = self.tasks(now, actions);
        self.authority.all_are_in_time(now.mono);
        assert!(self.poll_timeout().is_none_or(|at| at > now.mono), "due timers were fired");
        let (stats, mut actions) = (self.hub.stats(), Actions::new());
        self.hub.handle_timeout(now, &mut actions);
        assert!(actions.is_empty(), "spurious call: {actions:?}");
        assert_eq!(self.hub.stats(), stats, "a spurious call changes something");
        tasks
    }

    /// Ends a turn: its messages are offered to the log.
    pub fn end_turn(&mut self, now: Now) -> Vec<Task> {
        self.turn = Turn::Ended;
        let mut actions = Actions::new();
        self.hub.end_turn(now, &mut actions);
        let tasks = self.tasks(now, actions);
        self.spoken_in.retain(|room| self.appends.contains_key(room));
        let mut actions = Actions::new();
        self.hub.end_turn(now, &mut actions);
        assert!(actions.is_empty(), "a turn ends once: {actions:?}");
        tasks
    }

    /// Checks that no ban keeps a session out of a room that it enters.
    fn enters(&self, now: Mono, conn: ConnId, room: &RoomName) {
        let user = self.authority.user(conn);
        assert!(!self.authority.is_banned(now, &user, Some(room)), "{user} is banned: {room}");
    }

    /// Checks that a request is refused if and only if it is over a budget. Returns true if the
    /// connection is over a budget and cannot be refused.
    fn budgets_are_kept(&mut self, now: Mono, asked: &Asked, actions: &Actions) -> bool {
        let Some(entry) = self.table.find_mut(asked.conn) else { return false };
        let (cost, own_limit) = (asked.cost, asked.own_limit(&self.limits));
        let shared_limit = self.limits.address_messages_per_10s;
        let address = entry.address;
        let shared = address.map(|address| self.addresses.entry(address).or_default());
        if asked.is_refused(actions) {
            if !shared.is_some_and(|shared| shared.may_refuse(now, cost, shared_limit)) {
                entry.budget.refuse(now, cost, own_limit);
            }
            return false;
        }
        if let Some(address) = address {
            *self.untold.entry(address).or_default() += cost;
        }
        if asked.dialect == Dialect::Basic {
            let is_over = shared.is_some_and(|shared| shared.charge(now, cost, shared_limit));
            return entry.budget.charge(now, cost, own_limit) || is_over;
        }
        entry.budget.take(now, cost, own_limit);
        if let Some(shared) = shared {
            shared.take(now, cost, shared_limit);
        }
        if let Some(session) = &asked.resumes
            && self.authority.has_admitted(asked.conn)
        {
            self.resumes(asked.conn, session);
        }
        false
    }

    /// Checks that peers are told of each 32nd of a shared budget that is spent.
    fn peers_are_told(&self) {
        let part = self.limits.address_messages_per_10s * 1000 / 32;
        let is_told = self.peers == Peers::None || part == 0;
        let untold = self.untold.values().find(|untold| **untold >= part);
        assert!(is_told || untold.is_none(), "peers are not told of {untold:?} of {part}");
    }

    fn resumes(&mut self, conn: ConnId, session: &SessionId) {
        let open = self.table.open().filter(|entry| entry.session == *session);
        let kept = self.sessions.iter().filter(|(key, _)| key.session == *session);
        let known = open.map(|entry| &entry.budget).chain(kept.map(|(_, budget)| budget));
        let known: Vec<Budget> = known.cloned().collect();
        let entry = self.table.named(conn);
        entry.session = session.clone();
        known.iter().for_each(|budget| entry.budget.resume(budget));
    }

    /// Keeps what an ended connection has spent. Peers need not be told what its address has spent
    /// if no other connection shares it.
    fn keep(&mut self, conn: ConnId, entry: Entry) {
        if self.table.open().all(|other| other.address != entry.address) {
            self.untold.retain(|address, _| Some(*address) != entry.address);
        }
        if let Some(key) = self.authority.session(conn) {
            self.sessions.insert(SessionKey { session: entry.session, ..key }, entry.budget);
        }
    }

    fn tasks(&mut self, now: Now, actions: Actions) -> Vec<Task> {
        actions.into_iter().map(|action| self.task(now.mono, action)).collect()
    }

    fn task(&mut self, now: Mono, action: Action) -> Task {
        match action {
            Action::Send { to, frame } => self.send(now, to, frame),
            Action::Probe { conn } => Task::Probe(self.table.named(conn).key),
            Action::Close { conn, code, reason } => {
                assert_eq!(code, reason.code(), "a close code is that of its reason");
                let entry = self.table.close(conn);
                let key = entry.key;
                self.keep(conn, entry);
                self.authority.ended(now, conn, End::Closed(reason));
                Task::Close { key, code, reason }
            }
            Action::Pause { conn } => {
                let entry = self.table.named(conn);
                assert!(!std::mem::replace(&mut entry.is_paused, true), "paused twice");
                Task::Pause(entry.key)
            }
            Action::Unpause { conn } => {
                let entry = self.table.named(conn);
                assert!(std::mem::replace(&mut entry.is_paused, false), "was not paused");
                Task::Unpause(entry.key)
            }
            Action::AwaitDrain { conn } => Task::AwaitDrain(self.table.named(conn).key),
            Action::Authenticate { token, conn, credentials } => {
                self.asks(token);
                Task::Authenticate { token, key: self.table.named(conn).key, credentials }
            }
            Action::Append { token, room, drafts } => {
                self.asks(token);
                assert!(!drafts.is_empty(), "an empty batch for {room}");
                let before = self.appends.insert(room.clone(), (token, now));
                let is_free = before.is_none_or(|(_, at)| now.since(at) >= self.append_ms);
                assert!(is_free, "two batches of {room} in flight");
                Task::Ask(Question::Append(token, room, drafts))
            }
            Action::Head { token, room } => {
                self.asks(token);
                Task::Ask(Question::Head(token, room))
            }
            Action::Load { token, room, range } => {
                self.asks(token);
                assert!(range.limit > 0 && range.bytes > 0, "{range:?}");
                Task::Ask(Question::Load(token, room, range))
            }
            Action::Follow { room } => {
                assert!(self.follows.insert(room.clone()), "a Hub follows a room once");
                Task::Followed(room)
            }
            Action::Unfollow { room } => {
                assert!(self.follows.remove(&room), "only what is followed can be unfollowed");
                Task::Unfollowed(room)
            }
            Action::Signal { to, signal } => {
                assert_ne!(to, SignalTo::Hub(self.id), "a Hub does not signal itself");
                if let Signal::Spent { by: Spender::Address(address), cost, .. } = &signal {
                    let untold = self.untold.remove(address).unwrap_or(0);
                    assert!(*cost >= untold, "peers are told of {cost} of {untold}");
                }
                Task::Signal { to, signal }
            }
            Action::Note(noted) => Task::Note(noted),
            Action::DrainedAll => {
                assert!(self.deadline.is_some(), "drained without a drain");
                assert!(!std::mem::replace(&mut self.is_drained, true), "drained twice");
                Task::DrainedAll
            }
        }
    }

    fn send(&mut self, now: Mono, to: Recipients, frame: ServerFrame) -> Task {
        if let (Recipients::One(conn), ServerFrame::Joined(joined)) = (&to, &frame) {
            self.enters(now, *conn, &joined.room);
            // What was held until then is said now.
            self.spoken_in.insert(joined.room.clone());
        }
        if let (Recipients::One(conn), ServerFrame::Welcome(welcome)) = (&to, &frame) {
            for (room, recovery) in &welcome.rooms {
                if matches!(recovery, Recovery::Recovered(_)) {
                    self.enters(now, *conn, room);
                }
            }
            // Another Hub may know the session, and a Hub that drains keeps none.
            let is_unknown = self.peers == Peers::Some || self.deadline.is_some();
            let knew = (!welcome.resumed || !is_unknown).then_some(welcome.resumed);
            self.table.named(*conn).budget.welcome(knew);
        }
        let to: Vec<ConnId> = match to {
            Recipients::One(conn) => vec![conn],
            Recipients::All(roster) => roster.iter().collect(),
            Recipients::AllBut(roster, but) => roster.iter().filter(|conn| *conn != but).collect(),
        };
        let mut key = |conn| {
            self.authority.is_sent(now, conn, &frame, self.is_late);
            self.table.named(conn).key
        };
        let to = to.into_iter().map(&mut key).collect();
        Task::Send { to, frame }
    }

    fn asks(&mut self, token: Token) {
        assert!(self.questions.insert(token), "{token:?} is the name of another question");
    }
}

/// Events of a connection that the Hub has closed: none of them counts.
fn late_events(conn: ConnId) -> [Event; 5] {
    let said = BasicRequest::Message { content: "late".into() };
    let request = Request::Ping;
    [
        Event::Drained { conn },
        Event::Congested { conn },
        Event::Alive { conn },
        Event::Received { conn, frame: ClientFrame::Basic(said) },
        Event::Received { conn, frame: ClientFrame::V1 { id: None, request } },
    ]
}
