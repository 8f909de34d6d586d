//! What a [`Transport`] has to prove.
//!
//! Bring a [`Factory`] that makes connected pairs, and call [`check`] in a current-thread tokio
//! runtime. It panics at the first promise that is not kept.
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Buf as _;
use chat_proto::{CloseCode, Encoded};
use chat_tokio::Outbox;
use chat_tokio::transport::{Inbound, Transport};

use crate::wait::within;

/// Makes connected pairs of a transport and whoever is at its other end.
pub trait Factory {
    /// The other end.
    type Peer: Peer;

    /// Makes a pair. The transport takes frames of up to [`Factory::FRAME_BYTES`].
    fn pair(&self) -> impl Future<Output = (Box<dyn Transport>, Self::Peer)>;

    /// The longest frame that the transports take, in bytes.
    const FRAME_BYTES: usize;

    /// Whether close codes reach the peer.
    const CODES: bool;
}

/// The other end of a transport, as a client sees it.
pub trait Peer {
    /// Sends one text.
    fn send(&mut self, text: String) -> impl Future<Output = ()>;

    /// Receives one text and answers pings; `None` once the connection is over.
    fn recv(&mut self) -> impl Future<Output = Option<String>>;

    /// Returns the close code that came, if one did.
    fn close_code(&self) -> Option<u16>;

    /// Sends a ping and waits for its answer, where the transport has pings.
    fn ping(&mut self) -> impl Future<Output = ()>;
}

/// More than a system keeps for a peer that does not read.
const ENOUGH_BYTES: usize = 64 * 1024 * 1024;

/// Proves everything.
pub async fn check<F: Factory>(factory: &F) {
    order_and_units(factory).await;
    back_pressure(factory).await;
    ready_is_written(factory).await;
    close_codes(factory).await;
    a_silent_peer(factory).await;
    a_peer_that_goes(factory).await;
    oversize(factory).await;
    cancellation(factory).await;
    pings(factory).await;
}

/// The server's side, as a worker drives it.
struct Server {
    transport: Box<dyn Transport>,
    outbox: Outbox,
}

impl Server {
    fn push(&mut self, text: &str) {
        let framing = self.transport.properties().framing;
        self.outbox.push(framing.of(&Encoded::text_frame(text)));
    }

    async fn flush(&mut self) {
        poll_fn(|cx| self.transport.poll_send(cx, &mut self.outbox)).await.expect("it lives");
        assert!(self.outbox.is_empty(), "ready means that all is written");
    }

    async fn recv(&mut self) -> Inbound {
        poll_fn(|cx| self.transport.poll_recv(cx)).await
    }

    /// The next text, whatever signs of life come before it.
    async fn text(&mut self) -> String {
        loop {
            match self.recv().await {
                Inbound::Text(text) => return text.to_string(),
                Inbound::Alive => {}
                other => panic!("a text was expected, not {other:?}"),
            }
        }
    }

    async fn close(&mut self, code: CloseCode) {
        poll_fn(|cx| self.transport.poll_close(cx, code)).await;
    }
}

async fn connect<F: Factory>(factory: &F) -> (Server, F::Peer) {
    let (transport, peer) = factory.pair().await;
    let properties = transport.properties();
    assert_eq!(properties, transport.properties(), "properties do not change");
    (Server { transport, outbox: Outbox::default() }, peer)
}

