//! Which faults a plan is full of: one mix for each guarantee.
use super::broker::Carriage;
use super::log::Disk;
use super::plan::{Plan, Setup, Step, What};
use super::random::Random;
use super::tokens::Authority;
use crate::world::Preset;

/// What a send may not survive.
const DAY_MS: i64 = 25 * 60 * 60 * 1000;

/// Tells the random numbers for credentials from all others.
const TOKENS: u64 = 0x70_6b_65_6e_73;

/// The guarantee that a plan is hard on. All are checked in every plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the guarantees")]
pub enum Focus {
    Order,
    Ack,
    Once,
    NoSilentLoss,
    Resume,
    AtomicJoin,
    History,
    Bounded,
    Fair,
    Close,
    Drain,
    Deterministic,
    Presence,
}

impl Focus {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Order,
        Self::Ack,
        Self::Once,
        Self::NoSilentLoss,
        Self::Resume,
        Self::AtomicJoin,
        Self::History,
        Self::Bounded,
        Self::Fair,
        Self::Close,
        Self::Drain,
        Self::Deterministic,
        Self::Presence,
    ];

    /// Makes the plan of a seed.
    #[must_use]
    pub fn plan(self, seed: u64) -> Plan {
        let mut random = Random::new(seed ^ ((self as u64 + 1) << 56));
        let tight = match self {
            Self::Bounded | Self::Fair => 700,
            Self::Close | Self::Resume | Self::History => 200,
            _ => 50,
        };
        let preset = match random.below(1000) {
            n if n < tight => Preset::Tiny,
            n if n < tight + (1000 - tight) / 2 => Preset::ShortRing,
            _ => Preset::Default,
        };
        let setup = Setup {
            nodes: 1 + random.index(3),
            people: 2 + random.index(4),
            plain: random.index(3),
            rooms: 1 + random.index(3),
            preset,
            has_tokens: seed % 3 == 2,
        };
        let mut steps = beginning(&setup, &mut random);
        let span = 20_000 + random.below(100_000);
        let count = 20 + random.index(100);
        for _ in 0..count {
            let at = random.below(span);
            let what =
                if random.permille(550) { everyday(&mut random) } else { self.fault(&mut random) };
            if let What::Hold { ms, .. } = what {
                // Whom it cuts off comes back into it.
                steps.push(Step { at: at + random.below(ms.into()) / 4, what: cut(&mut random) });
            }
            steps.push(Step { at, what });
        }
        if setup.has_tokens {
            // All else is what it would be without credentials.
            let mut random = Random::new(seed ^ TOKENS);
            for _ in 0..1 + random.index(8) {
                let what = token_fault(&mut random);
                steps.push(Step { at: random.below(span), what });
            }
        }
        steps.sort_by_key(|step| step.at);
        Plan { seed, focus: self, setup, steps }
    }

    fn fault(self, random: &mut Random) -> What {
        let choice = random.below(16);
        match (self, choice) {
            (Self::Order | Self::Ack | Self::Once, 0..=6) => What::Disk(disk(random)),
            (Self::Order | Self::Ack | Self::Once, 7..=10) => cut(random),
            (Self::NoSilentLoss, 0..=4) => What::Carriage(carriage(random)),
            (Self::NoSilentLoss, 5..=7) => partition(random),
            (Self::NoSilentLoss, 8..=10) => swallow(random),
            (Self::Resume, 0..=6) => cut(random),
            (Self::Resume, 7 | 8) => What::Trim { room: byte(random), keep: small(random) },
            (Self::Resume, 9 | 10) => restart(random),
            (Self::Resume, 11..=13) => hold(random),
            (Self::AtomicJoin, 0..=6) => What::Disk(disk(random)),
            (Self::History, 0..=6) => What::Trim { room: byte(random), keep: small(random) },
            (Self::Bounded, 0..=7) => slow_reader(random),
            (Self::Fair, 0..=8) => {
                What::Say { who: 0, room: byte(random), times: 10 + small(random) * 4 }
            }
            (Self::Presence, 0..=2) => What::Join { who: byte(random), room: byte(random) },
            (Self::Presence, 3 | 4) => What::Leave { who: byte(random), room: byte(random) },
            (Self::Presence, 5 | 6) => cut(random),
            (Self::Presence, 7 | 8) => What::Carriage(carriage(random)),
            (Self::Presence, 9) => drain(random),
            (Self::Presence, 10) => slow_reader(random),
            (Self::Close | Self::Drain, 0..=5) => drain(random),
            (Self::Close, 6..=9) => slow_reader(random),
            _ => any_fault(random),
        }
    }
}

/// Everybody comes and enters some rooms.
fn beginning(setup: &Setup, random: &mut Random) -> Vec<Step> {
    let mut steps = Vec::new();
    for who in 0..setup.people {
        for room in 0..setup.rooms {
            if random.permille(700) {
                let what = What::Join { who: index(who), room: index(room) };
                steps.push(Step { at: random.below(3000), what });
            }
        }
    }
    for who in 0..setup.plain {
        let what = What::PlainJoin { who: index(who), room: byte(random) };
        steps.push(Step { at: random.below(3000), what });
    }
    steps
}

