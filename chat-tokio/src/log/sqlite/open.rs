//! Opening the file: its lock, its identity and its schema.
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::super::epochs::Epochs;
use super::batch::Statements;
use super::reader::Queries;
use super::share::{Lock, LockError};
use super::{SqliteAccess, SqliteDurability, SqliteOptions};

/// The file that a log lives in, locked.
pub(super) struct Place {
    path: PathBuf,
    lock: Lock,
}

/// "room" in ASCII: marks the files that are room logs.
const APPLICATION_ID: i32 = 0x726f_6f6d;

/// What brings a file from each version of the schema to the next; the first makes a new one.
/// A step that was released never changes.
const MIGRATIONS: [&str; 2] = [include_str!("schema_v1.sql"), include_str!("schema_v2.sql")];

/// The version of the schema that this program reads and writes.
const VERSION: i32 = MIGRATIONS.len() as i32;

/// Pages in the write-ahead log, 16 MiB, from which on a commit writes them back to the file.
const CHECKPOINT_PAGES: i32 = 4000;

/// How long another program, say a backup, may hold the file before an append is refused.
const BUSY_WAIT: Duration = Duration::from_secs(5);

impl Place {
    /// Locks the file for this log.
    pub(super) fn take(path: &Path, access: SqliteAccess) -> Result<Self, SqliteOpenError> {
        let path = absolute(path)?;
        let name = lock_name(&path);
        match Lock::take(&name, access) {
            Ok(lock) => Ok(Self { path, lock }),
            Err(error) => Err(lock_error(error, path)),
        }
    }

    /// Lets those in who share the file, now that it is up to date; tells which epochs its rooms
    /// get.
    pub(super) fn settle(self) -> Result<(Self, Epochs), SqliteOpenError> {
        let Self { path, lock } = self;
        match lock.settle() {
            Ok((lock, epochs)) => Ok((Self { path, lock }, epochs)),
            Err(error) => Err(lock_error(error, path)),
        }
    }

    /// Keeps the lock alone.
    pub(super) fn into_lock(self) -> File {
        self.lock.into_file()
    }

    /// Opens the connection that writes, and brings the file up to date.
    pub(super) fn writer(&self, options: &SqliteOptions) -> Result<Connection, SqliteOpenError> {
        let conn = self.connect(OpenFlags::SQLITE_OPEN_CREATE)?;
        self.check_writable(&conn)?;
        self.check_identity(&conn)?;
        let sync = match options.durability {
            SqliteDurability::Full => "FULL",
            SqliteDurability::Normal => "NORMAL",
        };
        let prepare = || -> rusqlite::Result<()> {
            conn.pragma_update(None, "journal_mode", "wal")?;
            conn.pragma_update(None, "synchronous", sync)?;
            // Keeps the log's working set in memory: 16 MiB.
            conn.pragma_update(None, "cache_size", -16_384)?;
            // A page is written back once for all its changes since the last time: with four times
            // the pages of SQLite's default, half as many are written. More would not fit the first
            // part of the index by which readers find a page in the write-ahead log.
            conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
            // After a burst the write-ahead log gives its space back: 64 MiB stay.
            conn.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
            migrate(&conn)?;
            Statements::prepare(&conn)?;
            if let Some(pages) = options.pages_max {
                conn.pragma_update(None, "max_page_count", pages)?;
            }
            Ok(())
        };
        prepare().map_err(|error| self.wrong(error))?;
        Ok(conn)
    }

    /// Opens a connection that reads.
    pub(super) fn reader(&self) -> Result<Connection, SqliteOpenError> {
        let conn = self.connect(OpenFlags::empty())?;
        let prepare = || -> rusqlite::Result<()> {
            conn.pragma_update(None, "query_only", true)?;
            Queries::prepare(&conn).map(drop)
        };
        prepare().map_err(|error| self.wrong(error))?;
        Ok(conn)
    }

