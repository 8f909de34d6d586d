//! Appends and trims in a process of its own that may be killed at any moment.
//!
//! The program `trims-until-killed` does what is here and prints a [`Told`] a line; whoever kills
//! it knows from that what has to be in the file.
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use chat_proto::{Body, DisplayName, Key, RoomName, Seq, Timestamp, UserId};
use chat_state::{Draft, Outcome};
use chat_tokio::log::{RoomBatch, RoomLog, SqliteLog, SqliteOptions};
use tokio::sync::watch;

use crate::irc::Dice;

/// Drafts of one append at most.
const BATCH_MAX: u64 = 120;

/// Entries that a trim waits for at most: several of the steps in which the log trims.
const BACKLOG_MAX: u64 = 1200;

/// What the process did, or was told by the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is about to offer drafts with these numbers, the second one not included.
    Offers(u64, u64),
    /// The drafts with these numbers are at the places from this one on.
    Acked(u64, u64, u64),
    /// It is about to have everything before this place forgotten.
    Trims(u64),
    /// This place is the oldest.
    Trimmed(u64),
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offers(from, to) => write!(f, "offers {from} {to}"),
            Self::Acked(from, to, first) => write!(f, "acked {from} {to} {first}"),
            Self::Trims(before) => write!(f, "trims {before}"),
            Self::Trimmed(first) => write!(f, "trimmed {first}"),
        }
    }
}

impl FromStr for Told {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let mut words = line.split(' ');
        let what = words.next().unwrap_or_default();
        let numbers: Result<Vec<u64>, _> = words.map(str::parse).collect();
        match (what, numbers.as_deref()) {
            ("offers", Ok([from, to])) => Ok(Self::Offers(*from, *to)),
            ("acked", Ok([from, to, first])) => Ok(Self::Acked(*from, *to, *first)),
            ("trims", Ok([before])) => Ok(Self::Trims(*before)),
            ("trimmed", Ok([first])) => Ok(Self::Trimmed(*first)),
            _ => Err(format!("`{line}` says nothing")),
        }
    }
}

/// Returns the room.
///
/// # Panics
/// Never: its name is right.
#[must_use]
pub fn room() -> RoomName {
    RoomName::new("lobby").expect("a name")
}

/// Returns how the log is opened: it remembers all the keys that there will be.
#[must_use]
pub fn options() -> SqliteOptions {
    let mut options = SqliteOptions::default();
    options.keys_per_user = u32::MAX;
    options
}

/// Makes the draft with this number; it is the same each time.
///
/// # Panics
/// Never: all names are right.
#[must_use]
pub fn draft(round: u64, number: u64) -> Draft {
    let user = ["ada", "bob", "eve"][usize::try_from(number % 3).expect("few")];
    let content = format!("{number} in {round} {}", "x".repeat((number % 50) as usize));
    Draft {
        user: UserId::new(user).expect("a user"),
        username: DisplayName::new(user).expect("a name"),
        key: Some(Key::new(&format!("{round}/{number}")).expect("a key")),
        ts: Timestamp(1_700_000_000_000 + number),
        body: Body::Message { content: content.into(), reply_to: None },
    }
}

/// Appends to the log in a file and trims it, both at the same time and for ever.
///
/// # Panics
/// If the log does anything else than what it is asked for.
pub async fn until_killed(path: &Path, round: u64) {
    let log = Arc::new(SqliteLog::open(path, &options()).expect("the log opens"));
    let (last, seen) = watch::channel(0);
    let trims = tokio::spawn(trim(Arc::clone(&log), round, seen));
    let appends = tokio::spawn(append(log, round, last));
    tokio::select! {
        end = trims => panic!("no more trims: {end:?}"),
        end = appends => panic!("no more appends: {end:?}"),
    }
}

async fn append(log: Arc<SqliteLog>, round: u64, last: watch::Sender<u64>) {
    let mut dice = Dice(round * 2 + 1);
    let mut from = 0;
    loop {
        let to = from + 1 + dice.below(BATCH_MAX);
        println!("{}", Told::Offers(from, to));
        let drafts = (from..to).map(|number| draft(round, number)).collect();
        let answer = log.append(vec![RoomBatch { room: room(), drafts }]).await.remove(0);
        let places: Vec<u64> = answer.expect("it is taken").outcomes.iter().map(place).collect();
        let first = places[0];
        assert_eq!(places, (first..first + to - from).collect::<Vec<_>>());
        println!("{}", Told::Acked(from, to, first));
        last.send(first + to - from - 1).expect("the one who trims lives");
        from = to;
    }
}

fn place(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::New { seq } => seq.get(),
        other => panic!("a new draft is {other:?}"),
    }
}

async fn trim(log: Arc<SqliteLog>, round: u64, mut last: watch::Receiver<u64>) {
    let mut dice = Dice(round * 2 + 1001);
    let head = log.head(room()).await.expect("a head");
    let mut first = head.first.get();
    loop {
        let backlog = 1 + dice.below(BACKLOG_MAX);
        let reached = *last.wait_for(|last| *last >= first + backlog).await.expect("appends go on");
        // Most of what is there, or all of it.
        let before = reached + 1 - dice.below(4) * dice.below(backlog) / 4;
        println!("{}", Told::Trims(before));
        let before = Seq::new(before).expect("a place");
        let oldest = log.trim(room(), before).await.expect("it is trimmed");
        assert!(oldest >= before, "trimmed before {oldest} instead of {before}");
        println!("{}", Told::Trimmed(oldest.get()));
        first = oldest.get();
    }
}
