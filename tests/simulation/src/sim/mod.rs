//! The simulation: the shipped Hubs, Clients and codecs, and everything between them, in one
//! thread and from one seed.
//!
//! A [`Plan`] is data: who there is, and what happens when. [`run`] plays it. Frames take their
//! time, links are cut, stall, go half-open or are slow; the log refuses, stalls and forgets its
//! answers; signals are lost, repeated and overtake each other; processes die, leave service and
//! come back; clocks jump. Whatever a Client tells its application is held against the log at
//! once. When the plan is over all faults stop: everything has to converge, and when everybody has
//! gone nothing may be left.
//!
//! The same plan gives the same run, step by step; [`shrink`] makes one that fails short.
mod apply;
mod broker;
mod end;
mod focus;
mod judge;
mod link;
mod log;
mod node;
mod operator;
mod person;
mod plain;
mod plan;
mod present;
mod random;
mod seen;
mod shrink;
mod tokens;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use chat_proto::{LeaveReason, Limits, RoomName, Timestamp, Token as Credentials};
use chat_state::client::Event as ClientEvent;
use chat_state::{AuthError, Event, Mono, Now, Token};

use self::broker::Broker;
use self::link::{Link, Peer};
use self::node::Node;
use self::person::Person;
use self::plain::Plain;
use crate::adapter::{Item, Question};
use crate::world::{RoomLog, SimLog, Tokens};

pub use self::broker::Carriage;
pub use self::focus::Focus;
pub use self::log::Disk;
pub use self::plan::{Plan, Setup, Step, What};
pub use self::random::Random;
pub use self::shrink::{Failure, failure, shrink, shrink_with};
pub use self::tokens::Authority;

/// When the story of every simulation begins, for people.
const WALL_MS: i64 = 1_700_000_000_000;
/// Events at one instant; more is a loop that never ends.
const AT_ONCE_MAX: usize = 100_000;

/// What a run was.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Events that Hubs and Clients have handled.
    pub events: u64,
    /// Simulated milliseconds.
    pub ms: u64,
    /// Messages that are in the logs.
    pub entries: u64,
    /// Every action of every machine, if it was asked for.
    pub trace: Option<String>,
}

/// Plays a plan to its end and beyond.
///
/// # Panics
/// When a guarantee does not hold.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    let mut sim = Sim::new(plan, None);
    sim.play(plan);
    sim.report()
}

/// Plays a plan and keeps a trace.
///
/// # Panics
/// When a guarantee does not hold.
#[must_use]
pub fn trace(plan: &Plan) -> Report {
    let mut sim = Sim::new(plan, Some(String::new()));
    sim.play(plan);
    sim.report()
}

/// Plays a plan and writes every action of every machine to a file, up to the failure if there is
/// one.
///
/// # Panics
/// If the file can't be written.
pub fn trace_to(plan: &Plan, file: &Path) {
    let mut sim = Sim::new(plan, Some(String::new()));
    let played = catch_unwind(AssertUnwindSafe(|| sim.play(plan)));
    let mut text = sim.trace.unwrap_or_default();
    if played.is_err() {
        text.push_str("failed\n");
    }
    std::fs::write(file, text).expect("the file can be written");
}

/// What happens at some time.
#[derive(Debug)]
enum Due {
    Apply(usize),
    Accept {
        link: usize,
    },
    Opened {
        link: usize,
    },
    Arrive {
        link: usize,
    },
    Alive {
        link: usize,
    },
    Pump {
        link: usize,
    },
    Land {
        link: usize,
    },
    NodeNotice {
        link: usize,
    },
    PeerNotice {
        link: usize,
    },
    TooSlow {
        link: usize,
    },
    Tell {
        node: usize,
        life: u32,
        event: Box<Event>,
    },
    Ask {
        node: usize,
        life: u32,
        question: Box<Question>,
        answer_at: Option<u64>,
    },
    Boot {
        node: usize,
    },
    DrainEnds {
        node: usize,
        life: u32,
    },
    SitDown {
        who: usize,
        life: u32,
    },
    SignOn {
        who: usize,
        life: u32,
    },
    FreshToken {
        who: usize,
        life: u32,
    },
    Identify {
        node: usize,
        life: u32,
        token: Token,
        credentials: Credentials,
        result: Option<AuthError>,
    },
    PlainBack {
        who: usize,
    },
}

