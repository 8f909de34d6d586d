//! Carries what the adapters ask for: frames, questions to the log, signals, and time.
use std::collections::VecDeque;
use std::fmt::Write;

use chat_proto::LeaveReason;
use chat_proto::{BasicRequest, ClientFrame, LimitValues, Limits, ServerFrame, Timestamp};
use chat_state::{Connect, Event, Mono, Now, Signal, SignalTo};

use super::broker::Broker;
use super::conn::{Conn, Link};
use super::log::SimLog;
use super::setup::Setup;
use super::tokens::Tokens;
use crate::adapter::{HubAdapter, Item, Question, Task};

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
    pub hubs: Vec<HubAdapter>,
    /// All connections there ever were.
    pub conns: Vec<Conn>,
    /// Whether peers that connect from now on read what they are sent.
    pub new_peers_read: bool,
    /// The log.
    pub log: SimLog,
    /// The broker.
    pub broker: Broker,
    /// The authority.
    pub tokens: Tokens,
    /// Every action so far, if wanted.
    pub trace: Option<String>,
    /// Frames sent to connections, one per recipient.
    pub sent: usize,
    pub(super) spoken: u64,
    queue: VecDeque<(usize, Event)>,
    /// New connections come from addresses that have budgets.
    pub(super) has_addresses: bool,
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
            hubs: (0..setup.hubs).map(|hub| HubAdapter::new(config(hub))).collect(),
            limits,
            conns: Vec::new(),
            new_peers_read: true,
            log: SimLog::default(),
            broker: Broker::default(),
            tokens: Tokens::default(),
            trace: None,
            sent: 0,
            spoken: 0,
            queue: VecDeque::new(),
            has_addresses: false,
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
        for hub in 0..self.hubs.len() {
            while let Some(conn) = self.hubs[hub].next_closed() {
                let why = LeaveReason::Disconnected;
                let tasks = self.hubs[hub].handle(self.now, Event::Disconnected { conn, why });
                assert!(tasks.is_empty(), "all is settled: {tasks:?}");
            }
        }
    }

    /// Fires what is due and ends the turn of each Hub, until one of them has something to do.
    fn end_turn(&mut self) -> bool {
        let wants = |hub: &HubAdapter| hub.poll_timeout().is_some_and(|at| at <= self.now.mono);
        if let Some(hub) = self.hubs.iter().position(wants) {
            self.fire(hub);
            return true;
        }
        (0..self.hubs.len()).any(|hub| {
            let tasks = self.hubs[hub].end_turn(self.now);
            let offers = !tasks.is_empty();
            self.perform(hub, tasks);
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

    /// Lets time pass in which no Hub runs, as in a suspended process. What was sent meanwhile is
    /// handled before the timers that are due.
    pub fn sleep(&mut self, ms: u64) {
        self.set_time(self.now.mono.plus(ms));
    }

    fn set_time(&mut self, mono: Mono) {
        self.now = Now { mono, wall: Timestamp(WALL_MS + mono.0) };
    }

    fn fire(&mut self, hub: usize) {
        let tasks = self.hubs[hub].fire(self.now);
        self.perform(hub, tasks);
    }

    fn handle(&mut self, hub: usize, event: Event) {
        let leaver = match &event {
            Event::Received { conn, frame: ClientFrame::Basic(BasicRequest::Leave) } => Some(*conn),
            _ => None,
        };
        let tasks = self.hubs[hub].handle(self.now, event);
        self.perform(hub, tasks);
        if let Some(index) = leaver.and_then(|conn| self.hubs[hub].find(conn)) {
            self.conns[index].port.put(Item::Left);
            self.flush();
        }
    }

    fn perform(&mut self, hub: usize, tasks: Vec<Task>) {
        for task in tasks {
            if let Some(trace) = &mut self.trace {
                writeln!(trace, "{hub} {task:?}").expect("memory");
            }
            match task {
                Task::Send { to, frame } => to.into_iter().for_each(|to| self.push(to, &frame)),
                Task::Probe(index) => {
                    let conn = &self.conns[index];
                    if conn.reading && conn.link == Link::Open {
                        let conn = conn.id();
                        self.tell(hub, Event::Alive { conn });
                    }
                }
                Task::Close { key, code, .. } => {
                    let link = &mut self.conns[key].link;
                    if *link == Link::Open {
                        *link = Link::Closed(code);
                    }
                }
                Task::Pause(index) => self.conns[index].port.is_paused = true,
                Task::Unpause(index) => self.conns[index].port.is_paused = false,
                Task::AwaitDrain(index) => self.conns[index].port.awaits_drain = true,
                Task::Authenticate { token, credentials, .. } => {
                    let wall = self.now.wall;
                    if let Some(answer) = self.tokens.ask(hub, token, credentials, wall) {
                        self.tell(hub, answer);
                    }
                }
                Task::Ask(question) => self.ask(hub, question),
                Task::Signal { to, signal } => self.signal(hub, &to, &signal),
                Task::Followed(_) | Task::Unfollowed(_) | Task::Note(_) | Task::DrainedAll => {}
            }
        }
        self.flush();
    }

    fn ask(&mut self, hub: usize, question: Question) {
        if let Some(answer) = self.log.ask(hub, question) {
            self.tell(hub, answer);
        }
    }

    fn signal(&mut self, from: usize, to: &SignalTo, signal: &Signal) {
        let others = (0..self.hubs.len()).filter(|hub| *hub != from);
        let to = others.filter(|hub| self.hubs[*hub].wants(to)).collect();
        for carried in self.broker.publish(self.hubs[from].id(), to, signal) {
            let event = Event::Signal { from: carried.from, signal: carried.signal };
            self.tell(carried.to, event);
        }
    }

    fn push(&mut self, index: usize, frame: &ServerFrame) {
        self.sent += 1;
        let most = self.limits.outbox_bytes as usize;
        let conn = &mut self.conns[index];
        let Some(encoded) = conn.port.encoded(frame) else { return };
        if conn.link == Link::Gone {
            return;
        }
        conn.port.put(encoded);
        if conn.port.bytes > most {
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
        conn.port.clear();
        let (hub, conn) = (conn.hub, conn.id());
        self.tell(hub, Event::Disconnected { conn, why });
    }

    /// Peers that read take what waits for them; then the Hub is told what it wants to know.
    pub fn flush(&mut self) {
        let high = self.limits.outbox_high_bytes as usize;
        for index in 0..self.conns.len() {
            if self.conns[index].reading {
                self.read(index, usize::MAX);
            }
            let conn = &mut self.conns[index];
            if conn.link == Link::Open
                && let Some(event) = conn.port.water(high)
            {
                let hub = conn.hub;
                self.tell(hub, event);
            }
        }
    }

    /// A peer reads some frames.
    pub(super) fn read(&mut self, index: usize, frames: usize) {
        let (conn, log) = (&mut self.conns[index], &self.log);
        for _ in 0..frames {
            match conn.port.pull() {
                Some(Item::Frame(encoded)) => {
                    let said = conn.view.take(log, conn.port.dialect(), encoded.as_str());
                    conn.input.extend(said.filter(|_| conn.link == Link::Open));
                }
                Some(Item::Left) => conn.view.left(),
                Some(Item::Close(_)) | None => break,
            }
        }
    }

    fn take_input(&mut self) -> bool {
        let next = self.conns.iter().position(|c| c.can_send() && !c.input.is_empty());
        let Some(index) = next else { return false };
        let conn = &mut self.conns[index];
        let text = conn.input.pop_front().expect("it has input");
        let (hub, id) = (conn.hub, conn.id());
        let event = conn.port.received(id, &text);
        self.handle(hub, event);
        true
    }

    /// Gives a connection to its Hub.
    pub(super) fn attach(&mut self, index: usize, connect: Connect) {
        let hub = self.conns[index].hub;
        let (conn, tasks) = self.hubs[hub].connect(self.now, index, connect);
        self.conns[index].port.conn = Some(conn);
        self.perform(hub, tasks);
    }
}
