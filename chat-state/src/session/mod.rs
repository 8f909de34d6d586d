//! One connection's part of the protocol.
mod auth;
mod resuming;

use alloc::boxed::Box;
use alloc::vec::Vec;

use chat_proto::{
    Body, Dialect, DisplayName, HistoryRange, Key, Member, Position, RequestId, RoomName, Seq,
    SessionId, Timestamp, UserId,
};

use crate::delivery::Feed;
use crate::identity;
use crate::ids::{ConnId, MemberId, Mono};
use crate::limits::bucket::Bucket;
use crate::limits::strikes::Strikes;
use crate::room::RoomId;
use crate::room::audience::Spot;
use crate::room::policy::{JoinRule, RoomPolicy};
use crate::room::tail::Lookup;
use crate::users::budgets::Shares;

pub(crate) use self::auth::{Auth, Granted, Hello, Waiting};
pub(crate) use self::resuming::{Resumed, Resuming};

/// What the Hub knows of a connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) conn: ConnId,
    pub(crate) id: SessionId,
    pub(crate) member_id: MemberId,
    /// The client's count of the connections that this session has had; 0 without a count.
    pub(crate) attempt: u64,
    pub(crate) dialect: Dialect,
    pub(crate) stage: Stage,
    pub(crate) user: UserId,
    pub(crate) name: DisplayName,
    /// Sorted by room. A `basic` connection has at most one.
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) budget: Bucket,
    pub(crate) shares: Shares,
    pub(crate) strikes: Strikes,
    /// When something was last heard.
    pub(crate) heard: Mono,
    /// When the next ping is due; `None` for a client that can't be pinged.
    pub(crate) ping_at: Option<Mono>,
    /// Pings that were sent.
    pub(crate) beats: u32,
    /// The index of the subscription from which the next ping tells heads.
    pub(crate) heads_from: usize,
    /// Requests whose reply is still due.
    pub(crate) in_flight: u32,
    pub(crate) paused: Paused,
    /// Paces missed entries and large replies.
    pub(crate) feed: Feed<Bulk>,
    pub(crate) features: Features,
    /// The authentication, if the server requires it.
    pub(crate) auth: Option<Box<Auth>>,
    /// What the `welcome` of a resume waits for.
    pub(crate) resuming: Option<Box<Resuming>>,
}

/// How far the handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `hello` is due.
    Fresh,
    /// The first frame has come, and the authority has been asked who it is from.
    Checking,
    /// `hello` asked to resume; `welcome` is due.
    Resuming,
    Active,
}

/// Why a connection is not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paused {
    /// Too many requests in flight.
    pub(crate) in_flight: bool,
    /// Over its budget (`basic` only).
    pub(crate) budget: bool,
    /// Its room has too many drafts that wait for the log (`basic` only).
    pub(crate) drafts: bool,
    /// Its identity is being checked (`basic` only).
    pub(crate) identity: bool,
}

impl Paused {
    pub(crate) fn any(self) -> bool {
        self.in_flight || self.budget || self.drafts || self.identity
    }
}

/// Optional parts of the protocol that the session asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) typing: bool,
}

/// A piece of work of a connection's [`Feed`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bulk {
    /// Answer the join of a room that is open.
    Join(RoomId),
    /// Send the next entries of a room in which the connection lags.
    CatchUp(RoomId),
    /// Say who is in a room that was recovered.
    Presence(RoomId),
    /// Answer a request whose reply may be large.
    Reply(Box<BulkRequest>),
}

/// A request whose reply may be large.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BulkRequest {
    pub(crate) id: Option<RequestId>,
    pub(crate) what: BulkReply,
}

/// The reply that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BulkReply {
    Page { room: RoomId, range: HistoryRange, limit: u32 },
    Members { room: RoomId },
    Rooms { after: Option<RoomName> },
}

impl Bulk {
    /// Returns true if the work is about membership of this room. Requests are answered whatever
    /// becomes of the membership.
    pub(crate) fn is_of_member(&self, at: RoomId) -> bool {
        match self {
            Self::Join(room) | Self::CatchUp(room) | Self::Presence(room) => *room == at,
            Self::Reply(_) => false,
        }
    }

    /// Returns the room that the work is about.
    pub(crate) fn room(&self) -> Option<RoomId> {
        match self {
            Self::Join(room) | Self::CatchUp(room) | Self::Presence(room) => Some(*room),
            Self::Reply(request) => match request.what {
                BulkReply::Page { room, .. } | BulkReply::Members { room } => Some(room),
                BulkReply::Rooms { .. } => None,
            },
        }
    }
}

/// A session in a room.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) room: RoomId,
    pub(crate) state: State,
    /// The last typing event since the member's last message.
    pub(crate) typing: Option<Typing>,
}

impl Subscription {
    /// Returns the lookup of the position to resume from, until it is decided.
    pub(crate) fn recovering(&mut self) -> Option<&mut Lookup> {
        match &mut self.state {
            State::Joining(joining) => joining.resume.as_mut(),
            State::Live(_) | State::Lagging { .. } => None,
        }
    }
}

/// The last typing event of a member that others were sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Typing {
    /// When others were told that the member types.
    pub(crate) at: Mono,
    /// Whether others were last told that the member types.
    pub(crate) active: bool,
}

