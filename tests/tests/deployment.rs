//! The files for those who run the server: they name what there is, and it takes what they say.
#![expect(clippy::unwrap_used, reason = "a test ends where something fails")]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use chat_tests::process::{server_binary, workspace_root};
use chat_tokio::config::Config;

fn deploy(file: &str) -> String {
    let path = workspace_root().join("chat-tokio/deploy").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The assignments of a unit, in order; comments are left out.
fn unit() -> Vec<(String, String)> {
    let text = deploy("chat-server.service");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
}

fn all<'a>(pairs: &'a [(String, String)], key: &str) -> Vec<&'a str> {
    pairs.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect()
}

fn only<'a>(pairs: &'a [(String, String)], key: &str) -> &'a str {
    let values = all(pairs, key);
    assert_eq!(values.len(), 1, "{key} has to stand there once: {values:?}");
    values[0]
}

/// Asks the server what it makes of options, without running it.
fn ask<'a>(
    args: impl IntoIterator<Item = &'a str>,
    env: &BTreeMap<&'a str, &'a str>,
) -> (Option<i32>, String) {
    let mut command = Command::new(server_binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CHAT_") {
            command.env_remove(name);
        }
    }
    let output = command.args(args).arg("--print-config").envs(env).output().unwrap();
    (output.status.code(), text(&output))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn the_server_takes_the_options_of_the_unit() {
    let unit = unit();
    let start = only(&unit, "ExecStart");
    let mut words = start.split(' ');
    assert_eq!(words.next(), Some("/usr/local/bin/chat-server"));
    let (code, said) = ask(words.clone(), &BTreeMap::new());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("data_dir = \"/var/lib/chat-server\""), "{said}");
    // That it can fail.
    assert_eq!(ask(words.chain(["--no-such-option"]), &BTreeMap::new()).0, Some(2));
    assert_eq!(only(&unit, "StateDirectory"), "chat-server");
    assert_eq!(only(&unit, "RestartPreventExitStatus"), "2");
    // The variables that its comment proposes.
    let file = deploy("chat-server.service");
    let proposed = file.lines().filter_map(|line| line.strip_prefix("#   CHAT_"));
    let proposed: Vec<_> = proposed.map(|line| line.split_once('=').unwrap()).collect();
    assert!(!proposed.is_empty());
    for (name, value) in proposed {
        let name = format!("CHAT_{name}");
        // An address beyond this machine needs somebody who is asked for a token.
        let env = BTreeMap::from([("CHAT_AUTH", "jwt"), (&*name, value)]);
        let (code, said) = ask([], &env);
        assert_eq!(code, Some(0), "{name}={value}: {said}");
    }
}

#[test]
fn the_unit_gives_the_server_time_to_drain_and_nothing_to_spare() {
    let unit = unit();
    let stop: u64 = only(&unit, "TimeoutStopSec").parse().unwrap();
    assert!(Duration::from_secs(stop) > Config::default().drain_timeout + Duration::from_secs(1));
    assert!(only(&unit, "LimitNOFILE").parse::<u64>().unwrap() >= 100_000);
    for (key, value) in [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("Restart", "on-failure"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
    ] {
        assert_eq!(only(&unit, key), value, "{key}");
    }
}

/// Runs `systemd-analyze` over the unit, with the binary under test in place of the installed one.
/// `None` where there is no systemd.
fn analyze(unit: &str, args: &[&str]) -> Option<Output> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat-server.service");
    let binary = server_binary().canonicalize().unwrap();
    let text = unit.replace("/usr/local/bin/chat-server", binary.to_str().unwrap());
    std::fs::write(&path, text).unwrap();
    match Command::new("systemd-analyze").args(args).arg(&path).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("!! systemd-analyze can't be run ({error}): the unit was not verified");
            None
        }
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let good = deploy("chat-server.service");
    let Some(output) = analyze(&good, &["verify", "--man=no"]) else { return };
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("chat-server.service"), "{said}");
    // That it can fail.
    let bad = good.replace("ProtectSystem=strict", "ProtectSystem=perhaps\nNoSuchKey=1");
    let said = text(&analyze(&bad, &["verify", "--man=no"]).unwrap());
    assert!(said.contains("NoSuchKey"), "{said}");
    // Of 100, as `systemd-analyze` counts. Without a sandbox it is 96.
    let exposure = ["security", "--offline=true", "--threshold=20"];
    let output = analyze(&good, &exposure).unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let open = good.replace("SystemCallFilter", "#").replace("Protect", "#");
    assert!(!analyze(&open, &exposure).unwrap().status.success(), "the threshold means nothing");
}

/// The instructions of a Dockerfile: continued lines are joined.
fn instructions() -> Vec<(String, String)> {
    let text = deploy("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_once(' ').unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
}

#[test]
fn the_image_is_built_from_the_lock_file_and_runs_as_nobody() {
    let lines = instructions();
    let runs = lines.iter().rposition(|(key, _)| key == "FROM").unwrap();
    let (build, run) = lines.split_at(runs);
    assert_eq!(all(build, "FROM").len(), 1, "one stage builds, one runs");
    let cargo: Vec<_> = build.iter().filter(|(_, line)| line.contains("cargo ")).collect();
    assert!(!cargo.is_empty() && cargo.iter().all(|(_, line)| line.contains("--locked")));
    assert!(run.iter().all(|(key, _)| key != "RUN"), "there is no shell to run anything");

    // The compiler is new enough.
    let manifest = std::fs::read_to_string(workspace_root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let needed = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(build[0].1.starts_with(&format!("rust:{needed}-")), "{} needs {needed}", build[0].1);

    let (user, _) = only(run, "USER").split_once(':').unwrap();
    assert!(user.parse::<u32>().unwrap() > 0, "a number, so that an orchestrator can tell");
    let (data, copied) = (only(run, "VOLUME"), all(run, "COPY"));
    let owned = format!("--chown={user}:{user} ");
    assert!(copied.iter().any(|line| line.contains(&owned) && line.ends_with(data)));
    let entry: Vec<String> = serde_json::from_str(only(run, "ENTRYPOINT")).unwrap();
    assert!(copied.iter().any(|line| line.ends_with(&format!("chat-server {}", entry[0]))));

    // What it starts with counts, but for who may come in, which somebody has to decide.
    let env = all(run, "ENV");
    let mut env: BTreeMap<_, _> = env.iter().map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!(env["CHAT_DATA_DIR"], data);
    let arguments = || entry[1..].iter().map(String::as_str);
    let (code, said) = ask(arguments(), &env);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--open-to-everyone yes"), "{said}");
    env.insert("CHAT_OPEN_TO_EVERYONE", "yes");
    let (code, said) = ask(arguments(), &env);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_image_is_built_from_what_the_workspace_needs() {
    let ignore = deploy("Dockerfile.dockerignore");
    let lines: Vec<&str> = ignore.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines[0], "*", "nothing comes along by itself");
    let taken: Vec<PathBuf> =
        lines.iter().filter_map(|line| line.strip_prefix('!')).map(PathBuf::from).collect();
    for path in &taken {
        assert!(workspace_root().join(path).exists(), "there is no {}", path.display());
    }
    let manifest = std::fs::read_to_string(workspace_root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    for needed in members.iter().filter_map(toml::Value::as_str).chain(["Cargo.toml", "Cargo.lock"])
    {
        let is_taken = taken.iter().any(|path| Path::new(needed).starts_with(path));
        assert!(is_taken, "{needed} is left out");
    }
}
