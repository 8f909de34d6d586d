//! The thread that writes: many batches, one commit.
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use chat_proto::{RoomName, Seq, Timestamp};
use chat_state::{AppendError, Appended, ReadError};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::super::epochs::MetRooms;
use super::super::recent::RecentMap;
use super::super::{RoomBatch, remembered_since};
use super::SqliteAccess;
use super::batch::{self, Statements, Work};
use super::queue::{Queue, Taken};
use super::rows::{Fault, RoomRow};
use crate::clock::Clock;

/// What the writer can be asked for.
pub(super) enum Job {
    Append(Append),
    Trim(Trim),
}

/// One call of `append`.
pub(super) struct Append {
    pub(super) batches: Vec<RoomBatch>,
    pub(super) reply: oneshot::Sender<Vec<Answer>>,
}

/// One call of `trim`.
pub(super) struct Trim {
    pub(super) room: RoomName,
    pub(super) before: Seq,
    pub(super) reply: oneshot::Sender<Result<Seq, ReadError>>,
}

type Answer = Result<Appended, AppendError>;

/// Drafts of one transaction: enough that the flush to the disk hardly counts, few enough that
/// nobody waits for long. The call that reaches the number is taken whole.
const DRAFTS_PER_TRANSACTION: usize = 1000;

/// The part of the last transaction's time that the writer waits for the rest of a crowd: those who
/// were acked just now are about to send again, and one transaction for all of them is worth more
/// than an early one for the first. Measured with 64 senders on an ext4 disk, 8 messages of each on
/// their way: 77 000 acks a second, and 70 000 with half of the time. Whoever is alone never waits.
const PATIENCE_SHARE: u32 = 4;

/// The longest wait for a crowd, whatever a transaction took.
const PATIENCE_MAX: Duration = Duration::from_millis(10);

/// Entries that one step of a trim deletes, and whose keys it keeps: it delays appends by a few
/// milliseconds.
const TRIM_STEP: u64 = 250;

/// Trims that wait for each other.
const TRIMS_MAX: usize = 64;

/// How often the writer looks for keys that are too old: one look into an index.
const EXPIRE_EVERY_MS: u64 = 10 * 60 * 1000;

/// Rooms whose row the writer remembers: about 5 MB at the most.
const ROOMS_CACHED_MAX: usize = 16_384;

/// What the writer is told once.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) keys_per_user: u32,
    pub(super) access: SqliteAccess,
}

/// Serves jobs until it is told to close, or nobody is left who could ask.
pub(super) fn run(conn: Connection, settings: Settings, met: &Mutex<MetRooms>, jobs: &Queue) {
    let _ends = Ends(jobs);
    match Statements::prepare(&conn) {
        Ok(statements) => {
            let writer = Writer {
                conn: &conn,
                statements,
                cache: RecentMap::new(ROOMS_CACHED_MAX),
                met,
                trims: VecDeque::new(),
                clock: Clock::start(),
                crowd: 0,
                patience: Duration::ZERO,
                keys_per_user: settings.keys_per_user,
                version: None,
                newest: Timestamp(0),
                looked: Timestamp(0),
            };
            writer.serve(jobs);
        }
        // The same statements were prepared when the file was opened.
        Err(error) => tracing::error!(%error, "the room log's writer can't begin"),
    }
    // Leaves one whole file behind. If it fails, the next one to open the log does it. Where others
    // write, it would make them wait, and the last one does it by itself.
    let checkpoint = match settings.access {
        SqliteAccess::Exclusive => "PRAGMA wal_checkpoint(TRUNCATE)",
        SqliteAccess::Shared => "PRAGMA wal_checkpoint(PASSIVE)",
    };
    if let Err(error) = conn.query_row(checkpoint, [], |_| Ok(())) {
        tracing::warn!(%error, "the room log's last checkpoint failed");
    }
    if let Err((_, error)) = conn.close() {
        tracing::warn!(%error, "the room log was not closed well");
    }
}

/// Whoever still waits when the writer ends, however it does, learns of it.
struct Ends<'q>(&'q Queue);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

