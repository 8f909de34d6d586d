//! What goes wrong, and when: from a seed, or said one by one.
use std::sync::Arc;

use crate::irc::Dice;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// One of the two who talk through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who has connected.
    Client,
    /// Who has accepted.
    Server,
}

/// How a TCP connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// By a RST, which also takes away what was received and not read yet.
    Reset,
    /// By a FIN, behind the last byte that was forwarded.
    Finish,
}

/// Something that goes wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Both sides end.
    Cut(Cut),
    /// Nothing is forwarded this way for so many milliseconds (`None`: until
    /// [`Proxy::go_on`](super::Proxy::go_on)). What is sent meanwhile waits in the kernel, and
    /// then in its sender.
    Stall(Way, Option<u64>),
    /// From here on, bytes take so many milliseconds more this way.
    Delay(Way, u64),
    /// One side is left open without anybody behind it: what is sent there vanishes, and nothing
    /// comes, neither bytes nor an end. The other side ends, or (`None`) is left alone as well.
    HalfOpen(Side, Option<Cut>),
}

/// A fault and its place: so many bytes after the one before it (or after the beginning).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Whose bytes are counted.
    pub way: Way,
    /// How many of them are forwarded first.
    pub after_bytes: u64,
    /// What happens then.
    pub fault: Fault,
}

/// How often what happens, in a plan that comes from a seed.
#[derive(Clone, Debug)]
pub struct Mix {
    /// Bytes to the server, and to the client, between two faults of a connection: any number up
    /// to twice this is as likely.
    pub mean_bytes: [u64; 2],
    /// One fault in so many comes within the first bytes, where connections shake hands. 0: none.
    pub early: u64,
    /// Stalls last at most so long.
    pub stall_ms_max: u64,
    /// Delays are at most so long.
    pub delay_ms_max: u64,
    /// The weights of cuts, stalls, delays and half-open connections.
    pub weights: [u64; 4],
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            mean_bytes: [16 * 1024; 2],
            early: 8,
            stall_ms_max: 50,
            delay_ms_max: 10,
            weights: [8, 4, 2, 2],
        }
    }
}

/// Bytes in which two peers shake hands and say hello.
const EARLY_BYTES: u64 = 600;

/// What goes wrong with each connection of a proxy.
#[derive(Clone, Debug, Default)]
pub enum Plan {
    /// Nothing by itself.
    #[default]
    Nothing,
    /// These faults, by the number of the connection in the order of their acceptance; nothing for
    /// those beyond.
    Scripts(Arc<[Vec<Step>]>),
    /// Faults drawn from a seed: the same for the same number of a connection.
    Seeded(u64, Mix),
}

impl Plan {
    /// Makes a plan of scripts.
    #[must_use]
    pub fn scripts(scripts: impl IntoIterator<Item = Vec<Step>>) -> Self {
        Self::Scripts(scripts.into_iter().collect())
    }

    /// Returns what goes wrong with the connection of this number, one after the other.
    #[must_use]
    pub fn steps(&self, connection: u64) -> Steps {
        match self {
            Self::Nothing => Steps::Fixed(Vec::new().into_iter()),
            Self::Scripts(scripts) => {
                let script = usize::try_from(connection).ok().and_then(|n| scripts.get(n));
                Steps::Fixed(script.cloned().unwrap_or_default().into_iter())
            }
            Self::Seeded(seed, mix) => {
                let mut of_seed = Dice(*seed);
                let start =
                    of_seed.below(u64::MAX) ^ connection.wrapping_mul(0x2545_f491_4f6c_dd1d);
                Steps::Drawn(Dice(start), mix.clone())
            }
        }
    }
}

/// The faults of one connection.
#[derive(Debug)]
pub enum Steps {
    /// Those that were said.
    Fixed(std::vec::IntoIter<Step>),
    /// Those that the dice say.
    Drawn(Dice, Mix),
}

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        match self {
            Self::Fixed(steps) => steps.next(),
            Self::Drawn(dice, mix) => Some(draw(dice, mix)),
        }
    }
}

fn draw(dice: &mut Dice, mix: &Mix) -> Step {
    let way = |dice: &mut Dice| [Way::ToServer, Way::ToClient][dice.below(2) as usize];
    let counted = dice.below(2) as usize;
    let early = mix.early > 0 && dice.below(mix.early) == 0;
    let range = if early { EARLY_BYTES } else { 2 * mix.mean_bytes[counted] };
    let after_bytes = 1 + dice.below(range.max(1));
    let cut = |dice: &mut Dice| [Cut::Reset, Cut::Finish][dice.below(2) as usize];
    let mut lot = dice.below(mix.weights.iter().sum::<u64>().max(1));
    let kind = mix.weights.iter().position(|weight| {
        let hit = lot < *weight;
        lot = lot.saturating_sub(*weight);
        hit
    });
    let fault = match kind {
        Some(1) => Fault::Stall(way(dice), Some(1 + dice.below(mix.stall_ms_max.max(1)))),
        Some(2) => Fault::Delay(way(dice), 1 + dice.below(mix.delay_ms_max.max(1))),
        Some(3) => {
            let side = [Side::Client, Side::Server][dice.below(2) as usize];
            let other = [None, Some(Cut::Reset), Some(Cut::Finish)][dice.below(3) as usize];
            Fault::HalfOpen(side, other)
        }
        _ => Fault::Cut(cut(dice)),
    };
    Step { way: [Way::ToServer, Way::ToClient][counted], after_bytes, fault }
}
