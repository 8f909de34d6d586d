//! What can happen, as data.
use std::fmt;

use proptest::prelude::*;

use super::broker::BrokerMood;
use super::log::LogMood;
use super::setup::{Preset, Setup};
use super::tokens::AuthorityMood;

/// One thing that happens. Whom it happens to is chosen by `n % live`, so any part of a script is
/// a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "a step's numbers say what is chosen, and each step says what for")]
pub enum Step {
    /// A peer connects; one of `chat.v1` says `hello` at once, unless it is mute.
    Connect { hub: u8, kind: Kind },
    /// A peer goes on with the session of any connection there ever was.
    Resume { conn: u8, hub: u8 },
    /// A member enters.
    Join { conn: u8, room: u8, history: u8 },
    /// A member leaves.
    Leave { conn: u8, room: u8 },
    /// A member speaks; a key of 0 is none.
    Say { conn: u8, room: u8, key: u8, size: u8 },
    /// A member reads back.
    History { conn: u8, room: u8, range: u8, at: u8, limit: u8 },
    /// A member asks something else.
    Ask { conn: u8, room: u8, what: Ask },
    /// A transport is gone.
    Cut { conn: u8 },
    /// A peer stops reading.
    Stall { conn: u8 },
    /// A stalled peer reads some frames.
    Sip { conn: u8, frames: u8 },
    /// A stalled peer reads again.
    Read { conn: u8 },
    /// The log changes its mood.
    Log { mood: LogMood },
    /// The log answers a question that waits.
    Answer { n: u8 },
    /// The log forgets old entries.
    Trim { room: u8, keep: u8 },
    /// The log of a room is another one.
    Replace { room: u8 },
    /// The broker changes its mood.
    Carry { mood: BrokerMood },
    /// A held signal is delivered.
    Deliver { n: u8 },
    /// A held signal is lost.
    Lose { n: u8 },
    /// A held signal is delivered, and stays.
    Repeat { n: u8 },
    /// A Hub is told that signals may be lost.
    SignalsLost { hub: u8 },
    /// Time passes.
    Pass { ms: u16 },
    /// A Hub leaves service.
    Drain { hub: u8, ms: u16 },
    /// A peer connects with a credential; `terms` says what it is good for.
    SignIn { hub: u8, kind: Kind, user: u8, terms: u8 },
    /// A peer goes on with its session by a fresh credential, of another user if `user % 8 == 0`.
    ResumeAs { conn: u8, hub: u8, user: u8, terms: u8 },
    /// A peer brings a fresh credential, of another user if `user % 8 == 0`.
    Renew { conn: u8, user: u8, terms: u8 },
    /// A peer speaks while no Hub runs: it is heard before the timers that are due.
    SayLate { conn: u8, room: u8, ms: u16 },
    /// What any connection there ever was has is revoked.
    Revoke { conn: u8, what: Revoked },
    /// An operator orders something about the user of any connection there ever was.
    Order { conn: u8, room: u8, what: Operation, ms: u16 },
    /// The authority changes its mood.
    Authority { mood: AuthorityMood },
    /// The authority answers a question that waits.
    Identify { n: u8 },
}

/// How a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Four fields, no replies.
    Basic,
    /// Negotiates `chat.v1` and says `hello`.
    V1,
    /// Offers no subprotocol and then says `hello`.
    Upgrades,
    /// Negotiates `chat.v1` and says nothing.
    Mute,
}

/// Requests that need no more than a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the requests")]
pub enum Ask {
    Members,
    Rooms,
    Types,
    StopsTyping,
    Ping,
    Hello,
    Nonsense,
}

/// What of a connection is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the revocations")]
pub enum Revoked {
    User,
    Session,
    Token,
    Key,
}

/// What an operator orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the orders")]
pub enum Operation {
    Kick,
    BanFromRoom,
    Ban,
    UnbanFromRoom,
    Unban,
    Close,
}

/// A world and what happens in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Script {
    /// The world.
    pub setup: Setup,
    /// What happens.
    pub steps: Vec<Step>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.setup)?;
        for step in &self.steps {
            writeln!(f, "    {step:?}")?;
        }
        Ok(())
    }
}

impl Script {
    /// Returns all scripts of up to so many steps. In a third of them peers have credentials.
    pub fn any(steps: usize) -> impl Strategy<Value = Self> {
        let head = (1..=3_usize, 0..3_u8, 0..3_u8);
        let bytes = proptest::collection::vec(any::<[u8; 6]>(), 0..steps);
        (head, bytes).prop_map(|((hubs, preset, n), bytes)| {
            let steps = bytes.into_iter().map(|bytes| Step::read(n == 2, bytes)).collect();
            Self { setup: setup(hubs, preset), steps }
        })
    }

    /// Returns scripts of up to so many steps in which peers have credentials.
    pub fn with_tokens(steps: usize) -> impl Strategy<Value = Self> {
        let bytes = proptest::collection::vec(any::<[u8; 6]>(), 0..steps);
        (1..=3_usize, 0..3_u8, bytes).prop_map(|(hubs, preset, bytes)| {
            let steps = bytes.into_iter().map(|bytes| Step::read(true, bytes)).collect();
            Self { setup: setup(hubs, preset), steps }
        })
    }

