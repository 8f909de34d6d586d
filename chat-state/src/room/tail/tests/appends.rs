//! Drafts, batches and outcomes.
use alloc::string::String;
use alloc::vec::Vec;
use std::format;

use super::*;
use crate::log::{AppendError, Appended, Outcome};
use crate::room::tail::appends::{BATCH_BYTES, BATCH_DRAFTS};

fn fail_append(owner: &mut Owner, error: AppendError) {
    let (id, _) = owner.take_question(Purpose::Append);
    owner.call(|tail, cx, out| tail.appended(cx, id, Err(error), out));
}

#[test]
fn drafts_of_a_turn_are_one_batch_and_each_is_settled_before_it_is_delivered() {
    let mut owner = Owner::open(2);
    owner.say(10, "a");
    owner.say(11, "b");
    assert_eq!(owner.told(), ["ready"]);
    owner.end_turn();
    assert_eq!(owner.told(), ["append 2"]);
    owner.answer(Purpose::Append);
    assert_eq!(
        owner.told(),
        [
            "10: Ok(New { seq: Seq(3) })",
            "deliver 3",
            "11: Ok(New { seq: Seq(4) })",
            "deliver 4",
            "committed log1 3,4",
        ]
    );
    assert!(owner.tail.is_settled());
}

#[test]
fn a_tail_without_peers_tells_nobody_of_its_entries() {
    let mut owner = Owner::opening(0, TailConfig { peers: Peers::None, ..config() });
    owner.answer(Purpose::Open);
    owner.append(1, "a");
    owner.told();
    owner.answer(Purpose::Append);
    assert_eq!(owner.told(), ["1: Ok(New { seq: Seq(1) })", "deliver 1"]);
    owner.append(2, "b");
    fail_append(&mut owner, AppendError::Unknown("?".into()));
    owner.answer(Purpose::Head);
    assert!(!owner.told().iter().any(|told| told.starts_with("tell")));
    assert!(owner.tail.is_settled());
}

#[test]
fn one_batch_is_in_flight_and_the_next_one_is_ready_after_its_answer() {
    let mut owner = Owner::open(0);
    owner.append(1, "a");
    owner.told();
    owner.say(2, "b");
    owner.say(3, "c");
    owner.end_turn();
    assert_eq!(owner.told(), [] as [&str; 0]);
    assert_eq!(owner.tail.tickets().copied().collect::<Vec<_>>(), [1, 2, 3]);
    owner.answer(Purpose::Append);
    assert_eq!(owner.told().last().unwrap(), "ready");
    owner.end_turn();
    owner.answer(Purpose::Append);
    assert_eq!(owner.delivered(), [1, 2, 3]);
}

#[test]
fn a_full_batch_does_not_wait_for_the_end_of_the_turn() {
    let mut owner = Owner::open(0);
    for n in 0..600 {
        owner.say(n, &format!("m{n}"));
    }
    assert_eq!(owner.told(), ["ready", "append 256"]);
    assert_eq!(owner.tail.queued(), 600 - BATCH_DRAFTS);
    for _ in 0..2 {
        owner.answer(Purpose::Append);
        owner.end_turn();
    }
    owner.answer(Purpose::Append);
    assert_eq!(owner.delivered(), (1..=600).collect::<Vec<_>>());
    let in_order = |(at, entry): (usize, &Arc<Entry>)| entry.body == draft(&format!("m{at}")).body;
    assert!(owner.delivered.iter().enumerate().all(in_order));
}

#[test]
fn a_batch_is_bounded_in_bytes_and_one_draft_always_fits() {
    let mut owner = Owner::open(0);
    let text = |n: u32, len: usize| format!("{n}{}", "x".repeat(len));
    owner.say(0, &text(0, 2 * BATCH_BYTES));
    for n in 1..=8 {
        owner.say(n, &text(n, BATCH_BYTES / 4));
    }
    let mut batches = Vec::new();
    owner.end_turn();
    while owner.is_asked(Purpose::Append) {
        batches.push(owner.told().pop().unwrap());
        owner.answer(Purpose::Append);
        owner.end_turn();
    }
    assert_eq!(batches, ["append 1", "append 3", "append 3", "append 2"]);
}

#[test]
fn the_queue_says_when_it_is_full() {
    let mut owner = Owner::opening(0, TailConfig { drafts_max: 2, ..config() });
    owner.answer(Purpose::Open);
    let is_full = |owner: &Owner| owner.tail.is_full(&owner.config);
    owner.say(1, "a");
    assert!(!is_full(&owner));
    owner.say(2, "b");
    assert!(owner.is_asked(Purpose::Append), "a batch is not larger than the queue");
    owner.say(3, "c");
    owner.say(4, "d");
    assert!(is_full(&owner));
}

#[test]
fn a_refused_batch_is_settled_as_refused() {
    let mut owner = Owner::open(0);
    owner.append(1, "a");
    owner.say(2, "b");
    owner.told();
    fail_append(&mut owner, AppendError::Refused("full".into()));
    assert_eq!(owner.told(), ["1: Err(Refused)", "ready"]);
    owner.end_turn();
    owner.answer(Purpose::Append);
    assert_eq!(owner.delivered(), [1]);
}

#[test]
fn an_unknown_append_asks_the_head_tells_peers_and_shows_what_was_taken() {
    let mut owner = Owner::open(0);
    owner.append(1, "a");
    owner.told();
    owner.log.append([draft("a")].into());
    fail_append(&mut owner, AppendError::Unknown("?".into()));
    assert_eq!(owner.told(), ["head", "1: Err(Unknown)"]);
    assert!(!owner.tail.is_settled(), "peers are not told yet");
    owner.answer(Purpose::Head);
    assert_eq!(owner.told(), ["tell log1 1", "head answered"]);
    assert!(owner.tail.is_settled());
    owner.pass(20);
    owner.answer(Purpose::Read);
    assert_eq!(owner.delivered(), [1]);
}

