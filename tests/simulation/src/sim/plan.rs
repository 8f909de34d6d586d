//! What a simulation does: data, made from a seed, that can be made smaller.

use super::broker::Carriage;
use super::focus::Focus;
use super::log::Disk;
use super::tokens::Authority;
use crate::world::Preset;

/// What a simulation is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Hubs, each in a process of its own.
    pub nodes: usize,
    /// People with a `Client`.
    pub people: usize,
    /// `basic` peers.
    pub plain: usize,
    /// Rooms, at most 4.
    pub rooms: usize,
    /// The Hubs' limits.
    pub preset: Preset,
    /// People need credentials.
    pub has_tokens: bool,
}

/// What happens at a time, to whom. Numbers choose by `n % count`, so any part of a plan is a plan.
#[derive(Clone, Debug)]
pub struct Step {
    /// When, in simulated milliseconds.
    pub at: u64,
    /// What.
    pub what: What,
}

/// One thing that happens from outside.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "who: a person; node: a Hub; room: a room")]
pub enum What {
    /// A person wants to be in a room.
    Join { who: u8, room: u8 },
    /// A person wants to be out of it.
    Leave { who: u8, room: u8 },
    /// A person says something, a number of times at once.
    Say { who: u8, room: u8, times: u8 },
    /// A person reads back, or asks who is there, or which rooms there are.
    Ask { who: u8, room: u8, what: u8 },
    /// A person types.
    Type { who: u8, room: u8 },
    /// A person's device wakes up.
    Wake { who: u8 },
    /// A person signs off, and on again later.
    SignOff { who: u8, ms: u32 },
    /// A person's process ends, and another one goes on with what it has saved.
    Restart { who: u8, ms: u32 },
    /// A person's wall clock jumps.
    ClockOfPerson { who: u8, ms: i64 },
    /// A `basic` peer enters a room.
    PlainJoin { who: u8, room: u8 },
    /// It leaves.
    PlainLeave { who: u8 },
    /// It says something.
    PlainSay { who: u8 },
    /// Its connection ends, and it comes back.
    PlainCut { who: u8 },
    /// A link is cut. Each end notices after a while; `silent` ends do not.
    Cut { link: u8, silent: u8 },
    /// Nothing moves on a link for this time.
    Stall { link: u8, ms: u32 },
    /// A link takes this long for each frame to the peer.
    Slow { link: u8, ms: u16 },
    /// Something on the way swallows the next frames of a link to the peer.
    Swallow { link: u8, frames: u8 },
    /// For this time, links are held up as soon as they are open.
    Hold { ms: u32, hold_ms: u32 },
    /// A process dies and comes back after this time.
    Crash { node: u8, ms: u32 },
    /// A process leaves service within `ms` and comes back after `down_ms`.
    Drain { node: u8, ms: u32, down_ms: u32 },
    /// A process's wall clock jumps.
    ClockOfNode { node: u8, ms: i64 },
    /// From now on the log is like this.
    Disk(Disk),
    /// From now on the broker is like this.
    Carriage(Carriage),
    /// Two processes do not hear each other for this time; afterwards they are told.
    Partition { a: u8, b: u8, ms: u32 },
    /// The log forgets all but the newest entries of a room.
    Trim { room: u8, keep: u8 },
    /// The log of a room begins anew, as after the loss of a disk.
    Replace { room: u8 },
    /// An operator orders something about a person, of every node; a ban ends after `ms`.
    Order { who: u8, room: u8, what: u8, ms: u32 },
    /// What a person has is revoked.
    Revoke { who: u8, what: u8 },
    /// The authority behaves differently.
    Authority(Authority),
    /// Every node takes other limits while it runs.
    Reload { other: bool },
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which one; all that is uncertain in it is drawn from this, too.
    pub seed: u64,
    /// For what.
    pub focus: Focus,
    /// What it is made of.
    pub setup: Setup,
    /// What happens, in the order of time.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Returns the same with only those steps whose index is kept.
    #[must_use]
    pub fn only(&self, keep: &[usize]) -> Self {
        let steps = keep.iter().filter_map(|index| self.steps.get(*index).cloned()).collect();
        Self { steps, ..self.clone() }
    }
}
