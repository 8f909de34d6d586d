//! WebSocket, from the client's end.
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chat_proto::SUBPROTOCOL;
use futures_util::{Sink, Stream};
use http::{HeaderValue, Uri, uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
#[cfg(feature = "tls")]
use {
    crate::tls::Roots,
    tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName},
};

use super::error::UrlError;
use super::link::{Connect, ConnectFuture, Link, Received};
use crate::transport::Utf8Bytes;

/// Bytes of the longest frame that a client takes: a page of history has up to `page_bytes` of
/// contents, and control characters make them six times as long in JSON.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// tungstenite holds this much for each connection, used or not; its default is 128 KiB.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// The address of a server's WebSocket: `ws://host[:port][/path]`, or `wss://` with the feature
/// `tls`. The path is `/ws` if it is left out, the port 80 or 443.
///
/// A server at `wss://` has to prove its name by a certificate of an authority that the system
/// trusts, or of one of [`WebSocketUrl::roots`].
#[derive(Clone, Debug)]
pub struct WebSocketUrl {
    host: String,
    port: u16,
    uri: Uri,
    #[cfg(feature = "tls")]
    secured: Option<Secured>,
}

/// How a server proves who it is.
#[cfg(feature = "tls")]
#[derive(Clone, Debug)]
struct Secured {
    name: ServerName<'static>,
    /// Those of the system if there are none.
    roots: Option<Roots>,
}

