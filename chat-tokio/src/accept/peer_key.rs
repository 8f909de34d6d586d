//! Whose a connection is, when something is counted for each peer.
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use chat_state::AddressKey;

/// An IPv4 address, or the /64 network of an IPv6 address.
///
/// Who has one IPv6 address usually has 2^64 of them, and may use a new one for each connection. An
/// IPv4 address in IPv6's form (`::ffff:192.0.2.1`) counts as what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(IpAddr);

impl From<IpAddr> for PeerKey {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            v4 @ IpAddr::V4(_) => v4,
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & NETWORK_64).into(),
        })
    }
}

/// What the Hub knows it by: an IPv4 address in IPv6's form, or the network.
impl From<PeerKey> for AddressKey {
    fn from(key: PeerKey) -> Self {
        Self(match key.0 {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(network) => network.octets(),
        })
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

const NETWORK_64: u128 = !(u64::MAX as u128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_addresses_of_one_network_are_one_peer() {
        let key = |text: &str| PeerKey::from(text.parse::<IpAddr>().unwrap());
        let network = u128::from("2001:db8:1:2::".parse::<Ipv6Addr>().unwrap());
        for host in 0..10_000 {
            let address = IpAddr::V6((network | host << 40 | host).into());
            assert_eq!(PeerKey::from(address).to_string(), "2001:db8:1:2::/64");
        }
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_eq!(key("192.0.2.1").to_string(), "192.0.2.1");
        let known = |text: &str| AddressKey::from(key(text));
        assert_eq!(known("2001:db8:1:2::1"), known("2001:db8:1:2::2"));
        assert_ne!(known("2001:db8:1:2::1"), known("2001:db8:1:3::1"));
        assert_ne!(known("192.0.2.1"), known("192.0.2.2"));
    }
}
