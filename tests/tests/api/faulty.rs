//! Logs that fail.
use std::future::ready;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use chat_proto::{RoomName, Seq};
use chat_state::{AppendError, Appended, LogHead, LogPage, ReadError, ReadRange};
use chat_tokio::log::{Capabilities, LogFuture, MemoryLog, RoomBatch, RoomLog};
use tokio::sync::watch;

/// Does what it is told, and all the rest as it should.
#[derive(Default)]
pub(crate) struct Faulty {
    log: MemoryLog,
    /// What becomes of appends; 0: they work.
    pub(crate) fault: AtomicU8,
    /// Reads wait while this is set.
    pub(crate) held: watch::Sender<bool>,
}

pub(crate) const REFUSE: u8 = 1;
pub(crate) const FORGET_ANSWER: u8 = 2;
pub(crate) const HANG: u8 = 3;

impl RoomLog for Faulty {
    fn capabilities(&self) -> Capabilities {
        self.log.capabilities()
    }

    fn append(&self, batches: Vec<RoomBatch>) -> LogFuture<Vec<Result<Appended, AppendError>>> {
        match self.fault.load(Ordering::Relaxed) {
            REFUSE => {
                let refused = || Err(AppendError::Refused("the disk is full".into()));
                Box::pin(ready(batches.iter().map(|_| refused()).collect()))
            }
            FORGET_ANSWER => {
                let unknown = |_: &RoomBatch| Err(AppendError::Unknown("no answer".into()));
                let answers = batches.iter().map(unknown).collect();
                let taken = self.log.append(batches);
                Box::pin(async move {
                    taken.await;
                    answers
                })
            }
            HANG => Box::pin(std::future::pending()),
            _ => self.log.append(batches),
        }
    }

    fn head(&self, room: RoomName) -> LogFuture<Result<LogHead, ReadError>> {
        self.log.head(room)
    }

    fn read(&self, room: RoomName, range: ReadRange) -> LogFuture<Result<LogPage, ReadError>> {
        let (answer, mut held) = (self.log.read(room, range), self.held.subscribe());
        Box::pin(async move {
            held.wait_for(|held| !held).await.expect("the log lives");
            answer.await
        })
    }

    fn trim(&self, room: RoomName, before: Seq) -> LogFuture<Result<Seq, ReadError>> {
        self.log.trim(room, before)
    }
}

/// A log that servers of this process share. Each has its own way to it, which may fail.
#[derive(Default)]
pub(crate) struct Shared {
    common: Arc<Mutex<Arc<MemoryLog>>>,
    /// What becomes of reads and of trims; 0: they work.
    pub(crate) reads: AtomicU8,
    pub(crate) trims: AtomicU8,
    /// What somebody else appends right before the next append.
    pub(crate) between: Mutex<Option<RoomBatch>>,
}

/// A trim stops after one entry.
pub(crate) const STOP: u8 = 4;

impl Shared {
    /// Another way to the same log.
    pub(crate) fn again(&self) -> Arc<Self> {
        Arc::new(Self { common: self.common.clone(), ..Self::default() })
    }

    /// Puts an empty log into its place.
    pub(crate) fn lose_all(&self) {
        *self.common.lock().expect("nobody panics with it") = Arc::default();
    }

    fn log(&self) -> Arc<MemoryLog> {
        self.common.lock().expect("nobody panics with it").clone()
    }
}

impl RoomLog for Shared {
    fn capabilities(&self) -> Capabilities {
        Capabilities { shared: true, ..self.log().capabilities() }
    }

    fn append(&self, batches: Vec<RoomBatch>) -> LogFuture<Vec<Result<Appended, AppendError>>> {
        let others = self.between.lock().expect("nobody panics with it").take();
        let (log, others) = (self.log(), others.map(|others| self.log().append(vec![others])));
        Box::pin(async move {
            if let Some(others) = others {
                others.await;
            }
            log.append(batches).await
        })
    }

    fn head(&self, room: RoomName) -> LogFuture<Result<LogHead, ReadError>> {
        self.log().head(room)
    }

    fn read(&self, room: RoomName, range: ReadRange) -> LogFuture<Result<LogPage, ReadError>> {
        match self.reads.load(Ordering::Relaxed) {
            REFUSE => Box::pin(ready(Err(ReadError("the disk is gone".into())))),
            _ => self.log().read(room, range),
        }
    }

    fn trim(&self, room: RoomName, before: Seq) -> LogFuture<Result<Seq, ReadError>> {
        let failed = || Err(ReadError("the disk is gone".into()));
        match self.trims.load(Ordering::Relaxed) {
            REFUSE => Box::pin(ready(failed())),
            STOP => {
                let log = self.log();
                Box::pin(async move {
                    let first = log.head(room.clone()).await?.first;
                    log.trim(room, first.next()).await?;
                    failed()
                })
            }
            _ => self.log().trim(room, before),
        }
    }
}
