//! What a Client is told when it is made.
use alloc::string::String;
use alloc::vec::Vec;

use chat_proto::{DisplayName, Resume, Token};

/// Settings of a Client.
#[derive(Clone, Debug)]
pub struct Config {
    /// The display name, where the server lets one choose it.
    pub name: Option<DisplayName>,
    /// A credential, where the server wants one.
    pub token: Option<Token>,
    /// Optional parts of the protocol that are wanted.
    pub features: Vec<String>,
    /// How many of the newest entries to ask for with a join.
    pub history: u32,
    /// A session of an earlier process that is to go on: its rooms are joined from the start.
    pub resume: Option<Resume>,
    /// Sends of one room in flight. More than 1 gives up their order where one is refused for a
    /// while or its outcome is unknown. At least 1.
    pub window: u32,
    /// Sends that wait or are in flight, over all rooms; beyond it one is refused at once.
    pub outbox_entries: u32,
    /// Bytes of their contents; beyond it one is refused at once.
    pub outbox_bytes: u32,
    /// Rooms at a time; beyond it one is left at once.
    pub rooms: u32,
    /// Questions ([`Ask`](super::Ask)) at a time; beyond it one is refused at once.
    pub asks: u32,
    /// Entries of one room that are held while those before them are fetched; those beyond it are
    /// fetched again.
    pub held_entries: u32,
    /// Bytes of them.
    pub held_bytes: u32,
    /// The times.
    pub times: Times,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: None,
            token: None,
            features: Vec::new(),
            history: 50,
            resume: None,
            window: 1,
            outbox_entries: 1000,
            outbox_bytes: 1_048_576,
            rooms: 1024,
            asks: 64,
            held_entries: 256,
            held_bytes: 262_144,
            times: Times::default(),
        }
    }
}

/// Durations, all in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long a transport may take to open.
    pub connect_ms: u64,
    /// How long the server may take to answer `hello`.
    pub hello_ms: u64,
    /// How long it may take to answer another request; then it is sent again. A question is given
    /// up after this time.
    pub request_ms: u64,
    /// How long the application may take to answer [`NeedToken`](super::Action::NeedToken).
    pub token_ms: u64,
    /// The first delay after a loss is anything up to this, each further one up to the double.
    pub backoff_base_ms: u64,
    /// No delay that the Client chooses is longer.
    pub backoff_max_ms: u64,
    /// Where a close code says to come back at once, the delay is anything up to this.
    pub resume_spread_ms: u64,
    /// A connection that has lasted this long counts as sound: delays begin anew after it.
    pub stable_ms: u64,
    /// How long the server may take to show a sign of life when it was asked for one.
    pub probe_ms: u64,
    /// How long an entry that has to exist may take to come by itself before it is fetched.
    pub grace_ms: u64,
    /// A refused request is sent again after this time at the earliest.
    pub retry_min_ms: u64,
    /// No delay that a server asks for is honoured beyond this.
    pub retry_max_ms: u64,
    /// A send that has waited this long, by either clock, is given up. Servers remember keys for at
    /// least 24 h; later, a repetition could double it.
    pub send_expiry_ms: u64,
    /// How often typing is told of one room at most.
    pub typing_ms: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            connect_ms: 10_000,
            hello_ms: 10_000,
            request_ms: 30_000,
            token_ms: 60_000,
            backoff_base_ms: 500,
            backoff_max_ms: 30_000,
            resume_spread_ms: 2000,
            stable_ms: 10_000,
            probe_ms: 5000,
            grace_ms: 1000,
            retry_min_ms: 100,
            retry_max_ms: 600_000,
            send_expiry_ms: 86_400_000,
            typing_ms: 3000,
        }
    }
}
