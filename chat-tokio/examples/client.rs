//! A chat in the terminal: joins a room, prints what is said there, says the lines of stdin.
//!
//! Start a server with `cargo run`, then
//! `cargo run --example client -- ws://127.0.0.1:8080/ws lobby Ada`.
use std::error::Error;

use chat_proto::{Body, DisplayName, Entry, RoomName};
use chat_tokio::client::{Client, Delivery, Events, Outcome, State};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:8080/ws".into());
    let room = RoomName::new(&arguments.next().unwrap_or_else(|| "lobby".into()))?;
    let mut options = Client::options().history(20);
    if let Some(name) = arguments.next() {
        options = options.name(DisplayName::new(&name)?);
    }

    let (client, events) = options.start(&url)?;
    client.join(&room).await?;
    talk(&client, events, &room).await?;
    client.close().await;
    Ok(())
}

/// Reads events and lines in one loop. So nothing may be awaited here that is answered by the
/// server: messages are posted, and what became of them is an event.
async fn talk(client: &Client, mut events: Events, room: &RoomName) -> Result<(), Box<dyn Error>> {
    let mut lines = BufReader::new(stdin()).lines();
    let mut waiting = 0;
    let mut ended = false;
    while !ended || waiting > 0 {
        tokio::select! {
            line = lines.next_line(), if !ended => match line? {
                Some(line) if line.is_empty() => {}
                Some(line) => {
                    client.post(room, line).await?;
                    waiting += 1;
                }
                // All that was said is acknowledged before it leaves.
                None => ended = true,
            },
            event = events.next() => match event {
                Some(Delivery::Settled { outcome, .. }) => {
                    waiting -= 1;
                    if !matches!(outcome, Outcome::Acked { .. }) {
                        println!("! not said: {outcome:?}");
                    }
                }
                Some(event) => show(&event),
                None => return Ok(()),
            },
        }
    }
    Ok(())
}

fn show(event: &Delivery) {
    match event {
        Delivery::Entry(entry) => show_entry(entry),
        Delivery::State(State::Online) => println!("* connected"),
        Delivery::State(State::Waiting { .. }) => println!("* connection lost, reconnecting"),
        Delivery::State(State::Stopped { why }) => println!("* stopped: {why:?}"),
        Delivery::Joined { room, fresh: true, .. } => {
            println!("* joined {}", printable(room.as_str()));
        }
        Delivery::Left { room, why } => println!("* left {}: {why:?}", printable(room.as_str())),
        Delivery::MemberJoined { member, .. } => {
            println!("* {} joined", printable(&member.username));
        }
        Delivery::MemberLeft { member, .. } => println!("* {} left", printable(&member.username)),
        Delivery::Lost { from, to, .. } => println!("* {from} to {to} are lost"),
        Delivery::Reset { .. } => println!("* the room begins anew"),
        _ => {}
    }
}

fn show_entry(entry: &Entry) {
    if let Body::Message { content, .. } = &entry.body {
        println!("<{}> {}", printable(&entry.username), printable(content));
    }
}

/// What others have written must not move the cursor, nor turn the text around.
fn printable(text: &str) -> String {
    let harmful = |c: char| {
        let turns = matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}');
        c.is_control() || turns
    };
    let mut shown = String::new();
    for c in text.chars() {
        if harmful(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}
