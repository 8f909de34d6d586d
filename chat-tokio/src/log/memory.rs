//! A room log in memory: it ends with the process.
use std::collections::VecDeque;
use std::collections::hash_map::{Entry as Slot, HashMap};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chat_proto::{Durability, Entry, Epoch, Key, RoomName, Seq, UserId};
use chat_state::{
    AppendError, Appended, Draft, Keep, LogHead, LogPage, Outcome, ReadError, ReadRange,
};

use super::epochs::{Epochs, MetRooms};
use super::range::{Budget, clip};
use super::recent::RecentMap;
use super::{Capabilities, LogFuture, RoomBatch, RoomLog};

/// A [`RoomLog`] in the memory of one process, for tests, demonstrations and rooms that need not
/// last. Its answers are ready at once.
///
/// It is bounded by [`MemoryOptions`]: the oldest entries of a room and the rooms that were not
/// used for the longest time are forgotten. A forgotten room starts over with another epoch. Keys
/// are remembered as long as their entries.
#[derive(Debug)]
pub struct MemoryLog {
    state: Mutex<State>,
    options: MemoryOptions,
}

/// The limits of a [`MemoryLog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOptions {
    /// Entries that a room keeps, 1 at the least; the oldest are dropped.
    pub entries: usize,
    /// Rooms with entries that are kept, 1 at the least; as many more are remembered by their
    /// name only. The least recently used is forgotten.
    pub rooms: usize,
}

/// Entries of a room: about a megabyte of short messages.
const ENTRIES_DEFAULT: usize = 10_000;

/// Rooms: as many as a worker serves by default.
const ROOMS_DEFAULT: usize = 100_000;

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { entries: ENTRIES_DEFAULT, rooms: ROOMS_DEFAULT }
    }
}

impl MemoryLog {
    /// Makes an empty log with the limits of [`MemoryOptions::default`].
    ///
    /// # Panics
    /// When the system gives no random numbers.
    #[must_use]
    pub fn new() -> Self {
        Self::with_options(MemoryOptions::default())
    }

    /// Makes an empty log.
    ///
    /// # Panics
    /// When the system gives no random numbers.
    #[must_use]
    pub fn with_options(options: MemoryOptions) -> Self {
        let options =
            MemoryOptions { entries: options.entries.max(1), rooms: options.rooms.max(1) };
        let epochs = Epochs::draw().expect("the system gives random numbers");
        let state = State {
            rooms: RecentMap::new(options.rooms),
            met: MetRooms::new(options.rooms, epochs),
        };
        Self { state: Mutex::new(state), options }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl RoomLog for MemoryLog {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: Durability::Memory,
            keys_remembered: self.options.entries as u64,
            shared: false,
        }
    }

    fn append(&self, batches: Vec<RoomBatch>) -> LogFuture<Vec<Result<Appended, AppendError>>> {
        let mut state = self.lock();
        let take = |batch| state.append(batch, self.options.entries);
        Box::pin(ready(batches.into_iter().map(take).collect()))
    }

    fn head(&self, room: RoomName) -> LogFuture<Result<LogHead, ReadError>> {
        Box::pin(ready(Ok(self.lock().head(&room))))
    }

    fn read(&self, room: RoomName, range: ReadRange) -> LogFuture<Result<LogPage, ReadError>> {
        Box::pin(ready(Ok(self.lock().read(&room, &range))))
    }

    fn trim(&self, room: RoomName, before: Seq) -> LogFuture<Result<Seq, ReadError>> {
        let mut state = self.lock();
        let first = match state.rooms.get(&room) {
            Some(room) => {
                room.forget(|first| first < before);
                room.first
            }
            None => Seq::ZERO.next(),
        };
        Box::pin(ready(Ok(first)))
    }
}

#[derive(Debug)]
struct State {
    /// The rooms that have, or had, entries.
    rooms: RecentMap<RoomName, Room>,
    met: MetRooms,
}

impl State {
    fn append(&mut self, batch: RoomBatch, keep: usize) -> Result<Appended, AppendError> {
        if let Some(room) = self.rooms.get(&batch.room) {
            return room.append(batch.drafts, keep);
        }
        let (name, epoch) = self.met.meet(&batch.room);
        if batch.drafts.is_empty() {
            return Ok(Appended { epoch, outcomes: Vec::new() });
        }
        self.met.leave(&name);
        let mut room = Room {
            name: name.clone(),
            epoch,
            first: Seq::ZERO.next(),
            last: Seq::ZERO,
            entries: VecDeque::new(),
            keys: HashMap::new(),
        };
        let appended = room.append(batch.drafts, keep);
        self.rooms.insert(name, room);
        appended
    }

