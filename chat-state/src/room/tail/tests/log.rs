//! A log that does what a test says.
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::format;

use chat_proto::{Entry, Seq};

use super::{entry, epoch, room, seq};
use crate::log::{Appended, Draft, Keep, LogHead, LogPage, Outcome, ReadRange};
use crate::room::tail::Bounds;

/// The log of one room. Its first life is `log1`; a replaced one begins `log2` without entries.
pub(super) struct ScriptedLog {
    life: u32,
    /// All entries, also those that were trimmed.
    pub(super) entries: Vec<Arc<Entry>>,
    trimmed: usize,
}

impl ScriptedLog {
    pub(super) fn new(len: u64) -> Self {
        Self { life: 1, entries: (1..=len).map(|n| entry(n, "old")).collect(), trimmed: 0 }
    }

    /// Appends an entry that somebody else has sent.
    pub(super) fn grow(&mut self) -> Arc<Entry> {
        let grown = entry(self.entries.len() as u64 + 1, "theirs");
        self.entries.push(grown.clone());
        grown
    }

    /// Forgets all entries up to this place.
    pub(super) fn trim(&mut self, to: u64) {
        self.trimmed = usize::try_from(to).unwrap().min(self.entries.len());
    }

    pub(super) fn replace(&mut self, len: u64) {
        *self = Self { life: self.life + 1, ..Self::new(len) };
    }

    pub(super) fn append(&mut self, drafts: Vec<Draft>) -> Appended {
        let outcomes = drafts.into_iter().map(|draft| self.append_one(draft)).collect();
        Appended { epoch: self.head().epoch, outcomes }
    }

    fn append_one(&mut self, draft: Draft) -> Outcome {
        let same_key = |entry: &&Arc<Entry>| entry.key == draft.key && entry.ts == draft.ts;
        if let Some(first) = self.entries.iter().filter(|e| own(e)).find(same_key) {
            return if first.body == draft.body {
                Outcome::Duplicate { seq: first.seq, ts: first.ts }
            } else {
                Outcome::Conflict
            };
        }
        let seq = seq(self.entries.len() as u64 + 1);
        self.entries.push(Arc::new(draft.into_entry(room(), seq)));
        Outcome::New { seq }
    }

    pub(super) fn head(&self) -> LogHead {
        LogHead {
            room: room(),
            epoch: epoch(&format!("log{}", self.life)),
            first: seq(self.trimmed as u64 + 1),
            last: seq(self.entries.len() as u64),
        }
    }

    pub(super) fn open(&self, bounds: Bounds) -> LogPage {
        let (from, to) = (seq(1), seq(self.entries.len() as u64));
        let (limit, bytes) = (bounds.entries, bounds.bytes);
        self.read(ReadRange { from, to, limit, bytes, keep: Keep::Newest })
    }

    pub(super) fn read(&self, range: ReadRange) -> LogPage {
        let within = |entry: &&Arc<Entry>| (range.from..=range.to).contains(&entry.seq);
        let kept = self.entries[self.trimmed..].iter().filter(within).cloned();
        let mut entries: Vec<_> = kept.collect();
        let excess = entries.len().saturating_sub(range.limit as usize);
        match range.keep {
            Keep::Oldest => entries.truncate(range.limit as usize),
            Keep::Newest => drop(entries.drain(..excess)),
        }
        LogPage { head: self.head(), entries }
    }

    pub(super) fn last(&self) -> Seq {
        self.head().last
    }
}

/// Entries that were not sent by the test's drafts never collide with their keys.
fn own(entry: &Entry) -> bool {
    entry.key.as_ref().is_some_and(|key| key.as_str() != "theirs" && key.as_str() != "old")
}
