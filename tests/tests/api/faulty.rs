//! A log that fails.
use std::sync::atomic::{AtomicU8, Ordering};

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
                Box::pin(std::future::ready(batches.iter().map(|_| refused()).collect()))
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
