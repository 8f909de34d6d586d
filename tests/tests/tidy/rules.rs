//! Rules about one file.
use super::Violation;
use super::functions::functions;
use super::scan::{Language, Views};

/// Checks one file by every rule that is about its kind.
pub(crate) fn check(path: &str, source: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let language = match path.rsplit_once('.') {
        Some((_, "rs")) => Language::Rust,
        Some((_, "js" | "mjs")) => Language::JavaScript,
        _ => return found,
    };
    let views = Views::new(source, language);
    sizes(path, source, &views, language, &mut found);
    match language {
        Language::Rust => rust(path, source, &views, &mut found),
        Language::JavaScript => javascript(path, &views, &mut found),
    }
    found
}

const FILE_CODE_LINES_MAX: usize = 500;
const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// The one file that reads a clock.
const CLOCK: &str = "chat-tokio/src/clock.rs";

fn sizes(path: &str, source: &str, views: &Views, language: Language, found: &mut Vec<Violation>) {
    let (code, all) = (views.code_lines(), source.lines().count());
    if code > FILE_CODE_LINES_MAX {
        let rule = format!("{code} lines of code; a file has {FILE_CODE_LINES_MAX} at most");
        found.push(Violation::new(path, 0, rule));
    }
    if all > FILE_LINES_MAX {
        let rule = format!("{all} lines; a file has {FILE_LINES_MAX} at most");
        found.push(Violation::new(path, 0, rule));
    }
    for function in functions(views, language) {
        let (name, lines) = (function.name, function.lines);
        if lines > FUNCTION_LINES_MAX {
            let rule = format!("`{name}` has {lines} lines; a function has {FUNCTION_LINES_MAX}");
            found.push(Violation::new(path, function.line, rule));
        }
    }
}

fn rust(path: &str, source: &str, views: &Views, found: &mut Vec<Violation>) {
    for (line, text) in (1..).zip(source.lines()) {
        let columns = text.chars().count();
        if columns > COLUMNS_MAX {
            let rule = format!("{columns} columns; a line has {COLUMNS_MAX} at most");
            found.push(Violation::new(path, line, rule));
        }
    }
    if ["chat-proto/src/lib.rs", "chat-state/src/lib.rs"].contains(&path)
        && !views.code.contains("#![no_std]")
    {
        found.push(Violation::new(path, 0, "the core has to be `#![no_std]`"));
    }
    if path.starts_with("chat-tokio/src/") && path != CLOCK {
        let words = ["Instant::now", "SystemTime::now", ".elapsed()"];
        ban(path, &views.code, &words, "the clock is read in clock.rs only", found);
    }
    let words = ["todo!", "unimplemented!"];
    ban(path, &views.code, &words, "write it, or leave it out", found);
    ban(path, &views.code, &["#[ignore]"], "a test is ignored for a stated reason", found);
    let in_tests = path.starts_with("tests/") || path.contains("/tests/");
    if in_tests {
        let words = ["thread::sleep", "time::sleep"];
        ban(path, &views.code, &words, "a test waits for a condition", found);
    }
}

fn javascript(path: &str, views: &Views, found: &mut Vec<Violation>) {
    if path.starts_with("chat-tokio/web/") && !path.starts_with("chat-tokio/web/tests/") {
        let words = ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"];
        ban(path, &views.text, &words, "text from users is never markup", found);
    }
}

