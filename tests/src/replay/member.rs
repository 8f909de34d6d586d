//! One speaker's connection: one task reads, one writes, and the board knows what was seen.
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use chat_proto::{Dialect, Request, RequestId, ServerFrame};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::ROOM;
use super::board::{Board, Lines, Seen};
use crate::client::{BasicClient, Socket, V1Client, message, name};
use crate::wait::within;

/// Frames that may wait for a connection to take them.
const QUEUE: usize = 256;

/// A speaker.
#[derive(Debug)]
pub(super) struct Member {
    dialect: Dialect,
    index: usize,
    name: String,
    outgoing: mpsc::Sender<String>,
    state: Rc<State>,
    moves: u64,
}

/// What the reading task and the driver share.
#[derive(Debug, Default)]
struct State {
    /// Where lines go that are shown; `None` while it is absent.
    shown: RefCell<Option<Lines>>,
    /// The sign that its last move is done.
    sign: RefCell<Option<Rc<Seen>>>,
    signed: Notify,
    /// Set when the replay is over and the end of the connection means nothing.
    over: Cell<bool>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.state.over.set(true);
    }
}

impl Member {
    pub(super) async fn connect(
        server: SocketAddr,
        index: usize,
        name: &str,
        board: &Rc<Board>,
    ) -> Self {
        let (dialect, socket) = if index.is_multiple_of(2) {
            (Dialect::Basic, BasicClient::connect(server, name).await.socket)
        } else {
            (Dialect::V1, V1Client::hello(server, name).await.0.socket)
        };
        let (sink, stream) = Socket::into_stream(socket).split();
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let state = Rc::new(State::default());
        spawn_local(write(sink, queue));
        let reader = Reader {
            dialect,
            name: name.to_owned(),
            board: Rc::clone(board),
            state: Rc::clone(&state),
            pongs: outgoing.clone(),
        };
        spawn_local(reader.run(stream));
        Self { dialect, index, name: name.to_owned(), outgoing, state, moves: 0 }
    }

    /// Enters the room; has entered when it returns.
    pub(super) async fn join(&mut self, board: &Board) {
        let shown = board.entered(&self.name);
        *self.state.shown.borrow_mut() = Some(shown);
        match self.dialect {
            Dialect::Basic => self.basic_join(ROOM, board).await,
            Dialect::V1 => {
                let request = Request::Join { room: name(ROOM), history: 0 };
                let sign = self.move_v1(&request, board).await;
                match &*sign {
                    Seen::Reply(ServerFrame::Joined(joined)) => {
                        assert_eq!(joined.head.get(), board.lines(), "{} joined", self.name);
                    }
                    other => panic!("{} has not joined: {other:?}", self.name),
                }
            }
        }
    }

    /// Leaves the room; has left when it returns.
    pub(super) async fn leave(&mut self, board: &Board) {
        match self.dialect {
            Dialect::Basic => {
                self.send(r#"{"type":"leave"}"#.into()).await;
                // Nothing answers a leave. Frames of one connection are handled in order.
                let room = format!("apart {} {}", self.index, self.moves);
                self.basic_join(&room, board).await;
            }
            Dialect::V1 => {
                let sign = self.move_v1(&Request::Leave { room: name(ROOM) }, board).await;
                let left = matches!(&*sign, Seen::Reply(ServerFrame::Left { .. }));
                assert!(left, "{} has not left: {sign:?}", self.name);
            }
        }
        let shown = self.state.shown.take().expect("it was present");
        board.left(&shown);
    }

    /// Says the line with this number.
    pub(super) async fn say(&mut self, line: usize, text: &str) {
        let frame = match self.dialect {
            Dialect::Basic => json!({"type": "message", "content": text}).to_string(),
            Dialect::V1 => {
                let id = RequestId::new(&line.to_string()).expect("a number is an id");
                message(ROOM, None, text).encode(Some(&id))
            }
        };
        self.send(frame).await;
    }

    async fn basic_join(&mut self, room: &str, board: &Board) {
        self.moves += 1;
        self.send(json!({"type": "join", "room": room}).to_string()).await;
        let sign = self.sign(board).await;
        let right = matches!(&*sign, Seen::Joined { room: entered, .. } if entered == room);
        assert!(right, "{} wanted to join {room}: {sign:?}", self.name);
    }

    async fn move_v1(&mut self, request: &Request, board: &Board) -> Rc<Seen> {
        self.moves += 1;
        let id = RequestId::new(&format!("move {}", self.moves)).expect("an id");
        self.send(request.encode(Some(&id))).await;
        self.sign(board).await
    }

    async fn send(&mut self, frame: String) {
        let sent = within("room to send", self.outgoing.send(frame)).await;
        assert!(sent.is_ok(), "{}'s connection has ended", self.name);
    }

    async fn sign(&self, board: &Board) -> Rc<Seen> {
        within(format!("{}'s move to be done", self.name), async {
            loop {
                board.assert_right();
                if let Some(sign) = self.state.sign.take() {
                    return sign;
                }
                self.state.signed.notified().await;
            }
        })
        .await
    }
}

async fn write(
    mut sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    mut queue: mpsc::Receiver<String>,
) {
    let mut frames = Vec::new();
    // An error here shows itself to the reader as the end of the connection.
    while queue.recv_many(&mut frames, QUEUE).await > 0 {
        for frame in frames.drain(..) {
            if sink.feed(Message::text(frame)).await.is_err() {
                return;
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
}

struct Reader {
    dialect: Dialect,
    name: String,
    board: Rc<Board>,
    state: Rc<State>,
    pongs: mpsc::Sender<String>,
}

impl Reader {
    async fn run(self, mut stream: SplitStream<WebSocketStream<TcpStream>>) {
        loop {
            let text = match stream.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                _ if self.state.over.get() => return,
                end => return self.wrong(&format!("its connection ended: {end:?}")),
            };
            let seen = self.board.read(self.dialect, text);
            match &*seen {
                Seen::Said(said) => match &*self.state.shown.borrow() {
                    Some(shown) => {
                        shown.borrow_mut().push(Rc::clone(&seen));
                        self.board.shown();
                    }
                    None => self.wrong(&format!("it is absent, but was shown {said:?}")),
                },
                Seen::Joined { username, .. } if *username == self.name => self.sign(seen),
                Seen::Joined { .. } | Seen::Notice => {
                    if self.state.shown.borrow().is_none() {
                        self.wrong(&format!("it is absent, but was told {seen:?}"));
                    }
                }
                Seen::Reply(ServerFrame::Ack { id: Some(id), seq: Some(seq), .. }) => {
                    self.board.acked(id, seq.get());
                }
                Seen::Reply(ServerFrame::Ping { .. }) => {
                    if self.pongs.try_send(Request::Pong.encode(None)).is_err() {
                        self.wrong("no room for a pong");
                    }
                }
                Seen::Reply(_) => self.sign(seen),
                Seen::Wrong(what) => self.wrong(what),
            }
        }
    }

    fn sign(&self, seen: Rc<Seen>) {
        *self.state.sign.borrow_mut() = Some(seen);
        self.state.signed.notify_one();
    }

    fn wrong(&self, what: &str) {
        self.board.wrong(format!("{}: {what}", self.name));
        self.state.signed.notify_one();
    }
}
