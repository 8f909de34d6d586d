//! The handshake of TLS.
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, ServerConnection};
use tokio_rustls::server::TlsStream;

use crate::tls::Spoken;

/// Bytes that a connection keeps in its TLS while the peer takes no more: one record of full
/// length. All else waits in the outbox, where it is counted.
const BUFFER_BYTES: usize = 16 * 1024;

/// Bytes that are read of somebody who speaks plainly, so that the answer is not lost in a reset.
const PLAIN_BYTES_MAX: u64 = 64 * 1024;

/// What is said to them, to its last byte.
const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 40\r\n\
    Connection: close\r\n\
    \r\n\
    TLS is spoken here: begin with https://\n";

pub(super) async fn accept(
    config: Arc<ServerConfig>,
    mut tcp: TcpStream,
    spoken: Spoken,
) -> io::Result<Box<TlsStream<TcpStream>>> {
    // A handshake begins with 22. Methods of HTTP are capital letters.
    let mut first = [0];
    tcp.peek(&mut first).await?;
    if spoken == Spoken::Http && first[0].is_ascii_uppercase() {
        tcp.write_all(ANSWER).await?;
        tcp.shutdown().await?;
        tokio::io::copy(&mut (&mut tcp).take(PLAIN_BYTES_MAX), &mut tokio::io::sink()).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer speaks plain HTTP"));
    }
    let limited = |tls: &mut ServerConnection| tls.set_buffer_limit(Some(BUFFER_BYTES));
    TlsAcceptor::from(config).accept_with(tcp, limited).await.map(Box::new)
}
