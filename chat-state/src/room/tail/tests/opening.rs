//! Opening a log, failing to, and noticing that it was replaced.
use super::*;

#[test]
fn an_open_log_begins_at_its_end_with_its_newest_entries() {
    let mut owner = Owner::opening(9, config());
    assert_eq!(owner.told(), ["open"]);
    assert!(owner.tail.ends().is_none());
    owner.answer(Purpose::Open);
    assert_eq!(owner.told(), ["opened"]);
    let ends = owner.tail.ends().unwrap();
    assert_eq!((ends.first, ends.cursor), (seq(1), seq(9)));
    assert!(owner.tail.recent().covers(seq(6), seq(9)));
    assert!(!owner.tail.recent().covers(seq(5), seq(9)));
}

#[test]
fn entries_that_come_while_a_log_is_opened_are_delivered_before_it_is_told_as_open() {
    let mut owner = Owner::opening(2, config());
    owner.committed("log1", [2, 3, 4]);
    owner.told();
    owner.answer(Purpose::Open);
    assert_eq!(owner.told(), ["deliver 3", "deliver 4", "opened"]);
}

#[test]
fn news_of_another_log_while_a_log_is_opened_asks_its_head() {
    let mut owner = Owner::opening(2, config());
    owner.committed("log0", [3, 4]);
    owner.told();
    owner.answer(Purpose::Open);
    assert_eq!(owner.told(), ["head", "opened"]);
    owner.answer(Purpose::Head);
    owner.pass(20);
    assert!(owner.asked.is_empty(), "nothing is missing");
    assert_eq!(owner.delivered(), [] as [u64; 0]);
}

#[test]
fn news_of_two_logs_while_a_log_is_opened_is_not_relied_on() {
    let mut owner = Owner::opening(2, config());
    (0..2).for_each(|_| drop(owner.log.grow()));
    owner.committed("log1", [5]);
    owner.committed("log0", [7]);
    owner.committed("log1", [6]);
    owner.answer(Purpose::Open);
    (0..2).for_each(|_| drop(owner.log.grow()));
    owner.answer(Purpose::Head);
    owner.pass(20);
    owner.answer(Purpose::Read);
    assert_eq!(owner.delivered(), [5, 6]);
}

#[test]
fn a_reason_to_ask_the_head_while_a_log_is_opened_asks_it_afterwards() {
    let mut owner = Owner::opening(2, config());
    owner.call(Tail::check_head);
    owner.told();
    owner.answer(Purpose::Open);
    assert_eq!(owner.told(), ["head", "opened"]);
}

#[test]
fn a_log_that_cannot_be_opened_refuses_its_drafts_and_is_opened_later() {
    let mut owner = Owner::opening(2, config());
    owner.say(1, "a");
    owner.told();
    owner.fail(Purpose::Open);
    assert_eq!(owner.told(), ["1: Err(Refused)", "open failed"]);
    assert!(owner.tail.is_settled());
    for wait in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
        owner.pass(wait - 1);
        assert!(!owner.is_asked(Purpose::Open), "before {wait} ms");
        owner.pass(1);
        owner.fail(Purpose::Open);
    }
    owner.pass(30_000);
    owner.say(2, "b");
    owner.told();
    owner.answer(Purpose::Open);
    assert_eq!(owner.told(), ["ready", "opened"]);
    owner.end_turn();
    owner.answer(Purpose::Append);
    assert_eq!(owner.delivered(), [3]);
}

#[test]
fn an_answer_for_another_room_opens_nothing() {
    let mut owner = Owner::opening(2, config());
    owner.told();
    let (id, _) = owner.take_question(Purpose::Open);
    let mut page = owner.log.open(config().recent);
    page.head.room = RoomName::new("another").unwrap();
    owner.call(|tail, cx, out| tail.opened(cx, id, Ok(page), out));
    assert_eq!(owner.told(), ["open failed"]);
    assert!(owner.tail.ends().is_none());
}

#[test]
fn an_open_that_is_not_answered_in_time_has_failed_and_its_late_answer_is_ignored() {
    let mut owner = Owner::opening(2, config());
    let first = owner.question(Purpose::Open);
    owner.pass(9_999);
    owner.told();
    owner.pass(1);
    assert_eq!(owner.told(), ["dropped Open", "open failed"]);
    let page = owner.log.open(config().recent);
    owner.call(|tail, cx, out| tail.opened(cx, first, Ok(page.clone()), out));
    owner.pass(500);
    owner.call(|tail, cx, out| tail.opened(cx, first, Ok(page), out));
    assert!(owner.tail.ends().is_none());
    owner.answer(Purpose::Open);
    assert!(owner.tail.ends().is_some());
}

