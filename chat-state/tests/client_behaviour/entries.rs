//! Entries are delivered once and in order, and missing ones are requested.
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
fn entries_beyond_the_buffer_are_fetched() {
    let mut test = Test::in_lobby(Config { buffered_entries: 2, ..Config::default() });
    assert_eq!(entry(&mut test, 4), [history(2)]);
    for seq in 5..9 {
        assert!(entry(&mut test, seq).is_empty());
        assert!(test.client.stats().buffered <= 2);
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
fn a_log_that_is_behind_the_client_is_no_loss() {
    // Another node may not know all entries yet that this client has received.
    let mut test = Test::in_lobby(Config::default());
    entry(&mut test, 3);
    test.again();
    let got = test.recovered("u_ada", 2);
    assert_eq!(got[2..], ["joined lobby e1 recovered"]);
    assert!(entry(&mut test, 3).is_empty());
    assert_eq!(entry(&mut test, 4), ["lobby 4: c4"]);
}

#[test]
fn a_hole_after_missing_entries_waits_for_the_page() {
    let mut test = Test::in_lobby(Config::default());
    let got = test.server(r#"{"type":"hole","room":"lobby","from":5,"to":6}"#);
    assert_eq!(got, [history(2)]);
    assert!(entry(&mut test, 7).is_empty());
    let got = test.page("e1", &messages(&[3, 4, 7]));
    assert_eq!(got, ["lobby 3: c3", "lobby 4: c4", "lobby 5-6: lost", "lobby 7: c7"]);
}

#[test]
fn a_hole_does_not_cover_entries_that_have_arrived() {
    let mut test = Test::in_lobby(Config::default());
    entry(&mut test, 4);
    let got = test.server(r#"{"type":"hole","room":"lobby","from":1,"to":5}"#);
    assert_eq!(got, ["lobby 3-3: lost", "lobby 4: c4", "lobby 5-5: lost"]);
    assert!(test.page("e1", &messages(&[4])).is_empty(), "the page was requested before the hole");
}

#[test]
fn entries_that_arrive_during_a_rejoin_are_ignored() {
    let mut test = Test::in_lobby(Config::default());
    test.send("lobby", 1, "hi");
    let id = test.last;
    test.error(id, "not_member", r#","retryable":false"#);
    // They may belong to another log.
    assert!(entry(&mut test, 3).is_empty());
    let got = test.joined("lobby", "e1", 3, &[2, 3]);
    assert_eq!(got[..2], ["joined lobby e1 again", "lobby 3: c3"]);
}

#[test]
fn an_unanswered_page_is_requested_again_and_nothing_is_lost() {
    let times = Times { request_ms: 2000, ..Times::default() };
    let mut test = Test::in_lobby(Config { times, ..Config::default() });
    assert_eq!(entry(&mut test, 4), [history(2)]);
    assert_eq!(test.pass(9000), [&history(2), &history(2), &history(2)].map(String::as_str));
    assert_eq!(test.pass(750), ["close 4201", "waiting"]);
    test.pass(1000);
    test.opened();
    test.recovered("u_ada", 4);
    // The entry behind the gap shows that the server has the missing one.
    let asked = test.pass(10_000);
    assert!(asked.len() >= 3 && asked.iter().all(|line| *line == history(2)), "{asked:?}");
    assert_eq!(entry(&mut test, 3), ["lobby 3: c3", "lobby 4: c4"]);
}

#[test]
fn a_page_that_is_refused_with_not_member_leads_to_a_join() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 4), [history(2)]);
    let id = test.last;
    assert!(test.error(id, "not_member", r#","retryable":false"#).is_empty());
    assert_eq!(test.pass(250), [r#"{"type":"join","room":"lobby","history":50}"#]);
    let got = test.joined("lobby", "e1", 4, &[3, 4]);
    assert_eq!(got, ["joined lobby e1 again", "lobby 3: c3", "lobby 4: c4"]);
}

#[test]
fn a_page_that_is_refused_permanently_is_requested_again() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 4), [history(2)]);
    let id = test.last;
    assert!(test.error(id, "bad_request", r#","retryable":false"#).is_empty());
    assert_eq!(test.pass(250), [history(2)]);
    assert_eq!(test.page("e1", &messages(&[3])), ["lobby 3: c3", "lobby 4: c4"]);
}

#[test]
fn one_page_of_a_room_is_requested_at_a_time() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 4), [history(2)]);
    // The missing entry arrives on its own, and then another one is missing.
    assert_eq!(entry(&mut test, 3), ["lobby 3: c3", "lobby 4: c4"]);
    assert!(entry(&mut test, 6).is_empty());
    assert_eq!(test.page("e1", &messages(&[3, 4])), [history(4)]);
    assert_eq!(test.page("e1", &messages(&[5, 6])), ["lobby 5: c5", "lobby 6: c6"]);
    // Only some of the missing entries arrive on their own.
    assert_eq!(entry(&mut test, 9), [history(6)]);
    assert_eq!(entry(&mut test, 7), ["lobby 7: c7"]);
    assert_eq!(test.page("e1", &messages(&[7, 8, 9])), ["lobby 8: c8", "lobby 9: c9"]);
}

#[test]
fn entries_that_arrive_meanwhile_do_not_shorten_the_delay_of_a_page() {
    // The page was refused with a delay.
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 4), [history(2)]);
    let id = test.last;
    let more = r#","retryable":true,"retry_after_ms":1000"#;
    assert!(test.error(id, "log_unavailable", more).is_empty());
    assert!(entry(&mut test, 5).is_empty());
    assert!(test.pass(999).is_empty());
    assert_eq!(test.pass(1), [history(2)]);
    // The page was empty, but said that there is more.
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

/// Answers every page with an empty one for this long; returns what the application was told, and
/// the delays between the pages.
fn empty_pages(test: &mut Test, ms: u64, has_more_after: bool) -> (Vec<String>, Vec<u64>) {
    let (mut told, mut requested) = (Vec::new(), Vec::new());
    let end = test.now.mono.plus(ms);
    while test.now.mono < end {
        for line in test.pass(10) {
            if line == history(2) {
                requested.push(test.now.mono.0);
                let id = test.last;
                told.extend(test.server(&format!(
                    r#"{{"type":"page","id":"{id}","room":"lobby","epoch":"e1","events":[],
                    "has_more_before":true,"has_more_after":{has_more_after}}}"#
                )));
            } else if line == "open" {
                test.opened();
                test.recovered("u_ada", 2);
                entry(test, 4);
            } else {
                told.push(line);
            }
        }
    }
    (told, requested.windows(2).map(|two| two[1] - two[0]).collect())
}

