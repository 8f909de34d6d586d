//! A connection as the adapter has it, and the peer at its other end.
use std::collections::VecDeque;

use chat_proto::{CloseCode, Decoder, Encoded};
use chat_state::{AddressKey, ConnId};

use super::check::View;

/// Whether frames can travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// They can.
    Open,
    /// The transport is gone; the Hub may not know it yet.
    Gone,
    /// The Hub has closed it.
    Closed(CloseCode),
}

/// What waits for a peer.
#[derive(Clone, Debug)]
pub enum Item {
    /// A frame.
    Frame(Encoded),
    /// Not on the wire: here the Hub has taken a `basic` peer's `leave`, which has no reply.
    Left,
}

/// One connection and its peer.
#[derive(Debug)]
pub struct Conn {
    /// What the peer is called.
    pub name: String,
    /// The connection that began its session; its own index if it is the first one.
    pub root: usize,
    /// Its Hub.
    pub hub: usize,
    /// Its id there.
    pub id: ConnId,
    /// Reads what it sends.
    pub decoder: Decoder,
    /// Whether frames can travel.
    pub link: Link,
    /// What waits for the peer.
    pub outbox: VecDeque<Item>,
    /// The bytes of it.
    pub bytes: usize,
    /// Whether the peer reads.
    pub reading: bool,
    /// The Hub was told [`Event::Congested`](chat_state::Event::Congested).
    pub congested: bool,
    /// The Hub waits for [`Event::Drained`](chat_state::Event::Drained).
    pub awaiting: bool,
    /// The Hub wants no frames.
    pub paused: bool,
    /// What the peer has sent and the Hub has not taken.
    pub input: VecDeque<String>,
    /// What the peer has been told.
    pub view: View,
    /// The address that it comes from, if that counts.
    pub peer: Option<AddressKey>,
}

impl Conn {
    /// Tells whether the Hub may be given what the peer sends.
    #[must_use]
    pub fn can_send(&self) -> bool {
        self.link == Link::Open && !self.paused && !self.congested
    }

    /// Tells why the Hub closed it.
    #[must_use]
    pub fn closed(&self) -> Option<CloseCode> {
        match self.link {
            Link::Closed(code) => Some(code),
            Link::Open | Link::Gone => None,
        }
    }
}
