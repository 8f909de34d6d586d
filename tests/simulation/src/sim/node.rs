//! The adapter's part on a node: events in, actions out, connections.
use std::collections::BTreeMap;

use chat_proto::{
    BasicRequest, ClientFrame, Dialect, DisplayName, LeaveReason, RoomName, ServerFrame, SessionId,
};
use chat_state::{
    Action, Actions, AddressKey, Config, ConnId, Connect, Event, Hub, HubId, Identity, Lost, Mono,
    Now, Peers, Probe, Recipients, Signal, SignalTo, Token,
};

use super::link::{Down, Peer, Up};
use super::{Due, Sim};
use crate::world::Question;
use crate::world::fairness::{self, Ledger};

/// Every question to the log is answered or given up by then.
const ANSWERED_MS: u64 = 100_000;
/// How long a node takes to flush and drop a connection that the Hub has closed.
const FLUSHED_MS: u64 = 30;

/// A process with one Hub, while it runs.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) hub: Option<Hub>,
    pub(super) id: HubId,
    /// Counts its processes: what is meant for an earlier one counts no more.
    pub(super) life: u32,
    pub(super) wall: i64,
    /// Until when it leaves service, and for how long it is gone then.
    pub(super) drains: Option<(u64, u64)>,
    /// How often the Hub said that everybody is gone.
    pub(super) drained: usize,
    slots: Vec<Slot>,
    turn: Turn,
    appends: BTreeMap<RoomName, (Token, u64)>,
    /// What the address that all share was let do by this process.
    ledger: Ledger,
}

/// Whether a Hub has had an event since its last turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Open,
    Ended,
}

/// A place in the adapter's table of connections.
#[derive(Clone, Copy, Debug)]
struct Slot {
    generation: u32,
    link: Option<usize>,
}

impl Node {
    pub(super) fn new() -> Self {
        Self {
            hub: None,
            id: HubId::default(),
            life: 0,
            wall: 0,
            drains: None,
            drained: 0,
            slots: Vec::new(),
            turn: Turn::Ended,
            appends: BTreeMap::new(),
            ledger: Ledger::default(),
        }
    }

    fn take_slot(&mut self, conn: ConnId, link: usize) {
        let at = conn.slot as usize;
        if at >= self.slots.len() {
            assert_eq!(at, self.slots.len(), "the smallest free slot is taken");
            self.slots.push(Slot { generation: 0, link: None });
        }
        assert!(self.slots[at].link.is_none(), "{conn:?} is in use");
        self.slots[at] = Slot { generation: conn.generation, link: Some(link) };
    }

    fn forget_slot(&mut self, conn: ConnId) {
        let slot = &mut self.slots[conn.slot as usize];
        if slot.generation == conn.generation {
            slot.link = None;
        }
    }

