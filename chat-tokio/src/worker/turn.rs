//! The end of a turn: drafts go to the log, outboxes are flushed.
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use chat_proto::LeaveReason;
use chat_state::{AppendError, ConnId, Event};
use tokio::task::coop::unconstrained;

use super::Worker;
use super::slots::Phase;

/// Rounds of one turn: flushing may let the Hub feed those who lag, which fills outboxes anew. What
/// is left after these goes into the next turn, so that others get theirs.
const ROUNDS: usize = 8;

/// Runs a worker's turns. It never ends.
pub(super) async fn run(worker: Rc<RefCell<Worker>>) {
    poll_fn(|cx| {
        let mut worker = worker.borrow_mut();
        while worker.turn.poll_taken(cx).is_ready() {
            if worker.finish_turn() == Left::Work {
                worker.turn.set = true;
                cx.waker().wake_by_ref();
                return Poll::<()>::Pending;
            }
        }
        Poll::Pending
    })
    .await;
}

/// Whether a turn has left something to do.
#[derive(PartialEq, Eq)]
enum Left {
    Nothing,
    Work,
}

impl Worker {
    fn finish_turn(&mut self) -> Left {
        for _ in 0..ROUNDS {
            self.settle();
            self.push_rest();
            if self.is_settled() && !self.slots.has_dirty() {
                self.turn.set = false;
                self.timer.expect(self.hub.poll_timeout());
                return Left::Nothing;
            }
            self.flush_all();
        }
        Left::Work
    }

    /// Tells whether nothing is left for the log or the Hub, nor for many at once.
    fn is_settled(&self) -> bool {
        self.appends.is_empty() && self.results.is_empty() && self.gathered.is_empty()
    }

    /// Pushes what was gathered for the same members; an outbox that is too full for it may give
    /// the Hub something to do.
    fn push_rest(&mut self) {
        if !self.gathered.is_empty() {
            self.push_last();
            self.perform_all();
        }
    }

    /// Handles what has come out of this turn's work, fires what is due, ends the Hub's turn and
    /// offers the drafts to the log, until nothing more comes of it.
    fn settle(&mut self) {
        loop {
            while let Some(event) = self.results.pop_front() {
                self.handle(event);
            }
            self.fire();
            self.end_turn();
            if !self.appends.is_empty() {
                self.offer();
            } else if self.results.is_empty() {
                return;
            }
        }
    }

    fn end_turn(&mut self) {
        let now = self.clock.now();
        self.hub.end_turn(now, &mut self.actions);
        self.perform_all();
    }

    /// One call of the log for all rooms' drafts.
    fn offer(&mut self) {
        let (tokens, batches): (Vec<_>, Vec<_>) = self.appends.drain(..).unzip();
        let (clock, counts, asked) = (self.clock, self.counts.clone(), self.clock.since_start());
        let took = move || clock.since_start().saturating_sub(asked);
        let mut answer = self.log.append(batches);
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(results) = answer.as_mut().poll(&mut cx) {
            counts.note_appends(&results, took());
            self.results.extend(answers(tokens, results));
            return;
        }
        let me = self.me.clone();
        tokio::task::spawn_local(async move {
            let results = answer.await;
            counts.note_appends(&results, took());
            let Some(worker) = me.upgrade() else { return };
            let mut worker = worker.borrow_mut();
            for event in answers(tokens, results) {
                worker.handle(event);
            }
        });
    }

    /// One pass over all outboxes that got something.
    fn flush_all(&mut self) {
        let dirty = self.slots.take_dirty();
        for conn in &dirty {
            self.slots.clean(*conn);
            self.flush(*conn);
        }
        self.slots.reuse(dirty);
        self.sample_written();
    }

    /// Writes what waits for one connection, as far as its transport takes it.
    pub(super) fn flush(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        if matches!(slot.phase, Phase::Gone(_)) {
            return;
        }
        // With the task's own waker, a transport that takes no more wakes the task when it does.
        let waker = slot.waker.as_ref().unwrap_or(Waker::noop());
        let mut cx = Context::from_waker(waker);
        // Whichever task flushes: the budget that makes tasks yield would make a transport look
        // blocked after some 128 writes, and a member whose outbox is full would be cut off for it.
        let send = poll_fn(|cx| slot.transport.poll_send(cx, &mut slot.outbox));
        let sent = pin!(unconstrained(send)).poll(&mut cx);
        match sent {
            Poll::Ready(Ok(())) => slot.blocked = false,
            Poll::Pending => slot.blocked = true,
            Poll::Ready(Err(_)) => {
                let why = LeaveReason::Disconnected;
                let was = std::mem::replace(&mut slot.phase, Phase::Gone(why));
                slot.outbox.clear();
                // Its task drops it and tells the Hub.
                slot.wake();
                if was == Phase::Open {
                    self.note_gone(conn, why);
                }
                return;
            }
        }
        self.check_drained(conn);
    }

    /// Tells the Hub if it waits for this outbox to have room.
    fn check_drained(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let low = self.limits.outbox_high_bytes as usize / 4;
        if slot.has_drained(low) {
            let was_congested = slot.congested;
            (slot.congested, slot.awaited) = (false, false);
            if was_congested {
                slot.wake();
            }
            self.results.push_back(Event::Drained { conn });
            self.turn.raise();
        }
    }
}

/// Ties the log's answers to their questions; a log that answers too few does not know.
fn answers(
    tokens: Vec<chat_state::Token>,
    results: Vec<Result<chat_state::Appended, AppendError>>,
) -> impl Iterator<Item = Event> {
    let missing = || Err(AppendError::Unknown("the log gave no answer".into()));
    let results = results.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
    tokens.into_iter().zip(results).map(move |(token, result)| Event::Appended {
        token,
        result: result.unwrap_or_else(missing),
    })
}
