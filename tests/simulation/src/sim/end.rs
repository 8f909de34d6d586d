//! The end: faults stop, everything converges, everybody goes, nothing is left.
use chat_proto::RoomName;
use chat_state::client::{Event, Query, State};
use chat_state::{Event as HubEvent, Stats};

use super::Sim;
use super::broker::Carriage;
use super::log::Disk;
use super::plan::Plan;
use super::tokens::Authority;
use crate::world::{Preset, Want};

/// Within this time after the last fault everybody is back and has everything: the longest that a
/// dead link goes unnoticed, the longest back-off, the longest that anything is held up.
const CONVERGE_MS: u64 = 240_000;
/// Long enough for one more message, or for Hubs to tell each other who is where.
const SETTLE_MS: u64 = 30_000;
/// How often somebody with a small budget is given another while.
const BUSY_MAX: usize = 20;
/// How late signals are while people come and go, how often they do, and the time after which all
/// agree: less than that in which Hubs repeat all they know.
const LATE_MS: u64 = 3000;
const COME_AND_GO: usize = 16;
const AGREE_MS: u64 = 4500;
/// Long enough for every timer of somebody who has gone.
const FORGET_MS: u64 = 200_000;

impl Sim {
    /// Stops all faults and demands that everybody has everything.
    pub(super) fn converge(&mut self, plan: &Plan) {
        self.disk = Disk::default();
        self.broker.carriage = Carriage::default();
        self.authority = Authority::default();
        self.holds = (0, 0);
        for link in &mut self.links {
            link.slow_ms = 0;
            link.swallows = 0;
            link.stalled_until = link.stalled_until.min(self.now);
        }
        // The broker tells each node what that has lost, and tells others nothing.
        for node in 0..self.nodes.len() {
            if let Some(lost) = self.broker.losses.take(node) {
                self.tell(node, HubEvent::SignalsLost(lost));
            }
        }
        self.run_until(self.now + CONVERGE_MS, plan);
        // Whoever has little budget may still have much to say.
        for _ in 0..BUSY_MAX {
            if !self.is_busy() {
                break;
            }
            self.run_until(self.now + SETTLE_MS, plan);
        }
        self.everybody_is_back();
        self.nobody_lacks_anything();
        self.last_words(plan);
        self.everybody_has_everything();
        self.everybody_counts_right(plan);
        self.come_and_go(plan);
        self.everybody_counts_right(plan);
    }

    /// People come and go while what nodes tell each other is late, in the wrong order and twice,
    /// but not lost: nobody has to be told of anything, and all agree a little later.
    fn come_and_go(&mut self, plan: &Plan) {
        if self.setup.preset == Preset::Tiny || self.nodes.len() == 1 {
            return;
        }
        self.broker.carriage = Carriage { slow_ms: LATE_MS, drops: 0, repeats: 300 };
        for _ in 0..COME_AND_GO {
            let who = self.random.index(self.people.len());
            let room = super::apply::room_name(self.random.index(self.setup.rooms));
            let person = &mut self.people[who];
            let event = if person.wants.remove(&room) {
                Event::Leave { room }
            } else {
                person.wants.insert(room.clone());
                Event::Join { room }
            };
            self.act(who, event);
            let until = self.now + self.random.below(LATE_MS / 2);
            self.run_until(until, plan);
        }
        self.broker.carriage = Carriage::default();
        self.run_until(self.now + AGREE_MS, plan);
    }

    /// Tells whether somebody is in the middle of something. With small budgets that may be so for
    /// long: each page and each message has to wait for its turn.
    fn is_busy(&self) -> bool {
        let is_tiny = self.setup.preset == Preset::Tiny;
        self.people.iter().any(|person| {
            let mut seen = person.seen.iter().filter(|(_, seen)| seen.inside);
            let is_behind = seen.any(|(room, seen)| {
                self.log.of_room(room).next().is_some_and(|newest| newest.last() > seen.last)
            });
            !person.open.is_empty() || (is_tiny && is_behind)
        })
    }

    fn everybody_is_back(&self) {
        for (node, this) in self.nodes.iter().enumerate() {
            assert!(this.hub.is_some() && this.drains.is_none(), "node {node} is not back");
        }
        for person in &self.people {
            let client = person.client.as_ref().expect("everybody has come back");
            assert!(
                self.setup.preset == Preset::Tiny || client.state() == State::Online,
                "{} is {:?}",
                person.name,
                client.state()
            );
        }
    }

