//! What can't be done is explained.
use std::process::Stdio;

use chat_tests::process::{Home, load_binary};
use chat_tests::wait::within;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_tungstenite::accept_async;

use crate::tool::{run, server};

/// Expects an end without a report, and these words about it.
pub(crate) async fn refused(words: &str, code: i32, why: &[&str]) {
    let run = run(words).await;
    assert_eq!(run.code, Some(code), "{words}: {run:?}");
    assert_eq!(run.stdout, "", "{words}");
    for why in why {
        assert!(run.stderr.contains(why), "{words}: {why}: {}", run.stderr);
    }
}

#[tokio::test]
async fn wrong_options_are_explained() {
    for (words, why) in [
        ("", &["Usage"][..]),
        ("burn", &["burn"]),
        ("fanout --member 5", &["--member", "--members"]),
        ("fanout --members 0", &["--members", "0 is not in 1..="]),
        ("fanout --members -5", &["--members", "-5"]),
        ("fanout --members 3 --senders 4", &["--members 3", "4 senders"]),
        ("slow --members 3 --senders 1 --slow 3", &["--members 3", "3 who do not read"]),
        ("fanout --size 32", &["--size 32", "33 bytes"]),
        ("fanout --rate 5 --in-flight 5", &["--rate", "--in-flight"]),
        ("fanout --messages 5 --seconds 5", &["--messages", "--seconds"]),
        ("fanout --rate fast", &["--rate", "a number from"]),
        ("idle --seconds -1", &["--seconds", "a number of seconds"]),
        ("idle --burst 5", &["--burst", "0 rooms"]),
        ("idle --connections 10 --rooms 10 --burst 5", &["--burst", "are too few"]),
        ("idle --quiet 5", &["--burst"]),
        ("idle --size 500", &["--burst"]),
        ("idle --rooms 2 --connections 8 --burst 5 --size 10", &["--size 10", "33 bytes"]),
        ("idle --connections 10 --rooms 3", &["--rooms 3", "10 connections"]),
        ("join --rooms 100000 --members 100000", &["more than 10000000 connections"]),
        ("connect --dialect irc", &["irc", "basic", "chat.v1"]),
        ("connect --url ws://127.0.0.1 --insecure", &["ws://127.0.0.1", "are for wss://"]),
        ("connect --url wss://127.0.0.1 --insecure --ca-file x", &["--insecure", "--ca-file"]),
        ("connect --url wss://127.0.0.1 --ca-file /nowhere", &["--ca-file /nowhere", "No such"]),
        ("connect --url 127.0.0.1:80", &["127.0.0.1:80", "ws://"]),
        ("connect --pid 4294967295", &["--pid 4294967295", "no such process"]),
    ] {
        refused(words, 2, why).await;
    }
}

#[tokio::test]
async fn help_names_every_scenario() {
    let help = run("--help").await;
    assert_eq!((help.code, &*help.stderr), (Some(0), ""));
    for scenario in ["connect", "join", "fanout", "idle", "slow"] {
        assert!(help.stdout.contains(&format!("\n  {scenario} ")), "{}", help.stdout);
        let help = run(&format!("{scenario} --help")).await;
        assert_eq!(help.code, Some(0));
        for option in ["--url", "--dialect", "--pid", "--json", "--seed", "--threads"] {
            assert!(help.stdout.contains(option), "{option}: {}", help.stdout);
        }
    }
}

#[tokio::test]
async fn a_refused_connection_is_explained() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    for scenario in ["connect --connections 3", "fanout --members 3"] {
        let words = format!("{scenario} --url ws://{address}");
        let why = ["0 of 3 connections", &address.to_string(), "3 × connection refused"];
        refused(&words, 1, &why).await;
    }
}

#[tokio::test]
async fn a_server_of_another_kind_is_explained() {
    let home = Home::default();
    let server = server(&home).await;
    let words = format!("join --members 2 --url ws://{}/nowhere", server.http());
    refused(&words, 1, &["0 of 2 connections", "no WebSocket there", "404"]).await;
    server.stop().await;

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let other = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        // Without a subprotocol.
        accept_async(stream).await.expect("a handshake")
    });
    let words = format!("connect --connections 1 --dialect chat.v1 --url ws://{address}");
    refused(&words, 1, &["wrong subprotocol", "does not speak `chat.v1`"]).await;
    drop(other.await.expect("it was spoken to"));
}

#[tokio::test]
async fn too_few_open_files_are_counted() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 100 && exec \"$0\" connect --connections 1000"]);
    command.arg(load_binary()).stdin(Stdio::null()).kill_on_drop(true);
    let output = within("the refusal", command.output()).await.expect("there is a shell");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for why in ["1035 open files", "may have 100", "935 are missing", "ulimit"] {
        assert!(stderr.contains(why), "{why}: {stderr}");
    }
}
