//! Which pages may open a connection, and by which names the server may be called.
//!
//! Browsers let any page open a WebSocket to any server and send that server's cookies along, so
//! the server has to look at `Origin`. And a page can make its own name point to an address of
//! somebody's inner network; there it is "the same host", so names are checked too.
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A web origin: scheme, host and port, each in its normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// The text is no origin: `scheme://host` or `scheme://host:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnOrigin;

impl fmt::Display for NotAnOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an origin is `scheme://host` or `scheme://host:port`, without a path")
    }
}

impl std::error::Error for NotAnOrigin {}

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let (scheme, rest) = text.split_once("://").ok_or(NotAnOrigin)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        if scheme.is_empty() || !scheme.bytes().all(plain) {
            return Err(NotAnOrigin);
        }
        let scheme = scheme.to_ascii_lowercase();
        let authority = Authority::parse(rest).ok_or(NotAnOrigin)?;
        let port = authority.port.or(default_port(&scheme));
        Ok(Self { scheme, host: authority.host, port })
    }
}

/// A host and perhaps a port, as in the `Host` header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        let after_address = text.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match text[after_address..].split_once(':') {
            None => (text, None),
            Some((name, port)) => {
                let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
                let port = digits.then(|| port.parse().ok()).flatten()?;
                (&text[..after_address + name.len()], Some(port))
            }
        };
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            // An address has many spellings; browsers use the one that this makes.
            Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().ok()?),
            None => {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
                if host.is_empty() || !host.bytes().all(plain) {
                    return None;
                }
                host.to_ascii_lowercase()
            }
        };
        Some(Self { host, port })
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Which origins may open a WebSocket. Who sends no `Origin` is no browser and always may.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Origins {
    /// Pages that come from the host and port that the request was sent to. With default ports,
    /// `http` and `https` count alike: behind a proxy that ends TLS the server can't tell them
    /// apart.
    #[default]
    SameHost,
    /// As `SameHost`, of pages that came by `https`: for a server that speaks TLS itself. Whoever
    /// can change what goes over the network can put anything into a page that came by `http`.
    SameHostHttps,
    /// Exactly these.
    Listed(Vec<Origin>),
    /// All, also `null`: for a server whose users show a token in their first frame.
    Any,
}

impl Origins {
    /// Asks pages of the same host to come as the server is reached: by `https` if that is so.
    pub(crate) fn over(self, https: bool) -> Self {
        match self {
            Self::SameHost if https => Self::SameHostHttps,
            origins => origins,
        }
    }

    /// Decides over the value of an `Origin` header, given that of `Host`.
    #[must_use]
    pub fn allow(&self, origin: &str, host: Option<&str>) -> bool {
        if *self == Self::Any {
            return true;
        }
        let Ok(origin) = origin.parse::<Origin>() else {
            return false;
        };
        match self {
            Self::Any => true,
            Self::Listed(listed) => listed.contains(&origin),
            Self::SameHost => origin.is_of(host),
            Self::SameHostHttps => origin.scheme == "https" && origin.is_of(host),
        }
    }
}

impl Origin {
    /// Tells whether it has the host and port of a `Host` header, and is of the web.
    fn is_of(&self, host: Option<&str>) -> bool {
        host.and_then(Authority::parse).is_some_and(|host| {
            if !matches!(self.scheme.as_str(), "http" | "https") {
                return false;
            }
            let port = host.port.or(default_port(&self.scheme));
            host.host == self.host && port.is_some() && port == self.port
        })
    }
}

/// By which names the server may be called in `Host`. By default only by those that are no names
/// that anybody can own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// By any: for a server that the whole network may reach anyway.
    Any,
    /// By these names, `localhost`, names under it, and IP addresses: a page elsewhere can make its
    /// own name point here, but neither of these.
    Listed(Vec<String>),
}

