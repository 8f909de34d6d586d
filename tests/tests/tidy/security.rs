//! What SECURITY.md promises is held by tests that exist.
use super::Violation;

pub(crate) const FILE: &str = "SECURITY.md";

/// The section whose rows have to name tests.
const DEFENDED: &str = "## What is defended";

/// Checks that each row of what is defended names tests in its last cell, and that there are such.
/// A cell has a file, then the tests in it: `` `tests/tests/a.rs` `b`, `c`; `d.rs` `e` ``.
pub(crate) fn named_tests(text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut wrong = |line, rule: String| found.push(Violation::new(FILE, line, rule));
    let (mut inside, mut rows) = (false, 0);
    for (line, text) in (1..).zip(text.lines()) {
        if text.starts_with("## ") {
            inside = text == DEFENDED;
        }
        let is_head = text.starts_with("| attack |") || text.starts_with("|---");
        if !inside || !text.starts_with('|') || is_head {
            continue;
        }
        rows += 1;
        let cell = text.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        let (mut file, mut tests) = (None, 0);
        for word in cell.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                file = Some(word);
                continue;
            }
            tests += 1;
            let Some(file) = file else {
                wrong(line, format!("`{word}` comes before its file"));
                continue;
            };
            match read(file) {
                None => wrong(line, format!("there is no {file}")),
                Some(source) if is_test(&source, word) => {}
                Some(_) => wrong(line, format!("{file} has no test `{word}`")),
            }
        }
        if tests == 0 {
            wrong(line, "it names no test".into());
        }
    }
    if rows == 0 {
        wrong(0, format!("it has no rows under `{DEFENDED}`"));
    }
    found
}

/// Tells whether a source has a function of this name with an attribute that makes it a test.
fn is_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let declares = |line: &&str| {
        let head = line.split('(').next().unwrap_or_default();
        head.split(' ').collect::<Vec<_>>().ends_with(&["fn", name])
    };
    let Some(at) = lines.iter().position(declares) else { return false };
    let mut attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
    attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

#[test]
fn a_row_names_tests_that_exist() {
    let source = "#[test]\nfn good() {}\n\n#[tokio::test]\nasync fn late() {}\n\nfn helper() {}\n";
    let read = |file: &str| (file == "a.rs").then(|| source.to_owned());
    let head = format!("# S\n{DEFENDED}\n| attack | defence | tests |\n|---|---|---|\n");
    let rules = |row: &str| {
        let found = named_tests(&format!("{head}{row}\n## Other\n| a | b | c |\n"), read);
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(rules("| x `y` | z | `a.rs` `good`, `late` |"), "");
    assert_eq!(rules("| x | y | none |"), "SECURITY.md:5: it names no test");
    assert_eq!(rules("| x | y | `good` |"), "SECURITY.md:5: `good` comes before its file");
    assert_eq!(rules("| x | y | `b.rs` `good` |"), "SECURITY.md:5: there is no b.rs");
    for name in ["helper", "goo", "missing"] {
        let row = format!("| x | y | `a.rs` `good`, `{name}` |");
        assert_eq!(rules(&row), format!("SECURITY.md:5: a.rs has no test `{name}`"));
    }
    assert!(rules("").contains("it has no rows"));
}
