//! What only a log in a file can get wrong.
use std::path::{Path, PathBuf};

use chat_proto::{Body, DisplayName, Key, Timestamp, UserId};
use chat_state::{Draft, Keep, Outcome};
use rusqlite::Connection;
use tempfile::TempDir;

use super::queue::JOBS_WAITING_MAX;
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
    assert_eq!((number("user_version"), number("application_id")), (2, 0x726f_6f6d));
    drop(conn);
    let before = std::fs::read(&path).unwrap();
    open(&path).close();
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn many_pages_are_written_back_at_a_time() {
    const MIB: u64 = 1 << 20;
    let (_folder, path) = folder();
    let log = open(&path);
    let length = || std::fs::metadata(&path).unwrap().len();
    let content = "x".repeat(MIB as usize);
    for n in 0..8 {
        let answer = log.append(vec![batch("den", &format!("k{n}"), &content)]).await.remove(0);
        answer.unwrap();
    }
    assert!(length() < MIB, "{} bytes", length());
    for n in 8..18 {
        let answer = log.append(vec![batch("den", &format!("k{n}"), &content)]).await.remove(0);
        answer.unwrap();
    }
    assert!(length() > 8 * MIB, "{} bytes", length());
}

#[test]
fn a_newer_version_is_refused_by_both_numbers() {
    let (_folder, path) = folder();
    open(&path).close();
    tamper(&path, "PRAGMA user_version = 7");
    let before = std::fs::read(&path).unwrap();
    let error = SqliteLog::open(&path, &SqliteOptions::default()).unwrap_err();
    assert!(matches!(error, SqliteOpenError::NewerSchema { found: 7, known: 2, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("version 7") && text.contains("up to 2"), "{text}");
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

/// What the first version left behind: a room that was trimmed, and one that was not.
const VERSION_1: &str = r#"
    INSERT INTO rooms VALUES (1, 'lobby', 'Lobby', 'e-1', 3, 4), (2, 'den', 'den', 'e-2', 1, 1);
    INSERT INTO entries VALUES
        (1, 3, 7, 'ada', 'Ada', 'a', '{"type":"message","content":"hi"}'),
        (1, 4, 8, 'ada', 'Ada', NULL, '{"type":"message","content":"there","reply_to":3}'),
        (2, 1, 9, 'ada', 'Ada', 'a', '{"type":"message","content":"hi"}');
    PRAGMA application_id = 0x726f6f6d;
    PRAGMA user_version = 1;"#;

#[tokio::test]
async fn a_file_of_version_1_is_brought_up_to_date_with_all_it_has() {
    let (_folder, path) = folder();
    tamper(&path, &format!("{}{VERSION_1}", include_str!("schema_v1.sql")));
    for life in 1..=2 {
        let log = open(&path);
        let head = log.head(room("lobby")).await.unwrap();
        assert_eq!((head.room.as_str(), head.epoch.as_str()), ("Lobby", "e-1"), "life {life}");
        assert_eq!((head.first.get(), head.last.get()), (3, 4), "life {life}");
        let range = ReadRange {
            from: Seq::ZERO,
            to: head.last,
            limit: 9,
            bytes: u32::MAX,
            keep: Keep::Oldest,
        };
        let entries = log.read(room("lobby"), range).await.unwrap().entries;
        let draft = |content: &str, reply_to| Draft {
            key: None,
            ts: Timestamp(8),
            body: Body::Message { content: content.into(), reply_to },
            ..batch("lobby", "a", "").drafts.remove(0)
        };
        let second = draft("there", Some(head.first));
        let first = Draft { key: Some(Key::new("a").unwrap()), ..draft("hi", None) };
        let first = Draft { ts: Timestamp(7), ..first };
        let due =
            [first.into_entry(room("Lobby"), head.first), second.into_entry(head.room, head.last)];
        assert!(entries.iter().map(|entry| &**entry).eq(&due), "life {life}: {entries:?}");
        assert_eq!(read(&log, "den").await.unwrap(), [1], "life {life}");
        let first = Outcome::Duplicate { seq: head.first, ts: Timestamp(7) };
        assert_eq!(say(&log, "lobby", "a").await.unwrap(), first, "life {life}");
    }
    let log = open(&path);
    assert_eq!(say(&log, "lobby", "b").await.unwrap(), Outcome::New { seq: Seq::ZERO.plus(5) });
    log.trim(room("lobby"), Seq::ZERO.plus(9)).await.unwrap();
    let first = Outcome::Duplicate { seq: Seq::ZERO.plus(3), ts: Timestamp(7) };
    assert_eq!(say(&log, "lobby", "a").await.unwrap(), first);
    log.close();
    let conn = Connection::open(&path).unwrap();
    let version: i32 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 2);
}

#[test]
fn a_file_of_version_1_is_left_alone_while_others_have_it_open() {
    let (_folder, path) = folder();
    let options = SqliteOptions { access: SqliteAccess::Shared, ..SqliteOptions::default() };
    let earlier = SqliteLog::open(&path, &options).unwrap();
    tamper(&path, "PRAGMA user_version = 1");
    let error = SqliteLog::open(&path, &options).unwrap_err();
    assert!(
        matches!(error, SqliteOpenError::OlderSchemaInUse { found: 1, known: 2, .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("rooms.db has version 1 and is in use"), "{text}");
    drop(earlier);
}

/// A minute and a day, in milliseconds.
const MINUTE: u64 = 60_000;
const DAY: u64 = super::super::KEYS_REMEMBERED_MS;

async fn say_at(log: &SqliteLog, name: &str, key: &str, ts: u64) -> Outcome {
    let mut said = batch(name, key, "hi");
    said.drafts[0].ts = Timestamp(ts);
    log.append(vec![said]).await.remove(0).unwrap().outcomes[0]
}

fn duplicate(seq: u64, ts: u64) -> Outcome {
    Outcome::Duplicate { seq: Seq::ZERO.plus(seq), ts: Timestamp(ts) }
}

fn new(seq: u64) -> Outcome {
    Outcome::New { seq: Seq::ZERO.plus(seq) }
}

#[tokio::test]
async fn keys_of_trimmed_entries_go_after_a_day_in_rooms_that_rest_too() {
    let (_folder, path) = folder();
    let log = open(&path);
    let start = 1_700_000_000_000;
    for n in 0..4 {
        say_at(&log, "rests", &format!("k{n}"), start + n * MINUTE).await;
    }
    log.trim(room("rests"), Seq::ZERO.plus(9)).await.unwrap();
    // The newest entry is a day younger than the second, which is just young enough.
    say_at(&log, "busy", "a", start + DAY + MINUTE).await;
    let kept = |n| duplicate(n + 1, start + n * MINUTE);
    let known = |log: SqliteLog, path: PathBuf| {
        log.close();
        let conn = Connection::open(path).unwrap();
        let mut keys = conn.prepare("SELECT key FROM keys ORDER BY seq").unwrap();
        let keys = keys.query_map([], |row| row.get::<_, String>(0)).unwrap();
        keys.collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert_eq!(known(log, path.clone()), ["k1", "k2", "k3"]);
    let log = open(&path);
    assert_eq!(say_at(&log, "rests", "k1", start + DAY).await, kept(1));
    assert_eq!(say_at(&log, "rests", "k0", start + DAY + MINUTE).await, new(5));
    // What is too old when it is trimmed is not remembered at all.
    say_at(&log, "busy", "b", start + 2 * DAY + 2 * MINUTE).await;
    log.trim(room("rests"), Seq::ZERO.plus(9)).await.unwrap();
    assert_eq!(known(log, path), Vec::<String>::new());
}

#[tokio::test]
async fn a_room_remembers_so_many_keys_of_each_user_over_several_trims_and_lives() {
    let (_folder, path) = folder();
    let options = SqliteOptions { keys_per_user: 3, ..SqliteOptions::default() };
    let log = SqliteLog::open(&path, &options).unwrap();
    for n in 1..=6 {
        say_at(&log, "lobby", &format!("k{n}"), n).await;
    }
    say_at(&log, "den", "k1", 1).await;
    for before in [2, 4, 6] {
        log.trim(room("lobby"), Seq::ZERO.plus(before)).await.unwrap();
    }
    log.close();
    let log = SqliteLog::open(&path, &options).unwrap();
    log.trim(room("den"), Seq::ZERO.plus(2)).await.unwrap();
    // Five entries are gone, and two of them with their keys; the sixth is there.
    for n in 3..=6 {
        assert_eq!(say_at(&log, "lobby", &format!("k{n}"), 9).await, duplicate(n, n));
    }
    assert_eq!(say_at(&log, "lobby", "k2", 9).await, new(7));
    assert_eq!(say_at(&log, "den", "k1", 9).await, duplicate(1, 1));
}

#[tokio::test]
async fn a_damaged_entry_is_trimmed_with_its_key_and_a_damaged_key_is_no_repeat() {
    let (_folder, path) = folder();
    let log = open(&path);
    for n in 1..=4 {
        say_at(&log, "lobby", &format!("k{n}"), n).await;
    }
    log.close();
    tamper(&path, "UPDATE entries SET user = CAST(x'ff' AS TEXT) WHERE seq = 1");
    let log = open(&path);
    assert_eq!(log.trim(room("lobby"), Seq::ZERO.plus(4)).await.unwrap().get(), 4);
    assert_eq!(say_at(&log, "lobby", "k1", 9).await, new(5));
    assert_eq!(say_at(&log, "lobby", "k2", 9).await, duplicate(2, 2));
    log.close();
    tamper(
        &path,
        "UPDATE keys SET digest = x'00' WHERE seq = 2; UPDATE keys SET seq = -1 WHERE seq = 3",
    );
    let log = open(&path);
    assert_eq!(say_at(&log, "lobby", "k2", 9).await, Outcome::Conflict);
    let answers = log.append(vec![batch("lobby", "k3", "hi"), batch("den", "k3", "hi")]).await;
    assert!(matches!(&answers[0], Err(AppendError::Refused(why)) if why.contains("-1")));
    assert!(answers[1].is_ok(), "{answers:?}");
    assert_eq!(say_at(&log, "lobby", "k4", 9).await, duplicate(4, 4));
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
    assert_eq!(log.jobs.waiting(), (0, 0));
}
