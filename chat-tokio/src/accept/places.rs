//! How many connections there may be: of one address, and in all.
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::strangers::{Stranger, Strangers};
use super::turned_away::{Refusal, TurnedAway};
use super::{Episode, Network, PeerKey};

/// How many connections may be open at a time, whatever they speak. A connection counts from its
/// being accepted to its end, as a WebSocket too.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// In all. 0: no limit here, only that of the workers.
    pub in_all: u32,
    /// Of one address, which is a /64 network with IPv6. 0: no limit.
    pub per_address: u32,
    /// Of those that speak `chat.v1` and have not said `hello`; one more closes the oldest of them.
    /// 0: no limit.
    pub before_hello: u32,
    /// Whose addresses are many people's, so that they are not limited one by one: neither how many
    /// connections they have, nor what these send together.
    pub exempt: Vec<Network>,
}

impl Default for ConnectionLimits {
    /// No limit in all, 1000 of one address, 16384 before `hello`, and this machine's own
    /// addresses are exempt: who comes from there runs on this machine, or through a proxy on it.
    ///
    /// A school or an office often has one IPv4 address, so the limit is far above one person's
    /// needs. It keeps one machine from taking all there is.
    fn default() -> Self {
        let exempt = Network::loopback().into();
        Self { in_all: 0, per_address: 1000, before_hello: 16_384, exempt }
    }
}

/// Why a connection finds no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// There are too many in all.
    InAll,
    /// There are too many of its address.
    OfAddress,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InAll => "there are too many connections",
            Self::OfAddress => "there are too many connections from your address",
        })
    }
}

impl std::error::Error for Full {}

/// The places that connections take. Cloning shares them: they are counted over all listeners and
/// workers. It remembers addresses of open connections only.
#[derive(Clone, Debug, Default)]
pub struct Places(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    limits: ConnectionLimits,
    taken: Mutex<Taken>,
    strangers: Arc<Strangers>,
    turned_away: TurnedAway,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: u32,
    full: Episode,
    addresses: BTreeMap<PeerKey, OfAddress>,
    /// Addresses that are crowded.
    crowded: u32,
}

/// What is counted of one address.
#[derive(Debug, Default)]
struct OfAddress {
    open: u32,
    /// One of its connections was refused, and it still has almost as many as it may.
    crowded: bool,
}

impl Places {
    /// Makes places that nobody has taken yet.
    #[must_use]
    pub fn new(limits: ConnectionLimits) -> Self {
        Self(Arc::new(Shared { limits, ..Shared::default() }))
    }

    /// Returns how many are taken.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.lock().in_all
    }

    /// Takes a place in all, for a connection whose address may not be known yet.
    ///
    /// # Errors
    /// If none is left.
    pub fn enter(&self) -> Result<Place, Full> {
        let limit = self.0.limits.in_all;
        let mut taken = self.lock();
        if limit > 0 && taken.in_all >= limit {
            self.turned_away().refuse(Refusal::Connections);
            taken.full.begin(|| tracing::warn!(limit, "too many connections; closing new ones"));
            return Err(Full::InAll);
        }
        taken.in_all = taken.in_all.saturating_add(1);
        Ok(Place { places: self.clone(), of: OnceLock::new() })
    }

    pub(super) fn turned_away(&self) -> &TurnedAway {
        &self.0.turned_away
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter_address(&self, key: PeerKey) -> Result<(), Full> {
        let limit = self.0.limits.per_address;
        let mut taken = self.lock();
        let taken = &mut *taken;
        let of = taken.addresses.entry(key).or_default();
        if limit > 0 && of.open >= limit {
            self.turned_away().refuse(Refusal::Address);
            if !std::mem::replace(&mut of.crowded, true) {
                taken.crowded += 1;
                if taken.crowded == 1 {
                    tracing::warn!(
                        address = %key, limit,
                        "too many connections from one address; refusing new ones of such \
                         addresses (if it is a proxy of yours, it has to be a trusted one)"
                    );
                }
            }
            return Err(Full::OfAddress);
        }
        of.open += 1;
        Ok(())
    }

    fn leave(&self, key: Option<PeerKey>) {
        let limits = &self.0.limits;
        let mut taken = self.lock();
        taken.in_all = taken.in_all.saturating_sub(1);
        if taken.in_all <= calm_below(limits.in_all) {
            taken.full.end(|| tracing::info!("connections are taken again"));
        }
        let Some(key) = key else { return };
        let taken = &mut *taken;
        let Some(of) = taken.addresses.get_mut(&key) else { return };
        of.open = of.open.saturating_sub(1);
        if of.crowded && of.open <= calm_below(limits.per_address) {
            of.crowded = false;
            taken.crowded -= 1;
            if taken.crowded == 0 {
                tracing::info!("no address has too many connections any more");
            }
        }
        if of.open == 0 {
            taken.addresses.remove(&key);
        }
    }
}

