//! The log of all nodes: what is asked takes its time, and may go wrong in every way.
use chat_state::{AppendError, Event, ReadError};

use super::random::Random;
use crate::adapter::Question;
use crate::world::SimLog;

/// How the log behaves; chances are in a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// An answer takes up to this long on each of its two ways.
    pub slow_ms: u64,
    /// An append is refused.
    pub refuses: u16,
    /// An append is taken, and the answer is that nobody knows.
    pub unknown_taken: u16,
    /// An append is not taken, and the answer is that nobody knows.
    pub unknown_lost: u16,
    /// A question is held up, longer perhaps than anybody waits.
    pub stalls: u16,
    /// A read fails.
    pub unreadable: u16,
}

/// No question is held up longer.
const STALL_MS: u64 = 45_000;

/// What becomes of a question.
#[derive(Debug)]
pub(super) struct Fate {
    /// When it reaches the log, counted from now; `None`: never.
    pub(super) there_ms: Option<u64>,
    /// When the answer is back, counted from then.
    pub(super) back_ms: u64,
    /// The answer, if it is another one than the log's.
    pub(super) instead: Option<Event>,
}

impl Disk {
    /// Decides what becomes of a question.
    pub(super) fn fate(&self, question: &Question, random: &mut Random) -> Fate {
        let way = |random: &mut Random| random.below(self.slow_ms + 1);
        let mut fate = Fate { there_ms: Some(way(random)), back_ms: way(random), instead: None };
        if random.permille(self.stalls) {
            let held_ms = random.mostly_short((100, STALL_MS));
            if random.permille(500) {
                fate.there_ms = fate.there_ms.map(|ms| ms + held_ms);
            } else {
                fate.back_ms += held_ms;
            }
        }
        match question {
            Question::Append(token, ..) => {
                let answer = |error| Event::Appended { token: *token, result: Err(error) };
                if random.permille(self.refuses) {
                    fate.there_ms = None;
                    fate.instead = Some(answer(AppendError::Refused("down".into())));
                } else if random.permille(self.unknown_taken) {
                    fate.instead = Some(answer(AppendError::Unknown("lost".into())));
                } else if random.permille(self.unknown_lost) {
                    fate.there_ms = None;
                    fate.instead = Some(answer(AppendError::Unknown("lost".into())));
                }
            }
            Question::Head(token, _) if random.permille(self.unreadable) => {
                let result = Err(ReadError("down".into()));
                fate.instead = Some(Event::Head { token: *token, result });
            }
            Question::Load(token, ..) if random.permille(self.unreadable) => {
                let result = Err(ReadError("down".into()));
                fate.instead = Some(Event::Loaded { token: *token, result });
            }
            Question::Head(..) | Question::Load(..) | Question::Answered(_) => {}
        }
        fate
    }
}

/// Does at once what is asked.
pub(super) fn answer(log: &mut SimLog, node: usize, question: Question) -> Event {
    log.ask(node, question).expect("a log that is prompt answers at once")
}