#[test]
fn an_append_that_takes_minutes_is_not_a_loss() {
    for has_more_after in [false, true] {
        let mut test = Test::in_lobby(Config::default());
        // Another node announces entry 4, but the page has neither 3 nor 4.
        entry(&mut test, 4);
        let id = test.last;
        test.error(id, "log_unavailable", r#","retryable":true"#);
        let (told, delays) = empty_pages(&mut test, 180_000, has_more_after);
        assert!(told.iter().all(|line| !line.contains("lost")), "{told:?}");
        let reconnects = told.iter().filter(|line| *line == "close 4201").count();
        assert_eq!(reconnects, 1, "the connection is made anew once");
        // With a random number of one half, each delay is half of its upper bound.
        let last: Vec<u64> = delays[delays.len() - 3..].iter().map(|ms| ms / 100).collect();
        assert_eq!(last, [150, 150, 150], "the delays grow up to a bound of 30 s: {delays:?}");
        // The append has succeeded.
        assert_eq!(entry(&mut test, 3), ["lobby 3: c3", "lobby 4: c4"]);
    }
}

#[test]
fn an_announced_entry_that_does_not_exist_yet_costs_one_connection_and_no_loss() {
    let mut test = Test::in_lobby(Config::default());
    let ping =
        |seq| format!(r#"{{"type":"ping","heads":{{"lobby":{{"epoch":"e1","seq":{seq}}}}}}}"#);
    test.server(&ping(4));
    let mut reconnects = 0;
    for n in 0..60 {
        for line in test.pass(5000) {
            assert!(!line.contains("lost"), "{line}");
            if line == history(2) {
                let told = test.page("e1", &[]);
                reconnects += usize::from(told.contains(&"close 4201".to_owned()));
            } else if line == "open" {
                test.opened();
                test.recovered("u_ada", 4);
            }
        }
        test.server(&ping(4 + n));
    }
    assert_eq!(reconnects, 1);
    assert_eq!(entry(&mut test, 3)[0], "lobby 3: c3");
}

#[test]
fn a_hole_or_a_page_that_begins_later_is_a_loss() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 5), [history(2)]);
    assert_eq!(test.page("e1", &messages(&[4])), ["lobby 3-3: lost", "lobby 4: c4", "lobby 5: c5"]);
    assert_eq!(entry(&mut test, 7), [history(5)]);
    let hole = r#"{"type":"hole","room":"lobby","from":6,"to":6}"#;
    assert_eq!(test.server(hole), ["lobby 6-6: lost", "lobby 7: c7"]);
}

#[test]
fn a_first_join_begins_where_its_history_begins() {
    let mut test = Test::online(Config::default());
    test.join("lobby");
    let got = test.joined("lobby", "e1", 9, &[8, 9]);
    assert_eq!(got, ["joined lobby e1 fresh", "lobby 8: c8", "lobby 9: c9"]);
    // Without history it begins at the head.
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
fn a_page_that_another_log_may_answer_is_requested_again_after_the_join() {
    let mut test = Test::in_lobby(Config::default());
    assert_eq!(entry(&mut test, 4), [history(2)]);
    // The join shows that the room still has the same log.
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
fn only_the_entries_before_the_history_of_a_complete_join_are_lost() {
    let mut test = Test::in_lobby(Config::default());
    test.again();
    let rooms = r#""lobby":{"recovered":false,"reason":"unavailable"}"#;
    test.welcome("u_ada", &format!(r#","rooms":{{{rooms}}}"#));
    let got = test.joined("lobby", "e1", 6, &[5, 6]);
    assert_eq!(got, ["joined lobby e1 again", "lobby 3-4: lost", "lobby 5: c5", "lobby 6: c6"]);
}

#[test]
fn a_page_of_another_room_is_ignored() {
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
