//! Answers of the log that come late, or never.
use super::*;

#[test]
fn an_append_that_is_answered_too_late_is_shown_all_the_same() {
    let mut test = Test::joined(LimitValues::default(), 0);
    let say = Request::Message { room: room(), key: None, content: "x".into(), reply_to: None };
    test.request(CONN, say);
    let offered = test.pass(0);
    let append = offered.iter().find_map(|action| match action {
        Action::Append { token, .. } => Some(*token),
        _ => None,
    });
    // It is given up, and the log does not have it yet.
    let asked = test.pass(30_000).into_iter().find_map(|action| match action {
        Action::Head { token, .. } => Some(token),
        _ => None,
    });
    let result = Ok(page(0, 0..0).head);
    test.handle(Event::Head { token: asked.expect("a question"), result });
    assert_eq!(loads(&test.pass(1000)).count(), 0);
    // Then it has: other Hubs are told, and it is read.
    let epoch = page(0, 0..0).head.epoch;
    let result = Ok(Appended { epoch, outcomes: vec![Outcome::New { seq: seq(1) }] });
    let told = test.handle(Event::Appended { token: append.expect("an append"), result });
    let grown = |action: &Action| match action {
        Action::Signal { signal: Signal::Grown { last, .. }, .. } => *last == seq(1),
        _ => false,
    };
    assert!(told.iter().any(grown), "{told:?}");
    let token = load(&test.pass(20)).0;
    let actions = test.handle(Event::Loaded { token, result: Ok(page(1, 1..2)) });
    assert_eq!(shown(&actions), [1]);
}

#[test]
fn appends_that_are_never_answered_do_not_add_up() {
    let mut test = Test::joined(LimitValues::default(), 0);
    let (mut tokens, mut late) = (Vec::new(), 0);
    for n in 0..600 {
        let content = format!("m{n}").into();
        let message = Request::Message { room: room(), key: None, content, reply_to: None };
        test.request(CONN, message);
        for action in test.pass(0) {
            if let Action::Append { token, .. } = action {
                tokens.push(token);
            }
        }
        for _ in 0..3 {
            test.pass(10_000);
            test.handle(Event::Alive { conn: CONN });
        }
        late = late.max(test.hub.stats().pending);
    }
    assert_eq!(tokens.len(), 600, "each is given up and makes way for the next");
    assert!((256..=260).contains(&late), "{late} questions");
    // Whichever the Hub has forgotten, an answer that comes after all is no mistake.
    for token in tokens {
        test.handle(Event::Appended { token, result: Err(AppendError::Refused("down".into())) });
    }
    assert!(test.hub.stats().pending <= 4, "{:?}", test.hub.stats());
}
