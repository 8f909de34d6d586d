//! A connection as the adapter has it, and the peer at its other end.
use std::collections::VecDeque;

use chat_proto::{CloseCode, Dialect, Token as Credentials, UserId};
use chat_state::ConnId;

use super::check::View;
use super::script::Kind;
use crate::adapter::Port;

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

/// How a peer comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    pub(super) hub: usize,
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    /// `None`: a guest.
    pub(super) credentials: Option<&'a Credentials>,
}

/// One connection and its peer.
#[derive(Debug)]
pub struct Conn {
    /// What the peer is called.
    pub name: String,
    /// The user, where an authority says so; `None`: a guest.
    pub user: Option<UserId>,
    /// The last credential that the peer has brought.
    pub credentials: Option<Credentials>,
    /// The connection that began its session; its own index if it is the first one.
    pub root: usize,
    /// Its Hub.
    pub hub: usize,
    /// Its codec and its outbox.
    pub port: Port,
    /// Whether frames can travel.
    pub link: Link,
    /// Whether the peer reads.
    pub reading: bool,
    /// What the peer has sent and the Hub has not taken.
    pub input: VecDeque<String>,
    /// What the peer has been told.
    pub view: View,
}

impl Conn {
    /// Returns what the Hub calls it.
    ///
    /// # Panics
    /// If no Hub has accepted it.
    #[must_use]
    pub fn id(&self) -> ConnId {
        self.port.conn.expect("a Hub has accepted it")
    }

    /// Returns the dialect that the peer speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.port.dialect()
    }

    /// Tells whether the Hub may be given what the peer sends.
    #[must_use]
    pub fn can_send(&self) -> bool {
        self.link == Link::Open && self.port.is_read()
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
