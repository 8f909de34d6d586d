//! Who says `hello` late may come back; who says something else first has to be repaired.
use std::net::SocketAddr;
use std::time::Duration;

use chat_proto::{Advice, CloseCode, Request};
use chat_tests::client::{Ending, V1Client};
use chat_tokio::Server;

fn server(hello_ms: u64) -> (Server, SocketAddr) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::builder().listen(any).handshake_timeout(Duration::from_millis(hello_ms));
    let server = server.start().expect("a server");
    let address = server.local_addr().expect("it listens");
    (server, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_hello_is_no_mistake() {
    let (_server, address) = server(100);
    let mut late = V1Client::connect(address).await;
    assert_eq!(late.socket.ending().await, Ending::Closed(4201));
    assert_eq!(CloseCode::HeartbeatTimeout.number(), 4201);
    assert_eq!(Advice::of(4201), Advice::ResumeNow);
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_before_hello_is_a_mistake() {
    let (_server, address) = server(30_000);
    let mut wrong = V1Client::connect(address).await;
    wrong.send(&Request::Ping).await;
    assert_eq!(wrong.socket.ending().await, Ending::Closed(4000));
    assert_eq!(Advice::of(4000), Advice::FixFirst);
}
