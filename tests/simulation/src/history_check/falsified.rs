//! A checker is worth what it refuses: each test breaks one thing in a history that is right.
use super::*;

/// Two clients say five things, of which one was refused and one got no answer. A `basic` member
/// and a `chat.v1` member were there for a part.
struct Story {
    sends: Vec<Send>,
    runs: Vec<Run>,
    log: Vec<Logged>,
}

fn send(client: &str, content: &str, outcome: Outcome) -> Send {
    let key = Some(format!("key of {content}"));
    Send { client: client.into(), content: content.into(), key, outcome }
}

fn logged(seq: u64, client: &str, content: &str) -> Logged {
    let key = Some(format!("key of {content}"));
    Logged { seq, client: client.into(), content: content.into(), key }
}

fn shown(seq: Option<u64>, client: &str, content: &str) -> Shown {
    Shown { seq, client: client.into(), content: content.into() }
}

fn story() -> Story {
    Story {
        sends: vec![
            send("ada", "one", Outcome::Acked(1)),
            send("bob", "two", Outcome::Acked(2)),
            send("ada", "three", Outcome::Unknown),
            send("ada", "never", Outcome::Refused),
            send("bob", "four", Outcome::Echoed),
            send("ada", "open", Outcome::Unknown),
            send("ada", "five", Outcome::Acked(5)),
        ],
        runs: vec![
            Run {
                member: "basic".into(),
                after: 1,
                to: Some(3),
                shown: vec![shown(None, "bob", "two"), shown(None, "ada", "three")],
            },
            Run {
                member: "v1".into(),
                after: 2,
                to: None,
                shown: vec![shown(Some(3), "ada", "three"), shown(Some(4), "bob", "four")],
            },
        ],
        log: vec![
            logged(1, "ada", "one"),
            logged(2, "bob", "two"),
            logged(3, "ada", "three"),
            logged(4, "bob", "four"),
            logged(5, "ada", "five"),
        ],
    }
}

fn verdict(falsify: impl FnOnce(&mut Story)) -> Result<(), Violation> {
    let mut story = story();
    falsify(&mut story);
    check(&story.sends, &story.runs, &story.log)
}

/// Gives the entries the `seq`s of their places, as a forger would.
fn renumber(log: &mut [Logged]) {
    for (seq, entry) in (1..).zip(log) {
        entry.seq = seq;
    }
}

macro_rules! refused {
    ($($name:ident: $violation:pat, $falsify:expr;)+) => {$(
        #[test]
        fn $name() {
            let falsify: fn(&mut Story) = $falsify;
            let verdict = verdict(falsify);
            assert!(matches!(verdict, Err($violation)), "{verdict:?}");
        }
    )+};
}

#[test]
fn a_true_history_is_accepted() {
    assert_eq!(verdict(|_| {}), Ok(()));
    assert_eq!(check(&[], &[], &[]), Ok(()));
}

#[test]
fn an_unanswered_send_may_be_there_or_not() {
    let verdict = verdict(|story| {
        story.log.insert(4, logged(5, "ada", "open"));
        renumber(&mut story.log);
        story.sends[6].outcome = Outcome::Acked(6);
    });
    assert_eq!(verdict, Ok(()));
}

#[test]
fn the_same_words_may_be_said_twice() {
    let sends = [("yes", Outcome::Unknown), ("yes", Outcome::Acked(1)), ("yes", Outcome::Echoed)]
        .map(|(content, outcome)| Send { key: None, ..send("ada", content, outcome) });
    let log = [1, 2].map(|seq| Logged { key: None, ..logged(seq, "ada", "yes") });
    assert_eq!(check(&sends, &[], &log), Ok(()));
}

