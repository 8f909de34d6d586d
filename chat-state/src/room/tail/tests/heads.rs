//! Head questions, and the positions that they decide.
use super::*;
use crate::room::tail::{Located, Lookup, PageOf};

fn locate(owner: &mut Owner, lookup: &mut Lookup) -> Located {
    let mut located = Located::Pending;
    owner.call(|tail, cx, out| located = tail.locate(cx, lookup, out));
    located
}

#[test]
fn positions_within_the_log_are_located_at_once() {
    let mut owner = Owner::open(9);
    owner.log.trim(4);
    let head = owner.log.head();
    owner.call(|tail, cx, out| assert_eq!(tail.note_ends(cx, &head, out), PageOf::ThisLog));
    for (at, expected) in [
        (3, Located::Truncated),
        (4, Located::Reached),
        (6, Located::Reached),
        (9, Located::Reached),
    ] {
        let located = locate(&mut owner, &mut Lookup::new(position("log1", at)));
        assert_eq!(located, expected, "{at}");
    }
    assert!(owner.asked.is_empty());
}

#[test]
fn a_position_above_the_cursor_is_decided_by_the_logs_head() {
    let mut owner = Owner::open(4);
    (0..2).for_each(|_| drop(owner.log.grow()));
    // A peer's word alone decides nothing.
    owner.grown("log1", 8);
    let mut real = Lookup::new(position("log1", 6));
    let mut invented = Lookup::new(position("log1", 7));
    assert_eq!(locate(&mut owner, &mut real), Located::Pending);
    assert_eq!(locate(&mut owner, &mut invented), Located::Pending);
    owner.answer(Purpose::Head);
    assert_eq!(locate(&mut owner, &mut real), Located::Pending, "its entries are on their way");
    assert_eq!(locate(&mut owner, &mut invented), Located::Pending, "it came after the question");
    owner.answer(Purpose::Head);
    assert_eq!(locate(&mut owner, &mut invented), Located::Beyond);
    owner.pass(20);
    owner.answer(Purpose::Read);
    assert_eq!(locate(&mut owner, &mut real), Located::Reached);
}

#[test]
fn a_position_of_another_log_is_decided_by_the_logs_head() {
    let mut owner = Owner::open(4);
    let mut lookup = Lookup::new(position("log0", 2));
    assert_eq!(locate(&mut owner, &mut lookup), Located::Pending);
    owner.answer(Purpose::Head);
    assert_eq!(locate(&mut owner, &mut lookup), Located::OtherLog);
}

#[test]
fn an_answer_settles_everybody_who_asked_before_its_question_was_sent() {
    let mut owner = Owner::open(4);
    let mut first = Lookup::new(position("log1", 5));
    locate(&mut owner, &mut first);
    let mut later = Lookup::new(position("log1", 6));
    locate(&mut owner, &mut later);
    owner.answer(Purpose::Head);
    assert_eq!(locate(&mut owner, &mut first), Located::Beyond);
    assert_eq!(locate(&mut owner, &mut later), Located::Pending);
    assert!(owner.is_asked(Purpose::Head), "somebody asked meanwhile");
    owner.answer(Purpose::Head);
    assert_eq!(locate(&mut owner, &mut later), Located::Beyond);
    assert!(!owner.is_asked(Purpose::Head), "nobody waits");
}

#[test]
fn bogus_positions_delay_nobody_who_asked_earlier() {
    let mut owner = Owner::open(4);
    let mut waiting: Vec<Lookup> = Vec::new();
    for _ in 0..500 {
        // Someone asks between any two answers; nobody waits for more than two of them.
        let mut bogus = Lookup::new(position("log1", 1000));
        locate(&mut owner, &mut bogus);
        waiting.push(bogus);
        assert!(waiting.len() <= 2, "the oldest waits for more than two answers");
        owner.answer(Purpose::Head);
        let mut still = Vec::new();
        for mut lookup in waiting {
            match locate(&mut owner, &mut lookup) {
                Located::Pending => still.push(lookup),
                located => assert_eq!(located, Located::Beyond),
            }
        }
        waiting = still;
    }
}

#[test]
fn positions_wait_until_the_log_is_open() {
    let mut owner = Owner::opening(4, config());
    let mut lookup = Lookup::new(position("log1", 4));
    assert_eq!(locate(&mut owner, &mut lookup), Located::Pending);
    owner.answer(Purpose::Open);
    assert_eq!(locate(&mut owner, &mut lookup), Located::Reached);
}

#[test]
fn a_position_that_outlives_a_replaced_log_is_decided_by_the_new_one() {
    let mut owner = Owner::open(4);
    let mut lookup = Lookup::new(position("log1", 5));
    locate(&mut owner, &mut lookup);
    owner.call(Tail::check_head);
    owner.log.replace(2);
    owner.answer(Purpose::Head);
    assert_eq!(locate(&mut owner, &mut lookup), Located::Pending);
    owner.answer(Purpose::Open);
    assert_eq!(locate(&mut owner, &mut lookup), Located::OtherLog);
}

#[test]
fn failed_head_questions_are_retried_with_growing_waits_and_settle_all_who_wait() {
    let mut owner = Owner::open(4);
    let mut first = Lookup::new(position("log1", 5));
    locate(&mut owner, &mut first);
    for wait in [500, 1000, 2000] {
        owner.fail(Purpose::Head);
        owner.call(Tail::check_head);
        owner.pass(wait - 1);
        assert!(!owner.is_asked(Purpose::Head), "before {wait} ms");
        owner.pass(1);
        assert!(owner.is_asked(Purpose::Head), "after {wait} ms");
    }
    owner.fail(Purpose::Head);
    let mut later = Lookup::new(position("log1", 6));
    locate(&mut owner, &mut later);
    owner.pass(4000);
    owner.answer(Purpose::Head);
    assert_eq!(locate(&mut owner, &mut first), Located::Beyond);
    assert_eq!(locate(&mut owner, &mut later), Located::Beyond);
    owner.call(Tail::check_head);
    owner.fail(Purpose::Head);
    owner.pass(500);
    assert!(owner.is_asked(Purpose::Head), "a success resets the wait");
}

#[test]
fn a_head_question_that_is_not_answered_in_time_has_failed_and_its_late_answer_is_ignored() {
    let mut owner = Owner::open(4);
    let mut lookup = Lookup::new(position("log1", 5));
    locate(&mut owner, &mut lookup);
    let first = owner.question(Purpose::Head);
    owner.pass(10_000);
    assert!(!owner.is_asked(Purpose::Head));
    let head = owner.log.head();
    owner.call(|tail, cx, out| tail.head_read(cx, first, Ok(head), out));
    assert_eq!(locate(&mut owner, &mut lookup), Located::Pending);
    owner.pass(500);
    owner.answer(Purpose::Head);
    assert_eq!(locate(&mut owner, &mut lookup), Located::Beyond);
}

#[test]
fn a_log_that_has_grown_unnoticed_is_read() {
    let mut owner = Owner::open(4);
    owner.log.grow();
    owner.call(Tail::check_head);
    owner.answer(Purpose::Head);
    owner.pass(20);
    owner.answer(Purpose::Read);
    assert_eq!(owner.delivered(), [5]);
}