impl WebSocketUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// Says why it can't be one.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let invalid = |error: &dyn fmt::Display| UrlError::Invalid(error.to_string());
        let uri: Uri = url.parse().map_err(|error| invalid(&error))?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("ws") => ("ws", 80),
            #[cfg(feature = "tls")]
            Some("wss") => ("wss", 443),
            other => return Err(UrlError::Scheme(other.unwrap_or_default().to_owned())),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or(UrlError::Host)?.clone();
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(UrlError::Host);
        }
        let port = authority.port_u16().unwrap_or(default_port);
        let path = match uri.path_and_query().map(uri::PathAndQuery::as_str) {
            None | Some("" | "/") => "/ws",
            Some(path) => path,
        };
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
        let uri = uri.map_err(|error| invalid(&error))?;
        uri.clone().into_client_request().map_err(|error| invalid(&error))?;
        #[cfg(feature = "tls")]
        let secured = if scheme == "wss" {
            let name = ServerName::try_from(host.clone()).map_err(|error| invalid(&error))?;
            Some(Secured { name, roots: None })
        } else {
            None
        };
        Ok(Self {
            host,
            port,
            uri,
            #[cfg(feature = "tls")]
            secured,
        })
    }

    /// Trusts these authorities instead of the system's. Changes nothing at `ws://`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        if let Some(secured) = &mut self.secured {
            secured.roots = Some(roots);
        }
        self
    }

    /// Says hello in HTTP over a stream that leads to the server, such as one with TLS.
    ///
    /// # Errors
    /// When the connection breaks, or the server does not speak `chat.v1` there.
    pub async fn upgrade<IO>(&self, io: IO) -> io::Result<WebSocketLink<IO>>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        let mut request = self.uri.clone().into_client_request().map_err(io::Error::other)?;
        let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
        request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocol);
        match client_async_with_config(request, io, Some(config)).await {
            Ok((stream, _)) => Ok(WebSocketLink { stream, end: End::Open }),
            Err(Error::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Connect for WebSocketUrl {
    fn connect(&self) -> ConnectFuture {
        let url = self.clone();
        Box::pin(async move {
            let stream = TcpStream::connect((&*url.host, url.port)).await?;
            stream.set_nodelay(true)?;
            #[cfg(feature = "tls")]
            if let Some(secured) = &url.secured {
                let stream = secured.begin(stream).await?;
                return Ok(Box::new(url.upgrade(stream).await?) as Box<dyn Link>);
            }
            Ok(Box::new(url.upgrade(stream).await?) as Box<dyn Link>)
        })
    }
}

#[cfg(feature = "tls")]
impl Secured {
    async fn begin(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let roots = match &self.roots {
            Some(roots) => roots.clone(),
            // Reads files, once.
            None => tokio::task::spawn_blocking(Roots::system).await?.map_err(io::Error::other)?,
        };
        TlsConnector::from(roots.config().clone()).connect(self.name.clone(), tcp).await
    }
}

/// A WebSocket after its handshake.
pub struct WebSocketLink<IO> {
    stream: WebSocketStream<IO>,
    end: End,
}

/// How far the end of the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It lives, or the server has closed and is to be answered.
    Open,
    /// We have closed and wait for the server's end.
    Closing,
    /// Nothing is left to be said.
    Broken,
}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> Link for WebSocketLink<IO> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        Poll::Ready(match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
            Some(Ok(Message::Text(text))) => Received::Text(text),
            // tungstenite answers pings by itself; a server sends no binary.
            Some(Ok(
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_),
            )) => Received::Alive,
            Some(Ok(Message::Close(frame))) => {
                Received::Closed(frame.map(|frame| frame.code.into()))
            }
            Some(Err(_)) | None => {
                self.end = End::Broken;
                Received::Closed(None)
            }
        })
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut VecDeque<String>,
    ) -> Poll<io::Result<()>> {
        let result = ready!(self.poll_write(cx, outbox));
        if result.is_err() {
            self.end = End::Broken;
        }
        Poll::Ready(result.map_err(io::Error::other))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, code: u16) -> Poll<()> {
        if self.end == End::Open {
            self.end = End::Closing;
            let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::default() };
            // If the server has closed before, its answer is on its way already.
            let _ = Pin::new(&mut self.stream).start_send(Message::Close(Some(frame)));
        }
        if self.end == End::Broken || ready!(Pin::new(&mut self.stream).poll_flush(cx)).is_err() {
            return Poll::Ready(());
        }
        // The server ends the stream (RFC 6455 §7.1.1).
        while let Some(Ok(_)) = ready!(Pin::new(&mut self.stream).poll_next(cx)) {}
        Poll::Ready(())
    }
}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> WebSocketLink<IO> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut VecDeque<String>,
    ) -> Poll<Result<(), Error>> {
        while !outbox.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_ready(cx))?;
            if let Some(text) = outbox.pop_front() {
                Pin::new(&mut self.stream).start_send(Message::text(text))?;
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl<IO> fmt::Debug for WebSocketLink<IO> {
    // tungstenite's state shows payloads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketLink").field("end", &self.end).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_host_and_perhaps_a_port_and_a_path() {
        for (url, host, port, uri) in [
            ("ws://localhost", "localhost", 80, "ws://localhost/ws"),
            ("ws://127.0.0.1:3000/", "127.0.0.1", 3000, "ws://127.0.0.1:3000/ws"),
            ("ws://[::1]:3000/chat/ws?x=1", "::1", 3000, "ws://[::1]:3000/chat/ws?x=1"),
        ] {
            let parsed = WebSocketUrl::parse(url).unwrap();
            assert_eq!((&*parsed.host, parsed.port), (host, port), "{url}");
            assert_eq!(parsed.uri.to_string(), uri);
        }
        let scheme = |url| match WebSocketUrl::parse(url) {
            Err(UrlError::Scheme(scheme)) => scheme,
            other => panic!("{url}: {other:?}"),
        };
        #[cfg(not(feature = "tls"))]
        assert_eq!(scheme("wss://localhost/ws"), "wss");
        assert_eq!(scheme("http://localhost/ws"), "http");
        assert_eq!(scheme("/ws"), "");
        assert_eq!(WebSocketUrl::parse("ws://me@localhost/ws").unwrap_err(), UrlError::Host);
        #[cfg(feature = "tls")]
        for (url, port, uri) in [
            ("wss://localhost", 443, "wss://localhost/ws"),
            ("wss://[::1]:8443/chat", 8443, "wss://[::1]:8443/chat"),
        ] {
            let parsed = WebSocketUrl::parse(url).unwrap();
            assert_eq!((parsed.port, parsed.uri.to_string()), (port, uri.to_owned()));
            assert!(parsed.secured.is_some());
        }
        assert!(matches!(WebSocketUrl::parse("ws://"), Err(UrlError::Invalid(_))));
        assert!(matches!(WebSocketUrl::parse("ws://a b"), Err(UrlError::Invalid(_))));
    }
}
