//! What can happen to a Client, and what it asks its driver to do.
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{
    Advice, Entry, Epoch, ErrorBody, HistoryRange, Key, LeaveReason, Member, MembersView, Page,
    Request, RequestId, RoomName, RoomSummary, Seq, ServerFrame, Timestamp, Token, UserId, Welcome,
};

use crate::ids::Mono;

/// A transport that the Client has asked for. Ids increase; events of an older transport are
/// ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// The application's id for a message or query. It comes back exactly once, in
/// [`Delivery::Settled`], and must not be used again before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Connects, and stays connected. Ignored unless the Client is idle or stopped.
    Start,
    /// Closes with 1000, settles every ticket, and forgets all rooms and the session.
    Stop,
    /// The requested transport is ready.
    Opened {
        /// The transport.
        link: LinkId,
    },
    /// A frame arrived.
    Received {
        /// The transport that it arrived on.
        link: LinkId,
        /// The decoded frame.
        frame: ServerFrame,
    },
    /// A text arrived that is not a valid frame.
    Malformed {
        /// The transport that it arrived on.
        link: LinkId,
    },
    /// Other traffic arrived, such as a WebSocket ping or pong. It counts as a sign of life.
    Alive {
        /// The transport that it arrived on.
        link: LinkId,
    },
    /// The transport has ended, or could not be opened.
    Closed {
        /// The transport.
        link: LinkId,
        /// The close code, if there was one.
        code: Option<u16>,
    },
    /// The device woke up or the network returned. Probes the connection, or connects at once.
    Wake,
    /// Supplies a credential, in answer to [`Action::NeedToken`] or at any other time. If the
    /// present credential is about to expire, the new one replaces it on the same connection.
    Token {
        /// `None` if no credential is available.
        token: Option<Token>,
    },
    /// Joins a room, and joins it again after every reconnect until [`Event::Leave`].
    Join {
        /// The room.
        room: RoomName,
    },
    /// Leaves a room after its queued messages are settled.
    Leave {
        /// The room.
        room: RoomName,
    },
    /// Sends a message to a room that the application has joined.
    Send {
        /// Settled with [`Outcome::Acked`] or with the reason for the failure.
        ticket: Ticket,
        /// The room.
        room: RoomName,
        /// A fresh idempotency key with at least 64 random bits.
        key: Key,
        /// The text.
        content: Arc<str>,
        /// The entry that the message answers.
        reply_to: Option<Seq>,
    },
    /// Sends a message that an earlier process has saved. Its room must be joined before.
    Restore {
        /// Settled as for [`Event::Send`].
        ticket: Ticket,
        /// The message, from [`Client::saved_messages`](super::Client::saved_messages).
        message: Box<SavedMessage>,
    },
    /// Reads something from the server. The query is repeated after a reconnect until it times out.
    Query {
        /// Settled with the answer or with the reason for the failure.
        ticket: Ticket,
        /// What to read.
        query: Query,
    },
    /// The user has started or stopped typing. Dropped if it cannot be sent at once.
    Typing {
        /// The room.
        room: RoomName,
        /// True if the user has started.
        active: bool,
    },
}

/// What an application can read from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Reads entries of a room ([`Outcome::Page`]). They are not delivered as entries.
    History {
        /// The room.
        room: RoomName,
        /// The part of the history.
        range: HistoryRange,
        /// The largest number of entries; `None` means the server's limit.
        limit: Option<u32>,
    },
    /// Reads the members of a room ([`Outcome::Members`]).
    Members {
        /// The room.
        room: RoomName,
    },
    /// Reads the list of rooms ([`Outcome::Rooms`]).
    Rooms {
        /// Continues after this room.
        after: Option<RoomName>,
    },
}

/// A message that is not settled yet, in the form in which a later process can continue it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedMessage {
    /// The room.
    pub room: RoomName,
    /// The idempotency key.
    pub key: Key,
    /// The text.
    pub content: Arc<str>,
    /// The entry that the message answers.
    pub reply_to: Option<Seq>,
    /// Wall-clock time at which the message was queued. Only a restart uses it: the monotonic clock
    /// of the earlier process has no meaning in the later one.
    pub queued: Timestamp,
    /// The user who queued the message; `None` if no `welcome` had come yet. A Client that signs in
    /// as another user does not send it. It settles it with `forbidden`.
    pub owner: Option<UserId>,
    /// The user as whom the message was last sent; `None` if it was never sent.
    pub sent_as: Option<UserId>,
}

/// What the driver has to do, in order.
pub type Actions = VecDeque<Action>;

/// Something that the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a transport; answer with [`Event::Opened`] or [`Event::Closed`].
    Open {
        /// The id of the transport.
        link: LinkId,
    },
    /// Send a request.
    Transmit {
        /// The transport.
        link: LinkId,
        /// The request id, which the reply repeats.
        id: Option<RequestId>,
        /// The request.
        request: Request,
    },
    /// Flush, close and forget the transport. Its later events are ignored.
    Close {
        /// The transport.
        link: LinkId,
        /// The close code for the server.
        code: u16,
    },
    /// Get a fresh credential and answer with [`Event::Token`]: the last one was refused or is
    /// about to expire.
    NeedToken,
    /// Hand this to the application.
    Deliver(Delivery),
}

