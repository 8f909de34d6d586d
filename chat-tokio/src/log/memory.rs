//! A room log in memory: it ends with the process.
use std::collections::VecDeque;
use std::collections::hash_map::{Entry as Slot, HashMap};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chat_proto::{Durability, Entry, Epoch, RoomName, Seq, Timestamp};
use chat_state::{
    AppendError, Appended, Draft, Keep, LogHead, LogPage, Outcome, ReadError, ReadRange,
};

use super::digest::Digest;
use super::epochs::{Epochs, MetRooms};
use super::range::{Budget, clip};
use super::recent::RecentMap;
use super::remembered::{First, Named, Remembered};
use super::{Capabilities, KEYS_PER_USER_DEFAULT, LogFuture, RoomBatch, RoomLog, remembered_since};

/// A [`RoomLog`] in the memory of one process, for tests, demonstrations and rooms that need not
/// last. Its answers are ready at once.
///
/// It is bounded by [`MemoryOptions`]: the oldest entries of a room and the rooms that were not
/// used for the longest time are forgotten. A forgotten room starts over with another epoch, and
/// its keys are new again. No append fails for a limit.
#[derive(Debug)]
pub struct MemoryLog {
    state: Mutex<State>,
    options: MemoryOptions,
}

/// The limits of a [`MemoryLog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOptions {
    /// Entries that a room keeps, 1 at the least; the oldest are dropped. Their keys stay known.
    pub entries: usize,
    /// Keys of one user that a room remembers whose entries were dropped or trimmed; the oldest go
    /// first. Those older than [`KEYS_REMEMBERED_MS`](super::KEYS_REMEMBERED_MS) go with the room's
    /// next append or trim.
    pub keys_per_user: u32,
    /// Rooms with entries that are kept, 1 at the least; as many more are remembered by their
    /// name only. The least recently used is forgotten.
    pub rooms: usize,
    /// About how many bytes all rooms together may take. Beyond that the least recently used room
    /// forgets its oldest first: the keys whose entries are gone, however young, then entries with
    /// their keys; a room that has none left is forgotten, and the next one has its turn. The
    /// newest entry of the last room stays.
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
        Self {
            entries: ENTRIES_DEFAULT,
            keys_per_user: KEYS_PER_USER_DEFAULT,
            rooms: ROOMS_DEFAULT,
            bytes: BYTES_DEFAULT,
        }
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
            ..options
        };
        let epochs = Epochs::draw().expect("the system gives random numbers");
        let state = State {
            rooms: RecentMap::new(options.rooms),
            met: MetRooms::new(options.rooms, epochs),
            bytes: 0,
            newest: Timestamp(0),
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
            keys_per_user: self.options.keys_per_user.into(),
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
        Box::pin(ready(Ok(self.lock().trim(&room, before, self.options.keys_per_user))))
    }
}

#[derive(Debug)]
struct State {
    /// The rooms that have, or had, entries.
    rooms: RecentMap<RoomName, Room>,
    met: MetRooms,
    /// What all rooms take.
    bytes: usize,
    /// When the newest entry was made.
    newest: Timestamp,
}

impl State {
    fn append(
        &mut self,
        batch: RoomBatch,
        options: &MemoryOptions,
    ) -> Result<Appended, AppendError> {
        let since = remembered_since(self.newest);
        let appended = match self.rooms.get(&batch.room) {
            Some(room) => {
                let (before, last) = (room.bytes(), room.last);
                let appended = room.append(batch.drafts, options, since);
                self.bytes = self.bytes - before + room.bytes();
                if room.last > last {
                    self.newest = room.newest();
                }
                appended
            }
            None => self.begin(batch, options),
        };
        self.shrink(options.bytes);
        appended
    }