/// The world.
#[derive(Debug)]
struct Sim {
    setup: Setup,
    limits: Limits,
    random: Random,
    now: u64,
    queue: BTreeMap<(u64, u64), Due>,
    scheduled: u64,
    nodes: Vec<Node>,
    people: Vec<Person>,
    plain: Vec<Plain>,
    links: Vec<Link>,
    log: SimLog,
    disk: Disk,
    broker: Broker,
    tokens: Tokens,
    authority: Authority,
    /// Rooms whose log was trimmed, ever.
    trimmed: BTreeSet<RoomName>,
    /// For how long new links are held up as soon as they are open, and until when that is so.
    holds: (u64, u64),
    crashes: usize,
    spoken: u64,
    events: u64,
    trace: Option<String>,
}

impl Sim {
    fn new(plan: &Plan, trace: Option<String>) -> Self {
        let setup = plan.setup.clone();
        let names = |kind: &str, count| (0..count).map(|n| format!("{kind}{n}")).collect();
        let (people, plain): (Vec<_>, Vec<_>) =
            (names("person", setup.people), names("plain", setup.plain));
        let mut sim = Self {
            limits: setup.preset.limits(),
            random: Random::new(!plan.seed),
            now: 0,
            queue: BTreeMap::new(),
            scheduled: 0,
            nodes: (0..setup.nodes).map(|_| Node::default()).collect(),
            people: people.into_iter().map(Person::new).collect(),
            plain: plain.into_iter().map(Plain::new).collect(),
            links: Vec::new(),
            log: SimLog::default(),
            disk: Disk::default(),
            broker: Broker::default(),
            tokens: Tokens::default(),
            authority: Authority::default(),
            trimmed: BTreeSet::new(),
            holds: (0, 0),
            crashes: 0,
            spoken: 0,
            events: 0,
            trace,
            setup,
        };
        (0..sim.nodes.len()).for_each(|node| sim.boot(node));
        for who in 0..sim.people.len() {
            sim.due(0, Due::SitDown { who, life: 0 });
        }
        (0..sim.plain.len()).for_each(|who| sim.due(0, Due::PlainBack { who }));
        for (index, step) in plan.steps.iter().enumerate() {
            sim.due(step.at, Due::Apply(index));
        }
        sim
    }

    fn play(&mut self, plan: &Plan) {
        let last = plan.steps.iter().map(|step| step.at).max();
        self.run_until(last.unwrap_or(0), plan);
        self.converge(plan);
        self.everybody_goes(plan);
    }

    fn report(self) -> Report {
        let rooms = (0..self.setup.rooms).map(apply::room_name);
        let count = |room: RoomName| self.log.of_room(&room).map(RoomLog::last).sum::<u64>();
        let entries = rooms.map(count).sum();
        Report { events: self.events, ms: self.now, entries, trace: self.trace }
    }

    fn due(&mut self, at: u64, due: Due) {
        self.scheduled += 1;
        self.queue.insert((at, self.scheduled), due);
    }

