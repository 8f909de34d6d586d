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
/// are remembered as long as their entries, so a limit on bytes that takes entries takes keys, too.
/// No append fails for a limit.
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
    /// About how many bytes all rooms together may take. Beyond that the oldest entries of the
    /// least recently used room go first; a room that has none left is forgotten, and the next one
    /// has its turn. The newest entry of the last room stays.
    pub bytes: usize,
}

/// Entries of a room: about a megabyte of short messages.
const ENTRIES_DEFAULT: usize = 10_000;

/// Rooms: as many as a worker serves by default.
const ROOMS_DEFAULT: usize = 100_000;

/// Bytes: the other limits alone would take a billion entries.
const BYTES_DEFAULT: usize = 1024 * 1024 * 1024;

/// About what a room takes without entries: its names, its epoch, its places in the maps.
const ROOM_BYTES: usize = 512;

/// About what an entry takes besides itself: its places in the list and among the keys, its key,
/// and what surrounds its body in the encoding that it keeps.
const ENTRY_BYTES: usize = 384;

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { entries: ENTRIES_DEFAULT, rooms: ROOMS_DEFAULT, bytes: BYTES_DEFAULT }
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
        let options = MemoryOptions {
            entries: options.entries.max(1),
            rooms: options.rooms.max(1),
            bytes: options.bytes,
        };
        let epochs = Epochs::draw().expect("the system gives random numbers");
        let state = State {
            rooms: RecentMap::new(options.rooms),
            met: MetRooms::new(options.rooms, epochs),
            bytes: 0,
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
        let take = |batch| state.append(batch, &self.options);
        Box::pin(ready(batches.into_iter().map(take).collect()))
    }

    fn head(&self, room: RoomName) -> LogFuture<Result<LogHead, ReadError>> {
        Box::pin(ready(Ok(self.lock().head(&room))))
    }

    fn read(&self, room: RoomName, range: ReadRange) -> LogFuture<Result<LogPage, ReadError>> {
        Box::pin(ready(Ok(self.lock().read(&room, &range))))
    }

    fn trim(&self, room: RoomName, before: Seq) -> LogFuture<Result<Seq, ReadError>> {
        Box::pin(ready(Ok(self.lock().trim(&room, before))))
    }
}

#[derive(Debug)]
struct State {
    /// The rooms that have, or had, entries.
    rooms: RecentMap<RoomName, Room>,
    met: MetRooms,
    /// What all rooms take.
    bytes: usize,
}

impl State {
    fn append(
        &mut self,
        batch: RoomBatch,
        options: &MemoryOptions,
    ) -> Result<Appended, AppendError> {
        let appended = match self.rooms.get(&batch.room) {
            Some(room) => {
                let before = room.bytes;
                let appended = room.append(batch.drafts, options.entries);
                self.bytes = self.bytes - before + room.bytes;
                appended
            }
            None => self.begin(batch, options.entries),
        };
        self.shrink(options.bytes);
        appended
    }

    /// Appends to a room that has no entries yet.
    fn begin(&mut self, batch: RoomBatch, keep: usize) -> Result<Appended, AppendError> {
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
            bytes: ROOM_BYTES,
        };
        let appended = room.append(batch.drafts, keep);
        self.bytes += room.bytes;
        if let Some(gone) = self.rooms.insert(name, room) {
            self.bytes -= gone.bytes;
        }
        appended
    }

    /// Drops entries until the rest fits. Each is dropped once, so this costs an append as much as
    /// it adds.
    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let is_last = self.rooms.len() == 1;
            let Some(room) = self.rooms.oldest() else { return };
            let (before, newest) = (room.bytes, room.last);
            // What is dropped of it counts towards what is too much.
            let enough = before.saturating_sub(self.bytes - bytes_max);
            room.forget(|seq, bytes| bytes > enough && !(is_last && seq == newest));
            self.bytes = self.bytes - before + room.bytes;
            if is_last {
                return;
            }
            if room.entries.is_empty()
                && let Some(gone) = self.rooms.pop_oldest()
            {
                self.bytes -= gone.bytes;
            }
        }
    }

    fn trim(&mut self, room: &RoomName, before: Seq) -> Seq {
        let Some(room) = self.rooms.get(room) else { return Seq::ZERO.next() };
        let bytes = room.bytes;
        room.forget(|seq, _| seq < before);
        self.bytes = self.bytes - bytes + room.bytes;
        room.first
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
/// keys of these entries; `bytes` is what the room and they take.
#[derive(Debug)]
struct Room {
    name: RoomName,
    epoch: Epoch,
    first: Seq,
    last: Seq,
    entries: VecDeque<Arc<Entry>>,
    keys: HashMap<(UserId, Key), Seq>,
    bytes: usize,
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
        self.forget(|seq, _| seq < first);
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
        let entry = draft.into_entry(self.name.clone(), seq);
        self.bytes += cost(&entry);
        self.entries.push_back(Arc::new(entry));
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

    /// Drops entries from the oldest on, as long as this one's place, in a room that takes so many
    /// bytes, is to be forgotten.
    fn forget(&mut self, gone: impl Fn(Seq, usize) -> bool) {
        while gone(self.first, self.bytes)
            && let Some(entry) = self.entries.pop_front()
        {
            self.first = self.first.next();
            self.bytes -= cost(&entry);
            if let Some(key) = &entry.key {
                self.keys.remove(&(entry.user.clone(), key.clone()));
            }
        }
    }
}

/// About what an entry takes in memory. It may not change as long as the entry is kept, so it
/// counts the encoding from the beginning, and one: rarely is an entry sent in both dialects.
fn cost(entry: &Entry) -> usize {
    entry.size() + entry.body.size() + ENTRY_BYTES
}

/// What a draft becomes whose key was there before.
fn repeated(first: &Entry, draft: &Draft) -> Outcome {
    if first.body == draft.body {
        Outcome::Duplicate { seq: first.seq, ts: first.ts }
    } else {
        Outcome::Conflict
    }
}
