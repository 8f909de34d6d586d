//! Proves a [`RoomLog`] right.
//!
//! ```
//! use std::sync::Arc;
//! use chat_tests::kit::room_log::{self, Kit};
//! use chat_tokio::log::{MemoryLog, RoomLog};
//!
//! # #[tokio::main(flavor = "multi_thread")] async fn main() {
//! let kit = Kit::new(|_number| async { Arc::new(MemoryLog::new()) as Arc<dyn RoomLog> });
//! room_log::run_all(&kit).await.unwrap();
//! # }
//! ```
//!
//! Each case is a function of its own and answers in words what was wrong. They need a runtime
//! with several threads. A case takes logs of its own, so any number can run side by side.
mod appends;
mod gone;
mod keys;
mod reads;
mod survival;
mod together;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chat_proto::{Body, DisplayName, Entry, Key, RoomName, Seq, Timestamp, UserId};
use chat_state::{
    AppendError, Appended, Draft, Keep, LogHead, LogPage, Outcome, ReadError, ReadRange,
};
use chat_tokio::log::{RoomBatch, RoomLog};

pub use self::appends::{
    a_batch_keeps_its_order, an_append_may_be_empty, answers_follow_the_batches,
    contents_come_back_byte_for_byte, places_are_dense_from_one, rooms_are_separate,
    the_first_spelling_stays,
};
pub use self::gone::{
    a_key_is_known_for_a_day, a_key_is_known_while_its_entry_goes, a_key_outlives_its_entry,
    a_user_has_so_many_keys,
};
pub use self::keys::{
    a_key_belongs_to_a_user_and_a_room, a_key_is_taken_once_by_many_at_once,
    a_key_twice_in_one_batch, a_key_with_another_body_is_a_conflict, a_repeat_is_a_duplicate,
    no_key_is_no_repeat,
};
pub use self::reads::{
    a_page_ends_at_its_bytes, an_unknown_room_is_empty, ranges_are_clipped, reads_match_a_model,
};
pub use self::survival::{
    all_survives_a_reopening, places_are_not_given_again_after_a_trim, the_epoch_names_the_log,
};
pub use self::together::{
    a_dropped_answer_drops_no_work, a_room_begins_at_once, batches_do_not_mix,
    pages_are_whole_while_others_write, what_was_acked_is_read,
};

/// What a case answers: in words, what the log did wrong.
pub type Verdict = Result<(), Wrong>;

/// What a log did wrong.
#[derive(Debug)]
pub struct Wrong(pub String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl From<AppendError> for Wrong {
    fn from(error: AppendError) -> Self {
        Self(format!("an append failed: {error}"))
    }
}

impl From<ReadError> for Wrong {
    fn from(error: ReadError) -> Self {
        Self(format!("a read or trim failed: {error}"))
    }
}

/// Answers with [`Wrong`] unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err($crate::kit::room_log::Wrong(format!($($why)+)));
        }
    };
}
use ensure;

type Opened = Pin<Box<dyn Future<Output = Arc<dyn RoomLog>> + Send>>;

/// Where the cases get logs from.
pub struct Kit {
    open: Box<dyn Fn(u32) -> Opened + Send + Sync>,
    next: AtomicU32,
    patience: Duration,
}

impl fmt::Debug for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kit").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Kit {
    /// Takes a function that opens logs by number: a number seen for the first time gives an empty
    /// log. A number seen again gives the same log as it is after its end, that is with all it
    /// held if its durability is more than `Memory`; the kit has dropped the earlier object then.
    pub fn new<F>(open: impl Fn(u32) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Arc<dyn RoomLog>> + Send + 'static,
    {
        let open = Box::new(move |number| -> Opened { Box::pin(open(number)) });
        Self { open, next: AtomicU32::new(0), patience: PATIENCE }
    }

    /// Sets how long one case may take before the log counts as stuck; by default a minute.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Opens an empty log.
    async fn fresh(&self) -> Log {
        self.open(self.next.fetch_add(1, Ordering::Relaxed)).await
    }

    /// Ends a log and opens it again.
    async fn reopen(&self, log: Log) -> Log {
        let number = log.number;
        drop(log);
        self.open(number).await
    }

    async fn open(&self, number: u32) -> Log {
        Log { log: (self.open)(number).await, number }
    }
}

