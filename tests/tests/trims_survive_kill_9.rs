//! A trim that is cut short by the end of the process leaves a log that is whole.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;

use chat_proto::{Entry, Epoch, Seq};
use chat_state::{Draft, Keep, LogHead, Outcome, ReadRange};
use chat_tests::irc::Dice;
use chat_tests::trims::{Told, draft, options, room};
use chat_tests::wait::within;
use chat_tokio::log::{RoomBatch, RoomLog, SqliteLog};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const ROUNDS: u64 = 16;

/// Drafts of one append, entries of one read.
const PAGE: u32 = 500;

/// What has to be true of the log, from what it has told.
#[derive(Default)]
struct Known {
    epoch: Option<Epoch>,
    head: Option<LogHead>,
    /// Where each draft is, or was, that was acked: by round and number.
    acked: BTreeMap<(u64, u64), u64>,
    /// Drafts that may be in the log.
    offered: BTreeSet<(u64, u64)>,
    /// Everything before this place was to be forgotten, and everything before that one is.
    trims: u64,
    trimmed: u64,
}

impl Known {
    fn hear(&mut self, round: u64, told: Told) {
        match told {
            Told::Offers(from, to) => self.offered.extend((from..to).map(|n| (round, n))),
            Told::Acked(from, to, first) => {
                self.acked.extend((from..to).map(|n| ((round, n), first + n - from)));
            }
            Told::Trims(before) => self.trims = self.trims.max(before),
            Told::Trimmed(first) => self.trimmed = self.trimmed.max(first),
        }
    }

    /// Neither end goes back, and both are where they have to be.
    fn check_head(&mut self, head: &LogHead) {
        if let Some(before) = &self.head {
            assert!(before.first <= head.first && before.last <= head.last, "{before:?} {head:?}");
        }
        // An empty room has no epoch that lasts.
        if head.last > Seq::ZERO {
            assert_eq!(*self.epoch.get_or_insert(head.epoch.clone()), head.epoch, "another log");
        }
        let acked = self.acked.values().max().copied().unwrap_or(0);
        assert!(head.last.get() >= acked, "acked up to {acked}: {head:?}");
        assert!(head.first.get() >= self.trimmed, "trimmed up to {}: {head:?}", self.trimmed);
        assert!(head.first.get() <= self.trims.max(1), "no trim before {}: {head:?}", self.trims);
    }

    /// All between the two ends is there, each as it was offered and once.
    fn check_entries(&self, head: &LogHead, entries: &BTreeMap<u64, (u64, u64)>) {
        let places: Vec<u64> = entries.keys().copied().collect();
        let due: Vec<u64> = (head.first.get()..=head.last.get()).collect();
        assert!(places == due, "{head:?} has {} entries of {}", places.len(), due.len());
        let once: BTreeSet<_> = entries.values().collect();
        assert_eq!(once.len(), entries.len(), "a draft has two entries");
        assert!(once.iter().all(|named| self.offered.contains(named)), "nobody offered it");
        for (named, seq) in self.acked.iter().filter(|(_, seq)| **seq >= head.first.get()) {
            assert_eq!(entries.get(seq), Some(named), "acked at {seq}");
        }
    }

    /// A repeat is answered by the first place, whether the entry is there or was trimmed. What was
    /// not acked may be new; then it was not there.
    async fn check_keys(&mut self, log: &SqliteLog, entries: &BTreeMap<u64, (u64, u64)>) {
        let shown: BTreeMap<_, _> = entries.iter().map(|(seq, named)| (*named, *seq)).collect();
        let all: Vec<(u64, u64)> = self.offered.iter().copied().collect();
        for some in all.chunks(PAGE as usize) {
            let drafts = some.iter().map(|(round, number)| draft(*round, *number)).collect();
            for (named, outcome) in some.iter().zip(offer(log, drafts).await) {
                let acked = self.acked.get(named).copied();
                let known = acked.or_else(|| shown.get(named).copied());
                match (outcome, known) {
                    (Outcome::Duplicate { seq, ts }, _) => {
                        assert_eq!(ts, draft(named.0, named.1).ts, "{named:?}");
                        assert!(known.is_none_or(|known| known == seq.get()), "{named:?} at {seq}");
                        self.acked.insert(*named, seq.get());
                    }
                    (Outcome::New { seq }, None) => {
                        self.acked.insert(*named, seq.get());
                    }
                    (outcome, known) => panic!("{named:?}, at {known:?}, is {outcome:?}"),
                }
            }
        }
        let others = all.iter().rev().take(50).map(|(round, number)| {
            let other = draft(*round, number + 1);
            Draft { body: other.body, ..draft(*round, *number) }
        });
        let outcomes = offer(log, others.collect()).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Conflict), "{outcomes:?}");
    }
}