    /// Without a word more, whoever is in a room has all of it, unless its log was replaced or has
    /// forgotten all of it: that is noticed when something is said.
    fn nobody_lacks_anything(&self) {
        if self.is_busy() {
            return;
        }
        for person in &self.people {
            for (room, seen) in person.seen.iter().filter(|(_, seen)| seen.inside) {
                let newest = self.log.of_room(room).next().expect("the room has a log");
                let is_empty = newest.first > newest.last();
                if *seen.epoch() == newest.epoch && !is_empty {
                    assert_eq!(seen.last, newest.last(), "{} in {room}, unnoticed", person.name);
                }
            }
        }
    }

    /// In each room somebody says one more thing: whoever did not notice that something is
    /// missing does now.
    fn last_words(&mut self, plan: &Plan) {
        for n in 0..self.setup.rooms {
            let room = super::apply::room_name(n);
            let inside = (0..self.people.len()).find(|who| {
                let seen = self.people[*who].seen.get(&room);
                seen.is_some_and(|seen| seen.inside)
            });
            if let Some(who) = inside {
                self.say(who, &room);
            }
        }
        self.run_until(self.now + SETTLE_MS, plan);
    }

    fn everybody_has_everything(&self) {
        let is_tiny = self.setup.preset == Preset::Tiny;
        for person in &self.people {
            let name = &person.name;
            assert!(is_tiny || person.open.is_empty(), "{name} waits for {:?}", person.open);
            for room in &person.wants {
                let seen = person.seen.get(room).filter(|seen| seen.inside);
                let Some(seen) = seen else {
                    assert!(is_tiny, "{name} is not in {room}");
                    continue;
                };
                let newest = self.log.of_room(room).next().expect("the room has a log");
                assert_eq!(*seen.epoch(), newest.epoch, "{name} has another log of {room}");
                assert!(seen.last == newest.last() || self.is_busy(), "{name} in {room}");
            }
            let (wants, seen) = (&person.wants, &person.seen);
            let more = seen.iter().find(|(room, s)| s.inside && !wants.contains(*room));
            assert!(is_tiny || more.is_none(), "{name} is where it does not want to be: {more:?}");
        }
        for link in self.links.iter().filter(|link| link.port.conn.is_some()) {
            assert!(is_tiny || link.port.is_read(), "{link:?} hangs");
            // Credentials are renewed again and again: one may just be on its way.
            let mut due = link.view.due.iter().filter(|(_, want)| **want != Want::Authenticated);
            let open = due.next();
            assert!(link.is_leaky || is_tiny || open.is_none(), "a Hub does not answer {open:?}");
        }
    }

    /// All Hubs agree on the members of each room.
    fn everybody_counts_right(&mut self, plan: &Plan) {
        if self.setup.preset == Preset::Tiny {
            return;
        }
        for room in (0..self.setup.rooms).map(super::apply::room_name) {
            let inside = |who: &usize| self.people[*who].wants.contains(&room);
            let inside: Vec<usize> = (0..self.people.len()).filter(inside).collect();
            for who in &inside {
                self.people[*who].counted = None;
                self.inquire(*who, Query::Members { room: room.clone() });
            }
            self.run_until(self.now + 500, plan);
            let expected = Some(self.members(&room));
            for person in inside.iter().map(|who| &self.people[*who]) {
                let (name, told) = (&person.name, person.told.get(&room).copied());
                assert_eq!(person.counted, expected, "{name} counts wrongly in {room}");
                // What a link swallows and nobody can miss is not told again.
                let is_leaky = person.newest_link().is_some_and(|i| self.links[i].is_leaky);
                assert!(
                    is_leaky || told == expected,
                    "{name} was told of {told:?} in {room}, not of {expected:?}"
                );
            }
        }
    }

    fn members(&self, room: &RoomName) -> u64 {
        let people = self.people.iter().filter(|person| person.wants.contains(room)).count();
        let plain = self.plain.iter().filter(|plain| plain.is_open);
        let plain = plain.filter(|plain| plain.room.as_ref() == Some(room)).count();
        (people + plain) as u64
    }

    /// Lets everybody go and demands that nothing is left.
    pub(super) fn everybody_goes(&mut self, plan: &Plan) {
        for who in 0..self.people.len() {
            self.sign_off(who);
            let stats = self.people[who].client.as_ref().expect("it is there").stats();
            assert_eq!(stats, chat_state::client::Stats::default(), "{}", self.people[who].name);
        }
        for who in 0..self.plain.len() {
            self.plain[who].is_gone = true;
            if let Some(index) = self.plain[who].link {
                self.cut(index, 0);
            }
        }
        self.run_until(self.now + FORGET_MS, plan);
        for (node, this) in self.nodes.iter().enumerate() {
            let hub = this.hub.as_ref().expect("it is there");
            assert_eq!(hub.stats(), Stats::default(), "node {node} is not empty");
            assert!(hub.follows_nothing(), "node {node} follows what it has forgotten");
        }
        self.history_is_right(plan);
    }
}
