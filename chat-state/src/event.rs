//! All that can happen to a Hub, and all that it can ask for.
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use chat_proto::{
    ClientFrame, CloseCode, DecodeError, Dialect, DisplayName, Entry, Epoch, LeaveReason, Limits,
    Member, RoomName, Seq, ServerFrame, SessionId, Token as Credentials, UserId,
};

use crate::grant::{AuthError, Grant, Revoke};
use crate::ids::{AddressKey, ConnId, HubId, MemberId, Mono, Token};
use crate::log::{AppendError, Appended, Draft, LogHead, LogPage, ReadError, ReadRange};
use crate::operator::Order;
use crate::peers::signal::{Asked, Digest, Lost, RosterPart, Service, Span, Stamp};
use crate::reason::{CloseReason, Noted};
use crate::room::Roster;

/// A connection whose transport is ready, for [`Hub::connect`](crate::Hub::connect).
#[derive(Clone, Debug)]
pub struct Connect {
    /// A secret name for a new session, of at least 128 random bits. Whoever knows it can resume
    /// the session. A guest's user id is made from it.
    pub session: SessionId,
    /// The negotiated dialect; [`Dialect::Basic`] becomes `V1` if the first frame is a `hello`.
    pub dialect: Dialect,
    /// Who the peer is, as far as that is known.
    pub identity: Identity,
    /// How the peer can be asked for a sign of life without a frame.
    pub probe: Probe,
    /// The address that the peer comes from; `None` if it has no budget to share with others.
    pub peer: Option<AddressKey>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A frame came.
    Received {
        /// From where.
        conn: ConnId,
        /// What.
        frame: ClientFrame,
    },
    /// A text came that is no frame.
    Malformed {
        /// From where.
        conn: ConnId,
        /// What is wrong with it, in the dialect it was read in.
        error: DecodeError,
        /// The dialect it was read in.
        dialect: Dialect,
    },
    /// The peer gave a sign of life that is no frame: a WebSocket ping or pong, or taking some of
    /// what was sent.
    Alive {
        /// From where.
        conn: ConnId,
    },
    /// The connection's outbox has come to the limit `outbox_high_bytes`. Saying it again is
    /// harmless. At `outbox_bytes`, cut the connection off with [`CutOff::SlowConsumer`].
    Congested {
        /// Which.
        conn: ConnId,
    },
    /// The outbox has room again, after [`Event::Congested`] or [`Action::AwaitDrain`]: it has
    /// fallen to a mark of the adapter's choice, such as a quarter of `outbox_high_bytes`.
    Drained {
        /// Which.
        conn: ConnId,
    },
    /// The adapter has to end the connection. The Hub answers with [`Action::Close`].
    CutOff {
        /// The connection.
        conn: ConnId,
        /// The adapter's reason.
        reason: CutOff,
    },
    /// The transport is gone, by itself or after [`Action::Close`], and the adapter has forgotten
    /// the connection. Say it exactly once per connection: the Hub may give the id's slot to
    /// another connection from now on.
    Disconnected {
        /// The connection.
        conn: ConnId,
        /// Why. [`LeaveReason::Left`] says that the client closed on purpose, and ends the session;
        /// any other reason keeps it for a while. It does not count after [`Action::Close`].
        why: LeaveReason,
    },
    /// The log answered an [`Action::Append`].
    Appended {
        /// Which.
        token: Token,
        /// What became of it.
        result: Result<Appended, AppendError>,
    },
    /// The log answered an [`Action::Head`].
    Head {
        /// Which.
        token: Token,
        /// The ends of the log.
        result: Result<LogHead, ReadError>,
    },
    /// The log answered an [`Action::Load`].
    Loaded {
        /// Which.
        token: Token,
        /// The entries.
        result: Result<LogPage, ReadError>,
    },
    /// The authority answered an [`Action::Authenticate`].
    Authenticated {
        /// Which.
        token: Token,
        /// Who it is, or why it is not taken.
        result: Result<Box<Grant>, AuthError>,
    },
    /// A user, a session or a credential counts no more: what is live of it is closed, and its
    /// sessions are forgotten. It is for the authority to refuse the credential from now on.
    Revoke(Revoke),
    /// Somebody who runs the server wants this.
    Operator(Order),
    /// Another Hub said something.
    Signal {
        /// Who.
        from: HubId,
        /// What.
        signal: Signal,
    },
    /// Signals may have been lost since the last one.
    SignalsLost(Lost),
    /// Leave service: everybody is to be gone by this time. A log that does not answer keeps
    /// [`Action::DrainedAll`] away; then go on without it at the deadline.
    Drain {
        /// When.
        deadline: Mono,
    },
    /// New limits.
    Reconfigure {
        /// The limits.
        limits: Limits,
    },
}

