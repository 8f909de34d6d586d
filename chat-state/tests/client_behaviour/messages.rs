//! Messages from the outbox to the log.
use chat_state::client::{Config, Event, Times};

use crate::harness::{Test, message};

const HI: &str = r#"{"type":"message","room":"lobby","key":"k1","content":"hi"}"#;
const TWO: &str = r#"{"type":"message","room":"lobby","key":"k2","content":"two"}"#;

/// Makes a message of this client as the server delivers it.
fn own(seq: u64, user: &str, key: &str) -> String {
    message("lobby", seq, user, &format!(r#","key":"{key}""#))
}

#[test]
fn an_own_entry_settles_its_message() {
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
fn an_entry_of_another_user_with_the_same_key_settles_nothing() {
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    assert_eq!(test.server(&own(3, "u_bob", "k1")), ["lobby 3: c3"]);
    assert_eq!(test.client.stats().outbox_entries, 1);
}

#[test]
fn an_entry_with_the_key_of_an_unsent_message_settles_nothing() {
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    test.send("lobby", 2, "two");
    assert_eq!(test.server(&own(3, "u_ada", "k2")), ["lobby 3: c3"]);
}

#[test]
fn a_message_that_is_too_large_is_refused_without_sending_it() {
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
    // An escaped byte takes six bytes.
    assert_eq!(test.send("lobby", 3, &"\u{1}".repeat(50)), ["#3: refused: too_large"]);
    assert_eq!(test.send("lobby", 4, &"\u{1}".repeat(20)).len(), 1);
    // A frame leaves room for its id, and no more than that.
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
fn the_outbox_is_limited_in_messages_and_bytes() {
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
fn a_window_of_two_allows_two_messages_in_flight() {
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
fn rate_limited_applies_to_all_rooms() {
    let mut test = Test::in_lobby(Config::default());
    test.join("den");
    test.joined("den", "e2", 0, &[]);
    test.send("lobby", 1, "hi");
    let id = test.last;
    let more = r#","retryable":true,"retry_after_ms":1200"#;
    assert!(test.error(id, "rate_limited", more).is_empty());
    assert!(test.send("den", 2, "two").is_empty());
    assert!(test.join("salon").is_empty());
    // The answer to a ping is not a request of the application.
    assert_eq!(test.server(r#"{"type":"ping"}"#), [r#"{"type":"pong"}"#]);
    assert!(test.pass(1199).is_empty());
    assert_eq!(test.pass(1).len(), 3);
}

#[test]
fn a_message_is_refused_after_repeated_not_member_errors() {
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
fn an_ack_without_a_seq_is_ignored() {
    let times = Times { request_ms: 3000, ..Times::default() };
    let mut test = Test::in_lobby(Config { times, ..Config::default() });
    test.send("lobby", 1, "hi");
    let ack = format!(r#"{{"type":"ack","id":"{}","room":"lobby"}}"#, test.last);
    assert!(test.server(&ack).is_empty());
    assert_eq!(test.pass(3000), [HI]);
}

#[test]
fn an_ack_of_an_earlier_link_settles_nothing() {
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
fn a_message_that_was_rate_limited_before_is_refused_without_doubt() {
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
fn a_second_not_member_error_delays_the_join() {
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

#[test]
fn a_message_that_the_log_did_not_confirm_is_repeated_with_back_off() {
    for code in ["log_unavailable", "unknown_outcome"] {
        let mut test = Test::in_lobby(Config::default());
        test.send("lobby", 1, "hi");
        // The upper bound doubles from 500 ms to 30 s. The harness draws half of it.
        for delay in [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000] {
            let id = test.last;
            assert!(test.error(id, code, r#","retryable":true"#).is_empty());
            test.server(r#"{"type":"ping"}"#);
            assert!(test.pass(delay - 1).is_empty(), "{code} before {delay} ms");
            assert_eq!(test.pass(1), [HI], "{code} after {delay} ms");
        }
        // A time that the server names replaces the delay.
        let id = test.last;
        test.error(id, code, r#","retryable":true,"retry_after_ms":1234"#);
        assert!(test.pass(1233).is_empty());
        assert_eq!(test.pass(1), [HI]);
    }
}
