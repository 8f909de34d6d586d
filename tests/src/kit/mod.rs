//! Conformance kits: each proves an implementation of one of the cuts right.

pub mod room_log;
pub mod transport;
