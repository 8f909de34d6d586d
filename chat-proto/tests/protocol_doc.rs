//! Holds the tables and the examples of `PROTOCOL.md` to the code, both ways.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use chat_proto::{
    Advice, ClientFrame, CloseCode, Decoder, Dialect, ErrorCode, Limits, ServerFrame, tables,
};
use serde_json::Value;

const TEXT: &str = include_str!("../PROTOCOL.md");

/// The rows of the one table with this header, cells trimmed and joined again.
fn table(header: &str) -> Vec<String> {
    let mut lines = TEXT.lines().skip_while(|line| *line != header);
    assert!(lines.next().is_some(), "PROTOCOL.md has no table that begins with\n{header}");
    assert!(lines.next().is_some_and(|line| line.starts_with("|--")), "no rule below\n{header}");
    let again = TEXT.lines().filter(|line| *line == header).count();
    assert_eq!(again, 1, "PROTOCOL.md has several tables that begin with\n{header}");
    lines.take_while(|line| line.starts_with('|')).map(String::from).collect()
}

/// Compares the first `cells` cells of each row; what comes behind them is prose, but not empty.
#[track_caller]
fn same_rows(header: &str, cells: usize, expected: &[String]) {
    let columns = header.matches('|').count() - 1;
    let mut found = Vec::new();
    for row in table(header) {
        let all: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(all.len(), columns, "this row has another number of cells:\n{row}");
        assert!(all.iter().all(|cell| !cell.is_empty()), "this row has an empty cell:\n{row}");
        found.push(format!("| {} |", all[..cells].join(" | ")));
    }
    for row in expected {
        assert!(found.contains(row), "PROTOCOL.md lacks this row below `{header}`:\n{row}");
    }
    for row in &found {
        assert!(expected.contains(row), "this row below `{header}` is not in the code:\n{row}");
    }
    assert_eq!(found, expected, "the rows below `{header}` are in another order");
}

#[test]
fn the_errors_are_those_of_the_code() {
    let row = |code: &ErrorCode| {
        format!("| `{code}` | {} |", if code.retryable() { "yes" } else { "no" })
    };
    let rows: Vec<_> = ErrorCode::ALL.iter().map(row).collect();
    same_rows("| code | retryable | meaning |", 2, &rows);
}

#[test]
fn the_close_codes_are_those_of_the_code() {
    let row = |code: &CloseCode| {
        let advice = match code.advice() {
            Advice::FixFirst => "fix first",
            Advice::BackOff => "back off",
            Advice::ResumeNow => "resume now",
            Advice::StayAway => "stay away",
        };
        format!("| {} | `{}` | {advice} |", code.number(), code.reason())
    };
    let rows: Vec<_> = CloseCode::ALL.iter().map(row).collect();
    same_rows("| code | reason | advice | meaning |", 3, &rows);
}

#[test]
fn the_limits_are_those_of_the_code() {
    let rows: Vec<_> = Limits::TABLE
        .iter()
        .map(|(name, text, default, min, max)| {
            format!("| `{name}` | {default} | {min} to {max} | {} |", text.trim())
        })
        .collect();
    same_rows("| limit | default | bounds | meaning |", 4, &rows);
}

#[test]
fn the_frames_are_those_of_the_code() {
    let row = |(request, reply): &(&str, &str)| match *reply {
        "" => format!("| `{request}` | none |"),
        reply => format!("| `{request}` | `{reply}` |"),
    };
    let rows: Vec<_> = tables::REQUESTS.iter().map(row).collect();
    same_rows("| request | reply |", 2, &rows);
    let row = |(frame, kind): &(&str, &str)| format!("| `{frame}` | {kind} |");
    let rows: Vec<_> = tables::SERVER_FRAMES.iter().map(row).collect();
    same_rows("| frame | kind |", 2, &rows);
}

/// The examples in the code blocks with this label.
fn examples(label: &str) -> Vec<&'static str> {
    let mut inside = false;
    let mut examples = Vec::new();
    for line in TEXT.lines() {
        if line == format!("```json {label}") {
            inside = true;
        } else if line.starts_with("```") {
            inside = false;
        } else if inside {
            examples.push(line);
        }
    }
    assert!(!examples.is_empty(), "no example is labelled {label:?}");
    examples
}

