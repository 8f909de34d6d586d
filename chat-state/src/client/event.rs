//! All that can happen to a Client, and all that it can ask for.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{
    Advice, Entry, Epoch, ErrorBody, HistoryRange, Key, LeaveReason, Member, MembersView, Page,
    Request, RequestId, RoomName, RoomSummary, Seq, ServerFrame, Timestamp, Token, Welcome,
};

use crate::ids::Mono;

/// A transport that the Client asked for. Numbers count up; what comes from an older one counts
/// no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// The application's name for something that it asked for; it comes back once, in
/// [`Delivery::Settled`]. One that is still open must not be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Connect, and keep connected. Changes nothing unless the Client is idle or stopped.
    Start,
    /// Leave for good: close with 1000, settle every ticket, forget every room and the session.
    Stop,
    /// A transport that was asked for is ready.
    Opened {
        /// Which.
        link: LinkId,
    },
    /// A frame came.
    Received {
        /// From where.
        link: LinkId,
        /// What.
        frame: ServerFrame,
    },
    /// A text came that is no frame.
    Malformed {
        /// From where.
        link: LinkId,
    },
    /// Traffic came that is no frame (a WebSocket ping or pong): the server lives.
    Alive {
        /// From where.
        link: LinkId,
    },
    /// The transport is gone, or could not be made.
    Closed {
        /// Which.
        link: LinkId,
        /// The close code, if there was one.
        code: Option<u16>,
    },
    /// The device woke up, or the network came back: ask for a sign of life, or skip the wait.
    Wake,
    /// A credential, in answer to [`Action::NeedToken`] or at any other time for the next `hello`.
    /// Where the one of the present connection ends soon, it takes its place at once.
    Token {
        /// `None`: there is none to be had.
        token: Option<Token>,
    },
    /// Be in this room, now and after every reconnect, until [`Event::Leave`].
    Join {
        /// Which room.
        room: RoomName,
    },
    /// Leave a room; what was to be said there is said before.
    Leave {
        /// Which room.
        room: RoomName,
    },
    /// Say something in a room that was joined.
    Send {
        /// Settled by [`Outcome::Acked`] or by why not.
        ticket: Ticket,
        /// Which room.
        room: RoomName,
        /// Fresh for this send: at least 64 random bits.
        key: Key,
        /// The text.
        content: Arc<str>,
        /// The entry it answers.
        reply_to: Option<Seq>,
    },
    /// Ask for something to read. It is asked again after a reconnect, until its time is up.
    Ask {
        /// Settled by the answer or by why there is none.
        ticket: Ticket,
        /// What.
        ask: Ask,
    },
    /// The user is typing, or has stopped. Dropped if it can't be sent at once.
    Typing {
        /// Where.
        room: RoomName,
        /// Begun or ended.
        active: bool,
    },
}

/// What an application can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Entries of a room; settled by [`Outcome::Page`]. They are not delivered as entries.
    History {
        /// Which room.
        room: RoomName,
        /// Which part.
        range: HistoryRange,
        /// How many at most; `None` means as many as the server allows.
        limit: Option<u32>,
    },
    /// Who is in a room; settled by [`Outcome::Members`].
    Members {
        /// Which room.
        room: RoomName,
    },
    /// Which rooms there are; settled by [`Outcome::Rooms`].
    Rooms {
        /// Go on after this room.
        after: Option<RoomName>,
    },
}

/// Something to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a transport and answer [`Event::Opened`] or [`Event::Closed`].
    Open {
        /// Its name.
        link: LinkId,
    },
    /// Send a request.
    Transmit {
        /// Where.
        link: LinkId,
        /// Returned in the reply.
        id: Option<RequestId>,
        /// What.
        request: Request,
    },
    /// Flush what was sent, close and forget the transport. No event of it counts any more.
    Close {
        /// Which.
        link: LinkId,
        /// The close code for the server.
        code: u16,
    },
    /// Get a fresh credential and answer [`Event::Token`]: the one before was refused, or ends
    /// soon.
    NeedToken,
    /// Hand this to the application.
    Deliver(Delivery),
}

