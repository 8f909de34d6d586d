//! Entries that are late, early, repeated, missing or trimmed.
use super::*;
use crate::room::tail::PageOf;

#[test]
fn entries_are_delivered_in_order_and_once() {
    let mut owner = Owner::open(2);
    owner.committed("log1", [3, 4]);
    owner.committed("log1", [4]);
    owner.committed("log1", [2]);
    owner.committed("log1", [6]);
    owner.committed("log1", [7]);
    owner.committed("log1", [5]);
    assert_eq!(owner.delivered(), [3, 4, 5, 6, 7]);
    owner.pass(20);
    assert!(owner.asked.is_empty(), "the hole was filled in time");
}

#[test]
fn missing_entries_are_read_after_a_moment() {
    let mut owner = Owner::open(0);
    (0..3).for_each(|_| drop(owner.log.grow()));
    owner.committed("log1", [3]);
    owner.pass(19);
    assert!(owner.asked.is_empty());
    owner.pass(1);
    assert_eq!(owner.told(), ["read 1-3"]);
    owner.answer(Purpose::Read);
    assert_eq!(owner.told(), ["deliver 1", "deliver 2", "deliver 3"]);
    assert!(!owner.is_asked(Purpose::Read));
}

#[test]
fn without_a_wait_the_log_is_read_at_once() {
    let mut owner = Owner::opening(0, TailConfig { hole_ms: 0, ..config() });
    owner.answer(Purpose::Open);
    owner.log.grow();
    owner.told();
    owner.grown("log1", 1);
    assert_eq!(owner.told(), ["read 1-1"]);
}

#[test]
fn many_missing_entries_are_read_page_by_page() {
    let mut owner = Owner::open(0);
    (0..10).for_each(|_| drop(owner.log.grow()));
    owner.grown("log1", 10);
    owner.pass(20);
    for _ in 0..2 {
        owner.answer(Purpose::Read);
        assert!(!owner.is_asked(Purpose::Read), "the next page is read in another turn");
        owner.pass(0);
    }
    owner.answer(Purpose::Read);
    assert_eq!(owner.delivered(), (1..=10).collect::<Vec<_>>());
}

#[test]
fn entries_that_wait_are_bounded_and_the_rest_is_read() {
    let mut owner = Owner::open(0);
    owner.config.recent = Bounds { entries: 1000, bytes: 1 << 20 };
    (0..3000).for_each(|_| drop(owner.log.grow()));
    owner.committed("log1", 2..=3000);
    owner.committed("log1", [1]);
    let delivered = owner.delivered().len();
    assert_eq!(delivered, 1 + 1024);
    owner.pass(20);
    while owner.is_asked(Purpose::Read) {
        owner.answer(Purpose::Read);
        owner.pass(0);
    }
    assert_eq!(owner.delivered(), (1..=3000).collect::<Vec<_>>());
}

#[test]
fn entries_that_were_trimmed_are_told_as_skipped() {
    let mut owner = Owner::open(0);
    (0..9).for_each(|_| drop(owner.log.grow()));
    owner.log.trim(5);
    owner.committed("log1", [2, 8]);
    owner.pass(20);
    owner.told();
    owner.answer(Purpose::Read);
    assert_eq!(owner.told(), ["skipped 1-5", "deliver 6", "deliver 7", "deliver 8"]);
    assert_eq!(owner.tail.ends().unwrap().first, seq(6));
    assert!(owner.tail.recent().covers(seq(6), seq(8)));
    assert!(!owner.tail.recent().covers(seq(5), seq(8)));
}

#[test]
fn a_log_that_was_trimmed_to_its_end_is_skipped_to_its_end() {
    let mut owner = Owner::open(0);
    (0..3).for_each(|_| drop(owner.log.grow()));
    owner.log.trim(3);
    owner.grown("log1", 3);
    owner.pass(20);
    owner.told();
    owner.answer(Purpose::Read);
    assert_eq!(owner.told(), ["skipped 1-3"]);
    owner.committed("log1", [4]);
    assert_eq!(owner.delivered(), [4]);
}

