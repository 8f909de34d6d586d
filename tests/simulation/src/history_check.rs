//! Decides whether a recorded history keeps the guarantees of order, acks and delivery.
//!
//! One pass over what clients asked, what they were told and shown, and the log as it was read
//! back. It knows nothing of the server: only that a room is one list of entries.
//!
//! What holds if [`check`] answers `Ok`:
//! * the log is 1, 2, 3 … without holes;
//! * every acked send is in it, at the place the ack named, as it was sent, and once;
//! * a send without an answer is in it at most once, a refused one never;
//! * it has nothing that nobody sent, and keeps the order of each client's sends;
//! * every run of deliveries is exactly the part of the log that it claims to be.
use std::collections::BTreeMap;
use std::fmt;

/// What became of a send, as far as its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log at this place.
    Acked(u64),
    /// It was told to be in the log, without the place (a `basic` echo).
    Echoed,
    /// It is not in the log.
    Refused,
    /// The connection ended before the answer.
    Unknown,
}

/// One send of one client. A client's sends are recorded in the order in which it made them.
#[derive(Clone, Debug)]
pub struct Send {
    /// The name that the log has for the client.
    pub client: String,
    /// What it said.
    pub content: String,
    /// The idempotency key, if it gave one.
    pub key: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// One entry of the log, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its place.
    pub seq: u64,
    /// Who said it.
    pub client: String,
    /// What.
    pub content: String,
    /// The idempotency key.
    pub key: Option<String>,
}

impl From<&chat_proto::Entry> for Logged {
    fn from(entry: &chat_proto::Entry) -> Self {
        let content = match &entry.body {
            chat_proto::Body::Message { content, .. } => content.to_string(),
            other => panic!("an entry that nobody asked for: {other:?}"),
        };
        Self {
            seq: entry.seq.get(),
            client: entry.username.to_string(),
            content,
            key: entry.key.as_ref().map(|key| key.as_str().into()),
        }
    }
}

/// What a member was shown of one message.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its place, where the dialect tells it.
    pub seq: Option<u64>,
    /// Who said it.
    pub client: String,
    /// What.
    pub content: String,
}

/// What a member was shown between a join and the end of that membership.
#[derive(Clone, Debug)]
pub struct Run {
    /// Who was shown it; for the report only.
    pub member: String,
    /// The last place before it.
    pub after: u64,
    /// The last place of it; `None` if it ended anywhere (the server was killed).
    pub to: Option<u64>,
    /// What came, in the order in which it came.
    pub shown: Vec<Shown>,
}