/// At how many an episode is over: who stays at the limit and comes and goes must not fill the log.
pub(super) const fn calm_below(limit: u32) -> u32 {
    limit - limit.div_ceil(8)
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    /// Whose it is, where its address is limited.
    of: OnceLock<PeerKey>,
}

impl Place {
    /// Counts the connection to this address, from now on and for good. A place that is somebody's
    /// already remains theirs.
    ///
    /// # Errors
    /// If the address has too many.
    pub fn settle(&self, address: IpAddr) -> Result<(), Full> {
        if self.of.get().is_some() || self.exempts(address) {
            return Ok(());
        }
        let key = PeerKey::from(address);
        self.places.enter_address(key)?;
        // Nobody else settles it: a connection has one request at a time.
        let _ = self.of.set(key);
        Ok(())
    }

    /// Tells whether this address is many people's, so that nothing is counted for it.
    pub(crate) fn exempts(&self, address: IpAddr) -> bool {
        self.places.0.limits.exempt.iter().any(|network| network.contains(address))
    }

    /// Counts the connection among those that have not said `hello`, where these are limited.
    pub(crate) fn await_hello(&self) -> Option<Stranger> {
        let shared = &self.places.0;
        shared.strangers.enter(shared.limits.before_hello)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.leave(self.of.get().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(in_all: u32, per_address: u32) -> Places {
        Places::new(ConnectionLimits { in_all, per_address, ..ConnectionLimits::default() })
    }

    fn settled(places: &Places, address: &str) -> Result<Place, Full> {
        let place = places.enter()?;
        place.settle(address.parse().unwrap()).map(|()| place)
    }

    #[test]
    fn a_place_is_free_again_once_it_is_dropped() {
        let places = places(3, 2);
        let one = settled(&places, "192.0.2.1").unwrap();
        let two = settled(&places, "::ffff:192.0.2.1").unwrap();
        assert_eq!(settled(&places, "192.0.2.1").unwrap_err(), Full::OfAddress);
        let three = settled(&places, "2001:db8::1").unwrap();
        assert_eq!(settled(&places, "2001:db8::2").unwrap_err(), Full::InAll);
        drop(one);
        let four = settled(&places, "192.0.2.1").unwrap();
        drop((two, three, four));
        assert_eq!(places.taken(), 0);
        assert!(places.lock().addresses.is_empty(), "nothing is kept of those who are gone");
    }

    #[test]
    fn a_place_is_settled_once() {
        let places = places(0, 1);
        let place = settled(&places, "192.0.2.1").unwrap();
        place.settle("192.0.2.2".parse().unwrap()).unwrap();
        let other = settled(&places, "192.0.2.2").unwrap();
        drop(place);
        settled(&places, "192.0.2.1").unwrap();
        assert_eq!(settled(&places, "192.0.2.2").unwrap_err(), Full::OfAddress);
        drop(other);
    }

    #[test]
    fn this_machine_and_networks_that_are_exempt_are_not_limited() {
        let mut limits = ConnectionLimits { per_address: 1, ..ConnectionLimits::default() };
        limits.exempt.push("198.51.100.0/24".parse().unwrap());
        let places = Places::new(limits);
        let exempt = ["127.0.0.1", "::1", "::ffff:127.0.0.1", "198.51.100.7"];
        let _many: Vec<_> =
            exempt.iter().chain(&exempt).map(|one| settled(&places, one).unwrap()).collect();
        let _one = settled(&places, "198.51.101.7").unwrap();
        settled(&places, "198.51.101.7").unwrap_err();
    }

    #[test]
    fn who_lingers_at_the_limit_is_one_episode() {
        let places = places(0, 8);
        let mut open: Vec<_> = (0..8).map(|_| settled(&places, "192.0.2.1").unwrap()).collect();
        let crowded = || places.lock().crowded;
        settled(&places, "192.0.2.1").unwrap_err();
        assert_eq!(crowded(), 1);
        settled(&places, "192.0.2.1").unwrap_err();
        assert_eq!(crowded(), 1);
        open.pop();
        assert_eq!(crowded(), 0, "an eighth below the limit it is over");
    }
}
