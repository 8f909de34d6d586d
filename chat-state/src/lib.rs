//! The pure state machine of a room-chat server.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod event;
mod ids;
mod log;
mod roster;

pub use event::{Action, Event, Identity, Probe, Recipients, Signal, SignalTo};
pub use ids::{ConnId, HubId, MemberId, Mono, Now, Token};
pub use log::{
    AppendError, Appended, Draft, Keep, LogHead, LogPage, Outcome, ReadError, ReadRange,
};
pub use roster::Roster;
