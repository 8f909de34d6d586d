//! A client of the `chat.v1` dialect.
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use chat_proto::{
    DisplayName, Entry, ErrorBody, HistoryRange, Joined, Key, Page, Request, RequestId, RoomName,
    RoomSummary, SUBPROTOCOL, Seq, ServerFrame, Welcome,
};

use super::socket::Socket;
use crate::wait::within;

/// One `chat.v1` connection.
#[derive(Debug)]
pub struct V1Client {
    /// The connection, for what a well-behaved client would not do.
    pub socket: Socket,
    requests: u64,
    /// What came while a reply was awaited.
    waiting: VecDeque<ServerFrame>,
}

impl V1Client {
    /// Connects with the subprotocol, and says nothing.
    ///
    /// # Panics
    /// If the handshake fails.
    pub async fn connect(server: SocketAddr) -> Self {
        let socket = Socket::open(server, "", Some(SUBPROTOCOL)).await;
        Self { socket, requests: 0, waiting: VecDeque::new() }
    }

    /// Speaks over a connection that was made by other means.
    #[must_use]
    pub fn over(socket: Socket) -> Self {
        Self { socket, requests: 0, waiting: VecDeque::new() }
    }

    /// Connects and says hello.
    ///
    /// # Panics
    /// If anything but a `welcome` comes.
    pub async fn hello(server: SocketAddr, name: &str) -> (Self, Welcome) {
        let mut client = Self::connect(server).await;
        let welcome = client.say_hello(name).await;
        (client, welcome)
    }

    /// Says hello as a guest.
    ///
    /// # Panics
    /// If anything but a `welcome` comes.
    pub async fn say_hello(&mut self, name: &str) -> Welcome {
        let request = Request::Hello {
            name: Some(DisplayName::new(name).expect("a name")),
            token: None,
            features: Vec::new(),
            resume: None,
        };
        match self.request(&request).await {
            ServerFrame::Welcome(welcome) => *welcome,
            other => panic!("no welcome, but {other:?}"),
        }
    }

    /// Connects, says hello, joins a room without asking for its history.
    ///
    /// # Panics
    /// If anything is refused.
    pub async fn member(server: SocketAddr, name: &str, room: &str) -> (Self, Joined) {
        let (mut client, _) = Self::hello(server, name).await;
        let joined = client.join(room, 0).await;
        (client, joined)
    }