fn everyday(random: &mut Random) -> What {
    let (who, room) = (byte(random), byte(random));
    match random.below(16) {
        0..=5 => What::Say { who, room, times: 1 + small(random) % 4 },
        6 => What::Say { who, room, times: 1 + small(random) },
        7 | 8 => What::Join { who, room },
        9 => What::Leave { who, room },
        10 | 11 => What::Ask { who, room, what: byte(random) },
        12 => What::Type { who, room },
        13 => What::PlainJoin { who, room },
        14 if random.permille(300) => What::PlainLeave { who },
        _ => What::PlainSay { who },
    }
}

fn any_fault(random: &mut Random) -> What {
    match random.below(27) {
        0..=4 => cut(random),
        5 => What::Stall { link: byte(random), ms: short(random, 1, 70_000) },
        6 => slow_reader(random),
        7 => What::Crash { node: byte(random), ms: short(random, 100, 40_000) },
        8 => drain(random),
        9 => {
            let ms = signed(random, 600_000);
            What::ClockOfNode { node: byte(random), ms }
        }
        10 if random.permille(200) => What::ClockOfPerson { who: byte(random), ms: DAY_MS },
        10 => What::ClockOfPerson { who: byte(random), ms: signed(random, 600_000) },
        11..=13 => What::Disk(disk(random)),
        14 | 15 => What::Carriage(carriage(random)),
        16 => partition(random),
        17 => What::Trim { room: byte(random), keep: small(random) },
        18 if random.permille(250) => What::Replace { room: byte(random) },
        19 if random.permille(500) => swallow(random),
        19 => restart(random),
        20 => What::SignOff { who: byte(random), ms: short(random, 1, 30_000) },
        21 if random.permille(500) => hold(random),
        21 => What::PlainCut { who: byte(random) },
        24 | 25 => {
            let (who, room, what) = (byte(random), byte(random), byte(random));
            What::Order { who, room, what, ms: short(random, 1000, 40_000) }
        }
        26 => What::Reload { other: random.permille(700) },
        _ => What::Wake { who: byte(random) },
    }
}

fn token_fault(random: &mut Random) -> What {
    if random.permille(600) {
        return What::Revoke { who: byte(random), what: byte(random) };
    }
    What::Authority(Authority::any(random))
}

fn cut(random: &mut Random) -> What {
    What::Cut { link: byte(random), silent: byte(random) }
}

fn restart(random: &mut Random) -> What {
    What::Restart { who: byte(random), ms: short(random, 1, 150_000) }
}

fn swallow(random: &mut Random) -> What {
    What::Swallow { link: byte(random), frames: 1 + small(random) / 4 }
}

fn hold(random: &mut Random) -> What {
    let (ms, hold_ms) = (short(random, 2000, 10_000), short(random, 1, 30_000));
    What::Hold { ms, hold_ms }
}

fn drain(random: &mut Random) -> What {
    let (ms, down_ms) = (short(random, 1, 20_000), short(random, 1, 20_000));
    What::Drain { node: byte(random), ms, down_ms }
}

fn slow_reader(random: &mut Random) -> What {
    What::Slow { link: byte(random), ms: u16::try_from(random.below(4000)).expect("small") }
}

fn partition(random: &mut Random) -> What {
    What::Partition { a: byte(random), b: byte(random), ms: short(random, 100, 40_000) }
}

fn disk(random: &mut Random) -> Disk {
    let chance = |random: &mut Random, most| u16::try_from(random.below(most)).expect("small");
    if random.permille(300) {
        return Disk::default();
    }
    Disk {
        slow_ms: if random.permille(300) { random.below(3000) } else { random.below(50) },
        refuses: chance(random, 300),
        unknown_taken: chance(random, 300),
        unknown_lost: chance(random, 300),
        stalls: chance(random, 200),
        unreadable: chance(random, 300),
    }
}

fn carriage(random: &mut Random) -> Carriage {
    let chance = |random: &mut Random| u16::try_from(random.below(600)).expect("small");
    if random.permille(200) {
        return Carriage::default();
    }
    let slow_ms = if random.permille(200) { random.below(20_000) } else { random.below(200) };
    Carriage { slow_ms, drops: chance(random), repeats: chance(random) }
}

fn byte(random: &mut Random) -> u8 {
    index(random.index(256))
}

fn small(random: &mut Random) -> u8 {
    index(random.index(12))
}

fn index(n: usize) -> u8 {
    u8::try_from(n).expect("small")
}

fn short(random: &mut Random, least: u64, most: u64) -> u32 {
    u32::try_from(random.mostly_short((least, most))).expect("small")
}

fn signed(random: &mut Random, most: u64) -> i64 {
    let ms = i64::try_from(random.below(most)).expect("small");
    if random.below(2) == 0 { ms } else { -ms }
}