    /// Keeps a line of the trace.
    fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            writeln!(trace, "{now} {}", line()).expect("memory");
        }
    }

    fn clock(&self, wall: i64) -> Now {
        let wall = WALL_MS + wall + i64::try_from(self.now).expect("a short story");
        let wall = Timestamp(u64::try_from(wall).expect("after 1970"));
        Now { mono: Mono(self.now), wall }
    }

    /// Lets everything happen up to a time.
    fn run_until(&mut self, end: u64, plan: &Plan) {
        let mut at_once = 0;
        loop {
            let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
            let (hub, client) = (self.hub_timer(), self.client_timer());
            let turn = self.open_turn();
            let timers = [hub.map(|(at, _)| at), client.map(|(at, _)| at), turn.map(|_| self.now)];
            let next = timers.into_iter().chain([queued]).flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            at_once = if next > self.now { 0 } else { at_once + 1 };
            assert!(at_once < AT_ONCE_MAX, "this never ends");
            self.now = self.now.max(next);
            if queued.is_some_and(|at| at <= self.now) {
                let (_, due) = self.queue.pop_first().expect("it is there");
                self.happen(due, plan);
            } else if let Some((_, node)) = hub.filter(|(at, _)| *at <= self.now) {
                self.fire_hub(node);
            } else if let Some(node) = turn {
                self.end_turn(node);
            } else if let Some((_, who)) = client {
                self.fire_client(who);
            }
            self.bounds_hold();
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, due: Due, plan: &Plan) {
        match due {
            Due::Apply(index) => self.apply(plan.steps[index].what),
            Due::Accept { link } => self.accept(link),
            Due::Opened { link } => self.opened(link),
            Due::Arrive { link } => self.arrive(link),
            Due::Alive { link } => {
                let link = &self.links[link];
                let event = link.port.conn.map(|conn| Event::Alive { conn });
                if let Some(event) = event.filter(|_| !link.is_cut) {
                    self.tell(link.node, event);
                }
            }
            Due::Pump { link } => self.pump(link),
            Due::Land { link } => self.land(link),
            Due::NodeNotice { link } => self.node_notice(link, LeaveReason::Disconnected),
            Due::PeerNotice { link } => self.peer_notice(link, None),
            Due::TooSlow { link } => self.node_notice(link, LeaveReason::SlowConsumer),
            Due::Tell { node, life, event } => {
                if self.nodes[node].life == life {
                    self.tell(node, *event);
                }
            }
            Due::Ask { node, life, question, answer_at } => {
                // A process that is alone has its log in it: what was on its way is gone with it.
                if self.nodes.len() == 1 && self.nodes[node].life != life {
                    return;
                }
                let event = log::answer(&mut self.log, node, *question);
                if let Some(at) = answer_at {
                    self.due(at, Due::Tell { node, life, event: Box::new(event) });
                }
            }
            Due::Boot { node } => {
                if self.nodes[node].hub.is_none() {
                    self.boot(node);
                }
            }
            Due::DrainEnds { node, life } => self.drain_ends(node, life),
            Due::SitDown { who, life } => {
                if self.people[who].client.is_none() && self.people[who].life == life {
                    self.sit_down(who);
                }
            }
            Due::SignOn { who, life } => {
                if self.people[who].life == life && !self.people[who].is_on {
                    self.sign_on(who);
                }
            }
            Due::FreshToken { who, life } => {
                if self.people[who].life == life {
                    self.bring_token(who);
                }
            }
            Due::Identify { node, life, token, credentials, result } => {
                if self.nodes[node].life == life {
                    self.identify(node, token, &credentials, result);
                }
            }
            Due::PlainBack { who } => self.plain_connects(who),
        }
    }

    fn is_known(&self, index: usize) -> bool {
        let link = &self.links[index];
        let life = match link.peer {
            Peer::Person { who, .. } => self.people[who].life,
            Peer::Plain { who } => self.plain[who].life,
        };
        life == link.peer_life && link.is_wanted
    }

    fn opened(&mut self, index: usize) {
        if !self.is_known(index) || self.links[index].is_cut {
            return;
        }
        let (hold_ms, until) = self.holds;
        if until > self.now {
            self.links[index].stalled_until = self.now + hold_ms;
        }
        match self.links[index].peer {
            Peer::Person { who, link } => self.act(who, ClientEvent::Opened { link }),
            Peer::Plain { who } => self.plain_opened(who),
        }
    }

    /// Something arrives at a peer.
    fn land(&mut self, index: usize) {
        let Some(item) = self.links[index].flight.pop_front() else { return };
        if self.links[index].is_cut || !self.is_known(index) {
            return;
        }
        if let Item::Frame(_) = &item
            && self.links[index].swallows > 0
        {
            self.links[index].swallows -= 1;
            return;
        }
        match (self.links[index].peer, item) {
            (Peer::Person { who, link }, Item::Frame(frame)) => {
                self.hear(who, (link, index), frame.as_str());
            }
            (Peer::Plain { .. }, Item::Frame(frame)) => self.plain_hears(index, frame.as_str()),
            (Peer::Plain { .. }, Item::Left) => self.links[index].view.left(),
            (Peer::Person { .. }, Item::Left) => unreachable!("only basic peers leave like that"),
            (Peer::Person { .. }, Item::Close(code)) => {
                self.close_is_right(index, code);
                self.links[index].is_cut = true;
                self.peer_notice(index, Some(code));
            }
            (Peer::Plain { .. }, Item::Close(code)) => {
                self.links[index].is_cut = true;
                self.peer_notice(index, Some(code));
            }
        }
    }

    /// A peer notices that its connection is gone.
    fn peer_notice(&mut self, index: usize, code: Option<chat_proto::CloseCode>) {
        if !self.is_known(index) {
            return;
        }
        self.links[index].is_wanted = false;
        match self.links[index].peer {
            Peer::Person { who, link } => {
                self.link_ends(who, link, code.map(chat_proto::CloseCode::number));
            }
            Peer::Plain { who } => self.plain_ends(who, code),
        }
    }
}
