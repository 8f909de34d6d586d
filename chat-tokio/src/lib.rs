//! A room-chat server on tokio.

pub mod clock;
pub mod log;
mod outbox;
pub mod transport;

pub use outbox::Outbox;
