//! Who comes in, and how many.
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderMap;
use tokio::net::TcpStream;

use super::turned_away::{Refusal, TurnedAway};
use super::{ConnectionLimits, Full, Place, Places, ProxyProtocol, TrustedProxies, proxy_protocol};

/// What a listener goes by when connections come. Cloning shares the places, so the listeners of
/// one server clone one of these.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    places: Places,
    trusted: TrustedProxies,
    proxy_protocol: ProxyProtocol,
    /// The log has been told that connections do not come as they should.
    told: Arc<AtomicBool>,
}

impl Admission {
    /// Makes one with places of its own. The addresses of trusted proxies are not limited one by
    /// one: their clients' are.
    #[must_use]
    pub fn new(mut limits: ConnectionLimits, trusted: TrustedProxies) -> Self {
        limits.exempt.extend(trusted.networks());
        Self { places: Places::new(limits), trusted, ..Self::default() }
    }

    /// Sets whether connections begin with a header of the PROXY protocol. Default: they do not.
    #[must_use]
    pub fn proxy_protocol(mut self, proxy_protocol: ProxyProtocol) -> Self {
        self.proxy_protocol = proxy_protocol;
        self
    }

    /// Returns the places.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Returns what is counted of those who get no place.
    pub(crate) fn turned_away(&self) -> &TurnedAway {
        self.places.turned_away()
    }

    /// Tells whether the client's address has to be waited for.
    pub(super) fn has_to_ask(&self) -> bool {
        self.proxy_protocol == ProxyProtocol::Required
    }

    /// Finds from where a connection comes, in this time; `None` if it has to be closed.
    pub(super) async fn address(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
        within: Duration,
    ) -> Option<IpAddr> {
        let direct = peer.ip().to_canonical();
        if self.proxy_protocol == ProxyProtocol::Off {
            return Some(direct);
        }
        let address = self.proxied(stream, direct, within).await;
        if address.is_none() {
            self.turned_away().refuse(Refusal::ProxyProtocol);
        }
        address
    }

    async fn proxied(
        &self,
        stream: &mut TcpStream,
        direct: IpAddr,
        within: Duration,
    ) -> Option<IpAddr> {
        if !self.trusted.trusts(direct) {
            self.tell(direct, "it is not one of the trusted proxies");
            return None;
        }
        match tokio::time::timeout(within, proxy_protocol::read(stream)).await {
            Ok(Ok(client)) => Some(client.unwrap_or(direct)),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                self.tell(direct, &error.to_string());
                None
            }
            Ok(Err(error)) => {
                tracing::debug!(peer = %direct, %error, "no header of the PROXY protocol came");
                None
            }
            Err(_) => {
                tracing::debug!(peer = %direct, "no header of the PROXY protocol came in time");
                None
            }
        }
    }

    /// Tells the log once: it is a mistake in somebody's settings, or somebody who tries.
    fn tell(&self, peer: IpAddr, why: &str) {
        if self.told.swap(true, Ordering::Relaxed) {
            tracing::debug!(%peer, why, "a connection does not keep to the PROXY protocol");
        } else {
            tracing::warn!(
                %peer, why,
                "a connection does not keep to the PROXY protocol and is closed; others like it \
                 are told at the level `debug`"
            );
        }
    }

    /// Finds whose request it is that came over a connection.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap, place: &Arc<Place>) -> Client {
        Client { address: self.trusted.client(peer, headers), place: Arc::clone(place) }
    }
}

/// Whose a request is. The accept loop gives it to each request as an extension.
#[derive(Clone, Debug)]
pub struct Client {
    address: IpAddr,
    place: Arc<Place>,
}

impl Client {
    /// Returns the client's address: that of the connection, or what a trusted proxy says.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Counts the connection to the client for good, since it is going to be theirs alone. (A
    /// proxy carries many clients' requests over one connection, until one becomes a WebSocket.)
    pub(crate) fn settle(&self) -> Result<(), Full> {
        self.place.settle(self.address)
    }

    /// Returns what has to live as long as the connection.
    pub(crate) fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }
}
