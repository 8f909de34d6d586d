//! The requests in flight.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use chat_proto::{RequestId, RoomName};

use super::event::Ticket;

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Hello,
    Auth,
    Join(RoomName),
    Leave(RoomName),
    Message(RoomName),
    Page(RoomName),
    Query(Ticket),
}

/// The unanswered requests of the present connection. Bounded by the Client's limit of requests in
/// flight.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Never reset, so that a reply to an earlier connection's request matches nothing.
    last: u64,
    open: BTreeMap<u64, Purpose>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Adds a request and returns its number.
    pub(super) fn add(&mut self, purpose: Purpose) -> u64 {
        self.last += 1;
        self.open.insert(self.last, purpose);
        self.last
    }

    pub(super) fn take(&mut self, request: u64) -> Option<Purpose> {
        self.open.remove(&request)
    }

    pub(super) fn find(&self, id: &RequestId) -> Option<(u64, Purpose)> {
        let request = id.parse().ok()?;
        Some((request, self.open.get(&request)?.clone()))
    }

    /// Forgets all requests and returns their numbers.
    pub(super) fn clear(&mut self) -> Vec<u64> {
        core::mem::take(&mut self.open).into_keys().collect()
    }
}
