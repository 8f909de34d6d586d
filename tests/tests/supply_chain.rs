//! What is shipped is built from: licences, sources, versions; by the lists that `cargo deny`
//! reads, without needing it. This looks at the system that it runs on, `cargo deny` at all.
#![expect(clippy::unwrap_used, reason = "a test ends where something fails")]
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use chat_tests::process::workspace_root;
use spdx::{Expression, ParseMode};
use toml::Table;

/// The crates that are shipped.
const SHIPPED: [&str; 3] = ["chat-proto", "chat-state", "chat-tokio"];

fn table(path: &str) -> Table {
    std::fs::read_to_string(workspace_root().join(path)).unwrap().parse().unwrap()
}

fn strings(value: &toml::Value) -> BTreeSet<&str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

/// A crate in the tree.
#[derive(Debug)]
struct Package {
    name: String,
    version: String,
    license: String,
    is_ours: bool,
}

/// Everything that the shipped crates are built from here, with all their features.
fn tree() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--all-features", "--edges", "normal,build"])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"])
        .args(SHIPPED.iter().flat_map(|name| ["-p", name]))
        .current_dir(workspace_root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).unwrap();
    let lines: BTreeSet<&str> = output.lines().filter(|line| !line.is_empty()).collect();
    lines.into_iter().map(package).collect()
}

/// Reads `name v1.2.3 (what it is)|licence`; the folder is said of ours only.
fn package(line: &str) -> Package {
    let (package, license) = line.split_once('|').unwrap();
    let (name, rest) = package.split_once(" v").unwrap();
    let (version, about) = rest.split_once(' ').unwrap_or((rest, ""));
    Package {
        name: name.to_owned(),
        version: version.to_owned(),
        license: license.to_owned(),
        is_ours: about.contains('/'),
    }
}

fn is_allowed(license: &str, allowed: &BTreeSet<&str>) -> bool {
    let Ok(expression) = Expression::parse_mode(license, ParseMode::LAX) else { return false };
    expression.evaluate(|asked| allowed.contains(asked.to_string().as_str()))
}

#[test]
fn every_licence_is_allowed_and_every_allowance_is_used() {
    let lists = table(".deny.toml");
    let allowed = strings(&lists["licenses"]["allow"]);
    let tree = tree();
    assert!(tree.len() > 100, "the walk has seen {} crates only", tree.len());
    let refused: Vec<_> =
        tree.iter().filter(|package| !is_allowed(&package.license, &allowed)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    // That it can fail.
    for bad in ["GPL-3.0-only", "MIT AND GPL-3.0-only", "", "who knows"] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
    assert!(is_allowed("GPL-3.0-only OR MIT", &allowed));
    // What nobody needs would let in what nobody has looked at.
    for license in &allowed {
        let mut others = allowed.clone();
        others.remove(license);
        let is_needed = |package: &Package| !is_allowed(&package.license, &others);
        // Each crate of ours can be had under this alone.
        let is_ours = ["Apache-2.0", "MIT"].contains(license);
        assert!(is_ours || tree.iter().any(is_needed), "nothing needs {license}");
    }
}

#[test]
fn a_crate_comes_in_one_version_but_for_those_that_are_listed() {
    let lists = table(".deny.toml");
    let bans = lists["bans"].as_table().unwrap();
    let skipped: BTreeSet<&str> = bans["skip"]
        .as_array()
        .unwrap()
        .iter()
        .inspect(|skip| assert!(skip["reason"].as_str().is_some_and(|why| !why.is_empty())))
        .map(|skip| skip["crate"].as_str().unwrap())
        .collect();
    let tree = tree();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &tree {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    let mut unused = skipped.clone();
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        let listed: Vec<_> = versions
            .iter()
            .filter(|version| skipped.contains(format!("{name}@{version}").as_str()))
            .collect();
        assert_eq!(listed.len() + 1, versions.len(), "{name} is there as {versions:?}");
        for version in listed {
            unused.remove(format!("{name}@{version}").as_str());
        }
    }
    assert!(unused.is_empty(), "listed, but there once or not at all: {unused:?}");
    for ban in bans["deny"].as_array().unwrap() {
        let name = ban["crate"].as_str().unwrap();
        assert!(!versions.contains_key(name), "{name} is there: {}", ban["reason"]);
    }
    assert!(versions.contains_key("rustls") && versions.contains_key("aws-lc-rs"));
}

/// Also what tests are built from: it runs on the machines of those who work on this.
#[test]
fn everything_comes_from_the_registry_with_a_checksum() {
    let lists = table(".deny.toml");
    let registries = strings(&lists["sources"]["allow-registry"]);
    assert!(strings(&lists["sources"]["allow-git"]).is_empty());
    let lock = table("Cargo.lock");
    let packages = lock["package"].as_array().unwrap();
    let mut ours = BTreeSet::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let Some(source) = package.get("source") else {
            ours.insert(name);
            continue;
        };
        let source = source.as_str().unwrap();
        let registry = source.strip_prefix("registry+").unwrap_or_default();
        assert!(registries.contains(registry), "{name} comes from {source}");
        assert!(package.get("checksum").is_some(), "{name} has no checksum");
    }
    let crates = [&SHIPPED[..], &["chat-fuzz", "chat-simulation", "chat-tests"]].concat();
    assert_eq!(ours, crates.into_iter().collect(), "only ours have no source");
    assert!(packages.len() > 200, "{} packages only", packages.len());
}

#[test]
fn nothing_of_ours_is_unsafe() {
    let root = table("Cargo.toml");
    assert_eq!(root["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for member in strings(&root["workspace"]["members"]) {
        let manifest = table(&format!("{member}/Cargo.toml"));
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{member}");
    }
    for package in tree().iter().filter(|package| package.is_ours) {
        assert!(SHIPPED.contains(&package.name.as_str()), "{package:?} is shipped, too");
    }
}