impl Default for Hosts {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// Tells whether a text can be listed in [`Hosts`]: a name, or an address, without a port.
#[cfg(feature = "server")]
pub(crate) fn is_host_name(text: &str) -> bool {
    Authority::parse(text).is_some_and(|authority| authority.port.is_none())
}

impl Hosts {
    /// Decides over the value of a `Host` header.
    #[must_use]
    pub fn allow(&self, host: &str) -> bool {
        let Some(Authority { host, .. }) = Authority::parse(host) else {
            return false;
        };
        match self {
            Self::Any => true,
            Self::Listed(names) => {
                host.starts_with('[')
                    || host.parse::<Ipv4Addr>().is_ok()
                    || host == "localhost"
                    || host.ends_with(".localhost")
                    || names.iter().any(|name| name.eq_ignore_ascii_case(&host))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_scheme_host_and_port() {
        let origins = Origins::Listed(vec!["https://good".parse().unwrap()]);
        for good in ["https://good", "https://good:443", "HTTPS://GOOD"] {
            assert!(origins.allow(good, Some("elsewhere")), "{good}");
        }
        for bad in [
            "https://evil",
            "https://good.evil.com",
            "https://evilgood.com",
            "http://good",
            "https://good:444",
            "https://good/",
            "https://x@good",
            "https://good:",
            "https://good:+443",
            "https://good:443:443",
            "https://good.",
            "https://good:0443x",
            "https://good\u{e9}",
            "https://xn--good-epa",
            "https://good#",
            "https://good?",
            "https://good\\@evil",
            "https://evil#@good",
            "//good",
            "good",
            "null",
            "",
        ] {
            assert!(!origins.allow(bad, Some("good")), "{bad}");
        }
    }

    #[test]
    fn the_same_host_is_told_with_default_ports() {
        let same = |origin, host| Origins::SameHost.allow(origin, Some(host));
        assert!(same("http://a", "a") && same("https://a", "a") && same("http://a:80", "a"));
        assert!(same("http://a", "A:80") && same("https://a", "a:443"));
        assert!(same("http://[::1]:8080", "[::1]:8080") && same("http://a:8080", "a:8080"));
        assert!(!same("http://a", "a:8080") && !same("http://a:8081", "a:8080"));
        assert!(!same("http://b", "a") && !same("null", "a") && !same("file://", ""));
        assert!(!same("http://[::1]", "[::2]") && !same("app://a", "a"));
        assert!(same("http://[::1]", "[0:0::1]") && !same("ftp://a:80", "a:80"));
        assert!(!same("http://a.", "a") && !same("http://x@a", "a") && !same("http://a", "x@a"));
        assert!(!same("http://[fe80::1%25lo]", "[fe80::1%25lo]"));
        assert!(!Origins::SameHost.allow("http://a", None));
        for (origin, host, allowed) in [
            ("https://a", "a", true),
            ("https://a:8443", "a:8443", true),
            ("http://a", "a", false),
            ("http://a:8443", "a:8443", false),
            ("https://a", "b", false),
        ] {
            let found = Origins::SameHostHttps.allow(origin, Some(host));
            assert_eq!(found, allowed, "{origin} at {host}");
        }
        assert!(Origins::Any.allow("null", None));
    }

    #[test]
    fn names_that_anybody_could_point_here_have_to_be_listed() {
        let hosts = Hosts::Listed(vec!["chat.example".into()]);
        for good in
            ["localhost:1", "x.localhost", "127.0.0.1:8080", "[::1]", "10.0.0.7", "CHAT.example:9"]
        {
            assert!(hosts.allow(good), "{good}");
        }
        for bad in [
            "attacker.example",
            "127.0.0.1.evil",
            "127.1",
            "0x7f000001",
            "2130706433",
            "127.0.0.1.",
            "chat.example.evil",
            "evil-chat.example",
            "evil.chat.example",
            "chat.example.",
            "xn--cht-hoa.example",
            "chat.example@evil",
            "evil@chat.example",
            "localhost.evil",
            "evillocalhost",
            "localhost.",
            "localhost:",
            "localhost:x",
            "localhost:80:80",
            "[::1%25lo]",
            "[::1",
            "::1",
            "a b",
            "",
            "[x]",
        ] {
            assert!(!hosts.allow(bad), "{bad}");
        }
        assert!(Hosts::default().allow("localhost") && !Hosts::default().allow("chat.example"));
        assert!(Hosts::Any.allow("attacker.example") && !Hosts::Any.allow("a/b"));
    }
}
