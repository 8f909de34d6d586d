//! One thread: its connections, and the loop around them.
//!
//! No task and no waker stands between the socket and the accounts: a readable connection is read
//! into one buffer that all share, and what is in it is judged where it lies.
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use chat_tokio::clock::Clock;
use mio::{Events, Interest, Poll, Token};

use super::connection::{Connection, Got, State, explain};
use super::frame::{self, FRAME_BYTES_MAX, Head};
use super::ledger::{End, Ledger};
use super::plan::{Plan, Reads};
use super::shared::{Phase, Shared};
use super::tally::Tally;
use super::upgrade::{self, Reply};
use super::words;

pub(crate) struct Engine {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    thread: u32,
    clock: Clock,
    poll: Poll,
    connections: Vec<Connection>,
    /// The connections' places among those of all threads.
    indexes: Vec<u32>,
    ledger: Ledger,
    /// The next connection to be made, and to join.
    next: usize,
    next_to_join: usize,
    frozen: bool,
    /// Connections that had more than one turn's worth to be read.
    unread: Vec<usize>,
    tick_ns: u64,
    /// Senders with something left to send, and connections that have not ended: at the last tick.
    active: u64,
    open: u64,
    /// Refusals that were told already.
    refused: u64,
}

impl Engine {
    pub(crate) fn new(
        plan: Arc<Plan>,
        shared: Arc<Shared>,
        thread: u32,
        clock: Clock,
    ) -> io::Result<Self> {
        let indexes: Vec<u32> = plan.share(thread).collect();
        let connections: Vec<Connection> =
            indexes.iter().map(|index| Connection::unborn(plan.role(*index))).collect();
        let mut ledger = Ledger::new(&plan, &connections);
        ledger.tally.slow.members =
            connections.iter().filter(|one| one.role.reads == Reads::Late).count() as u64;
        let mut engine = Self {
            poll: Poll::new()?,
            plan,
            shared,
            thread,
            clock,
            connections,
            indexes,
            ledger,
            next: 0,
            next_to_join: 0,
            frozen: false,
            unread: Vec::new(),
            tick_ns: 0,
            active: 0,
            open: 0,
            refused: 0,
        };
        engine.look_at_all();
        Ok(engine)
    }

