//! How many instructions it takes: counted by callgrind, compared with the budgets of
//! `budgets.txt`. Unlike times, counts hardly differ from run to run, so they can guard.
//!
//! ```text
//! cargo bench -p chat-state --bench counts               compares; fails above a budget
//! cargo bench -p chat-state --bench counts -- --renew    writes what was counted as the budgets
//! ```
//!
//! The program runs itself under callgrind, once for each of its groups. A million members are
//! made uncounted and at the speed of Valgrind without a tool; then the counting is turned on, and
//! one room serves all counts.
mod budgets;
#[path = "../../../chat-proto/benches/frames/mod.rs"]
mod frames;
mod groups;
mod meter;
#[path = "../world/peers.rs"]
mod peers;
#[path = "../world/mod.rs"]
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(group) = std::env::var_os(meter::GROUP) {
        groups::run(&group.to_string_lossy());
        return ExitCode::SUCCESS;
    }
    let renew = std::env::args().any(|arg| arg == "--renew");
    let counted = match meter::count_all(&groups::names()) {
        Ok(counted) => counted,
        Err(why) => {
            eprintln!("!! instructions were not counted: {why}");
            return ExitCode::FAILURE;
        }
    };
    if renew { budgets::renew(&counted) } else { budgets::compare(&counted) }
}
