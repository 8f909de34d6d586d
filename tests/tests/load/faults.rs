//! Servers that do wrong, or end in the middle of it.
use std::net::SocketAddr;

use chat_tests::client::BasicClient;
use chat_tests::process::Home;
use futures_util::{SinkExt, StreamExt};
use rustix::net::sockopt::set_tcp_cork;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use crate::tool::{Running, against, server, start};

/// Starts a run without an end, and waits until its messages come.
async fn in_the_middle(server: SocketAddr) -> Running {
    let mut watcher = BasicClient::connect(server, "watcher").await;
    watcher.join("load-7-0").await;
    let words = "--seed 7 --members 4 --seconds 6000 --warmup 0 --json -";
    let running = start(&format!("fanout --url ws://{server}/ws {words}"));
    // Four join; whatever comes then is a message.
    for _ in 0..5 {
        watcher.next().await;
    }
    running
}

#[tokio::test]
async fn a_server_that_dies_is_reported() {
    let home = Home::default();
    let server = server(&home).await;
    let running = in_the_middle(server.http()).await;
    server.kill().await;
    let run = running.ended().await;
    let json = run.json();
    assert_eq!(run.code, Some(3), "{run:?}");
    assert_eq!(json["ended"], "connections lost");
    assert_eq!(json["connections"]["closed"]["count"], 4);
    assert!(run.stderr.contains("every connection has ended"), "{run:?}");
}

#[tokio::test]
async fn an_interrupt_ends_it_early_and_it_still_reports() {
    let home = Home::default();
    let server = server(&home).await;
    let running = in_the_middle(server.http()).await;
    running.interrupt();
    let run = running.ended().await;
    let json = run.json();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(json["ended"], "interrupted");
    assert_eq!(json["deliveries"]["lost"], 0);
    assert!(json["deliveries"]["received"].as_u64().is_some_and(|count| count > 0), "{json}");
    assert!(run.stderr.contains("stopped early"), "{run:?}");
    server.stop().await;
}

/// Returns the number that stands in a message.
fn number(text: &str) -> u64 {
    let (_, stamp) = text.split_once('~').expect("a stamp");
    stamp[8..16].parse().expect("a number")
}

/// A room with one member: what it says comes back, but for some mistakes.
async fn mistaken(stream: TcpStream) {
    let mut socket = accept_async(stream).await.expect("a handshake");
    let mut held = None;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { break };
        let mut replies = Vec::new();
        let is_join = serde_json::from_str::<Value>(&text).expect("JSON")["type"] == "join";
        match if is_join { 0 } else { number(&text) } {
            3 => {}
            5 => replies.extend([text.clone(), text]),
            7 => held = Some(text),
            8 => replies.extend([Some(text), held.take()].into_iter().flatten()),
            _ => replies.push(text),
        }
        for reply in replies {
            socket.send(Message::Text(reply)).await.expect("it reads");
        }
    }
}

#[tokio::test]
async fn an_end_that_comes_with_the_last_words_is_seen() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut socket = accept_async(stream).await.expect("a handshake");
        let join = socket.next().await.expect("a frame").expect("a whole one");
        // The kernel holds the answer back until the end can go with it.
        set_tcp_cork(socket.get_ref(), true).expect("it can be held back");
        socket.send(join).await.expect("it is open");
        socket.get_mut().shutdown().await.expect("it is open");
        while let Some(Ok(_)) = socket.next().await {}
    });
    let run = against(address, "idle", "--connections 1 --rooms 1 --seconds 6000").await;
    let json = run.json();
    assert_eq!(run.code, Some(3), "{run:?}");
    assert_eq!(json["connections"]["closed"]["count"], 1);
    server.await.expect("it ends with its connection");
}

#[tokio::test]
async fn what_is_lost_repeated_or_out_of_order_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        mistaken(stream).await;
    });
    let run = against(address, "fanout", "--members 1 --messages 20 --in-flight 4").await;
    let json = run.json();
    assert_eq!(run.code, Some(3), "{run:?}");
    let deliveries = &json["deliveries"];
    let fates = ["offered", "received", "lost", "repeated", "out_of_order"];
    let fates: Vec<&Value> = fates.iter().map(|name| &deliveries[name]).collect();
    assert_eq!(json!(fates), json!([20, 19, 1, 1, 1]), "{json}");
    assert_eq!(json["well"], false);
    server.await.expect("it ends with its connection");
}
