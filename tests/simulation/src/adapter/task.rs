//! What a Hub asks for, in terms of the adapter's owner.
use chat_proto::{CloseCode, RoomName, ServerFrame, Token as Credentials};
use chat_state::{CloseReason, Draft, Event, Noted, ReadRange, Signal, SignalTo, Token};

/// Something to do. Connections are named by the owner's keys.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are those of the actions")]
pub enum Task {
    /// Put a frame into outboxes.
    Send { to: Vec<usize>, frame: ServerFrame },
    /// Ask for a sign of life.
    Probe(usize),
    /// Flush the outbox and close the connection; then report that it is gone.
    Close { key: usize, code: CloseCode, reason: CloseReason },
    /// Read no further frames.
    Pause(usize),
    /// Read on.
    Unpause(usize),
    /// Report when the outbox is below its low-water mark.
    AwaitDrain(usize),
    /// Ask the authority whose credentials these are.
    Authenticate { token: Token, key: usize, credentials: Credentials },
    /// Ask the log.
    Ask(Question),
    /// Tell other Hubs.
    Signal { to: SignalTo, signal: Signal },
    /// Nothing to do: the adapter keeps what a Hub follows.
    Followed(RoomName),
    /// Nothing to do.
    Unfollowed(RoomName),
    /// Nothing to do: for traces.
    Note(Noted),
    /// Nothing to do: the adapter keeps whether a Hub is drained.
    DrainedAll,
}

/// What a Hub asks its log.
#[derive(Clone, Debug)]
pub enum Question {
    /// To take drafts.
    Append(Token, RoomName, Vec<Draft>),
    /// For the ends of a room.
    Head(Token, RoomName),
    /// For entries.
    Load(Token, RoomName, ReadRange),
    /// Nothing more: this answer is ready.
    Answered(Event),
}