    fn link_of(&self, conn: ConnId) -> usize {
        let slot = self.slots.get(conn.slot as usize);
        let slot = slot.filter(|slot| slot.generation == conn.generation);
        slot.and_then(|slot| slot.link)
            .unwrap_or_else(|| panic!("{:?} names {conn:?}, which is gone", self.id))
    }
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
        this.hub = Some(Hub::new(config));
        (this.id, this.life, this.drains, this.drained) = (id, this.life + 1, None, 0);
        this.slots.clear();
        this.turn = Turn::Ended;
        this.appends.clear();
        this.ledger = Ledger::default();
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
        self.broker.forget(node);
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
        let this = &mut self.nodes[node];
        if let Event::Appended { token, .. } = &event {
            this.appends.retain(|_, (open, _)| open != token);
        }
        let Some(hub) = &mut this.hub else { return };
        self.events += 1;
        let mut actions = Actions::new();
        let asked = fairness::asked(&event, &self.limits);
        hub.handle(now, event, &mut actions).expect("the Hub has issued it");
        this.turn = Turn::Open;
        if let Some((conn, dialect, cost)) = asked
            && !fairness::was_refused(conn, &actions)
        {
            let per_window = self.limits.address_messages_per_10s;
            this.ledger.take(now.mono, (dialect, cost), per_window);
        }
        self.perform(node, actions);
    }

    pub(super) fn fire_hub(&mut self, node: usize) {
        let now = self.now_of(node);
        let Some(hub) = &mut self.nodes[node].hub else { return };
        self.events += 1;
        let mut actions = Actions::new();
        hub.handle_timeout(now, &mut actions);
        assert!(hub.poll_timeout().is_none_or(|at| at > now.mono), "due timers were fired");
        self.nodes[node].turn = Turn::Open;
        self.perform(node, actions);
    }

    /// Returns a node whose turn has to end before time passes.
    pub(super) fn open_turn(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.turn == Turn::Open)
    }

    /// Lets a Hub offer what was said in this turn.
    pub(super) fn end_turn(&mut self, node: usize) {
        let now = self.now_of(node);
        self.nodes[node].turn = Turn::Ended;
        let Some(hub) = &mut self.nodes[node].hub else { return };
        let mut actions = Actions::new();
        hub.end_turn(now, &mut actions);
        self.perform(node, actions);
    }

    fn perform(&mut self, node: usize, actions: Actions) {
        for action in actions {
            self.note(|| format!("{node} {action:?}"));
            match action {
                Action::Send { to, frame } => self.send(node, &to, &frame),
                Action::Probe { conn } => {
                    let link = self.nodes[node].link_of(conn);
                    if !self.links[link].is_cut && self.links[link].is_wanted {
                        let at = self.arrival(link);
                        self.due(at, Due::Alive { link });
                    }
                }
                Action::Close { conn, code, reason } => {
                    assert_eq!(code, reason.code());
                    let link = self.nodes[node].link_of(conn);
                    self.nodes[node].forget_slot(conn);
                    self.dropped_later(node, conn);
                    self.links[link].forget_node();
                    self.push(link, Down::Close(code));
                }
                Action::Pause { conn } => {
                    let link = self.nodes[node].link_of(conn);
                    let before = std::mem::replace(&mut self.links[link].is_paused, true);
                    assert!(!before, "paused twice");
                }
                Action::Unpause { conn } => {
                    let link = self.nodes[node].link_of(conn);
                    let before = std::mem::replace(&mut self.links[link].is_paused, false);
                    assert!(before, "was not paused");
                    self.read_on(link);
                }
                Action::AwaitDrain { conn } => {
                    let link = self.nodes[node].link_of(conn);
                    self.links[link].awaits_drain = true;
                    self.water(link);
                }
                Action::Authenticate { conn, .. } => unreachable!("{conn:?} is a guest"),
                Action::Append { token, room, drafts } => {
                    self.one_batch_at_a_time(node, &room, token);
                    self.ask(node, Question::Append(token, room, drafts));
                }
                Action::Head { token, room } => self.ask(node, Question::Head(token, room)),
                Action::Load { token, room, range } => {
                    assert!(range.limit > 0 && range.bytes > 0, "{range:?}");
                    self.ask(node, Question::Load(token, room, range));
                }
                Action::Follow { room } => self.broker.follow(node, room),
                Action::Unfollow { room } => self.broker.unfollow(node, room),
                Action::Signal { to, signal } => self.signal(node, &to, &signal),
                Action::Note(_) => {}
                Action::DrainedAll => self.nodes[node].drained += 1,
            }
        }
    }

    /// A connection that was closed is flushed and dropped some time later.
    fn dropped_later(&mut self, node: usize, conn: ConnId) {
        let (life, at) = (self.nodes[node].life, self.now + FLUSHED_MS);
        let event = Box::new(Event::Disconnected { conn, why: LeaveReason::Disconnected });
        self.due(at, Due::Tell { node, life, event });
    }

    fn one_batch_at_a_time(&mut self, node: usize, room: &RoomName, token: Token) {
        let given_up_ms = Config::default().times.append_ms;
        let before = self.nodes[node].appends.insert(room.clone(), (token, self.now));
        if let Some((_, at)) = before {
            assert!(self.now - at >= given_up_ms, "two batches of {room} in flight");
        }
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
        let id = self.nodes[from].id;
        for node in (0..self.nodes.len()).filter(|node| *node != from) {
            let wanted = match to {
                SignalTo::Followers(room) => self.broker.follows(node, room),
                SignalTo::Hub(hub) => self.nodes[node].id == *hub,
                SignalTo::Everyone => true,
            };
            if !wanted || self.nodes[node].hub.is_none() {
                continue;
            }
            let life = self.nodes[node].life;
            for ms in self.broker.carry(self.now, (from, node), &mut self.random) {
                let event = Box::new(Event::Signal { from: id, signal: signal.clone() });
                self.due(self.now + ms, Due::Tell { node, life, event });
            }
        }
    }

    fn send(&mut self, node: usize, to: &Recipients, frame: &ServerFrame) {
        let all: Vec<ConnId> = match to {
            Recipients::One(conn) => vec![*conn],
            Recipients::All(roster) => roster.iter().collect(),
            Recipients::AllBut(roster, but) => roster.iter().filter(|c| c != but).collect(),
        };
        for conn in all {
            let link = self.nodes[node].link_of(conn);
            if let Some(encoded) = frame.encode(self.links[link].decoder.dialect()) {
                self.push(link, Down::Frame(encoded));
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
        let identity = Identity::Guest { name };
        let session = SessionId::new(&format!("s{index}-{:x}", self.random.bits()));
        let session = session.expect("a session id");
        let probe = Probe::Transport;
        // All are behind one router: what one of them does must not be another's loss.
        let peer = Some(AddressKey([1; 16]));
        let at = self.arrival(index);
        self.links[index].flight_at = at;
        self.due(at, Due::Opened { link: index });
        self.events += 1;
        let (now, mut actions) = (self.now_of(node), Actions::new());
        let connect = Connect { session, dialect, identity, probe, peer };
        let hub = self.nodes[node].hub.as_mut().expect("it is up");
        let conn = hub.connect(now, connect, &mut actions);
        self.nodes[node].take_slot(conn, index);
        self.links[index].conn = Some(conn);
        self.perform(node, actions);
    }

    /// What a peer has sent arrives.
    pub(super) fn arrive(&mut self, index: usize) {
        let link = &mut self.links[index];
        let Some(conn) = link.conn.filter(|_| !link.is_cut) else {
            link.up.pop_front();
            return;
        };
        if link.stalled_until > self.now {
            let at = link.stalled_until;
            return self.due(at, Due::Arrive { link: index });
        }
        if !link.is_read() {
            link.unread += 1;
            return;
        }
        let node = link.node;
        match link.up.pop_front() {
            Some(Up::Text(text)) => {
                let decoded = link.decoder.decode(&text);
                let dialect = link.decoder.dialect();
                let leaves = matches!(&decoded, Ok(ClientFrame::Basic(BasicRequest::Leave)));
                let event = match decoded {
                    Ok(frame) => Event::Received { conn, frame },
                    Err(error) => Event::Malformed { conn, error, dialect },
                };
                self.tell(node, event);
                if leaves && self.links[index].conn == Some(conn) {
                    self.push(index, Down::Left);
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
        let Some(conn) = self.links[index].conn else { return };
        let node = self.links[index].node;
        self.nodes[node].forget_slot(conn);
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
        let mut links = self.links.iter().filter(|l| (l.node, l.node_life) == (node, life));
        assert!(links.all(|l| l.conn.is_none()), "node {node} is over its deadline");
        if this.drained == 0 {
            assert!(
                self.now < deadline + ANSWERED_MS,
                "node {node} does not say that it is drained"
            );
            return self.due(self.now + 100, Due::DrainEnds { node, life });
        }
        assert_eq!(this.drained, 1, "node {node} says once that it is drained");
        self.nodes[node].hub = None;
        self.broker.forget(node);
        self.due(self.now + down_ms, Due::Boot { node });
    }
}