    /// Reads a script from any bytes.
    #[must_use]
    pub fn from_bytes(data: &[u8]) -> Self {
        let (head, rest) = data.split_first().unwrap_or((&0, &[]));
        let setup = setup(1 + usize::from(head % 3), head / 3 % 3);
        let has_tokens = head / 9 % 3 == 2;
        let (steps, _) = rest.as_chunks::<6>();
        let steps = steps.iter().map(|bytes| Step::read(has_tokens, *bytes)).collect();
        Self { setup, steps }
    }
}

fn setup(hubs: usize, preset: u8) -> Setup {
    let preset = match preset {
        0 => Preset::Default,
        1 => Preset::ShortRing,
        _ => Preset::Tiny,
    };
    Setup { hubs, preset }
}

impl Step {
    fn read(has_tokens: bool, bytes: [u8; 6]) -> Self {
        if has_tokens { Self::with_tokens(bytes) } else { Self::from_bytes(bytes) }
    }

    /// Reads a step of a script in which peers have credentials.
    fn with_tokens(bytes: [u8; 6]) -> Self {
        let [what, conn, room, a, b, c] = bytes;
        match what % 64 {
            20 | 35 => {
                let ms = u16::from_le_bytes([b, c]);
                Self::Order { conn, room, what: operation(a), ms }
            }
            22..=26 => Self::SignIn { hub: conn, kind: kind(a), user: b, terms: c },
            27..=30 => Self::Renew { conn, user: room, terms: a },
            31 => Self::Authority { mood: authority_mood(a) },
            37..=39 => Self::ResumeAs { conn, hub: room, user: a, terms: b },
            43 | 46 => Self::Revoke { conn, what: revoked(a) },
            50 | 58 => Self::Identify { n: a },
            62 => Self::SayLate { conn, room, ms: u16::from_le_bytes([b, c & 7]) },
            61 => Self::Pass { ms: u16::from_le_bytes([b, c & 63]) },
            _ => Self::from_bytes(bytes),
        }
    }

    /// Reads a step from any bytes; smaller numbers make simpler steps, so shrinking helps.
    #[must_use]
    pub fn from_bytes([what, conn, room, a, b, c]: [u8; 6]) -> Self {
        match what % 64 {
            0..=8 => Self::Say { conn, room, key: a % 4, size: b },
            9..=16 => Self::Join { conn, room, history: a % 5 },
            17..=20 => Self::Leave { conn, room },
            21..=28 => Self::Connect { hub: conn, kind: kind(a) },
            29..=31 => Self::History { conn, room, range: a, at: b, limit: c },
            32..=35 => Self::Ask { conn, room, what: ask(a) },
            36 => Self::Cut { conn },
            37 => Self::Resume { conn, hub: room },
            38..=40 => Self::Stall { conn },
            41 => Self::Sip { conn, frames: a % 8 },
            42 | 43 => Self::Read { conn },
            44 | 45 => Self::Log { mood: log_mood(a) },
            46..=50 => Self::Answer { n: a },
            51 => Self::Trim { room, keep: a % 8 },
            52 if a % 4 == 0 => Self::Replace { room },
            53 => Self::Carry { mood: broker_mood(a) },
            52 | 54..=56 => Self::Deliver { n: a },
            57 => Self::Lose { n: a },
            58 => Self::Repeat { n: a },
            59 => Self::SignalsLost { hub: a },
            60 if a % 4 == 0 => Self::Drain { hub: conn, ms: u16::from_le_bytes([b, c]) },
            60 => Self::Pass { ms: u16::from_le_bytes([b, c]) },
            _ => Self::Pass { ms: u16::from_le_bytes([b, c & 3]) },
        }
    }
}

fn kind(n: u8) -> Kind {
    match n % 8 {
        0..=3 => Kind::V1,
        4 | 5 => Kind::Basic,
        6 => Kind::Upgrades,
        _ => Kind::Mute,
    }
}

fn ask(n: u8) -> Ask {
    match n % 8 {
        0 | 1 => Ask::Members,
        2 => Ask::Rooms,
        3 => Ask::Types,
        4 => Ask::StopsTyping,
        5 => Ask::Ping,
        6 => Ask::Hello,
        _ => Ask::Nonsense,
    }
}

fn log_mood(n: u8) -> LogMood {
    match n % 8 {
        0 | 1 => LogMood::Prompt,
        2 | 3 => LogMood::Holds,
        4 => LogMood::HoldsAnswers,
        5 => LogMood::Refuses,
        6 => LogMood::UnknownTaken,
        _ => LogMood::UnknownLost,
    }
}

fn broker_mood(n: u8) -> BrokerMood {
    match n % 4 {
        0 => BrokerMood::Prompt,
        1 | 2 => BrokerMood::Holds,
        _ => BrokerMood::Drops,
    }
}

fn authority_mood(n: u8) -> AuthorityMood {
    match n % 4 {
        0 | 1 => AuthorityMood::Prompt,
        2 => AuthorityMood::Holds,
        _ => AuthorityMood::Unavailable,
    }
}

fn revoked(n: u8) -> Revoked {
    match n % 4 {
        0 => Revoked::User,
        1 => Revoked::Session,
        2 => Revoked::Token,
        _ => Revoked::Key,
    }
}

fn operation(n: u8) -> Operation {
    match n % 8 {
        0 | 1 => Operation::Kick,
        2 => Operation::BanFromRoom,
        3 => Operation::Ban,
        4 => Operation::UnbanFromRoom,
        5 | 6 => Operation::Unban,
        _ => Operation::Close,
    }
}