/// Which guarantee was broken, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The entry at this index has another `seq` than its place.
    Hole {
        /// The place.
        expected: u64,
        /// What was there.
        found: u64,
    },
    /// A send that was told to be in the log is not there.
    Lost(String),
    /// An entry is not what its client sent, or nobody sent it.
    Invented(String),
    /// A send is in the log twice.
    Twice(String),
    /// A refused send is in the log.
    RefusedButThere(String),
    /// Entries of one client are not in the order of its sends.
    Reordered(String),
    /// A member was shown something else than the log has at that place.
    ShownWrong(String),
    /// A member was shown more or less than what was said while it was there.
    ShownCount(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Checks sends and deliveries against the log.
///
/// # Errors
/// Names the first violation.
pub fn check(sends: &[Send], runs: &[Run], log: &[Logged]) -> Result<(), Violation> {
    contiguous(log)?;
    let mut by_client: BTreeMap<&str, (Vec<&Send>, Vec<&Logged>)> = BTreeMap::new();
    for send in sends {
        by_client.entry(&send.client).or_default().0.push(send);
    }
    for entry in log {
        by_client.entry(&entry.client).or_default().1.push(entry);
    }
    for (sends, entries) in by_client.values() {
        one_client(sends, entries, log)?;
    }
    for run in runs {
        one_run(run, log)?;
    }
    Ok(())
}

fn contiguous(log: &[Logged]) -> Result<(), Violation> {
    for (expected, entry) in (1..).zip(log) {
        if entry.seq != expected {
            return Err(Violation::Hole { expected, found: entry.seq });
        }
    }
    Ok(())
}

/// Matches a client's entries with its sends. Acks name their places, so those are matched first;
/// all others have to fit between them in the order of sending.
fn one_client(sends: &[&Send], entries: &[&Logged], log: &[Logged]) -> Result<(), Violation> {
    let mut claimed: BTreeMap<u64, usize> = BTreeMap::new();
    for (index, send) in sends.iter().enumerate() {
        let Outcome::Acked(seq) = send.outcome else { continue };
        let place = usize::try_from(seq).ok().and_then(|seq| seq.checked_sub(1));
        match place.and_then(|place| log.get(place)) {
            Some(entry) if same(send, entry) => {}
            Some(entry) => return Err(Violation::Lost(format!("{send:?}: there is {entry:?}"))),
            None => return Err(Violation::Lost(format!("{send:?}: the log is shorter"))),
        }
        if claimed.insert(seq, index).is_some() {
            return Err(Violation::Lost(format!("{send:?}: its place has another ack")));
        }
    }
    let mut next = 0;
    for entry in entries {
        let found = match claimed.get(&entry.seq) {
            Some(&index) if index >= next => index,
            Some(_) => return Err(Violation::Reordered(format!("{entry:?}"))),
            None => match sends[next..].iter().position(|send| unclaimed(send, entry)) {
                Some(offset) => next + offset,
                None => return Err(unexplained(sends, entries, entry)),
            },
        };
        if let Some(lost) = sends[next..found].iter().find(|send| must_be_there(send)) {
            return Err(Violation::Reordered(format!("{entry:?} came before {lost:?}")));
        }
        next = found + 1;
    }
    match sends[next..].iter().find(|send| must_be_there(send)) {
        Some(lost) => Err(Violation::Lost(format!("{lost:?}"))),
        None => Ok(()),
    }
}

fn same(send: &Send, entry: &Logged) -> bool {
    (&send.client, &send.content, &send.key) == (&entry.client, &entry.content, &entry.key)
}

fn unclaimed(send: &Send, entry: &Logged) -> bool {
    matches!(send.outcome, Outcome::Unknown | Outcome::Echoed) && same(send, entry)
}

fn must_be_there(send: &Send) -> bool {
    matches!(send.outcome, Outcome::Acked(_) | Outcome::Echoed)
}

/// Says why an entry fits no send that is still open.
fn unexplained(sends: &[&Send], entries: &[&Logged], entry: &Logged) -> Violation {
    let told = format!("{entry:?}");
    let alike = || sends.iter().filter(|send| same(send, entry));
    let made = alike().filter(|send| send.outcome != Outcome::Refused).count();
    let there = entries.iter().filter(|other| alike_entries(other, entry)).count();
    if alike().next().is_none() {
        Violation::Invented(told)
    } else if made == 0 {
        Violation::RefusedButThere(told)
    } else if there > made {
        Violation::Twice(told)
    } else {
        Violation::Reordered(told)
    }
}

fn alike_entries(a: &Logged, b: &Logged) -> bool {
    (&a.client, &a.content, &a.key) == (&b.client, &b.content, &b.key)
}

fn one_run(run: &Run, log: &[Logged]) -> Result<(), Violation> {
    let start = usize::try_from(run.after).unwrap_or(usize::MAX);
    let Some(rest) = log.get(start..) else {
        let told = format!("{}: it begins after {}", run.member, run.after);
        return Err(Violation::ShownCount(told));
    };
    for (index, shown) in run.shown.iter().enumerate() {
        let told = || format!("{} was shown {shown:?} as number {index}", run.member);
        let Some(entry) = rest.get(index) else { return Err(Violation::ShownCount(told())) };
        let right = (&shown.client, &shown.content) == (&entry.client, &entry.content);
        if !right || shown.seq.is_some_and(|seq| seq != entry.seq) {
            return Err(Violation::ShownWrong(format!("{}, not {entry:?}", told())));
        }
    }
    let shown = run.after + run.shown.len() as u64;
    match run.to {
        Some(to) if to != shown => {
            let told = format!("{} was shown up to {shown} instead of {to}", run.member);
            Err(Violation::ShownCount(told))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
#[path = "history_check/falsified.rs"]
mod falsified;