    /// Runs until the end, and returns what was counted.
    ///
    /// # Errors
    /// If the system's poll fails.
    pub(crate) fn run(mut self) -> io::Result<Tally> {
        let mut events = Events::with_capacity(EVENTS);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let phase = self.shared.phase();
            if phase == Phase::End {
                return Ok(self.ledger.tally);
            }
            self.go_on(phase, &mut buffer);
            let wait = self.wait();
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Err(_) | Ok(()) => {}
            }
            for at in std::mem::take(&mut self.unread) {
                self.read(at, &mut buffer);
            }
            for event in &events {
                let at = event.token().0;
                if event.is_writable() {
                    self.writable(at);
                }
                let ends = event.is_read_closed() || event.is_error();
                self.connections[at].ends |= ends;
                if event.is_readable() || ends {
                    self.read(at, &mut buffer);
                }
            }
            self.publish(phase);
        }
    }

    /// Does what the phase asks for.
    fn go_on(&mut self, phase: Phase, buffer: &mut [u8]) {
        let now_ns = self.now_ns();
        if phase < Phase::Drain {
            self.connect(now_ns);
        }
        if phase >= Phase::Join && phase < Phase::Drain {
            self.join(now_ns);
        }
        if (Phase::Warm..=Phase::Measure).contains(&phase) {
            if self.plan.burst.is_none() || phase == Phase::Measure {
                self.freeze();
            }
            self.ledger.senders.start(now_ns);
            if self.ledger.senders.allow(self.plan.messages_max(phase), now_ns) {
                self.look_at_all();
            }
        } else if phase >= Phase::Drain {
            self.ledger.senders.stop();
        }
        // Another thread's messages may come before this one has seen that it is measured.
        let begin = if self.plan.warmup.is_zero() { Phase::Connect } else { Phase::Measure };
        self.ledger.measuring =
            self.plan.burst.is_none() && (begin..=Phase::Measure).contains(&phase);
        let Ledger { senders, tally, .. } = &mut self.ledger;
        senders.send(now_ns, &mut self.connections, tally);
        if phase >= Phase::Thaw && self.frozen {
            self.thaw(buffer);
        }
        if phase >= Phase::Leave && !self.ledger.leaving {
            self.leave();
        }
        if now_ns.saturating_sub(self.tick_ns) >= TICK_NS {
            self.tick_ns = now_ns;
            self.ledger.senders.give_up(now_ns, &mut self.ledger.tally);
            self.look_at_all();
        }
    }

    fn connect(&mut self, now_ns: u64) {
        let at_once = self.at_once(self.plan.connecting);
        while self.next < self.connections.len() && self.next - self.settled_connections() < at_once
        {
            let (at, index) = (self.next, self.indexes[self.next]);
            self.next += 1;
            let connection = &mut self.connections[at];
            let opened = connection.open(index, &self.plan, now_ns);
            let opened = opened.and_then(|()| match connection.tcp() {
                Some(stream) => self.poll.registry().register(
                    stream,
                    Token(at),
                    Interest::READABLE | Interest::WRITABLE,
                ),
                None => Ok(()),
            });
            if let Err(error) = opened {
                self.ledger.end(&mut self.connections[at], End(explain(&error)));
            }
        }
    }

    fn join(&mut self, now_ns: u64) {
        let at_once = self.at_once(self.plan.joining);
        while self.next_to_join < self.connections.len() {
            let answered = self.ledger.tally.joined + self.ledger.tally.join_failures.count();
            if self.next_to_join - answered as usize >= at_once {
                return;
            }
            let connection = &mut self.connections[self.next_to_join];
            self.next_to_join += 1;
            if connection.state != State::Made {
                self.ledger.tally.join_failures.add("the connection had ended");
                continue;
            }
            connection.state = State::Joining;
            connection.since_ns = now_ns;
            let text = words::join(&self.plan, connection.role.room);
            // If it breaks, the next read says so.
            let _ = connection.send_frame(frame::TEXT, text.as_bytes());
        }
    }

    fn freeze(&mut self) {
        if self.plan.slow > 0 && !self.frozen {
            self.frozen = true;
            for connection in &mut self.connections {
                connection.frozen = connection.role.reads == Reads::Late;
            }
        }
    }

    /// The poll tells only of what is new, so those who have not read do it unasked.
    fn thaw(&mut self, buffer: &mut [u8]) {
        self.frozen = false;
        for at in 0..self.connections.len() {
            if std::mem::take(&mut self.connections[at].frozen) {
                self.read(at, buffer);
            }
        }
    }

    fn leave(&mut self) {
        self.ledger.leaving = true;
        for connection in &mut self.connections {
            match connection.state {
                State::Unborn | State::Ended => {}
                State::Connecting | State::Upgrading | State::Greeting => connection.abort(),
                State::Made | State::Joining | State::Joined => {
                    // If it breaks, it is over as well.
                    let _ = connection.send_frame(frame::CLOSE, &NORMAL_CLOSE);
                }
            }
        }
    }

    fn writable(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        let result = match connection.state {
            State::Connecting => match connection.check_connected() {
                Ok(true) => {
                    connection.state = State::Upgrading;
                    let name = format!("m{}", self.indexes[at]);
                    let request = upgrade::request(&self.plan.target, self.plan.dialect, &name);
                    connection.send(request.as_bytes())
                }
                Ok(false) => Ok(()),
                Err(error) => Err(error),
            },
            _ => connection.flush(),
        };
        if let Err(error) = result {
            self.ledger.end(&mut self.connections[at], End(explain(&error)));
        }
    }

    fn read(&mut self, at: usize, buffer: &mut [u8]) {
        for _ in 0..READS_MAX {
            let connection = &mut self.connections[at];
            if connection.frozen || connection.state < State::Connecting {
                return;
            }
            let (bytes, more) = match connection.read(buffer) {
                Ok(Got::Bytes { bytes, more }) => (bytes, more),
                Ok(Got::Nothing) => return,
                Err(error) => {
                    self.ledger.end(&mut self.connections[at], End(explain(&error)));
                    return;
                }
            };
            self.ledger.tally.reads += 1;
            match self.take(at, &buffer[..bytes]) {
                Ok(used) => self.connections[at].keep(&buffer[used..bytes]),
                Err(end) => {
                    self.ledger.end(&mut self.connections[at], end);
                    return;
                }
            }
            if !more {
                return;
            }
        }
        self.unread.push(at);
    }

    /// Takes all that is whole, and returns how many bytes that was. The clock is read once.
    fn take(&mut self, at: usize, bytes: &[u8]) -> Result<usize, End> {
        let now_ns = self.now_ns();
        let connection = &mut self.connections[at];
        let mut used = 0;
        if connection.state == State::Upgrading {
            match upgrade::reply(bytes, self.plan.dialect) {
                Reply::Incomplete => return Ok(0),
                Reply::Refused(why) => return Err(End(why)),
                Reply::Upgraded(head) => used = head,
            }
            match words::hello(self.plan.dialect, &format!("m{}", self.indexes[at])) {
                Some(hello) => {
                    connection.state = State::Greeting;
                    // If it breaks, the next read says so.
                    let _ = connection.send_frame(frame::TEXT, hello.as_bytes());
                }
                None => self.ledger.made(connection, now_ns),
            }
        }
        loop {
            match frame::read(&bytes[used..]) {
                Head::Frame { opcode, payload, bytes } => {
                    used += bytes;
                    self.ledger.frame(at, connection, opcode, payload, now_ns)?;
                }
                Head::Incomplete => return Ok(used),
                Head::Broken(what) => return Err(End(format!("the server sent {what}"))),
            }
        }
    }

    fn wait(&self) -> Duration {
        if !self.unread.is_empty() {
            return Duration::ZERO;
        }
        let due = self.ledger.senders.due_ns();
        let wait_ns = due.map_or(TICK_NS, |due| due.saturating_sub(self.now_ns()).min(TICK_NS));
        Duration::from_nanos(wait_ns)
    }

    fn publish(&mut self, phase: Phase) {
        let refused = self.ledger.tally.refused.count();
        if refused != self.refused {
            // Whoever had sent all has something left again. That is told before less is offered.
            self.refused = refused;
            self.look_at_all();
            self.shared.meter(self.thread).active.store(self.active, Release);
        }
        let meter = self.shared.meter(self.thread);
        let Ledger { tally, .. } = &self.ledger;
        let failed = tally.failures.count();
        let closed = tally.closes.count() + tally.slow.closes.count();
        meter.connected.store(tally.connected, Relaxed);
        meter.failed.store(failed, Relaxed);
        meter.closed.store(closed, Relaxed);
        meter.joined.store(tally.joined, Relaxed);
        meter.unjoined.store(tally.join_failures.count(), Relaxed);
        meter.offered.store(tally.accepted() * u64::from(self.plan.readers()), Release);
        meter.received.store(tally.received, Relaxed);
        meter.slow_received.store(tally.slow.received, Relaxed);
        meter.reads.store(tally.reads, Relaxed);
        meter.connected_ns.store(self.ledger.connected_ns, Relaxed);
        meter.joined_ns.store(self.ledger.joined_ns, Relaxed);
        meter.received_ns.store(self.ledger.received_ns, Relaxed);
        meter.open.store(self.open, Relaxed);
        // With nobody active, whoever reads this also has all that was offered.
        meter.active.store(self.active, Release);
        meter.reached(phase);
    }

    /// What takes a look at every connection is found out more seldom.
    fn look_at_all(&mut self) {
        self.active = self.ledger.senders.active(&self.connections);
        let open = |one: &&Connection| !matches!(one.state, State::Unborn | State::Ended);
        self.open = self.connections.iter().filter(open).count() as u64;
    }

    fn settled_connections(&self) -> usize {
        (self.ledger.tally.connected + self.ledger.tally.failures.count()) as usize
    }

    /// Returns this thread's part of what may be under way at a time.
    fn at_once(&self, all: u32) -> usize {
        all.div_ceil(self.plan.threads) as usize
    }

    fn now_ns(&self) -> u64 {
        self.clock.since_start().as_nanos() as u64
    }
}

/// Events of one poll.
const EVENTS: usize = 1024;

/// What one read may bring; the longest frame fits in beside the beginning of another.
const BUFFER_BYTES: usize = FRAME_BYTES_MAX + 16 * 1024;

/// Full buffers that one connection is read before the others have their turn.
const READS_MAX: usize = 4;

/// How often the threads look at the clock without a reason.
const TICK_NS: u64 = 20_000_000;

/// Close code 1000: we come back no more, and need no session.
const NORMAL_CLOSE: [u8; 2] = 1000_u16.to_be_bytes();
