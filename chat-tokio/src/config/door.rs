//! The options of who may connect, by which name, from where and how often.
use toml::Value;

use super::Config;
use super::options::{Opt, Set, integer, list, put, show_word, string};
use super::values::{host, network, word};
use crate::accept::{ConnectionLimits, HttpLimits, Network, ProxyProtocol};

/// Who may connect, by which name, from where and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorConfig {
    /// Names by which the server may be called, or `*` for any. Addresses and `localhost` always
    /// are.
    pub hosts: Vec<String>,
    /// Whose word about a client's address is believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether connections for HTTP begin with a header of the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// The same for lines.
    pub lines_proxy_protocol: ProxyProtocol,
    /// Connections at a time; 0: no limit but that of each worker.
    pub max_connections: u32,
    /// Connections of one address (with IPv6, of a /64 network) at a time; 0: no limit.
    pub max_connections_per_address: u32,
    /// Connections that have not said `hello` at a time; 0: no limit.
    pub max_connections_before_hello: u32,
    /// Connections of one worker that speak HTTP at a time.
    pub max_http_connections: u32,
}

impl Default for DoorConfig {
    fn default() -> Self {
        let limits = ConnectionLimits::default();
        Self {
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            lines_proxy_protocol: ProxyProtocol::Off,
            max_connections: limits.in_all,
            max_connections_per_address: limits.per_address,
            max_connections_before_hello: limits.before_hello,
            max_http_connections: HttpLimits::default().connections,
        }
    }
}

impl DoorConfig {
    /// Tells whether anybody could connect with these settings.
    ///
    /// # Errors
    /// Which option is missing.
    pub fn check_proxies(&self) -> Result<(), String> {
        for (flag, wanted) in [
            ("--proxy-protocol", self.proxy_protocol),
            ("--lines-proxy-protocol", self.lines_proxy_protocol),
        ] {
            if wanted == ProxyProtocol::Required && self.trusted_proxies.is_empty() {
                return Err(format!("{flag} needs --trusted-proxy: who may speak it"));
            }
        }
        Ok(())
    }
}

fn set_hosts(config: &mut Config, texts: &[&str]) -> Result<(), String> {
    config.door.hosts = list(texts).map(host).collect::<Result<_, _>>()?;
    Ok(())
}

fn set_trusted_proxies(config: &mut Config, texts: &[&str]) -> Result<(), String> {
    config.door.trusted_proxies = list(texts).map(network).collect::<Result<_, _>>()?;
    Ok(())
}

fn number(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|number| *number <= CONNECTIONS_MAX)
        .ok_or_else(|| format!("a whole number from 1 to {CONNECTIONS_MAX}, or 0 for no limit"))
}

fn at_least_one(text: &str) -> Result<u32, String> {
    let number = number(text).ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("a whole number from 1 to {CONNECTIONS_MAX}"))
}

/// More than a process has descriptors on any system.
const CONNECTIONS_MAX: u32 = 100_000_000;

const YES_NO: &[(&str, ProxyProtocol)] =
    &[("yes", ProxyProtocol::Required), ("no", ProxyProtocol::Off)];

pub(super) const OPTIONS: &[Opt] = &[
    Opt {
        name: "allow_host",
        group: "Connections",
        value: "NAME",
        help: "Name by which the server may be called, such as chat.example.org; `*`: any. May be \
               repeated, or separated by commas. IP addresses and localhost are always allowed.",
        set: Set::Many(set_hosts),
        show: |config| Value::Array(config.door.hosts.iter().map(string).collect()),
    },
    Opt {
        name: "trusted_proxy",
        group: "Connections",
        value: "NETWORK",
        help: "Address or network of proxies that are believed when they say for whom they \
               connect, in X-Forwarded-For or the PROXY protocol; 10.0.0.0/8. May be repeated, or \
               separated by commas.",
        set: Set::Many(set_trusted_proxies),
        show: |config| Value::Array(config.door.trusted_proxies.iter().map(string).collect()),
    },
    Opt {
        name: "proxy_protocol",
        group: "Connections",
        value: "yes|no",
        help: "Whether connections to --listen have to begin with a header of the PROXY protocol \
               (version 1 or 2), from a trusted proxy.",
        set: Set::One(|config, text| put(&mut config.door.proxy_protocol, word(text, YES_NO))),
        show: |config| show_word(&config.door.proxy_protocol, YES_NO),
    },
    Opt {
        name: "lines_proxy_protocol",
        group: "Connections",
        value: "yes|no",
        help: "The same for --lines.",
        set: Set::One(|config, text| {
            put(&mut config.door.lines_proxy_protocol, word(text, YES_NO))
        }),
        show: |config| show_word(&config.door.lines_proxy_protocol, YES_NO),
    },
    Opt {
        name: "max_connections",
        group: "Connections",
        value: "N",
        help: "Connections at a time, of all kinds and over all workers; 0: no limit but that of \
               each worker (--connections).",
        set: Set::One(|config, text| put(&mut config.door.max_connections, number(text))),
        show: |config| integer(config.door.max_connections.into()),
    },
    Opt {
        name: "max_connections_per_address",
        group: "Connections",
        value: "N",
        help: "Connections of one IPv4 address or IPv6 /64 network at a time; 0: no limit. This \
               machine and trusted proxies are not limited.",
        set: Set::One(|config, text| {
            put(&mut config.door.max_connections_per_address, number(text))
        }),
        show: |config| integer(config.door.max_connections_per_address.into()),
    },
    Opt {
        name: "max_connections_before_hello",
        group: "Connections",
        value: "N",
        help: "WebSockets of chat.v1 that have not said hello at a time, over all workers; one \
               more closes the oldest of them. 0: no limit.",
        set: Set::One(|config, text| {
            put(&mut config.door.max_connections_before_hello, number(text))
        }),
        show: |config| integer(config.door.max_connections_before_hello.into()),
    },
    Opt {
        name: "max_http_connections",
        group: "Connections",
        value: "N",
        help: "Connections of one worker that speak HTTP at a time, handshakes included; those \
               beyond it are closed at once. WebSockets do not count.",
        set: Set::One(|config, text| {
            put(&mut config.door.max_http_connections, at_least_one(text))
        }),
        show: |config| integer(config.door.max_http_connections.into()),
    },
];
