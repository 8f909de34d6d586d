//! A server by hand: it takes connections in memory and says what a test tells it to say.
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use chat_proto::{
    ClientFrame, CloseCode, Decoder, Dialect, DisplayName, Durability, Epoch, Joined, LimitValues,
    MembersView, Request, RequestId, RoomName, Seq, ServerFrame, SessionId, UserId, Welcome,
};
use chat_tokio::Outbox;
use chat_tokio::client::InProcess;
use chat_tokio::server::attach::{Attach, AttachError, NewConnection, Refused};
use chat_tokio::transport::{Inbound, Transport};
use tokio::sync::mpsc;

use crate::wait::within;

/// Connections that may wait to be taken.
const BACKLOG: usize = 64;

/// Makes a server by hand and the way to connect to it; each direction of a connection holds
/// `capacity_bytes`.
#[must_use]
pub fn by_hand(capacity_bytes: usize) -> (InProcess, ByHand) {
    let (door, connections) = mpsc::channel(BACKLOG);
    (InProcess::new(Arc::new(Door(door)), capacity_bytes), ByHand { connections })
}

struct Door(mpsc::Sender<NewConnection>);

impl Attach for Door {
    fn attach(&self, new: NewConnection) -> Result<(), Refused> {
        self.0.try_send(new).map_err(|error| match error {
            mpsc::error::TrySendError::Full(connection) => {
                Refused { why: AttachError::Full, connection }
            }
            mpsc::error::TrySendError::Closed(connection) => {
                Refused { why: AttachError::Closed, connection }
            }
        })
    }
}

/// The server.
#[derive(Debug)]
pub struct ByHand {
    connections: mpsc::Receiver<NewConnection>,
}

impl ByHand {
    /// Waits for the next connection.
    ///
    /// # Panics
    /// If none comes in time.
    pub async fn accept(&mut self) -> Peer {
        within("a connection", self.accept_untimed()).await
    }

    /// Waits for the next connection, without a deadline.
    ///
    /// # Panics
    /// If there is nobody who could connect.
    pub async fn accept_untimed(&mut self) -> Peer {
        let new = self.connections.recv().await.expect("somebody who connects");
        Peer {
            transport: new.transport,
            decoder: Decoder::new(Dialect::V1),
            outbox: Outbox::default(),
        }
    }
}

/// One client, seen from the server.
pub struct Peer {
    transport: Box<dyn Transport>,
    decoder: Decoder,
    outbox: Outbox,
}

impl Peer {
    /// Waits for the next request.
    ///
    /// # Panics
    /// If the connection ends, or nothing comes in time.
    pub async fn request(&mut self) -> (Option<RequestId>, Request) {
        let inbound = within("a request", poll_fn(|cx| self.transport.poll_recv(cx))).await;
        let Inbound::Text(text) = inbound else { panic!("no request, but {inbound:?}") };
        match self.decoder.decode(&text) {
            Ok(ClientFrame::V1 { id, request }) => (id, request),
            other => panic!("no request, but {other:?}: {text}"),
        }
    }

    /// Waits for the end of the connection, whatever is asked for before it.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn end(&mut self) -> Inbound {
        within("the end of the connection", async {
            loop {
                match poll_fn(|cx| self.transport.poll_recv(cx)).await {
                    Inbound::Text(_) | Inbound::Alive => {}
                    end @ (Inbound::Left | Inbound::Closed | Inbound::Violation(_)) => return end,
                }
            }
        })
        .await
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// If the client does not take it in time.
    pub async fn send(&mut self, frame: &ServerFrame) {
        self.push(frame);
        let sent = poll_fn(|cx| self.transport.poll_send(cx, &mut self.outbox));
        within("a frame to be taken", sent).await.expect("the client is there");
    }

    /// Sends a frame, if the client takes it at this moment; else it stays the first to be sent.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn try_send(&mut self, frame: &ServerFrame) -> bool {
        self.push(frame);
        let mut sent = pin!(poll_fn(|cx| self.transport.poll_send(cx, &mut self.outbox)));
        match poll_fn(|cx| Poll::Ready(sent.as_mut().poll(cx))).await {
            Poll::Ready(result) => {
                result.expect("the client is there");
                true
            }
            Poll::Pending => false,
        }
    }

    /// Sends what is left of [`Peer::try_send`].
    ///
    /// # Panics
    /// If the client does not take it in time.
    pub async fn flush(&mut self) {
        let sent = poll_fn(|cx| self.transport.poll_send(cx, &mut self.outbox));
        within("the rest to be taken", sent).await.expect("the client is there");
    }

    fn push(&mut self, frame: &ServerFrame) {
        let encoded = frame.encode(Dialect::V1).expect("a frame that can be sent");
        self.outbox.push(self.transport.properties().framing.of(&encoded));
    }

    /// Ends the connection with a code.
    pub async fn close(mut self, code: CloseCode) {
        poll_fn(|cx| self.transport.poll_close(cx, code)).await;
    }

    /// Takes a `hello` and welcomes the client with this heartbeat; answers what was said.
    ///
    /// # Panics
    /// If something else comes first.
    pub async fn welcome(&mut self, heartbeat_ms: u64) -> Request {
        let (id, hello) = self.request().await;
        assert!(matches!(hello, Request::Hello { .. }), "no hello, but {hello:?}");
        let welcome = Welcome {
            id,
            session: SessionId::new("session").expect("a session"),
            user: UserId::new("ada").expect("a user"),
            name: DisplayName::new("Ada").expect("a name"),
            resumed: false,
            durability: Durability::Memory,
            heartbeat_ms,
            limits: LimitValues::default(),
            features: Vec::new(),
            rooms: Default::default(),
        };
        self.send(&ServerFrame::Welcome(Box::new(welcome))).await;
        hello
    }

    /// Takes a `join` and lets the client into the room, which is empty.
    ///
    /// # Panics
    /// If something else comes first.
    pub async fn let_in(&mut self) -> RoomName {
        let (id, request) = self.request().await;
        let Request::Join { room, .. } = request else { panic!("no join, but {request:?}") };
        let joined = Joined {
            id,
            room: room.clone(),
            epoch: Epoch::new("e1").expect("an epoch"),
            head: Seq::ZERO,
            members: MembersView { count: 0, members: Arc::default() },
            events: Vec::new(),
            has_more_before: false,
        };
        self.send(&ServerFrame::Joined(Box::new(joined))).await;
        room
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").finish_non_exhaustive()
    }
}
