//! The settings of a Client.
use alloc::string::String;
use alloc::vec::Vec;

use chat_proto::{DisplayName, Resume, Token};

/// Settings of a Client.
#[derive(Clone, Debug)]
pub struct Config {
    /// The display name to ask for. Servers that assign names ignore or refuse it.
    pub name: Option<DisplayName>,
    /// The credential, for servers that require one.
    pub token: Option<Token>,
    /// Optional protocol features to request.
    pub features: Vec<String>,
    /// Number of newest entries to request with a join.
    pub history: u32,
    /// The session of an earlier process to resume. Its rooms are joined from the start.
    pub resume: Option<Resume>,
    /// Messages of one room in flight at the same time, at least 1. With more than 1, a message
    /// that has to be repeated may reach the log after a later one.
    pub window: u32,
    /// Messages that may wait or be in flight, over all rooms. A message beyond it is refused.
    pub outbox_entries: u32,
    /// Bytes of their contents. A message beyond it is refused.
    pub outbox_bytes: u32,
    /// Rooms at the same time. A join beyond it is refused.
    pub rooms: u32,
    /// Open queries ([`Query`](super::Query)). A query beyond it is refused.
    pub queries: u32,
    /// Out-of-order entries of one room that are buffered until the missing ones are fetched. Later
    /// entries are dropped and fetched again.
    pub buffered_entries: u32,
    /// Bytes of these entries.
    pub buffered_bytes: u32,
    /// Timeouts and delays.
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
            queries: 64,
            buffered_entries: 256,
            buffered_bytes: 262_144,
            times: Times::default(),
        }
    }
}

/// Timeouts and delays, all in milliseconds of the monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// Timeout for opening a transport.
    pub connect_ms: u64,
    /// Timeout for the reply to `hello`.
    pub hello_ms: u64,
    /// Timeout for the reply to another request, which is then sent again. A query ends after it.
    pub request_ms: u64,
    /// Timeout for the answer to [`NeedToken`](super::Action::NeedToken).
    pub token_ms: u64,
    /// Upper bound of the first back-off delay. It doubles with each further attempt; the delay is
    /// drawn between 0 and the bound (full jitter).
    pub backoff_base_ms: u64,
    /// The largest upper bound of a back-off delay.
    pub backoff_max_ms: u64,
    /// Upper bound of the delay after a close code that says to resume at once.
    pub resume_spread_ms: u64,
    /// A connection that was online for this long resets the back-off.
    pub stable_ms: u64,
    /// Timeout for a sign of life after a probe.
    pub probe_ms: u64,
    /// Delay before an entry that is known to exist is requested, in case it arrives on its own.
    pub grace_ms: u64,
    /// Shortest delay before a refused request is sent again.
    pub retry_min_ms: u64,
    /// Longest delay that a server can ask for.
    pub retry_max_ms: u64,
    /// A message that is not settled after this time expires. Servers remember keys for at least
    /// 24 h; a later repetition could appear twice.
    pub send_expiry_ms: u64,
    /// Shortest interval between two typing notices for one room.
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
