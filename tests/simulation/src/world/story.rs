//! Stories: a script as text, and as text what everybody was told.
//!
//! ```text
//! v1 a            connects (also: basic, upgrades, mute; with `on 1`: to the second Hub)
//! b resumes a     goes on with the session of a as b (also: on 1), where a is in its rooms, or
//! b resumes a from lobby 7
//! a joins lobby 5     the number is the history wanted
//! a says lobby hello  a keys lobby k1 hello   a leaves lobby   a cut
//! a pages lobby before 7 3   a asks members lobby   a asks rooms   a types lobby   a stops lobby
//! a sends {"type":"ping"}   a stalls   a reads   a goes   (closes for good)
//! log holds|holds-answers|refuses|unknown-taken|unknown-lost|prompt   log answer 0   log fail 0
//! log takes (what is new; what waits goes on waiting)   log loses 0   (its answer)
//! log trims lobby 1   log replaced lobby
//! broker holds|drops|prompt   broker deliver 0   broker lose 0   broker repeat 0   lost 1
//! claim lobby 7   (the second Hub says that the log has this entry)
//! wait 25000   drain 0 10000
//! ```
use std::collections::BTreeMap;

use chat_proto::{HistoryRange, Key, LeaveReason, Request, RoomName, Seq};
use chat_state::{Event, HubId, Lost, Signal};

use super::broker::BrokerMood;
use super::check::Want;
use super::driver::World;
use super::log::LogMood;
use super::script::Kind;
use super::setup::{Preset, Setup};

/// Plays a story on two Hubs and compares what was told.
pub fn story(script: &str, expected: &str) {
    story_with(World::new(Setup { hubs: 2, preset: Preset::Default }), script, expected);
}

/// Plays a story in a given world and compares what was told.
pub fn story_with(world: World, script: &str, expected: &str) -> World {
    let mut teller = Teller { world, names: BTreeMap::new(), told: BTreeMap::new() };
    let mut out = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        teller.play(line);
        teller.world.settle();
        out.push_str(&teller.news());
    }
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect()
    };
    let (told, wanted) = (lines(&out), lines(expected));
    assert!(told == wanted, "told:\n{}\n\nexpected:\n{}\n", told.join("\n"), wanted.join("\n"));
    teller.world
}

struct Teller {
    world: World,
    names: BTreeMap<String, usize>,
    told: BTreeMap<String, (usize, bool)>,
}

impl Teller {
    fn play(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words.get(at).map_or(0, |w| w.parse().expect("a number"));
        let on = words.iter().position(|word| *word == "on");
        let hub = usize::try_from(on.map_or(0, |at| number(at + 1))).expect("few");
        match words[0] {
            "v1" => self.connect(words[1], hub, Kind::V1),
            "basic" => self.connect(words[1], hub, Kind::Basic),
            "upgrades" => self.connect(words[1], hub, Kind::Upgrades),
            "mute" => self.connect(words[1], hub, Kind::Mute),
            "log" => self.log(&words),
            "broker" => self.broker(&words),
            "lost" => {
                let hub = usize::try_from(number(1)).expect("few");
                self.world.tell(hub, Event::SignalsLost(Lost::All));
            }
            "claim" => self.claim(&words),
            "wait" => self.world.pass(number(1)),
            "drain" => self.world.drain(usize::try_from(number(1)).expect("few"), number(2)),
            name if words[1] == "resumes" => self.resume(name, &words, hub),
            name => {
                let index = self.names[name];
                self.peer(index, &words, line);
            }
        }
        self.world.flush();
    }

    /// The second Hub claims that a room's log has an entry, which may be untrue.
    fn claim(&mut self, words: &[&str]) {
        let room = RoomName::new(words[1]).expect("a room");
        let last = words[2].parse().ok().and_then(Seq::new).expect("small");
        let log = self.world.log.of_room(&room).next().expect("the room has a log");
        let signal = Signal::Grown { epoch: log.epoch.clone(), room, last };
        self.world.tell(0, Event::Signal { from: HubId { node: 1, incarnation: 1 }, signal });
    }

    fn connect(&mut self, name: &str, hub: usize, kind: Kind) {
        let index = self.world.connect(hub, kind, name);
        self.names.insert(name.into(), index);
    }

    fn resume(&mut self, name: &str, words: &[&str], hub: usize) {
        let old = self.names[words[2]];
        let mut rooms = self.world.conns[old].view.positions();
        if let Some(["from", room, seq]) = words.get(3..) {
            let room = RoomName::new(room).expect("a room");
            let seq = seq.parse().expect("a number");
            rooms.get_mut(&room).expect("it was there").seq = Seq::new(seq).expect("small");
        }
        let index = self.world.resume_from(hub, old, rooms);
        self.names.insert(name.into(), index);
    }

