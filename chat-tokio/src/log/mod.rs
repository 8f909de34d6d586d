//! Room logs: where entries get their place and survive.
//!
//! *The log is the truth.* Two Hubs that share a log agree on everything durable by reading it.
mod digest;
mod epochs;
mod memory;
mod range;
mod recent;
mod remembered;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::future::Future;
use std::pin::Pin;

use chat_proto::{Durability, RoomName, Seq, Timestamp};
use chat_state::{AppendError, Appended, Draft, LogHead, LogPage, ReadError, ReadRange};

pub use memory::{MemoryLog, MemoryOptions};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteAccess, SqliteDurability, SqliteLog, SqliteOpenError, SqliteOptions};

/// What the methods of a [`RoomLog`] answer: it owns all it needs, so it can be spawned.
pub type LogFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// The durable, ordered history of rooms.
///
/// Rules that every implementation keeps:
/// * `seq` is 1, 2, 3 … without holes within an epoch, and an entry never changes.
/// * The step that gives a draft its `seq` also checks its key: (user, room, key) is taken once.
///   A known key with the same body is [`Outcome::Duplicate`](chat_state::Outcome), with another
///   body [`Outcome::Conflict`](chat_state::Outcome).
/// * A key is known as long as its entry is there. When the entry goes, by a trim or by a limit on
///   entries, its key stays known with what answers a repeat: until [`KEYS_REMEMBERED_MS`] have
///   passed, or [`Capabilities::keys_per_user`] newer keys of the same user in the same room have
///   lost their entries, too. A log reads no clock: what counts is the `ts` of the entry against
///   that of the newest entry of the room, or of the log. After that time the key goes, sooner or
///   later, and is then new again.
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
    /// the room has entries or the process remembers it. Until it has entries, processes that share
    /// the log may spell it in different ways; its epoch is the same for all of them.
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
    /// How many keys of one user a room remembers whose entries are gone; the oldest go first.
    /// [`u64::MAX`] if only the time ends it. A limit on bytes, where the log has one, may end it
    /// earlier.
    pub keys_per_user: u64,
    /// Whether several processes may share the log: then a server asks it every second what others
    /// have written.
    pub shared: bool,
}

/// How long a key is known at the least after its entry was made: 24 hours, in milliseconds.
///
/// A client that was cut off sends again what was not acked when it is back: the same evening, or
/// the next morning.
pub const KEYS_REMEMBERED_MS: u64 = 24 * 60 * 60 * 1000;

/// Keys of one user whose entries are gone: more than a user leaves unanswered by far, and less
/// than half a megabyte.
const KEYS_PER_USER_DEFAULT: u32 = 1000;

/// Returns the time before which keys may go, by the time of the newest entry.
fn remembered_since(newest: Timestamp) -> Timestamp {
    Timestamp(newest.0.saturating_sub(KEYS_REMEMBERED_MS))
}
