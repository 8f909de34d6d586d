//! A tail alone, with a scripted log.
mod appends;
mod heads;
mod log;
mod model;
mod opening;
mod order;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::format;

use chat_proto::{
    Body, DisplayName, Entry, Epoch, Key, Position, RoomName, Seq, Timestamp, UserId,
};

use self::log::ScriptedLog;
use super::{
    Ask, AskId, Bounds, Cx, Effect, NextBatch, Offered, Purpose, Tail, TailConfig, TailTimer,
};
use crate::config::Peers;
use crate::ids::Mono;
use crate::log::Draft;

pub(in crate::room::tail) fn seq(n: u64) -> Seq {
    Seq::new(n).unwrap()
}

pub(in crate::room::tail) fn entry(n: u64, text: &str) -> Arc<Entry> {
    Arc::new(draft(text).into_entry(room(), seq(n)))
}

/// What the tail has asked the log.
#[derive(Clone, Debug)]
enum Question {
    Append(Vec<Draft>),
    Read(Ask),
}

fn room() -> RoomName {
    RoomName::new("lobby").unwrap()
}

fn epoch(text: &str) -> Epoch {
    Epoch::new(text).unwrap()
}

fn position(log: &str, n: u64) -> Position {
    Position { epoch: epoch(log), seq: seq(n) }
}

fn draft(text: &str) -> Draft {
    Draft {
        user: UserId::new("ann").unwrap(),
        username: DisplayName::new("Ann").unwrap(),
        key: Some(Key::new(text.get(..text.len().min(8)).unwrap()).unwrap()),
        ts: Timestamp(1000),
        body: Body::Message { content: text.into(), reply_to: None },
    }
}

fn config() -> TailConfig {
    TailConfig {
        recent: Bounds { entries: 4, bytes: 1000 },
        drafts_max: 1000,
        hole_ms: 20,
        retry_ms: 500,
        append_ms: 30_000,
        read_ms: 10_000,
        peers: Peers::Some,
    }
}

/// A tail, its log and its owner, which notes what it is asked to do.
struct Owner {
    tail: Tail<u32>,
    log: ScriptedLog,
    config: TailConfig,
    now: Mono,
    room: RoomName,
    timers: BTreeMap<TailTimer, Mono>,
    /// Questions in flight, in the order in which they were asked.
    asked: Vec<(AskId, Question)>,
    /// Appends that the tail has given up.
    gave_up: Vec<AskId>,
    /// What the tail has asked for since the last [`Owner::told`], in words.
    told: Vec<String>,
    delivered: Vec<Arc<Entry>>,
}

impl Owner {
    /// A tail whose log has `len` entries and is being opened.
    fn opening(len: u64, config: TailConfig) -> Self {
        let (room, now) = (room(), Mono(0));
        let mut out = Vec::new();
        let tail = Tail::new(Cx { now, room: &room, config: &config }, &mut out);
        let mut owner = Self {
            tail,
            log: ScriptedLog::new(len),
            config,
            now,
            room,
            timers: BTreeMap::new(),
            asked: Vec::new(),
            gave_up: Vec::new(),
            told: Vec::new(),
            delivered: Vec::new(),
        };
        owner.apply(out);
        owner
    }

    /// A tail whose log has `len` entries and is open.
    fn open(len: u64) -> Self {
        let mut owner = Self::opening(len, config());
        owner.answer(Purpose::Open);
        owner.told.clear();
        owner
    }

