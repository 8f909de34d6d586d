//! Telling a backend what happens (feature `webhooks`).
//!
//! Each event is a POST of JSON, signed as [Standard Webhooks](https://www.standardwebhooks.com)
//! says: `webhook-id`, the same for each attempt; `webhook-timestamp`, in seconds; and
//! `webhook-signature`, `v1,` and the Base64 of the HMAC-SHA256 of `id.timestamp.body`. The body
//! is `{"type": …, "ts": …, "data": {…}}`.
//!
//! Events are sent one by one, in order. Any answer but 2xx, none within 10 s, and a redirection
//! are failures: the event is sent again, after a pause that doubles from one second to a minute,
//! each with jitter, and given up after 8 attempts (410 gives it up at once). So a receiver may get
//! an event twice, and knows it by its id. At most 10 000 events and 16 MiB wait; beyond it the
//! oldest are dropped, which is counted and told in the log. What waits ends with the process.
//!
//! Over `https` (feature `tls`) the receiver proves who it is before anything is sent; one that
//! can't is a failure like others.
//!
//! *Invariant:* nothing here waits in the way of the chat: a worker puts an event into a bounded
//! queue, or drops it.
mod queue;
mod secret;
mod send;
mod tap;

use std::fmt;
use std::time::Duration;

use chat_proto::Timestamp;
use http::Uri;
use serde::Serialize;

pub(crate) use queue::{Hooks, channel};
pub use queue::{WebhookCounts, WebhookRetries};
pub use secret::{SecretError, WebhookSecret};
pub(crate) use send::start;
pub(crate) use tap::{TappedBroker, TappedLog};

use crate::outgoing::{Outgoing, Trust};

/// Where events go, and which.
#[derive(Clone)]
pub struct WebhookOptions {
    /// Where they are posted: an `https` (with the feature `tls`) or `http` address.
    pub url: Uri,
    /// What they are signed with.
    pub secret: WebhookSecret,
    /// Which are sent.
    pub events: Vec<WebhookEvent>,
    /// The pause before the second attempt; it doubles up to a minute. Default: 1 s.
    pub retry: Duration,
    /// How long the receiver may take to answer. Default: 10 s.
    pub deadline: Duration,
    /// The authorities that prove an `https` address; `None`: those of the system.
    #[cfg(feature = "tls")]
    pub roots: Option<crate::tls::Roots>,
}

impl WebhookOptions {
    /// Sends all events to this address.
    ///
    /// # Errors
    /// Why it is none that can be posted to.
    pub fn new(url: &str, secret: WebhookSecret) -> Result<Self, String> {
        let url: Uri = url.parse().map_err(|error| format!("{error}"))?;
        match (url.scheme_str(), url.host()) {
            (Some("https"), Some(_)) if cfg!(not(feature = "tls")) => {
                return Err("https needs the feature `tls`, which this was built without".into());
            }
            (Some("http" | "https"), Some(_)) => {}
            (_, _) => return Err("an address such as https://example.org/chat".to_owned()),
        }
        Ok(Self {
            url,
            secret,
            events: WebhookEvent::ALL.to_vec(),
            retry: Duration::from_secs(1),
            deadline: Duration::from_secs(10),
            #[cfg(feature = "tls")]
            roots: None,
        })
    }

    /// Tells whether nobody on the way reads along: over `https`, or to this machine.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.url.scheme_str() == Some("https") || crate::http::is_loopback(&self.url)
    }

    pub(crate) fn client(&self) -> Result<Outgoing, String> {
        let trust = Trust {
            #[cfg(feature = "tls")]
            roots: self.roots.clone(),
        };
        trust.client(&self.url)
    }
}

impl fmt::Debug for WebhookOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a secret in its path.
        f.debug_struct("WebhookOptions")
            .field("host", &self.url.host())
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// What a backend can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookEvent {
    /// A session has begun (`chat.v1`; a `basic` connection has none). One that is resumed, or that
    /// recovers a room, goes on.
    Connect,
    /// A member has come into a room. One who comes back in time was never gone.
    Join,
    /// A member has left a room. A drain is no leave.
    Leave,
    /// The log has taken a message, but not of an inbox: what is in there is between a backend and
    /// the user.
    Message,
}

impl WebhookEvent {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Connect, Self::Join, Self::Leave, Self::Message];

    /// Returns its name in settings, and the `type` of its body.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Message => "message",
        }
    }
}

/// An event with what it says.
#[derive(Serialize)]
pub(crate) struct Told<T> {
    r#type: &'static str,
    ts: Timestamp,
    data: T,
}

impl<T: Serialize> Told<T> {
    pub(crate) fn new(event: WebhookEvent, ts: Timestamp, data: T) -> Self {
        Self { r#type: event.name(), ts, data }
    }
}
