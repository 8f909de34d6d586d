//! Joining and leaving rooms.
use chat_state::client::{Config, Times};

use crate::harness::{Test, message};

const JOIN: &str = r#"{"type":"join","room":"lobby","history":50}"#;
const LEAVE: &str = r#"{"type":"leave","room":"lobby"}"#;

fn left(test: &mut Test) -> Vec<String> {
    let text = format!(r#"{{"type":"left","id":"{}","room":"lobby"}}"#, test.last);
    test.server(&text)
}

#[test]
fn a_leave_during_a_join_follows_after_the_join() {
    let mut test = Test::online(Config::default());
    assert_eq!(test.join("lobby"), [JOIN]);
    assert!(test.leave("lobby").is_empty());
    assert_eq!(test.joined("lobby", "e1", 0, &[]), ["joined lobby e1 fresh", LEAVE]);
    assert!(test.server(&message("lobby", 1, "u_bob", "")).is_empty());
    assert_eq!(left(&mut test), ["left lobby: Asked"]);
    assert_eq!(test.client.stats().rooms, 0);
}

#[test]
fn a_leave_during_a_resume_follows_after_the_resume() {
    let mut test = Test::in_lobby(Config::default());
    test.again();
    assert!(test.leave("lobby").is_empty());
    let got = test.recovered("u_ada", 2);
    assert_eq!(got, ["online", "welcome u_ada", "joined lobby e1 recovered", LEAVE]);
    assert_eq!(left(&mut test), ["left lobby: Asked"]);
    // A room that was not recovered needs no leave.
    let mut test = Test::in_lobby(Config::default());
    test.again();
    test.leave("lobby");
    let rooms = r#""lobby":{"recovered":false,"reason":"unavailable"}"#;
    let got = test.welcome("u_ada", &format!(r#","rooms":{{{rooms}}}"#));
    assert_eq!(got, ["online", "welcome u_ada", "left lobby: Asked"]);
}

#[test]
fn a_join_after_a_leave_starts_anew() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(test.leave("lobby"), [LEAVE]);
    assert!(test.join("lobby").is_empty());
    // The message is for the time after the join.
    assert!(test.send("lobby", 1, "hi").is_empty());
    assert_eq!(left(&mut test), ["left lobby: Asked", JOIN]);
    let got = test.joined("lobby", "e1", 2, &[2]);
    assert_eq!(got[..2], ["joined lobby e1 fresh", "lobby 2: c2"]);
    assert!(got[2].contains("k1"));
    // The same without a message and without a connection.
    let id = test.last;
    test.ack(id, 3);
    test.closed(None);
    assert_eq!(test.leave("lobby"), ["left lobby: Asked"]);
    assert!(test.join("lobby").is_empty());
    test.pass(2000);
    assert!(test.opened()[0].contains(r#""rooms":{}"#));
}

#[test]
fn an_unanswered_join_or_leave_is_repeated() {
    let times = Times { request_ms: 3000, ..Times::default() };
    let mut test = Test::online(Config { times, ..Config::default() });
    assert_eq!(test.join("lobby"), [JOIN]);
    assert!(test.pass(3249).is_empty());
    assert_eq!(test.pass(1), [JOIN]);
    test.joined("lobby", "e1", 0, &[]);
    assert_eq!(test.leave("lobby"), [LEAVE]);
    assert!(test.pass(3249).is_empty());
    assert_eq!(test.pass(1), [LEAVE]);
    assert_eq!(left(&mut test), ["left lobby: Asked"]);
}

#[test]
fn a_refused_leave_ends_the_membership() {
    let mut test = Test::in_lobby(Config::default());
    test.leave("lobby");
    let id = test.last;
    let got = test.error(id, "not_member", r#","retryable":false"#);
    assert_eq!(got, ["left lobby: Asked"]);
}

#[test]
fn a_leave_of_a_room_that_was_not_joined_succeeds_at_once() {
    let mut test = Test::online(Config::default());
    assert_eq!(test.leave("lobby"), ["left lobby: Asked"]);
}

#[test]
fn the_number_of_rooms_is_limited() {
    let mut test = Test::new(Config { rooms: 1, ..Config::default() });
    assert!(test.join("lobby").is_empty());
    assert!(test.join("LOBBY").is_empty());
    assert_eq!(test.join("den"), ["left den: TooMany"]);
}

#[test]
fn notices_about_members_are_delivered_for_joined_rooms_only() {
    let mut test = Test::in_lobby(Config::default());
    for room in ["lobby", "den"] {
        let head = format!(r#""room":"{room}","user":"u_bob","username":"Bob""#);
        let expected = |line: &str| {
            if room == "lobby" { vec![format!("lobby: {line}")] } else { Vec::new() }
        };
        let came = format!(r#"{{"type":"join",{head}}}"#);
        assert_eq!(test.server(&came), expected("u_bob joined"));
        let types = format!(r#"{{"type":"typing",{head},"active":true}}"#);
        assert_eq!(test.server(&types), expected("u_bob types: true"));
        let went = format!(r#"{{"type":"leave",{head},"reason":"timed_out"}}"#);
        assert_eq!(test.server(&went), expected("u_bob left: TimedOut"));
        let view = format!(r#"{{"type":"members","room":"{room}","count":7,"members":[]}}"#);
        assert_eq!(test.server(&view), expected("7 members"));
        let count = format!(r#"{{"type":"presence","room":"{room}","count":900}}"#);
        assert_eq!(test.server(&count), expected("900 present"));
    }
}

#[test]
fn the_application_gets_the_spelling_of_the_server() {
    let mut test = Test::online(Config::default());
    test.join("LOBBY");
    assert_eq!(test.joined("lobby", "e1", 0, &[]), ["joined lobby e1 fresh"]);
    test.leave("Lobby");
    assert_eq!(left(&mut test), ["left lobby: Asked"]);
}

#[test]
fn a_recovery_with_another_epoch_is_not_trusted() {
    let mut test = Test::in_lobby(Config::default());
    test.again();
    let rooms = r#""lobby":{"recovered":true,"epoch":"e2","head":9}"#;
    let got = test.welcome("u_ada", &format!(r#","rooms":{{{rooms}}}"#));
    assert_eq!(got, ["online", "welcome u_ada", JOIN]);
}

#[test]
fn a_reply_about_another_room_is_ignored() {
    let mut test = Test::online(Config::default());
    test.join("lobby");
    assert!(test.joined("den", "e1", 0, &[]).is_empty());
    assert_eq!(test.joined("lobby", "e1", 0, &[]), ["joined lobby e1 fresh"]);
}

#[test]
fn a_room_that_was_never_joined_needs_no_leave() {
    let mut test = Test::online(Config::default());
    test.join("lobby");
    let id = test.last;
    assert!(test.error(id, "rooms_exhausted", r#","retryable":true"#).is_empty());
    assert_eq!(test.leave("lobby"), ["left lobby: Asked"]);
}
