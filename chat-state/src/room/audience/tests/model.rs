//! Any order of events, beside a naive model that counts anew each time.
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::vec;

use super::*;

const MEMBERS: u32 = 8;
const PEERS: u32 = 3;
/// Fewer than there are members, so that samples are not whole.
const TIGHT: Rules = Rules { listed: 4, notice_members: 3, presence_ms: 1000, grace_ms: 3000 };

#[derive(Clone, Debug)]
enum Step {
    Join(u32),
    JoinLagging(u32),
    GoLive(u32),
    Lag(u32),
    JoinAgain(u32),
    Leave(u32),
    LeaveWithDrafts(u32),
    Answered,
    Lose(u32),
    EndAway(u32),
    ShutDown(u32),
    PeerCame(u32, u32),
    PeerWent(u32, u32),
    /// A report of these members (bits) and so many without a name.
    PeerPart(u32, u8, u8),
    PeerLeaving(u32),
    PeerEnded(u32),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (n, p) = (0..MEMBERS, 0..PEERS);
    let step = prop_oneof![
        n.clone().prop_map(Step::Join),
        n.clone().prop_map(Step::JoinLagging),
        n.clone().prop_map(Step::GoLive),
        n.clone().prop_map(Step::Lag),
        n.clone().prop_map(Step::JoinAgain),
        n.clone().prop_map(Step::Leave),
        n.clone().prop_map(Step::LeaveWithDrafts),
        Just(Step::Answered),
        n.clone().prop_map(Step::Lose),
        n.clone().prop_map(Step::EndAway),
        n.clone().prop_map(Step::ShutDown),
        (p.clone(), n.clone()).prop_map(|(p, n)| Step::PeerCame(p, n)),
        (p.clone(), n).prop_map(|(p, n)| Step::PeerWent(p, n)),
        (p.clone(), any::<u8>(), 0..4_u8).prop_map(|(p, bits, more)| Step::PeerPart(p, bits, more)),
        p.clone().prop_map(Step::PeerLeaving),
        p.prop_map(Step::PeerEnded),
        (0..2000_u64).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 0..120)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Live,
    Behind,
    Away,
    ShutDown,
    Departing,
}

#[derive(Clone, Debug, Default)]
struct PeerModel {
    count: u64,
    named: BTreeSet<u32>,
    leaving: Option<Mono>,
}

/// Who is where, as plainly as it can be said.
#[derive(Default)]
struct Model {
    here: BTreeMap<u32, Place>,
    peers: BTreeMap<u32, PeerModel>,
}

impl Model {
    fn count(&self) -> u64 {
        let named: usize = self.peers.values().map(|peer| peer.named.len()).sum();
        let all: u64 = self.peers.values().map(|peer| peer.count).sum();
        self.names().len() as u64 + all - named as u64
    }

    /// Every member that is known by name.
    fn names(&self) -> BTreeSet<u32> {
        let there = self.peers.values().flat_map(|peer| peer.named.iter());
        self.here.keys().chain(there).copied().collect()
    }

    fn is(&self, n: u32, place: Place) -> bool {
        self.here.get(&n) == Some(&place)
    }

    fn is_connected(&self, n: u32) -> bool {
        self.is(n, Place::Live) || self.is(n, Place::Behind)
    }

    /// A member is on a Hub again: those that have left the room have it no more.
    fn came_back(&mut self, n: u32) {
        for peer in self.peers.values_mut().filter(|peer| peer.leaving.is_some()) {
            peer.count -= u64::from(peer.named.remove(&n));
        }
    }

    fn enter(&mut self, n: u32) {
        if self.is(n, Place::Departing) || !self.here.contains_key(&n) {
            self.came_back(n);
        }
        self.here.insert(n, Place::Behind);
    }

    fn peer(&mut self, p: u32) -> &mut PeerModel {
        self.peers.entry(p).or_default()
    }

    fn peer_came(&mut self, p: u32, n: u32) {
        if self.is(n, Place::Away) || self.is(n, Place::ShutDown) {
            self.here.remove(&n);
        }
        self.came_back(n);
        let peer = self.peer(p);
        peer.leaving = None;
        if !peer.named.contains(&n) {
            peer.count += 1;
            if peer.named.len() < TIGHT.listed {
                peer.named.insert(n);
            }
        }
    }

    fn peer_went(&mut self, p: u32, n: u32) {
        let peer = self.peer(p);
        if peer.named.remove(&n) || peer.count > peer.named.len() as u64 {
            peer.count -= 1;
        }
    }

    fn peer_part(&mut self, p: u32, part: &Part) {
        let peer = self.peer(p);
        peer.leaving = None;
        let named = part.members.iter().take(TIGHT.listed);
        peer.named = named.map(|(id, _)| id.0 as u32).collect();
        peer.count = part.count;
    }

