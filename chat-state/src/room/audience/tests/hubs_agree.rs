//! Several audiences of one room that hear each other, late and in any order between Hubs.
use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const HUBS: usize = 3;
const MEMBERS: u32 = 6;

#[derive(Clone, Debug)]
enum Step {
    /// A member connects to a Hub, wherever it was before.
    Connect(u32, usize),
    Leave(u32),
    Lose(u32),
    /// A Hub shuts down and starts again.
    Restart(usize),
    Deliver(usize, usize),
    /// A Hub asks another for its part.
    Ask(usize, usize),
    Pass(u64),
}

enum Mail {
    Say(Say),
    Part(Part),
    /// The sender shuts down.
    Leaves,
}

struct World {
    hubs: Vec<Stage>,
    /// What one Hub has sent to another one.
    mail: BTreeMap<(usize, usize), VecDeque<Mail>>,
    /// The Hub that a member is connected to.
    at: BTreeMap<u32, usize>,
}

impl World {
    fn new() -> Self {
        let hubs = (0..HUBS).map(|_| Stage::new(RULES)).collect();
        Self { hubs, mail: BTreeMap::new(), at: BTreeMap::new() }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Connect(n, hub) => {
                if let Some(before) = self.at.insert(n, hub) {
                    self.hubs[before].lose(n);
                }
                self.hubs[hub].join(n);
            }
            Step::Leave(n) => {
                if let Some(hub) = self.at.remove(&n) {
                    self.hubs[hub].leave(n, LEFT);
                }
            }
            Step::Lose(n) => {
                if let Some(hub) = self.at.remove(&n) {
                    self.hubs[hub].lose(n);
                }
            }
            Step::Restart(hub) => self.restart(hub),
            Step::Deliver(from, to) => self.deliver(from, to),
            Step::Ask(from, to) if from != to => {
                let part = self.hubs[to].call(|audience, cx| audience.part(cx));
                self.mail.entry((to, from)).or_default().push_back(Mail::Part(part));
            }
            Step::Ask(..) => {}
            Step::Pass(ms) => self.hubs.iter_mut().for_each(|hub| hub.pass(ms)),
        }
        for hub in 0..HUBS {
            self.post(hub);
        }
    }

    /// Sends what a Hub has to say to the others.
    fn post(&mut self, from: usize) {
        let said = std::mem::take(&mut self.hubs[from].said);
        for say in said {
            for to in (0..HUBS).filter(|to| *to != from) {
                self.mail.entry((from, to)).or_default().push_back(Mail::Say(say.clone()));
            }
        }
    }

    fn deliver(&mut self, from: usize, to: usize) {
        let mail = self.mail.get_mut(&(from, to)).and_then(VecDeque::pop_front);
        let peer = PeerSlot(from as u32);
        match mail {
            Some(Mail::Say(say)) => self.hubs[to].said(peer, say),
            Some(Mail::Part(part)) => self.hubs[to].reported(peer, part),
            Some(Mail::Leaves) => self.hubs[to].peer_leaves(peer),
            None => {}
        }
    }

    /// The members leave in silence, and the room begins anew, with the parts of the others.
    fn restart(&mut self, hub: usize) {
        let here: Vec<u32> =
            self.at.iter().filter(|(_, at)| **at == hub).map(|(n, _)| *n).collect();
        for n in here {
            self.at.remove(&n);
            self.hubs[hub].leave(n, Farewell::Silent);
        }
        (0..MEMBERS).for_each(|n| {
            self.hubs[hub].call(|audience, cx| audience.end_away(cx, id(n), Farewell::Silent));
        });
        self.post(hub);
        let now = self.hubs[hub].now;
        let audience = Audience::new(Visibility::Shown, RULES.listed);
        self.hubs[hub] = Stage { now, ..Stage::with(audience, RULES) };
        for other in (0..HUBS).filter(|other| *other != hub) {
            let begins = Part { count: 0, members: Vec::new() };
            let mail = self.mail.entry((hub, other)).or_default();
            mail.extend([Mail::Leaves, Mail::Part(begins)]);
            self.step(&Step::Ask(hub, other));
        }
    }

    /// Delivers everything, and lets every time run out.
    fn rest(&mut self) {
        for _ in 0..3 {
            for (from, to) in (0..HUBS).flat_map(|from| (0..HUBS).map(move |to| (from, to))) {
                while self.mail.get(&(from, to)).is_some_and(|mail| !mail.is_empty()) {
                    self.step(&Step::Deliver(from, to));
                }
            }
            for hub in 0..HUBS {
                (0..MEMBERS).for_each(|n| self.hubs[hub].end_away(n));
                self.hubs[hub].rest();
                self.post(hub);
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..MEMBERS, 0..HUBS).prop_map(|(n, hub)| Step::Connect(n, hub)),
        1 => (0..MEMBERS).prop_map(Step::Leave),
        2 => (0..MEMBERS).prop_map(Step::Lose),
        1 => (0..HUBS).prop_map(Step::Restart),
        8 => (0..HUBS, 0..HUBS).prop_map(|(from, to)| Step::Deliver(from, to)),
        1 => (0..HUBS, 0..HUBS).prop_map(|(from, to)| Step::Ask(from, to)),
        1 => (0..3000_u64).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 0..80)
}

proptest! {
    #[test]
    fn once_all_is_heard_every_hub_counts_every_member_once(steps in steps()) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        world.rest();
        let count = world.at.len() as u64;
        for (n, hub) in world.hubs.iter_mut().enumerate() {
            let view = hub.view();
            prop_assert_eq!(view.count, count, "on Hub {}", n);
            prop_assert_eq!(view.members.len() as u64, count, "on Hub {}", n);
            for (member, screen) in &hub.screens {
                prop_assert_eq!(*screen, count, "member {} on Hub {}", member, n);
            }
        }
    }
}
