//! A client of a server in the same process.
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use chat_proto::{CloseCode, Dialect};

use super::link::{Connect, ConnectFuture, Link, Received};
use crate::server::attach::{Attach, NewConnection};
use crate::transport::Utf8Bytes;
use crate::transport::memory::{self, MemoryPeer};

/// Connects to a server in the same process, without sockets.
#[derive(Clone)]
pub struct InProcess {
    server: Arc<dyn Attach>,
    capacity_bytes: usize,
}

impl InProcess {
    /// Connects to whoever takes connections, such as a server's [`Handle`](crate::Handle).
    ///
    /// Each direction of a connection holds up to `capacity_bytes` of texts; longer texts than
    /// that are not taken by the server.
    #[must_use]
    pub fn new(server: Arc<dyn Attach>, capacity_bytes: usize) -> Self {
        Self { server, capacity_bytes }
    }
}

impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let capacity_bytes = self.capacity_bytes;
        f.debug_struct("InProcess").field("capacity_bytes", &capacity_bytes).finish_non_exhaustive()
    }
}

impl Connect for InProcess {
    fn connect(&self) -> ConnectFuture {
        let Self { server, capacity_bytes } = self.clone();
        Box::pin(async move {
            let (transport, peer) = memory::pair(capacity_bytes);
            let transport = Box::new(transport);
            let new = NewConnection::new(transport, Dialect::V1);
            if let Err(refused) = server.attach(new) {
                refused.close().await;
            }
            Ok(Box::new(MemoryLink { peer, text: None }) as Box<dyn Link>)
        })
    }
}

/// The client's side of a connection in memory.
#[derive(Debug)]
struct MemoryLink {
    peer: MemoryPeer,
    /// The next text to go.
    text: Option<Utf8Bytes>,
}

impl Link for MemoryLink {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        self.peer.poll_recv(cx).map(|text| match text {
            Some(text) => Received::Text(text),
            None => Received::Closed(self.peer.close_code().map(CloseCode::number)),
        })
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut VecDeque<String>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.text.is_none() {
                self.text = outbox.pop_front().map(Into::into);
            }
            if self.text.is_none() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.peer.poll_send(cx, &mut self.text))
                .map_err(|gone| io::Error::new(io::ErrorKind::BrokenPipe, gone))?;
        }
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>, code: u16) -> Poll<()> {
        if code == CloseCode::Normal.number() {
            self.peer.leave();
        } else {
            self.peer.close();
        }
        Poll::Ready(())
    }
}
