//! A room log in one SQLite file.
//!
//! One thread owns the connection that writes and commits all the batches that wait, of however
//! many rooms, in one transaction, so that they share one flush to the disk. Readers have threads
//! and connections of their own; they see what is committed and never wait for the writer.
mod batch;
mod keys;
mod open;
mod queue;
mod reader;
mod rows;
mod share;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::future::ready;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use chat_proto::{Durability, RoomName, Seq};
use chat_state::{AppendError, Appended, LogHead, LogPage, ReadError, ReadRange};
use tokio::sync::oneshot;

pub use self::open::SqliteOpenError;
use super::epochs::MetRooms;
use super::{Capabilities, KEYS_PER_USER_DEFAULT, LogFuture, RoomBatch, RoomLog};

/// A [`RoomLog`] in one SQLite file.
///
/// The file belongs to one log at a time, and a second one, in this process or another, is refused;
/// or, by [`SqliteOptions::access`], to several that share it. Beside `path` lie `path-wal` and
/// `path-shm`, which are a part of it while it is open, and `path.lock`; `path-wal` takes 16 MiB as
/// a rule and keeps 64 MiB at the most after a burst. Keys older than
/// [`KEYS_REMEMBERED_MS`](super::KEYS_REMEMBERED_MS) whose entries are gone go while others are
/// appended.
///
/// # Limits
///
/// 4096 calls of `append` and `trim`, together of 64 MiB, may wait for the writer, and 4096 for
/// the readers; a call beyond that fails at once (`Refused`, [`ReadError`]). A trim forgets the
/// entries in steps, between which appends go on; if it fails, a part of them may be gone.
///
/// # Errors
///
/// A full disk or any other failure of the file fails what it hits, and the log goes on: when the
/// failure is over, appends are taken again. What failed before its commit is `Refused`. What
/// failed in its commit, as it often does on a full disk, is `Unknown`: this process will not see
/// it, but if it ends before the next commit, the next one may.
pub struct SqliteLog {
    jobs: Arc<queue::Queue>,
    queries: SyncSender<reader::Query>,
    capabilities: Capabilities,
    running: Mutex<Option<Running>>,
}

/// How a [`SqliteLog`] is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// What an entry survives once it was acked.
    pub durability: SqliteDurability,
    /// Who else may have the file open.
    pub access: SqliteAccess,
    /// Threads that read, 1 to 16.
    pub readers: usize,
    /// Keys of one user that a room remembers whose entries were trimmed; the oldest go first.
    pub keys_per_user: u32,
    /// Pages (of 4096 bytes) that the file may have at most; the log refuses appends beyond it as
    /// on a full disk. For tests.
    #[doc(hidden)]
    pub pages_max: Option<u32>,
}

/// What an entry in a [`SqliteLog`] survives once it was acked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SqliteDurability {
    /// A loss of power: each transaction waits for the disk (`synchronous=FULL`).
    #[default]
    Full,
    /// The end of the process only: the newest entries may be lost with the power, without damage
    /// to the rest (`synchronous=NORMAL`).
    Normal,
}

/// Who else may have a [`SqliteLog`]'s file open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SqliteAccess {
    /// Nobody.
    #[default]
    Exclusive,
    /// Other logs on this machine that were opened so, too: each appends to what the others have
    /// appended, one transaction at a time. They do not tell each other; whoever wants to know of
    /// new entries has to ask. It is made for the short time in which one server takes the place of
    /// another: two that write at the same time wait for each other.
    Shared,
}

/// Two threads: one long page does not hold up the others, and there are few such.
const READERS_DEFAULT: usize = 2;

/// Each reader has a thread and a page cache; more than this only makes them wait for each other.
const READERS_MAX: usize = 16;

/// Reads that wait: each is a small request, so this bounds the wait rather than the memory.
const QUERIES_WAITING_MAX: usize = 4096;

/// Rooms without entries whose spelling and epoch are remembered: about 10 MB at the most.
const ROOMS_MET_MAX: usize = 65_536;

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            durability: SqliteDurability::Full,
            access: SqliteAccess::Exclusive,
            readers: READERS_DEFAULT,
            keys_per_user: KEYS_PER_USER_DEFAULT,
            pages_max: None,
        }
    }
}

impl SqliteOptions {
    fn capabilities(&self) -> Capabilities {
        let durability = match self.durability {
            SqliteDurability::Full => Durability::Disk,
            SqliteDurability::Normal => Durability::Process,
        };
        let shared = self.access == SqliteAccess::Shared;
        Capabilities { durability, keys_per_user: self.keys_per_user.into(), shared }
    }
}

