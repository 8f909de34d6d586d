//! Carries signals between nodes, or does not.
use std::collections::BTreeMap;

use chat_state::Signal;

use super::random::Random;
use crate::world::Losses;

/// How the broker behaves; chances are in a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carriage {
    /// A signal takes up to this long, each for itself.
    pub slow_ms: u64,
    /// A signal is lost, and nobody is told.
    pub drops: u16,
    /// A signal comes twice.
    pub repeats: u16,
}

/// Carries signals between nodes.
#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) carriage: Carriage,
    /// What was lost and not told.
    pub(super) losses: Losses,
    /// Pairs of nodes that do not hear each other, until when.
    partitions: BTreeMap<(usize, usize), u64>,
}

impl Broker {
    pub(super) fn part(&mut self, a: usize, b: usize, until: u64) {
        let end = self.partitions.entry((a.min(b), a.max(b))).or_default();
        *end = until.max(*end);
    }

    /// Returns after how many milliseconds a signal arrives, once for each time that it does.
    pub(super) fn carry(
        &mut self,
        now: u64,
        (from, to): (usize, usize),
        signal: &Signal,
        random: &mut Random,
    ) -> Vec<u64> {
        let pair = (from.min(to), from.max(to));
        let is_parted = self.partitions.get(&pair).is_some_and(|until| *until > now);
        let Carriage { slow_ms, drops, repeats } = self.carriage;
        if is_parted || random.permille(drops) {
            self.losses.add(to, signal);
            return Vec::new();
        }
        let times = if random.permille(repeats) { 2 } else { 1 };
        (0..times).map(|_| random.below(slow_ms + 1)).collect()
    }
}
