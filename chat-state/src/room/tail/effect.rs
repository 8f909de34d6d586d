//! The arguments and the effects of a tail.
use alloc::sync::Arc;
use alloc::vec::Vec;

use chat_proto::{Entry, Epoch, RoomName, Seq, Timestamp};

use super::Bounds;
use crate::config::Peers;
use crate::ids::Mono;
use crate::log::{Draft, Outcome, ReadRange};

/// The context of every call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cx<'a> {
    pub(crate) now: Mono,
    /// The room's name, for the entries that are made from drafts.
    pub(crate) room: &'a RoomName,
    pub(crate) config: &'a TailConfig,
}

/// Limits and times of a tail.
#[derive(Clone, Debug)]
pub(crate) struct TailConfig {
    pub(crate) recent: Bounds,
    /// Drafts that may wait; see [`Tail::is_full`](super::Tail::is_full).
    pub(crate) drafts_max: usize,
    /// How long a missing entry may take to arrive by itself before the log is read.
    pub(crate) hole_ms: u64,
    /// The wait before the first retry; each further failure doubles it, up to 30 s.
    pub(crate) retry_ms: u64,
    /// An append that is not answered within this time has an unknown outcome.
    pub(crate) append_ms: u64,
    /// An open, read or head question that is not answered within this time has failed.
    pub(crate) read_ms: u64,
    pub(crate) peers: Peers,
}

/// A question to the log. Its number is unique within the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AskId {
    pub(crate) purpose: Purpose,
    pub(super) number: u32,
}

/// The kinds of questions. A tail has at most one of each kind in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Append,
    Open,
    Read,
    Head,
}

/// What to ask the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Read the newest entries within these bounds. Answered by
    /// [`Tail::opened`](super::Tail::opened).
    Open(Bounds),
    /// Read entries. Answered by [`Tail::page_read`](super::Tail::page_read).
    Read(ReadRange),
    /// Read the ends of the log. Answered by [`Tail::head_read`](super::Tail::head_read).
    Head,
}

/// What becomes of a draft that the tail has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It waits for others; the owner has nothing to do.
    Waits,
    /// Call [`Tail::end_turn`](super::Tail::end_turn) when the turn ends.
    Ready,
    /// Call [`Tail::end_turn`](super::Tail::end_turn) at once: waiting for the end of the turn
    /// would not make the batch larger.
    Full,
}

/// Drafts for the log to append, in this order. The question is called [`Purpose::Append`].
#[derive(Debug)]
pub(crate) struct NextBatch {
    pub(crate) id: AskId,
    pub(crate) drafts: Vec<Draft>,
    /// When to arm [`TailTimer::Append`] for, unless it is armed already.
    pub(crate) arm: Option<Mono>,
}

/// Names a deadline. Arming a name again replaces its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TailTimer {
    Append,
    Open,
    Hole,
    Head,
}

/// What a tail asks its owner to do, in this order.
///
/// *Invariant:* an effect after which the owner looks at the tail again ([`Opened`](Self::Opened),
/// [`OpenFailed`](Self::OpenFailed), [`Replaced`](Self::Replaced),
/// [`HeadAnswered`](Self::HeadAnswered)) is the last one of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect<T> {
    Ask(AskId, Ask),
    /// Call [`Tail::end_turn`](super::Tail::end_turn) when the turn ends: drafts can be appended.
    Ready,
    /// Answer the author of a draft.
    Settled {
        ticket: T,
        /// When the draft was taken.
        ts: Timestamp,
        outcome: Result<Outcome, NotAppended>,
    },
    /// Tell peers of entries that this tail has appended. Only if there are peers; the epoch may
    /// be another one than that of the open log.
    Committed {
        epoch: Epoch,
        entries: Arc<[Arc<Entry>]>,
    },
    /// Deliver the next entry to the live members.
    Deliver(Arc<Entry>),
    /// The log has trimmed these entries before they were delivered.
    Skipped {
        from: Seq,
        to: Seq,
    },
    /// An entry that came before its turn is not kept, since too many wait. It is read from the log
    /// when its turn comes.
    EntryDropped(Seq),
    /// Tell peers where the log ends. Only if there are peers.
    Tell {
        epoch: Epoch,
        last: Seq,
    },
    /// Call [`Tail::timer_due`](super::Tail::timer_due) at this time.
    Arm(TailTimer, Mono),
    /// The append's deadline has passed and its outcome is unknown. A late answer is still wanted.
    GaveUp(AskId),
    /// The answer to this question is no longer wanted.
    Dropped(AskId),
    /// The room is open.
    Opened {
        /// The room as the log spells it.
        room: RoomName,
    },
    /// The room could not be opened. A timer opens it again; disarm it if nobody needs the room.
    OpenFailed,
    /// The log has been replaced by another one, so the old positions are void. The room is being
    /// opened again, and the drafts that wait go to the new log.
    Replaced,
    /// The log has said where it ends: look up the pending positions again.
    HeadAnswered,
}

/// Why a draft is not known to be in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAppended {
    /// The log has certainly not taken the draft.
    Refused,
    /// The log may have taken the draft. Only the draft's key can tell.
    Unknown,
}
