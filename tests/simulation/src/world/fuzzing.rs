//! The body of a fuzz target.
use super::heal::run;
use super::script::Script;

/// Bytes of a script that are played; more make runs slow and find nothing else.
const BYTES_MAX: usize = 6 * 400 + 1;

/// Plays any bytes as a script.
///
/// # Panics
/// When a guarantee does not hold.
pub fn run_bytes(data: &[u8]) {
    run(&Script::from_bytes(&data[..data.len().min(BYTES_MAX)]));
}