fn ban(path: &str, view: &str, words: &[&str], why: &str, found: &mut Vec<Violation>) {
    for (line, text) in (1..).zip(view.lines()) {
        for word in words.iter().filter(|word| text.contains(**word)) {
            found.push(Violation::new(path, line, format!("`{word}`: {why}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str, source: &str, line: usize, rule: &str) {
        let found: Vec<String> = check(path, source).iter().map(ToString::to_string).collect();
        let place = if line == 0 { format!("{path}: ") } else { format!("{path}:{line}: ") };
        let [violation] = found.as_slice() else { panic!("{path}: {found:?}") };
        assert!(violation.starts_with(&place), "{violation}");
        assert!(violation.contains(rule), "{violation}");
    }

    fn accepted(path: &str, source: &str) {
        assert_eq!(check(path, source), [], "{path}");
    }

    #[test]
    fn long_files_are_refused() {
        accepted("a.rs", &"x;\n\n// y\n".repeat(250));
        refused("a.rs", &"x;\n".repeat(501), 0, "501 lines of code");
        refused("a.js", &"x;\n".repeat(501), 0, "501 lines of code");
        accepted("a.rs", &"// x\n".repeat(800));
        refused("a.rs", &"// x\n".repeat(801), 0, "801 lines; ");
        accepted("a.md", &"x\n".repeat(5000));
    }

    #[test]
    fn long_functions_are_refused_in_tests_too() {
        let body = |lines: usize| "    x;\n".repeat(lines - 2);
        accepted("a.rs", &format!("fn a() {{\n{}}}\n", body(70)));
        refused("a.rs", &format!("\nfn a() {{\n{}}}\n", body(71)), 2, "`a` has 71 lines");
        let test = format!("#[cfg(test)]\nmod tests {{\n#[test]\nfn b() {{\n{}}}\n}}\n", body(71));
        refused("a.rs", &test, 4, "`b` has 71 lines");
        refused("a.mjs", &format!("function c() {{\n{}}}\n", body(71)), 1, "`c` has 71 lines");
    }

    #[test]
    fn wide_lines_are_refused() {
        accepted("a.rs", &format!("// {}\n", "ü".repeat(97)));
        refused("a.rs", &format!("\n// {}\n", "x".repeat(98)), 2, "101 columns");
    }

    #[test]
    fn the_core_has_no_std() {
        for path in ["chat-proto/src/lib.rs", "chat-state/src/lib.rs"] {
            accepted(path, "//! a\n#![no_std]\n");
            refused(path, "// #![no_std]\n", 0, "no_std");
        }
    }

    #[test]
    fn the_clock_has_one_reader() {
        for word in ["Instant::now()", "SystemTime::now()", "start.elapsed()"] {
            let source = format!("\nlet x = {word};\n");
            refused("chat-tokio/src/worker.rs", &source, 2, "clock.rs only");
            accepted(CLOCK, &source);
            accepted("tests/tests/a.rs", &source);
            accepted("chat-tokio/src/worker.rs", &format!("// {word}\n"));
        }
    }

    #[test]
    fn users_text_is_never_markup() {
        for word in ["innerHTML = x", "outerHTML", "insertAdjacentHTML(x)", "['innerHTML']"] {
            refused("chat-tokio/web/app.js", &format!("x.{word};\n"), 1, "never markup");
            accepted("chat-tokio/web/app.js", &format!("// {word}\n"));
        }
        refused("chat-tokio/web/a/b.mjs", "document.write(x);\n", 1, "never markup");
    }

    #[test]
    fn unfinished_work_is_refused() {
        refused("a.rs", "fn a() { todo!() }\n", 1, "`todo!`");
        refused("a.rs", "fn a() {\n    unimplemented!()\n}\n", 2, "`unimplemented!`");
        refused("a.rs", "#[ignore]\n", 1, "stated reason");
        accepted("a.rs", "#[ignore = \"needs a network\"]\n// todo!\n");
    }

    #[test]
    fn tests_do_not_sleep() {
        for word in
            ["std::thread::sleep(x)", "tokio::time::sleep(x).await", "use tokio::time::sleep"]
        {
            let source = format!("\n{word};\n");
            refused("tests/tests/a.rs", &source, 2, "waits for a condition");
            refused("chat-tokio/tests/a.rs", &source, 2, "waits for a condition");
            accepted("chat-tokio/src/accept.rs", &source);
        }
    }
}
