//! The kit for room logs, given logs with deliberate faults: it has to refuse every one of them.
use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chat_proto::{Durability, Epoch, Key, RoomName, Seq, Timestamp, UserId};
use chat_state::{
    AppendError, Appended, Draft, Keep, LogHead, LogPage, Outcome, ReadError, ReadRange,
};
use chat_tests::kit::room_log::{self, Kit};
use chat_tokio::log::{
    Capabilities, KEYS_REMEMBERED_MS, LogFuture, MemoryLog, MemoryOptions, RoomBatch, RoomLog,
};

/// What is wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing: the kit has to accept it.
    None,
    ForgetsKeys,
    ForgetsAKeyNowAndThen,
    ForgetsKeysWithTheirEntries,
    ForgetsKeysInTheFirstHour,
    ForgetsKeysThatItSaysItRemembers,
    RemembersMoreKeysThanItSays,
    TakesAnyBodyOnceTheEntryIsGone,
    AnswersByTheOldestPlaceOnceTheEntryIsGone,
    SharesKeysBetweenUsers,
    TakesAConflictForARepeat,
    TakesARepeatForAConflict,
    AnswersARepeatWithItsOwnTime,
    AnswersARepeatWithTheLastPlace,
    LeavesAHole,
    SkipsAnEntryInPages,
    ReversesABatch,
    ReversesTheAnswers,
    MixesBatches,
    AcksBeforeItIsThere,
    LosesWhatNobodyWaitsFor,
    DoesWorkTwice,
    IgnoresTheLimit,
    IgnoresTheBytes,
    ReadsNothingIfTooLarge,
    AlwaysKeepsTheOldest,
    LeavesOutTheEndOfARange,
    AnswersNewestFirst,
    TrimsOneTooMany,
    DoesNotTrim,
    ForgetsTheLastPlaceOnTrim,
    SpellsAsAsked,
    ChangesTheEpoch,
    HasOneEpochForAll,
    LosesWhatItPromisedToKeep,
    ChangesTheText,
    RoundsTheTime,
}

const FAULTS: [Fault; 36] = [
    Fault::ForgetsKeys,
    Fault::ForgetsAKeyNowAndThen,
    Fault::ForgetsKeysWithTheirEntries,
    Fault::ForgetsKeysInTheFirstHour,
    Fault::ForgetsKeysThatItSaysItRemembers,
    Fault::RemembersMoreKeysThanItSays,
    Fault::TakesAnyBodyOnceTheEntryIsGone,
    Fault::AnswersByTheOldestPlaceOnceTheEntryIsGone,
    Fault::SharesKeysBetweenUsers,
    Fault::TakesAConflictForARepeat,
    Fault::TakesARepeatForAConflict,
    Fault::AnswersARepeatWithItsOwnTime,
    Fault::AnswersARepeatWithTheLastPlace,
    Fault::LeavesAHole,
    Fault::SkipsAnEntryInPages,
    Fault::ReversesABatch,
    Fault::ReversesTheAnswers,
    Fault::MixesBatches,
    Fault::AcksBeforeItIsThere,
    Fault::LosesWhatNobodyWaitsFor,
    Fault::DoesWorkTwice,
    Fault::IgnoresTheLimit,
    Fault::IgnoresTheBytes,
    Fault::ReadsNothingIfTooLarge,
    Fault::AlwaysKeepsTheOldest,
    Fault::LeavesOutTheEndOfARange,
    Fault::AnswersNewestFirst,
    Fault::TrimsOneTooMany,
    Fault::DoesNotTrim,
    Fault::ForgetsTheLastPlaceOnTrim,
    Fault::SpellsAsAsked,
    Fault::ChangesTheEpoch,
    Fault::HasOneEpochForAll,
    Fault::LosesWhatItPromisedToKeep,
    Fault::ChangesTheText,
    Fault::RoundsTheTime,
];

/// Keys of one user that the logs say they remember.
const KEYS_PER_USER: u32 = 100;

/// How long a log may be stuck; in memory a case takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

