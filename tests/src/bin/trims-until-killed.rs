//! `trims-until-killed FILE ROUND` appends and trims, and prints what it was told, until it is
//! killed.
use std::path::PathBuf;

use chat_tests::trims;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let path = PathBuf::from(arguments.next().expect("a file"));
    let round = arguments.next().and_then(|round| round.to_str()?.parse().ok());
    trims::until_killed(&path, round.expect("a round")).await;
}
