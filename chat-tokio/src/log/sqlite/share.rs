//! Who may have the file open: a lock on a file beside it.
//!
//! Those who share a file also share one token, by which they give the same epoch to a room that
//! has no entries yet. Whoever opens the file while nobody has it draws a new one and writes it
//! into the lock's file: so no token outlives those who know it.
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use chat_proto::Epoch;

use super::super::epochs::Epochs;
use super::SqliteAccess;

/// A lock that was taken.
pub(super) struct Lock {
    file: File,
    access: SqliteAccess,
    /// Whether nobody else has the file open.
    alone: bool,
}

/// Why a lock is not to be had.
pub(super) enum LockError {
    /// Somebody has it.
    InUse,
    /// The system has a reason.
    Failed(io::Error),
}

/// How long to wait for another one that opens the file: 5 s, in steps.
const TRIES: u32 = 100;
const STEP: Duration = Duration::from_millis(50);

impl Lock {
    /// Takes the lock in the file of this name. One that shares it may be alone all the same, and
    /// keeps others out until [`Lock::settle`].
    pub(super) fn take(name: &Path, access: SqliteAccess) -> Result<Self, LockError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(name).map_err(LockError::Failed)?;
        let taken = |file, alone| Ok(Self { file, access, alone });
        match (attempt(file.try_lock())?, access) {
            (true, _) => return taken(file, true),
            (false, SqliteAccess::Exclusive) => return Err(LockError::InUse),
            (false, SqliteAccess::Shared) => {}
        }
        for _ in 0..TRIES {
            // Whoever has it alone opens it, or does not share it: that is seen by and by.
            if attempt(file.try_lock_shared())? {
                return taken(file, false);
            }
            if attempt(file.try_lock())? {
                return taken(file, true);
            }
            thread::sleep(STEP);
        }
        Err(LockError::InUse)
    }

    /// Tells whether nobody else has the file open.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Lets others in, if it is shared, and says which epochs rooms without entries get.
    pub(super) fn settle(mut self) -> Result<(Self, Epochs), LockError> {
        let drawn = || Epochs::draw().map_err(|error| failed(&error));
        match (self.access, self.alone) {
            (SqliteAccess::Exclusive, _) => Ok((self, drawn()?)),
            (SqliteAccess::Shared, true) => {
                let token = drawn()?.make();
                self.write(&token).map_err(LockError::Failed)?;
                // Another one may slip in on the way from one lock to the other; then it draws a
                // token of its own, so this one is out.
                if !attempt(self.file.try_lock_shared())? {
                    return Err(LockError::InUse);
                }
                self.alone = false;
                Ok((self, Epochs::agreed(&token)))
            }
            (SqliteAccess::Shared, false) => {
                let token = self.read().map_err(LockError::Failed)?;
                Ok((self, Epochs::agreed(&token)))
            }
        }
    }

    /// Keeps the file, and so the lock.
    pub(super) fn into_file(self) -> File {
        self.file
    }

    fn write(&mut self, token: &Epoch) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(token.as_str().as_bytes())
    }

    fn read(&mut self) -> io::Result<Epoch> {
        let mut text = String::new();
        self.file.seek(SeekFrom::Start(0))?;
        Read::by_ref(&mut self.file).take(64).read_to_string(&mut text)?;
        Epoch::new(&text).map_err(|_| io::Error::other("it does not have the token it should have"))
    }
}

fn failed(error: &getrandom::Error) -> LockError {
    LockError::Failed(io::Error::other(error.to_string()))
}

fn attempt(taken: Result<(), TryLockError>) -> Result<bool, LockError> {
    match taken {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(LockError::Failed(error)),
    }
}