    fn call(&mut self, call: impl FnOnce(&mut Tail<u32>, Cx<'_>, &mut Vec<Effect<u32>>)) {
        let mut out = Vec::new();
        let cx = Cx { now: self.now, room: &self.room, config: &self.config };
        call(&mut self.tail, cx, &mut out);
        self.apply(out);
    }

    fn ask(&mut self, id: AskId, question: Question) {
        assert!(!self.is_asked(id.purpose), "one {:?} in flight", id.purpose);
        self.told.push(match &question {
            Question::Append(drafts) => format!("append {}", drafts.len()),
            Question::Read(Ask::Open(_)) => "open".into(),
            Question::Read(Ask::Read(range)) => format!("read {}-{}", range.from, range.to),
            Question::Read(Ask::Head) => "head".into(),
        });
        self.asked.push((id, question));
    }

    fn apply(&mut self, effects: Vec<Effect<u32>>) {
        let count = effects.len();
        for (at, effect) in effects.into_iter().enumerate() {
            let last = at + 1 == count;
            match effect {
                Effect::Ask(id, ask) => self.ask(id, Question::Read(ask)),
                Effect::Ready => self.told.push("ready".into()),
                Effect::Settled { ticket, ts, outcome } => {
                    assert_eq!(ts, Timestamp(1000));
                    self.told.push(format!("{ticket}: {outcome:?}"));
                }
                Effect::Committed { epoch, entries } => {
                    let seqs: Vec<_> = entries.iter().map(|e| e.seq.to_string()).collect();
                    self.told.push(format!("committed {} {}", epoch.as_str(), seqs.join(",")));
                }
                Effect::Deliver(entry) => {
                    self.told.push(format!("deliver {}", entry.seq));
                    self.delivered.push(entry);
                }
                Effect::Skipped { from, to } => self.told.push(format!("skipped {from}-{to}")),
                Effect::EntryDropped(seq) => self.told.push(format!("dropped entry {seq}")),
                Effect::Tell { epoch, last } => {
                    self.told.push(format!("tell {} {last}", epoch.as_str()));
                }
                Effect::Arm(timer, due) => {
                    self.timers.insert(timer, due);
                }
                Effect::GaveUp(id) => {
                    self.told.push("gave up".into());
                    self.asked.retain(|(asked, _)| *asked != id);
                    self.gave_up.push(id);
                }
                Effect::Dropped(id) => {
                    self.told.push(format!("dropped {:?}", id.purpose));
                    self.asked.retain(|(asked, _)| *asked != id);
                }
                Effect::Opened { room } => {
                    assert!(last);
                    self.room = room;
                    self.told.push("opened".into());
                }
                Effect::OpenFailed => {
                    assert!(last);
                    self.told.push("open failed".into());
                }
                Effect::Replaced => {
                    assert!(last);
                    self.told.push("replaced".into());
                }
                Effect::HeadAnswered => {
                    assert!(last);
                    self.told.push("head answered".into());
                }
            }
        }
    }

    /// Returns what the tail has asked for since the last call.
    fn told(&mut self) -> Vec<String> {
        core::mem::take(&mut self.told)
    }

    fn say(&mut self, ticket: u32, text: &str) {
        match self.tail.offer(&self.config, ticket, draft(text)) {
            Offered::Waits => {}
            Offered::Ready => self.told.push("ready".into()),
            Offered::Full => self.end_turn(),
        }
    }

    fn end_turn(&mut self) {
        let cx = Cx { now: self.now, room: &self.room, config: &self.config };
        let Some(NextBatch { id, drafts, arm }) = self.tail.end_turn(cx) else { return };
        self.timers.extend(arm.map(|due| (TailTimer::Append, due)));
        self.ask(id, Question::Append(drafts));
    }

    /// Says something and hands it to the log, which does not answer yet.
    fn append(&mut self, ticket: u32, text: &str) -> AskId {
        self.say(ticket, text);
        self.end_turn();
        self.question(Purpose::Append)
    }

    fn question(&self, purpose: Purpose) -> AskId {
        let found = self.asked.iter().find(|(id, _)| id.purpose == purpose);
        found.unwrap_or_else(|| panic!("no {purpose:?} is asked")).0
    }

    fn is_asked(&self, purpose: Purpose) -> bool {
        self.asked.iter().any(|(id, _)| id.purpose == purpose)
    }

    fn take_question(&mut self, purpose: Purpose) -> (AskId, Question) {
        let id = self.question(purpose);
        let at = self.asked.iter().position(|(asked, _)| *asked == id).unwrap();
        self.asked.remove(at)
    }

    /// Lets the log answer the question of this kind.
    fn answer(&mut self, purpose: Purpose) {
        let (id, ask) = self.take_question(purpose);
        match ask {
            Question::Append(drafts) => {
                let appended = self.log.append(drafts);
                self.call(|tail, cx, out| tail.appended(cx, id, Ok(appended), out));
            }
            Question::Read(Ask::Open(bounds)) => {
                let page = self.log.open(bounds);
                self.call(|tail, cx, out| tail.opened(cx, id, Ok(page), out));
            }
            Question::Read(Ask::Read(range)) => {
                let page = self.log.read(range);
                self.call(|tail, cx, out| tail.page_read(cx, id, Ok(page), out));
            }
            Question::Read(Ask::Head) => {
                let head = self.log.head();
                self.call(|tail, cx, out| tail.head_read(cx, id, Ok(head), out));
            }
        }
    }

    /// Lets the log fail to answer a read of this kind.
    fn fail(&mut self, purpose: Purpose) {
        use crate::log::ReadError;
        let (id, _) = self.take_question(purpose);
        let error = ReadError("down".into());
        self.call(|tail, cx, out| match purpose {
            Purpose::Append => panic!("an append is refused or unknown"),
            Purpose::Open => tail.opened(cx, id, Err(error), out),
            Purpose::Read => tail.page_read(cx, id, Err(error), out),
            Purpose::Head => tail.head_read(cx, id, Err(error), out),
        });
    }

    /// A peer tells of the entries that it has appended.
    fn committed(&mut self, log: &str, seqs: impl IntoIterator<Item = u64>) {
        let entries: Vec<_> = seqs.into_iter().map(|n| entry(n, "theirs")).collect();
        let log = epoch(log);
        self.call(|tail, cx, out| tail.committed(cx, &log, &entries, out));
    }

    /// A peer tells where the log ends.
    fn grown(&mut self, log: &str, last: u64) {
        let log = epoch(log);
        self.call(|tail, cx, out| tail.grown(cx, &log, seq(last), out));
    }

    /// Lets time pass and fires the timers that are due, each once.
    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        let now = self.now;
        let due: Vec<_> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| *timer).collect();
        for timer in due {
            self.timers.remove(&timer);
            self.call(|tail, cx, out| tail.timer_due(cx, timer, out));
        }
    }

    /// Lets time pass up to the next deadline. Returns false if no timer is armed.
    fn pass_to_next_timer(&mut self) -> bool {
        let Some(due) = self.timers.values().min().copied() else { return false };
        self.pass(due.since(self.now));
        true
    }

    fn delivered(&self) -> Vec<u64> {
        self.delivered.iter().map(|entry| entry.seq.get()).collect()
    }
}