    fn pass(&mut self, now: Mono) {
        for peer in self.peers.values_mut() {
            if peer.leaving.take_if(|at| *at <= now).is_some() {
                (peer.count, peer.named) = (0, BTreeSet::new());
            }
        }
    }
}

struct Play {
    stage: Stage,
    model: Model,
}

impl Play {
    fn step(&mut self, step: &Step) {
        let Self { stage, model } = self;
        match *step {
            Step::Join(n) if !model.is_connected(n) => {
                stage.join(n);
                model.enter(n);
                model.here.insert(n, Place::Live);
            }
            Step::JoinLagging(n) if !model.is_connected(n) => {
                stage.enter(n);
                model.enter(n);
            }
            Step::GoLive(n) if model.is(n, Place::Behind) => {
                stage.go_live(n);
                model.here.insert(n, Place::Live);
            }
            Step::Lag(n) if model.is(n, Place::Live) => {
                stage.lag(n);
                model.here.insert(n, Place::Behind);
            }
            Step::JoinAgain(n) if model.is(n, Place::Behind) => stage.join_again(n),
            Step::Leave(n) if model.is_connected(n) => {
                stage.leave(n, LEFT);
                model.here.remove(&n);
            }
            Step::LeaveWithDrafts(n) if model.is_connected(n) => {
                stage.leave(n, Farewell::Told(LeaveReason::Left, Drafts::Unanswered));
                model.here.insert(n, Place::Departing);
            }
            Step::Answered => {
                stage.call(|audience, cx| audience.answered(cx, |_| Drafts::Answered));
                model.here.retain(|_, place| *place != Place::Departing);
            }
            Step::Lose(n) if model.is_connected(n) => {
                stage.lose(n);
                model.here.insert(n, Place::Away);
            }
            Step::EndAway(n) => {
                stage.end_away(n);
                if model.is(n, Place::Away) {
                    model.here.remove(&n);
                }
            }
            Step::ShutDown(n) if model.is_connected(n) => {
                stage.leave(n, Farewell::Silent);
                model.here.insert(n, Place::ShutDown);
            }
            _ => self.peer_step(step),
        }
    }

    fn peer_step(&mut self, step: &Step) {
        let Self { stage, model } = self;
        match *step {
            Step::PeerCame(p, n) => {
                model.peer_came(p, n);
                stage.said(PeerSlot(p), came(n));
            }
            Step::PeerWent(p, n) => {
                model.peer_went(p, n);
                stage.said(PeerSlot(p), went(n));
            }
            Step::PeerPart(p, bits, more) => {
                let members: Vec<u32> = (0..MEMBERS).filter(|n| bits & (1 << n) != 0).collect();
                let more = u64::from(more);
                let mut part = part(&members);
                part.count += more;
                model.peer_part(p, &part);
                stage.reported(PeerSlot(p), part);
            }
            Step::PeerLeaving(p) => {
                let until = stage.now.plus(TIGHT.grace_ms);
                let peer = model.peer(p);
                if peer.count > 0 {
                    peer.leaving = Some(until);
                }
                stage.peer_leaves(PeerSlot(p));
            }
            Step::PeerEnded(p) => {
                stage.call(|audience, cx| audience.end_peer(cx, PeerSlot(p)));
                model.peers.remove(&p);
            }
            Step::Pass(ms) => {
                stage.pass(ms);
                model.pass(stage.now);
            }
            // The step does not fit to where its member is.
            _ => {}
        }
    }

    fn check(&mut self) {
        let Self { stage, model } = self;
        let view = stage.view();
        assert_eq!(view.count, model.count());
        let names = model.names();
        assert_eq!(view.members.len(), names.len().min(TIGHT.listed));
        let listed: BTreeSet<_> = view.members.iter().collect();
        assert_eq!(listed.len(), view.members.len(), "nobody is listed twice");
        let all: BTreeSet<_> = names.iter().map(|n| member(*n)).collect();
        assert!(listed.iter().all(|member| all.contains(*member)));
        let taken = |place: &&Place| !matches!(place, Place::ShutDown | Place::Departing);
        assert_eq!(stage.audience.taken(), model.here.values().filter(taken).count());
        for (place, slot) in stage.audience.live().iter().enumerate() {
            assert_eq!(stage.spots[&slot.slot], Spot::Live(place));
        }
    }
}

proptest! {
    #[test]
    fn at_rest_every_live_member_knows_the_true_count(steps in steps()) {
        let mut play = Play { stage: Stage::new(TIGHT), model: Model::default() };
        for step in &steps {
            play.step(step);
            play.check();
        }
        play.stage.rest();
        play.model.pass(play.stage.now);
        play.check();
        for n in 0..MEMBERS {
            play.step(&Step::GoLive(n));
        }
        play.stage.rest();
        let count = play.model.count();
        for (n, screen) in &play.stage.screens {
            prop_assert_eq!(*screen, count, "member {}", n);
        }
    }
}
