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
use chat_tokio::clock::Clock;
use chat_tokio::log::{MemoryLog, RoomBatch, RoomLog};
use tokio::time::{Interval, interval};

const ROOMS: usize = 120;
const ENTRIES: u64 = 300;

/// The entries of all rooms.
const ALL: u64 = ROOMS as u64 * ENTRIES;

/// The pace of the reader.
const TICK: Duration = Duration::from_millis(10);

/// Ticks in which the reader reads nothing: 10 s.
const PAUSE: usize = 1000;

/// What the system keeps for the reader, so that the server notices how slowly it reads.
const BUFFER: u32 = 32 * 1024;

/// Says after how many frames the reader pauses, instead of after a number that the clock chooses.
const PAUSE_AFTER: &str = "CHAT_PAUSE_AFTER";

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

/// When the reader stops reading for a while.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    Never,
    BeforeWelcome,
    /// After so many frames, the `welcome` not included.
    After(u64),
}

/// Resumes behind in every room, and reads `per_tick` frames each 10 ms when it does not pause.
async fn everything_arrives_in_order(pause: Pause, per_tick: u64) {
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
    let (mut frames, mut tick) = (0, interval(TICK));
    let hello = client.send(&hello).await;
    if pause == Pause::BeforeWelcome {
        ticks(&mut tick, PAUSE).await;
    }
    let ServerFrame::Welcome(welcome) = client.reply(&hello).await else { panic!("no welcome") };
    let recovered = |how: &Recovery| matches!(how, Recovery::Recovered(_));
    assert_eq!(welcome.rooms.values().filter(|how| recovered(how)).count(), ROOMS);

    let mut reached = BTreeMap::<RoomName, u64>::new();
    while reached.values().sum::<u64>() < ALL {
        if pause == Pause::After(frames) {
            ticks(&mut tick, PAUSE).await;
        }
        if frames % per_tick == 0 {
            ticks(&mut tick, 1).await;
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

async fn ticks(tick: &mut Interval, count: usize) {
    for _ in 0..count {
        tick.tick().await;
    }
}

/// Pauses once, and reads fast otherwise.
async fn everything_arrives_after_a_pause(pause: Pause) {
    let everything = everything_arrives_in_order(pause, 200);
    within_time(Duration::from_secs(120), "all entries", everything).await;
}

#[tokio::test]
async fn a_client_that_reads_100_kb_per_second_gets_everything_in_order() {
    // An entry takes about 120 bytes, and there are a hundred ticks in a second.
    let everything = everything_arrives_in_order(Pause::Never, 8);
    within_time(Duration::from_secs(240), "all entries", everything).await;
}

#[tokio::test]
async fn a_client_that_pauses_before_the_welcome_gets_everything_in_order() {
    everything_arrives_after_a_pause(Pause::BeforeWelcome).await;
}

#[tokio::test]
async fn a_client_that_pauses_after_the_welcome_gets_everything_in_order() {
    everything_arrives_after_a_pause(Pause::After(0)).await;
}

#[tokio::test]
async fn a_client_that_pauses_half_way_gets_everything_in_order() {
    everything_arrives_after_a_pause(Pause::After(ALL / 2)).await;
}

#[tokio::test]
async fn a_client_that_pauses_near_the_end_gets_everything_in_order() {
    everything_arrives_after_a_pause(Pause::After(ALL - ALL / 20)).await;
}

/// The variable repeats a run that has failed.
#[tokio::test]
async fn a_client_that_pauses_anywhere_gets_everything_in_order() {
    let given = std::env::var(PAUSE_AFTER).map(|n| n.parse().expect("a number of frames"));
    let after = given.unwrap_or_else(|_| Clock::start().now().wall.0 % ALL);
    println!("{PAUSE_AFTER}={after} cargo test -p chat-tests --test slow_reader anywhere");
    everything_arrives_after_a_pause(Pause::After(after)).await;
}