/// Something to be done, in order.
///
/// Each question to the log ([`Append`](Self::Append), [`Head`](Self::Head), [`Load`](Self::Load))
/// and each [`Authenticate`](Self::Authenticate) has exactly one answer, which may be an error. The
/// Hub does not wait for an answer beyond its deadline. A late answer is harmless, and a late
/// append still shows its entries.
#[derive(Clone, Debug)]
pub enum Action {
    /// Put a frame into outboxes.
    Send {
        /// Whose. Some of the connections may be closed or gone already: skip those.
        to: Recipients,
        /// What. Skip connections for whose dialect [`ServerFrame::encode`] returns nothing. A
        /// connection speaks the dialect of the last frame that was read from it.
        frame: ServerFrame,
    },
    /// Ask the peer for a sign of life below the frames (a WebSocket ping).
    Probe {
        /// Whom.
        conn: ConnId,
    },
    /// Flush the outbox, then close, within a time that the adapter sets. Later events of this
    /// connection are ignored, and no later action names it. Its id stays in use until
    /// [`Event::Disconnected`].
    Close {
        /// The connection.
        conn: ConnId,
        /// What the peer is told.
        code: CloseCode,
        /// The exact reason, for logs and metrics.
        reason: CloseReason,
    },
    /// Read no further frames from a connection, until [`Action::Unpause`]. Frames that have been
    /// read already may still be handed in.
    Pause {
        /// Which.
        conn: ConnId,
    },
    /// Read on.
    Unpause {
        /// Which.
        conn: ConnId,
    },
    /// Answer [`Event::Drained`] once the outbox is below its low-water mark, at once if it is.
    AwaitDrain {
        /// Which.
        conn: ConnId,
    },
    /// Ask the authority whose credentials these are.
    Authenticate {
        /// Returned in [`Event::Authenticated`].
        token: Token,
        /// Who brings them.
        conn: ConnId,
        /// The credentials.
        credentials: Credentials,
    },
    /// Offer drafts to the log. A room has at most one batch in flight.
    Append {
        /// Returned in [`Event::Appended`].
        token: Token,
        /// Which room.
        room: RoomName,
        /// What, in order.
        drafts: Vec<Draft>,
    },
    /// Ask for the ends of a room's log.
    Head {
        /// Returned in [`Event::Head`].
        token: Token,
        /// Which room.
        room: RoomName,
    },
    /// Read from a room's log.
    Load {
        /// Returned in [`Event::Loaded`].
        token: Token,
        /// Which room.
        room: RoomName,
        /// Which entries.
        range: ReadRange,
    },
    /// Pass on this room's signals from now on.
    Follow {
        /// Which room.
        room: RoomName,
    },
    /// Stop passing them on.
    Unfollow {
        /// Which room.
        room: RoomName,
    },
    /// Tell other Hubs. It may be lost, repeated, delayed or reordered.
    Signal {
        /// Whom.
        to: SignalTo,
        /// What.
        signal: Signal,
    },
    /// Nothing to do: for logs and metrics.
    Note(Noted),
    /// Everybody is gone after [`Event::Drain`].
    DrainedAll,
}

/// Why an adapter ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutOff {
    /// The peer does not take what is sent to it.
    SlowConsumer,
    /// The connection has to make room for others before its `hello`.
    CrowdedOut,
    /// The peer broke a rule below the frames; it is told this code.
    Transport(CloseCode),
}

impl From<CutOff> for CloseReason {
    fn from(reason: CutOff) -> Self {
        match reason {
            CutOff::SlowConsumer => Self::SlowConsumer,
            CutOff::CrowdedOut => Self::CrowdedOut,
            CutOff::Transport(code) => Self::Transport(code),
        }
    }
}

/// A mistake of the adapter: what an event names was never issued by this Hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// No connection has had this id.
    UnknownConnection(ConnId),
    /// No question has had this token.
    UnknownToken(Token),
    /// The question with this token has another kind of answer.
    WrongAnswer(Token),
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownConnection(conn) => write!(f, "the Hub has not issued {conn:?}"),
            Self::UnknownToken(token) => write!(f, "the Hub has not asked {token:?}"),
            Self::WrongAnswer(token) => write!(f, "{token:?} has another kind of answer"),
        }
    }
}

impl core::error::Error for Misuse {}

/// Who gets a frame.
#[derive(Clone, Debug)]
pub enum Recipients {
    /// One connection.
    One(ConnId),
    /// All of these.
    All(Roster),
    /// All of these but one.
    AllBut(Roster, ConnId),
}

impl Recipients {
    /// Returns the connections.
    pub fn iter(&self) -> impl Iterator<Item = ConnId> + '_ {
        let (one, many, but) = match self {
            Self::One(conn) => (Some(*conn), None, None),
            Self::All(roster) => (None, Some(roster), None),
            Self::AllBut(roster, but) => (None, Some(roster), Some(*but)),
        };
        let many = many.into_iter().flat_map(Roster::iter);
        one.into_iter().chain(many.filter(move |conn| Some(*conn) != but))
    }
}

/// Which Hubs get a signal (never the one that sends it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalTo {
    /// Those that follow the room.
    Followers(RoomName),
    /// One Hub.
    Hub(HubId),
    /// All of them.
    Everyone,
}