#[test]
fn a_head_question_that_was_sent_before_does_not_end_the_duty_to_tell_peers() {
    let mut owner = Owner::open(0);
    owner.append(1, "a");
    owner.call(Tail::check_head);
    fail_append(&mut owner, AppendError::Unknown("?".into()));
    owner.answer(Purpose::Head);
    assert!(!owner.tail.is_settled());
    owner.log.grow();
    owner.told();
    owner.answer(Purpose::Head);
    assert_eq!(owner.told()[0], "tell log1 1");
    assert!(owner.tail.is_settled());
}

#[test]
fn a_duplicate_whose_first_entry_was_missed_is_read() {
    let mut owner = Owner::open(0);
    owner.log.append([draft("a")].into());
    owner.append(1, "a");
    owner.told();
    owner.answer(Purpose::Append);
    assert_eq!(owner.told(), ["1: Ok(Duplicate { seq: Seq(1), ts: Timestamp(1000) })"]);
    owner.pass(20);
    owner.answer(Purpose::Read);
    assert_eq!(owner.delivered(), [1]);
}

#[test]
fn a_conflict_delivers_nothing() {
    let mut owner = Owner::open(0);
    owner.append(1, "sameauth one");
    owner.answer(Purpose::Append);
    owner.append(2, "sameauth two");
    owner.told();
    owner.answer(Purpose::Append);
    assert_eq!(owner.told(), ["2: Ok(Conflict)"]);
    owner.pass(20);
    assert!(owner.asked.is_empty());
}

#[test]
fn an_append_that_is_not_answered_in_time_is_unknown_and_its_late_answer_counts() {
    let mut owner = Owner::open(0);
    let id = owner.append(1, "a");
    owner.say(2, "b");
    owner.pass(29_999);
    owner.told();
    owner.pass(1);
    assert_eq!(owner.told(), ["gave up", "head", "1: Err(Unknown)", "ready"]);
    assert_eq!(owner.gave_up, [id]);
    owner.answer(Purpose::Head);
    owner.end_turn();
    owner.told();
    let appended = owner.log.append([draft("a")].into());
    owner.call(|tail, cx, out| tail.appended(cx, id, Ok(appended), out));
    assert_eq!(owner.told(), ["tell log1 1"]);
    owner.answer(Purpose::Append);
    owner.pass(20);
    owner.answer(Purpose::Read);
    assert_eq!(owner.delivered(), [1, 2]);
}

#[test]
fn a_late_answer_that_is_unknown_asks_the_head_and_one_that_is_refused_does_nothing() {
    let mut owner = Owner::open(0);
    let id = owner.append(1, "a");
    owner.pass(30_000);
    owner.answer(Purpose::Head);
    owner.told();
    let late = |owner: &mut Owner, error| {
        owner.call(|tail, cx, out| tail.appended(cx, id, Err(error), out));
        owner.told()
    };
    assert_eq!(late(&mut owner, AppendError::Refused("full".into())), [] as [&str; 0]);
    assert_eq!(late(&mut owner, AppendError::Unknown("?".into())), ["head"]);
}

#[test]
fn the_append_timer_is_armed_once_for_many_batches() {
    let mut owner = Owner::open(0);
    for n in 0..10 {
        owner.append(n, &format!("m{n}"));
        owner.answer(Purpose::Append);
        owner.now = owner.now.plus(1000);
        assert_eq!(owner.timers[&TailTimer::Append], Mono(30_000));
    }
    owner.append(10, "last");
    owner.told();
    owner.now = Mono(0);
    owner.pass(30_000);
    assert_eq!(owner.told(), [] as [&str; 0], "the last batch has time until 40 000");
    assert_eq!(owner.timers[&TailTimer::Append], Mono(40_000));
    owner.pass(10_000);
    assert_eq!(owner.told(), ["gave up", "head", "10: Err(Unknown)"]);
}

#[test]
fn an_append_of_another_log_settles_its_drafts_and_asks_the_head() {
    let mut owner = Owner::open(0);
    owner.append(1, "a");
    owner.told();
    let (id, _) = owner.take_question(Purpose::Append);
    let other = Appended { epoch: epoch("old"), outcomes: [Outcome::New { seq: seq(9) }].into() };
    owner.call(|tail, cx, out| tail.appended(cx, id, Ok(other), out));
    assert_eq!(owner.told(), ["head", "1: Ok(New { seq: Seq(9) })", "committed old 9"]);
    owner.answer(Purpose::Head);
    assert_eq!(owner.told(), ["head answered"], "the log is still the one that is open");
    assert_eq!(owner.tail.ends().unwrap().epoch, &epoch("log1"));
    owner.append(2, "b");
    owner.answer(Purpose::Append);
    assert_eq!(owner.delivered(), [1]);
}

#[test]
fn a_batch_with_too_few_outcomes_leaves_drafts_unknown() {
    let mut owner = Owner::open(0);
    owner.say(1, "a");
    owner.append(2, "b");
    owner.told();
    let (id, _) = owner.take_question(Purpose::Append);
    let short = owner.log.append([draft("a")].into());
    owner.call(|tail, cx, out| tail.appended(cx, id, Ok(short), out));
    let told: Vec<String> = owner.told();
    assert_eq!(told[0], "head");
    assert_eq!(told[1..4], ["1: Ok(New { seq: Seq(1) })", "deliver 1", "2: Err(Unknown)"]);
    assert!(owner.is_asked(Purpose::Head));
}