#[test]
fn a_head_of_another_log_replaces_the_log_and_keeps_the_drafts() {
    let mut owner = Owner::open(9);
    owner.append(1, "lost");
    owner.say(2, "b");
    owner.committed("log1", [12]);
    owner.pass(20);
    owner.log.replace(3);
    owner.committed("log2", [3]);
    owner.told();
    owner.answer(Purpose::Head);
    assert_eq!(owner.told(), ["dropped Read", "open", "replaced"]);
    assert_eq!(owner.tail.cursor(), Seq::ZERO);
    owner.answer(Purpose::Open);
    assert_eq!(owner.told(), ["opened"], "the batch in flight has to be answered first");
    owner.answer(Purpose::Append);
    assert_eq!(
        owner.told(),
        ["1: Ok(New { seq: Seq(4) })", "deliver 4", "committed log2 4", "ready"]
    );
    owner.end_turn();
    owner.answer(Purpose::Append);
    assert_eq!(owner.delivered(), [4, 5]);
}

#[test]
fn a_page_of_another_log_replaces_the_log() {
    let mut owner = Owner::open(1);
    owner.committed("log1", [3]);
    owner.call(Tail::check_head);
    owner.pass(20);
    owner.log.replace(7);
    owner.told();
    owner.answer(Purpose::Read);
    assert_eq!(owner.told(), ["dropped Head", "open", "replaced"]);
    owner.answer(Purpose::Open);
    assert_eq!(owner.tail.cursor(), seq(7));
    assert_eq!(owner.delivered(), [] as [u64; 0]);
}

#[test]
fn a_late_append_to_the_old_log_does_not_replace_the_new_one() {
    let mut owner = Owner::open(9);
    owner.append(1, "a");
    let (id, _) = owner.take_question(Purpose::Append);
    let old = owner.log.append([draft("a")].into());
    owner.log.replace(3);
    owner.call(Tail::check_head);
    owner.answer(Purpose::Head);
    owner.answer(Purpose::Open);
    owner.told();
    owner.call(|tail, cx, out| tail.appended(cx, id, Ok(old), out));
    assert_eq!(owner.told(), ["head", "1: Ok(New { seq: Seq(10) })", "committed log1 10"]);
    owner.answer(Purpose::Head);
    assert_eq!(owner.told(), ["head answered"]);
    assert_eq!(owner.tail.ends().unwrap().epoch, &epoch("log2"));
}

#[test]
fn answers_to_questions_of_an_earlier_opening_are_ignored() {
    let mut owner = Owner::open(9);
    owner.committed("log1", [12]);
    owner.pass(20);
    owner.call(Tail::check_head);
    let (read, head) = (owner.question(Purpose::Read), owner.question(Purpose::Head));
    let (old_page, old_head) = (owner.log.open(config().recent), owner.log.head());
    owner.log.replace(3);
    let new_head = owner.log.head();
    owner.call(|tail, cx, out| tail.head_read(cx, head, Ok(new_head), out));
    owner.answer(Purpose::Open);
    owner.told();
    owner.call(|tail, cx, out| tail.page_read(cx, read, Ok(old_page), out));
    owner.call(|tail, cx, out| tail.head_read(cx, head, Ok(old_head), out));
    assert_eq!(owner.told(), [] as [&str; 0]);
    assert_eq!(owner.tail.cursor(), seq(3));
}

#[test]
fn peers_are_told_of_an_unknown_append_once_the_log_is_open_again() {
    let mut owner = Owner::open(9);
    owner.append(1, "a");
    owner.log.replace(3);
    owner.call(Tail::check_head);
    owner.answer(Purpose::Head);
    owner.pass(30_000);
    assert!(!owner.tail.is_settled());
    while !owner.is_asked(Purpose::Open) {
        owner.pass_to_next_timer();
    }
    owner.answer(Purpose::Open);
    owner.told();
    owner.answer(Purpose::Head);
    assert_eq!(owner.told(), ["tell log2 3", "head answered"]);
    assert!(owner.tail.is_settled());
}
