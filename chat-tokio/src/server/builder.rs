//! Describing and starting a server.
#[cfg(any(feature = "api", feature = "webhooks"))]
mod backends;
mod error;
#[cfg(feature = "metrics")]
mod watchers;
mod workers;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::Limits;
use chat_state::{TimeValues, Times};
use tokio::sync::watch;

pub use self::error::StartError;
use self::workers::{End, bind};
use super::thread::Life;
use super::{Server, Sharing};
use crate::accept::{Admission, HttpLimits, ProxyProtocol, Security};
use crate::auth::Authenticator;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::http::{Hosts, Origins, Page, Ready};
use crate::live::Live;
use crate::log::RoomLog;
#[cfg(feature = "tls")]
use crate::tls::{Spoken, TlsIdentity};

/// Workers of one process at most: each is a thread with its own listener.
const WORKERS_MAX: usize = 1024;

/// What a server is made of. Everything has a default: one worker, a log in memory, no listener.
pub struct Builder {
    log: Option<Arc<dyn RoomLog>>,
    broker: Option<Arc<dyn Broker>>,
    limits: Limits,
    times: Times,
    workers: usize,
    listen: Option<SocketAddr>,
    listen_lines: Option<SocketAddr>,
    #[cfg(feature = "metrics")]
    metrics_listen: Option<SocketAddr>,
    trace_sample: Option<NonZeroU32>,
    http_security: Security,
    lines_security: Security,
    sharing: Sharing,
    page: Page,
    origins: Live<Origins>,
    hosts: Live<Hosts>,
    authenticator: Option<Arc<dyn Authenticator>>,
    auth_cookie: Option<Arc<str>>,
    #[cfg(feature = "api")]
    api: Option<crate::api::ApiOptions>,
    #[cfg(feature = "webhooks")]
    webhooks: Option<crate::webhooks::WebhookOptions>,
    admission: Admission,
    proxy_protocol: ProxyProtocol,
    lines_proxy_protocol: ProxyProtocol,
    http_connections: u32,
    handshake_timeout: Duration,
    drain_timeout: Duration,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            log: None,
            broker: None,
            limits: Limits::default(),
            times: Times::default(),
            workers: 1,
            listen: None,
            listen_lines: None,
            #[cfg(feature = "metrics")]
            metrics_listen: None,
            trace_sample: None,
            http_security: Security::Plain,
            lines_security: Security::Plain,
            sharing: Sharing::Nobody,
            page: Page::Embedded,
            origins: Live::default(),
            hosts: Live::default(),
            authenticator: None,
            auth_cookie: None,
            #[cfg(feature = "api")]
            api: None,
            #[cfg(feature = "webhooks")]
            webhooks: None,
            admission: Admission::default(),
            proxy_protocol: ProxyProtocol::Off,
            lines_proxy_protocol: ProxyProtocol::Off,
            http_connections: HttpLimits::default().connections,
            handshake_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Builder {
    /// Keeps entries in this log. Default: a [`MemoryLog`](crate::log::MemoryLog), which forgets
    /// them with the process.
    #[must_use]
    pub fn log(mut self, log: Arc<dyn RoomLog>) -> Self {
        self.log = Some(log);
        self
    }

    /// Carries signals between the workers, and to whoever else it reaches, over this broker.
    /// Default: a [`LocalBroker`](crate::broker::LocalBroker). The workers are Hubs 0, 1, 2 and so
    /// on of it.
    #[must_use]
    pub fn broker(mut self, broker: Arc<dyn Broker>) -> Self {
        self.broker = Some(broker);
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets heartbeats, deadlines and other times.
    #[must_use]
    pub fn times(mut self, times: Times) -> Self {
        self.times = times;
        self
    }

    /// Runs this many workers, 1 to 1024. Each is a thread with a Hub.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Serves HTTP and WebSocket here; port 0 lets the system choose.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Serves lines of JSON over TCP here; port 0 lets the system choose.
    #[must_use]
    pub fn listen_lines(mut self, address: SocketAddr) -> Self {
        self.listen_lines = Some(address);
        self.lines_security = Security::Plain;
        self
    }

    /// Speaks TLS under this identity where HTTP and WebSocket are served. Pages of the same host
    /// then have to come by `https`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, identity: TlsIdentity) -> Self {
        self.http_security = Security::Tls(identity, Spoken::Http);
        self
    }

    /// Serves lines of JSON over TLS here, instead of over bare TCP; port 0 lets the system choose.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn listen_tls_lines(mut self, address: SocketAddr, identity: TlsIdentity) -> Self {
        self.listen_lines = Some(address);
        self.lines_security = Security::Tls(identity, Spoken::Lines);
        self
    }

