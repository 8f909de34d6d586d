//! Nodes: processes with a Hub each, and what they ask for.
use chat_proto::{BasicRequest, ClientFrame, Dialect, DisplayName, LeaveReason, SessionId};
use chat_state::{
    AddressKey, Config, Connect, Event, HubId, Identity, Lost, Mono, Now, Peers, Probe, Signal,
    SignalTo,
};

use super::link::{Peer, Up};
use super::{Due, Sim};
use crate::adapter::{HubAdapter, Item, Question, Task};

/// Every question to the log is answered or given up by then.
const ANSWERED_MS: u64 = 100_000;
/// How long a node takes to flush and drop a connection that the Hub has closed.
const FLUSHED_MS: u64 = 30;

/// A process with one Hub, while it runs.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) hub: Option<HubAdapter>,
    /// Counts its processes: what is meant for an earlier one counts no more.
    pub(super) life: u32,
    pub(super) wall: i64,
    /// Until when it leaves service, and for how long it is gone then.
    pub(super) drains: Option<(u64, u64)>,
}

impl Sim {
    /// Starts a node's process: its Hub keeps its node and takes the next incarnation.
    pub(super) fn boot(&mut self, node: usize) {
        let incarnation = u64::from(self.nodes[node].life) + 1;
        let id = HubId { node: node as u64, incarnation };
        let peers = if self.setup.nodes > 1 { Peers::Some } else { Peers::None };
        let limits = self.limits.clone();
        let config = Config { hub: id, peers, limits, ..Config::default() };
        let this = &mut self.nodes[node];
        this.hub = Some(HubAdapter::new(config));
        (this.life, this.drains) = (this.life + 1, None);
        self.broker.losses.take(node);
        // Whoever connects to the broker is told that it has heard nothing so far.
        let life = this.life;
        self.due(
            self.now + 1,
            Due::Tell { node, life, event: Box::new(Event::SignalsLost(Lost::All)) },
        );
    }

    /// Ends a node's process: nothing is flushed, nobody is told but by the network.
    pub(super) fn kill(&mut self, node: usize, down_ms: u64) {
        if self.nodes[node].hub.take().is_none() {
            return;
        }
        self.crashes += 1;
        let life = self.nodes[node].life;
        for index in 0..self.links.len() {
            let link = &mut self.links[index];
            if (link.node, link.node_life) == (node, life) {
                link.forget_node();
                let silent = self.random.index(4);
                self.cut(index, silent);
            }
        }
        self.due(self.now + down_ms, Due::Boot { node });
    }

    pub(super) fn now_of(&self, node: usize) -> Now {
        self.clock(self.nodes[node].wall)
    }

    /// Gives an event to a Hub and does what it asks for.
    pub(super) fn tell(&mut self, node: usize, event: Event) {
        let now = self.now_of(node);
        let Some(hub) = &mut self.nodes[node].hub else { return };
        self.events += 1;
        let tasks = hub.handle(now, event);
        self.perform(node, tasks);
    }

    pub(super) fn fire_hub(&mut self, node: usize) {
        let now = self.now_of(node);
        let Some(hub) = &mut self.nodes[node].hub else { return };
        self.events += 1;
        let tasks = hub.fire(now);
        self.perform(node, tasks);
    }

