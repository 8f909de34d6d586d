//! What all members of a replay have seen, on one board.
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use chat_proto::{Body, Dialect, RequestId, ServerFrame};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{ROOM, Shared};
use crate::client::Shape;
use chat_simulation::history_check::{Run, Shown};

/// A frame, read once for all who got the same text.
#[derive(Debug)]
pub(super) enum Seen {
    /// Somebody said something in the room.
    Said(Shown),
    /// A `basic` notice of a join, in whatever room.
    Joined { room: String, username: String },
    /// A notice that is of no interest to the one who gets it.
    Notice,
    /// A `chat.v1` reply.
    Reply(ServerFrame),
    /// What must not come.
    Wrong(String),
}

/// What one membership was shown.
pub(super) type Lines = Shared<Vec<Rc<Seen>>>;

/// The board.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// Frames by their text: thousands of members get the same ones.
    frames: RefCell<BTreeMap<(Dialect, Utf8Bytes), Rc<Seen>>>,
    present: Cell<u64>,
    lines: Cell<u64>,
    /// How often lines have to be shown so far, and how often they were.
    due: Cell<u64>,
    shown: Cell<u64>,
    acks: RefCell<BTreeMap<usize, u64>>,
    runs: RefCell<Vec<(Lines, Run)>>,
    wrong: RefCell<Option<String>>,
    changed: Notify,
}

impl Board {
    /// Notes that a line was sent: all present have to see it.
    pub(super) fn said(&self) {
        self.lines.set(self.lines.get() + 1);
        self.due.set(self.due.get() + self.present.get());
    }

    /// Returns how many lines were sent.
    pub(super) fn lines(&self) -> u64 {
        self.lines.get()
    }

    /// Notes that somebody has entered, and returns where what it is shown is to be put.
    pub(super) fn entered(&self, member: &str) -> Lines {
        self.present.set(self.present.get() + 1);
        let shown = Shared::default();
        let run = Run { member: member.into(), after: self.lines(), to: None, shown: Vec::new() };
        self.runs.borrow_mut().push((Rc::clone(&shown), run));
        shown
    }

    /// Notes that somebody has left: its run ends here.
    pub(super) fn left(&self, shown: &Lines) {
        self.present.set(self.present.get() - 1);
        let mut runs = self.runs.borrow_mut();
        let found = runs.iter_mut().find(|(other, _)| Rc::ptr_eq(other, shown));
        found.expect("it had entered").1.to = Some(self.lines());
    }

    /// Notes that a member present was shown a line.
    pub(super) fn shown(&self) {
        self.shown.set(self.shown.get() + 1);
        if self.shown.get() >= self.due.get() {
            self.changed.notify_one();
        }
    }

    /// Notes the place of an acked line, which is named by its number.
    pub(super) fn acked(&self, id: &RequestId, seq: u64) {
        match id.as_str().parse() {
            Ok(line) => {
                let before = self.acks.borrow_mut().insert(line, seq);
                if before.is_some() {
                    self.wrong(format!("two acks of line {line}"));
                }
            }
            Err(_) => self.wrong(format!("an ack of {id:?}")),
        }
    }

    /// Notes that something happened that must not; the first one counts.
    pub(super) fn wrong(&self, what: String) {
        self.wrong.borrow_mut().get_or_insert(what);
        self.changed.notify_one();
    }

    /// Fails if something wrong has happened.
    pub(super) fn assert_right(&self) {
        if let Some(what) = &*self.wrong.borrow() {
            panic!("{what}");
        }
    }

    /// Waits until all present have seen all lines.
    pub(super) async fn settled(&self) {
        loop {
            self.assert_right();
            if self.shown.get() >= self.due.get() {
                return;
            }
            self.changed.notified().await;
        }
    }

    /// Returns the acks so far.
    pub(super) fn acks(&self) -> BTreeMap<usize, u64> {
        self.acks.borrow().clone()
    }

    /// Ends all memberships and returns what each was shown.
    pub(super) fn finish(&self) -> Vec<Run> {
        self.assert_right();
        let lines = self.lines();
        let finish = |(shown, mut run): (Lines, Run)| {
            run.to.get_or_insert(lines);
            let said = |seen: &Rc<Seen>| match &**seen {
                Seen::Said(said) => Some(said.clone()),
                Seen::Joined { .. } | Seen::Notice | Seen::Reply(_) | Seen::Wrong(_) => None,
            };
            run.shown = shown.borrow().iter().filter_map(said).collect();
            run
        };
        self.runs.take().into_iter().map(finish).collect()
    }

    /// Reads a frame, or finds what the same text was read as.
    pub(super) fn read(&self, dialect: Dialect, text: Utf8Bytes) -> Rc<Seen> {
        let mut frames = self.frames.borrow_mut();
        let key = (dialect, text);
        if let Some(seen) = frames.get(&key) {
            return Rc::clone(seen);
        }
        let seen = Rc::new(match dialect {
            Dialect::Basic => read_basic(&key.1),
            Dialect::V1 => read_v1(&key.1),
        });
        if !matches!(*seen, Seen::Reply(_)) {
            frames.insert(key, Rc::clone(&seen));
        }
        seen
    }
}

fn read_basic(text: &str) -> Seen {
    match Shape::parse(text) {
        Err(why) => Seen::Wrong(why),
        Ok(shape) if shape.kind == "join" && shape.others() == Some(0) => {
            Seen::Joined { room: shape.room, username: shape.username }
        }
        // In a large room those who come are told together, also those who have seen their own.
        Ok(shape) if shape.kind == "join" => Seen::Notice,
        Ok(shape) if shape.room != ROOM => Seen::Wrong(format!("from another room: {text}")),
        Ok(shape) if shape.kind == "message" => {
            Seen::Said(Shown { seq: None, client: shape.username, content: shape.content })
        }
        Ok(_) => Seen::Notice,
    }
}

fn read_v1(text: &str) -> Seen {
    match ServerFrame::decode(text) {
        Err(why) => Seen::Wrong(format!("{why}: {text}")),
        Ok(ServerFrame::Entry(entry)) if entry.room.as_str() == ROOM => match &entry.body {
            Body::Message { content, .. } => Seen::Said(Shown {
                seq: Some(entry.seq.get()),
                client: entry.username.to_string(),
                content: content.to_string(),
            }),
            _ => Seen::Wrong(format!("nobody did this: {text}")),
        },
        Ok(
            ServerFrame::Join { .. }
            | ServerFrame::Leave { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::Members { id: None, .. },
        ) => Seen::Notice,
        Ok(ServerFrame::Error(error)) => Seen::Wrong(format!("refused: {error:?}")),
        Ok(ping @ ServerFrame::Ping { .. }) => Seen::Reply(ping),
        Ok(frame) if frame.request_id().is_some() => Seen::Reply(frame),
        Ok(_) => Seen::Wrong(format!("unexpected: {text}")),
    }
}
