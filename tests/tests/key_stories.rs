//! Idempotency keys (G3): what a repeat is answered, wherever and whenever it comes.
#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use chat_proto::{Body, DisplayName, Key, RoomName, Seq, Timestamp, UserId};
use chat_simulation::world::story;
use chat_state::{Draft, Outcome};
use chat_tokio::log::{MemoryLog, RoomBatch, RoomLog, SqliteLog, SqliteOptions};

#[test]
fn a_repeat_gets_the_first_reply_and_nobody_sees_it_twice() {
    story(
        "v1 a\n v1 b\n a joins den\n b joins den\n a keys den k hi\n a keys den k hi
         a says den next\n a keys den k hi",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: ack 1
         a: [den] 1<a>hi
         b: [den] 1<a>hi
         a: ack 1 again
         a: ack 2
         a: [den] 2<a>next
         b: [den] 2<a>next
         a: ack 1 again",
    );
}

#[test]
fn a_key_with_other_content_is_a_conflict_and_stays_the_first_ones() {
    story(
        r#"v1 a
         a joins den
         a keys den k one
         a keys den k two
         a keys den k one
         a sends {"type":"message","room":"den","key":"k","content":"one","reply_to":1}
         a keys den l two"#,
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>one
         a: error idempotency_conflict
         a: ack 1 again
         a: error idempotency_conflict
         a: ack 2
         a: [den] 2<a>two",
    );
}

#[test]
fn the_same_key_of_another_user_is_another_send() {
    story(
        "v1 a\n v1 b\n v1 c on 1\n a joins den\n b joins den\n c joins den
         a keys den k hi\n b keys den k hi\n c keys den k other\n a keys den k hi
         b keys den k hi",
        "a: welcome a
         b: welcome b
         c: welcome c
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: [den] join c
         b: [den] join c
         c: joined den at 0 with 1(c)
         c: [den] members 3(c,a,b)
         a: ack 1
         a: [den] 1<a>hi
         b: [den] 1<a>hi
         c: [den] 1<a>hi
         a: [den] 2<b>hi
         b: ack 2
         b: [den] 2<b>hi
         c: [den] 2<b>hi
         a: [den] 3<c>other
         b: [den] 3<c>other
         c: ack 3
         c: [den] 3<c>other
         a: ack 1 again
         b: ack 2 again",
    );
}

#[test]
fn the_same_key_in_another_room_is_another_send() {
    story(
        "v1 a\n a joins den\n a joins attic\n a says attic first\n a keys den k hi
         a keys attic k other\n a keys den k hi\n a keys attic k other\n a keys attic k hi",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: joined attic at 0 with 1(a)
         a: ack 1
         a: [attic] 1<a>first
         a: ack 1
         a: [den] 1<a>hi
         a: ack 2
         a: [attic] 2<a>other
         a: ack 1 again
         a: ack 2 again
         a: error idempotency_conflict",
    );
}

#[test]
fn a_key_counts_over_a_resume_for_the_same_user_only() {
    story(
        "v1 a\n a joins den\n a keys den k hi\n a cut\n b resumes a\n b keys den k hi
         v1 x\n x joins den\n x keys den k hi",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>hi
         b: welcome a again den to 1
         b: [den] members 1(a)
         b: ack 1 again
         x: welcome x
         b: [den] join x
         x: joined den at 1 with 2(a,x) more-before
         b: [den] 2<x>hi
         x: ack 2
         x: [den] 2<x>hi",
    );
}

#[test]
fn what_was_cut_off_before_its_ack_is_taken_once() {
    story(
        "v1 a\n v1 x\n a joins den\n x joins den\n log holds\n a keys den k hi\n a cut\n b resumes a
         log answer 0\n log prompt\n b keys den k hi",
        "a: welcome a
         x: welcome x
         a: joined den at 0 with 1(a)
         a: [den] join x
         x: joined den at 0 with 2(a,x)
         b: welcome a again den to 0
         b: [den] members 2(x,a)
         b: [den] 1<a>hi
         x: [den] 1<a>hi
         b: ack 1 again",
    );
}

#[test]
fn a_key_counts_on_every_hub() {
    story(
        "v1 a\n a joins den\n broker drops\n a keys den k hi\n a cut\n b resumes a on 1
         b keys den k hi\n b keys den k other\n c resumes b on 0\n c keys den k hi",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>hi
         b: welcome a den to 1
         b: [den] members 1(a)
         b: ack 1 again
         b: error idempotency_conflict
         c: welcome a again den to 1
         c: [den] members 1(a)
         c: ack 1 again",
    );
}

