//! Holds the tables and the examples of `PROTOCOL.md` to the code, both ways.
use std::collections::BTreeSet;

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
        "g12_close",
        "g13_drain",
        "g15_deterministic",
    ];
    let found: Vec<_> = TEXT.lines().filter(|line| line.starts_with("Test: ")).collect();
    let wanted: Vec<_> =
        names.iter().map(|name| format!("Test: `tests/tests/guarantees.rs` `{name}`")).collect();
    assert_eq!(found, wanted);
    let clauses = TEXT.lines().filter(|line| line.starts_with("**G")).count();
    assert_eq!(clauses, names.len());
    assert!(!TEXT.contains("exactly once"));
}
