//! Appending drafts, one batch at a time.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::Seq;

use super::appends::{Appends, BATCH_DRAFTS, Batch, Queued, settle_all};
use super::state::Tail;
use super::{Ask, AskId, Cx, Effect, NotAppended, Purpose};
use crate::config::Peers;
use crate::log::{AppendError, Appended, Draft, Outcome};

impl<T> Tail<T> {
    /// Takes a draft, to be appended with the others of this turn.
    ///
    /// The owner refuses drafts while the queue [is full](Self::is_full). Where an author cannot be
    /// refused, the owner hands over one more draft and stops reading that author.
    pub(crate) fn offer(&mut self, cx: Cx<'_>, ticket: T, draft: Draft, out: &mut Vec<Effect<T>>) {
        self.appends.push(Queued { ticket, draft });
        if self.appends.in_flight.is_some() || !self.is_open() {
            return;
        }
        if self.appends.queue.len() >= BATCH_DRAFTS.min(cx.config.drafts_max) {
            // Waiting for the end of the turn would not make the batch larger.
            self.end_turn(cx, out);
        } else {
            self.tell_ready(out);
        }
    }

    /// Returns the number of drafts that wait, without those in flight.
    pub(crate) fn queued(&self) -> usize {
        self.appends.queue.len()
    }

    pub(crate) fn is_full(&self, cx: Cx<'_>) -> bool {
        self.queued() >= cx.config.drafts_max
    }

    /// Returns the tickets of the drafts that are not settled.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = &T> {
        let in_flight = self.appends.in_flight.iter().flat_map(|batch| &batch.drafts);
        in_flight.chain(&self.appends.queue).map(|queued| &queued.ticket)
    }

    /// Asks the log to append the next batch, unless it still owes the answer to the one before.
    pub(crate) fn end_turn(&mut self, cx: Cx<'_>, out: &mut Vec<Effect<T>>) {
        self.appends.ready = false;
        let appends = &mut self.appends;
        if appends.in_flight.is_some() || appends.queue.is_empty() || !self.is_open() {
            return;
        }
        let id = self.next_ask(Purpose::Append);
        let appends = &mut self.appends;
        let batch = appends.next_batch();
        let drafts = batch.iter().map(|queued| queued.draft.clone()).collect();
        let due = cx.now.plus(cx.config.append_ms);
        appends.in_flight = Some(Batch { id, due, drafts: batch });
        appends.arm(due, out);
        out.push(Effect::Ask(id, Ask::Append(drafts)));
    }

    /// Takes the log's answer to [`Ask::Append`]: settles the drafts, then delivers the entries.
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

    /// The log has taken a batch.
    fn taken(
        &mut self,
        cx: Cx<'_>,
        mut batch: Vec<Queued<T>>,
        appended: Appended,
        out: &mut Vec<Effect<T>>,
    ) {
        let last = appended.last();
        let Appended { epoch, outcomes } = appended;
        let count = batch.len();
        if outcomes.len() < count {
            self.check_head_and_tell(cx, out);
        }
        let mut outcomes = outcomes.into_iter();
        let mut entries = core::mem::take(&mut self.appends.entries);
        for Queued { ticket, draft } in batch.drain(..) {
            let ts = draft.ts;
            let outcome = outcomes.next().ok_or(NotAppended::Unknown);
            out.push(Effect::Settled { ticket, ts, outcome });
            if let Ok(Outcome::New { seq }) = outcome {
                entries.push(Arc::new(draft.into_entry(cx.room.clone(), seq)));
            }
        }
        if cx.config.peers == Peers::Some && !entries.is_empty() {
            let entries = entries.as_slice().into();
            out.push(Effect::Committed { epoch: epoch.clone(), entries });
        }
        // A duplicate's first entry may have been missed here; an entry of this batch was not.
        let grown = if entries.len() < count { last } else { Seq::ZERO };
        self.take_in(cx, &epoch, entries.drain(..), grown, out);
        self.appends.keep(batch, entries);
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
                if let Some(due) = self.appends.in_flight.as_ref().map(|batch| batch.due) {
                    self.appends.arm(due, out);
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
