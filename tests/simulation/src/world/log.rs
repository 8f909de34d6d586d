//! A room log in memory that can be slow, down, or unsure.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chat_proto::{Body, Entry, Epoch, Key, RoomName, Seq, Timestamp, UserId};
use chat_state::{
    AppendError, Appended, Draft, Event, Keep, LogHead, LogPage, Outcome, ReadError, ReadRange,
};

use crate::adapter::Question;

/// How the log behaves towards the next questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogMood {
    /// Answers at once.
    #[default]
    Prompt,
    /// Does nothing yet; what is asked waits for [`SimLog::answer`].
    Holds,
    /// Does what is asked at once; the answers wait for [`SimLog::answer`].
    HoldsAnswers,
    /// Refuses everything.
    Refuses,
    /// Takes appends and says that it can't tell.
    UnknownTaken,
    /// Takes no appends and says that it can't tell.
    UnknownLost,
}

/// One room's log. What was trimmed is kept for checks, but can't be read.
#[derive(Clone, Debug)]
pub struct RoomLog {
    /// The room, as first spelled.
    pub room: RoomName,
    /// Which log.
    pub epoch: Epoch,
    /// The oldest entry that can be read.
    pub first: u64,
    /// All entries ever; `seq` n is at n - 1.
    pub entries: Vec<Arc<Entry>>,
    keys: BTreeMap<(UserId, Key), (Seq, Timestamp, Body)>,
}

impl RoomLog {
    fn new(room: RoomName, epoch: Epoch) -> Self {
        Self { room, epoch, first: 1, entries: Vec::new(), keys: BTreeMap::new() }
    }

    /// Returns the last entry's place, 0 if there never was one.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Demands that entries are a part of this log.
    ///
    /// # Panics
    /// If they are not.
    pub fn has(&self, entries: &[Arc<Entry>]) {
        for pair in entries.windows(2) {
            assert_eq!(pair[0].seq.next(), pair[1].seq, "there are no holes");
        }
        for entry in entries {
            let at = usize::try_from(entry.seq.get() - 1).expect("a short log");
            assert_eq!(self.entries.get(at), Some(entry), "what is shown is in the log");
        }
    }

    /// Forgets the keys of drafts from before this time.
    pub fn forget_keys(&mut self, before: Timestamp) {
        self.keys.retain(|_, (_, ts, _)| *ts >= before);
    }

    /// Takes a draft, unless its key is known.
    pub fn take(&mut self, draft: Draft) -> Outcome {
        let seq = Seq::new(self.last() + 1).expect("a short log");
        if let Some(key) = &draft.key {
            let key = (draft.user.clone(), key.clone());
            if let Some((seq, ts, body)) = self.keys.get(&key) {
                let (seq, ts) = (*seq, *ts);
                return if *body == draft.body {
                    Outcome::Duplicate { seq, ts }
                } else {
                    Outcome::Conflict
                };
            }
            self.keys.insert(key, (seq, draft.ts, draft.body.clone()));
        }
        self.entries.push(Arc::new(draft.into_entry(self.room.clone(), seq)));
        Outcome::New { seq }
    }

    fn head(&self) -> LogHead {
        let place = |n| Seq::new(n).expect("a short log");
        let (first, last) = (place(self.first), place(self.last()));
        LogHead { room: self.room.clone(), epoch: self.epoch.clone(), first, last }
    }

    fn read(&self, range: ReadRange) -> LogPage {
        let wanted = self
            .entries
            .iter()
            .filter(|e| e.seq.get() >= self.first && e.seq >= range.from && e.seq <= range.to);
        let mut wanted: Vec<_> = wanted.cloned().collect();
        if range.keep == Keep::Newest {
            wanted.reverse();
        }
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for entry in wanted.into_iter().take(range.limit as usize) {
            bytes += entry.body.size();
            if !entries.is_empty() && bytes > range.bytes as usize {
                break;
            }
            entries.push(entry);
        }
        if range.keep == Keep::Newest {
            entries.reverse();
        }
        LogPage { head: self.head(), entries }
    }
}

/// All rooms' logs.
#[derive(Debug, Default)]
pub struct SimLog {
    rooms: BTreeMap<RoomName, RoomLog>,
    replaced: Vec<RoomLog>,
    /// How it behaves.
    pub mood: LogMood,
    waiting: VecDeque<(usize, Question)>,
}

