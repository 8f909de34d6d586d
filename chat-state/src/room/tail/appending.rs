//! Appending drafts, one batch at a time.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::Seq;

use super::appends::{Appends, BATCH_DRAFTS, Batch, Queued, settle_all};
use super::order::Usable;
use super::state::Tail;
use super::{AskId, Cx, Effect, NextBatch, NotAppended, Offered, Purpose, TailConfig, TailTimer};
use crate::config::Peers;
use crate::log::{AppendError, Appended, Draft, Outcome};

impl<T> Tail<T> {
    /// Queues a draft, which is appended with the others of this turn.
    ///
    /// The owner refuses drafts while the queue [is full](Self::is_full). Where an author cannot be
    /// refused, the owner hands over one more draft and stops reading that author.
    #[must_use]
    pub(crate) fn offer(&mut self, config: &TailConfig, ticket: T, draft: Draft) -> Offered {
        self.appends.push(Queued { ticket, draft });
        if self.appends.in_flight.is_some() || !self.is_open() {
            Offered::Waits
        } else if self.appends.queue.len() >= BATCH_DRAFTS.min(config.drafts_max) {
            Offered::Full
        } else if core::mem::replace(&mut self.appends.ready, true) {
            Offered::Waits
        } else {
            Offered::Ready
        }
    }

    /// Returns the number of drafts that wait, without those in flight.
    pub(crate) fn queued(&self) -> usize {
        self.appends.queue.len()
    }

    pub(crate) fn is_full(&self, config: &TailConfig) -> bool {
        self.queued() >= config.drafts_max
    }

    /// Returns the tickets of the drafts that are not settled.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = &T> {
        let in_flight = self.appends.in_flight.iter().flat_map(|batch| &batch.drafts);
        in_flight.chain(&self.appends.queue).map(|queued| &queued.ticket)
    }

    /// Returns the next batch, for the log to append; `None` if nothing waits or the log still owes
    /// the answer to the batch before. Answered by [`Self::appended`].
    pub(crate) fn end_turn(&mut self, cx: Cx<'_>) -> Option<NextBatch> {
        self.appends.ready = false;
        let appends = &mut self.appends;
        if appends.in_flight.is_some() || appends.queue.is_empty() || !self.is_open() {
            return None;
        }
        let id = self.next_ask(Purpose::Append);
        let appends = &mut self.appends;
        let queued = appends.next_batch();
        let drafts = queued.iter().map(|queued| queued.draft.clone()).collect();
        let due = cx.now.plus(cx.config.append_ms);
        appends.in_flight = Some(Batch { id, due, drafts: queued });
        Some(NextBatch { id, drafts, arm: appends.arm(due) })
    }

    /// Takes the log's answer to a [batch](Self::end_turn): settles each draft and delivers its
    /// entry.
    pub(crate) fn appended(
        &mut self,
        cx: Cx<'_>,
        id: AskId,
        result: Result<Appended, AppendError>,
        out: &mut Vec<Effect<T>>,
    ) {
        debug_assert_eq!(id.purpose, Purpose::Append);
        let Some(mut batch) = self.appends.in_flight.take_if(|batch| batch.id == id) else {
            return self.appended_late(cx, result, out);
        };
        match result {
            Ok(appended) => self.taken(cx, batch.drafts, appended, out),
            Err(AppendError::Refused(_)) => {
                settle_all(&mut batch.drafts, NotAppended::Refused, out);
            }
            Err(AppendError::Unknown(_)) => {
                self.check_head_and_tell(cx, out);
                settle_all(&mut batch.drafts, NotAppended::Unknown, out);
            }
        }
        self.tell_ready(out);
    }

    /// Settles the drafts of a batch that the log has answered, and delivers its new entries.
    fn taken(
        &mut self,
        cx: Cx<'_>,
        mut batch: Vec<Queued<T>>,
        appended: Appended,
        out: &mut Vec<Effect<T>>,
    ) {
        if appended.outcomes.len() < batch.len() {
            self.check_head_and_tell(cx, out);
        }
        let usable = self.compare(cx, &appended.epoch, out);
        let mut committed = Vec::new();
        let mut outcomes = appended.outcomes.iter();
        let mut repeated = false;
        // `pop` then takes the first draft first.
        batch.reverse();
        while let Some(Queued { ticket, draft }) = batch.pop() {
            let ts = draft.ts;
            let outcome = outcomes.next().copied().ok_or(NotAppended::Unknown);
            out.push(Effect::Settled { ticket, ts, outcome });
            let Ok(Outcome::New { seq }) = outcome else {
                repeated = true;
                continue;
            };
            let entry = Arc::new(draft.into_entry(cx.room.clone(), seq));
            if cx.config.peers == Peers::Some {
                committed.push(entry.clone());
            }
            if usable == Usable::Yes {
                self.enter(cx.config.recent, entry, out);
            }
        }
        if usable == Usable::Yes {
            if repeated {
                // This tail may have missed the entry that a draft repeats.
                self.newest.note(appended.last());
            }
            self.check_hole(cx, out);
        }
        if !committed.is_empty() {
            out.push(Effect::Committed { epoch: appended.epoch, entries: committed.into() });
        }
        self.appends.keep(batch);
    }

    /// Takes the answer to an append whose drafts were settled as unknown. If the log has taken
    /// them, it has grown.
    pub(crate) fn appended_late(
        &mut self,
        cx: Cx<'_>,
        result: Result<Appended, AppendError>,
        out: &mut Vec<Effect<T>>,
    ) {
        match result {
            Ok(appended) => {
                let (last, epoch) = (appended.last(), appended.epoch);
                if cx.config.peers == Peers::Some && last > Seq::ZERO {
                    out.push(Effect::Tell { epoch: epoch.clone(), last });
                }
                self.grown(cx, &epoch, last, out);
            }
            Err(AppendError::Unknown(_)) => self.check_head_and_tell(cx, out),
            Err(AppendError::Refused(_)) => {}
        }
    }

    pub(super) fn append_due(&mut self, cx: Cx<'_>, out: &mut Vec<Effect<T>>) {
        self.appends.armed = None;
        match self.appends.in_flight.take_if(|batch| batch.due <= cx.now) {
            Some(mut batch) => {
                out.push(Effect::GaveUp(batch.id));
                self.check_head_and_tell(cx, out);
                settle_all(&mut batch.drafts, NotAppended::Unknown, out);
                self.tell_ready(out);
            }
            None => {
                let due = self.appends.in_flight.as_ref().map(|batch| batch.due);
                if let Some(due) = due.and_then(|due| self.appends.arm(due)) {
                    out.push(Effect::Arm(TailTimer::Append, due));
                }
            }
        }
    }

    /// Tells the owner once that drafts can be appended.
    pub(super) fn tell_ready(&mut self, out: &mut Vec<Effect<T>>) {
        let Appends { queue, in_flight, ready, .. } = &self.appends;
        if !*ready && in_flight.is_none() && !queue.is_empty() && self.is_open() {
            self.appends.ready = true;
            out.push(Effect::Ready);
        }
    }
}
