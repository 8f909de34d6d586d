//! What a person was given of a room, held against the log.
use chat_proto::{Entry, Epoch, HistoryRange, Page, RoomName};

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

/// A page is a part of the log, the part that was asked for, and says rightly whether there is
/// more. (By the time it comes the log may have been trimmed further, and have grown.)
pub(super) fn page_is_right(
    log: &SimLog,
    page: &Page,
    (range, limit): (HistoryRange, u32),
    trimmed: bool,
) {
    let of_epoch = log.of_epoch(&page.room, &page.epoch).expect("the log has this epoch");
    assert!(page.events.len() <= limit as usize, "{page:?} of {limit}");
    for pair in page.events.windows(2) {
        assert_eq!(pair[0].seq.next(), pair[1].seq, "a page has no holes");
    }
    for entry in &page.events {
        let there = log_entry(log, &page.room, &page.epoch, entry.seq.get());
        assert_eq!(there, Some(&**entry), "what is shown is in the log");
        let fits = match range {
            HistoryRange::Latest | HistoryRange::Around(_) => true,
            HistoryRange::Before(seq) => entry.seq < seq,
            HistoryRange::After(seq) => entry.seq > seq,
        };
        assert!(fits, "{} is not in {range:?}", entry.seq);
    }
    if let (Some(oldest), Some(newest)) = (page.events.first(), page.events.last()) {
        assert!(page.has_more_before || oldest.seq.get() <= of_epoch.first, "{page:?}");
        let first = if trimmed { 1 } else { of_epoch.first };
        assert!(!page.has_more_before || oldest.seq.get() > first, "{page:?}");
        assert!(!page.has_more_after || newest.seq.get() < of_epoch.last(), "{page:?}");
    }
}