    /// Returns a node whose turn has to end before time passes.
    pub(super) fn open_turn(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.hub.as_ref().is_some_and(HubAdapter::turn_is_open))
    }

    /// Lets a Hub offer what was said in this turn.
    pub(super) fn end_turn(&mut self, node: usize) {
        let now = self.now_of(node);
        let Some(hub) = &mut self.nodes[node].hub else { return };
        let tasks = hub.end_turn(now);
        self.perform(node, tasks);
    }

    fn perform(&mut self, node: usize, tasks: Vec<Task>) {
        for task in tasks {
            self.note(|| format!("{node} {task:?}"));
            match task {
                Task::Send { to, frame } => {
                    for link in to {
                        if let Some(encoded) = self.links[link].port.encoded(&frame) {
                            self.push(link, encoded);
                        }
                    }
                }
                Task::Probe(link) => {
                    if !self.links[link].is_cut && self.links[link].is_wanted {
                        let at = self.arrival(link);
                        self.due(at, Due::Alive { link });
                    }
                }
                Task::Close { key: link, code, .. } => {
                    self.dropped_later(link);
                    self.links[link].forget_node();
                    self.push(link, Item::Close(code));
                }
                Task::Pause(link) => self.links[link].port.is_paused = true,
                Task::Unpause(link) => {
                    self.links[link].port.is_paused = false;
                    self.read_on(link);
                }
                Task::AwaitDrain(link) => {
                    self.links[link].port.awaits_drain = true;
                    self.water(link);
                }
                Task::Authenticate { token, credentials, .. } => {
                    self.ask_authority(node, token, credentials);
                }
                Task::Ask(question) => self.ask(node, question),
                Task::Signal { to, signal } => self.signal(node, &to, &signal),
                Task::Followed(_) | Task::Unfollowed(_) | Task::Note(_) | Task::DrainedAll => {}
            }
        }
    }

    /// A connection that was closed is flushed and dropped some time later.
    fn dropped_later(&mut self, link: usize) {
        let (node, life) = (self.links[link].node, self.links[link].node_life);
        let (conn, at) = (self.links[link].conn(), self.now + FLUSHED_MS);
        let event = Box::new(Event::Disconnected { conn, why: LeaveReason::Disconnected });
        self.due(at, Due::Tell { node, life, event });
    }

    fn ask(&mut self, node: usize, question: Question) {
        let fate = self.disk.fate(&question, &mut self.random);
        let life = self.nodes[node].life;
        let there = self.now + fate.there_ms.unwrap_or(0);
        if fate.there_ms.is_some() {
            let answer_at = fate.instead.is_none().then_some(there + fate.back_ms);
            let question = Box::new(question);
            self.due(there, Due::Ask { node, life, question, answer_at });
        }
        if let Some(event) = fate.instead {
            let at = there + fate.back_ms;
            self.due(at, Due::Tell { node, life, event: Box::new(event) });
        }
    }

    fn signal(&mut self, from: usize, to: &SignalTo, signal: &Signal) {
        let id = self.nodes[from].hub.as_ref().expect("it says something").id();
        for node in (0..self.nodes.len()).filter(|node| *node != from) {
            if !self.nodes[node].hub.as_ref().is_some_and(|hub| hub.wants(to)) {
                continue;
            }
            let life = self.nodes[node].life;
            for ms in self.broker.carry(self.now, (from, node), signal, &mut self.random) {
                let event = Box::new(Event::Signal { from: id, signal: signal.clone() });
                self.due(self.now + ms, Due::Tell { node, life, event });
            }
        }
    }

    /// A node takes a connection.
    pub(super) fn accept(&mut self, index: usize) {
        let link = &self.links[index];
        let (node, life, peer) = (link.node, link.node_life, link.peer);
        let this = &mut self.nodes[node];
        if this.hub.is_none() || this.life != life || this.drains.is_some() || link.is_cut {
            self.links[index].is_cut = true;
            return self.due(self.now + 1, Due::PeerNotice { link: index });
        }
        let (dialect, name) = match peer {
            Peer::Person { .. } => (Dialect::V1, None),
            Peer::Plain { who } => (Dialect::Basic, Some(self.plain[who].name.clone())),
        };
        let name = name.map(|name| DisplayName::new(&name).expect("a name"));
        let identity = match peer {
            Peer::Person { .. } if self.setup.has_tokens => Identity::Wanted { credentials: None },
            Peer::Person { .. } | Peer::Plain { .. } => Identity::Guest { name },
        };
        let session = SessionId::new(&format!("s{index}-{:x}", self.random.bits()));
        let session = session.expect("a session id");
        let probe = Probe::Transport;
        // Several share a router: what one of them does must not be another's loss.
        let (Peer::Person { who, .. } | Peer::Plain { who }) = peer;
        let peer = Some(AddressKey([u8::from(who.is_multiple_of(3)); 16]));
        let at = self.arrival(index);
        self.links[index].flight_at = at;
        self.due(at, Due::Opened { link: index });
        self.events += 1;
        let now = self.now_of(node);
        let connect = Connect { session, dialect, identity, probe, peer };
        let hub = self.nodes[node].hub.as_mut().expect("it is up");
        let (conn, tasks) = hub.connect(now, index, connect);
        self.links[index].port.conn = Some(conn);
        self.perform(node, tasks);
    }

    /// What a peer has sent arrives.
    pub(super) fn arrive(&mut self, index: usize) {
        let link = &mut self.links[index];
        let Some(conn) = link.port.conn.filter(|_| !link.is_cut) else {
            link.up.pop_front();
            return;
        };
        if link.stalled_until > self.now {
            let at = link.stalled_until;
            return self.due(at, Due::Arrive { link: index });
        }
        if !link.port.is_read() {
            link.unread += 1;
            return;
        }
        let node = link.node;
        match link.up.pop_front() {
            Some(Up::Text(text)) => {
                let event = link.port.received(conn, &text);
                let leave = ClientFrame::Basic(BasicRequest::Leave);
                let leaves = matches!(&event, Event::Received { frame, .. } if *frame == leave);
                self.tell(node, event);
                if leaves && self.links[index].port.conn == Some(conn) {
                    self.push(index, Item::Left);
                }
            }
            Some(Up::Close(code)) => {
                let why = if code == 1000 { LeaveReason::Left } else { LeaveReason::Disconnected };
                self.links[index].is_cut = true;
                self.lose(index, why);
            }
            None => {}
        }
    }

    /// The node notices that a connection is gone.
    pub(super) fn lose(&mut self, index: usize, why: LeaveReason) {
        let Some(conn) = self.links[index].port.conn else { return };
        let node = self.links[index].node;
        self.links[index].forget_node();
        self.tell(node, Event::Disconnected { conn, why });
    }

    /// Returns when the next timer of a node is due.
    pub(super) fn hub_timer(&self) -> Option<(u64, usize)> {
        let nodes = self.nodes.iter().enumerate();
        let due = nodes.filter_map(|(node, n)| Some((n.hub.as_ref()?.poll_timeout()?, node)));
        due.min().map(|(Mono(at), node)| (at, node))
    }

    /// A node that leaves service has no connections after its deadline, and is gone when its log
    /// has answered.
    pub(super) fn drain_ends(&mut self, node: usize, life: u32) {
        let this = &self.nodes[node];
        let Some((deadline, down_ms)) = this.drains.filter(|_| this.life == life) else { return };
        // One that was killed meanwhile comes back by itself.
        let Some(hub) = &this.hub else { return };
        let mut links = self.links.iter().filter(|l| (l.node, l.node_life) == (node, life));
        assert!(links.all(|l| l.port.conn.is_none()), "node {node} is over its deadline");
        if hub.is_drained() {
            self.nodes[node].hub = None;
            return self.due(self.now + down_ms, Due::Boot { node });
        }
        assert!(self.now < deadline + ANSWERED_MS, "node {node} does not say that it is drained");
        self.due(self.now + 100, Due::DrainEnds { node, life });
    }
}
