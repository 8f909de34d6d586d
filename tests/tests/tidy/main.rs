//! Rules that neither the compiler nor clippy checks: sizes, directions of dependency, cycles of
//! imports, words that certain folders must not contain. Every violation names its file, line and
//! rule. Every rule has a test that shows that it can fail.
mod cycles;
mod functions;
mod repository;
mod rules;
mod scan;
mod security;
mod workspace;

use std::fmt;

use repository::Repository;

/// A line or file that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    file: String,
    /// Counted from 1; 0 means the file as a whole.
    line: usize,
    rule: String,
}

impl Violation {
    pub(crate) fn new(file: &str, line: usize, rule: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, rule: rule.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, rule } = self;
        match line {
            0 => write!(f, "{file}: {rule}"),
            line => write!(f, "{file}:{line}: {rule}"),
        }
    }
}

#[test]
fn the_repository_is_tidy() {
    let repository = Repository::open();
    let mut violations = workspace::top_level(&repository.files);
    violations.extend(workspace::dependencies(&repository.metadata()));
    for root in cycles::CRATES {
        let below = repository.files.iter().filter_map(|path| path.strip_prefix(root));
        let sources = below
            .filter(|file| file.ends_with(".rs"))
            .filter_map(|file| Some((file.to_owned(), repository.read(&format!("{root}{file}"))?)));
        violations.extend(cycles::check(root, &sources.collect()));
    }
    for path in &repository.files {
        let Some(text) = repository.read(path) else { continue };
        violations.extend(rules::check(path, &text));
        if path.ends_with(".md") {
            violations.extend(workspace::links(path, &text, &repository.files));
        }
        if path == security::FILE {
            violations.extend(security::named_tests(&text, |file| repository.read(file)));
        }
    }
    violations.sort();
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} violations:\n{}", list.len(), list.join("\n"));
}

#[test]
fn the_walk_finds_the_files_of_the_repository() {
    let files = Repository::open().files;
    for path in ["Cargo.toml", "chat-proto/src/lib.rs", "tests/tests/tidy/main.rs"] {
        assert!(files.iter().any(|file| file == path), "{path} is not among {files:?}");
    }
    assert!(!files.iter().any(|file| file.starts_with("target/")), "build products were walked");
}
