//! What a Hub holds: its parts, and what connects them.
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use chat_proto::{DisplayName, RoomName};

use super::questions::Questions;
use super::sessions::Sessions;
use crate::config::Config;
use crate::event::Action;
use crate::ids::Mono;
use crate::peers::Cluster;
use crate::room::tail::{Effect, TailConfig};
use crate::room::{RoomId, Rooms, Ticket};
use crate::timers::Timers;
use crate::users::bans::Bans;
use crate::users::budgets::Budgets;
use crate::users::kept::KeptSessions;
use crate::users::lingering::LingeringSessions;
use crate::users::tally::Tally;

/// The effects of one call of a tail, which are applied in order.
pub(super) type Effects = Vec<Effect<Ticket>>;

/// What a Hub asks for, first in, first out.
pub type Actions = VecDeque<Action>;

/// The server-side state machine of one worker: it owns some connections, knows which rooms they
/// are in, and delivers each room's entries to them in order.
///
/// It never assigns order (the log does), never waits, reads no clock and draws no random number.
///
/// *Invariant:* nothing durable reaches a member except through the room's tail, which
/// delivers entries in the order of their `seq` and without holes.
#[derive(Debug)]
pub struct Hub {
    pub(super) config: Config,
    /// The time of the event that is being handled.
    pub(super) now: Mono,
    pub(super) sessions: Sessions,
    pub(super) budgets: Budgets,
    pub(super) tally: Tally,
    /// Sessions without a connection that can be resumed.
    pub(super) kept: KeptSessions,
    /// Sessions without a connection that are still shown in their rooms.
    pub(super) lingering: LingeringSessions<RoomId>,
    pub(super) rooms: Rooms,
    pub(super) pending: Questions,
    pub(super) tail_config: TailConfig,
    /// An empty list, to be filled by the next call of a tail.
    pub(super) effects: Effects,
    /// Rooms whose drafts can be appended when the turn ends.
    pub(super) to_offer: Vec<RoomId>,
    pub(super) peers: Cluster,
    pub(super) poll_armed: bool,
    /// The last room whose head was polled; `None` at the start of a round.
    pub(super) polled: Option<RoomName>,
    pub(super) timers: Timers,
    pub(super) draining: Option<Draining>,
    pub(super) bans: Bans,
    /// How often a member that lagged went back to the live list.
    pub(super) catch_ups: u64,
    /// The fallback for guests without a name.
    pub(super) anonymous: DisplayName,
}

/// A drain under way.
#[derive(Debug)]
pub(super) struct Draining {
    pub(super) deadline: Mono,
    pub(super) reported: bool,
}
