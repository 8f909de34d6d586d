//! Room logs: where entries get their place and survive.
//!
//! *The log is the truth.* Two Hubs that share a log agree on everything durable by reading it.
mod epochs;
mod memory;
mod range;
mod recent;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::future::Future;
use std::pin::Pin;

use chat_proto::{Durability, RoomName, Seq};
use chat_state::{AppendError, Appended, Draft, LogHead, LogPage, ReadError, ReadRange};

pub use memory::{MemoryLog, MemoryOptions};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteDurability, SqliteLog, SqliteOpenError, SqliteOptions};

/// What the methods of a [`RoomLog`] answer: it owns all it needs, so it can be spawned.
pub type LogFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// The durable, ordered history of rooms.
///
/// Rules that every implementation keeps:
/// * `seq` is 1, 2, 3 … without holes within an epoch, and an entry never changes.
/// * The step that gives a draft its `seq` also checks its key: (user, room, key) is taken once.
///   A known key with the same body is [`Outcome::Duplicate`](chat_state::Outcome), with another
///   body [`Outcome::Conflict`](chat_state::Outcome).
/// * A batch of one room is taken whole, in order, or not at all.
/// * An `append` that answered `Ok` survives what [`Capabilities::durability`] says.
/// * Dropping a future gives up the answer, not the work.
pub trait RoomLog: Send + Sync + 'static {
    /// Says what the log can do. It must not change.
    fn capabilities(&self) -> Capabilities;

    /// Offers drafts to any number of rooms, each room once; the answers come in the same order.
    fn append(&self, batches: Vec<RoomBatch>) -> LogFuture<Vec<Result<Appended, AppendError>>>;

    /// Reads the ends of a room's log. The first spelling of a room's name that the log meets, here
    /// or in `append`, is the one that it answers with from then on, at the least for as long as
    /// the room has entries or the process remembers it.
    fn head(&self, room: RoomName) -> LogFuture<Result<LogHead, ReadError>>;

    /// Reads a range of a room's log.
    fn read(&self, room: RoomName, range: ReadRange) -> LogFuture<Result<LogPage, ReadError>>;

    /// Forgets a room's entries before this place; answers the oldest that is left. The last
    /// entry's place is never given again.
    fn trim(&self, room: RoomName, before: Seq) -> LogFuture<Result<Seq, ReadError>>;
}

/// Drafts of one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomBatch {
    /// Which room.
    pub room: RoomName,
    /// What is offered, in order.
    pub drafts: Vec<Draft>,
}

/// What a log can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What an entry survives once it was acked.
    pub durability: Durability,
    /// How many keys of a room are remembered, counted back from its newest entry. A limit on
    /// bytes, where the log has one, or a trim may end it earlier.
    pub keys_remembered: u64,
    /// Whether several processes may share the log.
    pub shared: bool,
}