/// The state of a subscription.
#[derive(Debug)]
pub(crate) enum State {
    /// The room is being opened, or its history is being read. Nothing is delivered yet. Boxed,
    /// since few subscriptions are in this state.
    Joining(Box<Joining>),
    /// On the live list, at this index. The member's cursor is the room's.
    Live(usize),
    /// Off the live list. Everything up to the cursor was sent; the feed sends the next entries.
    Lagging { cursor: Seq },
}

impl State {
    /// Returns whether the room's audience has the member live or behind; `None` if it does not
    /// have the member yet.
    pub(crate) fn spot(&self) -> Option<Spot> {
        match self {
            // A member that joins again is behind.
            Self::Joining(joining) => joining.before.map(|_| Spot::Behind),
            Self::Live(place) => Some(Spot::Live(*place)),
            Self::Lagging { .. } => Some(Spot::Behind),
        }
    }

    /// Returns whether the session is a member of the room.
    pub(crate) fn is_member(&self) -> bool {
        self.spot().is_some()
    }
}

/// A join that is not done yet.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    pub(crate) id: Option<RequestId>,
    pub(crate) history: u32,
    /// Set if a member joins again: it was sent everything up to here, and others know it already.
    pub(crate) before: Option<Seq>,
    /// Messages that followed the join, at most `in_flight`. They are appended once the session is
    /// a member.
    pub(crate) held: Vec<Message>,
    /// Set for a room of a resume: the position to recover it from.
    pub(crate) resume: Option<Lookup>,
}

/// What a member says, with what its reply needs.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: Option<RequestId>,
    pub(crate) key: Option<Key>,
    /// When the Hub received it.
    pub(crate) ts: Timestamp,
    pub(crate) body: Body,
}

impl Joining {
    /// A join that was asked for.
    pub(crate) fn asked(id: Option<RequestId>, history: u32) -> Self {
        Self { id, history, before: None, held: Vec::new(), resume: None }
    }

    /// A room of a resume.
    pub(crate) fn resumed(position: Position) -> Self {
        let resume = Some(Lookup::new(position));
        Self { id: None, history: 0, before: None, held: Vec::new(), resume }
    }
}

impl Session {
    pub(crate) fn member(&self) -> Member {
        Member { user: self.user.clone(), username: self.name.clone() }
    }

    /// Counts a request in flight. Returns true if the limit is reached.
    pub(crate) fn began(&mut self, limit: u32) -> bool {
        self.in_flight += 1;
        self.in_flight >= limit
    }

    /// Returns the index of the subscription to a room. Most sessions have one subscription.
    fn index_of(&self, room: RoomId) -> Option<usize> {
        match self.subscriptions.as_slice() {
            [only] => (only.room == room).then_some(0),
            many => many.binary_search_by_key(&room, |s| s.room).ok(),
        }
    }

    pub(crate) fn subscription(&mut self, room: RoomId) -> Option<&mut Subscription> {
        let at = self.index_of(room)?;
        self.subscriptions.get_mut(at)
    }

    /// Returns true if the session has joined the room, even if the join is not done yet.
    pub(crate) fn is_subscribed(&self, room: RoomId) -> bool {
        self.index_of(room).is_some()
    }

    /// Returns true if others know the session as a member of the room.
    pub(crate) fn is_member(&self, room: RoomId) -> bool {
        self.index_of(room).is_some_and(|at| self.subscriptions[at].state.is_member())
    }

    /// Adds a subscription; there must be none to this room yet.
    pub(crate) fn subscribe(&mut self, room: RoomId, state: State) {
        let at = self.subscriptions.binary_search_by_key(&room, |s| s.room);
        let at = at.expect_err("a session subscribes once to a room");
        if self.subscriptions.len() == self.subscriptions.capacity() {
            // Most sessions are in one room or two.
            self.subscriptions.reserve_exact(self.subscriptions.len().max(1));
        }
        self.subscriptions.insert(at, Subscription { room, state, typing: None });
    }

    pub(crate) fn unsubscribe(&mut self, room: RoomId) -> Option<Subscription> {
        let at = self.index_of(room)?;
        Some(self.subscriptions.remove(at))
    }

    /// Returns the member id that belongs to a session id. With a grant it depends on the user as
    /// well: for any other user, the same session id means another session.
    pub(crate) fn member_of(&self, id: &SessionId) -> MemberId {
        match self.auth.as_deref().and_then(Auth::grant) {
            Some(grant) => identity::member_of(id, &grant.user),
            None => identity::member(id),
        }
    }

    /// Returns the user that the session with this id belongs to.
    pub(crate) fn user_of(&self, id: &SessionId) -> UserId {
        match self.auth.as_deref().and_then(Auth::grant) {
            Some(grant) => grant.user.clone(),
            None => identity::guest(id),
        }
    }

    /// Returns true if the room's kind and the session's grant allow a join. Does not check bans
    /// or limits.
    pub(crate) fn may_join(&self, room: &RoomName) -> bool {
        match RoomPolicy::of(room.kind()).join {
            JoinRule::Granted => self.auth.as_deref().is_none_or(|auth| auth.allows(room)),
            // An inbox is of no use to a `basic` connection, which has one room and cannot resume.
            JoinRule::Owner => {
                self.dialect == Dialect::V1 && room.owner() == Some(self.user.as_str())
            }
            JoinRule::Nobody => false,
        }
    }
}
