//! Entries: in order, each once, and what is missing.
use chat_state::client::{Config, Times};

use crate::harness::{Test, message};

fn entry(test: &mut Test, seq: u64) -> Vec<String> {
    test.server(&message("lobby", seq, "u_bob", ""))
}

fn history(after: u64) -> String {
    format!(r#"{{"type":"history","room":"lobby","after":{after}}}"#)
}

fn messages(seqs: &[u64]) -> Vec<String> {
    seqs.iter().map(|seq| message("lobby", *seq, "u_bob", "")).collect()
}

#[test]
fn what_is_too_much_to_hold_is_fetched() {
    let mut test = Test::in_lobby(Config { held_entries: 2, ..Config::default() });
    assert_eq!(entry(&mut test, 4), [history(2)]);
    for seq in 5..9 {
        assert!(entry(&mut test, seq).is_empty());
        assert!(test.client.stats().held <= 2);
    }
    let got = test.page("e1", &messages(&[3]));
    assert_eq!(got, ["lobby 3: c3", "lobby 4: c4", "lobby 5: c5", &history(5)]);
    let got = test.page("e1", &messages(&[6, 7, 8]));
    assert_eq!(got, ["lobby 6: c6", "lobby 7: c7", "lobby 8: c8"]);
}

#[test]
fn a_page_of_another_log_leads_to_a_join() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 4), [history(2)]);
    assert!(test.page("e2", &messages(&[1])).is_empty());
    assert!(entry(&mut test, 5).is_empty());
    assert_eq!(test.pass(250), [r#"{"type":"join","room":"lobby","history":50}"#]);
    let got = test.joined("lobby", "e2", 1, &[1]);
    assert_eq!(got, ["reset lobby e2", "joined lobby e2 fresh", "lobby 1: c1"]);
}

#[test]
fn a_log_that_is_behind_the_client_is_waited_for() {
    // Another node may not have seen yet what this client has.
    let mut test = Test::in_lobby(Config::default());
    entry(&mut test, 3);
    test.again();
    let got = test.recovered("u_ada", 2);
    assert_eq!(got[2..], ["joined lobby e1 recovered"]);
    assert!(entry(&mut test, 3).is_empty());
    assert_eq!(entry(&mut test, 4), ["lobby 4: c4"]);
}

#[test]
fn a_hole_beyond_what_is_missing_waits_for_the_page() {
    let mut test = Test::in_lobby(Config::default());
    let got = test.server(r#"{"type":"hole","room":"lobby","from":5,"to":6}"#);
    assert_eq!(got, [history(2)]);
    assert!(entry(&mut test, 7).is_empty());
    let got = test.page("e1", &messages(&[3, 4, 7]));
    assert_eq!(got, ["lobby 3: c3", "lobby 4: c4", "lobby 5-6: lost", "lobby 7: c7"]);
}

#[test]
fn a_hole_over_what_is_held_loses_only_the_rest() {
    let mut test = Test::in_lobby(Config::default());
    entry(&mut test, 4);
    let got = test.server(r#"{"type":"hole","room":"lobby","from":1,"to":5}"#);
    assert_eq!(got, ["lobby 3-3: lost", "lobby 4: c4", "lobby 5-5: lost"]);
    assert!(test.page("e1", &messages(&[4])).is_empty(), "it was asked for before");
}

#[test]
fn entries_of_a_room_that_is_joined_again_wait_for_the_reply() {
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    let id = test.last;
    test.error(id, "not_member", r#","retryable":false"#);
    // Whether these are of the same log is not known yet.
    assert!(entry(&mut test, 3).is_empty());
    let got = test.joined("lobby", "e1", 3, &[2, 3]);
    assert_eq!(got[..2], ["joined lobby e1 again", "lobby 3: c3"]);
}

#[test]
fn a_page_that_is_not_answered_is_asked_for_again_and_nothing_is_lost() {
    let times = Times { request_ms: 2000, ..Times::default() };
    let mut test = Test::in_lobby(Config { times, ..Config::default() });
    assert_eq!(entry(&mut test, 4), [history(2)]);
    assert_eq!(test.pass(9000), [&history(2), &history(2), &history(2)].map(String::as_str));
    assert_eq!(test.pass(750), ["close 4201", "waiting"]);
    test.pass(1000);
    test.opened();
    test.recovered("u_ada", 4);
    // What has come from beyond proves that the server has it.
    let asked = test.pass(10_000);
    assert!(asked.len() >= 3 && asked.iter().all(|line| *line == history(2)), "{asked:?}");
    assert_eq!(entry(&mut test, 3), ["lobby 3: c3", "lobby 4: c4"]);
}

#[test]
fn a_page_that_is_refused_for_want_of_membership_leads_to_a_join() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 4), [history(2)]);
    let id = test.last;
    assert!(test.error(id, "not_member", r#","retryable":false"#).is_empty());
    assert_eq!(test.pass(250), [r#"{"type":"join","room":"lobby","history":50}"#]);
    let got = test.joined("lobby", "e1", 4, &[3, 4]);
    assert_eq!(got, ["joined lobby e1 again", "lobby 3: c3", "lobby 4: c4"]);
}

#[test]
fn a_page_that_is_refused_for_good_is_asked_for_again_in_the_same_room() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 4), [history(2)]);
    let id = test.last;
    assert!(test.error(id, "bad_request", r#","retryable":false"#).is_empty());
    assert_eq!(test.pass(250), [history(2)]);
    assert_eq!(test.page("e1", &messages(&[3])), ["lobby 3: c3", "lobby 4: c4"]);
}

#[test]
fn one_page_of_a_room_is_asked_for_at_a_time() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 4), [history(2)]);
    // What it was asked for comes by itself, and then something else is missing.
    assert_eq!(entry(&mut test, 3), ["lobby 3: c3", "lobby 4: c4"]);
    assert!(entry(&mut test, 6).is_empty());
    assert_eq!(test.page("e1", &messages(&[3, 4])), [history(4)]);
    assert_eq!(test.page("e1", &messages(&[5, 6])), ["lobby 5: c5", "lobby 6: c6"]);
    // Only a part of it comes by itself.
    assert_eq!(entry(&mut test, 9), [history(6)]);
    assert_eq!(entry(&mut test, 7), ["lobby 7: c7"]);
    assert_eq!(test.page("e1", &messages(&[7, 8, 9])), ["lobby 8: c8", "lobby 9: c9"]);
}

#[test]
fn what_comes_meanwhile_does_not_make_the_next_page_come_sooner() {
    // The page was refused for a while.
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 4), [history(2)]);
    let id = test.last;
    let more = r#","retryable":true,"retry_after_ms":1000"#;
    assert!(test.error(id, "log_unavailable", more).is_empty());
    assert!(entry(&mut test, 5).is_empty());
    assert!(test.pass(999).is_empty());
    assert_eq!(test.pass(1), [history(2)]);
    // It was empty, and yet said that there is more.
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 4), [history(2)]);
    let page = format!(
        r#"{{"type":"page","id":"{}","room":"lobby","epoch":"e1","events":[],
        "has_more_before":true,"has_more_after":true}}"#,
        test.last
    );
    assert!(test.server(&page).is_empty());
    assert!(entry(&mut test, 5).is_empty());
    assert!(test.pass(249).is_empty());
    assert_eq!(test.pass(1), [history(2)]);
}

