//! What belongs to users and their sessions beyond one connection: shared budgets, sessions that
//! can be resumed, members that are not shown as gone yet, and bans.
pub(crate) mod bans;
pub(crate) mod budgets;
pub(crate) mod kept;
pub(crate) mod lingering;
pub(crate) mod tally;
