//! A server that has no descriptor left serves those who are in, says so once, and recovers.
#![cfg(target_os = "linux")]
use std::net::SocketAddr;

use chat_tests::client::{BasicClient, Shape};
use chat_tests::process::{Home, Server, Spec};
use chat_tests::wait::{eventually, within};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::TcpStream;

/// Descriptors that are left to the server.
const LEFT: u64 = 20;

const SHORT: &str = "can't accept connections";
const RECOVERED: &str = "accepting connections again";

/// Leaves the process so many descriptors more than it has open.
fn leave(server: &Server, left: u64) {
    let id = server.pid().expect("it runs");
    let open = std::fs::read_dir(format!("/proc/{id}/fd")).expect("our own process").count();
    let most = Some(open as u64 + left);
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: most, maximum: most };
    prlimit(pid, Resource::Nofile, limit).expect("a limit may be lowered");
}

async fn connect(address: SocketAddr) -> TcpStream {
    within("a connection", TcpStream::connect(address)).await.expect("the kernel takes it")
}

#[tokio::test]
async fn a_server_short_of_descriptors_serves_its_members_and_recovers() {
    let home = Home::default();
    // Not by the deadline of handshakes shall it recover.
    let spec = Spec::default().lines().flag("--handshake-timeout", "10m");
    let server = Server::start(&home, &spec).await;
    let mut ada = BasicClient::connect(server.http(), "ada").await;
    let mut bob = BasicClient::connect(server.http(), "bob").await;
    ada.join("r").await;
    bob.join("r").await;
    ada.expect(&Shape::join("r", "bob")).await;
    leave(&server, LEFT);

    let mut silent = Vec::new();
    for _ in 0..LEFT + 50 {
        silent.push(connect(server.http()).await);
    }
    let said = |what: &str| home.stderr().matches(what).count();
    let mut n = 0;
    let mut talk = async || {
        n += 1;
        let content = n.to_string();
        ada.say(&content).await;
        for member in [&mut ada, &mut bob] {
            member.expect(&Shape::message("r", "ada", &content)).await;
        }
    };
    eventually("the warning", async || {
        talk().await;
        (said(SHORT) > 0).then_some(())
    })
    .await;
    // Each one that leaves lets another one in, and the next one fail: still the same shortage.
    for stream in silent.drain(..30) {
        drop(stream);
        talk().await;
    }
    assert_eq!((said(SHORT), said(RECOVERED)), (1, 0), "{}", home.stderr());

    drop(silent);
    let mut carl = BasicClient::connect(server.http(), "carl").await;
    carl.join("r").await;
    ada.expect(&Shape::join("r", "carl")).await;
    eventually("the end of the shortage to be told", async || {
        tokio::task::yield_now().await;
        (said(RECOVERED) > 0).then_some(())
    })
    .await;
    ada.say("we are all here").await;
    for member in [&mut ada, &mut bob, &mut carl] {
        member.until(&Shape::message("r", "ada", "we are all here")).await;
    }
    assert_eq!((said(SHORT), said(RECOVERED)), (1, 1), "{}", home.stderr());
    server.stop().await;
}
