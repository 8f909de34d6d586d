//! The server.
mod attach;
pub use attach::{Attach, AttachError, NewConnection};
