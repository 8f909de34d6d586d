//! Who sends when.
use super::connection::{Connection, State};
use super::plan::{Pace, Plan};
use super::shared::Phase;
use super::stamp::NUMBER_MAX;
use super::tally::Tally;
use super::words::Template;

/// The senders of one thread.
#[derive(Debug)]
pub(crate) struct Senders {
    all: Vec<Sender>,
    pace: Pace,
    /// Messages that each sender may have accepted.
    messages_max: u32,
    sending: Sending,
    /// Those who may have room in their window.
    ready: Vec<usize>,
    /// When the next message is due, with a rate.
    due_ns: f64,
    step_ns: f64,
    /// Who is next, with a rate.
    turn: usize,
    scratch: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    NotYet,
    Yes,
    NoMore,
}

#[derive(Debug)]
struct Sender {
    /// Its place among the senders of all rooms.
    id: u32,
    /// Its place among the connections of this thread.
    connection: usize,
    sent: u32,
    refused: u32,
    /// Own messages that came back, or that it waits for no more.
    settled: u32,
    /// When something of its own came last.
    heard_ns: u64,
    paused_until_ns: u64,
    in_ready: bool,
    template: Template,
}

impl Senders {
    pub(crate) fn new(plan: &Plan, connections: &[Connection]) -> Self {
        let with_place = connections.iter().enumerate();
        let all = with_place.filter_map(|(connection, Connection { role, .. })| {
            let id = role.sender?;
            let template = Template::new(plan, role.room, id);
            Some(Sender::new(id, connection, template))
        });
        let all: Vec<Sender> = all.collect();
        let step_ns = match plan.pace {
            Pace::InFlight(_) => 0.0,
            Pace::Rate(deliveries) => {
                let share = all.len() as f64 / f64::from(plan.senders_in_all().max(1));
                NS_PER_S * f64::from(plan.readers()) / deliveries / share
            }
        };
        Self {
            all,
            pace: plan.pace,
            messages_max: plan.messages_max(Phase::Connect),
            sending: Sending::NotYet,
            ready: Vec::new(),
            due_ns: 0.0,
            step_ns,
            turn: 0,
            scratch: Vec::new(),
        }
    }

    pub(crate) fn start(&mut self, now_ns: u64) {
        if self.sending != Sending::NotYet {
            return;
        }
        self.sending = Sending::Yes;
        self.due_ns = now_ns as f64;
        for at in 0..self.all.len() {
            self.all[at].heard_ns = now_ns;
            self.make_ready(at);
        }
    }

    /// Allows more messages of each sender, and tells whether it is more than before.
    pub(crate) fn allow(&mut self, messages_max: u32, now_ns: u64) -> bool {
        let more = messages_max > self.messages_max;
        self.messages_max = messages_max;
        for at in 0..if more { self.all.len() } else { 0 } {
            self.all[at].heard_ns = now_ns;
            self.make_ready(at);
        }
        more
    }

    pub(crate) fn stop(&mut self) {
        self.sending = Sending::NoMore;
    }

    /// Returns how many have something left to send and a connection for it.
    pub(crate) fn active(&self, connections: &[Connection]) -> u64 {
        let active = self.all.iter().filter(|sender| {
            sender.left(self.messages_max) > 0
                && connections[sender.connection].state != State::Ended
        });
        active.count() as u64
    }