/// What the application gets, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The connection's state has changed.
    State(State),
    /// The server has taken the session: who one is, what holds. Its `rooms` are dealt with.
    Welcome(Box<Welcome>),
    /// The session is a member of the room, for the first time or again; entries follow.
    Joined {
        /// Which room, as the server spells it where that is known.
        room: RoomName,
        /// Which log.
        epoch: Epoch,
        /// Whether the position began anew with this: the first entry that follows continues
        /// nothing. If not, the next entry is the one after the last that was delivered.
        fresh: bool,
        /// Who is there; `None` after a recovery: [`Delivery::Members`] comes by itself.
        members: Option<MembersView>,
        /// If `fresh`: whether there are entries before the first one that follows.
        has_more_before: bool,
    },
    /// The room's next entry. Each is delivered once; within an epoch each is the one after the
    /// one before, but for those that a [`Delivery::Lost`] names.
    Entry(Arc<Entry>),
    /// These entries are not to be had; the next one is the one after `to`.
    Lost {
        /// Which room.
        room: RoomName,
        /// The first of them.
        from: Seq,
        /// The last of them.
        to: Seq,
    },
    /// The room's log is another one: what was delivered of it counts no more. A
    /// [`Delivery::Joined`] that is `fresh` follows.
    Reset {
        /// Which room.
        room: RoomName,
        /// The new log.
        epoch: Epoch,
    },
    /// The session is no member any more and will not be by itself.
    Left {
        /// Which room.
        room: RoomName,
        /// Why.
        why: LeftReason,
    },
    /// Who is in a room, whatever was said before.
    Members {
        /// Which room.
        room: RoomName,
        /// All of them, or some and their number.
        view: MembersView,
    },
    /// How many are in a room that is too large for its members to be listed: of what was listed
    /// before, some may be gone.
    Presence {
        /// Which room.
        room: RoomName,
        /// All of them.
        count: u64,
    },
    /// Somebody has come.
    Came {
        /// Which room.
        room: RoomName,
        /// Who.
        member: Member,
    },
    /// Somebody has gone.
    Went {
        /// Which room.
        room: RoomName,
        /// Who.
        member: Member,
        /// Why.
        reason: LeaveReason,
    },
    /// Somebody is typing, or has stopped.
    Typing {
        /// Which room.
        room: RoomName,
        /// Who.
        member: Member,
        /// Begun or ended.
        active: bool,
    },
    /// What became of something that was asked for: exactly one for each ticket.
    Settled {
        /// Which.
        ticket: Ticket,
        /// What became of it.
        outcome: Outcome,
    },
}

/// How the connection is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Never started.
    #[default]
    Idle,
    /// A transport, the answer to `hello` or a credential is awaited.
    Connecting,
    /// The server has taken the session.
    Online,
    /// The next attempt comes by itself.
    Waiting {
        /// When.
        until: Mono,
    },
    /// No attempt comes before [`Event::Start`]. Rooms and sends are kept, unless the application
    /// stopped it.
    Stopped {
        /// Why.
        why: StopReason,
    },
}

/// Why a Client does not connect by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The application asked for it: nothing is kept.
    Asked,
    /// The credential was refused, and there is no other or that was refused too.
    Unauthorized,
    /// The server refuses this `hello` for good.
    Refused(Box<ErrorBody>),
    /// The close code says not to come back: something has to be repaired first, or another
    /// connection has taken the session.
    Closed {
        /// The close code.
        code: u16,
        /// [`Advice::FixFirst`] or [`Advice::StayAway`].
        advice: Advice,
    },
    /// The server said goodbye and asked not to come back.
    Bye {
        /// Its reason.
        code: String,
    },
}

/// Why a room was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftReason {
    /// The application asked for it.
    Asked,
    /// The server refuses to let the session in, or has put it out.
    Refused(Box<ErrorBody>),
    /// More rooms than [`Config::rooms`](super::Config::rooms).
    TooMany,
    /// The Client was stopped.
    Stopped,
}

/// What became of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The message is in the log.
    Acked {
        /// Its place.
        seq: Seq,
        /// When the server took it.
        ts: Timestamp,
        /// An earlier attempt had put it there.
        duplicate: bool,
    },
    /// The server refused it for good, or the Client did for the same reason. A message is not in
    /// the log.
    Refused(Box<ErrorBody>),
    /// The server refuses to take the message again, and what became of an earlier attempt is not
    /// known: it may be in the log or not.
    Unknown(Box<ErrorBody>),
    /// The Client holds as much as it may; nothing was sent.
    Full,
    /// Its time was up. A message may be in the log or not.
    Expired,
    /// The Client was stopped. A message may be in the log or not.
    Stopped,
    /// Answer to [`Ask::History`].
    Page(Box<Page>),
    /// Answer to [`Ask::Members`].
    Members(MembersView),
    /// Answer to [`Ask::Rooms`].
    Rooms {
        /// In the order of their names.
        rooms: Vec<RoomSummary>,
        /// Whether there are more after the last one.
        has_more: bool,
    },
}
