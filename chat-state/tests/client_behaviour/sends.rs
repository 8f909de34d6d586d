//! Messages on their way to the log.
use chat_state::client::{Config, Event, Times};

use crate::harness::{Test, message};

const HI: &str = r#"{"type":"message","room":"lobby","key":"k1","content":"hi"}"#;
const TWO: &str = r#"{"type":"message","room":"lobby","key":"k2","content":"two"}"#;

/// One's own message as the server shows it.
fn own(seq: u64, user: &str, key: &str) -> String {
    message("lobby", seq, user, &format!(r#","key":"{key}""#))
}

#[test]
fn an_own_entry_is_as_good_as_its_ack() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(test.send("lobby", 1, "hi"), [HI]);
    let first = test.last;
    test.send("lobby", 2, "two");
    assert_eq!(test.server(&own(3, "u_ada", "k1")), ["lobby 3: c3", "#1: acked 3", TWO]);
    assert!(test.ack(first, 3).is_empty());
    let second = test.last;
    assert_eq!(test.ack(second, 4), ["#2: acked 4"]);
}

#[test]
fn the_entry_of_another_user_with_the_same_key_is_no_ack() {
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    assert_eq!(test.server(&own(3, "u_bob", "k1")), ["lobby 3: c3"]);
    assert_eq!(test.client.stats().outbox_entries, 1);
}

#[test]
fn an_entry_with_the_key_of_a_message_that_was_not_sent_is_no_ack() {
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    test.send("lobby", 2, "two");
    assert_eq!(test.server(&own(3, "u_ada", "k2")), ["lobby 3: c3"]);
}

#[test]
fn another_user_looks_for_its_message_before_it_repeats_it() {
    // Found: what was missed has it.
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    test.again();
    let got = test.recovered("u_ada2", 4);
    assert_eq!(got, ["online", "welcome u_ada2", "joined lobby e1 recovered"]);
    assert_eq!(test.server(&message("lobby", 3, "u_bob", "")), ["lobby 3: c3"]);
    assert_eq!(test.server(&own(4, "u_ada", "k1")), ["lobby 4: c4", "#1: acked 4"]);
    // Not found: it is sent again once all is there.
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    test.again();
    test.recovered("u_ada2", 4);
    assert_eq!(test.server(&message("lobby", 3, "u_bob", "")), ["lobby 3: c3"]);
    assert_eq!(test.server(&message("lobby", 4, "u_bob", "")), ["lobby 4: c4", HI]);
}

#[test]
fn the_same_user_repeats_its_message_at_once() {
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    test.again();
    let got = test.recovered("u_ada", 4);
    assert_eq!(got, ["online", "welcome u_ada", "joined lobby e1 recovered", HI]);
}

#[test]
fn what_the_server_would_not_take_is_refused_without_asking() {
    let mut test = Test::new(Config::default());
    test.handle(Event::Start);
    test.opened();
    test.welcome("u_ada", r#","limits":{"frame_bytes":300,"message_bytes":200}"#);
    test.join("lobby");
    test.joined("lobby", "e1", 0, &[]);
    assert_eq!(test.send("lobby", 1, &"x".repeat(201)), ["#1: refused: too_large"]);
    assert_eq!(test.send("lobby", 2, &"x".repeat(200)).len(), 1);
    let id = test.last;
    assert_eq!(test.ack(id, 1), ["#2: acked 1"]);
    // Escaped, it takes six times the bytes.
    assert_eq!(test.send("lobby", 3, &"\u{1}".repeat(50)), ["#3: refused: too_large"]);
    assert_eq!(test.send("lobby", 4, &"\u{1}".repeat(20)).len(), 1);
    // What is sent leaves room for its id, and no more than that.
    let mut longest = 0;
    for n in 0..100 {
        let id = test.last;
        test.ack(id, n + 2);
        let got =
            test.send("lobby", n + 5, &format!("{}{}", "\u{1}".repeat(30), "x".repeat(n as usize)));
        let sent = got.iter().filter(|line| line.starts_with('{')).map(String::len);
        longest = sent.max().unwrap_or(0).max(longest);
    }
    assert_eq!(longest, 300 - 32);
}

#[test]
fn the_outbox_has_its_limits() {
    let mut test =
        Test::in_lobby(Config { outbox_entries: 3, outbox_bytes: 10, ..Config::default() });
    assert_eq!(
        test.send("lobby", 1, "12345"),
        [r#"{"type":"message","room":"lobby","key":"k1","content":"12345"}"#]
    );
    assert_eq!(test.send("lobby", 2, "123456"), ["#2: full"]);
    assert!(test.send("lobby", 3, "123").is_empty());
    assert!(test.send("lobby", 4, "1").is_empty());
    assert_eq!(test.send("lobby", 5, "1"), ["#5: full"]);
    let id = test.last;
    assert_eq!(test.ack(id, 3)[0], "#1: acked 3");
    assert!(test.send("lobby", 6, "123456").is_empty());
    assert_eq!((test.client.stats().outbox_entries, test.client.stats().outbox_bytes), (3, 10));
}

#[test]
fn a_window_of_two_has_two_in_flight() {
    let mut test = Test::in_lobby(Config { window: 2, ..Config::default() });
    assert_eq!(test.send("lobby", 1, "hi"), [HI]);
    let first = test.last;
    assert_eq!(test.send("lobby", 2, "two"), [TWO]);
    let second = test.last;
    assert!(test.send("lobby", 3, "three").is_empty());
    assert_eq!(test.ack(second, 4)[0], "#2: acked 4");
    assert_eq!(test.ack(first, 3), ["#1: acked 3"]);
}

#[test]
fn a_message_expires_by_the_wall_clock_too() {
    let mut test = Test::in_lobby(Config::default());
    test.closed(Some(4300));
    test.send("lobby", 1, "hi");
    // A device that sleeps: the one clock stands still.
    test.now.wall.0 += 86_399_999;
    assert!(test.handle(Event::Wake).is_empty());
    test.now.wall.0 += 1;
    assert_eq!(test.handle(Event::Wake), ["#1: expired"]);
    assert_eq!(test.client.poll_timeout(), None);
}

#[test]
fn a_wall_clock_that_is_set_back_does_not_keep_a_message_for_ever() {
    let mut test = Test::in_lobby(Config::default());
    test.closed(Some(4300));
    test.send("lobby", 1, "hi");
    test.now.wall.0 -= 3_600_000;
    assert!(test.pass(86_399_999).is_empty());
    assert_eq!(test.pass(1), ["#1: expired"]);
}

#[test]
fn the_budget_is_one_for_all_rooms() {
    let mut test = Test::in_lobby(Config::default());
    test.join("den");
    test.joined("den", "e2", 0, &[]);
    test.send("lobby", 1, "hi");
    let id = test.last;
    let more = r#","retryable":true,"retry_after_ms":1200"#;
    assert!(test.error(id, "rate_limited", more).is_empty());
    assert!(test.send("den", 2, "two").is_empty());
    assert!(test.join("salon").is_empty());
    // A sign of life is not asked for by the application.
    assert_eq!(test.server(r#"{"type":"ping"}"#), [r#"{"type":"pong"}"#]);
    assert!(test.pass(1199).is_empty());
    assert_eq!(test.pass(1).len(), 3);
}

#[test]
fn a_session_that_is_never_a_member_does_not_ask_for_ever() {
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    for _ in 0..4 {
        let id = test.last;
        let mut got = test.error(id, "not_member", r#","retryable":false"#);
        got.extend(test.pass(500));
        assert_eq!(got, [r#"{"type":"join","room":"lobby","history":50}"#]);
        assert_eq!(test.joined("lobby", "e1", 2, &[]), ["joined lobby e1 again", HI]);
    }
    let id = test.last;
    let got = test.error(id, "not_member", r#","retryable":false"#);
    assert_eq!(got, ["#1: refused: not_member"]);
}

#[test]
fn an_ack_without_a_place_is_none() {
    let times = Times { request_ms: 3000, ..Times::default() };
    let mut test = Test::in_lobby(Config { times, ..Config::default() });
    test.send("lobby", 1, "hi");
    let ack = format!(r#"{{"type":"ack","id":"{}","room":"lobby"}}"#, test.last);
    assert!(test.server(&ack).is_empty());
    assert_eq!(test.pass(3000), [HI]);
}

#[test]
fn an_ack_of_a_link_that_is_gone_settles_nothing() {
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    let (link, id) = (test.link, test.last);
    test.again();
    test.recovered("u_ada", 2);
    let frame = format!(r#"{{"type":"ack","id":"{id}","room":"lobby","seq":3,"ts":5}}"#);
    let frame = chat_proto::ServerFrame::decode(&frame).expect("a frame");
    assert!(test.handle(Event::Received { link, frame }).is_empty());
    assert_eq!(test.client.stats().outbox_entries, 1);
}

#[test]
fn a_message_expires_by_the_steady_clock_long_after_the_other_was_set_back() {
    let mut test = Test::in_lobby(Config::default());
    test.closed(Some(4300));
    test.send("lobby", 1, "hi");
    // A device that was busy with something else: the Client is called too late.
    test.now.wall.0 -= 3_600_000;
    test.now.mono = test.now.mono.plus(86_400_001);
    assert_eq!(test.handle(Event::Wake), ["#1: expired"]);
}

#[test]
fn a_message_that_had_to_wait_is_refused_without_doubt() {
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    let id = test.last;
    let more = r#","retryable":true,"retry_after_ms":1200"#;
    test.error(id, "rate_limited", more);
    assert_eq!(test.pass(1200).len(), 1);
    let id = test.last;
    assert_eq!(test.error(id, "too_large", r#","retryable":false"#), ["#1: refused: too_large"]);
}

#[test]
fn a_session_that_is_not_a_member_again_waits_before_it_joins() {
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    for waits in [false, true] {
        let id = test.last;
        let got = test.error(id, "not_member", r#","retryable":false"#);
        assert_eq!(got.is_empty(), waits, "{got:?}");
        test.pass(500);
        test.joined("lobby", "e1", 2, &[]);
    }
}