/// Polls once, then drops the poll.
async fn once<T>(future: impl Future<Output = T>) -> Poll<T> {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// A text of exactly this many bytes, told apart by its number where it is long enough.
fn text_of(number: usize, length: usize) -> String {
    let mut text = format!("{number}:");
    text.truncate(length);
    while text.len() < length {
        text.push('x');
    }
    text
}

/// What goes in comes out: in order, one frame as one unit, both ways at once.
async fn order_and_units<F: Factory>(factory: &F) {
    let (mut server, mut peer) = connect(factory).await;
    let lengths = [2, 7, 125, 126, 127, 128, 255, F::FRAME_BYTES - 1, F::FRAME_BYTES];
    let texts: Vec<_> = (0..300).map(|i| text_of(i, lengths[i % lengths.len()])).collect();
    for text in &texts {
        server.push(text);
    }
    let mut longer = texts.clone();
    longer.push(text_of(300, 65_535));
    longer.push(text_of(301, 65_536));
    server.push(&longer[300]);
    server.push(&longer[301]);
    let peer_reads = async {
        for text in &longer {
            assert_eq!(peer.recv().await.as_ref(), Some(text));
        }
        peer
    };
    let (_, mut peer) = tokio::join!(server.flush(), peer_reads);
    let server_reads = async {
        for text in &texts {
            assert_eq!(server.text().await, *text);
        }
    };
    let peer_sends = async {
        for text in &texts {
            peer.send(text.clone()).await;
        }
    };
    tokio::join!(server_reads, peer_sends);
}

/// A peer that does not read stops the sending; once it reads, nothing is missing.
async fn back_pressure<F: Factory>(factory: &F) {
    let (mut server, mut peer) = connect(factory).await;
    let (mut count, mut bytes) = (0, 0);
    loop {
        for _ in 0..64 {
            server.push(&text_of(count, 1000));
            (count, bytes) = (count + 1, bytes + 1000);
        }
        assert!(bytes < ENOUGH_BYTES, "the transport takes more than it can have sent");
        // A transport may hold a little of its own, as TLS does.
        if once(server.flush()).await.is_pending() && !server.outbox.is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let before = server.outbox.remaining();
    assert!(once(server.flush()).await.is_pending() || server.outbox.remaining() < before);
    let reads = async {
        for i in 0..count {
            assert_eq!(peer.recv().await, Some(text_of(i, 1000)), "of {count}");
        }
    };
    tokio::join!(server.flush(), reads);
}

/// What is reported as written is: it needs no other poll to arrive.
async fn ready_is_written<F: Factory>(factory: &F) {
    let (mut server, mut peer) = connect(factory).await;
    let mut count = 0;
    loop {
        server.push(&text_of(count, 1000));
        if once(server.flush()).await.is_pending() {
            break;
        }
        count += 1;
        assert!(count * 1000 < ENOUGH_BYTES, "the transport takes more than it can have sent");
    }
    for i in 0..count {
        let received = within("a frame that was reported as written", peer.recv()).await;
        assert_eq!(received, Some(text_of(i, 1000)), "of {count}");
    }
}

/// Each code reaches the peer, after everything that was sent before it.
async fn close_codes<F: Factory>(factory: &F) {
    for code in CloseCode::ALL {
        let (mut server, mut peer) = connect(factory).await;
        server.push("last words");
        server.flush().await;
        let reads = async {
            assert_eq!(peer.recv().await.as_deref(), Some("last words"));
            assert_eq!(peer.recv().await, None);
            let code = peer.close_code();
            drop(peer);
            code
        };
        let (_, seen) = tokio::join!(server.close(*code), reads);
        if F::CODES {
            assert_eq!(seen, Some(code.number()));
        }
        assert!(once(server.close(*code)).await.is_ready(), "closing twice is harmless");
    }
}

/// A peer that neither reads nor ends costs nothing but a pending poll.
async fn a_silent_peer<F: Factory>(factory: &F) {
    let (mut server, peer) = connect(factory).await;
    for _ in 0..3 {
        server.transport.ping();
        assert!(once(server.recv()).await.is_pending());
    }
    server.flush().await;
    for _ in 0..3 {
        let _ = once(server.close(CloseCode::HeartbeatTimeout)).await;
    }
    drop((server, peer));
}

/// A peer that goes is noticed while receiving.
async fn a_peer_that_goes<F: Factory>(factory: &F) {
    let (mut server, mut peer) = connect(factory).await;
    peer.send("last words".into()).await;
    drop(peer);
    assert_eq!(server.text().await, "last words");
    assert_eq!(server.recv().await, Inbound::Closed);
    let _ = once(server.close(CloseCode::Normal)).await;
}

/// The longest frame passes, a longer one ends the connection, and the peer is told why.
async fn oversize<F: Factory>(factory: &F) {
    let (mut server, mut peer) = connect(factory).await;
    let text = text_of(1, F::FRAME_BYTES);
    let (got, ()) = tokio::join!(server.text(), peer.send(text.clone()));
    assert_eq!(got, text);
    let reads = async {
        assert_eq!(server.recv().await, Inbound::Violation(CloseCode::TooBig));
        server.close(CloseCode::TooBig).await;
    };
    let sends = async {
        peer.send(text_of(2, F::FRAME_BYTES + 1)).await;
        assert_eq!(peer.recv().await, None);
        if F::CODES {
            assert_eq!(peer.close_code(), Some(CloseCode::TooBig.number()));
        }
        drop(peer);
    };
    tokio::join!(reads, sends);
}

/// A dropped poll loses nothing and doubles nothing.
async fn cancellation<F: Factory>(factory: &F) {
    let (mut server, mut peer) = connect(factory).await;
    for i in 0..100 {
        let text = text_of(i, 10 + i * 7 % 2000);
        server.push(&text);
        let flushes = async {
            while once(server.flush()).await.is_pending() {
                tokio::task::yield_now().await;
            }
        };
        let (_, got) = tokio::join!(flushes, peer.recv());
        assert_eq!(got.as_ref(), Some(&text));
        assert!(once(server.recv()).await.is_pending());
        let receives = async {
            loop {
                match once(server.text()).await {
                    Poll::Ready(text) => break text,
                    Poll::Pending => tokio::task::yield_now().await,
                }
            }
        };
        let (got, ()) = tokio::join!(receives, peer.send(text.clone()));
        assert_eq!(got, text);
    }
}

/// A ping is answered from both sides, and shows as a sign of life.
async fn pings<F: Factory>(factory: &F) {
    let (mut server, mut peer) = connect(factory).await;
    if !server.transport.properties().pings {
        server.transport.ping();
        server.flush().await;
        return;
    }
    server.transport.ping();
    server.transport.ping();
    server.push("after the ping");
    server.flush().await;
    let asks = async {
        assert_eq!(peer.recv().await.as_deref(), Some("after the ping"));
        // The answer to the ping goes out while the peer waits for something else.
        assert!(once(peer.recv()).await.is_pending());
    };
    let (alive, ()) = tokio::join!(server.recv(), asks);
    assert_eq!(alive, Inbound::Alive);
    let serves = async {
        assert_eq!(server.recv().await, Inbound::Alive);
        server.flush().await;
    };
    tokio::join!(serves, peer.ping());
}