    /// Serves metrics at `/metrics` here, beside `/healthz` and `/readyz`, on a thread of its own;
    /// port 0 lets the system choose. At the address of [`listen`](Self::listen) they are beside
    /// the page. Default: nowhere.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics_listen(mut self, address: SocketAddr) -> Self {
        self.metrics_listen = Some(address);
        self
    }

    /// Makes a `tracing` span for one of so many requests, at the level `INFO`: with the request's
    /// id, the session and the room, until the reply. Default: for none.
    #[must_use]
    pub fn trace_sample(mut self, one_of: Option<NonZeroU32>) -> Self {
        self.trace_sample = one_of;
        self
    }

    /// Shares the addresses with another server of the same user that does so, too, so that one can
    /// take the other's place: both are given new connections until one begins to shut down; from
    /// then on it listens no more. What the two have in common is the log: it has to be one that
    /// processes can share, or each has rooms of its own. Default: nobody else may listen there.
    #[must_use]
    pub fn share_port(mut self) -> Self {
        self.sharing = Sharing::Servers;
        self
    }

    /// Serves this at `/`. Default: the page in the crate.
    #[must_use]
    pub fn page(mut self, page: Page) -> Self {
        self.page = page;
        self
    }

    /// Sets which web pages may connect. Default: those of the same host.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins.into();
        self
    }

    /// Sets by which names the server may be called. Default: `localhost` and IP addresses.
    #[must_use]
    pub fn hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts.into();
        self
    }

    /// Lets in whom this knows. Default: everybody, under the name that they choose.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Takes the credential from the cookie of this name, too, from pages whose origin is allowed.
    /// It counts only with an [`authenticator`](Self::authenticator).
    #[must_use]
    pub fn auth_cookie(mut self, name: &str) -> Self {
        self.auth_cookie = Some(name.into());
        self
    }

    /// Serves the [API](crate::api) for backends and operators. Default: it is not served.
    #[cfg(feature = "api")]
    #[must_use]
    pub fn api(mut self, api: crate::api::ApiOptions) -> Self {
        self.api = Some(api);
        self
    }

    /// Tells a backend what happens. Default: nobody is told.
    #[cfg(feature = "webhooks")]
    #[must_use]
    pub fn webhooks(mut self, webhooks: crate::webhooks::WebhookOptions) -> Self {
        self.webhooks = Some(webhooks);
        self
    }

    /// Sets how many connections there may be and which proxies are trusted. Default: those of
    /// [`ConnectionLimits`](crate::accept::ConnectionLimits), and no proxies.
    #[must_use]
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// Sets how many connections of each worker may speak HTTP at a time, handshakes included; one
    /// beyond it is closed at once. A WebSocket no longer counts. Default: 4096.
    #[must_use]
    pub fn http_connections(mut self, connections: u32) -> Self {
        self.http_connections = connections;
        self
    }

    /// Sets whether connections for HTTP begin with a header of the PROXY protocol. Default: no.
    #[must_use]
    pub fn proxy_protocol(mut self, proxy_protocol: ProxyProtocol) -> Self {
        self.proxy_protocol = proxy_protocol;
        self
    }

    /// Sets the same for lines. Default: no.
    #[must_use]
    pub fn lines_proxy_protocol(mut self, proxy_protocol: ProxyProtocol) -> Self {
        self.lines_proxy_protocol = proxy_protocol;
        self
    }

    /// A header of the PROXY protocol, a handshake of TLS, a request's head, and a `chat.v1`
    /// client's `hello` may each take this long. Default: 10 s.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// A shutdown takes at most this long. Default: 10 s.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Binds the listeners and starts the workers.
    ///
    /// # Errors
    /// Says what can't be done and why. Nothing is left running then.
    pub fn start(mut self) -> Result<Server, StartError> {
        if self.workers == 0 || self.workers > WORKERS_MAX {
            return Err(StartError::Workers(self.workers));
        }
        let hello_ms = self.handshake_timeout.as_millis().try_into().unwrap_or(u64::MAX);
        let times = TimeValues { hello_ms, ..self.times.values().clone() };
        self.times = times.build().map_err(StartError::Times)?;
        let (listening, http) = bind(self.listen, self.workers, self.sharing)?;
        let (lines, line_listeners) = bind(self.listen_lines, self.workers, self.sharing)?;
        #[cfg(feature = "metrics")]
        let watching = self.bind_metrics()?;
        let (stop, stopping) = watch::channel(false);
        let (leave, leaving) = watch::channel(false);
        let (fail, failed) = watch::channel(false);
        let ends: Vec<End> = (0..self.workers).map(|_| End::default()).collect();
        let origins = (*self.origins.get()).clone().over(self.is_secure());
        self.origins.set(origins.into());
        let (clock, life) = (Clock::start(), Life { stopping, leaving, failed: fail });
        let seams = self.seams();
        #[cfg(feature = "webhooks")]
        let seams = self.tap(seams, clock, &life)?;
        let common = self.common(&ends, &seams, (clock, life));
        let mut server = Server {
            workers: Vec::with_capacity(self.workers),
            shared: common.shared.clone(),
            metrics: common.metrics.clone(),
            listening,
            lines,
            #[cfg(feature = "metrics")]
            watchers: None,
            #[cfg(feature = "api")]
            api: None,
            #[cfg(feature = "webhooks")]
            webhooks: seams.telling,
            drain_timeout: self.drain_timeout,
            sharing: self.sharing,
            leave,
            stop,
            failed,
        };
        // What was started before an error ends with the half-made server.
        #[cfg(feature = "metrics")]
        if let Some((address, listener)) = watching {
            server.watchers = Some((address, self.serve_metrics(listener, &common)?));
        }
        let mut listeners = http.into_iter().zip(line_listeners);
        for (index, end) in ends.into_iter().enumerate() {
            let listeners = listeners.next().unwrap_or_default();
            server.workers.push(self.start_worker((index, end), &common, listeners)?);
        }
        common.shared.readiness.set(Ready::Ready);
        #[cfg(feature = "api")]
        {
            server.api = self.start_api(server.handle(), &common.life)?;
        }
        Ok(server)
    }

    /// Tells whether HTTP is spoken over TLS.
    fn is_secure(&self) -> bool {
        !matches!(self.http_security, Security::Plain)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("workers", &self.workers)
            .field("listen", &self.listen)
            .field("listen_lines", &self.listen_lines)
            .finish_non_exhaustive()
    }
}