struct Writer<'c, 's> {
    conn: &'c Connection,
    statements: Statements<'c>,
    /// Rows of rooms, as they are committed.
    cache: RecentMap<RoomName, RoomRow>,
    met: &'s Mutex<MetRooms>,
    trims: VecDeque<Trim>,
    clock: Clock,
    /// Drafts that a transaction had, of those that had the most lately.
    crowd: usize,
    /// How long to wait for as many.
    patience: Duration,
    /// Keys of one user that a room remembers whose entries are gone.
    keys_per_user: u32,
    /// By which it is seen whether others have written, once it was looked at.
    version: Option<i64>,
    /// When the newest entry was made, as far as this process knows.
    newest: Timestamp,
    /// When `newest` was, at the last look for old keys.
    looked: Timestamp,
}

/// Why a transaction has no effect, or none that is known.
enum Failure {
    /// It did not begin, so a smaller one will not either.
    NotBegun(String),
    /// It was undone. Smaller ones may work.
    Undone(String),
    /// It may have been applied or not.
    Unknown(String),
}

impl Writer<'_, '_> {
    fn serve(mut self, jobs: &Queue) {
        loop {
            // With a trim to go on with, there is no time to wait.
            if self.trims.is_empty() {
                jobs.wait(self.crowd.min(DRAFTS_PER_TRANSACTION), self.patience);
            }
            let Taken { jobs: taken, drafts, over } = jobs.take(DRAFTS_PER_TRANSACTION);
            if over && self.trims.is_empty() {
                break;
            }
            let appends = self.sort(taken);
            if !appends.is_empty() {
                let before = self.clock.since_start();
                self.append(appends);
                let took = self.clock.since_start().saturating_sub(before);
                self.patience = (took / PATIENCE_SHARE).min(PATIENCE_MAX);
                // Those who have left are forgotten by and by, since a crowd comes back in parts.
                self.crowd = drafts.max(self.crowd / 2);
            }
            self.trim();
            self.expire();
        }
    }

    /// Returns the appends; trims wait for their turn.
    fn sort(&mut self, jobs: Vec<Job>) -> Vec<Append> {
        let mut appends = Vec::with_capacity(jobs.len());
        for job in jobs {
            match job {
                Job::Append(append) => appends.push(append),
                Job::Trim(trim) if self.trims.len() < TRIMS_MAX => self.trims.push_back(trim),
                Job::Trim(trim) => {
                    let _ = trim.reply.send(Err(ReadError(super::BUSY.into())));
                }
            }
        }
        appends
    }

    fn append(&mut self, appends: Vec<Append>) {
        let batches: Vec<_> = appends.iter().flat_map(|append| &append.batches).collect();
        let mut answers = self.answers(&batches).into_iter();
        for Append { batches, reply, .. } in appends {
            // Who asked may be gone; the work is done all the same.
            let _ = reply.send(answers.by_ref().take(batches.len()).collect());
        }
    }

    /// Commits batches, all of them together or, if that fails, each that can be.
    fn answers(&mut self, batches: &[&RoomBatch]) -> Vec<Answer> {
        let failure = match self.transact(batches) {
            Ok(answers) => return answers,
            Err(failure) => failure,
        };
        let (error, what) = match &failure {
            Failure::NotBegun(error) => (error, "did not begin"),
            Failure::Undone(error) => (error, "was undone"),
            Failure::Unknown(error) => (error, "failed in its commit"),
        };
        tracing::warn!(%error, batches = batches.len(), "a transaction of the room log {what}");
        match failure {
            Failure::Undone(_) if batches.len() > 1 => {
                batches.iter().flat_map(|batch| self.answers(&[batch])).collect()
            }
            Failure::NotBegun(why) | Failure::Undone(why) => {
                vec![Err(AppendError::Refused(why)); batches.len()]
            }
            Failure::Unknown(why) => vec![Err(AppendError::Unknown(why)); batches.len()],
        }
    }

    fn transact(&mut self, batches: &[&RoomBatch]) -> Result<Vec<Answer>, Failure> {
        self.begin().map_err(|fault| Failure::NotBegun(fault.0))?;
        let mut work = Work::new(&mut self.statements, &mut self.cache, self.met);
        let answers: Result<Vec<_>, _> = batches.iter().map(|batch| work.append(batch)).collect();
        let answers = match answers.and_then(|answers| work.finish().map(|()| answers)) {
            Ok(answers) => answers,
            Err(Fault(why)) => {
                return Err(match self.undo() {
                    Ok(()) => Failure::Undone(why),
                    Err(Fault(_)) => Failure::Unknown(why),
                });
            }
        };
        match work.commit() {
            Ok(()) => {
                self.newest = work.settle().unwrap_or(self.newest);
                Ok(answers)
            }
            Err(Fault(why)) => {
                self.commit_failed();
                Err(Failure::Unknown(why))
            }
        }
    }

