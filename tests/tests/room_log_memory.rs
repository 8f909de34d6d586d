//! The room log in memory, by the kit and beyond it.
#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::sync::Arc;

use chat_proto::{Body, DisplayName, Key, RoomName, Seq, Timestamp, UserId};
use chat_state::{Draft, Keep, LogHead, Outcome, ReadRange};
use chat_tests::kit::room_log::{self, Kit};
use chat_tokio::log::{MemoryLog, MemoryOptions, RoomBatch, RoomLog};

#[tokio::test(flavor = "multi_thread")]
async fn the_kit_finds_nothing_wrong() {
    let kit = Kit::new(|_| async { Arc::new(MemoryLog::new()) as Arc<dyn RoomLog> });
    room_log::run_all(&kit).await.unwrap();
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

async fn say(log: &MemoryLog, name: &str, key: &str) -> Outcome {
    let draft = Draft {
        user: UserId::new("ada").unwrap(),
        username: DisplayName::new("Ada").unwrap(),
        key: Some(Key::new(key).unwrap()),
        ts: Timestamp(1),
        body: Body::Message { content: "hi".into(), reply_to: None },
    };
    let batch = RoomBatch { room: room(name), drafts: vec![draft] };
    log.append(vec![batch]).await.remove(0).unwrap().outcomes[0]
}

async fn head(log: &MemoryLog, name: &str) -> LogHead {
    log.head(room(name)).await.unwrap()
}

#[tokio::test]
async fn a_room_keeps_its_newest_entries_and_their_keys() {
    let log = MemoryLog::with_options(MemoryOptions { entries: 3, rooms: 10 });
    assert_eq!(log.capabilities().keys_remembered, 3);
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
    assert!(matches!(say(&log, "lobby", "k3").await, Outcome::Duplicate { .. }));
    // Its entry is gone, and so is the key: there would be no place to answer with.
    assert_eq!(say(&log, "lobby", "k2").await, Outcome::New { seq: Seq::ZERO.plus(6) });
}

#[tokio::test]
async fn the_room_that_was_not_used_for_longest_is_forgotten_and_starts_over() {
    let log = MemoryLog::with_options(MemoryOptions { entries: 10, rooms: 2 });
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
    let log = MemoryLog::with_options(MemoryOptions { entries: 10, rooms: 2 });
    say(&log, "a", "k").await;
    let a = head(&log, "a").await;
    for n in 0..100 {
        head(&log, &format!("room-{n}")).await;
    }
    assert_eq!(head(&log, "a").await, a);
}