impl SimLog {
    /// Takes a question of a Hub; what can be answered at once is.
    pub fn ask(&mut self, hub: usize, question: Question) -> Option<Event> {
        match self.mood {
            LogMood::Prompt => return Some(self.do_it(question)),
            LogMood::Holds => self.waiting.push_back((hub, question)),
            LogMood::HoldsAnswers => {
                let answer = self.do_it(question);
                self.waiting.push_back((hub, Question::Answered(answer)));
            }
            LogMood::Refuses => return Some(refusal(question)),
            LogMood::UnknownTaken | LogMood::UnknownLost => {
                let Question::Append(token, ..) = question else {
                    return Some(self.do_it(question));
                };
                if self.mood == LogMood::UnknownTaken {
                    self.do_it(question);
                }
                let error = AppendError::Unknown("the answer was lost".into());
                return Some(Event::Appended { token, result: Err(error) });
            }
        }
        None
    }

    /// Answers one of the questions that wait.
    pub fn answer(&mut self, n: usize) -> Option<(usize, Event)> {
        let count = self.waiting.len();
        let (hub, question) = self.waiting.remove(n.checked_rem(count)?)?;
        Some((hub, self.do_it(question)))
    }

    /// Fails one of the questions that wait.
    pub fn fail(&mut self, n: usize) -> Option<(usize, Event)> {
        let count = self.waiting.len();
        let (hub, question) = self.waiting.remove(n.checked_rem(count)?)?;
        Some((hub, refusal(question)))
    }

    /// Returns a room's log as it stands.
    pub fn room(&mut self, name: &RoomName) -> &mut RoomLog {
        let epoch = || Epoch::new("e1").expect("an epoch");
        self.rooms.entry(name.clone()).or_insert_with(|| RoomLog::new(name.clone(), epoch()))
    }

    /// Returns a room's log of some epoch, which may have been replaced.
    #[must_use]
    pub fn of_epoch(&self, name: &RoomName, epoch: &Epoch) -> Option<&RoomLog> {
        let mut all = self.replaced.iter().chain(self.rooms.values());
        all.find(|log| log.room == *name && log.epoch == *epoch)
    }

    /// Returns a room's logs of all epochs, the newest first.
    pub fn of_room<'a>(&'a self, name: &'a RoomName) -> impl Iterator<Item = &'a RoomLog> {
        self.rooms.get(name).into_iter().chain(self.replaced.iter().filter(|l| l.room == *name))
    }

    /// Forgets entries of a room but for the newest ones.
    pub fn trim(&mut self, name: &RoomName, keep: u64) {
        let log = self.room(name);
        log.first = log.first.max((log.last() + 1).saturating_sub(keep));
    }

    /// Begins a room's log anew, as after the loss of a disk.
    pub fn replace(&mut self, name: &RoomName) {
        let before = self.room(name).clone();
        self.replaced.push(before);
        let epoch = Epoch::new(&format!("r{}", self.replaced.len())).expect("an epoch");
        self.rooms.insert(name.clone(), RoomLog::new(name.clone(), epoch));
    }

    fn do_it(&mut self, question: Question) -> Event {
        match question {
            Question::Append(token, room, drafts) => {
                let log = self.room(&room);
                let outcomes = drafts.into_iter().map(|draft| log.take(draft)).collect();
                let appended = Appended { epoch: log.epoch.clone(), outcomes };
                Event::Appended { token, result: Ok(appended) }
            }
            Question::Head(token, room) => {
                Event::Head { token, result: Ok(self.room(&room).head()) }
            }
            Question::Load(token, room, range) => {
                Event::Loaded { token, result: Ok(self.room(&room).read(range)) }
            }
            Question::Answered(event) => event,
        }
    }
}

fn refusal(question: Question) -> Event {
    let unreadable = || ReadError("down".into());
    match question {
        Question::Append(token, ..) => {
            Event::Appended { token, result: Err(AppendError::Refused("down".into())) }
        }
        Question::Head(token, _) => Event::Head { token, result: Err(unreadable()) },
        Question::Load(token, ..) => Event::Loaded { token, result: Err(unreadable()) },
        Question::Answered(event) => event,
    }
}