#[test]
fn a_key_outlives_its_entry() {
    story(
        "v1 a\n a joins den\n a keys den k one\n a keys den l two\n log trims den 0
         a leaves den\n a joins den 9\n a keys den k one\n a keys den l other\n a keys den m three
         a leaves den\n a joins den 9",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>one
         a: ack 2
         a: [den] 2<a>two
         a: left den
         a: joined den at 2 with 1(a)
         a: ack 1 again
         a: error idempotency_conflict
         a: ack 3
         a: [den] 3<a>three
         a: left den
         a: joined den at 3 with 1(a) 3<a>three",
    );
}

#[test]
fn after_an_unknown_outcome_a_repeat_tells_whether_it_was_taken() {
    story(
        "v1 a\n v1 b\n a joins den\n b joins den\n log unknown-taken\n a keys den k taken
         log unknown-lost\n a keys den l lost\n log prompt\n a keys den k taken\n a keys den l lost
         a keys den l lost\n wait 5000",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: error unknown_outcome
         a: error unknown_outcome
         a: ack 1 again
         a: ack 2
         a: ack 2 again
         a: [den] 1<a>taken
         a: [den] 2<a>lost
         b: [den] 1<a>taken
         b: [den] 2<a>lost",
    );
}

#[test]
fn a_refused_send_leaves_its_key_free() {
    story(
        "v1 a\n a joins den\n log refuses\n a keys den k one\n log prompt\n a keys den k two",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: error log_unavailable
         a: ack 1
         a: [den] 1<a>two",
    );
}

#[test]
fn another_log_knows_no_key() {
    story(
        "v1 a\n a joins den\n a keys den k hi\n a cut\n wait 20000\n log replaced den\n b resumes a
         b joins den\n b keys den k hi\n b keys den k hi",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>hi
         b: welcome a again den lost: EpochChanged
         b: joined den at 0 with 1(a)
         b: ack 1
         b: [den] 1<a>hi
         b: ack 1 again",
    );
}

/// Keys whose entries are gone that a room remembers of one user, as the protocol has it.
const KEYS: u64 = 1000;

async fn offer(log: &dyn RoomLog, user: &str, numbers: impl Iterator<Item = u64>) -> Vec<Outcome> {
    let draft = |n: u64| Draft {
        user: UserId::new(user).unwrap(),
        username: DisplayName::new(user).unwrap(),
        key: Some(Key::new(&format!("k{n}")).unwrap()),
        ts: Timestamp(1_700_000_000_000 + n),
        body: Body::Message { content: format!("{user} {n}").into(), reply_to: None },
    };
    let room = RoomName::new("den").unwrap();
    log.append(vec![RoomBatch { room, drafts: numbers.map(draft).collect() }])
        .await
        .remove(0)
        .unwrap()
        .outcomes
}

/// What the stories' log does not do, those of the server do: they forget.
async fn of_trimmed_entries_the_newest_keys_stay(log: &dyn RoomLog) {
    assert_eq!(log.capabilities().keys_per_user, KEYS);
    offer(log, "bob", 1..2).await;
    offer(log, "ada", 1..KEYS + 3).await;
    // As long as its entry is there a key is known, however many there are.
    let again = offer(log, "ada", 1..KEYS + 3).await;
    assert!(again.iter().all(|outcome| matches!(outcome, Outcome::Duplicate { .. })));
    let end = Seq::new(KEYS + 4).unwrap();
    assert_eq!(log.trim(RoomName::new("den").unwrap(), end).await.unwrap(), end);
    let again = offer(log, "ada", 3..KEYS + 3).await;
    let first = |n: u64| Outcome::Duplicate {
        seq: Seq::new(n + 1).unwrap(),
        ts: Timestamp(1_700_000_000_000 + n),
    };
    assert!(again.iter().copied().eq((3..KEYS + 3).map(first)), "{again:?}");
    let place = |n| Outcome::New { seq: Seq::new(n).unwrap() };
    assert_eq!(offer(log, "ada", 1..3).await, [place(KEYS + 4), place(KEYS + 5)]);
    let bob = Outcome::Duplicate { seq: Seq::new(1).unwrap(), ts: Timestamp(1_700_000_000_001) };
    assert_eq!(offer(log, "bob", 1..2).await, [bob]);
}

#[tokio::test]
async fn a_room_remembers_so_many_keys_of_a_user() {
    of_trimmed_entries_the_newest_keys_stay(&MemoryLog::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rooms.db");
    let log = SqliteLog::open(path, &SqliteOptions::default()).unwrap();
    of_trimmed_entries_the_newest_keys_stay(&log).await;
}