    /// Appends to a room that has no entries yet.
    fn begin(
        &mut self,
        batch: RoomBatch,
        options: &MemoryOptions,
    ) -> Result<Appended, AppendError> {
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
            entry_bytes: 0,
            keys: HashMap::new(),
            gone: Remembered::default(),
        };
        let appended = room.append(batch.drafts, options, remembered_since(self.newest));
        self.newest = room.newest();
        self.bytes += room.bytes();
        if let Some(gone) = self.rooms.insert(name, room) {
            self.bytes -= gone.bytes();
        }
        appended
    }

    /// Forgets the oldest until the rest fits. Each thing is forgotten once, so this costs an
    /// append as much as it adds.
    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let is_last = self.rooms.len() == 1;
            let Some(room) = self.rooms.oldest() else { return };
            let before = room.bytes();
            // What it forgets counts towards what is too much.
            room.shrink(before.saturating_sub(self.bytes - bytes_max), usize::from(is_last));
            self.bytes = self.bytes - before + room.bytes();
            if is_last {
                return;
            }
            if room.entries.is_empty()
                && room.gone.is_empty()
                && let Some(gone) = self.rooms.pop_oldest()
            {
                self.bytes -= gone.bytes();
            }
        }
    }

    fn trim(&mut self, room: &RoomName, before: Seq, keys_per_user: u32) -> Seq {
        let since = remembered_since(self.newest);
        let Some(room) = self.rooms.get(room) else { return Seq::ZERO.next() };
        let bytes = room.bytes();
        room.trim(before, keys_per_user, since);
        self.bytes = self.bytes - bytes + room.bytes();
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
/// keys of these entries, and `gone` none of them.
#[derive(Debug)]
struct Room {
    name: RoomName,
    epoch: Epoch,
    first: Seq,
    last: Seq,
    entries: VecDeque<Arc<Entry>>,
    /// What the entries take.
    entry_bytes: usize,
    keys: HashMap<Named, Seq>,
    /// Keys whose entries are gone.
    gone: Remembered,
}

impl Room {
    fn bytes(&self) -> usize {
        ROOM_BYTES + self.entry_bytes + self.gone.bytes()
    }

    /// Returns when the newest entry was made that is left.
    fn newest(&self) -> Timestamp {
        self.entries.back().map_or(Timestamp(0), |entry| entry.ts)
    }

    fn head(&self) -> LogHead {
        LogHead {
            room: self.name.clone(),
            epoch: self.epoch.clone(),
            first: self.first,
            last: self.last,
        }
    }

    /// Takes drafts; keys from before a time may go.
    fn append(
        &mut self,
        drafts: Vec<Draft>,
        options: &MemoryOptions,
        since: Timestamp,
    ) -> Result<Appended, AppendError> {
        if Seq::new(self.last.get() + drafts.len() as u64).is_none() {
            return Err(AppendError::Refused("the room has no place left".into()));
        }
        let outcomes = drafts.into_iter().map(|draft| self.take(draft)).collect();
        let excess = self.entries.len().saturating_sub(options.entries) as u64;
        self.trim(self.first.plus(excess), options.keys_per_user, since);
        Ok(Appended { epoch: self.epoch.clone(), outcomes })
    }

    fn take(&mut self, draft: Draft) -> Outcome {
        let seq = self.last.next();
        if let Some(key) = &draft.key {
            let named = (draft.user.clone(), key.clone());
            if let Some(first) = self.gone.find(&named) {
                let same = Digest::of(&draft.body) == Some(first.digest);
                return repeated(first.seq, first.ts, same);
            }
            let known = match self.keys.entry(named) {
                Slot::Occupied(first) => Some(*first.get()),
                Slot::Vacant(free) => {
                    free.insert(seq);
                    None
                }
            };
            if let Some(first) = known.and_then(|seq| self.entry(seq)) {
                return repeated(first.seq, first.ts, first.body == draft.body);
            }
        }
        self.last = seq;
        let entry = draft.into_entry(self.name.clone(), seq);
        self.entry_bytes += cost(&entry);
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

    /// Drops the entries before a place. So many of their keys stay known of each user, but none
    /// from before a time.
    fn trim(&mut self, before: Seq, keys_per_user: u32, since: Timestamp) {
        self.gone.expire(since);
        while self.first < before
            && let Some((entry, named)) = self.pop()
        {
            if let Some(named) = named
                && entry.ts >= since
                && let Some(digest) = Digest::of(&entry.body)
            {
                let first = First { seq: entry.seq, ts: entry.ts, digest };
                self.gone.add(named, first, keys_per_user);
            }
        }
    }

    /// Forgets the oldest until the room takes so few bytes, or so few entries are all it has.
    fn shrink(&mut self, enough: usize, entries: usize) {
        while self.bytes() > enough {
            let shrunk =
                self.gone.pop_oldest() || (self.entries.len() > entries && self.pop().is_some());
            if !shrunk {
                return;
            }
        }
    }

    /// Drops the oldest entry; returns it and its key.
    fn pop(&mut self) -> Option<(Arc<Entry>, Option<Named>)> {
        let entry = self.entries.pop_front()?;
        self.first = self.first.next();
        self.entry_bytes -= cost(&entry);
        let named = entry.key.clone().map(|key| (entry.user.clone(), key));
        if let Some(named) = &named {
            self.keys.remove(named);
        }
        Some((entry, named))
    }
}

/// About what an entry takes in memory. It may not change as long as the entry is kept, so it
/// counts the encoding from the beginning, and one: rarely is an entry sent in both dialects.
fn cost(entry: &Entry) -> usize {
    entry.size() + entry.body.size() + ENTRY_BYTES
}

/// What a draft becomes whose key was there before, at this place and time.
fn repeated(seq: Seq, ts: Timestamp, same: bool) -> Outcome {
    if same { Outcome::Duplicate { seq, ts } } else { Outcome::Conflict }
}
