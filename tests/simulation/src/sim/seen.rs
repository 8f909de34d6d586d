//! What a person was given of a room, held against the log.
use chat_proto::{Entry, Epoch, RoomName};

use crate::history_check::{Run, Shown};
use crate::world::SimLog;

/// What was delivered of one room.
#[derive(Debug)]
pub(super) struct Seen {
    /// Which log it is of.
    epoch: Epoch,
    /// The last entry, or the one before the first that is to come.
    pub(super) last: u64,
    /// The session is in the room, as far as was told.
    pub(super) inside: bool,
    /// What came since the last break.
    run: Run,
}

impl Seen {
    /// A room that is entered anew; what follows continues after `last`.
    pub(super) fn new(member: &str, epoch: Epoch, last: u64) -> Self {
        let run = Run { member: member.into(), after: last, to: None, shown: Vec::new() };
        Self { epoch, last, inside: false, run }
    }

    pub(super) fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// An entry has come: it is the next one, and the log has it.
    pub(super) fn entry(&mut self, log: &SimLog, entry: &Entry) {
        let who = &self.run.member;
        assert!(self.inside, "{who}: {} outside {}", entry.seq, entry.room);
        let seq = entry.seq.get();
        assert_eq!(seq, self.last + 1, "{who} in {}", entry.room);
        assert_eq!(log_entry(log, &entry.room, &self.epoch, seq), Some(entry), "{who}: not so");
        self.last = seq;
        let content = match &entry.body {
            chat_proto::Body::Message { content, .. } => content.to_string(),
            other => panic!("an entry that nobody asked for: {other:?}"),
        };
        let client = entry.username.to_string();
        self.run.shown.push(Shown { seq: Some(seq), client, content });
    }

    /// Entries are told to be lost: they are the next ones, and are not to be had. Returns what
    /// came before them.
    pub(super) fn lost(&mut self, log: &SimLog, room: &RoomName, from: u64, to: u64) -> Run {
        let who = self.run.member.clone();
        assert_eq!(from, self.last + 1, "{who} in {room}: lost {from}..={to}");
        assert!(from <= to, "{who} in {room}: lost {from}..={to}");
        let of_epoch = log.of_epoch(room, &self.epoch).expect("the log has this epoch");
        let is_newest = log.of_room(room).next().is_some_and(|newest| newest.epoch == self.epoch);
        let is_gone = !is_newest || to < of_epoch.first;
        assert!(is_gone, "{who} in {room}: {from}..={to} is not lost, it is still there");
        self.last = to;
        let run = Run { member: who, after: to, to: None, shown: Vec::new() };
        std::mem::replace(&mut self.run, run)
    }

    /// Returns what has come since the last break, with the log that it is of.
    pub(super) fn end(self) -> (Epoch, Run) {
        (self.epoch, self.run)
    }
}

fn log_entry<'a>(
    log: &'a SimLog,
    room: &'a RoomName,
    epoch: &Epoch,
    seq: u64,
) -> Option<&'a Entry> {
    let log = log.of_epoch(room, epoch)?;
    let at = usize::try_from(seq.checked_sub(1)?).ok()?;
    log.entries.get(at).map(|entry| &**entry)
}
