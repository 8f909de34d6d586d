//! Any interleaving of appends, signals, answers, faults and time.
use alloc::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;

use super::*;
use crate::log::AppendError;

/// Something that happens. Numbers choose among what there is, so any part of a script is a script.
#[derive(Clone, Debug)]
enum Step {
    Say,
    EndTurn,
    Answer(usize),
    /// The log carries out what is asked, and its answer is lost.
    LoseAnswer(usize),
    Fail(usize),
    /// An append is carried out and answered as unknown.
    Unknown,
    /// An append that was given up is answered.
    LateAppend(usize),
    PeerCommits,
    /// A peer's signal arrives, perhaps again.
    Signal(usize),
    LoseSignal(usize),
    CheckHead,
    Trim(u64),
    Replace(u64),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Say),
        6 => Just(Step::EndTurn),
        12 => any::<usize>().prop_map(Step::Answer),
        1 => any::<usize>().prop_map(Step::LoseAnswer),
        2 => any::<usize>().prop_map(Step::Fail),
        1 => Just(Step::Unknown),
        1 => any::<usize>().prop_map(Step::LateAppend),
        6 => Just(Step::PeerCommits),
        6 => any::<usize>().prop_map(Step::Signal),
        2 => any::<usize>().prop_map(Step::LoseSignal),
        1 => Just(Step::CheckHead),
        1 => any::<u64>().prop_map(Step::Trim),
        1 => (0..5_u64).prop_map(Step::Replace),
        4 => (0..40_u64).prop_map(Step::Pass),
        1 => (0..40_000_u64).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 0..120)
}

/// Checks what the tail asks for against the log.
#[derive(Default)]
struct Checker {
    /// The last place of the open log that was delivered or skipped.
    cursor: Option<u64>,
    settled: Vec<u32>,
    /// How much of the owner's notes was checked.
    delivered: usize,
}

impl Checker {
    fn check(&mut self, owner: &mut Owner) {
        for told in owner.told() {
            let (word, rest) = told.split_once(' ').unwrap_or((&told, ""));
            match word {
                "deliver" => {
                    let entry = &owner.delivered[self.delivered];
                    self.delivered += 1;
                    let cursor = self.cursor.unwrap_or_else(|| entry.seq.get() - 1);
                    assert_eq!(entry.seq.get(), cursor + 1, "in order, once and without holes");
                    self.cursor = Some(cursor + 1);
                }
                "skipped" => {
                    let (from, to) = rest.split_once('-').unwrap();
                    assert_eq!(from.parse::<u64>().unwrap(), self.cursor.unwrap() + 1);
                    self.cursor = Some(to.parse().unwrap());
                }
                "opened" => {
                    assert!(self.cursor.is_none_or(|c| c == owner.tail.cursor().get()));
                    self.cursor = Some(owner.tail.cursor().get());
                }
                "replaced" => self.cursor = None,
                _ => {
                    if let Some(ticket) = word.strip_suffix(':') {
                        self.settled.push(ticket.parse().unwrap());
                    }
                }
            }
        }
    }
}

fn pick<T>(all: &[T], n: usize) -> Option<usize> {
    (!all.is_empty()).then(|| n % all.len())
}

struct Run {
    owner: Owner,
    checker: Checker,
    /// Signals on their way: (epoch, entry).
    signals: Vec<(Epoch, Arc<Entry>)>,
    said: u32,
}

impl Run {
    fn new() -> Self {
        let mut owner = Owner::opening(3, config());
        owner.config.drafts_max = 1000;
        Self { owner, checker: Checker::default(), signals: Vec::new(), said: 0 }
    }

