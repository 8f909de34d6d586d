//! Holds a server under load, first in peace and then with hostile connections among the others:
//! `soak [--seconds N] [--connections N] [--hostile PERCENT]`. It ends with 0 if all held.
use std::process::ExitCode;

use chat_tests::soak::{Plan, run};

#[tokio::main]
async fn main() -> ExitCode {
    let plan = match Plan::parse(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("soak: {why}");
            return ExitCode::from(2);
        }
    };
    let report = run(&plan).await;
    println!("{report}");
    if report.faults().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
