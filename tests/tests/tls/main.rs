//! TLS over real sockets.
#![expect(clippy::unwrap_used, reason = "a test ends where something fails")]
mod certificates;
mod chat;
mod handshakes;
mod key_sets;
mod validity;
mod webhooks;

use std::net::SocketAddr;

use chat_proto::RoomName;
use chat_tests::tls::Authority;
use chat_tokio::client::{Client, Events, WebSocketUrl};

fn room() -> RoomName {
    RoomName::new("lobby").unwrap()
}

fn url(server: SocketAddr, authority: &Authority) -> WebSocketUrl {
    let url = format!("wss://localhost:{}", server.port());
    WebSocketUrl::parse(&url).unwrap().roots(authority.roots())
}

/// A client that is a member of the room.
async fn member(server: SocketAddr, authority: &Authority) -> (Client, Events) {
    let (client, events) = Client::options().start_over(url(server, authority));
    client.online().await.unwrap();
    client.join(&room()).await.unwrap();
    (client, events)
}
