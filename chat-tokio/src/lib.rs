//! A room-chat server on tokio.

pub mod accept;
pub mod clock;
pub mod http;
pub mod log;
mod outbox;
pub mod server;
pub mod transport;

pub use outbox::Outbox;