/// What the application receives, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The state of the connection has changed.
    State(State),
    /// The server has accepted the session. The Client has handled its `rooms` already.
    Welcome(Box<Welcome>),
    /// The session has become a member of the room, for the first time or again; entries follow.
    Joined {
        /// The room, as the server spells it.
        room: RoomName,
        /// The epoch of the room's log.
        epoch: Epoch,
        /// True if the position starts anew: the next entry does not continue an earlier one.
        /// Otherwise the next entry follows the last one that was delivered.
        fresh: bool,
        /// The members; `None` after a recovery, where [`Delivery::Members`] follows.
        members: Option<MembersView>,
        /// If `fresh`: true if there are entries before the first one that follows.
        has_more_before: bool,
    },
    /// The room's next entry. Within an epoch each entry is delivered once and follows the one
    /// before, except for those that a [`Delivery::Lost`] names.
    Entry(Arc<Entry>),
    /// These entries no longer exist; the next entry is the one after `to`.
    Lost {
        /// The room.
        room: RoomName,
        /// The first lost entry.
        from: Seq,
        /// The last lost entry.
        to: Seq,
    },
    /// The room has another log: the entries delivered so far are void. A [`Delivery::Joined`] that
    /// is `fresh` follows.
    Reset {
        /// The room.
        room: RoomName,
        /// The epoch of the new log.
        epoch: Epoch,
    },
    /// The session is no longer a member, and the Client does not join again on its own.
    Left {
        /// The room.
        room: RoomName,
        /// The reason.
        why: LeftReason,
    },
    /// The members of a room. Replaces what was known before.
    Members {
        /// The room.
        room: RoomName,
        /// All members, or some of them with their total number.
        view: MembersView,
    },
    /// The number of members of a room that is too large to list. Members listed before may be
    /// gone.
    Presence {
        /// The room.
        room: RoomName,
        /// The number of members.
        count: u64,
    },
    /// A member has joined.
    MemberJoined {
        /// The room.
        room: RoomName,
        /// The member.
        member: Member,
    },
    /// A member has left.
    MemberLeft {
        /// The room.
        room: RoomName,
        /// The member.
        member: Member,
        /// The reason.
        reason: LeaveReason,
    },
    /// A member has started or stopped typing.
    Typing {
        /// The room.
        room: RoomName,
        /// The member.
        member: Member,
        /// True if the member has started.
        active: bool,
    },
    /// The result of a message or query. Each ticket is settled exactly once.
    Settled {
        /// The ticket.
        ticket: Ticket,
        /// The result.
        outcome: Outcome,
    },
}

/// The state of the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The Client was never started.
    #[default]
    Idle,
    /// The Client waits for a transport, the reply to `hello`, or a credential.
    Connecting,
    /// The server has accepted the session.
    Online,
    /// The next attempt is scheduled.
    Waiting {
        /// The time of the next attempt.
        until: Mono,
    },
    /// No attempt is made before [`Event::Start`]. Rooms and messages are kept, unless the
    /// application has stopped the Client.
    Stopped {
        /// The reason.
        why: StopReason,
    },
}

/// Why a Client does not reconnect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The application asked for it. Nothing is kept.
    Asked,
    /// The credential was refused, and there is no other or the other was refused too.
    Unauthorized,
    /// The server refuses the `hello` permanently.
    Refused(Box<ErrorBody>),
    /// The close code forbids reconnecting: something must be fixed first, or another connection
    /// has taken over the session.
    Closed {
        /// The close code.
        code: u16,
        /// [`Advice::FixFirst`] or [`Advice::StayAway`].
        advice: Advice,
    },
    /// The server said `bye` and asked not to reconnect.
    Bye {
        /// The reason that the server gave.
        code: String,
    },
}

/// Why a room was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftReason {
    /// The application asked for it.
    Asked,
    /// The server refuses the membership, or has ended it.
    Refused(Box<ErrorBody>),
    /// The limit [`Config::rooms`](super::Config::rooms) is reached.
    TooMany,
    /// The Client was stopped.
    Stopped,
}

/// The result of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The message is in the log.
    Acked {
        /// Its seq.
        seq: Seq,
        /// When the server accepted it.
        ts: Timestamp,
        /// True if an earlier attempt had stored it.
        duplicate: bool,
    },
    /// The server refuses the request permanently, or the Client does for the same reason. A
    /// message is not in the log.
    Refused(Box<ErrorBody>),
    /// The message cannot be sent again, and the result of an earlier attempt is unknown: it may be
    /// in the log or not.
    Unknown(Box<ErrorBody>),
    /// A limit of the Client is reached; nothing was sent.
    Full,
    /// The time is up. A message may be in the log or not.
    Expired,
    /// The Client was stopped. A message may be in the log or not.
    Stopped,
    /// The answer to [`Query::History`].
    Page(Box<Page>),
    /// The answer to [`Query::Members`].
    Members(MembersView),
    /// The answer to [`Query::Rooms`].
    Rooms {
        /// The rooms, ordered by name.
        rooms: Vec<RoomSummary>,
        /// True if there are more after the last one.
        has_more: bool,
    },
}
