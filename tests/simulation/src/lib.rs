//! The Hub and the Client in a simulated world, without IO.
//!
//! [`world`] plays scripts against Hubs between a simulated log, broker and clock. [`sim`] adds
//! Clients, links that fail and processes that die. [`history_check`] judges a recorded history.
//! [`shape`] reads frames of the `basic` dialect.

pub mod history_check;
pub mod shape;
pub mod sim;
pub mod world;
