//! Delivering entries in order, wherever they come from.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{Entry, Epoch, Seq};

use super::state::{Log, Open, Tail};
use super::{Bounds, Cx, Effect};

/// Whether something that was said about a log can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usable {
    Yes,
    /// It is about another log than the open one, or that is not known yet.
    No,
}

impl<T> Tail<T> {
    /// Takes entries that a peer has appended.
    pub(crate) fn committed(
        &mut self,
        cx: Cx<'_>,
        epoch: &Epoch,
        entries: &[Arc<Entry>],
        out: &mut Vec<Effect<T>>,
    ) {
        self.take_in(cx, epoch, entries.iter().cloned(), Seq::ZERO, out);
    }

    /// Takes a hint that the log has an entry at `last`.
    pub(crate) fn grown(&mut self, cx: Cx<'_>, epoch: &Epoch, last: Seq, out: &mut Vec<Effect<T>>) {
        self.take_in(cx, epoch, [], last, out);
    }

    /// Takes entries of a log that has grown up to `last` at least.
    pub(super) fn take_in(
        &mut self,
        cx: Cx<'_>,
        epoch: &Epoch,
        entries: impl IntoIterator<Item = Arc<Entry>>,
        last: Seq,
        out: &mut Vec<Effect<T>>,
    ) {
        if self.compare(cx, epoch, out) == Usable::No {
            return;
        }
        for entry in entries {
            self.enter(cx.config.recent, entry, out);
        }
        self.newest.note(last);
        self.check_hole(cx, out);
    }

    /// Compares an epoch that an append or a peer has named with that of the log. Neither proves
    /// that the log was replaced, since both may be late: only the log's head can tell.
    pub(super) fn compare(
        &mut self,
        cx: Cx<'_>,
        epoch: &Epoch,
        out: &mut Vec<Effect<T>>,
    ) -> Usable {
        match &mut self.log {
            Log::Open(open) if open.epoch == *epoch => Usable::Yes,
            Log::Open(_) => {
                self.check_head(cx, out);
                Usable::No
            }
            Log::Opening(opening) => {
                if opening.has_named(epoch) {
                    Usable::Yes
                } else {
                    self.doubt();
                    Usable::No
                }
            }
        }
    }

    /// Delivers an entry whose turn has come, and those that waited for it. One that comes before
    /// its turn waits, one that comes again is ignored.
    ///
    /// *Invariant:* only this function, `enter_waiting` and `skip_trimmed` move the cursor of an
    /// open log.
    pub(super) fn enter(&mut self, recent: Bounds, entry: Arc<Entry>, out: &mut Vec<Effect<T>>) {
        self.newest.note(entry.seq);
        let Log::Open(Open { cursor, .. }) = &mut self.log else {
            return self.keep_for_later(entry, out);
        };
        if entry.seq <= *cursor {
            return;
        }
        if entry.seq != cursor.next() {
            return self.keep_for_later(entry, out);
        }
        *cursor = entry.seq;
        self.recent.push(entry.clone(), recent);
        out.push(Effect::Deliver(entry));
        if !self.out_of_order.is_empty() {
            self.enter_waiting(recent, out);
        }
    }

    fn keep_for_later(&mut self, entry: Arc<Entry>, out: &mut Vec<Effect<T>>) {
        self.out_of_order.insert(entry);
        while let Some(seq) = self.out_of_order.drop_excess() {
            out.push(Effect::EntryDropped(seq));
        }
    }

    /// Delivers the waiting entries whose turn has come.
    pub(super) fn enter_waiting(&mut self, recent: Bounds, out: &mut Vec<Effect<T>>) {
        let Log::Open(Open { cursor, .. }) = &mut self.log else { return };
        while let Some(entry) = self.out_of_order.take(cursor.next()) {
            *cursor = entry.seq;
            self.recent.push(entry.clone(), recent);
            out.push(Effect::Deliver(entry));
        }
    }

    /// Moves the cursor over entries that the log has trimmed.
    pub(super) fn skip_trimmed(&mut self, first: Seq, out: &mut Vec<Effect<T>>) {
        let Log::Open(Open { cursor, .. }) = &mut self.log else {
            unreachable!("only an open log is read");
        };
        let (from, to) = (cursor.next(), first.minus(1));
        if from <= to {
            *cursor = to;
            self.newest.note(to);
            self.recent.clear();
            out.push(Effect::Skipped { from, to });
        }
    }
}