/// How long a case may take: a slow disk or a distant database gets through in a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs every case and answers with the first failure.
///
/// # Errors
/// Names the case, and says what the log did wrong.
pub async fn run_all(kit: &Kit) -> Verdict {
    macro_rules! cases {
        ($($case:ident),+ $(,)?) => {$(
            match tokio::time::timeout(kit.patience, $case(kit)).await {
                Ok(Ok(())) => {}
                Ok(Err(wrong)) => return Err(Wrong(format!("{}: {wrong}", stringify!($case)))),
                Err(_) => return Err(Wrong(format!("{}: no answer came", stringify!($case)))),
            }
        )+};
    }
    cases![
        places_are_dense_from_one,
        a_batch_keeps_its_order,
        answers_follow_the_batches,
        rooms_are_separate,
        an_append_may_be_empty,
        contents_come_back_byte_for_byte,
        the_first_spelling_stays,
        a_repeat_is_a_duplicate,
        a_key_with_another_body_is_a_conflict,
        a_key_belongs_to_a_user_and_a_room,
        a_key_twice_in_one_batch,
        no_key_is_no_repeat,
        a_key_is_taken_once_by_many_at_once,
        a_key_outlives_its_entry,
        a_user_has_so_many_keys,
        a_key_is_known_for_a_day,
        a_key_is_known_while_its_entry_goes,
        an_unknown_room_is_empty,
        ranges_are_clipped,
        a_page_ends_at_its_bytes,
        reads_match_a_model,
        places_are_not_given_again_after_a_trim,
        the_epoch_names_the_log,
        all_survives_a_reopening,
        what_was_acked_is_read,
        batches_do_not_mix,
        pages_are_whole_while_others_write,
        a_room_begins_at_once,
        a_dropped_answer_drops_no_work,
    ];
    Ok(())
}

/// A log under test, with what the cases need of it.
#[derive(Clone)]
struct Log {
    log: Arc<dyn RoomLog>,
    number: u32,
}

impl Log {
    /// Appends drafts to one room.
    async fn append(&self, name: &str, drafts: Vec<Draft>) -> Result<Appended, Wrong> {
        let count = drafts.len();
        let mut answers = self.append_all(vec![batch(name, drafts)]).await?;
        let appended = answers.swap_remove(0);
        let outcomes = appended.outcomes.len();
        ensure!(outcomes == count, "{count} drafts were answered by {outcomes} outcomes");
        Ok(appended)
    }

    /// Appends drafts to several rooms.
    async fn append_all(&self, batches: Vec<RoomBatch>) -> Result<Vec<Appended>, Wrong> {
        let count = batches.len();
        let answers = self.log.append(batches).await;
        ensure!(answers.len() == count, "{count} batches got {} answers", answers.len());
        Ok(answers.into_iter().collect::<Result<_, _>>()?)
    }

    /// Appends one draft and answers with its outcome.
    async fn say(&self, name: &str, draft: Draft) -> Result<Outcome, Wrong> {
        Ok(self.append(name, vec![draft]).await?.outcomes[0])
    }

    async fn head(&self, name: &str) -> Result<LogHead, Wrong> {
        Ok(self.log.head(room(name)).await?)
    }

    async fn read(&self, name: &str, range: ReadRange) -> Result<LogPage, Wrong> {
        Ok(self.log.read(room(name), range).await?)
    }

    /// Reads all entries of a room.
    async fn all(&self, name: &str) -> Result<Vec<Arc<Entry>>, Wrong> {
        Ok(self.read(name, range(1, u64::MAX)).await?.entries)
    }

    async fn trim(&self, name: &str, before: u64) -> Result<u64, Wrong> {
        Ok(self.log.trim(room(name), seq(before)).await?.get())
    }
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).expect("the kit's names are valid")
}

/// Makes a place; the last one of all for what is beyond.
fn seq(value: u64) -> Seq {
    Seq::ZERO.plus(value)
}

fn batch(name: &str, drafts: Vec<Draft>) -> RoomBatch {
    RoomBatch { room: room(name), drafts }
}

/// Makes a draft of a user, with the key if it is not empty.
fn draft(user: &str, key: &str, content: &str) -> Draft {
    Draft {
        user: UserId::new(user).expect("the kit's ids are valid"),
        username: DisplayName::new(user).expect("the kit's names are valid"),
        key: (!key.is_empty()).then(|| Key::new(key).expect("the kit's keys are valid")),
        ts: Timestamp(1_700_000_000_000),
        body: Body::Message { content: content.into(), reply_to: None },
    }
}

/// Makes a range without limits of its own.
fn range(from: u64, to: u64) -> ReadRange {
    let (from, to) = (seq(from), seq(to));
    ReadRange { from, to, limit: u32::MAX, bytes: u32::MAX, keep: Keep::Oldest }
}

fn content(entry: &Entry) -> &str {
    match &entry.body {
        Body::Message { content, .. } => content,
        _ => "",
    }
}

fn contents(entries: &[Arc<Entry>]) -> Vec<&str> {
    entries.iter().map(|entry| content(entry)).collect()
}

fn places(entries: &[Arc<Entry>]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq.get()).collect()
}

/// Returns the place of an outcome that has to be new.
fn new(outcome: Outcome) -> Result<u64, Wrong> {
    match outcome {
        Outcome::New { seq } => Ok(seq.get()),
        Outcome::Duplicate { .. } | Outcome::Conflict => {
            Err(Wrong(format!("{outcome:?} for a draft that is new")))
        }
    }
}
