//! The Hub, played by any bytes.

/// Plays the bytes as a script of joins, sends, faults and time against one to three Hubs; panics
/// when a guarantee does not hold, or when something is left once everybody has gone.
pub fn hub_script(data: &[u8]) {
    chat_simulation::world::run_bytes(data);
}
