//! How much a session costs, without sockets: many sessions in one process, in rooms of ten or in
//! one room of all, and a message to one of the rooms.
//!
//! Run it with `cargo run --release --example million -- [SESSIONS [MEMBERS OF A ROOM]]`: a million
//! in one room, if it is not told otherwise. It prints what a session takes
//! of the process's memory, both of its ends together, and how long a message took to reach all.
//! The memory is read from `/proc`, so it is known on Linux only.
mod crowd;

use std::error::Error;

use chat_tokio::Server;
use chat_tokio::clock::Clock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut given = std::env::args().skip(1);
    let mut number = |otherwise| given.next().map_or(Ok(otherwise), |number| number.parse());
    let sessions = number(1_000_000)?;
    let members = number(sessions)?.clamp(1, sessions.max(1));
    let server = Server::builder().limits(crowd::limits(sessions)?).workers(1).start()?;
    let before = crowd::resident_bytes();
    let began = Clock::start();
    let mut peers = crowd::join(&server.handle(), sessions, members).await?;
    let joined = began.since_start();
    crowd::settle(&mut peers).await;
    println!("{sessions} sessions joined rooms of {members} in {:.1} s", joined.as_secs_f64());
    if let (Some(before), Some(after)) = (before, crowd::resident_bytes()) {
        println!("  {} bytes for each, both ends", after.saturating_sub(before) / sessions);
    }
    let began = Clock::start();
    peers[0].send(r#"{"type":"message","content":"hello, all of you"}"#).await?;
    for peer in peers.iter_mut().take(members) {
        loop {
            let told = peer.recv().await.ok_or("the server has closed")?;
            if told.contains("hello, all of you") {
                break;
            }
        }
    }
    let took = began.since_start();
    println!(
        "  a message to {members} took {:.1} ms, {:.0} ns for each",
        took.as_secs_f64() * 1e3,
        took.as_nanos() as f64 / members as f64
    );
    drop(peers);
    server.shutdown().await;
    Ok(())
}