#[test]
fn failed_reads_are_retried_with_growing_waits() {
    let mut owner = Owner::open(0);
    owner.log.grow();
    owner.grown("log1", 1);
    owner.pass(20);
    for wait in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
        owner.fail(Purpose::Read);
        owner.pass(wait - 1);
        assert!(!owner.is_asked(Purpose::Read), "before {wait} ms");
        owner.pass(1);
        assert!(owner.is_asked(Purpose::Read), "after {wait} ms");
    }
    owner.answer(Purpose::Read);
    assert_eq!(owner.delivered(), [1]);
    owner.log.grow();
    owner.grown("log1", 2);
    owner.pass(20);
    owner.fail(Purpose::Read);
    owner.pass(500);
    assert!(owner.is_asked(Purpose::Read), "a success resets the wait");
}

#[test]
fn a_read_that_is_not_answered_in_time_has_failed_and_its_late_answer_is_ignored() {
    let mut owner = Owner::open(0);
    owner.log.grow();
    owner.grown("log1", 1);
    owner.pass(20);
    let first = owner.question(Purpose::Read);
    owner.pass(9_999);
    assert!(owner.is_asked(Purpose::Read));
    owner.pass(1);
    assert!(!owner.is_asked(Purpose::Read));
    let range = crate::log::ReadRange {
        from: seq(1),
        to: seq(1),
        limit: 1,
        bytes: 99,
        keep: crate::log::Keep::Oldest,
    };
    let page = owner.log.read(range);
    owner.call(|tail, cx, out| tail.page_read(cx, first, Ok(page), out));
    assert_eq!(owner.delivered(), [] as [u64; 0]);
    owner.pass(500);
    owner.answer(Purpose::Read);
    assert_eq!(owner.delivered(), [1]);
}

#[test]
fn a_promise_that_the_log_does_not_keep_delays_no_other_hole() {
    let mut owner = Owner::open(0);
    owner.grown("log1", 4);
    owner.pass(20);
    for _ in 0..2 {
        owner.answer(Purpose::Read);
        while !owner.is_asked(Purpose::Read) {
            assert!(owner.pass_to_next_timer());
        }
    }
    owner.answer(Purpose::Read);
    (0..3).for_each(|_| drop(owner.log.grow()));
    owner.committed("log1", [1]);
    owner.committed("log1", [3]);
    owner.pass(20);
    owner.answer(Purpose::Read);
    assert_eq!(owner.delivered(), [1, 2, 3]);
}

#[test]
fn a_place_that_the_log_never_has_costs_a_few_reads() {
    let mut owner = Owner::open(0);
    owner.grown("log1", 1_000_000);
    owner.committed("log1", [999_999]);
    let mut reads = 0;
    for n in 1..=50 {
        owner.log.grow();
        owner.committed("log1", [n]);
        owner.pass(20);
        if owner.is_asked(Purpose::Read) {
            reads += 1;
            owner.answer(Purpose::Read);
        }
    }
    assert_eq!(owner.delivered(), (1..=50).collect::<Vec<_>>());
    assert_eq!(reads, 3);
    assert!(owner.told().contains(&"dropped entry 999999".into()));
    assert_eq!(owner.tail.known(), Some(position("log1", 50)));
}

#[test]
fn what_is_named_while_a_mistake_is_found_is_still_read() {
    let mut owner = Owner::open(0);
    owner.grown("log1", 9);
    for _ in 0..3 {
        while !owner.is_asked(Purpose::Read) {
            assert!(owner.pass_to_next_timer());
        }
        let (id, _) = owner.take_question(Purpose::Read);
        let page = owner.log.open(owner.config.recent);
        // Its peer's hint overtakes the answer, which does not have the entry yet.
        owner.log.grow();
        let last = owner.log.head().last;
        owner.grown("log1", last.get());
        owner.call(|tail, cx, out| tail.page_read(cx, id, Ok(page), out));
    }
    owner.pass(500);
    owner.pass(0);
    if owner.is_asked(Purpose::Read) {
        owner.answer(Purpose::Read);
    }
    assert_eq!(owner.delivered(), [1, 2, 3]);
}

#[test]
fn pages_that_the_owner_reads_move_the_first_entry_and_never_replace_the_log() {
    let mut owner = Owner::open(9);
    owner.log.trim(4);
    let head = owner.log.head();
    owner.call(|tail, cx, out| assert_eq!(tail.note_ends(cx, &head, out), PageOf::ThisLog));
    assert_eq!(owner.tail.ends().unwrap().first, seq(5));
    let old = crate::log::LogHead { epoch: epoch("log0"), ..head };
    owner.call(|tail, cx, out| assert_eq!(tail.note_ends(cx, &old, out), PageOf::AnotherLog));
    assert_eq!(owner.told(), ["head"]);
}
