//! The Hub and the Client in a simulated world, without IO.
//!
//! [`adapter`] drives one Hub or Client and checks what every driver can check. Two worlds stand on
//! it. [`world`] plays scripts against Hubs between a simulated log, broker and clock. [`sim`] adds
//! Clients, links that fail and processes that die. [`history_check`] judges a recorded history.
//! [`shape`] reads frames of the `basic` dialect.

pub mod adapter;
pub mod history_check;
pub mod shape;
pub mod sim;
pub mod world;
