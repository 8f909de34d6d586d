//! Queries of the application, and typing notices.
use chat_proto::HistoryRange;
use chat_state::client::{Config, Event, Query, Ticket};

use crate::harness::{Test, room};

const ROOMS: &str = r#"{"type":"rooms"}"#;
const MEMBERS: &str = r#"{"type":"members","room":"lobby"}"#;

fn query(test: &mut Test, ticket: u64, query: Query) -> Vec<String> {
    test.handle(Event::Query { ticket: Ticket(ticket), query })
}

fn rooms(test: &mut Test, ticket: u64) -> Vec<String> {
    query(test, ticket, Query::Rooms { after: None })
}

fn members(test: &mut Test, ticket: u64) -> Vec<String> {
    query(test, ticket, Query::Members { room: room("lobby") })
}

#[test]
fn each_query_gets_its_answer() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(rooms(&mut test, 1), [ROOMS]);
    let list = format!(r#"{{"type":"rooms","id":"{}","rooms":[],"has_more":false}}"#, test.last);
    assert_eq!(members(&mut test, 2), [MEMBERS]);
    let view = r#""room":"lobby","count":7,"members":[]"#;
    let view = format!(r#"{{"type":"members","id":"{}",{view}}}"#, test.last);
    let range = HistoryRange::Before(chat_proto::Seq::ZERO.next());
    let history = Query::History { room: room("lobby"), range, limit: Some(5) };
    let asked = query(&mut test, 3, history);
    assert_eq!(asked, [r#"{"type":"history","room":"lobby","before":1,"limit":5}"#]);
    assert_eq!(test.page("e1", &[]), ["#3: page of 0"]);
    assert_eq!(test.server(&view), ["#2: 7 members"]);
    assert_eq!(test.server(&list), ["#1: 0 rooms"]);
    assert!(test.server(&list).is_empty());
    assert_eq!((test.client.stats().queries, test.client.stats().requests), (0, 0));
}

#[test]
fn a_query_survives_a_reconnect_but_not_its_timeout() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(rooms(&mut test, 1), [ROOMS]);
    assert_eq!(members(&mut test, 2), [MEMBERS]);
    test.again();
    let got = test.welcome("u_ada", "");
    assert_eq!(
        got,
        ["online", "welcome u_ada", ROOMS, r#"{"type":"join","room":"lobby","history":50}"#]
    );
    // A query about a room waits for the membership.
    assert_eq!(test.joined("lobby", "e1", 2, &[]), ["joined lobby e1 again", MEMBERS]);
    assert!(test.pass(27_999).is_empty());
    assert_eq!(test.pass(1), ["#1: expired", "#2: expired"]);
    assert_eq!(test.client.stats().requests, 0);
}

#[test]
fn a_query_about_a_room_that_was_not_joined_is_sent() {
    let mut test = Test::online(Config::default());
    assert_eq!(members(&mut test, 1), [MEMBERS]);
    let id = test.last;
    let got = test.error(id, "not_member", r#","retryable":false"#);
    assert_eq!(got, ["#1: refused: not_member"]);
}

#[test]
fn a_query_that_is_refused_with_a_delay_is_repeated() {
    let mut test = Test::online(Config::default());
    rooms(&mut test, 1);
    let id = test.last;
    let more = r#","retryable":true,"retry_after_ms":700"#;
    assert!(test.error(id, "log_unavailable", more).is_empty());
    assert!(test.pass(699).is_empty());
    assert_eq!(test.pass(1), [ROOMS]);
}

#[test]
fn the_number_of_open_queries_is_limited() {
    let mut test = Test::new(Config { queries: 2, ..Config::default() });
    assert!(rooms(&mut test, 1).is_empty());
    assert!(rooms(&mut test, 2).is_empty());
    assert_eq!(rooms(&mut test, 3), ["#3: full"]);
    assert_eq!(test.pass(30_000), ["#1: expired", "#2: expired"]);
    assert!(rooms(&mut test, 4).is_empty());
}

#[test]
fn typing_notices_are_limited_to_one_per_interval() {
    let typing =
        |test: &mut Test, active| test.handle(Event::Typing { room: room("lobby"), active });
    let on = r#"{"type":"typing","room":"lobby","active":true}"#;
    let off = r#"{"type":"typing","room":"lobby","active":false}"#;
    let mut test = Test::new(Config::default());
    assert!(typing(&mut test, true).is_empty(), "the Client is offline");
    test.handle(Event::Start);
    test.opened();
    test.welcome("u_ada", r#","features":["typing"]"#);
    assert!(typing(&mut test, true).is_empty());
    test.join("lobby");
    test.joined("lobby", "e1", 0, &[]);
    assert!(typing(&mut test, false).is_empty(), "typing has not started");
    assert_eq!(typing(&mut test, true), [on]);
    test.pass(2999);
    assert!(typing(&mut test, true).is_empty());
    test.pass(1);
    assert_eq!(typing(&mut test, true), [on]);
    assert_eq!(typing(&mut test, false), [off]);
    assert!(typing(&mut test, false).is_empty());
    assert_eq!(typing(&mut test, true), [on]);
    test.send("lobby", 1, "hi");
    assert!(typing(&mut test, false).is_empty(), "the message has ended it");
    let mut test = Test::in_lobby(Config::default());
    assert!(typing(&mut test, true).is_empty(), "the server lacks the feature");
}

#[test]
fn typing_notices_are_dropped_while_rate_limited() {
    let on = r#"{"type":"typing","room":"lobby","active":true}"#;
    let mut test = Test::new(Config::default());
    test.handle(Event::Start);
    test.opened();
    test.welcome("u_ada", r#","features":["typing"]"#);
    test.join("lobby");
    test.joined("lobby", "e1", 0, &[]);
    rooms(&mut test, 1);
    let id = test.last;
    test.error(id, "rate_limited", r#","retryable":true,"retry_after_ms":1000"#);
    let types = Event::Typing { room: room("lobby"), active: true };
    test.pass(999);
    assert!(test.handle(types.clone()).is_empty());
    // A dropped notice is not sent later, but a new one is.
    assert_eq!(test.pass(1), [ROOMS]);
    assert_eq!(test.handle(types), [on]);
}
