//! What only a log in a file can get wrong.
use std::path::{Path, PathBuf};

use chat_proto::{Body, DisplayName, Key, Timestamp, UserId};
use chat_state::{Keep, Outcome};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rooms.db");
    (folder, path)
}

fn open(path: &Path) -> SqliteLog {
    SqliteLog::open(path, &SqliteOptions::default()).unwrap()
}

/// Changes a file that no log has open.
fn tamper(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

fn batch(name: &str, key: &str, content: &str) -> RoomBatch {
    let draft = Draft {
        user: UserId::new("ada").unwrap(),
        username: DisplayName::new("Ada").unwrap(),
        key: Some(Key::new(key).unwrap()),
        ts: Timestamp(1),
        body: Body::Message { content: content.into(), reply_to: None },
    };
    RoomBatch { room: room(name), drafts: vec![draft] }
}

async fn say(log: &SqliteLog, name: &str, key: &str) -> Result<Outcome, AppendError> {
    let answer = log.append(vec![batch(name, key, "hi")]).await.remove(0);
    answer.map(|appended| appended.outcomes[0])
}

async fn read(log: &SqliteLog, name: &str) -> Result<Vec<u64>, ReadError> {
    let (from, to) = (Seq::ZERO, Seq::ZERO.plus(u64::MAX));
    let range = ReadRange { from, to, limit: 100, bytes: u32::MAX, keep: Keep::Oldest };
    let page = log.read(room(name), range).await?;
    Ok(page.entries.iter().map(|entry| entry.seq.get()).collect())
}

#[tokio::test]
async fn a_new_file_bears_its_version_and_opening_it_again_changes_nothing() {
    let (_folder, path) = folder();
    open(&path).close();
    let conn = Connection::open(&path).unwrap();
    let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).unwrap();
    assert_eq!((number("user_version"), number("application_id")), (1, 0x726f_6f6d));
    drop(conn);
    let before = std::fs::read(&path).unwrap();
    open(&path).close();
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_newer_version_is_refused_by_both_numbers() {
    let (_folder, path) = folder();
    open(&path).close();
    tamper(&path, "PRAGMA user_version = 7");
    let before = std::fs::read(&path).unwrap();
    let error = SqliteLog::open(&path, &SqliteOptions::default()).unwrap_err();
    assert!(matches!(error, SqliteOpenError::NewerSchema { found: 7, known: 1, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("version 7") && text.contains("up to 1"), "{text}");
    assert!(text.contains("rooms.db"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    for sql in [
        "CREATE TABLE notes (text)",
        "PRAGMA application_id = 99",
        "PRAGMA user_version = 1; CREATE TABLE rooms (id)",
    ] {
        let (_folder, path) = folder();
        tamper(&path, sql);
        let before = std::fs::read(&path).unwrap();
        let error = SqliteLog::open(&path, &SqliteOptions::default()).unwrap_err();
        assert!(matches!(error, SqliteOpenError::NotARoomLog { .. }), "{sql}: {error:?}");
        assert_eq!(std::fs::read(&path).unwrap(), before, "{sql}");
    }
}

#[tokio::test]
async fn asking_for_rooms_writes_nothing() {
    let (_folder, path) = folder();
    let log = open(&path);
    let epoch = log.head(room("Empty")).await.unwrap().epoch;
    for n in 0..500 {
        log.head(room(&format!("room-{n}"))).await.unwrap();
        log.append(vec![RoomBatch { room: room(&format!("r{n}")), drafts: Vec::new() }]).await;
    }
    say(&log, "empty", "k").await.unwrap();
    let head = log.head(room("EMPTY")).await.unwrap();
    assert_eq!((head.room.as_str(), head.epoch), ("Empty", epoch));
    log.close();
    let conn = Connection::open(&path).unwrap();
    let rooms: i64 = conn.query_row("SELECT count(*) FROM rooms", [], |row| row.get(0)).unwrap();
    assert_eq!(rooms, 1);
}

#[tokio::test]
async fn a_full_disk_refuses_appends_until_there_is_room_again() {
    let (_folder, path) = folder();
    let options = SqliteOptions { pages_max: Some(64), ..SqliteOptions::default() };
    let log = SqliteLog::open(&path, &options).unwrap();
    let large = "x".repeat(8_000);
    let mut taken = 0;
    loop {
        let answer = log.append(vec![batch("lobby", &format!("k{taken}"), &large)]).await.remove(0);
        match answer {
            Ok(_) => taken += 1,
            Err(AppendError::Refused(why)) => {
                assert!(why.contains("full"), "{why}");
                break;
            }
            Err(AppendError::Unknown(why)) => panic!("it is known to be undone: {why}"),
        }
        assert!(taken < 1000);
    }
    assert_eq!(read(&log, "lobby").await.unwrap(), (1..=taken).collect::<Vec<_>>());
    // What fits is taken, also beside what does not.
    let both = vec![batch("den", "k", &large), batch("lobby", "small", "hi")];
    let answers = log.append(both).await;
    assert!(matches!(answers[0], Err(AppendError::Refused(_))), "{answers:?}");
    let place = Seq::new(taken + 1).unwrap();
    assert_eq!(answers[1].as_ref().unwrap().outcomes, [Outcome::New { seq: place }]);
    log.trim(room("lobby"), place).await.unwrap();
    let answer = log.append(vec![batch("lobby", &format!("k{taken}"), &large)]).await.remove(0);
    assert_eq!(answer.unwrap().outcomes, [Outcome::New { seq: place.next() }]);
}

#[tokio::test]
async fn damaged_rows_fail_their_reads_and_nothing_else() {
    let damages = [
        "UPDATE entries SET body = '{' WHERE room = 1 AND seq = 2",
        "UPDATE entries SET body = '{\"type\":\"riddle\"}' WHERE room = 1 AND seq = 2",
        "UPDATE entries SET user = 'Not An Id' WHERE room = 1 AND seq = 2",
        "UPDATE entries SET username = '' WHERE room = 1 AND seq = 2",
        "UPDATE entries SET key = char(7) WHERE room = 1 AND seq = 2",
        "UPDATE entries SET body = CAST(x'ff' AS TEXT) WHERE room = 1 AND seq = 2",
        "DELETE FROM entries WHERE room = 1 AND seq = 2",
        "DELETE FROM entries WHERE room = 1 AND seq = 3",
        "UPDATE rooms SET name = 'other' WHERE id = 1",
        "UPDATE rooms SET epoch = 'no epoch' WHERE id = 1",
        "UPDATE rooms SET first = 9 WHERE id = 1",
        "UPDATE rooms SET last = -1 WHERE id = 1",
    ];
    for damage in damages {
        let (_folder, path) = folder();
        let log = open(&path);
        for key in ["a", "b", "c"] {
            say(&log, "lobby", key).await.unwrap();
            say(&log, "den", key).await.unwrap();
        }
        log.close();
        tamper(&path, damage);
        let log = open(&path);
        let error = read(&log, "lobby").await.expect_err(damage);
        assert!(error.0.contains("lobby") || error.0.contains("-1"), "{damage}: {error}");
        let answers = log.append(vec![batch("lobby", "d", "hi"), batch("den", "d", "hi")]).await;
        assert!(answers[1].is_ok(), "{damage}: {answers:?}");
        assert_eq!(read(&log, "den").await.unwrap(), [1, 2, 3, 4], "{damage}");
    }
}

#[tokio::test]
async fn a_long_trim_lets_appends_through_and_ends() {
    let (_folder, path) = folder();
    let log = open(&path);
    let mut long = batch("lobby", "k", "hi");
    long.drafts = vec![Draft { key: None, ..long.drafts.remove(0) }; 5_500];
    log.append(vec![long]).await.remove(0).unwrap();
    let trim = log.trim(room("lobby"), Seq::new(5_500).unwrap());
    let said = say(&log, "lobby", "new").await.unwrap();
    assert_eq!(said, Outcome::New { seq: Seq::new(5_501).unwrap() });
    assert_eq!(trim.await.unwrap().get(), 5_500);
    assert_eq!(read(&log, "lobby").await.unwrap(), [5_500, 5_501]);
}

#[tokio::test]
async fn what_does_not_fit_the_queue_is_refused() {
    let (_folder, path) = folder();
    let log = open(&path);
    // Holds the writer up: another program has the file.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let append = |n: usize| log.append(vec![batch("lobby", &n.to_string(), "hi")]);
    let mut answers: Vec<_> = (0..2 * JOBS_WAITING_MAX).map(append).collect();
    let last = answers.pop().unwrap().await.remove(0);
    assert_eq!(last, Err(AppendError::Refused(BUSY.into())));
    other.execute_batch("ROLLBACK").unwrap();
    let mut taken = 0;
    for answer in answers {
        taken += u64::from(answer.await.remove(0).is_ok());
    }
    assert!(taken >= JOBS_WAITING_MAX as u64);
    assert_eq!(log.head(room("lobby")).await.unwrap().last.get(), taken);
    assert_eq!(log.waiting.load(Ordering::Relaxed), 0);
}
