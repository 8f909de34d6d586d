//! The bodies of the fuzz targets.
//!
//! Each is an ordinary function that panics when a law does not hold, so that `tests/replay.rs` can
//! run the committed corpus without libFuzzer. `fuzz_targets/` only passes bytes on; `README.md`
//! says how to run it.

mod decode;
mod hub_script;
mod input;
mod names;
mod round_trip;
mod websocket;

pub use decode::decode;
pub use hub_script::hub_script;
pub use names::names;
pub use round_trip::round_trip;
pub use websocket::websocket;

/// A target's body.
pub type Target = fn(&[u8]);

/// Every target, by the name of its file and of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("decode", decode),
    ("hub_script", hub_script),
    ("names", names),
    ("round_trip", round_trip),
    ("websocket", websocket),
];
