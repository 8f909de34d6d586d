//! The settings of a Hub.
use chat_proto::{Durability, Limits};

use crate::ids::HubId;
use crate::times::Times;

/// Settings of a Hub. A value that the Hub cannot work with cannot be built.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Hub's own id among the Hubs that share the log. A restarted Hub needs a new one.
    pub hub: HubId,
    /// Whether there are other Hubs. A single Hub sends no signals.
    pub peers: Peers,
    /// What an ack survives, which `welcome` states. It has to be true of the log in use.
    pub durability: Durability,
    /// The limits of sessions, rooms and frames.
    pub limits: Limits,
    /// Deadlines, delays and intervals.
    pub times: Times,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hub: HubId::default(),
            peers: Peers::None,
            durability: Durability::Memory,
            limits: Limits::default(),
            times: Times::default(),
        }
    }
}

/// Whether other Hubs share the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// There is no other Hub.
    None,
    /// There may be other Hubs.
    Some,
}
