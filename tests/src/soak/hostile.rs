//! The hostile ones: each makes one attack after the other, drawn at random.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chat_proto::SUBPROTOCOL;
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Shared, over};
use crate::client::raw::{TEXT, frame, upgrade};
use crate::hostile::{Flood, broken_frames, broken_json, floods};
use crate::irc::Dice;

/// How long one attack lasts on average, if the server does not end it before. Each takes a time of
/// its own, so that they come as they like and not all at once.
const ATTACK: Duration = Duration::from_secs(2);

/// What they send, made once: strangers have machines of their own to make it on.
struct Arms {
    frames: Vec<Vec<u8>>,
    /// All of them, one after the other.
    json: Vec<u8>,
    floods: Vec<Flood>,
}

impl Arms {
    fn new() -> Self {
        let json = broken_json().into_iter();
        Self {
            frames: broken_frames().into_iter().map(|(_, bytes, _)| bytes).collect(),
            json: json.flat_map(|(_, text, _)| frame(TEXT, text.as_bytes())).collect(),
            floods: floods(),
        }
    }
}

/// Starts so many, who attack until the run ends; they return how often.
///
/// They have a thread of their own, which the system lets run when the server and the members have
/// nothing to do: what is measured is what the server does with them, and not what they take from
/// the machine that they should not be on.
pub(super) fn start(
    many: usize,
    server: SocketAddr,
    shared: Arc<Shared>,
) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        // Where it is refused the run is harder.
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let arms = Arc::new(Arms::new());
            let mut strangers = JoinSet::new();
            for number in 0..many as u64 {
                strangers.spawn(run(server, number, Arc::clone(&arms), Arc::clone(&shared)));
            }
            strangers.join_all().await.into_iter().sum()
        })
    })
}

async fn run(server: SocketAddr, number: u64, arms: Arc<Arms>, shared: Arc<Shared>) -> u64 {
    let mut stop = shared.stop.subscribe();
    let mut dice = Dice(number);
    let mut attacks = 0;
    sleep(ATTACK * dice.below(1000) as u32 / 1000).await;
    loop {
        let time = ATTACK * (500 + dice.below(1001) as u32) / 1000;
        let attack = timeout(time, attack(server, &mut dice, &arms));
        tokio::select! {
            () = over(&mut stop) => return attacks,
            // That the server ends it is what is wanted.
            _ = async { tokio::join!(sleep(time), attack) } => attacks += 1,
        }
    }
}

async fn attack(server: SocketAddr, dice: &mut Dice, arms: &Arms) -> io::Result<()> {
    let protocol = (dice.below(2) == 0).then_some(SUBPROTOCOL);
    let mut stream = upgrade(server, "?username=eve", protocol).await?;
    // Half of them are members of a room first.
    if dice.below(2) == 0 {
        let hello = br#"{"type":"hello","name":"eve"}"#;
        if protocol.is_some() {
            stream.write_all(&frame(TEXT, hello)).await?;
        }
        stream.write_all(&frame(TEXT, br#"{"type":"join","room":"strangers"}"#)).await?;
    }
    match dice.below(4) {
        0 => {
            stream.write_all(&arms.frames[dice.below(arms.frames.len() as u64) as usize]).await?;
            drain(&mut stream).await
        }
        1 => {
            stream.write_all(&arms.json).await?;
            drain(&mut stream).await
        }
        2 => {
            let flood = &arms.floods[dice.below(arms.floods.len() as u64) as usize];
            stream.write_all(&flood.begin).await?;
            loop {
                stream.write_all(&flood.part).await?;
            }
        }
        // It says nothing more and reads nothing.
        _ => std::future::pending().await,
    }
}

async fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = [0; 4096];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}