refused! {
    a_dropped_entry_leaves_a_hole: Violation::Hole { expected: 2, found: 3 },
        |s| { s.log.remove(1); };
    an_entry_before_the_first: Violation::Hole { expected: 1, found: 0 },
        |s| for entry in &mut s.log { entry.seq -= 1 };
    a_dropped_entry_is_missed_even_if_the_rest_moved_up: Violation::Lost(_),
        |s| { s.log.remove(1); renumber(&mut s.log); };
    a_dropped_last_entry_is_missed: Violation::Lost(_),
        |s| { s.log.pop(); };
    an_echoed_message_is_missed: Violation::Lost(_),
        |s| { s.log.truncate(3); s.sends.pop(); s.runs[1].shown.pop(); };
    swapped_entries_are_not_where_the_acks_said: Violation::Lost(_),
        |s| { s.log.swap(0, 1); renumber(&mut s.log); };
    swapped_places_are_seen: Violation::Hole { expected: 1, found: 2 },
        |s| s.log.swap(0, 1);
    two_acks_for_one_place: Violation::Lost(_),
        |s| { let again = s.sends[0].clone(); s.sends.push(again); };
    an_ack_beyond_the_log: Violation::Lost(_),
        |s| s.sends[6].outcome = Outcome::Acked(u64::MAX);
    an_ack_for_no_place: Violation::Lost(_),
        |s| s.sends[0].outcome = Outcome::Acked(0);
    a_repeated_entry: Violation::Twice(_),
        |s| s.log.push(logged(6, "bob", "two"));
    an_unanswered_send_twice: Violation::Twice(_),
        |s| s.log.push(logged(6, "ada", "three"));
    a_refused_send: Violation::RefusedButThere(_),
        |s| s.log.push(logged(6, "ada", "never"));
    an_invented_entry: Violation::Invented(_),
        |s| s.log.push(logged(6, "ada", "I never said that"));
    an_invented_speaker: Violation::Invented(_),
        |s| s.log.push(logged(6, "eve", "one"));
    an_altered_text: Violation::Lost(_),
        |s| s.log[0].content.push(' ');
    an_altered_text_of_an_unanswered_send: Violation::Invented(_),
        |s| s.log[2].content.push(' ');
    an_altered_key: Violation::Lost(_),
        |s| s.log[0].key = None;
    a_client_is_not_in_its_own_order: Violation::Reordered(_),
        |s| { s.sends.swap(0, 6); s.sends[0].outcome = Outcome::Acked(5); };
    an_unanswered_send_after_a_later_one: Violation::Reordered(_),
        |s| s.log.push(logged(6, "ada", "open"));
    an_echoed_message_after_a_later_one: Violation::Reordered(_),
        |s| { s.sends.swap(1, 4); s.runs.clear(); s.sends[4].outcome = Outcome::Echoed; };
    a_delivery_is_missing: Violation::ShownCount(_),
        |s| { s.runs[0].shown.pop(); };
    a_delivery_is_missing_in_between: Violation::ShownWrong(_),
        |s| { s.runs[1].shown.remove(0); };
    a_delivery_came_twice: Violation::ShownWrong(_),
        |s| { let again = s.runs[0].shown[0].clone(); s.runs[0].shown.insert(0, again); };
    a_delivery_came_after_the_end: Violation::ShownCount(_),
        |s| s.runs[0].shown.push(shown(None, "bob", "four"));
    a_delivery_came_before_it_was_in_the_log: Violation::ShownCount(_),
        |s| {
            let beyond = [("ada", "five"), ("ada", "open")];
            s.runs[1].shown.extend(beyond.map(|(who, what)| shown(None, who, what)));
        };
    deliveries_are_swapped: Violation::ShownWrong(_),
        |s| s.runs[0].shown.swap(0, 1);
    a_delivery_has_another_text: Violation::ShownWrong(_),
        |s| s.runs[0].shown[1].content.push('\n');
    a_delivery_has_another_speaker: Violation::ShownWrong(_),
        |s| s.runs[0].shown[1].client = "bob".into();
    a_delivery_has_another_place: Violation::ShownWrong(_),
        |s| s.runs[1].shown[0].seq = Some(4);
    a_run_begins_after_the_log: Violation::ShownCount(_),
        |s| s.runs[0].after = 9;
}
