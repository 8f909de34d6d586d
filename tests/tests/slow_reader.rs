//! A client that comes back far behind in many rooms gets everything, however slowly it reads.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::{
    Body, DisplayName, Epoch, Position, Recovery, Request, Resume, RoomName, Seq, ServerFrame,
    SessionId, Timestamp, UserId,
};
use chat_state::Draft;
use chat_tests::client::{Socket, V1Client};
use chat_tests::wait::within_time;
use chat_tokio::Server;
use chat_tokio::log::{MemoryLog, RoomBatch, RoomLog};
use tokio::time::interval;

const ROOMS: usize = 120;
const ENTRIES: u64 = 300;

/// The pace of the reader.
const TICK: Duration = Duration::from_millis(10);

/// Ticks in which the reader reads nothing: 10 s.
const PAUSE: usize = 1000;

/// What the system keeps for the reader, so that the server notices how slowly it reads.
const BUFFER: u32 = 32 * 1024;

fn room(n: usize) -> RoomName {
    RoomName::new(&format!("room {n}")).expect("a name")
}

fn draft(n: u64) -> Draft {
    Draft {
        user: UserId::new("ada").expect("an id"),
        username: DisplayName::new("Ada").expect("a name"),
        key: None,
        ts: Timestamp(1_700_000_000_000),
        body: Body::Message { content: format!("entry {n}").into(), reply_to: None },
    }
}

/// A log in which each room has its entries, and the epoch of each room.
async fn filled() -> (Arc<MemoryLog>, Vec<Epoch>) {
    let log = Arc::new(MemoryLog::default());
    let mut epochs = Vec::new();
    for n in 0..ROOMS {
        let drafts = (1..=ENTRIES).map(draft).collect();
        let batches = vec![RoomBatch { room: room(n), drafts }];
        let appended = log.append(batches).await.remove(0).expect("it is appended");
        epochs.push(appended.epoch);
    }
    (log, epochs)
}

/// Resumes behind in every room, stops reading for a while after `before` frames, then reads
/// `per_tick` frames each 10 ms.
async fn everything_arrives_in_order(before: u64, per_tick: u64) {
    let (log, epochs) = filled().await;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::builder().log(log).workers(1).listen(any).start().expect("it starts");
    let address = server.local_addr().expect("it listens");
    let mut client = V1Client::over(Socket::open_buffered(address, "", BUFFER).await);
    let at_the_beginning = |epoch| Position { epoch, seq: Seq::ZERO };
    let rooms = epochs.into_iter().enumerate().map(|(n, e)| (room(n), at_the_beginning(e)));
    let session = SessionId::new("s3cret").expect("a session");
    let resume = Resume { session, attempt: 1, rooms: rooms.collect() };
    let hello =
        Request::Hello { name: None, token: None, features: vec![], resume: Some(resume.into()) };
    let ServerFrame::Welcome(welcome) = client.request(&hello).await else { panic!("no welcome") };
    let recovered = |how: &Recovery| matches!(how, Recovery::Recovered(_));
    assert_eq!(welcome.rooms.values().filter(|how| recovered(how)).count(), ROOMS);

    let mut reached = BTreeMap::<RoomName, u64>::new();
    let (mut frames, mut tick) = (0, interval(TICK));
    while reached.values().sum::<u64>() < ROOMS as u64 * ENTRIES {
        if frames == before {
            for _ in 0..PAUSE {
                tick.tick().await;
            }
        }
        if frames % per_tick == 0 {
            tick.tick().await;
        }
        frames += 1;
        if let ServerFrame::Entry(entry) = client.next().await {
            let last = reached.entry(entry.room.clone()).or_default();
            assert_eq!(entry.seq.get(), *last + 1, "{} in order", entry.room);
            *last += 1;
        }
    }
    assert_eq!(reached.len(), ROOMS);
    drop(server);
}

#[tokio::test]
async fn a_client_that_pauses_after_the_welcome_gets_everything_in_order() {
    within_time(Duration::from_secs(120), "all entries", everything_arrives_in_order(0, 200)).await;
}

#[tokio::test]
async fn a_client_that_reads_100_kb_per_second_gets_everything_in_order() {
    // An entry takes about 120 bytes, and there are a hundred ticks in a second.
    within_time(Duration::from_secs(240), "all entries", everything_arrives_in_order(u64::MAX, 8))
        .await;
}

#[tokio::test]
async fn a_client_that_pauses_half_way_gets_everything_in_order() {
    let half = ROOMS as u64 * ENTRIES / 2;
    within_time(Duration::from_secs(120), "all entries", everything_arrives_in_order(half, 200))
        .await;
}
