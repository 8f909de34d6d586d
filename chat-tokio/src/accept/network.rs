//! Networks, and the proxies in them that are believed.
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::HeaderName;
use ipnet::IpNet;

/// A network of IP addresses, such as `10.0.0.0/8` or `2001:db8::/32`; a bare address is a network
/// of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Returns the networks of this machine itself.
    #[must_use]
    pub fn loopback() -> [Self; 2] {
        let v4 = ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8);
        [Self(v4.into()), Self(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST).into())]
    }

    /// Tells whether an address belongs to it. An IPv4 address in IPv6's form is taken for what it
    /// is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            return self.0.addr().fmt(f);
        }
        self.0.fmt(f)
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse().map_err(|_| NotANetwork)?,
        };
        // Bits beyond the prefix are a slip of whoever meant a smaller network; and no address that
        // is compared has the IPv6 form of an IPv4 address.
        if network != network.trunc() || network.addr().to_canonical() != network.addr() {
            return Err(NotANetwork);
        }
        Ok(Self(network))
    }
}

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANetwork;

impl fmt::Display for NotANetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an IP address, or a network such as 10.0.0.0/8 or 2001:db8::/32 (zero beyond its \
             prefix)",
        )
    }
}

impl std::error::Error for NotANetwork {}

/// Which proxies are believed when they tell a client's address. By default none.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[Network]>);

impl TrustedProxies {
    /// Trusts whoever connects from these networks.
    #[must_use]
    pub fn new(networks: &[Network]) -> Self {
        Self(networks.into())
    }

    /// Returns the networks.
    #[must_use]
    pub fn networks(&self) -> &[Network] {
        &self.0
    }

    /// Tells whether somebody who connects from this address is believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Finds whose request it is that came from `peer`.
    ///
    /// Each proxy appends to `X-Forwarded-For` from where it got the request, so the list is read
    /// from its end for as long as those who wrote it are trusted: what stands before was written
    /// by the client and may be anything. Where an entry is no address, the proxy that wrote it
    /// answers for the request.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lists = headers.get_all(X_FORWARDED_FOR).iter();
        // Several headers are one list. They can't be walked from the end without this; a head has
        // no more than a few dozen.
        let lists: Vec<_> = lists.map(|list| list.to_str().unwrap_or_default()).collect();
        let mut entries = lists.iter().rev().flat_map(|list| list.rsplit(',')).map(str::trim);
        while self.trusts(client) {
            let Some(address) = entries.next().and_then(forwarded_address) else { break };
            client = address;
        }
        client
    }
}

/// Reads an entry of `X-Forwarded-For`; some proxies add the port.
fn forwarded_address(entry: &str) -> Option<IpAddr> {
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || entry.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let address = entry.parse::<IpAddr>().ok().or_else(with_port).or_else(bracketed)?;
    Some(address.to_canonical())
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn networks_are_spelt_without_doubt() {
        for text in ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1", "0.0.0.0/0", "::/0"] {
            assert_eq!(text.parse::<Network>().map(|net| net.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "localhost", "::ffff:10.0.0.1"] {
            text.parse::<Network>().unwrap_err();
        }
    }

    #[test]
    fn a_forwarded_address_counts_if_all_who_stand_after_it_are_trusted() {
        let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap());
        let trusted = TrustedProxies::new(&networks);
        for (peer, lists, client) in [
            // Somebody who is not believed.
            ("203.0.113.5", &["198.51.100.1"][..], "203.0.113.5"),
            ("11.0.0.1", &["198.51.100.1"], "11.0.0.1"),
            // One proxy, and a client that lies about itself.
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.9, 198.51.100.1"], "198.51.100.1"),
            // Two proxies.
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1", "10.0.0.2"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1,2001:db8::5"], "198.51.100.1"),
            // A client among the proxies.
            ("10.0.0.1", &["10.0.0.7"], "10.0.0.7"),
            // Nothing, or nothing that can be read.
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, "], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, ä"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, 999.1.1.1, 10.0.0.2"], "10.0.0.2"),
            // Spellings.
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db9::1]:4711"], "2001:db9::1"),
            ("10.0.0.1", &["[2001:db9::1]"], "2001:db9::1"),
            ("10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
        ] {
            let mut headers = HeaderMap::new();
            for list in lists {
                let value = HeaderValue::from_bytes(list.as_bytes()).unwrap();
                headers.append("X-Forwarded-For", value);
            }
            let found = trusted.client(peer.parse().unwrap(), &headers);
            assert_eq!(found.to_string(), client, "{peer} {lists:?}");
        }
    }
}
