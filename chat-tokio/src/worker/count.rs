//! What a worker counts of what passes, and what it tells when it is looked at.
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use chat_proto::{BasicRequest, Body, ClientFrame, Entry, LeaveReason, Request};
use chat_state::ConnId;

use super::Worker;
use crate::metrics::{Gauges, place_of};

/// The one message whose way is measured.
pub(super) struct Sample {
    /// Its text; the entry that is made of it shares it.
    content: Arc<str>,
    received: Duration,
    reached: Reached,
}

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    Worker,
    /// It is in the log, and its event is to go out.
    Commit,
    Outboxes,
}

/// A message that was not delivered by then never is, or is given up by those who wait for it.
const SAMPLE_TIME_MAX: Duration = Duration::from_secs(60);

impl Worker {
    /// Begins to measure a message's way, if no other is on its own.
    pub(super) fn sample(&mut self, frame: &ClientFrame) {
        let content = match frame {
            ClientFrame::Basic(BasicRequest::Message { content })
            | ClientFrame::V1 { request: Request::Message { content, .. }, .. } => content,
            ClientFrame::Basic(_) | ClientFrame::V1 { .. } => return,
        };
        // Refused, repeated or taken with nobody to see it: then nobody else has the text.
        if self.sample.as_ref().is_some_and(|sample| Arc::strong_count(&sample.content) > 1) {
            let Some(sample) = &self.sample else { return };
            if self.clock.since_start().saturating_sub(sample.received) < SAMPLE_TIME_MAX {
                return;
            }
        }
        let received = self.clock.since_start();
        self.sample = Some(Sample { content: content.clone(), received, reached: Reached::Worker });
    }

    /// An entry is to go to a room's members.
    pub(super) fn sample_committed(&mut self, entry: &Entry) {
        let Some(sample) = self.sample.as_mut() else { return };
        if let Body::Message { content, .. } = &entry.body
            && sample.reached == Reached::Worker
            && Arc::ptr_eq(content, &sample.content)
        {
            sample.reached = Reached::Commit;
            self.counts.commit.note(self.clock.since_start().saturating_sub(sample.received));
        }
    }

    /// All that was gathered is in outboxes.
    pub(super) fn sample_enqueued(&mut self) {
        if let Some(sample) = self.sample.as_mut()
            && sample.reached == Reached::Commit
        {
            sample.reached = Reached::Outboxes;
            self.counts.enqueue.note(self.clock.since_start().saturating_sub(sample.received));
        }
    }

    /// All outboxes were written, as far as they let themselves.
    pub(super) fn sample_written(&mut self) {
        if let Some(sample) = self.sample.take_if(|sample| sample.reached == Reached::Outboxes) {
            self.counts.write.note(self.clock.since_start().saturating_sub(sample.received));
        }
    }

    /// A connection has ended from the other side.
    pub(super) fn note_gone(&mut self, conn: ConnId, why: LeaveReason) {
        let counts = &self.counts;
        let count = if why == LeaveReason::Left { &counts.left } else { &counts.lost };
        count.add(1);
        self.tracer.gone(conn);
    }

    /// Looks at each connection and each room.
    pub(super) fn gauges(&self) -> Gauges {
        let stats = self.hub.stats();
        let mut gauges = Gauges {
            answered: true,
            sessions: stats.sessions as u64,
            away: stats.away as u64,
            rooms: stats.rooms as u64,
            members: self.hub.members(),
            catch_ups: self.hub.catch_ups(),
            busy: self.counts.busy(self.clock.since_start()),
            ..Gauges::default()
        };
        for slot in self.slots.iter() {
            gauges.connections[place_of(slot.decoder.dialect())] += 1;
            gauges.outbox_bytes += slot.outbox.remaining() as u64;
            gauges.congested += u64::from(slot.congested);
        }
        gauges
    }
}
