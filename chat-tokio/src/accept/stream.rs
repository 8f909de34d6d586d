//! What a listener's connections are made of: bare TCP, or TLS over it.
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

#[cfg(feature = "tls")]
use crate::tls::{Spoken, TlsIdentity};

/// What the connections of a listener begin with.
#[derive(Clone, Debug)]
pub(crate) enum Security {
    /// Nothing.
    Plain,
    /// A handshake of TLS.
    #[cfg(feature = "tls")]
    Tls(TlsIdentity, Spoken),
}

impl Security {
    /// Makes the stream of a connection, in at most `time`.
    pub(crate) async fn begin(&self, tcp: TcpStream, time: Duration) -> io::Result<Stream> {
        match self {
            Self::Plain => {
                let _no_handshake = time;
                Ok(Stream::Plain(tcp))
            }
            #[cfg(feature = "tls")]
            Self::Tls(identity, spoken) => {
                let handshake = super::handshake::accept(identity.config(*spoken), tcp, *spoken);
                let shaken = tokio::time::timeout(time, handshake).await;
                shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map(Stream::Tls)
            }
        }
    }
}

/// A connection after what it began with.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    // Most of the time it waits in a task, whose size is that of its largest state.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<TcpStream>>),
}

/// Does the same to whichever stream it is.
macro_rules! either {
    ($self:ident, $io:ident => $body:expr) => {
        match $self.get_mut() {
            Self::Plain($io) => $body,
            #[cfg(feature = "tls")]
            Self::Tls($io) => $body,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_read(cx, into))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}