/// A lossy hint from Hub to Hub.
#[derive(Clone, Debug)]
pub enum Signal {
    /// These entries are in the room's log, in order and without holes.
    Committed {
        /// Which log.
        epoch: Epoch,
        /// Which room.
        room: RoomName,
        /// The entries.
        entries: Arc<[Arc<Entry>]>,
    },
    /// The sender's lease is renewed. A Hub says so every 5 s; one that says nothing for 20 s has
    /// ended, and with it everything that it has said.
    Alive {
        /// Whether the sender serves its members.
        service: Service,
    },
    /// A member of the sender has joined.
    Came {
        /// The room.
        room: RoomName,
        /// The member.
        id: MemberId,
        /// What people see of the member.
        member: Member,
        /// The client's count of its connections: a connection with a lower one is superseded.
        attempt: u64,
        /// The position of this change.
        stamp: Stamp,
    },
    /// A member of the sender has left.
    Went {
        /// The room.
        room: RoomName,
        /// The member.
        id: MemberId,
        /// What people see of the member.
        member: Member,
        /// Why it has left.
        reason: LeaveReason,
        /// The position of this change.
        stamp: Stamp,
    },
    /// Send [`Signal::Rosters`] for these rooms, at most 256.
    AskRosters {
        /// The rooms.
        rooms: Vec<RoomName>,
    },
    /// The whole of the sender's parts of some rosters.
    Rosters {
        /// The parts, at most 256.
        parts: Vec<RosterPart>,
    },
    /// Send [`Signal::Digest`].
    AskDigest {
        /// Which rooms are to be listed.
        rooms: Asked,
    },
    /// A summary of some of the sender's rooms.
    Digest(Digest),
    /// A member of the sender types, or has stopped.
    Typing {
        /// Which room.
        room: RoomName,
        /// Who.
        member: Member,
        /// Begun or ended.
        active: bool,
    },
    /// The session goes on with a connection of the sender: older ones count no more.
    Resumed {
        /// The session.
        member: MemberId,
        /// The client's count of its connections, this one included.
        attempt: u64,
    },
    /// This counts no more, see [`Event::Revoke`].
    Revoked(Revoke),
    /// The sender has let through requests that share a budget.
    Spent {
        /// Whose.
        by: Spender,
        /// How much since it last said so, in thousandths of a message.
        cost: u32,
        /// The budget, in messages for 10 s.
        per_window: u32,
    },
    /// How many sessions the sender has of some users that the authority knows.
    Sessions {
        /// The number of this statement among all that the sender says.
        at: u64,
        /// The range of users that this signal describes completely: the sender has nothing to tell
        /// of a user of this range that is not listed. `None`: it says nothing about other users.
        covers: Option<Span<UserId>>,
        /// The users in order, with their sessions; 0: none any more.
        counts: Vec<(UserId, u32)>,
    },
    /// The room's log has grown to here.
    Grown {
        /// Which log.
        epoch: Epoch,
        /// Which room.
        room: RoomName,
        /// Its last entry.
        last: Seq,
    },
}

impl Signal {
    /// Returns which rooms may lack something if this signal is lost: what a broker has to report.
    #[must_use]
    pub fn loss(&self) -> Lost {
        match self {
            Self::Committed { room, .. }
            | Self::Grown { room, .. }
            | Self::Came { room, .. }
            | Self::Went { room, .. } => Lost::Rooms(alloc::vec![room.clone()]),
            Self::Rosters { parts } => {
                Lost::Rooms(parts.iter().map(|part| part.room.clone()).collect())
            }
            Self::Digest(Digest { covers: None, lines, .. }) => {
                Lost::Rooms(lines.iter().map(|line| line.room.clone()).collect())
            }
            // It may be part of a recovery, and it says which rooms the sender does not have.
            Self::Digest(Digest { covers: Some(_), .. }) => Lost::All,
            // These are said again, or nobody can make up for them.
            Self::Alive { .. }
            | Self::AskRosters { .. }
            | Self::AskDigest { .. }
            | Self::Typing { .. }
            | Self::Resumed { .. }
            | Self::Revoked(_)
            | Self::Spent { .. }
            | Self::Sessions { .. } => Lost::Rooms(Vec::new()),
        }
    }
}

/// Who shares a budget.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spender {
    /// All sessions of a user whom the authority knows.
    User(UserId),
    /// All connections of an address.
    Address(AddressKey),
}

/// Who a connection is before it says `hello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody checked: the name is what the peer says, the user id is bound to the session, see
    /// [`guest`](crate::guest).
    Guest {
        /// The name, if it was given with the connection.
        name: Option<DisplayName>,
    },
    /// The authority decides, see [`Action::Authenticate`]: over the credentials of `hello`, or
    /// over these that came with the connection. A `basic` connection has no others.
    Wanted {
        /// What came with the connection.
        credentials: Option<Credentials>,
    },
}

/// How a peer can be asked for a sign of life below the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The transport can ask, as a WebSocket ping does.
    Transport,
    /// It can't: a silent `basic` peer is left in peace.
    None,
}