    fn step(&mut self, step: &Step) {
        let owner = &mut self.owner;
        match *step {
            Step::Say => {
                owner.say(self.said, &format!("m{}", self.said));
                self.said += 1;
            }
            Step::EndTurn => owner.end_turn(),
            Step::Answer(n) => {
                if let Some(at) = pick(&owner.asked, n) {
                    owner.answer(owner.asked[at].0.purpose);
                }
            }
            Step::LoseAnswer(n) => {
                if let Some(at) = pick(&owner.asked, n)
                    && let Question::Append(drafts) = &owner.asked[at].1
                {
                    let drafts = drafts.clone();
                    owner.log.append(drafts);
                }
            }
            Step::Fail(n) => self.fail(n),
            Step::Unknown => {
                if owner.is_asked(Purpose::Append) {
                    let (id, ask) = owner.take_question(Purpose::Append);
                    let Question::Append(drafts) = ask else { unreachable!() };
                    owner.log.append(drafts);
                    let error = AppendError::Unknown("?".into());
                    owner.call(|tail, cx, out| tail.appended(cx, id, Err(error), out));
                }
            }
            Step::LateAppend(n) => {
                if let Some(at) = pick(&owner.gave_up, n) {
                    let id = owner.gave_up.remove(at);
                    let late = owner.log.append([draft(&format!("late{n}"))].into());
                    owner.call(|tail, cx, out| tail.appended(cx, id, Ok(late), out));
                }
            }
            Step::PeerCommits => {
                let entry = owner.log.grow();
                self.signals.push((owner.log.head().epoch, entry));
            }
            Step::Signal(n) => self.signal(n),
            Step::LoseSignal(n) => {
                if let Some(at) = pick(&self.signals, n) {
                    self.signals.remove(at);
                }
            }
            Step::CheckHead => owner.call(Tail::check_head),
            Step::Trim(n) => {
                let last = owner.log.last().get();
                owner.log.trim(n % (last + 1));
            }
            Step::Replace(len) => owner.log.replace(len),
            Step::Pass(ms) => owner.pass(ms),
        }
        self.checker.check(&mut self.owner);
    }

    fn fail(&mut self, n: usize) {
        let owner = &mut self.owner;
        let Some(at) = pick(&owner.asked, n) else { return };
        match owner.asked[at].0.purpose {
            Purpose::Append => {
                let (id, _) = owner.take_question(Purpose::Append);
                let error = AppendError::Refused("full".into());
                owner.call(|tail, cx, out| tail.appended(cx, id, Err(error), out));
            }
            read @ (Purpose::Open | Purpose::Read | Purpose::Head) => owner.fail(read),
        }
    }

    /// Delivers a signal; every third one stays and comes again.
    fn signal(&mut self, n: usize) {
        let Some(at) = pick(&self.signals, n) else { return };
        let (epoch, entry) = self.signals[at].clone();
        if !n.is_multiple_of(3) {
            self.signals.remove(at);
        }
        self.owner.call(|tail, cx, out| tail.committed(cx, &epoch, &[entry], out));
    }

    /// Heals everything and lets the tail come to rest.
    fn settle(&mut self) {
        self.owner.call(Tail::check_head);
        for _ in 0..1000 {
            self.owner.end_turn();
            if let Some((id, _)) = self.owner.asked.first() {
                let purpose = id.purpose;
                self.owner.answer(purpose);
            } else if !self.owner.pass_to_next_timer() {
                break;
            }
            self.checker.check(&mut self.owner);
        }
        self.checker.check(&mut self.owner);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn entries_are_delivered_in_order_and_the_tail_reaches_the_end_of_the_log(script in steps()) {
        let mut run = Run::new();
        for step in script {
            run.step(&step);
        }
        run.settle();
        let Run { owner, mut checker, said, .. } = run;
        prop_assert!(owner.asked.is_empty() && owner.timers.is_empty());
        prop_assert!(owner.tail.is_settled());
        let ends = owner.tail.ends().expect("the log can be opened");
        prop_assert_eq!(ends.epoch, &owner.log.head().epoch);
        prop_assert_eq!(ends.cursor, owner.log.last());
        prop_assert_eq!(checker.cursor, Some(owner.log.last().get()));
        checker.settled.sort_unstable();
        let each_once: Vec<_> = (0..said).collect();
        prop_assert_eq!(checker.settled, each_once, "each draft is settled once");
    }
}