    fn head(&mut self, room: &RoomName) -> LogHead {
        if let Some(room) = self.rooms.get(room) {
            return room.head();
        }
        let (room, epoch) = self.met.meet(room);
        LogHead { room, epoch, first: Seq::ZERO.next(), last: Seq::ZERO }
    }

    fn read(&mut self, room: &RoomName, range: &ReadRange) -> LogPage {
        if let Some(room) = self.rooms.get(room) {
            let head = room.head();
            return LogPage { entries: room.read(range, &head), head };
        }
        LogPage { head: self.head(room), entries: Vec::new() }
    }
}

/// The log of one room.
///
/// *Invariant:* the entries' places are `first`, `first + 1` … `last`; `keys` holds exactly the
/// keys of these entries.
#[derive(Debug)]
struct Room {
    name: RoomName,
    epoch: Epoch,
    first: Seq,
    last: Seq,
    entries: VecDeque<Arc<Entry>>,
    keys: HashMap<(UserId, Key), Seq>,
}

impl Room {
    fn head(&self) -> LogHead {
        LogHead {
            room: self.name.clone(),
            epoch: self.epoch.clone(),
            first: self.first,
            last: self.last,
        }
    }

    fn append(&mut self, drafts: Vec<Draft>, keep: usize) -> Result<Appended, AppendError> {
        if Seq::new(self.last.get() + drafts.len() as u64).is_none() {
            return Err(AppendError::Refused("the room has no place left".into()));
        }
        let outcomes = drafts.into_iter().map(|draft| self.take(draft)).collect();
        let excess = self.entries.len().saturating_sub(keep) as u64;
        let first = self.first.plus(excess);
        self.forget(|seq| seq < first);
        Ok(Appended { epoch: self.epoch.clone(), outcomes })
    }

    fn take(&mut self, draft: Draft) -> Outcome {
        let seq = self.last.next();
        if let Some(key) = &draft.key {
            let known = match self.keys.entry((draft.user.clone(), key.clone())) {
                Slot::Occupied(first) => Some(*first.get()),
                Slot::Vacant(free) => {
                    free.insert(seq);
                    None
                }
            };
            if let Some(first) = known.and_then(|seq| self.entry(seq)) {
                return repeated(first, &draft);
            }
        }
        self.last = seq;
        self.entries.push_back(Arc::new(draft.into_entry(self.name.clone(), seq)));
        Outcome::New { seq }
    }

    fn entry(&self, seq: Seq) -> Option<&Entry> {
        let index = usize::try_from(seq.get().checked_sub(self.first.get())?).ok()?;
        self.entries.get(index).map(Arc::as_ref)
    }

    fn read(&self, range: &ReadRange, head: &LogHead) -> Vec<Arc<Entry>> {
        let Some((from, to)) = clip(range, head) else { return Vec::new() };
        let index = |seq: Seq| (seq.get() - self.first.get()) as usize;
        let entries = self.entries.range(index(from)..=index(to));
        let mut budget = Budget::of(range);
        let admits = |entry: &&Arc<Entry>| budget.admits(entry.body.size());
        match range.keep {
            Keep::Oldest => entries.take_while(admits).cloned().collect(),
            Keep::Newest => {
                let mut newest: Vec<_> = entries.rev().take_while(admits).cloned().collect();
                newest.reverse();
                newest
            }
        }
    }

    /// Drops entries from the oldest on, as long as their places are to be forgotten.
    fn forget(&mut self, gone: impl Fn(Seq) -> bool) {
        while gone(self.first)
            && let Some(entry) = self.entries.pop_front()
        {
            self.first = self.first.next();
            if let Some(key) = &entry.key {
                self.keys.remove(&(entry.user.clone(), key.clone()));
            }
        }
    }
}

/// What a draft becomes whose key was there before.
fn repeated(first: &Entry, draft: &Draft) -> Outcome {
    if first.body == draft.body {
        Outcome::Duplicate { seq: first.seq, ts: first.ts }
    } else {
        Outcome::Conflict
    }
}
