//! One connection as an adapter has it: the codec, the outbox and its marks.
use std::collections::VecDeque;

use chat_proto::{CloseCode, Decoder, Dialect, Encoded, ServerFrame};
use chat_state::{ConnId, Event};

/// Something that waits in an outbox.
#[derive(Clone, Debug)]
pub enum Item {
    /// A frame.
    Frame(Encoded),
    /// A mark, not sent: the Hub has handled the `leave` of a `basic` client, which has no reply.
    Left,
    /// The end of the connection, with its close code.
    Close(CloseCode),
}

/// A connection.
#[derive(Debug)]
pub struct Port {
    /// The Hub's id; `None` before the Hub has accepted it and after the Hub has forgotten it.
    pub conn: Option<ConnId>,
    /// Decodes what the peer sends.
    pub decoder: Decoder,
    /// What waits for the peer.
    pub outbox: VecDeque<Item>,
    /// The bytes of the frames in the outbox.
    pub bytes: usize,
    /// The Hub has asked not to read the connection.
    pub is_paused: bool,
    /// The Hub was told [`Event::Congested`].
    pub is_congested: bool,
    /// The Hub waits for [`Event::Drained`].
    pub awaits_drain: bool,
}

impl Port {
    /// Makes a connection that no Hub has accepted.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self {
            conn: None,
            decoder: Decoder::new(dialect),
            outbox: VecDeque::new(),
            bytes: 0,
            is_paused: false,
            is_congested: false,
            awaits_drain: false,
        }
    }

    /// Returns the dialect that the peer speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.decoder.dialect()
    }

    /// Returns true if the Hub may be given what the peer sends.
    #[must_use]
    pub fn is_read(&self) -> bool {
        !self.is_paused && !self.is_congested
    }

    /// Decodes a text from the peer into an event.
    pub fn received(&mut self, conn: ConnId, text: &str) -> Event {
        match self.decoder.decode(text) {
            Ok(frame) => Event::Received { conn, frame },
            Err(error) => Event::Malformed { conn, error, dialect: self.dialect() },
        }
    }

    /// Encodes a frame for the peer, if its dialect has one.
    #[must_use]
    pub fn encoded(&self, frame: &ServerFrame) -> Option<Item> {
        frame.encode(self.dialect()).map(Item::Frame)
    }

    /// Puts something into the outbox.
    pub fn put(&mut self, item: Item) {
        if let Item::Frame(encoded) = &item {
            self.bytes += encoded.as_str().len();
        }
        self.outbox.push_back(item);
    }

    /// Takes the oldest item of the outbox.
    pub fn pull(&mut self) -> Option<Item> {
        let item = self.outbox.pop_front()?;
        if let Item::Frame(encoded) = &item {
            self.bytes -= encoded.as_str().len();
        }
        Some(item)
    }

    /// Empties the outbox.
    pub fn clear(&mut self) {
        self.outbox.clear();
        self.bytes = 0;
    }

    /// Returns the event that the Hub has to get if the outbox has crossed a mark.
    pub fn water(&mut self, high: usize) -> Option<Event> {
        let conn = self.conn?;
        if (self.is_congested || self.awaits_drain) && self.bytes <= high / 2 {
            (self.is_congested, self.awaits_drain) = (false, false);
            Some(Event::Drained { conn })
        } else if !self.is_congested && self.bytes > high {
            self.is_congested = true;
            Some(Event::Congested { conn })
        } else {
            None
        }
    }

    /// Records that the Hub has forgotten the connection.
    pub fn forget(&mut self) {
        self.conn = None;
        (self.is_paused, self.is_congested, self.awaits_drain) = (false, false, false);
    }
}
