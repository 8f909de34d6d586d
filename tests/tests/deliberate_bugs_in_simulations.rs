//! The simulation can fail: given Hubs or Clients with one deliberate bug, one of the first plans
//! finds it.
use std::panic::set_hook;

use chat_state::Bug;
use chat_tests::sim::{Focus, failure};

/// Plans within which each bug has to be found: this many seeds of every kind.
const SEEDS: u64 = 100;

/// Those that a simulation of right servers can't find; `client_scenarios` finds each of them.
const OUT_OF_REACH: [(Bug, &str); 3] = [
    (Bug::ComeBackUnasked, "no right server tells the present connection to stay away"),
    (Bug::SameAttempt, "a Hub waits for a late hello no longer than the Client that gave it up"),
    (Bug::TakeHeadsOfAnotherLog, "a right server closes before it tells of another log"),
];

/// Returns how many plans were played until one went wrong.
fn first_found(bug: Bug) -> Option<(u64, Focus, String)> {
    let mut plans = 0;
    for seed in 0..SEEDS {
        for focus in Focus::ALL {
            plans += 1;
            if let Some(what) = failure(&focus.plan(seed).with_bug(bug)) {
                return Some((plans, focus, what));
            }
        }
    }
    None
}

#[test]
fn each_is_found_within_the_first_plans() {
    assert!(Bug::ALL.len() >= 15 && Bug::OF_CLIENT.len() >= 15);
    let mut missed = Vec::new();
    set_hook(Box::new(|_| {}));
    let in_reach = |bug: &&Bug| OUT_OF_REACH.iter().all(|(other, _)| other != *bug);
    for bug in Bug::ALL.iter().chain(Bug::OF_CLIENT).filter(in_reach) {
        match first_found(*bug) {
            Some((plans, focus, what)) => {
                let what: String = what.chars().take(100).collect();
                let what = what.replace('\n', " ");
                println!("{bug:?} is found by plan {plans}, {focus:?}: {what}");
            }
            None => missed.push(*bug),
        }
    }
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "not found in {SEEDS} seeds of each kind: {missed:?}");
}