    /// Sends a request without waiting for the reply, which will bear the returned id.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn send(&mut self, request: &Request) -> RequestId {
        self.requests += 1;
        let id = RequestId::new(&self.requests.to_string()).expect("a number is an id");
        self.socket.send_text(&request.encode(Some(&id))).await;
        id
    }

    /// Sends a request and waits for its reply; events that come first are kept for
    /// [`V1Client::next`].
    ///
    /// # Panics
    /// If the connection ends first or the reply does not come in time.
    pub async fn request(&mut self, request: &Request) -> ServerFrame {
        let id = self.send(request).await;
        self.reply(&id).await
    }

    /// Sends any text that bears an id, and waits for the reply.
    ///
    /// # Panics
    /// If the connection ends first or the reply does not come in time.
    pub async fn request_text(&mut self, text: &str, id: &str) -> ServerFrame {
        self.socket.send_text(text).await;
        self.reply(&RequestId::new(id).expect("an id")).await
    }

    /// Waits for the reply with this id.
    ///
    /// # Panics
    /// If the connection ends first or the reply does not come in time.
    pub async fn reply(&mut self, id: &RequestId) -> ServerFrame {
        if let Some(at) = self.waiting.iter().position(|frame| frame.request_id() == Some(id)) {
            return self.waiting.remove(at).expect("it is there");
        }
        let what = format!("the reply to request {}", id.as_str());
        within(what, async {
            loop {
                let frame = self.read().await;
                let Some(frame) = frame else {
                    panic!("the connection ended: {:?}", self.socket.ending().await);
                };
                if frame.request_id() == Some(id) {
                    return frame;
                }
                self.waiting.push_back(frame);
            }
        })
        .await
    }

    /// Reads the next frame, `ping` excepted.
    ///
    /// # Panics
    /// If the connection ends or nothing comes in time.
    pub async fn next(&mut self) -> ServerFrame {
        match within("a frame", self.next_untimed()).await {
            Some(frame) => frame,
            None => panic!("the connection ended: {:?}", self.socket.ending().await),
        }
    }

    /// Reads the next frame, `ping` excepted; `None` at the end. It waits without a deadline.
    pub async fn next_untimed(&mut self) -> Option<ServerFrame> {
        match self.waiting.pop_front() {
            Some(frame) => Some(frame),
            None => self.read().await,
        }
    }

    /// Reads frames until an entry comes; whatever else comes first is dropped.
    ///
    /// # Panics
    /// If none comes in time.
    pub async fn next_entry(&mut self) -> Arc<Entry> {
        loop {
            if let ServerFrame::Entry(entry) = self.next().await {
                return entry;
            }
        }
    }

    async fn read(&mut self) -> Option<ServerFrame> {
        loop {
            let text = self.socket.next_text_untimed().await?;
            match ServerFrame::decode(&text) {
                Ok(ServerFrame::Ping { .. }) => {
                    self.socket.send_text(&Request::Pong.encode(None)).await;
                }
                Ok(frame) => return Some(frame),
                Err(error) => panic!("{error}: {text}"),
            }
        }
    }

    /// Joins a room.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn join(&mut self, room: &str, history: u32) -> Joined {
        match self.request(&Request::Join { room: name(room), history }).await {
            ServerFrame::Joined(joined) => *joined,
            other => panic!("not joined, but {other:?}"),
        }
    }

    /// Leaves a room.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn leave(&mut self, room: &str) {
        match self.request(&Request::Leave { room: name(room) }).await {
            ServerFrame::Left { .. } => {}
            other => panic!("not left, but {other:?}"),
        }
    }

    /// Says something and waits for its place in the log.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn say(&mut self, room: &str, content: &str) -> Seq {
        match self.request(&message(room, None, content)).await {
            ServerFrame::Ack { seq: Some(seq), .. } => seq,
            other => panic!("no ack, but {other:?}"),
        }
    }

    /// Sends a request that has to be refused.
    ///
    /// # Panics
    /// If it is not.
    pub async fn refused(&mut self, request: &Request) -> ErrorBody {
        match self.request(request).await {
            ServerFrame::Error(error) => *error,
            other => panic!("not refused, but {other:?}"),
        }
    }

    /// Reads a page of history.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn page(&mut self, room: &str, range: HistoryRange, limit: u32) -> Page {
        let request = Request::History { room: name(room), range, limit: Some(limit) };
        match self.request(&request).await {
            ServerFrame::Page(page) => *page,
            other => panic!("no page, but {other:?}"),
        }
    }

    /// Reads a room's whole history, page by page from its beginning.
    ///
    /// # Panics
    /// If a page promises more but is empty, or does not go on where the last one ended.
    pub async fn history(&mut self, room: &str) -> Vec<Arc<Entry>> {
        let mut all: Vec<Arc<Entry>> = Vec::new();
        loop {
            let after = all.last().map_or(Seq::ZERO, |entry| entry.seq);
            let page = self.page(room, HistoryRange::After(after), 1000).await;
            assert_eq!(page.has_more_before, after != Seq::ZERO, "after {after}");
            let more = page.has_more_after;
            assert!(!more || !page.events.is_empty(), "an empty page can't promise more");
            all.extend(page.events);
            if !more {
                return all;
            }
        }
    }

    /// Reads the whole list of rooms.
    ///
    /// # Panics
    /// If it is refused, or promises more and is empty.
    pub async fn rooms(&mut self) -> Vec<RoomSummary> {
        let mut all: Vec<RoomSummary> = Vec::new();
        loop {
            let after = all.last().map(|summary| summary.room.clone());
            match self.request(&Request::Rooms { after }).await {
                ServerFrame::Rooms { rooms, has_more, .. } => {
                    assert!(!has_more || !rooms.is_empty(), "an empty list can't promise more");
                    all.extend(rooms);
                    if !has_more {
                        return all;
                    }
                }
                other => panic!("no rooms, but {other:?}"),
            }
        }
    }
}

/// Makes a `message` request.
///
/// # Panics
/// If the room or the key is no name.
#[must_use]
pub fn message(room: &str, key: Option<&str>, content: &str) -> Request {
    let key = key.map(|key| Key::new(key).expect("a key"));
    Request::Message { room: name(room), key, content: content.into(), reply_to: None }
}

/// Makes a room's name.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn name(room: &str) -> RoomName {
    RoomName::from_wire(room).expect("a room's name")
}
