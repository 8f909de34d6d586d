//! `hello`, refusals and reconnects.
use chat_proto::Token;
use chat_state::client::{Config, Event, State};

use crate::harness::{Test, room};

#[test]
fn a_hello_that_is_refused_with_a_delay_is_repeated() {
    let mut test = Test::new(Config::default());
    test.handle(Event::Start);
    test.opened();
    let id = test.last;
    let more = r#","retryable":true,"retry_after_ms":3000"#;
    assert_eq!(test.error(id, "rate_limited", more), ["close 1000", "waiting"]);
    assert!(test.pass(2999).is_empty());
    assert_eq!(test.pass(1), ["connecting", "open"]);
}

#[test]
fn a_hello_that_is_refused_permanently_stops_the_client() {
    for id in [r#""id":"1","#, ""] {
        let mut test = Test::new(Config::default());
        test.handle(Event::Start);
        test.opened();
        let error = r#""code":"invalid_name","message":"","retryable":false}"#;
        let got = test.server(&format!(r#"{{"type":"error",{id}{error}"#));
        assert_eq!(got, ["close 1000", "stopped: invalid_name"]);
        assert_eq!(test.pass(1_000_000), [""; 0]);
        assert_eq!(test.handle(Event::Start), ["connecting", "open"]);
    }
}

#[test]
fn a_hello_that_is_too_long_is_repeated_without_rooms() {
    let mut test = Test::in_lobby(Config::default());
    assert!(test.again()[0].contains(r#""lobby":{"epoch":"e1","seq":2}"#));
    assert_eq!(test.closed(Some(1009)), ["waiting"]);
    test.pass(2000);
    assert!(test.opened()[0].contains(r#""rooms":{}"#));
    let got = test.welcome("u_ada", "");
    assert_eq!(got[2], r#"{"type":"join","room":"lobby","history":50}"#);
    assert_eq!(test.joined("lobby", "e1", 3, &[2, 3]), ["joined lobby e1 again", "lobby 3: c3"]);
    // After the `welcome` the code does not concern the `hello`.
    assert_eq!(test.closed(Some(1009)), ["stopped: Closed { code: 1009, advice: FixFirst }"]);
}

#[test]
fn another_process_resumes_the_session() {
    let mut first = Test::in_lobby(Config::default());
    assert_eq!(first.client.resume().map(|resume| resume.attempt), Some(1));
    first.again();
    first.recovered("u_ada", 2);
    first.leave("den");
    first.join("salon");
    first.leave("salon");
    let resume = first.client.resume().expect("a session");
    assert_eq!(resume.rooms.len(), 1);
    let mut test = Test::new(Config { resume: Some(resume), ..Config::default() });
    test.handle(Event::Start);
    assert_eq!(
        test.opened(),
        [concat!(
            r#"{"type":"hello","features":[],"resume":{"session":"s_u_ada","attempt":3,"#,
            r#""rooms":{"lobby":{"epoch":"e1","seq":2}}}}"#
        )]
    );
    let got = test.recovered("u_ada", 2);
    assert_eq!(got, ["online", "welcome u_ada", "joined lobby e1 recovered"]);
}

#[test]
fn a_client_without_a_session_has_nothing_to_resume() {
    let mut test = Test::new(Config::default());
    assert_eq!(test.client.resume(), None);
    test.handle(Event::Start);
    assert!(!test.opened()[0].contains("resume"));
    test.welcome("u_ada", "");
    assert!(test.client.resume().is_some());
    test.handle(Event::Stop);
    assert_eq!(test.client.resume(), None);
    test.handle(Event::Start);
    assert!(!test.opened()[0].contains("resume"));
}

#[test]
fn waiting_for_a_credential_times_out() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(test.closed(Some(4001)), ["connecting", "need token"]);
    assert!(test.pass(59_999).is_empty());
    assert_eq!(test.pass(1), ["stopped: Unauthorized"]);
    // A late credential counts for the next start.
    assert!(test.handle(Event::Token { token: Some(Token("t".into())) }).is_empty());
    test.handle(Event::Start);
    assert!(test.opened()[0].contains(r#""token":"t""#));
}

#[test]
fn a_stable_connection_allows_another_credential() {
    let mut test = Test::in_lobby(Config::default());
    for _ in 0..3 {
        assert_eq!(test.closed(Some(4001)), ["connecting", "need token"]);
        assert_eq!(test.handle(Event::Token { token: Some(Token("t".into())) }), ["open"]);
        test.opened();
        test.recovered("u_ada", 2);
        test.pass(10_000);
    }
}

#[test]
fn frames_before_the_reply_to_hello_are_ignored() {
    let mut test = Test::in_lobby(Config::default());
    test.again();
    for text in [
        r#"{"type":"ping","heads":{"lobby":{"epoch":"e1","seq":9}}}"#,
        r#"{"type":"gap","room":"lobby","from":3,"to":4}"#,
        r#"{"type":"error","id":"99","code":"draining","message":"","retryable":true}"#,
    ] {
        assert!(test.server(text).is_empty(), "{text}");
    }
    assert_eq!(test.client.state(), State::Connecting);
}

#[test]
fn the_number_of_requests_in_flight_is_limited() {
    let mut test = Test::new(Config::default());
    for n in 0..40 {
        test.join(&format!("r{n:02}"));
    }
    test.handle(Event::Start);
    test.opened();
    assert_eq!(test.welcome("u_ada", "").len(), 2 + 32);
    assert_eq!(test.client.stats().requests, 32);
    let (last, next) = (test.last, r#"{"type":"join","room":"r32","history":50}"#);
    assert_eq!(test.joined("r31", "e1", 0, &[]), ["joined r31 e1 fresh", next]);
    assert_eq!(test.last, last + 1);
    let mut test = Test::new(Config::default());
    test.join("den");
    test.join("lobby");
    test.handle(Event::Start);
    test.opened();
    assert_eq!(test.welcome("u_ada", r#","limits":{"in_flight":1}"#).len(), 2 + 1);
    assert_eq!(test.joined("den", "e1", 0, &[]).len(), 2);
}

#[test]
fn frames_of_an_earlier_link_are_ignored() {
    let mut test = Test::in_lobby(Config::default());
    let link = test.link;
    test.again();
    test.recovered("u_ada", 2);
    let text = crate::harness::message("lobby", 3, "u_bob", "");
    let frame = chat_proto::ServerFrame::decode(&text).expect("a frame");
    assert!(test.handle(Event::Received { link, frame }).is_empty());
    assert_eq!(test.server(&text), ["lobby 3: c3"]);
}

#[test]
fn a_stop_closes_a_link_that_is_not_open_yet() {
    let mut test = Test::new(Config::default());
    test.join("lobby");
    test.handle(Event::Start);
    assert_eq!(test.handle(Event::Stop), ["close 1000", "left lobby: Stopped", "stopped: Asked"]);
    assert!(test.opened().is_empty());
    assert!(test.handle(Event::Stop).is_empty());
    assert!(test.handle(Event::Join { room: room("den") }).is_empty());
}
