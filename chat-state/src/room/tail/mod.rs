//! Follows the log of one room.
//!
//! A tail opens the log, keeps a cursor at the last delivered entry and moves it with the entries
//! that its own appends, peers and reads yield. It appends drafts in batches, one at a time. It
//! knows neither sessions nor connections: a draft carries an opaque ticket, which comes back with
//! the draft's outcome. A call pushes [`Effect`]s, which the owner applies in order.
//!
//! *Invariant:* entries are delivered in the order of their `seq`. None is missing between two of
//! them, except those that an [`Effect::Skipped`] names.
//!
//! *Invariant:* at most one question of each [`Purpose`] is in flight, and each has a deadline. An
//! answer to an older question is late: it is ignored, but a late append still means that the log
//! has grown.
mod appending;
mod appends;
mod backoff;
mod deadlines;
mod effect;
mod head_checks;
mod heads;
mod hole;
mod hole_filling;
mod newest;
mod opening;
mod opening_log;
mod order;
mod out_of_order;
mod recent;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use self::effect::{
    Ask, AskId, Cx, Effect, NextBatch, NotAppended, Offered, Purpose, TailConfig, TailTimer,
};
pub(crate) use self::heads::{Located, Lookup};
pub(crate) use self::recent::{Bounds, Recent};
pub(crate) use self::state::{Ends, PageOf, Tail};
