//! What is counted of those whom no worker has seen.
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There are too many in all.
    Connections,
    /// There are too many of its address.
    Address,
    /// There are too many that speak HTTP.
    Http,
    /// There are too many in a handshake of TLS.
    Handshakes,
    /// It does not keep to the PROXY protocol.
    ProxyProtocol,
}

/// Why a handshake has come to nothing: of TLS, or the first request of a connection for HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// TLS took too long.
    TlsTimeout,
    /// The peer spoke no TLS, none that is spoken here, or does not trust the certificate.
    Tls,
    /// The peer was gone before TLS was spoken.
    TlsLost,
    /// The first request took too long.
    RequestTimeout,
    /// The first request was none.
    Request,
}

impl Refusal {
    pub(crate) const ALL: [Self; 5] =
        [Self::Connections, Self::Address, Self::Http, Self::Handshakes, Self::ProxyProtocol];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Address => "address",
            Self::Http => "http",
            Self::Handshakes => "handshakes",
            Self::ProxyProtocol => "proxy_protocol",
        }
    }
}

impl Failure {
    pub(crate) const ALL: [Self; 5] =
        [Self::TlsTimeout, Self::Tls, Self::TlsLost, Self::RequestTimeout, Self::Request];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TlsTimeout => "tls_timeout",
            Self::Tls => "tls",
            Self::TlsLost => "tls_lost",
            Self::RequestTimeout => "request_timeout",
            Self::Request => "request",
        }
    }

    /// What the error of a handshake of TLS says.
    pub(super) fn of_tls(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::TlsTimeout,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Self::TlsLost,
            _ => Self::Tls,
        }
    }

    /// What the error of a connection says that has asked for nothing yet; `None`: it was closed.
    pub(super) fn of_request(error: &hyper::Error) -> Option<Self> {
        if error.is_timeout() {
            Some(Self::RequestTimeout)
        } else {
            error.is_parse().then_some(Self::Request)
        }
    }
}

/// How often each has happened, over all listeners that share places.
#[derive(Debug, Default)]
pub(crate) struct TurnedAway {
    refused: [AtomicU64; Refusal::ALL.len()],
    failed: [AtomicU64; Failure::ALL.len()],
}

impl TurnedAway {
    pub(super) fn refuse(&self, why: Refusal) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn fail(&self, why: Failure) {
        self.failed[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, why: Refusal) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self, why: Failure) -> u64 {
        self.failed[why as usize].load(Ordering::Relaxed)
    }
}
