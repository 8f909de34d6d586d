//! The adapter's part: events in, actions out, outboxes, time.
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use chat_proto::LeaveReason;
use chat_proto::{
    BasicRequest, ClientFrame, Dialect, LimitValues, Limits, Request, RoomName, ServerFrame,
    Timestamp,
};
use chat_state::{
    Action, Actions, AddressKey, ConnId, Connect, Event, Hub, Mono, Now, Recipients, Signal,
    SignalTo, Token,
};

use super::broker::Broker;
use super::conn::{Conn, Item, Link};
use super::fairness::{self, Ledger};
use super::log::{Question, SimLog};
use super::setup::Setup;

/// Calls of one Hub's timers at the same instant; more is a hot loop.
const TIMEOUTS_AT_ONCE: usize = 1000;
/// When the story of every world begins, for people.
const WALL_MS: u64 = 1_700_000_000_000;

/// Hubs, a log, a broker, connections and a clock.
#[derive(Debug)]
pub struct World {
    /// What it is made of.
    pub setup: Setup,
    /// The Hubs' limits.
    pub limits: Limits,
    /// The time.
    pub now: Now,
    /// The machines under test.
    pub hubs: Vec<Hub>,
    /// All connections there ever were.
    pub conns: Vec<Conn>,
    /// Whether peers that connect from now on read what they are sent.
    pub new_peers_read: bool,
    /// The log.
    pub log: SimLog,
    /// The broker.
    pub broker: Broker,
    /// How often each Hub said that everybody is gone, and whether it was told to drain.
    pub drained: Vec<(usize, Option<Mono>)>,
    /// Every action so far, if wanted.
    pub trace: Option<String>,
    /// Frames sent to connections, one per recipient.
    pub sent: usize,
    pub(super) spoken: u64,
    queue: VecDeque<(usize, Event)>,
    slots: Vec<Vec<Slot>>,
    appends: BTreeMap<(usize, RoomName), (Token, Mono)>,
    closed: Vec<(usize, ConnId)>,
    /// The address that new connections come from.
    pub(super) address: Option<AddressKey>,
    /// What that address was let do on each Hub.
    ledgers: Vec<Ledger>,
}

/// A place in an adapter's table.
#[derive(Clone, Copy, Debug)]
struct Slot {
    generation: u32,
    /// The index of the connection that the Hub knows by this slot.
    conn: Option<usize>,
}

