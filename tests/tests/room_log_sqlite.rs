//! The room log in SQLite, by the kit and beyond it.
#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chat_proto::{Body, DisplayName, Durability, RoomName, Seq, Timestamp, UserId};
use chat_state::{AppendError, Appended, Draft, LogHead, LogPage, ReadError, ReadRange};
use chat_tests::kit::room_log::{self, Kit};
use chat_tokio::log::{
    Capabilities, LogFuture, RoomBatch, RoomLog, SqliteAccess, SqliteDurability, SqliteLog,
    SqliteOpenError, SqliteOptions,
};

fn options(durability: SqliteDurability) -> SqliteOptions {
    let mut options = SqliteOptions::default();
    options.durability = durability;
    options
}

async fn try_kit(durability: SqliteDurability, promise: Durability) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let kit = Kit::new(move |number| {
        let path = path.join(format!("{number}.db"));
        let log = SqliteLog::open(path, &options(durability)).unwrap();
        assert_eq!(log.capabilities().durability, promise);
        async { Arc::new(log) as Arc<dyn RoomLog> }
    });
    room_log::run_all(&kit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kit_finds_nothing_wrong_with_full() {
    try_kit(SqliteDurability::Full, Durability::Disk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kit_finds_nothing_wrong_with_normal() {
    try_kit(SqliteDurability::Normal, Durability::Process).await;
}

fn shared() -> SqliteOptions {
    let mut options = options(SqliteDurability::Normal);
    options.access = SqliteAccess::Shared;
    options
}

/// Two logs that share a file, as two processes do, asked in turns.
struct Both {
    logs: [SqliteLog; 2],
    turn: AtomicUsize,
}

impl Both {
    fn next(&self) -> &SqliteLog {
        &self.logs[self.turn.fetch_add(1, Ordering::Relaxed) % 2]
    }
}

impl RoomLog for Both {
    fn capabilities(&self) -> Capabilities {
        self.logs[0].capabilities()
    }

    fn append(&self, batches: Vec<RoomBatch>) -> LogFuture<Vec<Result<Appended, AppendError>>> {
        self.next().append(batches)
    }

    fn head(&self, room: RoomName) -> LogFuture<Result<LogHead, ReadError>> {
        self.next().head(room)
    }

    fn read(&self, room: RoomName, range: ReadRange) -> LogFuture<Result<LogPage, ReadError>> {
        self.next().read(room, range)
    }

    fn trim(&self, room: RoomName, before: Seq) -> LogFuture<Result<Seq, ReadError>> {
        self.next().trim(room, before)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kit_finds_nothing_wrong_with_two_that_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let kit = Kit::new(move |number| {
        let path = path.join(format!("{number}.db"));
        let logs = [(); 2].map(|()| SqliteLog::open(&path, &shared()).unwrap());
        assert!(logs.iter().all(|log| log.capabilities().shared));
        let both = Both { logs, turn: AtomicUsize::new(0) };
        async { Arc::new(both) as Arc<dyn RoomLog> }
    });
    room_log::run_all(&kit).await.unwrap();
}

/// One who shares has to be met by others who share, and agrees with them on rooms that nobody has
/// said anything in.
#[tokio::test]
async fn a_file_is_shared_by_those_who_all_share_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rooms.db");
    let epoch =
        async |log: &SqliteLog| log.head(RoomName::new("silence").unwrap()).await.unwrap().epoch;
    let first = SqliteLog::open(&path, &shared()).unwrap();
    let second = SqliteLog::open(&path, &shared()).unwrap();
    assert!(matches!(open(&path).unwrap_err(), SqliteOpenError::InUse { .. }));
    let agreed = epoch(&first).await;
    assert_eq!(agreed, epoch(&second).await);
    say(&first, "1").await.unwrap();
    first.close();
    let third = SqliteLog::open(&path, &shared()).unwrap();
    assert_eq!(agreed, epoch(&third).await, "it outlives the one who drew it");
    say(&second, "2").await.unwrap();
    say(&third, "3").await.unwrap();
    second.close();
    third.close();
    let alone = open(&path).unwrap();
    assert_eq!(alone.head(RoomName::new("lobby").unwrap()).await.unwrap().last.get(), 3);
    let refused = SqliteLog::open(&path, &shared()).unwrap_err();
    assert!(matches!(refused, SqliteOpenError::InUse { .. }), "{refused:?}");
    alone.close();
    let later = SqliteLog::open(&path, &shared()).unwrap();
    assert_ne!(agreed, epoch(&later).await, "nobody who knew it is left");
}

fn open(path: impl AsRef<Path>) -> Result<SqliteLog, SqliteOpenError> {
    SqliteLog::open(path, &SqliteOptions::default())
}

fn batch(content: &str) -> RoomBatch {
    let draft = Draft {
        user: UserId::new("ada").unwrap(),
        username: DisplayName::new("Ada").unwrap(),
        key: None,
        ts: Timestamp(1),
        body: Body::Message { content: content.into(), reply_to: None },
    };
    RoomBatch { room: RoomName::new("lobby").unwrap(), drafts: vec![draft] }
}

async fn say(log: &SqliteLog, content: &str) -> Result<Appended, AppendError> {
    log.append(vec![batch(content)]).await.remove(0)
}

#[tokio::test]
async fn a_second_server_is_refused_until_the_first_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rooms.db");
    let first = open(&path).unwrap();
    let again = folder.path().join(".").join("rooms.db");
    let error = open(again).unwrap_err();
    assert!(matches!(error, SqliteOpenError::InUse { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("rooms.db") && text.contains("in use"), "{text}");
    say(&first, "still there").await.unwrap();
    first.close();
    open(&path).unwrap();
}

#[tokio::test]
async fn a_closed_log_refuses_and_has_kept_what_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rooms.db");
    let log = open(&path).unwrap();
    let taken: Vec<_> = (0..200).map(|n| log.append(vec![batch(&n.to_string())])).collect();
    log.close();
    for answer in taken {
        answer.await.remove(0).unwrap();
    }
    assert!(matches!(say(&log, "late").await, Err(AppendError::Refused(_))));
    assert!(log.head(RoomName::new("lobby").unwrap()).await.is_err());
    assert!(log.trim(RoomName::new("lobby").unwrap(), Seq::ZERO).await.is_err());
    log.close();
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "rooms.db.lock")
        .collect();
    assert_eq!(names, ["rooms.db"], "all is in the one file");
    let head = open(&path).unwrap().head(RoomName::new("lobby").unwrap()).await.unwrap();
    assert_eq!(head.last.get(), 200);
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(folder.path().join("missing").join("rooms.db")).unwrap_err();
    assert!(matches!(error, SqliteOpenError::Folder { .. }), "{error:?}");
    assert!(error.to_string().contains("missing"), "{error}");
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, SqliteOpenError::File { .. }), "{error:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_no_files_is_named() {
    // Nobody, root included, may make a file there.
    let error = open("/proc/rooms.db").unwrap_err();
    assert!(matches!(error, SqliteOpenError::File { .. }), "{error:?}");
    assert!(error.to_string().contains("/proc/rooms.db"), "{error}");
}

#[test]
fn a_file_of_another_kind_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "These are my notes, and they are long enough to be no header. ".repeat(40);
    std::fs::write(&path, &text).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, SqliteOpenError::NotARoomLog { .. }), "{error:?}");
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[cfg(unix)]
#[test]
fn the_name_of_a_database_in_memory_is_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(":memory:");
    drop(open(&path).unwrap());
    assert!(path.exists());
}