async fn judge(fault: Fault) -> room_log::Verdict {
    let kit = Kit::new(move |_| async move { Arc::new(Faulty::new(fault)) as Arc<dyn RoomLog> });
    room_log::run_all(&kit.with_patience(PATIENCE)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_fault_is_accepted() {
    let verdict = judge(Fault::None).await;
    assert!(verdict.is_ok(), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_faulty_log_is_refused() {
    for fault in FAULTS {
        let verdict = judge(fault).await;
        assert!(verdict.is_err(), "the kit accepts a log that {fault:?}");
    }
}

/// A log in memory with a fault.
struct Faulty {
    inner: Arc<Mutex<Arc<MemoryLog>>>,
    fault: Fault,
    calls: AtomicU64,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        let keys_per_user = match fault {
            Fault::ForgetsKeysWithTheirEntries => 0,
            Fault::ForgetsKeysThatItSaysItRemembers => KEYS_PER_USER - 1,
            Fault::RemembersMoreKeysThanItSays => KEYS_PER_USER + 1,
            _ => KEYS_PER_USER,
        };
        let options = MemoryOptions { keys_per_user, ..MemoryOptions::default() };
        let inner = Arc::new(Mutex::new(Arc::new(MemoryLog::with_options(options))));
        Self { inner, fault, calls: AtomicU64::new(0) }
    }

    fn log(&self) -> Arc<MemoryLog> {
        self.inner.lock().expect("no test panics with it").clone()
    }

    /// Spoils drafts before they are taken.
    fn offered(&self, mut batches: Vec<RoomBatch>) -> Vec<RoomBatch> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        for batch in &mut batches {
            if self.fault == Fault::ReversesABatch {
                batch.drafts.reverse();
            }
            if self.fault == Fault::LeavesAHole && call % 7 == 6 {
                batch.drafts.extend(batch.drafts.last().cloned().map(|mut last| {
                    last.key = None;
                    last
                }));
            }
            for draft in &mut batch.drafts {
                match self.fault {
                    Fault::ForgetsKeys => draft.key = None,
                    Fault::ForgetsAKeyNowAndThen if call % 16 == 15 => draft.key = None,
                    Fault::SharesKeysBetweenUsers => {
                        draft.user = UserId::new("ada").expect("valid");
                    }
                    Fault::ChangesTheText => {
                        let chat_proto::Body::Message { content, .. } = &mut draft.body else {
                            continue;
                        };
                        *content = content.replace('\u{1}', "").into();
                    }
                    Fault::RoundsTheTime => draft.ts = Timestamp(draft.ts.0 / 1000 * 1000),
                    _ => {}
                }
            }
        }
        batches
    }

    /// Spoils an answer to a batch of so many drafts.
    fn answered(&self, mut appended: Appended, drafts: usize, head: &LogHead) -> Appended {
        appended.outcomes.truncate(drafts);
        let (first, last) = (head.first, head.last);
        let trimmed = first > Seq::ZERO.next();
        for outcome in &mut appended.outcomes {
            *outcome = match (self.fault, *outcome) {
                (Fault::TakesAConflictForARepeat, Outcome::Conflict) => {
                    Outcome::Duplicate { seq: last, ts: Timestamp(1) }
                }
                (Fault::TakesARepeatForAConflict, Outcome::Duplicate { .. }) => Outcome::Conflict,
                (Fault::AnswersARepeatWithItsOwnTime, Outcome::Duplicate { seq, .. }) => {
                    Outcome::Duplicate { seq, ts: Timestamp(9999) }
                }
                (Fault::AnswersARepeatWithTheLastPlace, Outcome::Duplicate { ts, .. }) => {
                    Outcome::Duplicate { seq: last, ts }
                }
                (Fault::TakesAnyBodyOnceTheEntryIsGone, Outcome::Conflict) if trimmed => {
                    Outcome::Duplicate { seq: first, ts: Timestamp(1) }
                }
                (
                    Fault::AnswersByTheOldestPlaceOnceTheEntryIsGone,
                    Outcome::Duplicate { seq, ts },
                ) => Outcome::Duplicate { seq: seq.max(first), ts },
                (_, same) => same,
            };
        }
        appended
    }

    fn spoiled(&self, mut head: LogHead, asked: &RoomName) -> LogHead {
        match self.fault {
            Fault::SpellsAsAsked => head.room = asked.clone(),
            Fault::ChangesTheEpoch => {
                let call = self.calls.fetch_add(1, Ordering::Relaxed);
                head.epoch = Epoch::new(&format!("e{call}")).expect("valid");
            }
            Fault::HasOneEpochForAll => head.epoch = Epoch::new("e").expect("valid"),
            _ => {}
        }
        head
    }
}

/// Lets other tasks run for a while.
async fn dawdle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Appends drafts one by one, so that others come between.
async fn append_mixed(log: &MemoryLog, batches: Vec<RoomBatch>) -> Vec<Appended> {
    let mut all = Vec::new();
    for RoomBatch { room, drafts } in batches {
        let epoch = log.head(room.clone()).await.expect("a log in memory can be read").epoch;
        let mut appended = Appended { epoch, outcomes: Vec::new() };
        for draft in drafts {
            let one = RoomBatch { room: room.clone(), drafts: vec![draft] };
            for answer in log.append(vec![one]).await {
                appended.outcomes.extend(answer.expect("it has places left").outcomes);
            }
            dawdle().await;
        }
        all.push(appended);
    }
    all
}

/// Makes the log believe that almost a day has passed since a draft, by another one elsewhere.
async fn append_later(log: &MemoryLog, hint: Option<Draft>) {
    let hour = KEYS_REMEMBERED_MS / 24;
    let later = hint.map(|hint| {
        let ts = hint.ts.0.saturating_add(KEYS_REMEMBERED_MS - hour);
        Draft { key: None, ts: Timestamp(ts), ..hint }
    });
    let room = RoomName::new("the clock").expect("valid");
    log.append(vec![RoomBatch { room, drafts: later.into_iter().collect() }]).await;
}

impl RoomLog for Faulty {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.log().capabilities();
        capabilities.keys_per_user = KEYS_PER_USER.into();
        if self.fault == Fault::LosesWhatItPromisedToKeep {
            capabilities.durability = Durability::Disk;
        }
        capabilities
    }

    fn append(&self, batches: Vec<RoomBatch>) -> LogFuture<Vec<Result<Appended, AppendError>>> {
        let shape: Vec<_> =
            batches.iter().map(|batch| (batch.room.clone(), batch.drafts.len())).collect();
        let (log, fault) = (self.log(), self.fault);
        let batches = self.offered(batches);
        let this = Self { inner: self.inner.clone(), fault, calls: AtomicU64::new(0) };
        Box::pin(async move {
            let appended: Vec<_> = match fault {
                Fault::MixesBatches => append_mixed(&log, batches).await,
                Fault::LosesWhatNobodyWaitsFor => {
                    dawdle().await;
                    log.append(batches).await.into_iter().flatten().collect()
                }
                Fault::DoesWorkTwice => {
                    let again = batches.clone().into_iter().map(|mut batch| {
                        let key = Key::new("again").expect("valid");
                        batch.drafts.iter_mut().for_each(|draft| draft.key = Some(key.clone()));
                        batch
                    });
                    let answers = log.append(batches).await.into_iter().flatten().collect();
                    drop(log.append(again.collect()));
                    answers
                }
                Fault::AcksBeforeItIsThere => {
                    // A rehearsal tells the places; the work is done after the answer.
                    let mut answers = Vec::new();
                    for batch in &batches {
                        let head = log.head(batch.room.clone()).await.expect("it can be read");
                        let places = 1..=batch.drafts.len() as u64;
                        let outcomes = places.map(|n| Outcome::New { seq: head.last.plus(n) });
                        answers.push(Appended { epoch: head.epoch, outcomes: outcomes.collect() });
                    }
                    tokio::spawn(async move {
                        dawdle().await;
                        log.append(batches).await
                    });
                    return answers.into_iter().map(Ok).collect();
                }
                Fault::ForgetsKeysInTheFirstHour => {
                    let hint = batches.iter().flat_map(|batch| &batch.drafts).last().cloned();
                    let answers = log.append(batches).await.into_iter().flatten().collect();
                    append_later(&log, hint).await;
                    answers
                }
                _ => log.append(batches).await.into_iter().flatten().collect(),
            };
            let mut answers = Vec::new();
            for (appended, (room, drafts)) in appended.into_iter().zip(shape) {
                let head = log.head(room.clone()).await.expect("it can be read");
                let mut appended = this.answered(appended, drafts, &head);
                if fault == Fault::HasOneEpochForAll {
                    appended.epoch = this.spoiled(head, &room).epoch;
                }
                answers.push(Ok(appended));
            }
            if fault == Fault::ReversesTheAnswers {
                answers.reverse();
            }
            answers
        })
    }

    fn head(&self, room: RoomName) -> LogFuture<Result<LogHead, ReadError>> {
        let this = Self {
            calls: AtomicU64::new(self.calls.fetch_add(1, Ordering::Relaxed)),
            ..Self::new(self.fault)
        };
        let head = self.log().head(room.clone());
        Box::pin(async move { Ok(this.spoiled(head.await?, &room)) })
    }

    fn read(&self, room: RoomName, mut range: ReadRange) -> LogFuture<Result<LogPage, ReadError>> {
        let fault = self.fault;
        let bytes = range.bytes as usize;
        match fault {
            Fault::IgnoresTheLimit => range.limit = range.limit.saturating_mul(2),
            Fault::IgnoresTheBytes => range.bytes = u32::MAX,
            Fault::AlwaysKeepsTheOldest => range.keep = Keep::Oldest,
            Fault::LeavesOutTheEndOfARange => range.to = range.to.minus(1),
            _ => {}
        }
        let (page, head) = (self.log().read(room.clone(), range), self.head(room));
        Box::pin(async move {
            let mut page = page.await?;
            let head = head.await?;
            (page.head.room, page.head.epoch) = (head.room, head.epoch);
            match fault {
                Fault::SkipsAnEntryInPages if page.entries.len() > 6 => {
                    page.entries.remove(3);
                }
                Fault::ReadsNothingIfTooLarge => {
                    page.entries.retain(|entry| entry.body.size() <= bytes);
                }
                Fault::AnswersNewestFirst if range.keep == Keep::Newest => page.entries.reverse(),
                _ => {}
            }
            Ok(page)
        })
    }

    fn trim(&self, room: RoomName, before: Seq) -> LogFuture<Result<Seq, ReadError>> {
        match self.fault {
            Fault::TrimsOneTooMany => self.log().trim(room, before.next()),
            Fault::DoesNotTrim => Box::pin(ready(Ok(before))),
            Fault::ForgetsTheLastPlaceOnTrim => {
                let (inner, log) = (self.inner.clone(), self.log());
                Box::pin(async move {
                    let head = log.head(room.clone()).await?;
                    if before > head.last {
                        *inner.lock().expect("no test panics with it") = Arc::new(MemoryLog::new());
                    }
                    log.trim(room, before).await
                })
            }
            _ => self.log().trim(room, before),
        }
    }
}
