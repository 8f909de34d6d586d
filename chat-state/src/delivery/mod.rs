//! Pacing what one connection is sent.
//!
//! [`Feed`] is the part: a credit account and a fair queue. [`wire`] estimates the bytes that the
//! account is charged with.
mod feed;
pub(crate) mod wire;

pub(crate) use feed::{Feed, Next, Outcome, Reading};
