//! Finds out how much a server holds.
//!
//! Threads of their own ([`engine`]) have the connections; the main thread ([`direct`]) leads them
//! from phase to phase and puts what they have counted together ([`report`]).
//!
//! It ends with 0 if all went well, 1 if there is nothing to report, 2 if the command line is
//! wrong, and 3 if the report tells of something lost, repeated, out of order, refused or cut off.
mod args;
mod connection;
mod direct;
mod engine;
mod error;
mod frame;
mod ledger;
mod plan;
mod progress;
mod report;
mod seen;
mod senders;
mod shared;
mod stamp;
mod stream;
mod table;
mod tally;
mod target;
mod trust;
mod upgrade;
mod usage;
mod words;

use std::io::Write;
use std::process::ExitCode;

use args::Parsed;
use error::Failed;
use plan::{Json, Plan};
use report::{Report, Verdict};

fn main() -> ExitCode {
    let outcome =
        random_seed().and_then(|seed| args::parse(std::env::args_os(), seed)).and_then(|parsed| {
            match parsed {
                Parsed::Print(text) => {
                    print(&text);
                    Ok(Verdict::Well)
                }
                Parsed::Run(plan) => run(*plan),
            }
        });
    match outcome {
        Ok(Verdict::Well) => ExitCode::SUCCESS,
        Ok(Verdict::Faults) => ExitCode::from(FAULTS),
        Err(error) => {
            match &error {
                Failed::Usage(_) => eprintln!("{error}"),
                _ => eprintln!("chat-load: {error}"),
            }
            ExitCode::from(if error.is_usage() { USAGE } else { FAILED })
        }
    }
}

fn run(plan: Plan) -> Result<Verdict, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = runtime.map_err(Failed::System)?.block_on(direct::run(plan))?;
    let table = table::table(&report);
    match &report.plan.json {
        None => print(&table),
        Some(Json::Stdout) => {
            eprint!("{table}");
            print(&json(&report));
        }
        Some(Json::File(path)) => {
            print(&table);
            let written = std::fs::write(path, json(&report));
            written.map_err(|error| Failed::Write(path.clone(), error))?;
        }
    }
    Ok(report.verdict())
}

fn json(report: &Report) -> String {
    format!("{:#}\n", report.json())
}

/// Two runs at once must not meet in a room.
fn random_seed() -> Result<u64, Failed> {
    let seed = getrandom::u32().map_err(|error| Failed::System(std::io::Error::other(error)))?;
    Ok(seed.into())
}

/// A reader that has gone is no reason to fail.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const FAULTS: u8 = 3;