fn kinds(examples: &[&'static str]) -> BTreeSet<String> {
    let kind = |line: &&str| {
        let value: Value = serde_json::from_str(line).expect(line);
        value["type"].as_str().expect(line).to_owned()
    };
    examples.iter().map(kind).collect()
}

fn firsts(table: &[(&str, &str)]) -> BTreeSet<String> {
    table.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[test]
fn the_examples_can_be_read() {
    let client = examples("client");
    let mut decoder = Decoder::new(Dialect::V1);
    for line in &client {
        let ClientFrame::V1 { id, request } = decoder.decode(line).expect(line) else {
            panic!("{line}");
        };
        let again: Value = serde_json::from_str(&request.encode(id.as_ref())).expect(line);
        assert_eq!(again, serde_json::from_str::<Value>(line).expect(line));
    }
    assert_eq!(kinds(&client), firsts(tables::REQUESTS));

    let server = examples("server");
    for line in &server {
        let frame = ServerFrame::decode(line).expect(line);
        let written = frame.encode(Dialect::V1).expect("it is known");
        if !matches!(frame, ServerFrame::Welcome(_)) {
            assert_eq!(written.as_str(), *line, "an example is spelled as the server does");
        }
    }
    assert_eq!(kinds(&server), firsts(tables::SERVER_FRAMES));
}

#[test]
fn the_basic_examples_are_frames() {
    let mut decoder = Decoder::new(Dialect::Basic);
    let client = examples("client basic");
    for line in &client {
        assert!(matches!(decoder.decode(line), Ok(ClientFrame::Basic(_))), "{line}");
    }
    let server = examples("server basic");
    assert_eq!(kinds(&client), kinds(&server));
    for line in server {
        let value: Value = serde_json::from_str(line).expect(line);
        let fields: Vec<_> = value.as_object().expect(line).keys().collect();
        assert_eq!(fields, ["content", "room", "type", "username"], "{line}");
    }
}

#[test]
fn each_guarantee_names_its_test() {
    let names = [
        "g1_order",
        "g2_ack",
        "g3_once",
        "g4_no_silent_loss",
        "g5_resume",
        "g6_atomic_join",
        "g7_history",
        "g9_bounded",
        "g10_fair",
        "g11_presence",
        "g12_close",
        "g13_drain",
        "g15_deterministic",
    ];
    let (_, guarantees) = TEXT.split_once("## 12. Guarantees").expect("a section");
    let clauses: Vec<&str> = guarantees.split("\n**G").skip(1).collect();
    assert_eq!(clauses.len(), names.len());
    for (clause, name) in clauses.into_iter().zip(names) {
        let number = name.split_once('_').expect("a number and words").0.to_uppercase();
        assert_eq!(format!("G{}", clause.split(' ').next().expect("a number")), number);
        let (text, tests) = clause.split_once("\nTest: ").expect(clause);
        assert!(!text.contains("Test") && !tests.contains("Test: "), "{number} has one list");
        let tests = named_tests(tests);
        assert_eq!(tests[0], ("tests/simulation/tests/guarantees.rs", name), "{number}");
        tests.iter().for_each(|(file, test)| is_a_test(file, test));
    }
    assert!(!TEXT.contains("exactly once"));
}

/// Reads a list of tests: each has a file, the one that was named last, and a function there.
fn named_tests(list: &str) -> Vec<(&str, &str)> {
    let mut tests = Vec::new();
    let mut file = None;
    for word in list.split('`').skip(1).step_by(2) {
        if word.ends_with(".rs") {
            file = Some(word);
        } else {
            tests.push((file.expect("a file comes first"), word));
        }
    }
    assert!(!tests.is_empty(), "no test in {list}");
    tests
}

/// Checks that there is such a test: a function with an attribute that makes it one.
#[track_caller]
fn is_a_test(file: &str, test: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let declared = |line: &&str| {
        let head = line.split('(').next().unwrap_or_default();
        head.split(' ').collect::<Vec<_>>().ends_with(&["fn", test])
    };
    let at = lines.iter().position(declared);
    let at = at.unwrap_or_else(|| panic!("{file} has no function {test}"));
    let mut attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
    let is_test =
        attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
    assert!(is_test, "{test} in {file} is no test");
}

#[test]
#[should_panic(expected = "is no test")]
fn a_function_that_is_no_test_is_noticed() {
    is_a_test("chat-proto/tests/protocol_doc.rs", "is_a_test");
}

#[test]
#[should_panic(expected = "has no function")]
fn a_test_that_is_not_there_is_noticed() {
    is_a_test("chat-proto/tests/protocol_doc.rs", "is_a");
}
