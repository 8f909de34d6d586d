//! Rules about the workspace as a whole.
use serde_json::Value;

use super::Violation;

const TOP_LEVEL: [&str; 12] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "chat-proto",
    "chat-state",
    "chat-tokio",
    "fuzz",
    "tests",
];

/// Only these names, and those that begin with a dot, stand at the top.
pub(crate) fn top_level(files: &[String]) -> Vec<Violation> {
    let mut names: Vec<&str> = files.iter().filter_map(|path| path.split('/').next()).collect();
    names.dedup();
    names.retain(|name| !name.starts_with('.') && !TOP_LEVEL.contains(name));
    names.iter().map(|name| Violation::new(name, 0, "has no place at the top level")).collect()
}

/// Which crates of the workspace a crate may use, for whatever purpose.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("chat-proto", &[]),
    ("chat-state", &["chat-proto"]),
    ("chat-tokio", &["chat-proto", "chat-state"]),
    ("chat-simulation", &["chat-proto", "chat-state"]),
    ("chat-tests", &["chat-proto", "chat-state", "chat-simulation", "chat-tokio"]),
    ("chat-fuzz", &["chat-proto", "chat-simulation", "chat-state", "chat-tokio"]),
];

/// The core is driven by any runtime, so it knows none.
const PURE: [&str; 2] = ["chat-proto", "chat-state"];

/// Checks the direction of the dependencies in what `cargo metadata --no-deps` says.
pub(crate) fn dependencies(metadata: &Value) -> Vec<Violation> {
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let members: Vec<String> = packages.iter().map(name).collect();
    let mut found = Vec::new();
    for package in packages {
        let user = name(package);
        let file = format!("{}/Cargo.toml", user.replace("chat-tests", "tests"));
        let file = file.replace("chat-simulation", "tests/simulation");
        let file = file.replace("chat-fuzz", "fuzz");
        let allowed = MAY_USE.iter().find(|(name, _)| *name == user).map(|(_, allowed)| *allowed);
        let Some(allowed) = allowed else {
            found.push(Violation::new(&file, 0, "the crate is not one of the six"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = name(dependency);
            if members.contains(&used) && !allowed.contains(&used.as_str()) {
                let rule = format!("{user} may not depend on {used}");
                found.push(Violation::new(&file, 0, rule));
            }
            if PURE.contains(&user.as_str()) && used.contains("tokio") && !members.contains(&used) {
                let rule = format!("{user} may not depend on a runtime ({used})");
                found.push(Violation::new(&file, 0, rule));
            }
        }
    }
    found
}

/// Checks that a Markdown file's links to files of the repository lead somewhere.
pub(crate) fn links(path: &str, text: &str, files: &[String]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut in_fence = false;
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        for target in targets(text) {
            let file = target.split('#').next().unwrap_or_default();
            let elsewhere = file.is_empty() || target.contains(':');
            if !elsewhere && !resolves(path, file, files) {
                found.push(Violation::new(
                    path,
                    line,
                    format!("the link `{target}` leads nowhere"),
                ));
            }
        }
    }
    found
}

/// Returns the targets of `[…](target)` and `[…]: target` outside of inline code.
fn targets(line: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let definition = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    all.extend(definition.and_then(|(_, target)| target.split_whitespace().next()));
    for (place, part) in line.split('`').enumerate() {
        // Between an odd and an even backtick stands code, but a link's text may be code itself.
        if place % 2 == 1 {
            continue;
        }
        all.extend(part.match_indices("](").filter_map(|(at, _)| {
            let target = part[at + 2..].split(')').next()?;
            target.split_whitespace().next()
        }));
    }
    all
}

/// Tells whether a link leads to a file or a folder with files.
fn resolves(from: &str, link: &str, files: &[String]) -> bool {
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    if link.starts_with('/') {
        parts.clear();
    }
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return false,
            ".." => {}
            part => parts.push(part),
        }
    }
    let (path, below) = (parts.join("/"), parts.join("/") + "/");
    path.is_empty() || files.iter().any(|file| *file == path || file.starts_with(&below))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn strings(violations: &[Violation]) -> Vec<String> {
        violations.iter().map(ToString::to_string).collect()
    }

    fn files(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn strangers_at_the_top_are_refused() {
        let known = files(&[".ci/run", ".gitignore", "Cargo.toml", "fuzz/src/lib.rs"]);
        assert_eq!(top_level(&known), []);
        let strange = files(&["Makefile", "docs/a.md", "docs/b.md"]);
        let found = strings(&top_level(&strange));
        assert_eq!(
            found,
            ["Makefile: has no place at the top level", "docs: has no place at the top level"]
        );
    }

    #[test]
    fn dependencies_against_the_direction_are_refused() {
        let package = |name: &str, uses: &[&str]| {
            let uses: Vec<Value> = uses.iter().map(|name| json!({ "name": name })).collect();
            json!({ "name": name, "dependencies": uses })
        };
        let fine = json!({ "packages": [
            package("chat-proto", &["serde"]),
            package("chat-state", &["chat-proto"]),
            package("chat-tokio", &["chat-proto", "chat-state", "tokio"]),
            package("chat-tests", &["chat-proto", "chat-state", "chat-tokio"]),
            package("chat-fuzz", &["chat-proto"]),
        ]});
        assert_eq!(dependencies(&fine), []);
        let wrong = json!({ "packages": [
            package("chat-proto", &["chat-state", "tokio"]),
            package("chat-state", &["tokio-util", "chat-tokio"]),
            package("chat-tokio", &["chat-tests"]),
            package("chat-tests", &["chat-fuzz"]),
            package("chat-fuzz", &[]),
            package("chat-more", &[]),
        ]});
        assert_eq!(
            strings(&dependencies(&wrong)),
            [
                "chat-proto/Cargo.toml: chat-proto may not depend on chat-state",
                "chat-proto/Cargo.toml: chat-proto may not depend on a runtime (tokio)",
                "chat-state/Cargo.toml: chat-state may not depend on a runtime (tokio-util)",
                "chat-state/Cargo.toml: chat-state may not depend on chat-tokio",
                "chat-tokio/Cargo.toml: chat-tokio may not depend on chat-tests",
                "tests/Cargo.toml: chat-tests may not depend on chat-fuzz",
                "chat-more/Cargo.toml: the crate is not one of the six",
            ]
        );
    }

    #[test]
    fn links_that_lead_nowhere_are_refused() {
        let all = files(&["README.md", "tests/run", "chat-proto/README.md"]);
        let check = |path: &str, text: &str| strings(&links(path, text, &all));
        for text in [
            "[a](tests/run) [b](tests/) [c](https://example.org/x) [d](#here) [e](README.md#top)",
            "[a](chat-proto/README.md \"title\")",
            "```\n[a](nowhere)\n```",
            "`[a](nowhere)`",
            "[`a`](./tests/run)",
            "[a]: tests/run",
        ] {
            assert_eq!(check("README.md", text), [""; 0], "{text}");
        }
        assert_eq!(check("chat-proto/README.md", "[a](../tests/run)"), [""; 0]);
        assert_eq!(
            check("README.md", "x\n[a](nowhere.md), [`b`](src/b.rs)\n[c]: gone.md"),
            [
                "README.md:2: the link `nowhere.md` leads nowhere",
                "README.md:2: the link `src/b.rs` leads nowhere",
                "README.md:3: the link `gone.md` leads nowhere",
            ]
        );
        assert_eq!(check("chat-proto/README.md", "[a](tests/run)").len(), 1);
        assert_eq!(check("README.md", "[a](../outside)").len(), 1);
    }
}