#[test]
fn a_claim_that_does_not_come_true_is_doubted_after_a_while() {
    let mut test = Test::in_lobby(Config::default());
    test.server(r#"{"type":"ping","heads":{"lobby":{"epoch":"e1","seq":4}}}"#);
    for _ in 0..2 {
        for _ in 0..4 {
            assert_eq!(test.pass(2000), [history(2)]);
            let got = test.page("e1", &[]);
            assert!(got.iter().all(|line| !line.contains("lost")), "{got:?}");
        }
        if test.pass(1000).contains(&"connecting".to_owned()) {
            test.opened();
            test.recovered("u_ada", 4);
        }
    }
    // Nothing is lost, and nothing is asked for any more.
    assert!(test.pass(10_000).is_empty());
    // The next such claim does not cost the connection again.
    test.server(r#"{"type":"ping","heads":{"lobby":{"epoch":"e1","seq":5}}}"#);
    for _ in 0..4 {
        assert_eq!(test.pass(2000), [history(2)]);
        assert!(test.page("e1", &[]).is_empty());
    }
    assert!(test.pass(10_000).is_empty());
    // The next entry counts.
    assert_eq!(entry(&mut test, 3), ["lobby 3: c3"]);
}

#[test]
fn a_join_begins_where_its_history_begins() {
    let mut test = Test::online(Config::default());
    test.join("lobby");
    let got = test.joined("lobby", "e1", 9, &[8, 9]);
    assert_eq!(got, ["joined lobby e1 fresh", "lobby 8: c8", "lobby 9: c9"]);
    // Without one it begins at the head.
    let mut test = Test::online(Config { history: 0, ..Config::default() });
    test.join("lobby");
    assert_eq!(test.joined("lobby", "e1", 9, &[]), ["joined lobby e1 fresh"]);
    assert!(entry(&mut test, 9).is_empty());
    assert_eq!(entry(&mut test, 10), ["lobby 10: c10"]);
}

#[test]
fn a_join_whose_history_ends_early_is_completed() {
    let mut test = Test::online(Config::default());
    test.join("lobby");
    let got = test.joined("lobby", "e1", 3, &[1]);
    assert_eq!(got, ["joined lobby e1 fresh", "lobby 1: c1", &history(1)]);
    assert_eq!(test.page("e1", &messages(&[2, 3])), ["lobby 2: c2", "lobby 3: c3"]);
}

#[test]
fn a_page_that_another_log_may_answer_is_asked_for_again_after_the_join() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 4), [history(2)]);
    // That was not so: it is still the one log.
    test.server(r#"{"type":"ping","heads":{"lobby":{"epoch":"e2","seq":9}}}"#);
    let entry = message("lobby", 5, "u_bob", "");
    let got = test.server(&format!(
        r#"{{"type":"joined","id":"{}","room":"lobby","epoch":"e1","head":5,
        "members":{{"count":0,"members":[]}},"events":[{entry}],"has_more_before":true}}"#,
        test.last
    ));
    assert_eq!(got, ["joined lobby e1 again".to_owned(), history(2)]);
}

#[test]
fn what_the_log_has_forgotten_is_lost_and_no_more_than_that() {
    let mut test = Test::in_lobby(Config::default());
    test.again();
    let rooms = r#""lobby":{"recovered":false,"reason":"unavailable"}"#;
    test.welcome("u_ada", &format!(r#","rooms":{{{rooms}}}"#));
    let got = test.joined("lobby", "e1", 6, &[5, 6]);
    assert_eq!(got, ["joined lobby e1 again", "lobby 3-4: lost", "lobby 5: c5", "lobby 6: c6"]);
}

#[test]
fn a_page_of_another_room_is_none() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 4), [history(2)]);
    let page = format!(
        r#"{{"type":"page","id":"{}","room":"den","epoch":"e1","events":[],
        "has_more_before":true,"has_more_after":false}}"#,
        test.last
    );
    assert!(test.server(&page).is_empty());
    let got = test.page("e1", &[message("lobby", 3, "u_bob", "")]);
    assert_eq!(got, ["lobby 3: c3", "lobby 4: c4"]);
}
