//! What comes together is handled together: read in one go, offered to the log as one batch, and
//! written to each member at once.
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use chat_proto::{BasicRequest, CloseCode, Dialect, LimitValues, RoomName};
use chat_tests::scrape::Scrape;
use chat_tests::wait::eventually;
use chat_tokio::log::{SqliteLog, SqliteOptions};
use chat_tokio::server::attach::{Attach, NewConnection};
use chat_tokio::transport::{Framing, Inbound, Properties, Transport};
use chat_tokio::{Outbox, Server};

const MEMBERS: usize = 300;

/// Takes whatever is sent, as long as the runtime lets the task go on, like a socket of tokio.
#[derive(Default)]
struct Peer {
    input: VecDeque<String>,
    reader: Option<Waker>,
    taken: usize,
    closed: Option<CloseCode>,
}

impl Peer {
    /// All of them are there when the server looks for the first.
    fn say(&mut self, contents: &[String]) {
        let message = |content: &String| BasicRequest::Message { content: content.clone().into() };
        self.input.extend(contents.iter().map(|content| message(content).encode()));
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

struct Willing(Arc<Mutex<Peer>>);

impl Transport for Willing {
    fn properties(&self) -> Properties {
        Properties { framing: Framing::Text, pings: false }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Inbound> {
        let mut peer = self.0.lock().expect("nobody panics with it");
        match peer.input.pop_front() {
            Some(text) => Poll::Ready(Inbound::Text(text.into())),
            None => {
                peer.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<io::Result<()>> {
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        budget.made_progress();
        while outbox.pop().is_some() {
            self.0.lock().expect("nobody panics with it").taken += 1;
        }
        Poll::Ready(Ok(()))
    }

    fn ping(&mut self) {}

    fn poll_close(&mut self, _: &mut Context<'_>, code: CloseCode) -> Poll<()> {
        self.0.lock().expect("nobody panics with it").closed = Some(code);
        Poll::Ready(())
    }
}

/// A member is not cut off because the runtime wants a task to yield: tokio gives a task about 128
/// operations, and a broadcast has more members than that.
#[tokio::test]
async fn a_burst_to_more_members_than_a_task_has_operations_cuts_nobody_off() {
    // Two messages are more than an outbox may hold, so each push has to be flushed at once.
    let limits =
        LimitValues { outbox_bytes: 4096, outbox_high_bytes: 4096, ..LimitValues::default() }
            .build()
            .expect("within bounds");
    // A log that answers later: the broadcast is then made by a task that tokio wants to yield.
    let home = tempfile::tempdir().expect("a folder");
    let log = SqliteLog::open(home.path().join("log"), &SqliteOptions::default()).expect("a log");
    let server = Server::builder().log(Arc::new(log)).limits(limits).start();
    let server = server.expect("a server without listeners");
    let peers: Vec<Arc<Mutex<Peer>>> = (0..MEMBERS).map(|_| Arc::default()).collect();
    for peer in &peers {
        join(&server, peer).await;
    }
    let before: Vec<usize> =
        peers.iter().map(|peer| peer.lock().expect("nobody panics with it").taken).collect();
    let contents: Vec<_> = (0..11).map(|_| "x".repeat(3000)).collect();
    peers[0].lock().expect("nobody panics with it").say(&contents);
    for (n, (peer, before)) in peers.iter().zip(before).enumerate() {
        eventually(format!("member {n} to have all messages"), async || {
            let peer = peer.lock().expect("nobody panics with it");
            assert_eq!(peer.closed, None, "member {n} was cut off");
            (peer.taken >= before + 11).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn messages_that_come_together_are_one_batch_for_the_log() {
    let server = Server::builder().start().expect("a server without listeners");
    let peer: Arc<Mutex<Peer>> = Arc::default();
    join(&server, &peer).await;
    let before = peer.lock().expect("nobody panics with it").taken;
    let contents: Vec<_> = (0..8).map(|n| format!("m{n}")).collect();
    peer.lock().expect("nobody panics with it").say(&contents);
    eventually("all messages", async || {
        (peer.lock().expect("nobody panics with it").taken >= before + 8).then_some(())
    })
    .await;
    let text = server.metrics().snapshot().await.encode();
    let metrics = Scrape::parse(&text).expect("well formed");
    let batches = metrics.value(r#"chat_log_appends_total{result="ok"}"#);
    assert_eq!((batches, metrics.value("chat_log_drafts_total")), (1.0, 8.0));
}

/// Brings a member into the room.
async fn join(server: &Server, peer: &Arc<Mutex<Peer>>) {
    let new = NewConnection::new(Box::new(Willing(peer.clone())), Dialect::Basic);
    server.handle().attach(new).expect("there is room");
    let room = RoomName::new("lobby").expect("a name");
    {
        let mut peer = peer.lock().expect("nobody panics with it");
        peer.input.push_back(BasicRequest::Join { room }.encode());
        peer.wake();
    }
    eventually("the member to be in", async || {
        (peer.lock().expect("nobody panics with it").taken > 0).then_some(())
    })
    .await;
}
