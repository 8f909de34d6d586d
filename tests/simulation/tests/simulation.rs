//! The simulation of Hubs and Clients, a thousand plans for each guarantee.
//!
//! `CHAT_SEEDS=n` plays n plans of each kind, `CHAT_FIRST=n` begins at that seed. What fails is
//! made short and printed with the one command that plays it again.
use std::env::var;
use std::io::{Write, stderr};
use std::time::Instant;

use chat_simulation::sim::{Focus, Plan, What, failure, run, shrink, shrink_with, trace};

/// Plans of each kind, if nothing else is asked for.
const SEEDS: u64 = 1000;

fn stopwatch() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "for a figure that is shown, not for a deadline")]
    Instant::now()
}

fn number(name: &str) -> Option<u64> {
    let text = var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Plays the plans of a kind.
fn prove(focus: Focus) {
    let first = number("CHAT_FIRST").unwrap_or(0);
    let seeds = number("CHAT_SEEDS").unwrap_or(SEEDS);
    let (begun, mut events, mut ms, mut entries) = (stopwatch(), 0, 0, 0);
    for seed in first..first + seeds {
        let plan = focus.plan(seed);
        let played = std::panic::catch_unwind(|| run(&plan));
        let Ok(report) = played else { give_up(&plan) };
        events += report.events;
        ms += report.ms;
        entries += report.entries;
    }
    let rate = u128::from(events) * 1000 / begun.elapsed().as_millis().max(1);
    // Past the capture of output: the figure is of interest when all is well.
    let shown = writeln!(
        stderr(),
        "{focus:?}: {seeds} plans from {first}, {events} events, {rate} a second, \
         {entries} entries, {} simulated hours",
        ms / 3_600_000
    );
    shown.expect("stderr takes a line");
}

/// Makes a plan that fails short and says how to play it again.
fn give_up(plan: &Plan) -> ! {
    let (focus, seed) = (plan.focus, plan.seed);
    let name = format!("{focus:?}");
    let Some(found) = shrink(plan) else {
        panic!("{name} seed {seed} failed, but not when it was played again")
    };
    let short = plan.only(&found.keep);
    let keep: Vec<String> = found.keep.iter().map(ToString::to_string).collect();
    panic!(
        "{name} seed {seed}: {}\n\n{short:#?}\n\nCHAT_FOCUS={name} CHAT_SEED={seed} CHAT_KEEP={} \
         cargo test -p chat-simulation --test simulation again -- --nocapture\n",
        found.what,
        keep.join(",")
    );
}

/// Plays one plan again, with its trace: `CHAT_FOCUS`, `CHAT_SEED` and, for a short one,
/// `CHAT_KEEP`; `CHAT_TRACE=FILE` keeps what every machine did. Without them it plays a plan that
/// holds, so that it is known to work.
#[test]
fn again() {
    let wanted = var("CHAT_FOCUS").unwrap_or_else(|_| "Order".into());
    let focus = Focus::ALL.into_iter().find(|focus| format!("{focus:?}") == wanted);
    let focus = focus.unwrap_or_else(|| panic!("CHAT_FOCUS={wanted} is none of {:?}", Focus::ALL));
    let mut plan = focus.plan(number("CHAT_SEED").unwrap_or(0));
    if let Ok(keep) = var("CHAT_KEEP") {
        let number = |n: &str| n.parse().unwrap_or_else(|_| panic!("CHAT_KEEP has {n:?} in it"));
        let keep: Vec<usize> = keep.split(',').filter(|n| !n.is_empty()).map(number).collect();
        plan = plan.only(&keep);
    }
    if let Ok(file) = var("CHAT_TRACE") {
        chat_simulation::sim::trace_to(&plan, file.as_ref());
    }
    assert_eq!(failure(&plan), None, "{plan:#?}");
}

#[test]
fn a_failure_is_made_short() {
    let plan = Focus::Once.plan(3);
    let says = |plan: &Plan| plan.steps.iter().any(|s| matches!(s.what, What::Say { .. }));
    let joins = |plan: &Plan| plan.steps.iter().any(|s| matches!(s.what, What::Join { .. }));
    let judge = |plan: &Plan| (says(plan) && joins(plan)).then(|| "joins and says".to_owned());
    let found = shrink_with(&plan, judge).expect("the plan fails by this judge");
    assert_eq!(found.keep.len(), 2, "one step of each kind is enough");
    assert_eq!(judge(&plan.only(&found.keep)), Some(found.what));
    assert!(shrink(&plan).is_none(), "a plan that holds is not made short");
}

#[test]
fn g1_order() {
    prove(Focus::Order);
}

#[test]
fn g2_ack() {
    prove(Focus::Ack);
}

#[test]
fn g3_once() {
    prove(Focus::Once);
}

#[test]
fn g4_no_silent_loss() {
    prove(Focus::NoSilentLoss);
}

#[test]
fn g5_resume() {
    prove(Focus::Resume);
}

#[test]
fn g6_atomic_join() {
    prove(Focus::AtomicJoin);
}

#[test]
fn g7_history() {
    prove(Focus::History);
}

#[test]
fn g9_bounded() {
    prove(Focus::Bounded);
}

#[test]
fn g10_fair() {
    prove(Focus::Fair);
}

#[test]
fn g11_presence() {
    prove(Focus::Presence);
}

#[test]
fn g12_close() {
    prove(Focus::Close);
}

#[test]
fn g13_drain() {
    prove(Focus::Drain);
}

#[test]
fn g15_deterministic() {
    prove(Focus::Deterministic);
    for seed in 0..20 {
        let plan = Focus::Deterministic.plan(seed);
        let (first, second) = (trace(&plan).trace, trace(&plan).trace);
        assert!(first.is_some() && first == second, "seed {seed} was played in two ways");
    }
}
