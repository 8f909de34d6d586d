//! A room-chat server on tokio.

pub mod accept;
pub mod broker;
pub mod clock;
#[cfg(feature = "server")]
pub mod config;
pub mod http;
pub mod log;
mod outbox;
mod random;
pub mod server;
pub mod transport;
mod worker;

pub use outbox::Outbox;
pub use server::{Builder, Drained, Handle, Server, StartError};
