//! Messages expire by the monotonic clock. The wall clock counts only across a restart.
use chat_state::client::{Config, Event, SavedMessage, Ticket};

use crate::harness::Test;

const DAY_MS: u64 = 86_400_000;
const YEAR_MS: u64 = 365 * DAY_MS;

/// Makes a Client with a message in the outbox that cannot be sent.
fn with_a_message() -> Test {
    let mut test = Test::in_lobby(Config::default());
    test.closed(Some(4300));
    test.send("lobby", 1, "hi");
    test
}

/// Makes a Client of a later process, at this wall-clock time, and restores the message.
fn restarted(saved: &SavedMessage, wall_ms: u64) -> (Test, Vec<String>) {
    let mut test = Test::new(Config::default());
    // The monotonic clock starts anew.
    test.now.wall.0 = wall_ms;
    test.join("lobby");
    let message = Box::new(saved.clone());
    let told = test.handle(Event::Restore { ticket: Ticket(7), message });
    (test, told)
}

#[test]
fn a_wall_clock_that_steps_forward_by_years_expires_nothing() {
    let mut test = with_a_message();
    test.now.wall.0 += 56 * YEAR_MS;
    assert!(test.handle(Event::Wake).is_empty());
    assert!(test.pass(DAY_MS - 1).is_empty());
    assert_eq!(test.pass(1), ["#1: expired"]);
    assert_eq!(test.client.poll_timeout(), None);
}

#[test]
fn a_wall_clock_that_steps_back_delays_no_expiry() {
    let mut test = with_a_message();
    test.now.wall.0 -= YEAR_MS;
    assert!(test.pass(DAY_MS - 1).is_empty());
    assert_eq!(test.pass(1), ["#1: expired"]);
}

#[test]
fn a_message_expires_on_any_event_if_the_timer_is_late() {
    let mut test = with_a_message();
    test.now.mono = test.now.mono.plus(DAY_MS + 1);
    assert_eq!(test.handle(Event::Wake), ["#1: expired"]);
}

#[test]
fn each_message_has_its_own_expiry() {
    let mut test = with_a_message();
    test.pass(1000);
    test.send("lobby", 2, "two");
    assert_eq!(test.pass(DAY_MS - 1000), ["#1: expired"]);
    assert!(test.pass(999).is_empty());
    assert_eq!(test.pass(1), ["#2: expired"]);
}

#[test]
fn a_restored_message_uses_the_wall_clock_once() {
    let mut test = with_a_message();
    test.pass(DAY_MS / 4);
    let saved = test.client.saved_messages(test.now);
    let [message] = &saved[..] else { panic!("{saved:?}") };
    // The process is not running for another half of the day.
    let wall_ms = test.now.wall.0 + DAY_MS / 2;
    let (mut test, told) = restarted(message, wall_ms);
    assert!(told.is_empty());
    // From now on the wall clock does not matter.
    test.now.wall.0 += YEAR_MS;
    assert!(test.pass(DAY_MS / 4 - 1).is_empty());
    assert_eq!(test.pass(1), ["#7: expired"]);
}

#[test]
fn a_wall_clock_that_steps_before_the_message_is_saved_does_not_age_it() {
    let mut test = with_a_message();
    // The clock starts in 1970 and is set later.
    test.now.wall.0 += 56 * YEAR_MS;
    let saved = test.client.saved_messages(test.now);
    let (mut test, told) = restarted(&saved[0], test.now.wall.0 + 1000);
    assert!(told.is_empty());
    assert!(test.pass(DAY_MS - 1001).is_empty());
    assert_eq!(test.pass(1), ["#7: expired"]);
}

#[test]
fn a_restored_message_that_is_too_old_expires_at_once() {
    let test = with_a_message();
    let saved = test.client.saved_messages(test.now);
    let (_, told) = restarted(&saved[0], test.now.wall.0 + DAY_MS);
    assert_eq!(told, ["#7: expired"]);
    // A wall clock that was set back makes no message older than it is.
    let (mut test, told) = restarted(&saved[0], 0);
    assert!(told.is_empty());
    assert!(test.pass(DAY_MS - 1).is_empty());
    assert_eq!(test.pass(1), ["#7: expired"]);
}

#[test]
fn a_restored_message_keeps_its_key_and_finds_its_entry() {
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    let (resume, saved) = (test.client.resume(), test.client.saved_messages(test.now));
    assert_eq!(saved[0].sent_as.as_deref(), Some("u_ada"));
    let mut test = Test::new(Config { resume, ..Config::default() });
    let message = Box::new(saved[0].clone());
    assert!(test.handle(Event::Restore { ticket: Ticket(7), message }).is_empty());
    test.handle(Event::Start);
    test.opened();
    // The user id is another one, so the client looks for the message first.
    let told = test.recovered("u_ada2", 3);
    assert_eq!(told, ["online", "welcome u_ada2", "joined lobby e1 recovered"]);
    let own = crate::harness::message("lobby", 3, "u_ada", r#","key":"k1""#);
    assert_eq!(test.server(&own), ["lobby 3: c3", "#7: acked 3"]);
    assert!(test.client.saved_messages(test.now).is_empty());
}
