//! Somebody hostile: one attack after the other, each drawn at random.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::SUBPROTOCOL;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use super::{Shared, over};
use crate::client::raw::{TEXT, frame, upgrade};
use crate::hostile::{broken_frames, broken_json, floods};
use crate::irc::Dice;

/// How long one attack lasts, if the server does not end it before.
const ATTACK: Duration = Duration::from_secs(2);

/// Attacks until the run ends; returns how often.
pub(super) async fn run(server: SocketAddr, number: u64, shared: Arc<Shared>) -> u64 {
    let mut stop = shared.stop.subscribe();
    let mut dice = Dice(number);
    let mut every = interval(ATTACK);
    let mut attacks = 0;
    loop {
        tokio::select! {
            () = over(&mut stop) => return attacks,
            _ = every.tick() => {}
        }
        // That the server ends it is what is wanted.
        let _ = timeout(ATTACK, attack(server, &mut dice)).await;
        attacks += 1;
    }
}

async fn attack(server: SocketAddr, dice: &mut Dice) -> io::Result<()> {
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
            let all = broken_frames();
            let (_, bytes, _) = &all[dice.below(all.len() as u64) as usize];
            stream.write_all(bytes).await?;
            drain(&mut stream).await
        }
        1 => {
            for (_, text, _) in broken_json() {
                stream.write_all(&frame(TEXT, text.as_bytes())).await?;
            }
            drain(&mut stream).await
        }
        2 => {
            let all = floods();
            let flood = &all[dice.below(all.len() as u64) as usize];
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
