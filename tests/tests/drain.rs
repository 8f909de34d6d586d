//! How a server leaves service, seen from its sockets and its process.
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chat_proto::{RoomName, Seq, ServerFrame};
use chat_state::{AppendError, Appended, LogHead, LogPage, ReadError, ReadRange};
use chat_tests::client::{BasicClient, Ending, V1Client, message};
use chat_tests::process::{Home, Log, Server, Spec};
use chat_tests::wait::{eventually, within};
use chat_tokio::Drained;
use chat_tokio::log::{Capabilities, LogFuture, MemoryLog, RoomBatch, RoomLog};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ROOM: &str = "lobby";

async fn members(server: SocketAddr, count: usize) -> Vec<V1Client> {
    let mut members = Vec::new();
    for n in 0..count {
        members.push(V1Client::member(server, &format!("m{n}"), ROOM).await.0);
    }
    members
}

/// Reads up to the `bye` and answers with its delay.
async fn bye(client: &mut V1Client) -> u64 {
    loop {
        if let ServerFrame::Bye { reconnect, after_ms, .. } = client.next().await {
            assert!(reconnect);
            return after_ms;
        }
    }
}

/// Everybody is told a time of its own; those whose turn has not come go on talking after the
/// first are gone.
#[tokio::test]
async fn byes_are_staggered_and_who_is_not_due_goes_on() {
    const COUNT: u64 = 8;
    const DRAIN_MS: u64 = 8000;
    let home = Home::default();
    let spec = Spec::default().workers(1).flag("--drain-timeout", "8");
    let mut server = Server::start(&home, &spec).await;
    let mut members = members(server.http(), COUNT as usize).await;
    server.terminate();
    let mut delays = Vec::new();
    for member in &mut members {
        delays.push(bye(member).await);
    }
    let mut sorted = delays.clone();
    sorted.sort_unstable();
    // Seven tenths of the time are for the turns, and two seconds keep those who come back apart.
    let step = (DRAIN_MS * 7 / 10 + 2000) / COUNT;
    for (n, delay) in (0..).zip(&sorted) {
        assert!(delay.abs_diff(n * step) <= 2, "{n}: {sorted:?}");
    }
    let first = delays.iter().position(|delay| *delay == sorted[0]).expect("there is one");
    let last = delays.iter().position(|delay| *delay == sorted[7]).expect("there is one");
    assert_eq!(members[first].socket.ending().await, Ending::Closed(4100));
    members[last].say(ROOM, "one more thing").await;
    assert_eq!(members[last].socket.ending().await, Ending::Closed(4100));
    assert_eq!(server.ended().await.code(), Some(0));
}

/// Two members: the second one's turn comes after half an hour.
async fn long_drain(share: &str) -> (Home, Server, Vec<V1Client>) {
    let home = Home::default();
    let spec = Spec::default().workers(1).log(Log::Sqlite);
    let spec = spec.flag("--drain-timeout", "3600").flag("--share-port", share);
    let server = Server::start(&home, &spec).await;
    let mut members = members(server.http(), 2).await;
    server.terminate();
    for member in &mut members {
        bye(member).await;
    }
    (home, server, members)
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (_home, mut server, members) = long_drain("no").await;
    server.terminate();
    assert_eq!(server.ended().await.code(), Some(128 + 15));
    drop(members);
}

/// A balancer may ask whether it is ready; who comes all the same is told to go elsewhere.
#[tokio::test]
async fn it_says_that_it_is_not_ready_as_long_as_it_drains() {
    let (_home, server, mut members) = long_drain("no").await;
    let mut stream = TcpStream::connect(server.http()).await.expect("it listens");
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {}\r\n\r\n", server.http());
    stream.write_all(request.as_bytes()).await.expect("it is taken");
    let mut head = [0; 12];
    within("an answer", stream.read_exact(&mut head)).await.expect("there is one");
    assert_eq!(&head, b"HTTP/1.1 503");
    let mut late = BasicClient::connect(server.http(), "late").await;
    assert_eq!(late.socket.ending().await, Ending::Closed(4100));
    // And those who are there are served.
    let mut served = 0;
    for member in &mut members {
        member.send(&message(ROOM, None, "still here")).await;
        while let Some(frame) = within("an answer", member.next_untimed()).await {
            if matches!(frame, ServerFrame::Ack { seq: Some(_), .. }) {
                served += 1;
                break;
            }
        }
    }
    assert_eq!(served, 1, "the first one's turn has come, the other one's has not");
}

/// Where another server takes its place, nobody comes to this one any more.
#[tokio::test]
async fn a_shared_port_is_left_at_once() {
    let (_home, server, members) = long_drain("yes").await;
    eventually("the port to be free", async || {
        TcpStream::connect(server.http()).await.is_err().then_some(())
    })
    .await;
    drop(members);
}

/// A log that takes drafts and never answers.
#[derive(Default)]
struct Stuck {
    log: MemoryLog,
    appends: AtomicUsize,
}

impl RoomLog for Stuck {
    fn capabilities(&self) -> Capabilities {
        self.log.capabilities()
    }

    fn append(&self, _: Vec<RoomBatch>) -> LogFuture<Vec<Result<Appended, AppendError>>> {
        self.appends.fetch_add(1, Ordering::Relaxed);
        Box::pin(pending())
    }

    fn head(&self, room: RoomName) -> LogFuture<Result<LogHead, ReadError>> {
        self.log.head(room)
    }

    fn read(&self, room: RoomName, range: ReadRange) -> LogFuture<Result<LogPage, ReadError>> {
        self.log.read(room, range)
    }

    fn trim(&self, room: RoomName, before: Seq) -> LogFuture<Result<Seq, ReadError>> {
        self.log.trim(room, before)
    }
}

/// The drain waits for what is unanswered, but not for ever: the append itself would be given up
/// an hour later.
#[tokio::test]
async fn the_deadline_ends_a_drain_that_waits_for_an_answer() {
    let log = Arc::new(Stuck::default());
    let times =
        chat_state::TimeValues { append_ms: 3_600_000, ..chat_state::TimeValues::default() }
            .build()
            .expect("within bounds");
    let server = chat_tokio::Server::builder()
        .log(Arc::<Stuck>::clone(&log))
        .times(times)
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .drain_timeout(Duration::from_secs(1))
        .start()
        .expect("a server");
    let address = server.local_addr().expect("it listens");
    let (mut ada, _) = V1Client::member(address, "ada", ROOM).await;
    let (mut bob, _) = V1Client::member(address, "bob", ROOM).await;
    ada.send(&message(ROOM, Some("k"), "will it be said?")).await;
    eventually("the log to have it", async || {
        ada.request(&chat_proto::Request::Ping).await;
        (log.appends.load(Ordering::Relaxed) > 0).then_some(())
    })
    .await;
    let (drained, (), ()) = within("the drain", async {
        tokio::join!(
            server.shutdown(),
            async { assert_eq!(bob.socket.ending().await, Ending::Closed(4100)) },
            async {
                while let Some(frame) = ada.next_untimed().await {
                    assert!(!matches!(frame, ServerFrame::Ack { .. }), "nothing is in the log");
                }
                assert_eq!(ada.socket.ending().await, Ending::Closed(4100));
            },
        )
    })
    .await;
    assert_eq!(drained, Drained::DeadlinePassed);
}