impl World {
    /// Makes a world in which nothing has happened.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self::with_limits(setup, setup.preset.limits().values().clone())
    }

    /// Makes a world with limits of its own.
    ///
    /// # Panics
    /// Panics if a limit is out of its bounds.
    #[must_use]
    pub fn with_limits(setup: Setup, limits: LimitValues) -> Self {
        let limits = limits.build().expect("within bounds");
        let config = |hub| chat_state::Config { limits: limits.clone(), ..setup.config(hub) };
        Self {
            setup,
            now: Now { mono: Mono(0), wall: Timestamp(WALL_MS) },
            hubs: (0..setup.hubs).map(|hub| Hub::new(config(hub))).collect(),
            limits,
            conns: Vec::new(),
            new_peers_read: true,
            log: SimLog::default(),
            broker: Broker::default(),
            drained: vec![(0, None); setup.hubs],
            trace: None,
            sent: 0,
            spoken: 0,
            queue: VecDeque::new(),
            slots: vec![Vec::new(); setup.hubs],
            appends: BTreeMap::new(),
            closed: Vec::new(),
            address: None,
            ledgers: vec![Ledger::default(); setup.hubs],
        }
    }

    /// Adds an event to those that are to be handled.
    pub fn tell(&mut self, hub: usize, event: Event) {
        self.queue.push_back((hub, event));
    }

    /// Handles events and input until there is nothing to do at this instant.
    pub fn settle(&mut self) {
        loop {
            if let Some((hub, event)) = self.queue.pop_front() {
                self.handle(hub, event);
            } else if !self.take_input() && !self.end_turn() {
                break;
            }
        }
        self.late_events_change_nothing();
    }

    /// Fires what is due and ends the turn of each Hub, until one of them has something to do.
    fn end_turn(&mut self) -> bool {
        let wants = |hub: &Hub| hub.poll_timeout().is_some_and(|at| at <= self.now.mono);
        if let Some(hub) = self.hubs.iter().position(wants) {
            self.fire(hub);
            return true;
        }
        (0..self.hubs.len()).any(|hub| {
            let mut actions = Actions::new();
            self.hubs[hub].end_turn(self.now, &mut actions);
            let offers = !actions.is_empty();
            self.perform(hub, actions);
            let mut actions = Actions::new();
            self.hubs[hub].end_turn(self.now, &mut actions);
            assert!(actions.is_empty(), "a turn ends once: {actions:?}");
            self.flush();
            offers
        })
    }

    /// Lets time pass, timer by timer.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.mono.plus(ms);
        let (mut last, mut calls) = (self.now.mono, 0);
        loop {
            let due = self.hubs.iter().enumerate();
            let due = due.filter_map(|(hub, h)| Some((h.poll_timeout()?, hub))).min();
            let Some((at, hub)) = due.filter(|(at, _)| *at <= end) else { break };
            self.set_time(at.max(self.now.mono));
            calls = if self.now.mono == last { calls + 1 } else { 0 };
            last = self.now.mono;
            assert!(calls < TIMEOUTS_AT_ONCE, "a timer that is always due");
            self.fire(hub);
            self.settle();
        }
        self.set_time(end);
    }

    fn set_time(&mut self, mono: Mono) {
        self.now = Now { mono, wall: Timestamp(WALL_MS + mono.0) };
    }

    fn fire(&mut self, hub: usize) {
        let mut actions = Actions::new();
        self.hubs[hub].handle_timeout(self.now, &mut actions);
        let next = self.hubs[hub].poll_timeout();
        assert!(next.is_none_or(|at| at > self.now.mono), "due timers were fired");
        self.perform(hub, actions);
        // A call too many changes nothing.
        let mut actions = Actions::new();
        self.hubs[hub].handle_timeout(self.now, &mut actions);
        assert!(actions.is_empty(), "spurious call: {actions:?}");
        self.flush();
    }

    fn handle(&mut self, hub: usize, event: Event) {
        match &event {
            Event::Disconnected { conn, .. } => {
                self.forget_slot(hub, *conn);
                self.closed.retain(|closed| *closed != (hub, *conn));
            }
            Event::Appended { token, .. } => self.appends.retain(|_, (t, _)| t != token),
            _ => {}
        }
        let leaver = match &event {
            Event::Received { conn, frame: ClientFrame::Basic(BasicRequest::Leave) } => Some(*conn),
            _ => None,
        };
        let mut actions = Actions::new();
        let asked = fairness::asked(&event, &self.limits);
        self.hubs[hub].handle(self.now, event, &mut actions).expect("the Hub has issued it");
        if let Some(asked) = asked {
            self.address_is_fair(hub, asked, &actions);
        }
        self.perform(hub, actions);
        if let Some(index) = leaver.and_then(|conn| self.find(hub, conn)) {
            self.conns[index].outbox.push_back(Item::Left);
        }
        self.flush();
    }

    /// What shares the budget of an address stays within it.
    fn address_is_fair(
        &mut self,
        hub: usize,
        (conn, dialect, cost): (ConnId, Dialect, u64),
        actions: &Actions,
    ) {
        let shares = self.find(hub, conn).is_some_and(|index| self.conns[index].peer.is_some());
        if shares && !fairness::was_refused(conn, actions) {
            let per_window = self.limits.address_messages_per_10s;
            self.ledgers[hub].take(self.now.mono, (dialect, cost), per_window);
        }
    }

    fn perform(&mut self, hub: usize, actions: Actions) {
        for action in actions {
            if let Some(trace) = &mut self.trace {
                writeln!(trace, "{hub} {action:?}").expect("memory");
            }
            match action {
                Action::Send { to, frame } => self.send(hub, &to, &frame),
                Action::Probe { conn } => {
                    let index = self.known(hub, conn);
                    if self.conns[index].reading && self.conns[index].link == Link::Open {
                        self.tell(hub, Event::Alive { conn });
                    }
                }
                Action::Close { conn, code, reason } => {
                    assert_eq!(code, reason.code());
                    let index = self.known(hub, conn);
                    self.forget_slot(hub, conn);
                    if self.conns[index].link == Link::Open {
                        self.conns[index].link = Link::Closed(code);
                    }
                    self.closed.push((hub, conn));
                }
                Action::Pause { conn } => {
                    let index = self.known(hub, conn);
                    let before = std::mem::replace(&mut self.conns[index].paused, true);
                    assert!(!before, "paused twice");
                }
                Action::Unpause { conn } => {
                    let index = self.known(hub, conn);
                    let before = std::mem::replace(&mut self.conns[index].paused, false);
                    assert!(before, "was not paused");
                }
                Action::AwaitDrain { conn } => {
                    let index = self.known(hub, conn);
                    self.conns[index].awaiting = true;
                }
                Action::Authenticate { conn, .. } => unreachable!("{conn:?} is a guest"),
                Action::Append { token, room, drafts } => {
                    self.one_batch_at_a_time(hub, &room, token);
                    self.ask(hub, Question::Append(token, room, drafts));
                }
                Action::Head { token, room } => self.ask(hub, Question::Head(token, room)),
                Action::Load { token, room, range } => {
                    assert!(range.limit > 0 && range.bytes > 0, "{range:?}");
                    self.ask(hub, Question::Load(token, room, range));
                }
                Action::Follow { room } => self.broker.follow(hub, room),
                Action::Unfollow { room } => self.broker.unfollow(hub, room),
                Action::Signal { to, signal } => self.signal(hub, &to, &signal),
                Action::Note(_) => {}
                Action::DrainedAll => self.drained[hub].0 += 1,
            }
        }
    }

    fn ask(&mut self, hub: usize, question: Question) {
        if let Some(answer) = self.log.ask(hub, question) {
            self.tell(hub, answer);
        }
    }

    fn one_batch_at_a_time(&mut self, hub: usize, room: &RoomName, token: Token) {
        let given_up_ms = self.setup.config(hub).times.append_ms;
        let before = self.appends.insert((hub, room.clone()), (token, self.now.mono));
        if let Some((_, at)) = before {
            assert!(self.now.mono.since(at) >= given_up_ms, "two batches of {room} in flight");
        }
    }

    fn signal(&mut self, hub: usize, to: &SignalTo, signal: &Signal) {
        for carried in self.broker.publish(self.hubs.len(), hub, (to, signal)) {
            let event = Event::Signal { from: carried.from, signal: carried.signal };
            self.tell(carried.to, event);
        }
    }

    fn send(&mut self, hub: usize, to: &Recipients, frame: &ServerFrame) {
        match to {
            Recipients::One(conn) => self.push(hub, *conn, frame),
            Recipients::All(roster) => {
                roster.iter().for_each(|conn| self.push(hub, conn, frame));
            }
            Recipients::AllBut(roster, but) => {
                let others = roster.iter().filter(|conn| conn != but);
                others.for_each(|conn| self.push(hub, conn, frame));
            }
        }
    }

    fn push(&mut self, hub: usize, id: ConnId, frame: &ServerFrame) {
        let index = self.known(hub, id);
        self.sent += 1;
        let (high, most) = (self.limits.outbox_high_bytes, self.limits.outbox_bytes);
        let conn = &mut self.conns[index];
        assert!(matches!(conn.link, Link::Open | Link::Gone), "{}: sent after close", conn.name);
        let Some(encoded) = frame.encode(conn.decoder.dialect()) else { return };
        if conn.link == Link::Gone {
            return;
        }
        assert!(high <= most);
        conn.bytes += encoded.as_str().len();
        conn.outbox.push_back(Item::Frame(encoded));
        if conn.bytes > most as usize {
            self.cut(index, LeaveReason::SlowConsumer);
        }
    }

    /// Ends a transport from outside.
    pub fn cut(&mut self, index: usize, why: LeaveReason) {
        let conn = &mut self.conns[index];
        if conn.link != Link::Open {
            return;
        }
        conn.link = Link::Gone;
        conn.outbox.clear();
        conn.bytes = 0;
        let (hub, id) = (conn.hub, conn.id);
        self.tell(hub, Event::Disconnected { conn: id, why });
    }

    /// Peers that read take what waits for them; then the Hub is told what it wants to know.
    pub fn flush(&mut self) {
        for index in 0..self.conns.len() {
            if self.conns[index].reading {
                self.read(index, usize::MAX);
            }
            let high = self.limits.outbox_high_bytes as usize;
            let conn = &mut self.conns[index];
            if conn.link != Link::Open {
                continue;
            }
            let (hub, id) = (conn.hub, conn.id);
            if (conn.congested || conn.awaiting) && conn.bytes <= high / 2 {
                (conn.congested, conn.awaiting) = (false, false);
                self.tell(hub, Event::Drained { conn: id });
            } else if !conn.congested && conn.bytes > high {
                conn.congested = true;
                self.tell(hub, Event::Congested { conn: id });
            }
        }
    }

    /// A peer reads some frames.
    pub(super) fn read(&mut self, index: usize, frames: usize) {
        let (conn, log) = (&mut self.conns[index], &self.log);
        for _ in 0..frames {
            match conn.outbox.pop_front() {
                Some(Item::Frame(encoded)) => {
                    conn.bytes -= encoded.as_str().len();
                    let said = conn.view.take(log, conn.decoder.dialect(), encoded.as_str());
                    conn.input.extend(said.filter(|_| conn.link == Link::Open));
                }
                Some(Item::Left) => conn.view.left(),
                None => break,
            }
        }
    }

    fn take_input(&mut self) -> bool {
        let next = self.conns.iter().position(|c| c.can_send() && !c.input.is_empty());
        let Some(index) = next else { return false };
        let conn = &mut self.conns[index];
        let text = conn.input.pop_front().expect("it has input");
        let (hub, id) = (conn.hub, conn.id);
        let event = match conn.decoder.decode(&text) {
            Ok(frame) => Event::Received { conn: id, frame },
            Err(error) => Event::Malformed { conn: id, error, dialect: conn.decoder.dialect() },
        };
        self.handle(hub, event);
        true
    }

    fn late_events_change_nothing(&mut self) {
        for (hub, conn) in std::mem::take(&mut self.closed) {
            let said = BasicRequest::Message { content: "late".into() };
            let request = Request::Ping;
            let before = self.hubs[hub].stats();
            let mut actions = Actions::new();
            for event in [
                Event::Drained { conn },
                Event::Congested { conn },
                Event::Alive { conn },
                Event::Received { conn, frame: ClientFrame::Basic(said) },
                Event::Received { conn, frame: ClientFrame::V1 { id: None, request } },
                Event::Disconnected { conn, why: LeaveReason::Disconnected },
            ] {
                self.hubs[hub].handle(self.now, event, &mut actions).expect("it was issued");
            }
            assert!(actions.is_empty(), "late events did {actions:?}");
            assert_eq!(self.hubs[hub].stats(), before, "late events changed something");
        }
    }

    /// Gives a Hub a connection and returns its id.
    pub(super) fn attach(&mut self, hub: usize, index: usize, connect: Connect) -> ConnId {
        let mut actions = Actions::new();
        let id = self.hubs[hub].connect(self.now, connect, &mut actions);
        let (slots, at) = (&mut self.slots[hub], id.slot as usize);
        if at >= slots.len() {
            assert_eq!(at, slots.len(), "the smallest free slot is taken");
            slots.push(Slot { generation: 0, conn: None });
        }
        assert!(slots[at].conn.is_none(), "{id:?} is in use");
        slots[at] = Slot { generation: id.generation, conn: Some(index) };
        self.conns[index].id = id;
        self.perform(hub, actions);
        self.flush();
        id
    }

    fn forget_slot(&mut self, hub: usize, id: ConnId) {
        let slot = &mut self.slots[hub][id.slot as usize];
        if slot.generation == id.generation {
            slot.conn = None;
        }
    }

    fn find(&self, hub: usize, id: ConnId) -> Option<usize> {
        let slot = self.slots[hub].get(id.slot as usize)?;
        slot.conn.filter(|_| slot.generation == id.generation)
    }

    fn known(&self, hub: usize, id: ConnId) -> usize {
        self.find(hub, id).unwrap_or_else(|| panic!("hub {hub} names {id:?}, which is gone"))
    }
}
