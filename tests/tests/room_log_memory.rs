//! The room log in memory, by the kit and beyond it.
#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::sync::Arc;

use chat_proto::{Body, DisplayName, Key, RoomName, Seq, Timestamp, UserId};
use chat_state::{Draft, Keep, LogHead, Outcome, ReadRange};
use chat_tests::kit::room_log::{self, Kit};
use chat_tokio::log::{KEYS_REMEMBERED_MS, MemoryLog, MemoryOptions, RoomBatch, RoomLog};

#[tokio::test(flavor = "multi_thread")]
async fn the_kit_finds_nothing_wrong() {
    let kit = Kit::new(|_| async { Arc::new(MemoryLog::new()) as Arc<dyn RoomLog> });
    room_log::run_all(&kit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kit_finds_nothing_wrong_with_few_keys() {
    for keys_per_user in [1, 2, 7] {
        let options = MemoryOptions { keys_per_user, ..MemoryOptions::default() };
        let log = move || Arc::new(MemoryLog::with_options(options)) as Arc<dyn RoomLog>;
        let kit = Kit::new(move |_| async move { log() });
        room_log::run_all(&kit).await.unwrap();
    }
}

fn options(entries: usize, rooms: usize) -> MemoryOptions {
    MemoryOptions { entries, rooms, ..MemoryOptions::default() }
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

async fn say(log: &MemoryLog, name: &str, key: &str) -> Outcome {
    say_this(log, name, key, "hi").await
}

async fn say_this(log: &MemoryLog, name: &str, key: &str, content: &str) -> Outcome {
    say_at(log, name, (key, 1), content).await
}

async fn say_at(log: &MemoryLog, name: &str, (key, ts): (&str, u64), content: &str) -> Outcome {
    let draft = Draft {
        user: UserId::new("ada").unwrap(),
        username: DisplayName::new("Ada").unwrap(),
        key: Some(Key::new(key).unwrap()),
        ts: Timestamp(ts),
        body: Body::Message { content: content.into(), reply_to: None },
    };
    let batch = RoomBatch { room: room(name), drafts: vec![draft] };
    log.append(vec![batch]).await.remove(0).unwrap().outcomes[0]
}

async fn head(log: &MemoryLog, name: &str) -> LogHead {
    log.head(room(name)).await.unwrap()
}

#[tokio::test]
async fn a_room_keeps_its_newest_entries_and_the_keys_of_more() {
    let log = MemoryLog::with_options(MemoryOptions { keys_per_user: 1, ..options(3, 10) });
    assert_eq!(log.capabilities().keys_per_user, 1);
    for n in 1..=5 {
        say(&log, "lobby", &format!("k{n}")).await;
    }
    let range = ReadRange {
        from: Seq::ZERO,
        to: Seq::ZERO.plus(9),
        limit: 9,
        bytes: 99,
        keep: Keep::Oldest,
    };
    let page = log.read(room("lobby"), range).await.unwrap();
    let places: Vec<_> = page.entries.iter().map(|entry| entry.seq.get()).collect();
    assert_eq!((places, page.head.first.get()), (vec![3, 4, 5], 3));
    for n in [2, 3] {
        let first = Outcome::Duplicate { seq: Seq::ZERO.plus(n), ts: Timestamp(1) };
        assert_eq!(say(&log, "lobby", &format!("k{n}")).await, first);
    }
    assert_eq!(say_this(&log, "lobby", "k2", "ho").await, Outcome::Conflict);
    assert_eq!(say(&log, "lobby", "k1").await, Outcome::New { seq: Seq::ZERO.plus(6) });
}

#[tokio::test]
async fn a_key_goes_a_day_after_its_entry_was_made() {
    let log = MemoryLog::with_options(options(1, 10));
    let start = 1_700_000_000_000;
    let say = async |key, ms| say_at(&log, "lobby", (key, start + ms), "hi").await;
    let new = |n| Outcome::New { seq: Seq::ZERO.plus(n) };
    assert_eq!((say("a", 0).await, say("b", 5).await), (new(1), new(2)));
    assert_eq!(say("c", KEYS_REMEMBERED_MS).await, new(3));
    let first = Outcome::Duplicate { seq: Seq::ZERO.plus(1), ts: Timestamp(start) };
    assert_eq!(say("a", KEYS_REMEMBERED_MS).await, first);
    assert_eq!(say("d", KEYS_REMEMBERED_MS + 1).await, new(4));
    log.trim(room("lobby"), Seq::ZERO).await.unwrap();
    assert_eq!(say("a", KEYS_REMEMBERED_MS + 1).await, new(5));
    let second = Outcome::Duplicate { seq: Seq::ZERO.plus(2), ts: Timestamp(start + 5) };
    assert_eq!(say("b", KEYS_REMEMBERED_MS + 1).await, second);
}

#[tokio::test]
async fn the_room_that_was_not_used_for_longest_is_forgotten_and_starts_over() {
    let log = MemoryLog::with_options(options(10, 2));
    say(&log, "a", "k").await;
    say(&log, "b", "k").await;
    let (a, b) = (head(&log, "b").await, head(&log, "a").await);
    let (a, b) = (b, a);
    say(&log, "c", "k").await;
    assert_eq!(head(&log, "a").await, a);
    let again = head(&log, "b").await;
    assert_eq!(again.last, Seq::ZERO);
    assert_ne!(again.epoch, b.epoch, "another log must not bear the lost one's name");
    assert_eq!(say(&log, "b", "k").await, Outcome::New { seq: Seq::ZERO.next() });
}

#[tokio::test]
async fn asking_for_rooms_forgets_no_room_with_entries() {
    let log = MemoryLog::with_options(options(10, 2));
    say(&log, "a", "k").await;
    let a = head(&log, "a").await;
    for n in 0..100 {
        head(&log, &format!("room-{n}")).await;
    }
    assert_eq!(head(&log, "a").await, a);
}

#[tokio::test]
async fn beyond_the_bytes_the_oldest_entries_of_the_least_recently_used_rooms_go() {
    let log =
        MemoryLog::with_options(MemoryOptions { bytes: 1_000_000, ..MemoryOptions::default() });
    let long = "x".repeat(10_000);
    for n in 1..=20 {
        say_this(&log, "a", &format!("k{n}"), &long).await;
    }
    say(&log, "b", "k").await;
    let (a, b) = (head(&log, "a").await, head(&log, "b").await);
    assert_eq!((a.first.get(), a.last.get()), (1, 20), "there is room for that");

    // `a` was asked for before `b`, so it pays for `c`, from its oldest on.
    for n in 1..=35 {
        say_this(&log, "c", &format!("k{n}"), &long).await;
    }
    let again = head(&log, "a").await;
    assert!((2..=20).contains(&again.first.get()), "{again:?}");
    assert_eq!((&again.epoch, again.last), (&a.epoch, a.last));
    assert_eq!(say(&log, "a", "k1").await, Outcome::New { seq: a.last.next() }, "its key is gone");
    assert_eq!(head(&log, "b").await, b);

    // Alone, a room keeps its newest entries, and all others are forgotten.
    for n in 36..=200 {
        let said = say_this(&log, "c", &format!("k{n}"), &long).await;
        assert_eq!(said, Outcome::New { seq: Seq::ZERO.plus(n) });
    }
    let c = head(&log, "c").await;
    assert!((140..=160).contains(&c.first.get()) && c.last.get() == 200, "{c:?}");
    assert_ne!(head(&log, "a").await.epoch, a.epoch);
    assert_ne!(head(&log, "b").await.epoch, b.epoch);
}

#[tokio::test]
async fn beyond_the_bytes_keys_whose_entries_are_gone_go_before_any_entry() {
    let log = MemoryLog::with_options(MemoryOptions { bytes: 100_000, ..options(10, 10) });
    for n in 1..=1000 {
        let said = say(&log, "lobby", &format!("k{n}")).await;
        assert_eq!(said, Outcome::New { seq: Seq::ZERO.plus(n) });
    }
    let first = head(&log, "lobby").await.first;
    assert_eq!(first.get(), 991, "there is room for ten entries, and for keys");
    let known = async |n: u64| {
        matches!(say(&log, "lobby", &format!("k{n}")).await, Outcome::Duplicate { .. })
    };
    let oldest = (1..=1000).rev().step_by(10);
    let mut known_ones = 0;
    for n in oldest {
        if !known(n).await {
            break;
        }
        known_ones += 10;
    }
    assert!((200..400).contains(&known_ones), "keys count: {known_ones} of them are known");
    // A long entry has their place, and that of no other entry.
    say_this(&log, "lobby", "long", &"x".repeat(30_000)).await;
    assert!(known(1000).await && known(995).await);
    assert!(!known(800).await);
}

#[tokio::test]
async fn a_limit_smaller_than_any_entry_keeps_the_newest() {
    let log = MemoryLog::with_options(MemoryOptions { bytes: 0, ..MemoryOptions::default() });
    for (n, name) in (1..).zip(["a", "a", "a"]) {
        assert_eq!(
            say(&log, name, &format!("k{n}")).await,
            Outcome::New { seq: Seq::ZERO.plus(n) }
        );
    }
    let a = head(&log, "a").await;
    assert_eq!((a.first.get(), a.last.get()), (3, 3));
    say(&log, "b", "k").await;
    assert_eq!(head(&log, "a").await.last, Seq::ZERO);
    assert_eq!(log.trim(room("b"), Seq::ZERO.plus(9)).await.unwrap().get(), 2);
    let first = Outcome::Duplicate { seq: Seq::ZERO.plus(1), ts: Timestamp(1) };
    assert_eq!(say(&log, "b", "k").await, first);
    assert_eq!(say(&log, "b", "l").await, Outcome::New { seq: Seq::ZERO.plus(2) });
}