/// What ends with the log.
struct Running {
    threads: Vec<JoinHandle<()>>,
    writer: JoinHandle<()>,
    /// Locked for as long as it is open.
    _lock: File,
}

impl SqliteLog {
    /// Opens the log in a file, or makes it; brings a file of an earlier version up to date. It
    /// blocks the thread while the file is read, and up to 5 seconds while another one that shares
    /// it is opened.
    ///
    /// # Errors
    /// When the folder or the file can't be used, is in use, is something else than a log, or was
    /// written by a newer version. Nothing was changed then, except that the lock file may be new.
    pub fn open(path: impl AsRef<Path>, options: &SqliteOptions) -> Result<Self, SqliteOpenError> {
        let place = open::Place::take(path.as_ref(), options.access)?;
        let writing = place.writer(options)?;
        let (place, epochs) = place.settle()?;
        let met = Arc::new(Mutex::new(MetRooms::new(ROOMS_MET_MAX, epochs)));
        let (queries, waiting_queries) = sync_channel(QUERIES_WAITING_MAX);
        let waiting_queries = Arc::new(Mutex::new(waiting_queries));
        let mut threads = Vec::new();
        for _ in 0..options.readers.clamp(1, READERS_MAX) {
            let (conn, met, queries) = (place.reader()?, met.clone(), waiting_queries.clone());
            let run = move || reader::run(&conn, &met, &queries);
            threads.push(place.thread("room-log-reader", run)?);
        }
        let jobs = Arc::new(queue::Queue::default());
        let writes =
            writer::Settings { keys_per_user: options.keys_per_user, access: options.access };
        let waiting_jobs = jobs.clone();
        let run = move || writer::run(writing, writes, &met, &waiting_jobs);
        let writer = place.thread("room-log-writer", run)?;
        let running = Running { threads, writer, _lock: place.into_lock() };
        let (capabilities, running) = (options.capabilities(), Mutex::new(Some(running)));
        Ok(Self { jobs, queries, capabilities, running })
    }

    /// Commits what was taken, puts everything into the one file (unless others share it) and lets
    /// go of it. Afterwards every call fails. Dropping the log does the same.
    ///
    /// It blocks the thread until the disk is done, so in a server it is called at the very end.
    pub fn close(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else { return };
        // One word for each; whichever gets it ends.
        for _ in &running.threads {
            let _ = self.queries.send(reader::Query::Close);
        }
        for thread in running.threads {
            let _ = thread.join();
        }
        self.jobs.close();
        let _ = running.writer.join();
    }

    async fn ask<T>(
        asked: Result<(), TrySendError<reader::Query>>,
        answer: oneshot::Receiver<Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        match asked {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(ReadError(CLOSED.into()))),
            Err(TrySendError::Full(_)) => Err(ReadError(BUSY.into())),
            Err(TrySendError::Disconnected(_)) => Err(ReadError(CLOSED.into())),
        }
    }
}

const BUSY: &str = "too many calls wait for it";
const CLOSED: &str = "it is closed";

impl RoomLog for SqliteLog {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn append(&self, batches: Vec<RoomBatch>) -> LogFuture<Vec<Result<Appended, AppendError>>> {
        let count = batches.len();
        let refused = move |why: &str| vec![Err(AppendError::Refused(why.into())); count];
        let (reply, answer) = oneshot::channel();
        if let Err(why) = self.jobs.put(writer::Job::Append(writer::Append { batches, reply })) {
            return Box::pin(ready(refused(why)));
        }
        Box::pin(async move {
            let lost = |_| vec![Err(AppendError::Unknown(CLOSED.into())); count];
            answer.await.unwrap_or_else(lost)
        })
    }

    fn head(&self, room: RoomName) -> LogFuture<Result<LogHead, ReadError>> {
        let (reply, answer) = oneshot::channel();
        let asked = self.queries.try_send(reader::Query::Head { room, reply });
        Box::pin(Self::ask(asked, answer))
    }

    fn read(&self, room: RoomName, range: ReadRange) -> LogFuture<Result<LogPage, ReadError>> {
        let (reply, answer) = oneshot::channel();
        let asked = self.queries.try_send(reader::Query::Read { room, range, reply });
        Box::pin(Self::ask(asked, answer))
    }

    fn trim(&self, room: RoomName, before: Seq) -> LogFuture<Result<Seq, ReadError>> {
        let (reply, answer) = oneshot::channel();
        match self.jobs.put(writer::Job::Trim(writer::Trim { room, before, reply })) {
            Ok(()) => {
                Box::pin(
                    async move { answer.await.unwrap_or_else(|_| Err(ReadError(CLOSED.into()))) },
                )
            }
            Err(why) => Box::pin(ready(Err(ReadError(why.into())))),
        }
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for SqliteLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteLog")
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}
