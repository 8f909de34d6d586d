//! The scripts that prove the guarantees can fail: given a Hub with one deliberate bug, one of the
//! first few seeds finds it.
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

use chat_state::Bug;
use chat_tests::sim::Random;
use chat_tests::world::{Script, closes_have_causes, run, run_with};

/// Seeds within which each bug has to be found.
const SEEDS: u64 = 400;

/// Steps of one script.
const STEPS: usize = 120;

/// The script of a seed: any bytes are one.
fn script(seed: u64) -> Script {
    let mut random = Random::new(seed);
    let bytes: Vec<u8> = (0..STEPS * 6 / 8 + 1).flat_map(|_| random.bits().to_le_bytes()).collect();
    Script::from_bytes(&bytes)
}

/// Returns the first seed whose script goes wrong.
fn first_found(bug: Bug) -> Option<u64> {
    (0..SEEDS).find(|seed| {
        let script = script(*seed);
        let played = catch_unwind(AssertUnwindSafe(|| {
            let world = run_with(bug, &script);
            closes_have_causes(&world, &script);
        }));
        played.is_err()
    })
}

#[test]
fn each_is_found_within_the_first_seeds() {
    // Without a bug nothing is found.
    for seed in 0..SEEDS / 4 {
        let script = script(seed);
        let world = run(&script);
        closes_have_causes(&world, &script);
    }
    assert!(Bug::ALL.len() >= 15);
    let mut missed = Vec::new();
    set_hook(Box::new(|_| {}));
    for bug in Bug::ALL {
        match first_found(*bug) {
            Some(seed) => println!("{bug:?} is found by seed {seed}"),
            None => missed.push(*bug),
        }
    }
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "not found in {SEEDS} seeds: {missed:?}");
}
