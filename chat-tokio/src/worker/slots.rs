//! The table of connections.
use std::sync::Arc;
use std::task::Waker;

use bytes::{Buf, Bytes};
use chat_proto::{CloseCode, Decoder, Dialect, LeaveReason};
use chat_state::ConnId;

use crate::accept::{Place, Stranger};
use crate::outbox::Outbox;
use crate::transport::{Framing, Transport};

/// One connection as its worker sees it.
pub(super) struct Slot {
    pub(super) outbox: Outbox,
    pub(super) decoder: Decoder,
    pub(super) framing: Framing,
    pub(super) phase: Phase,
    /// It is in the list of outboxes to flush.
    dirty: bool,
    /// The transport took no more: its task waits until it does.
    pub(super) blocked: bool,
    /// The Hub was told that the outbox is over its mark.
    pub(super) congested: bool,
    /// The Hub wants to be told when the outbox has room.
    pub(super) awaited: bool,
    /// The Hub wants nothing to be read.
    pub(super) paused: bool,
    pub(super) transport: Box<dyn Transport>,
    /// Wakes the connection's task.
    pub(super) waker: Option<Waker>,
    /// Held until the connection has said `hello`, if it has to.
    pub(super) stranger: Option<Box<Stranger>>,
    /// Held until the connection has ended.
    _place: Option<Arc<Place>>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// What waits is still sent, then the transport is closed. The Hub sends nothing more.
    Flushing(CloseCode),
    /// The transport says goodbye.
    Closing(CloseCode),
    /// The transport is of no use any more, for this reason.
    Gone(LeaveReason),
}

impl Slot {
    pub(super) fn new(
        transport: Box<dyn Transport>,
        dialect: Dialect,
        framing: Framing,
        place: Option<Arc<Place>>,
    ) -> Self {
        // In `basic` there is nothing to be said first.
        let stranger = place.as_ref().filter(|_| dialect == Dialect::V1);
        let stranger = stranger.and_then(|place| place.await_hello()).map(Box::new);
        Self {
            outbox: Outbox::default(),
            decoder: Decoder::new(dialect),
            framing,
            phase: Phase::Open,
            dirty: false,
            blocked: false,
            congested: false,
            awaited: false,
            paused: false,
            transport,
            waker: None,
            stranger,
            _place: place,
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Tells whether the next frame may be read. What is not read is the peer's to keep: a
    /// connection whose replies pile up asks for nothing more.
    pub(super) fn may_read(&self) -> bool {
        self.phase == Phase::Open && !self.paused && !self.congested
    }

    /// Tells whether a watched outbox is below its low-water mark.
    pub(super) fn has_drained(&self, low_water: usize) -> bool {
        (self.congested || self.awaited) && self.outbox.remaining() <= low_water
    }
}

/// All connections of a worker, by the slot of the Hub's id, so sending never searches.
///
/// A connection is in the table from [`Hub::connect`](chat_state::Hub::connect) until the Hub is
/// told [`Disconnected`](chat_state::Event::Disconnected).
#[derive(Default)]
pub(super) struct Slots {
    /// Each with the generation of its last connection.
    slots: Vec<(u32, Option<Slot>)>,
    dirty: Vec<ConnId>,
}

impl Slots {
    pub(super) fn insert(&mut self, conn: ConnId, slot: Slot) {
        let index = conn.slot as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || (0, None));
        }
        let place = &mut self.slots[index];
        assert!(place.1.is_none(), "the Hub issued an id that is in use");
        *place = (conn.generation, Some(slot));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter_map(|(_, slot)| slot.as_ref())
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Slot> {
        let (generation, slot) = self.slots.get_mut(conn.slot as usize)?;
        if *generation == conn.generation { slot.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Slot> {
        let (generation, place) = self.slots.get_mut(conn.slot as usize)?;
        if *generation != conn.generation {
            return None;
        }
        place.take()
    }

    /// Puts a connection on the list to flush, once.
    pub(super) fn mark_dirty(&mut self, conn: ConnId) {
        if let Some(slot) = self.get_mut(conn)
            && !std::mem::replace(&mut slot.dirty, true)
        {
            self.dirty.push(conn);
        }
    }

    /// Appends to an open connection's outbox what there is in its dialect and framing, and marks
    /// it dirty; answers the dialect and the bytes that wait.
    pub(super) fn push<'a>(
        &mut self,
        conn: ConnId,
        frames: impl FnOnce(Dialect, Framing) -> &'a [Bytes],
    ) -> Option<(Dialect, usize)> {
        let (generation, slot) = self.slots.get_mut(conn.slot as usize)?;
        let slot = slot.as_mut().filter(|slot| slot.phase == Phase::Open)?;
        if *generation != conn.generation {
            return None;
        }
        let dialect = slot.decoder.dialect();
        for frame in frames(dialect, slot.framing) {
            slot.outbox.push(frame.clone());
            if !std::mem::replace(&mut slot.dirty, true) {
                self.dirty.push(conn);
            }
        }
        Some((dialect, slot.outbox.remaining()))
    }

    /// Appends to an open connection's outbox as [`push`](Self::push) does, for somebody who
    /// flushes it right away.
    pub(super) fn push_unlisted<'a>(
        &mut self,
        conn: ConnId,
        frames: impl FnOnce(Dialect, Framing) -> &'a [Bytes],
    ) -> Option<&mut Slot> {
        let slot = self.get_mut(conn).filter(|slot| slot.phase == Phase::Open)?;
        for frame in frames(slot.decoder.dialect(), slot.framing) {
            slot.outbox.push(frame.clone());
        }
        Some(slot)
    }

    /// Takes the list to flush. Each has to be [cleaned](Self::clean) as it is flushed: a pass of
    /// its own would fetch all of them from memory once more.
    pub(super) fn take_dirty(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.dirty)
    }

    /// Notes that a connection is on no list any more.
    pub(super) fn clean(&mut self, conn: ConnId) {
        if let Some(slot) = self.get_mut(conn) {
            slot.dirty = false;
        }
    }

    /// Gives a list back, so that its memory serves the next turn.
    pub(super) fn reuse(&mut self, mut list: Vec<ConnId>) {
        if self.dirty.is_empty() && self.dirty.capacity() < list.capacity() {
            list.clear();
            self.dirty = list;
        }
    }

    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }
}
