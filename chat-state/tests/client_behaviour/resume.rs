//! What a Client keeps over a resume.
use chat_proto::Token;
use chat_state::client::{Config, Event, Ticket};

use crate::harness::{Test, message};

const HI: &str = r#"{"type":"message","room":"lobby","key":"k1","content":"hi"}"#;
const JOIN: &str = r#"{"type":"join","room":"lobby","history":50}"#;

/// Makes a message of this client as the server delivers it.
fn own(seq: u64, user: &str, key: &str) -> String {
    message("lobby", seq, user, &format!(r#","key":"{key}""#))
}

#[test]
fn positions_hold_although_the_session_was_not_resumed() {
    // The harness says `resumed: false` in every `welcome`.
    let mut test = Test::in_lobby(Config::default());
    assert!(test.again()[0].contains(r#""lobby":{"epoch":"e1","seq":2}"#));
    let got = test.recovered("u_ada2", 3);
    assert_eq!(got, ["online", "welcome u_ada2", "joined lobby e1 recovered"]);
    assert_eq!(test.server(&message("lobby", 3, "u_bob", "")), ["lobby 3: c3"]);
    assert!(test.again()[0].contains(r#""lobby":{"epoch":"e1","seq":3}"#));
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
fn a_guest_with_another_user_id_looks_for_its_message_before_it_repeats_it() {
    // The message is among the missed entries.
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    test.again();
    let got = test.recovered("u_ada2", 4);
    assert_eq!(got, ["online", "welcome u_ada2", "joined lobby e1 recovered"]);
    assert_eq!(test.server(&message("lobby", 3, "u_bob", "")), ["lobby 3: c3"]);
    assert_eq!(test.server(&own(4, "u_ada", "k1")), ["lobby 4: c4", "#1: acked 4"]);
    // The message is not in the log, so it is sent again after the last missed entry.
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    test.again();
    test.recovered("u_ada2", 4);
    assert_eq!(test.server(&message("lobby", 3, "u_bob", "")), ["lobby 3: c3"]);
    assert_eq!(test.server(&message("lobby", 4, "u_bob", "")), ["lobby 4: c4", HI]);
}

#[test]
fn a_message_of_one_account_is_never_sent_as_another() {
    let config = || Config { token: Some(Token("t1".into())), ..Config::default() };
    for fails in ["in flight", "queued"] {
        let mut test = Test::in_lobby(config());
        if fails == "in flight" {
            test.send("lobby", 1, "hi");
        }
        test.closed(None);
        if fails == "queued" {
            test.send("lobby", 1, "hi");
        }
        test.handle(Event::Token { token: Some(Token("t2".into())) });
        test.pass(2000);
        test.opened();
        let got = test.recovered("u_eve", 2);
        let outcome = match fails {
            "in flight" => "#1: unknown: forbidden",
            _ => "#1: refused: forbidden",
        };
        assert_eq!(got, ["online", "welcome u_eve", outcome, "joined lobby e1 recovered"]);
        assert_eq!(test.client.stats().outbox_entries, 0);
    }
    // The same account keeps its messages.
    let mut test = Test::in_lobby(config());
    test.send("lobby", 1, "hi");
    test.again();
    let got = test.recovered("u_ada", 2);
    assert_eq!(got, ["online", "welcome u_ada", "joined lobby e1 recovered", HI]);
}

#[test]
fn a_message_of_an_earlier_process_is_never_sent_as_another_account() {
    let config = || Config { token: Some(Token("t1".into())), ..Config::default() };
    for (state, outcome) in
        [("in flight", "#7: unknown: forbidden"), ("queued", "#7: refused: forbidden")]
    {
        let mut test = Test::in_lobby(config());
        if state == "queued" {
            test.closed(None);
        }
        test.send("lobby", 1, "hi");
        let (resume, saved) = (test.client.resume(), test.client.saved_messages(test.now));
        let restart = |user| {
            let mut test = Test::new(Config { resume: resume.clone(), ..config() });
            let message = Box::new(saved[0].clone());
            test.handle(Event::Restore { ticket: Ticket(7), message });
            test.handle(Event::Start);
            test.opened();
            test.recovered(user, 2)
        };
        let recovered = "joined lobby e1 recovered";
        assert_eq!(restart("u_eve"), ["online", "welcome u_eve", outcome, recovered]);
        assert_eq!(restart("u_ada"), ["online", "welcome u_ada", recovered, HI]);
    }
}

#[test]
fn an_announced_entry_that_never_comes_does_not_hold_back_a_message_for_ever() {
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    test.again();
    test.recovered("u_ada2", 4);
    for _ in 0..1000 {
        for line in test.pass(500) {
            assert!(!line.contains("lost"), "{line}");
            if line == HI {
                return;
            } else if line.contains("history") {
                test.page("e1", &[]);
            } else if line == "open" {
                test.opened();
                test.recovered("u_ada2", 4);
            }
        }
    }
    panic!("the message was never sent");
}

#[test]
fn each_connection_has_a_greater_attempt() {
    let mut test = Test::in_lobby(Config::default());
    for attempt in 2..6 {
        let hello = test.again();
        assert!(hello[0].contains(&format!(r#""attempt":{attempt}"#)), "{hello:?}");
        test.recovered("u_ada", 2);
    }
    // The server closes the connection whose attempt is lower, and the client stays away.
    assert_eq!(test.closed(Some(4300)), ["stopped: Closed { code: 4300, advice: StayAway }"]);
    assert_eq!(test.pass(1_000_000), [""; 0]);
}

#[test]
fn the_spelling_of_rooms_in_a_welcome_does_not_matter() {
    for spelling in ["lobby", "LOBBY", "Lobby"] {
        let mut test = Test::in_lobby(Config::default());
        test.again();
        let rooms = format!(r#""{spelling}":{{"recovered":true,"epoch":"e1","head":2}}"#);
        let got = test.welcome("u_ada", &format!(r#","rooms":{{{rooms}}}"#));
        assert_eq!(got, ["online", "welcome u_ada", "joined lobby e1 recovered"]);
    }
}

#[test]
fn a_welcome_about_other_rooms_than_the_named_ones_is_harmless() {
    let mut test = Test::in_lobby(Config::default());
    test.again();
    let rooms = r#""den":{"recovered":true,"epoch":"e1","head":9}"#;
    let got = test.welcome("u_ada", &format!(r#","rooms":{{{rooms}}}"#));
    assert_eq!(got, ["online", "welcome u_ada", JOIN]);
}

#[test]
fn a_room_name_that_the_server_refuses_costs_only_that_room() {
    let mut test = Test::in_lobby(Config::default());
    test.join("den");
    test.joined("den", "e2", 0, &[]);
    test.again();
    let hello = test.last;
    // The connection stays open, and the second `hello` names no rooms.
    let got = test.error(hello, "invalid_name", r#","retryable":false"#);
    assert_eq!(got.len(), 1, "{got:?}");
    assert!(got[0].contains(r#""attempt":3,"rooms":{}"#), "{got:?}");
    let got = test.welcome("u_ada", "");
    let den = r#"{"type":"join","room":"den","history":50}"#;
    assert_eq!(got, ["online", "welcome u_ada", den, JOIN]);
    let join = test.last;
    assert_eq!(test.joined("lobby", "e1", 3, &[2, 3]), ["joined lobby e1 again", "lobby 3: c3"]);
    let got = test.error(join - 1, "invalid_name", r#","retryable":false"#);
    assert_eq!(got, ["left den: Refused"]);
    // The next connection names rooms again.
    assert!(test.again()[0].contains(r#""rooms":{"lobby""#));
    // If the display name is refused, rooms are not the cause.
    let hello = test.last;
    test.error(hello, "invalid_name", r#","retryable":false"#);
    let hello = test.last;
    let got = test.error(hello, "invalid_name", r#","retryable":false"#);
    assert_eq!(got, ["close 1000", "stopped: invalid_name"]);
}
