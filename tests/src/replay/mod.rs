//! Replays a script through a server: one connection a speaker, one room, both dialects by turns.
//!
//! What makes the expectation definite: before a join or a leave, everybody present has seen every
//! line said so far, and after it, the one who moved has seen that it is done (its own notice, its
//! `joined`, its `left`; a `basic` leaver, who is told nothing, joins a room of its own and waits
//! for that notice). So each membership is an exact part of the log. Between those points lines
//! are sent without waiting; then the log decides about the order of different speakers, and every
//! member has to have seen that order.
mod board;
mod member;
mod steady;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use chat_proto::{HistoryRange, Seq};

use self::board::Board;
use self::member::Member;
pub use self::steady::{Figures, replay_steadily};
use crate::client::V1Client;
use crate::irc::{Event, Script};
use crate::wait::within;
use chat_simulation::history_check::{Logged, Outcome, Send, check};

/// The room in which it all happens.
pub const ROOM: &str = "#ubuntu";

/// How fast lines are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as they can be sent: the server decides about the order.
    Free,
    /// Each only when all have seen the one before: the script decides.
    Sequential,
}

/// Replays a script and checks all that was seen.
///
/// # Panics
/// If anything was lost, doubled, reordered, altered, invented, or shown to somebody absent.
pub async fn replay(server: SocketAddr, script: &Script, pace: Pace) {
    let board = Rc::new(Board::default());
    let mut members: Vec<Option<Member>> = script.speakers.iter().map(|_| None).collect();
    let mut sends = Vec::new();
    for event in &script.events {
        match event {
            Event::Join(speaker) => {
                settled(&board, "before a join").await;
                let slot = &mut members[*speaker];
                if slot.is_none() {
                    let name = &script.speakers[*speaker];
                    *slot = Some(Member::connect(server, *speaker, name, &board).await);
                }
                slot.as_mut().expect("it has connected").join(&board).await;
            }
            Event::Leave(speaker) => {
                settled(&board, "before a leave").await;
                members[*speaker].as_mut().expect("it is present").leave(&board).await;
            }
            Event::Line(speaker, text) => {
                let member = members[*speaker].as_mut().expect("it is present");
                member.say(sends.len(), text).await;
                board.said();
                sends.push(Send {
                    client: script.speakers[*speaker].clone(),
                    content: text.clone(),
                    key: None,
                    outcome: Outcome::Echoed,
                });
                if pace == Pace::Sequential {
                    settled(&board, "after a line").await;
                }
            }
        }
    }
    settled(&board, "at the end").await;
    let acks = board.acks();
    for (speaker, send) in sends.iter_mut().enumerate() {
        if let Some(seq) = acks.get(&speaker) {
            send.outcome = Outcome::Acked(*seq);
        }
    }
    let log = read_back(server, sends.len()).await;
    if pace == Pace::Sequential {
        for (send, entry) in sends.iter().zip(&log) {
            assert_eq!((&send.client, &send.content), (&entry.client, &entry.content));
        }
    }
    assert_eq!(log.len(), sends.len(), "the history is longer or shorter than the script");
    let runs = board.finish();
    check(&sends, &runs, &log).unwrap_or_else(|violation| panic!("{violation}"));
}

async fn settled(board: &Board, when: &str) {
    within(format!("all present to have seen all lines ({when})"), board.settled()).await;
}

/// Reads the history both ways, which has to give the same.
async fn read_back(server: SocketAddr, lines: usize) -> Vec<Logged> {
    let (mut reader, joined) = V1Client::member(server, "historian", ROOM).await;
    assert_eq!(joined.head.get(), lines as u64, "the head is where the script ends");
    let forward = reader.history(ROOM).await;
    let mut backward = Vec::new();
    let mut before = joined.head.next();
    loop {
        let page = reader.page(ROOM, HistoryRange::Before(before), 37).await;
        assert!(page.events.len() <= 37, "a page is longer than asked for");
        assert_eq!(page.has_more_after, before <= joined.head, "before {before}");
        backward.extend(page.events.iter().rev().cloned());
        if !page.has_more_before {
            break;
        }
        before = page.events.first().map_or(Seq::ZERO, |entry| entry.seq);
    }
    backward.reverse();
    assert!(forward == backward, "paging back gives another history than paging on");
    forward.iter().map(|entry| Logged::from(&**entry)).collect()
}

/// Runs a future that is bound to its thread.
///
/// # Panics
/// If no runtime can be made.
pub fn on_this_thread<F: Future<Output = ()>>(future: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime.expect("a runtime"), future);
}

type Shared<T> = Rc<RefCell<T>>;
