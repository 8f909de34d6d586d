//! Hubs that come, go and miss signals: what they know of each other, and what that costs.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chat_proto::{
    ClientFrame, Dialect, Epoch, LeaveReason, LimitValues, Request, Resume, RoomName, Seq,
    ServerFrame, SessionId, Timestamp,
};
use chat_state::{
    Action, Config, ConnId, Connect, Event, Hub, HubId, Identity, LogHead, LogPage, Lost, Mono,
    Now, Peers, Probe, Recipients, Signal, SignalTo, TimeValues,
};

/// Signals that wait for one Hub at most, as in the server.
const INBOX: usize = 8192;

/// Signals that a Hub takes in one millisecond.
const TAKEN_PER_MS: usize = 64;

/// A Hub with its inbox, a log that is empty and answers at once, and what it has sent.
struct Node {
    id: HubId,
    hub: Hub,
    inbox: VecDeque<(HubId, Signal)>,
    lost: Option<Lost>,
    follows: BTreeSet<RoomName>,
    /// What each connection was sent since the test last looked.
    told: BTreeMap<ConnId, Vec<ServerFrame>>,
    closed: Vec<ConnId>,
    heads_asked: usize,
}

/// Some Hubs on one broker, in steps of a millisecond.
struct World {
    now: u64,
    nodes: Vec<Option<Node>>,
    incarnations: u64,
    /// Signals of this kind are lost without notice.
    drops: fn(&Signal) -> bool,
    /// Signals sent, by second.
    sent: BTreeMap<u64, usize>,
    losses: usize,
}

type At = (usize, ConnId);

impl World {
    fn new(hubs: usize) -> Self {
        let mut world = Self {
            now: 0,
            nodes: (0..hubs).map(|_| None).collect(),
            incarnations: 0,
            drops: |_| false,
            sent: BTreeMap::new(),
            losses: 0,
        };
        (0..hubs).for_each(|hub| world.start(hub));
        world
    }

    /// Starts a Hub under the id of its node, in a new incarnation.
    fn start(&mut self, node: usize) {
        self.incarnations += 1;
        let limits = LimitValues { rooms: 20_000, messages_per_10s: 0, ..LimitValues::default() };
        // Nobody here answers pings.
        let silence = 7 * 24 * 3600 * 1000;
        let times = TimeValues {
            heartbeat_ms: silence,
            heartbeat_dead_ms: silence,
            ..TimeValues::default()
        };
        let id = HubId { node: node as u64, incarnation: self.incarnations };
        let config = Config {
            hub: id,
            peers: Peers::Some,
            limits: limits.build().expect("within bounds"),
            times: times.build().expect("within bounds"),
            ..Config::default()
        };
        self.nodes[node] = Some(Node {
            id,
            hub: Hub::new(config),
            inbox: VecDeque::new(),
            lost: None,
            follows: BTreeSet::new(),
            told: BTreeMap::new(),
            closed: Vec::new(),
            heads_asked: 0,
        });
    }

    /// Ends a Hub without a word.
    fn kill(&mut self, node: usize) {
        self.nodes[node] = None;
    }

    fn node(&mut self, node: usize) -> &mut Node {
        self.nodes[node].as_mut().expect("it runs")
    }

    fn clock(&self) -> Now {
        Now { mono: Mono(self.now), wall: Timestamp(self.now) }
    }

    fn handle(&mut self, node: usize, event: Event) {
        let (now, mut events) = (self.clock(), VecDeque::from([event]));
        while let Some(event) = events.pop_front() {
            let mut out = VecDeque::new();
            self.node(node).hub.handle(now, event, &mut out).expect("the Hub has issued it");
            self.perform(node, out, &mut events);
        }
    }

    fn perform(&mut self, at: usize, out: VecDeque<Action>, events: &mut VecDeque<Event>) {
        for action in out {
            let node = self.nodes[at].as_mut().expect("it runs");
            let epoch = Epoch::new("e").expect("an epoch");
            let head = |room| LogHead { room, epoch, first: Seq::ZERO.next(), last: Seq::ZERO };
            match action {
                Action::Load { token, room, .. } => {
                    let result = Ok(LogPage { head: head(room), entries: vec![] });
                    events.push_back(Event::Loaded { token, result });
                }
                Action::Head { token, room } => {
                    node.heads_asked += 1;
                    events.push_back(Event::Head { token, result: Ok(head(room)) });
                }
                Action::Send { to, frame } => match to {
                    Recipients::One(conn) => node.told.entry(conn).or_default().push(frame),
                    Recipients::All(roster) | Recipients::AllBut(roster, _) => {
                        for conn in roster.iter() {
                            node.told.entry(conn).or_default().push(frame.clone());
                        }
                    }
                },
                Action::AwaitDrain { conn } => events.push_back(Event::Drained { conn }),
                Action::Close { conn, .. } => node.closed.push(conn),
                Action::Follow { room } => drop(node.follows.insert(room)),
                Action::Unfollow { room } => drop(node.follows.remove(&room)),
                Action::Signal { to, signal } => self.publish(at, &to, &signal),
                _ => {}
            }
        }
    }

