//! A room-chat server on tokio.

pub mod broker;
pub mod clock;
pub mod log;
mod outbox;
mod random;
mod server;
pub mod transport;
mod worker;

pub use outbox::Outbox;
pub use server::{
    Attach, AttachError, Builder, Drained, Handle, NewConnection, Readiness, Server, StartError,
};