    /// Starts one of the log's threads.
    pub(super) fn thread(
        &self,
        name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<()>, SqliteOpenError> {
        let failed = |source| SqliteOpenError::File { path: self.path.clone(), source };
        thread::Builder::new().name(name.into()).spawn(run).map_err(failed)
    }

    fn connect(&self, more: OpenFlags) -> Result<Connection, SqliteOpenError> {
        // No URI: a path is a path. No mutex: a connection stays on one thread.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
        let open = || -> rusqlite::Result<Connection> {
            let conn = Connection::open_with_flags(&self.path, flags)?;
            conn.busy_timeout(BUSY_WAIT)?;
            // Functions and triggers of a manipulated file must not run.
            conn.pragma_update(None, "trusted_schema", false)?;
            conn.pragma_update(None, "cell_size_check", true)?;
            Ok(conn)
        };
        open().map_err(|error| self.wrong(error))
    }

    /// SQLite opens a file that may only be read without a word; an append would fail.
    ///
    /// The connection is asked: whoever opens the file by itself, and closes it again, takes the
    /// locks away that SQLite has on it in this process (POSIX knows no owner but the process).
    fn check_writable(&self, conn: &Connection) -> Result<(), SqliteOpenError> {
        match conn.is_readonly("main") {
            Ok(false) => Ok(()),
            Ok(true) => {
                let source = io::ErrorKind::PermissionDenied.into();
                Err(SqliteOpenError::File { path: self.path.clone(), source })
            }
            Err(error) => Err(self.wrong(error)),
        }
    }

    /// Refuses files that are not ours before anything is written to them.
    fn check_identity(&self, conn: &Connection) -> Result<(), SqliteOpenError> {
        let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let wrong = |error| self.wrong(error);
        let application = number("application_id").map_err(wrong)?;
        let version = number("user_version").map_err(wrong)?;
        let things = "SELECT count(*) FROM sqlite_schema";
        let things: i64 = conn.query_row(things, [], |row| row.get(0)).map_err(wrong)?;
        let path = self.path.clone();
        match (application, version, things) {
            (APPLICATION_ID, VERSION, _) => Ok(()),
            // Whoever has it open would not know what it is turned into.
            (APPLICATION_ID, 1..VERSION, _) if !self.lock.is_alone() => {
                Err(SqliteOpenError::OlderSchemaInUse { path, found: version, known: VERSION })
            }
            (0, 0, 0) | (APPLICATION_ID, 1..VERSION, _) => Ok(()),
            (APPLICATION_ID, ..) => {
                Err(SqliteOpenError::NewerSchema { path, found: version, known: VERSION })
            }
            _ => Err(SqliteOpenError::NotARoomLog { path }),
        }
    }

    fn wrong(&self, error: rusqlite::Error) -> SqliteOpenError {
        let path = self.path.clone();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => SqliteOpenError::NotARoomLog { path },
            _ => SqliteOpenError::Database { path, source: error },
        }
    }
}

/// Brings the schema to this program's version, each step whole or not at all.
fn migrate(conn: &Connection) -> rusqlite::Result<()> {
    let version: i32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (step, to) in MIGRATIONS.iter().zip(1..).filter(|(_, to)| *to > version) {
        let step = conn.unchecked_transaction().and_then(|transaction| {
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", to)?;
            transaction.commit()
        });
        step?;
    }
    Ok(())
}

fn lock_name(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".lock");
    PathBuf::from(name)
}

fn lock_error(error: LockError, path: PathBuf) -> SqliteOpenError {
    match error {
        LockError::InUse => SqliteOpenError::InUse { path },
        LockError::Failed(source) => SqliteOpenError::File { path: lock_name(&path), source },
    }
}

/// Finds the file's one true path, so that two ways to it are one lock, and ":memory:" is a file.
fn absolute(path: &Path) -> Result<PathBuf, SqliteOpenError> {
    if let Ok(known) = fs::canonicalize(path) {
        if known.is_dir() {
            let source = io::ErrorKind::IsADirectory.into();
            return Err(SqliteOpenError::File { path: known, source });
        }
        return Ok(known);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Some(name) = path.file_name() else {
        let source = io::ErrorKind::InvalidFilename.into();
        return Err(SqliteOpenError::File { path: path.into(), source });
    };
    match fs::canonicalize(folder) {
        Ok(folder) => Ok(folder.join(name)),
        Err(source) => Err(SqliteOpenError::Folder { path: folder.into(), source }),
    }
}

/// Why a [`SqliteLog`](super::SqliteLog) can't be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum SqliteOpenError {
    /// The folder that the file should be in is missing or closed to us.
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file, or the lock file beside it, can't be opened for writing.
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another log has it open, in this process or in another, and one of both does not share it.
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Others that share it have it open, and would not understand the form that this program
    /// gives it.
    OlderSchemaInUse {
        /// The file.
        path: PathBuf,
        /// The schema's version in the file.
        found: i32,
        /// The version that this program needs.
        known: i32,
    },
    /// The file is no SQLite database, or that of another program.
    NotARoomLog {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of this program wrote the file.
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The schema's version in the file.
        found: i32,
        /// The newest version that this program knows.
        known: i32,
    },
    /// SQLite failed.
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl fmt::Display for SqliteOpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, source } => {
                write!(f, "the folder {} can't be used: {source}", path.display())
            }
            Self::File { path, source } => {
                write!(f, "the file {} can't be used: {source}", path.display())
            }
            Self::InUse { path } => {
                write!(f, "the room log {} is in use by another server", path.display())
            }
            Self::OlderSchemaInUse { path, found, known } => write!(
                f,
                "the room log {} has version {found} and is in use; to bring it to version \
                 {known}, stop the server that uses it",
                path.display()
            ),
            Self::NotARoomLog { path } => {
                write!(f, "the file {} is not a room log of this program", path.display())
            }
            Self::NewerSchema { path, found, known } => write!(
                f,
                "the room log {} has version {found}, but this program knows versions up to \
                 {known}: use a newer program",
                path.display()
            ),
            Self::Database { path, source } => {
                write!(f, "the room log {} can't be opened: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for SqliteOpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder { source, .. } | Self::File { source, .. } => Some(source),
            Self::Database { source, .. } => Some(source),
            Self::InUse { .. }
            | Self::OlderSchemaInUse { .. }
            | Self::NotARoomLog { .. }
            | Self::NewerSchema { .. } => None,
        }
    }
}