    /// Returns when the next message is due, if that is known.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        let paced = matches!(self.pace, Pace::Rate(_)) && self.sending == Sending::Yes;
        (paced && !self.all.is_empty()).then_some(self.due_ns as u64)
    }

    /// Takes the arrival of a sender's own message.
    pub(crate) fn arrived(&mut self, connection: usize, sender: u32, now_ns: u64) {
        if let Some(at) = self.of(connection, sender) {
            self.all[at].settled += 1;
            self.all[at].heard_ns = now_ns;
            self.make_ready(at);
        }
    }

    /// Takes the refusal of a message.
    pub(crate) fn refused(&mut self, connection: usize, sender: u32, now_ns: u64, until_ns: u64) {
        if let Some(at) = self.of(connection, sender) {
            self.all[at].refused += 1;
            self.all[at].heard_ns = now_ns;
            self.all[at].paused_until_ns = until_ns;
            self.make_ready(at);
        }
    }

    /// Sends what may be sent.
    pub(crate) fn send(&mut self, now_ns: u64, connections: &mut [Connection], tally: &mut Tally) {
        if self.sending != Sending::Yes || self.all.is_empty() {
            return;
        }
        match self.pace {
            Pace::InFlight(window) => self.fill(window, now_ns, connections, tally),
            Pace::Rate(_) => self.keep_pace(now_ns, connections, tally),
        }
    }

    /// Stops waiting for what has not come for too long, so that a loss does not stop the run.
    pub(crate) fn give_up(&mut self, now_ns: u64, tally: &mut Tally) {
        for at in 0..self.all.len() {
            let sender = &mut self.all[at];
            if sender.in_flight() > 0 && now_ns.saturating_sub(sender.heard_ns) > GIVE_UP_NS {
                tally.given_up += u64::from(sender.in_flight());
                sender.settled += sender.in_flight();
                sender.heard_ns = now_ns;
                self.make_ready(at);
            }
        }
    }

    fn fill(
        &mut self,
        window: u32,
        now_ns: u64,
        connections: &mut [Connection],
        tally: &mut Tally,
    ) {
        let mut ready = std::mem::take(&mut self.ready);
        ready.retain(|at| {
            let sender = &mut self.all[*at];
            let connection = &mut connections[sender.connection];
            // Whoever is paused stays in the list.
            if sender.paused_until_ns > now_ns && connection.state == State::Joined {
                return true;
            }
            sender.in_ready = false;
            let room = window.saturating_sub(sender.in_flight());
            let count = room.min(sender.left(self.messages_max));
            sender.send(count, now_ns, connection, &mut self.scratch, tally);
            false
        });
        self.ready = ready;
    }

    fn keep_pace(&mut self, now_ns: u64, connections: &mut [Connection], tally: &mut Tally) {
        for _ in 0..BURST_MAX {
            let behind_ns = now_ns as f64 - self.due_ns;
            if behind_ns < 0.0 {
                return;
            }
            let Some(at) = self.next_in_turn(now_ns, connections) else {
                self.due_ns = now_ns as f64;
                return;
            };
            self.due_ns += self.step_ns;
            let sender = &mut self.all[at];
            let connection = &mut connections[sender.connection];
            if connection.waiting() > WAITING_BYTES_MAX {
                tally.held_back += 1;
                continue;
            }
            tally.late += u64::from(behind_ns > LATE_NS);
            sender.send(1, now_ns, connection, &mut self.scratch, tally);
        }
    }

    fn next_in_turn(&mut self, now_ns: u64, connections: &[Connection]) -> Option<usize> {
        let count = self.all.len();
        let order = (self.turn..self.turn + count).map(|at| at % count);
        let at = order.into_iter().find(|at| {
            let sender = &self.all[*at];
            connections[sender.connection].state == State::Joined
                && sender.left(self.messages_max) > 0
                && sender.paused_until_ns <= now_ns
        })?;
        self.turn = (at + 1) % count;
        Some(at)
    }

    /// Finds the sender with this id if it is on this connection. Both are in the same order.
    fn of(&self, connection: usize, sender: u32) -> Option<usize> {
        let at = self.all.binary_search_by_key(&sender, |sender| sender.id).ok()?;
        (self.all[at].connection == connection).then_some(at)
    }

    fn make_ready(&mut self, at: usize) {
        let paced = matches!(self.pace, Pace::Rate(_));
        if !paced && !std::mem::replace(&mut self.all[at].in_ready, true) {
            self.ready.push(at);
        }
    }
}

impl Sender {
    fn new(id: u32, connection: usize, template: Template) -> Self {
        Self {
            id,
            connection,
            sent: 0,
            refused: 0,
            settled: 0,
            heard_ns: 0,
            paused_until_ns: 0,
            in_ready: false,
            template,
        }
    }

    fn in_flight(&self) -> u32 {
        (self.sent - self.refused).saturating_sub(self.settled)
    }

    /// What was refused is made good by another one, as long as there are numbers.
    fn left(&self, messages_max: u32) -> u32 {
        (messages_max - (self.sent - self.refused)).min(NUMBER_MAX - self.sent)
    }

    /// A connection that breaks is found broken when it is read.
    fn send(
        &mut self,
        count: u32,
        now_ns: u64,
        connection: &mut Connection,
        scratch: &mut Vec<u8>,
        tally: &mut Tally,
    ) {
        if count == 0 || connection.state != State::Joined {
            return;
        }
        scratch.clear();
        for _ in 0..count {
            self.sent += 1;
            self.template.write(self.sent, now_ns, scratch);
        }
        tally.sent += u64::from(count);
        let _ = connection.send(scratch);
    }
}

const NS_PER_S: f64 = 1e9;

/// More than a server of this kind keeps anybody waiting.
const GIVE_UP_NS: u64 = 3_000_000_000;

/// The poll waits in whole milliseconds; whoever is later than some of them was busy.
pub(crate) const LATE_NS: f64 = 5e6;

/// Messages that are sent before anything is read.
const BURST_MAX: u32 = 256;

/// A connection with more than this to be sent is not read by the server.
const WAITING_BYTES_MAX: usize = 256 * 1024;
