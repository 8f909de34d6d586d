//! What every driver of `chat-state` does and checks: events in, actions out, connections and their
//! outboxes.
//!
//! [`HubAdapter`] owns a Hub and the table of its connections. It turns each action into a [`Task`]
//! that names connections by the keys of its owner, and panics if an action breaks the contract
//! between a Hub and its adapter. [`ClientAdapter`] does the same for a Client. [`Port`] is one
//! connection as an adapter has it. None of them carries, stores or answers anything: that is what
//! their owners differ in.
mod client;
mod fairness;
mod hub;
mod port;
mod table;
mod task;

pub use client::ClientAdapter;
pub use hub::HubAdapter;
pub use port::{Item, Port};
pub use task::{Question, Task};