async fn offer(log: &SqliteLog, drafts: Vec<Draft>) -> Vec<Outcome> {
    let answer = log.append(vec![RoomBatch { room: room(), drafts }]).await.remove(0);
    answer.expect("it is taken").outcomes
}

/// Reads a room from one end to the other: which draft is where.
async fn entries(log: &SqliteLog, head: &LogHead) -> BTreeMap<u64, (u64, u64)> {
    let mut all = BTreeMap::new();
    let mut from = head.first;
    while from <= head.last {
        let (to, bytes) = (head.last, u32::MAX);
        let range = ReadRange { from, to, limit: PAGE, bytes, keep: Keep::Oldest };
        let page = log.read(room(), range).await.expect("it can be read");
        assert_eq!(page.head, *head, "nobody else changes it");
        let last = page.entries.last().unwrap_or_else(|| panic!("nothing at {from} of {head:?}"));
        from = last.seq.next();
        all.extend(page.entries.iter().map(|entry| (entry.seq.get(), named(entry))));
    }
    all
}

/// Returns which draft an entry was, and checks that it is that draft.
fn named(entry: &Entry) -> (u64, u64) {
    let key = entry.key.as_ref().expect("all have a key");
    let (round, number) = key.as_str().split_once('/').expect("one of ours");
    let named = (round.parse().expect("a round"), number.parse().expect("a number"));
    let whole = draft(named.0, named.1).into_entry(room(), entry.seq);
    assert_eq!(*entry, whole, "an entry is not what was offered");
    named
}

/// Lets the process run until it has said so many lines, or has begun so many trims; hears it out.
async fn one_round(path: &Path, round: u64, dice: &mut Dice, known: &mut Known) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trims-until-killed"));
    command.arg(path).arg(round.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let in_a_trim = round.is_multiple_of(2);
    let mut left = 1 + dice.below(if in_a_trim { 6 } else { 120 });
    loop {
        let mut line = String::new();
        within("a line", lines.read_line(&mut line)).await.expect("text");
        // What the process had not said to its end may not have happened.
        let Some(line) = line.strip_suffix('\n') else { break };
        let told: Told = line.parse().unwrap_or_else(|error| panic!("{error}"));
        known.hear(round, told);
        left = left.saturating_sub(u64::from(!in_a_trim || matches!(told, Told::Trims(_))));
        if left == 0 {
            // Once more does no harm.
            child.start_kill().expect("our own process takes a signal");
        }
    }
    let status = within("its end", child.wait()).await.expect("our own process can be awaited");
    assert_eq!((status.code(), left), (None, 0), "it had ended by itself: {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trim_that_was_cut_short_leaves_a_whole_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rooms.db");
    let mut known = Known::default();
    let mut dice = Dice(9);
    let (mut in_the_middle, mut trimmed) = (0, Seq::ZERO);
    for round in 0..ROUNDS {
        one_round(&path, round, &mut dice, &mut known).await;
        let log = SqliteLog::open(&path, &options()).expect("the log opens again");
        let head = log.head(room()).await.expect("a head");
        known.check_head(&head);
        let there = entries(&log, &head).await;
        known.check_entries(&head, &there);
        known.check_keys(&log, &there).await;
        in_the_middle += u64::from(known.trimmed < known.trims && head.first.get() < known.trims);
        trimmed = head.first;
        let after = log.head(room()).await.expect("a head");
        known.check_head(&after);
        known.head = Some(after);
    }
    // It proves something: much was trimmed, and trims were cut short.
    assert!(trimmed.get() > 1000, "only {trimmed} places were trimmed");
    assert!(in_the_middle >= ROUNDS / 6, "only {in_the_middle} trims were cut short");
}
