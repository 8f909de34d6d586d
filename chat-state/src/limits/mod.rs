//! Token buckets, the costs of requests, and what becomes of sessions that ignore their budget.
pub(crate) mod bucket;
pub(crate) mod cost;
pub(crate) mod strikes;
