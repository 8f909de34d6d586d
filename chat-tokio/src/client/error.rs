//! What can go wrong for whoever uses a client.
use std::fmt;

use chat_proto::ErrorBody;
use chat_state::client::StopReason;

/// Why something that was asked for was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The server, or the client for the same reason, refuses it for good.
    Refused(Box<ErrorBody>),
    /// The server refuses to take the message again, and what became of an earlier attempt is not
    /// known: it may be in the log or not.
    Unknown(Box<ErrorBody>),
    /// The client holds as much as it may ([`Options`](super::Options)); nothing was sent.
    Full,
    /// Its time was up. A message may be in the log or not.
    Expired,
    /// The client has stopped. A message may be in the log or not.
    Stopped,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(body) => write!(f, "it was refused: {} ({})", body.message, body.code),
            Self::Unknown(body) => {
                write!(f, "an earlier attempt may be in the log, and a later one was refused: ")?;
                write!(f, "{} ({})", body.message, body.code)
            }
            Self::Full => f.write_str("too much waits already"),
            Self::Expired => f.write_str("its time was up"),
            Self::Stopped => f.write_str("the client has stopped"),
        }
    }
}

impl std::error::Error for Error {}

/// Why a text is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// It is no URL.
    Invalid(String),
    /// Its scheme is another one than `ws`, or `wss` with the feature `tls`.
    Scheme(String),
    /// It names no host, or a user, which is not supported.
    Host,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => write!(f, "it is no URL: {why}"),
            #[cfg(not(feature = "tls"))]
            Self::Scheme(scheme) if scheme == "wss" => {
                f.write_str("`wss` needs the feature `tls`, which this program was built without")
            }
            Self::Scheme(scheme) => {
                write!(f, "the scheme has to be `ws` or `wss`, not `{scheme}`")
            }
            Self::Host => f.write_str("it has to name a host, and no user"),
        }
    }
}

impl std::error::Error for UrlError {}

/// Why a client is not connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL can't be used.
    Url(UrlError),
    /// The server does not take this client.
    Stopped(StopReason),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::Stopped(StopReason::Asked) => f.write_str("the client was stopped"),
            Self::Stopped(StopReason::Unauthorized) => f.write_str("the credential was refused"),
            Self::Stopped(StopReason::Refused(body)) => {
                write!(f, "the server refuses: {} ({})", body.message, body.code)
            }
            Self::Stopped(StopReason::Closed { code, .. }) => {
                write!(f, "the server closed with {code}, not to come back")
            }
            Self::Stopped(StopReason::Bye { code }) => {
                write!(f, "the server said goodbye ({code}), not to come back")
            }
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<UrlError> for ConnectError {
    fn from(error: UrlError) -> Self {
        Self::Url(error)
    }
}