    fn begin(&mut self) -> Result<(), Fault> {
        // A transaction that could not be undone earlier is in the way.
        self.undo()?;
        self.statements.begin.execute([])?;
        // From here on nobody else can write: what is remembered is the truth, or it is forgotten.
        let version = self.statements.data_version.query_row([], |row| row.get(0))?;
        if self.version.replace(version) != Some(version) {
            self.cache.clear();
        }
        Ok(())
    }

    /// Undoes the open transaction, unless SQLite has done so by itself.
    fn undo(&mut self) -> Result<(), Fault> {
        if !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK")?;
        }
        Ok(())
    }

    /// The file has to tell what became of it; what is remembered may be wrong.
    fn commit_failed(&mut self) {
        self.cache.clear();
        // If it fails, the next transaction tries again before it begins.
        let _ = self.undo();
    }

    /// Does one step of the trim whose turn it is.
    fn trim(&mut self) {
        let Some(Trim { room, before, reply }) = self.trims.pop_front() else { return };
        match self.trim_step(&room, before) {
            Ok((_, Progress::More)) => self.trims.push_back(Trim { room, before, reply }),
            Ok((first, Progress::Done)) => {
                let _ = reply.send(Ok(first));
            }
            Err(Fault(error)) => {
                tracing::warn!(%error, "the room log failed to trim a room");
                let _ = reply.send(Err(ReadError(error)));
            }
        }
    }

    fn trim_step(&mut self, room: &RoomName, before: Seq) -> Result<(Seq, Progress), Fault> {
        self.begin()?;
        let (row, goal) = match self.delete_some(room, before) {
            Ok(Trimmed::Part { row, goal }) => (row, goal),
            Ok(Trimmed::Nothing { first }) => {
                self.undo()?;
                return Ok((first, Progress::Done));
            }
            Err(fault) => {
                self.undo()?;
                return Err(fault);
            }
        };
        if let Err(error) = self.statements.commit.execute([]) {
            self.commit_failed();
            return Err(error.into());
        }
        let first = row.head.first;
        self.cache.insert(room.clone(), row);
        Ok((first, if first < goal { Progress::More } else { Progress::Done }))
    }

    /// Deletes some of a room's entries before a place.
    fn delete_some(&mut self, room: &RoomName, before: Seq) -> Result<Trimmed, Fault> {
        let Some(mut row) = batch::find(&mut self.statements, &mut self.cache, room)? else {
            return Ok(Trimmed::Nothing { first: Seq::ZERO.next() });
        };
        let goal = before.min(row.head.last.next());
        if goal <= row.head.first {
            return Ok(Trimmed::Nothing { first: row.head.first });
        }
        row.head.first = goal.min(row.head.first.plus(TRIM_STEP));
        let keys = (self.keys_per_user, remembered_since(self.newest));
        self.statements.trim((row.id, row.head.first), keys)?;
        Ok(Trimmed::Part { row, goal })
    }

    /// Forgets some of the keys that are too old, if it is time to look for them.
    fn expire(&mut self) {
        let since = remembered_since(self.newest);
        if self.newest.0.abs_diff(self.looked.0) < EXPIRE_EVERY_MS {
            return;
        }
        match self.expire_step(since) {
            Ok(Progress::More) => {}
            Ok(Progress::Done) => self.looked = self.newest,
            Err(Fault(error)) => {
                tracing::warn!(%error, "the room log failed to forget old keys");
                self.looked = self.newest;
            }
        }
    }

    fn expire_step(&mut self, since: Timestamp) -> Result<Progress, Fault> {
        if !self.statements.keys.has_old(since)? {
            return Ok(Progress::Done);
        }
        self.begin()?;
        if let Err(fault) = self.statements.keys.expire(since) {
            self.undo()?;
            return Err(fault);
        }
        if let Err(error) = self.statements.commit.execute([]) {
            self.commit_failed();
            return Err(error.into());
        }
        Ok(Progress::More)
    }
}

/// What became of a room's oldest entries.
enum Trimmed {
    Nothing {
        /// The oldest that is left.
        first: Seq,
    },
    Part {
        /// As it is from then on.
        row: RoomRow,
        /// How far the trim has to go.
        goal: Seq,
    },
}

enum Progress {
    More,
    Done,
}
