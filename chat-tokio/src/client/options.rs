//! How a client is made.
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use chat_proto::{DisplayName, Resume, Token};
use chat_state::client::{Config, Times};

use super::driver;
use super::error::UrlError;
use super::events::Events;
use super::handle::Client;
use super::link::Connect;
use super::websocket::WebSocketUrl;

/// Events that wait for the application, if nothing else is said.
const EVENTS: usize = 1024;

/// Gets credentials; `None`: there is none to be had.
pub(super) type Tokens =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<Token>> + Send>> + Send + Sync>;

/// What a client is to be like. Everything has a default.
#[derive(Clone)]
pub struct Options {
    pub(super) config: Config,
    pub(super) tokens: Option<Tokens>,
    pub(super) events: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { config: Config::default(), tokens: None, events: EVENTS }
    }
}

impl Options {
    /// Asks for this display name, where the server lets one choose it. Default: the server does.
    #[must_use]
    pub fn name(mut self, name: DisplayName) -> Self {
        self.config.name = Some(name);
        self
    }

    /// Shows this credential. Default: none.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.config.token = Some(token);
        self
    }

    /// Shows credentials that this makes: before the first connection (unless one was given), and
    /// again when the server refuses one, or one ends soon: then the fresh one takes its place on
    /// the same connection. `None` means that there is none to be had: then the client connects
    /// without one, or stops if it was refused.
    #[must_use]
    pub fn tokens<F, R>(mut self, make: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Option<Token>> + Send + 'static,
    {
        self.tokens = Some(Arc::new(move || Box::pin(make())));
        self
    }

    /// Asks for optional parts of the protocol. Default: none.
    #[must_use]
    pub fn features(mut self, features: impl IntoIterator<Item = String>) -> Self {
        self.config.features = features.into_iter().collect();
        self
    }

    /// Gets so many of a room's newest entries when it is joined. Default: 50.
    #[must_use]
    pub fn history(mut self, entries: u32) -> Self {
        self.config.history = entries;
        self
    }

    /// Goes on with the session of an earlier process ([`Client::resume`]) and its rooms.
    #[must_use]
    pub fn resume(mut self, resume: Resume) -> Self {
        self.config.resume = Some(resume);
        self
    }

    /// Keeps at most so many sends, and so many bytes of their contents, that are not acknowledged;
    /// beyond it a send is refused with [`Error::Full`](super::Error::Full). Default: 1000 and
    /// 1 MiB.
    #[must_use]
    pub fn outbox(mut self, entries: u32, bytes: u32) -> Self {
        self.config.outbox_entries = entries;
        self.config.outbox_bytes = bytes;
        self
    }

    /// Sends so many messages of one room without waiting for their acknowledgement. Default: 1.
    /// More is faster, and gives up their order where one is refused for a while.
    #[must_use]
    pub fn window(mut self, sends: u32) -> Self {
        self.config.window = sends.max(1);
        self
    }

    /// Lets so many events wait for the application; then the client stops reading from the
    /// server. Default: 1024. At least 1.
    #[must_use]
    pub fn events(mut self, count: usize) -> Self {
        self.events = count.max(1);
        self
    }

    /// Sets timeouts and how fast it reconnects.
    #[must_use]
    pub fn times(mut self, times: Times) -> Self {
        self.config.times = times;
        self
    }

    /// Starts a client of the server at this address: `ws://`, or with the feature `tls` `wss://`,
    /// where the system's authorities prove it. It connects in the background.
    ///
    /// # Errors
    /// If that is no address.
    ///
    /// # Panics
    /// Outside of a tokio runtime with IO and time.
    pub fn start(self, url: &str) -> Result<(Client, Events), UrlError> {
        Ok(self.start_over(WebSocketUrl::parse(url)?))
    }

    /// Starts a client that connects in this way. It connects in the background.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time.
    #[must_use]
    pub fn start_over(self, connect: impl Connect) -> (Client, Events) {
        driver::start(self, Box::new(connect))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("config", &self.config)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}
