//! What all drivers of `chat-state` share: events in, actions out, connections and their outboxes.
//!
//! [`HubAdapter`] owns a Hub and the table of its connections. It turns each action into a [`Task`]
//! that names connections by the keys of its owner, and panics if an action breaks the contract
//! between a Hub and its adapter. [`ClientAdapter`] does the same for a Client. [`Port`] is one
//! connection as an adapter has it. Their owners carry frames, store entries and answer questions,
//! each in its own way.
mod authority;
mod client;
mod fairness;
mod grants;
mod hub;
mod identity;
mod port;
mod table;
mod task;

pub use client::ClientAdapter;
pub use hub::HubAdapter;
pub use port::{Item, Port};
pub use task::{Question, Task};