    fn peer(&mut self, index: usize, words: &[&str], line: &str) {
        let room = || RoomName::new(words[2]).expect("a room");
        let rest = |n: usize| line.splitn(n + 1, ' ').nth(n).unwrap_or_default();
        let number = |at: usize| words.get(at).map_or(0, |w| w.parse::<u64>().expect("a number"));
        let small = |at: usize| u32::try_from(number(at)).expect("small");
        let world = &mut self.world;
        match words[1] {
            "joins" => world.join(index, &room(), small(3)),
            "leaves" => world.leave(index, &room()),
            "says" => world.say(index, &room(), None, rest(3)),
            "keys" => {
                let key = Key::new(words[3]).expect("a key");
                world.say(index, &room(), Some(key), rest(4));
            }
            "pages" => {
                let place = Seq::new(number(4)).expect("small");
                let range = match words[3] {
                    "latest" => HistoryRange::Latest,
                    "before" => HistoryRange::Before(place),
                    "after" => HistoryRange::After(place),
                    _ => HistoryRange::Around(place),
                };
                world.history(index, &room(), range, small(5));
            }
            "asks" => {
                let (request, want) = match words[2] {
                    "members" => {
                        let room = RoomName::new(words[3]).expect("a room");
                        (Request::Members { room: room.clone() }, Want::Members { room })
                    }
                    "rooms" => (Request::Rooms { after: None }, Want::Rooms),
                    "ping" => (Request::Ping, Want::Pong),
                    other => panic!("nobody can ask {other}"),
                };
                world.request(index, &request, want);
            }
            "types" | "stops" => {
                let request = Request::Typing { room: room(), active: words[1] == "types" };
                world.request(index, &request, Want::Typing);
            }
            "sends" => world.raw(index, rest(2)),
            "goes" => world.cut(index, LeaveReason::Left),
            "cut" => world.cut(index, LeaveReason::Disconnected),
            "stalls" => world.conns[index].reading = false,
            "reads" => world.conns[index].reading = true,
            other => panic!("nobody can {other}"),
        }
    }

    fn log(&mut self, words: &[&str]) {
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        let room = || RoomName::new(words[2]).expect("a room");
        let log = &mut self.world.log;
        match words[1] {
            "prompt" => {
                log.mood = LogMood::Prompt;
                while let Some((hub, event)) = self.world.log.answer(0) {
                    self.world.tell(hub, event);
                    self.world.settle();
                }
            }
            "takes" => log.mood = LogMood::Prompt,
            "holds" => log.mood = LogMood::Holds,
            "holds-answers" => log.mood = LogMood::HoldsAnswers,
            "refuses" => log.mood = LogMood::Refuses,
            "unknown-taken" => log.mood = LogMood::UnknownTaken,
            "unknown-lost" => log.mood = LogMood::UnknownLost,
            "trims" => log.trim(&room(), number(3)),
            "replaced" => log.replace(&room()),
            "answer" | "fail" => {
                let n = usize::try_from(number(2)).expect("few");
                let answer = if words[1] == "fail" { log.fail(n) } else { log.answer(n) };
                let (hub, event) = answer.expect("something waits");
                self.world.tell(hub, event);
            }
            "loses" => {
                let n = usize::try_from(number(2)).expect("few");
                log.answer(n).expect("something waits");
            }
            other => panic!("the log can't {other}"),
        }
    }

    fn broker(&mut self, words: &[&str]) {
        let n = words.get(2).map_or(0, |w| w.parse().expect("a number"));
        let broker = &mut self.world.broker;
        match words[1] {
            "prompt" => {
                broker.mood = BrokerMood::Prompt;
                while let Some(carried) = self.world.broker.take(0) {
                    self.world.deliver(Some(carried));
                    self.world.settle();
                }
            }
            "holds" => broker.mood = BrokerMood::Holds,
            "drops" => broker.mood = BrokerMood::Drops,
            "lose" => broker.lose(n),
            "deliver" => {
                let carried = broker.take(n);
                self.world.deliver(carried);
            }
            "repeat" => {
                let carried = broker.copy(n);
                self.world.deliver(carried);
            }
            other => panic!("the broker can't {other}"),
        }
    }

    /// Returns what was told since the last call, by peers in the order of their names.
    fn news(&mut self) -> String {
        let mut out = String::new();
        for (name, index) in &self.names {
            let conn = &self.world.conns[*index];
            let (seen, closed) = self.told.entry(name.clone()).or_default();
            for line in &conn.view.lines[*seen..] {
                out.push_str(&format!("{name}: {line}\n"));
            }
            *seen = conn.view.lines.len();
            if let Some(code) = conn.closed().filter(|_| !*closed) {
                out.push_str(&format!("{name}: closed {code}\n"));
                *closed = true;
            }
        }
        out
    }
}
