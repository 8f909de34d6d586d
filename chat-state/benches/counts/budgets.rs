//! Budgets: what was counted when they were last renewed, in a file beside this one.
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::process::{Command, ExitCode};

use crate::meter::Counted;

/// How far a count may be above its budget: the same code counts a little differently after changes
/// elsewhere, since the compiler inlines and orders it differently.
const SLACK_PERCENT: f64 = 3.0;

/// What no renewal may exceed.
const TARGETS: [(&str, u64); 8] = [
    ("room of 1000: message, from its frame to the broadcast", 3000),
    ("room of 100000: message, from its frame to the broadcast", 3000),
    ("room of 1000000: message, from its frame to the broadcast", 3000),
    ("room of 1000: message of a user known by a token", 3000),
    ("room of 100000: message of a user known by a token", 3000),
    ("room of 1000000: message of a user known by a token", 3000),
    ("room of 1000: join", 5000),
    ("room of 1000: leave", 5000),
];
/// The first takes at most this many percent of what the second takes.
const RATIOS: [(&str, &str, u64); 3] = [
    (
        "room of 1000000: message, from its frame to the broadcast",
        "room of 1000: message, from its frame to the broadcast",
        103,
    ),
    ("room of 1000000: join", "room of 1000: join", 200),
    ("room of 1000000: leave", "room of 1000: leave", 200),
];

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts/budgets.txt");
const RENEW: &str = "cargo bench -p chat-state --bench counts -- --renew";

/// Compares what was counted with the budgets. The last line says how it stands.
pub(crate) fn compare(counted: &Counted) -> ExitCode {
    let text = fs::read_to_string(FILE).unwrap_or_default();
    let budgets = read(&text);
    println!("{:>10} {:>10} {:>8}", "counted", "budget", "");
    let (mut above, mut below, mut worst) = (Vec::new(), 0, f64::MIN);
    for (name, count) in counted {
        let Some(budget) = budgets.get(name.as_str()) else {
            println!("{count:>10} {:>10} {:>8}  {name}", "none", "");
            above.push(format!("`{name}` takes {count} instructions and has no budget"));
            continue;
        };
        let percent = (*count as f64 / *budget as f64 - 1.0) * 100.0;
        let line = format!("{count:>10} {budget:>10} {percent:>+7.1}%  {name}");
        if percent > SLACK_PERCENT {
            println!("{line}  <-- above its budget");
            let line =
                format!("`{name}` takes {count} instructions, budget {budget} ({percent:+.1} %)");
            // The worst one first.
            above.insert(if percent > worst { 0 } else { above.len() }, line);
        } else {
            println!("{line}");
        }
        below += usize::from(percent < -SLACK_PERCENT);
        worst = worst.max(percent);
    }
    for name in budgets.keys().filter(|name| !counted.contains_key(**name)) {
        above.push(format!("`{name}` has a budget and is not counted"));
    }
    above.extend(missed(counted));
    if below > 0 {
        println!(
            "{below} counts are more than {SLACK_PERCENT} % below their budgets: renew them, so \
             that it stays so"
        );
    }
    let Some(first) = above.first() else {
        println!(
            "instructions: all {} counts are within {SLACK_PERCENT} % of their budgets",
            counted.len()
        );
        return ExitCode::SUCCESS;
    };
    above.iter().for_each(|line| eprintln!("!! {line}"));
    let (before, tools) = (made_with(&text), tools());
    if before != Some(&tools) {
        let before = before.unwrap_or("nothing");
        eprintln!(
            "!! the budgets were counted with {before}, this is {tools}: that alone may be why"
        );
    }
    eprintln!("!! if the change is meant to cost that much: {RENEW}");
    eprintln!(
        "!! instructions: {} of {} are too many, first of all {first}",
        above.len(),
        counted.len()
    );
    ExitCode::FAILURE
}

/// Writes what was counted as the budgets, unless a target is missed.
pub(crate) fn renew(counted: &Counted) -> ExitCode {
    let mut text = format!("# Instructions of one call. Counted with {}\n# {RENEW}\n", tools());
    for (name, count) in counted {
        // Writing to a string succeeds.
        let _ = writeln!(text, "{count:>10}  {name}");
    }
    print!("{text}");
    let missed = missed(counted);
    missed.iter().for_each(|line| eprintln!("!! {line}"));
    match fs::write(FILE, text) {
        Ok(()) if missed.is_empty() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("!! {FILE}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn missed(counted: &Counted) -> Vec<String> {
    let mut missed = Vec::new();
    for (name, most) in TARGETS {
        let count = counted.get(name).copied().unwrap_or(u64::MAX);
        if count > most {
            missed.push(format!("`{name}` takes {count} instructions, its target is {most}"));
        }
    }
    for (name, base, percent) in RATIOS {
        let of = |name| counted.get(name).copied().unwrap_or(u64::MAX);
        let (count, most) = (of(name), of(base).saturating_mul(percent) / 100);
        if count > most {
            missed.push(format!(
                "`{name}` takes {count} instructions, its target is {most}: {percent} % of `{base}`"
            ));
        }
    }
    missed
}

fn read(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (count, name) = line.trim_start().split_once("  ")?;
            Some((name, count.parse().ok()?))
        })
        .collect()
}

fn made_with(text: &str) -> Option<&str> {
    text.lines().next()?.strip_prefix("# Instructions of one call. Counted with ")
}

/// Names the compiler and Valgrind: other ones may count otherwise.
fn tools() -> String {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        output.map_or_else(
            |_| format!("an unknown {program}"),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
    };
    format!("{} and {}", version("rustc"), version("valgrind"))
}