    fn publish(&mut self, from: usize, to: &SignalTo, signal: &Signal) {
        *self.sent.entry(self.now / 1000).or_default() += 1;
        if (self.drops)(signal) {
            return;
        }
        let from = self.node(from).id;
        for node in self.nodes.iter_mut().flatten().filter(|node| node.id != from) {
            let wanted = match to {
                SignalTo::Everyone => true,
                SignalTo::Hub(hub) => node.id == *hub,
                SignalTo::Followers(room) => node.follows.contains(room),
            };
            if !wanted {
                continue;
            }
            if node.inbox.len() < INBOX {
                node.inbox.push_back((from, signal.clone()));
            } else {
                self.losses += 1;
                node.lost = Some(Lost::All);
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            self.turn();
            if self.now == end {
                return;
            }
            let idle = self.nodes.iter().flatten().all(|node| node.inbox.is_empty());
            let due = self.nodes.iter().flatten().filter_map(|node| node.hub.poll_timeout()).min();
            let next = due.filter(|_| idle).map_or(self.now + 1, |due| due.0.max(self.now + 1));
            self.now = next.min(end);
        }
    }

    /// Each Hub takes some signals and fires its timers.
    fn turn(&mut self) {
        for at in 0..self.nodes.len() {
            let Some(node) = &mut self.nodes[at] else { continue };
            let count = node.inbox.len().min(TAKEN_PER_MS);
            let taken: Vec<_> = node.inbox.drain(..count).collect();
            let lost = node.lost.take();
            for (from, signal) in taken {
                self.handle(at, Event::Signal { from, signal });
            }
            if let Some(lost) = lost {
                self.handle(at, Event::SignalsLost(lost));
            }
            let (now, mut out, mut events) = (self.clock(), VecDeque::new(), VecDeque::new());
            self.node(at).hub.handle_timeout(now, &mut out);
            self.perform(at, out, &mut events);
            events.into_iter().for_each(|event| self.handle(at, event));
        }
    }

    fn connect(&mut self, node: usize, session: &str) -> At {
        let session = SessionId::new(session).expect("a session");
        let (dialect, identity) = (Dialect::V1, Identity::Guest { name: None });
        let connect = Connect { session, dialect, identity, probe: Probe::None, peer: None };
        let (now, mut out) = (self.clock(), VecDeque::new());
        let conn = self.node(node).hub.connect(now, connect, &mut out);
        self.perform(node, out, &mut VecDeque::new());
        (node, conn)
    }

    fn request(&mut self, (node, conn): At, request: Request) {
        let frame = ClientFrame::V1 { id: None, request };
        self.handle(node, Event::Received { conn, frame });
    }

    fn session(&mut self, node: usize, session: &str, resume: Option<Resume>) -> At {
        let at = self.connect(node, session);
        let resume = resume.map(Box::new);
        self.request(at, Request::Hello { name: None, token: None, features: vec![], resume });
        at
    }

    fn join(&mut self, at: At, room: &RoomName) {
        self.request(at, Request::Join { room: room.clone(), history: 0 });
    }

    fn cut(&mut self, (node, conn): At) {
        self.handle(node, Event::Disconnected { conn, why: LeaveReason::Left });
    }

    /// How many members a session is told that a room has.
    fn count(&mut self, at: At, room: &RoomName) -> u64 {
        self.node(at.0).told.clear();
        self.request(at, Request::Members { room: room.clone() });
        let told = self.node(at.0).told.remove(&at.1).unwrap_or_default();
        let count = told.iter().find_map(|frame| match frame {
            ServerFrame::Members { view, .. } => Some(view.count),
            _ => None,
        });
        count.unwrap_or_else(|| panic!("no answer: {told:?}"))
    }

    fn forget_told(&mut self) {
        self.nodes.iter_mut().flatten().for_each(|node| node.told.clear());
    }

    fn sent_in(&self, seconds: std::ops::Range<u64>) -> usize {
        self.sent.range(seconds).map(|(_, count)| count).sum()
    }
}

fn room(n: usize) -> RoomName {
    RoomName::new(&format!("room {n}")).expect("a name")
}

const ROOMS: usize = 12_000;

/// Two Hubs with a member each in every room, at rest at the beginning of a second.
fn large() -> World {
    let mut world = World::new(2);
    let members = [0, 1].map(|node| world.session(node, &format!("s{node}"), None));
    for n in 0..ROOMS {
        world.join(members[n % 2], &room(n));
        world.join(members[(n + 1) % 2], &room(n));
        if n % 64 == 0 {
            world.pass(10);
            world.forget_told();
        }
    }
    world.pass(90_000 - world.now);
    for n in [0, 1, 77, ROOMS - 1] {
        for member in members {
            assert_eq!(world.count(member, &room(n)), 2);
        }
    }
    assert_eq!(world.losses, 0);
    world
}

/// In 5 s a Hub renews its lease and lists a twelfth of its rooms, 256 in one signal.
const QUIET_PER_5S: usize = 1 + (ROOMS / 12).div_ceil(256);

#[test]
fn one_loss_in_12_000_rooms_settles_within_5_s_with_few_signals() {
    let mut world = large();
    let begun = world.now / 1000;
    world.node(0).heads_asked = 0;
    world.handle(0, Event::SignalsLost(Lost::All));
    world.pass(31_000);
    assert_eq!(world.losses, 0, "the recovery causes no further loss");
    let rates: Vec<usize> = (begun..begun + 31).map(|s| world.sent_in(s..s + 1)).collect();
    assert!(rates.iter().all(|rate| *rate < 5000), "{rates:?}");
    let recovery = 1 + ROOMS.div_ceil(256) + 1;
    assert!(world.sent_in(begun..begun + 5) <= recovery + 2 * 2 * QUIET_PER_5S, "{rates:?}");
    assert!(world.sent_in(begun + 5..begun + 30) <= 5 * 2 * QUIET_PER_5S + 2, "{rates:?}");
    assert!(world.node(0).heads_asked >= ROOMS, "every room is checked");
}

#[test]
fn losses_without_end_do_not_become_a_storm() {
    let mut world = large();
    let begun = world.now / 1000;
    for _ in 0..310 {
        (0..2).for_each(|hub| world.handle(hub, Event::SignalsLost(Lost::All)));
        world.pass(100);
    }
    assert_eq!(world.losses, 0);
    // Recoveries begin after 0, 1, 3, 7 and 15 s, each with a request and its answer.
    let each = 2 * (1 + ROOMS.div_ceil(256));
    // The pace may cut what a Hub lists with a renewal in two.
    let most = 5 * each + 7 * 2 * (QUIET_PER_5S + 1);
    let sent = world.sent_in(begun..begun + 31);
    assert!(sent <= most, "{sent} of {most}");
}

#[test]
fn a_lost_change_of_members_is_made_up_for() {
    let mut world = World::new(2);
    let den = room(1);
    let (ada, bob) = (world.session(0, "ada", None), world.session(1, "bob", None));
    [ada, bob].iter().for_each(|at| world.join(*at, &den));
    let eve = world.session(1, "eve", None);
    world.join(eve, &den);
    world.pass(3000);
    assert_eq!(world.count(ada, &den), 3);
    world.drops = |signal| matches!(signal, Signal::Went { .. });
    world.cut(eve);
    world.drops = |_| false;
    world.pass(1100);
    assert_eq!(world.count(ada, &den), 2, "the summary of what has changed reveals it");
    // Even that is lost: the room's turn comes.
    world.drops = |signal| matches!(signal, Signal::Went { .. } | Signal::Digest(_));
    world.cut(bob);
    world.pass(1500);
    assert_eq!(world.count(ada, &den), 2);
    world.drops = |_| false;
    world.pass(5100);
    assert_eq!(world.count(ada, &den), 1);
}

#[test]
fn a_hub_that_restarts_under_its_node_is_believed_although_its_numbers_are_lower() {
    let mut world = World::new(2);
    let den = room(1);
    let ada = world.session(0, "ada", None);
    world.join(ada, &den);
    for n in 0..50 {
        let member = world.session(1, &format!("s{n}"), None);
        world.join(member, &den);
    }
    world.pass(600_000);
    assert_eq!(world.count(ada, &den), 51);
    world.start(1);
    let back = world.session(1, "back", None);
    world.join(back, &den);
    world.pass(100);
    assert_eq!(world.count(ada, &den), 2);
    assert_eq!(world.count(back, &den), 2);
}

#[test]
fn the_members_of_a_hub_that_died_are_gone_with_its_lease() {
    let mut world = World::new(3);
    let den = room(1);
    let members = [0, 1, 2].map(|node| world.session(node, &format!("s{node}"), None));
    members.iter().for_each(|member| world.join(*member, &den));
    world.pass(60_000);
    world.kill(2);
    world.forget_told();
    world.pass(14_000);
    assert_eq!(world.count(members[0], &den), 3);
    world.pass(7000);
    for at in &members[..2] {
        let told = world.node(at.0).told.remove(&at.1).unwrap_or_default();
        let is_told = |frame: &ServerFrame| match frame {
            ServerFrame::Members { view, .. } => view.count == 2,
            _ => false,
        };
        assert!(at.0 == 0 || told.iter().any(is_told), "{told:?}");
        assert_eq!(world.count(*at, &den), 2);
    }
}

#[test]
fn an_older_connection_is_fenced_although_the_signal_of_the_resume_was_lost() {
    let mut world = World::new(2);
    let den = room(1);
    let old = world.session(0, "ada", None);
    let witness = world.session(0, "bob", None);
    [old, witness].iter().for_each(|at| world.join(*at, &den));
    world.pass(1000);
    world.drops = |signal| matches!(signal, Signal::Resumed { .. });
    let resume = Resume {
        session: SessionId::new("ada").expect("a session"),
        attempt: 1,
        rooms: BTreeMap::new(),
    };
    let new = world.session(1, "fresh", Some(resume));
    world.join(new, &den);
    world.pass(100);
    assert_eq!(world.node(0).closed, [old.1]);
    assert_eq!(world.count(witness, &den), 2);
}
