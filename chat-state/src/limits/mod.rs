//! What becomes of sessions that ignore their budget.
pub(crate) mod strikes;
