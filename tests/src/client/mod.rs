//! Small clients, one for each way to talk to a server. They hide nothing: whatever the server
//! sends is seen by the test, in the order and in the frames in which it came.
mod api;
mod basic;
mod lines;
pub mod raw;
mod socket;
mod v1;

pub use api::{Answer, ApiClient, JSON};
pub use basic::BasicClient;
pub use chat_simulation::shape::Shape;
pub use lines::LinesClient;
pub use socket::{Ending, Socket};
pub use v1::{V1Client, message, name};
