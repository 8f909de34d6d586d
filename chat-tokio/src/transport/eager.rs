//! A socket that is written to without a look at its readiness.
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Sends first and asks whether the socket is ready only if it takes nothing.
///
/// A socket of a chat nearly always has room, and where tokio keeps its readiness is memory that a
/// fan-out to many members finds in no cache. If there is no room, tokio makes the call again: so
/// it learns of it, and wakes the task.
pub(crate) struct Eager(TcpStream);

impl Eager {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(stream)
    }
}

/// Sends what the socket takes at once; `None` if that is nothing at the moment.
#[cfg(target_os = "linux")]
fn send(stream: &TcpStream, bytes: &[u8]) -> Option<io::Result<usize>> {
    use rustix::io::Errno;
    use rustix::net::SendFlags;
    match rustix::net::send(stream, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Err(Errno::AGAIN | Errno::INTR) => None,
        sent => Some(sent.map_err(io::Error::from)),
    }
}

/// Elsewhere tokio knows better how.
#[cfg(not(target_os = "linux"))]
fn send(_: &TcpStream, _: &[u8]) -> Option<io::Result<usize>> {
    None
}

impl AsyncRead for Eager {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Eager {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match send(&self.0, bytes) {
            Some(sent) => Poll::Ready(sent),
            None => Pin::new(&mut self.0).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Eager, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Eager::new(listener.accept().await.unwrap().0), peer)
    }

    #[tokio::test]
    async fn what_a_full_socket_does_not_take_is_sent_when_it_has_room() {
        let (mut eager, mut peer) = pair().await;
        let sent: Vec<u8> = (0..32 * 1024 * 1024_u32).map(|n| (n / 256) as u8).collect();
        let mut taken = 0;
        std::future::poll_fn(|cx| {
            while let Poll::Ready(count) = Pin::new(&mut eager).poll_write(cx, &sent[taken..]) {
                taken += count.unwrap();
            }
            Poll::Ready(())
        })
        .await;
        assert!(taken < sent.len(), "it is full");
        let mut got = vec![0; sent.len()];
        let (written, read) =
            tokio::join!(eager.write_all(&sent[taken..]), peer.read_exact(&mut got));
        written.unwrap();
        read.unwrap();
        assert!(got == sent, "all of it, in order");
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_an_error() {
        let (mut eager, peer) = pair().await;
        drop(peer);
        let error = loop {
            if let Err(error) = eager.write_all(b"hello").await {
                break error.kind();
            }
        };
        assert!(matches!(error, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset));
    }
}
