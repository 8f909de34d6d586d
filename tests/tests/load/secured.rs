//! Servers that speak TLS.
use chat_tests::process::{Home, Server, Spec};
use chat_tests::tls::{Authority, Files};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::refusals::refused;
use crate::tool::{DIALECTS, run, server};

/// A server with this certificate.
async fn secured(home: &Home, files: &Files) -> Server {
    let spec = Spec::default()
        .tls(files)
        .limit("messages_per_10s", 0)
        .limit("address_messages_per_10s", 0)
        .limit("message_bytes", 100_000)
        .limit("frame_bytes", 200_000)
        .limit("outbox_bytes", 64 * 1024 * 1024);
    Server::start(home, &spec).await
}

/// The file by which an authority is trusted.
fn file(authority: &Authority) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), authority.pem()).expect("it is written");
    file
}

#[tokio::test]
async fn every_message_comes_once_to_every_member_over_tls() {
    let (home, authority) = (Home::default(), Authority::default());
    let (files, ca) = (Files::of(&authority), file(&authority));
    let server = secured(&home, &files).await;
    for dialect in DIALECTS {
        // Frames of one record, and frames of several.
        for (size, threads) in [(128, 1), (60_000, 2)] {
            let words = format!(
                "fanout --url wss://localhost:{} --ca-file {} --json - --dialect {dialect} --rooms \
                 2 --members 5 --messages 50 --in-flight 8 --size {size} --threads {threads}",
                server.http().port(),
                ca.path().display(),
            );
            let run = run(&words).await;
            assert_eq!(run.code, Some(0), "{run:?}");
            let json = run.json();
            for (fate, count) in [("offered", 500), ("received", 500), ("lost", 0)] {
                assert_eq!(json["deliveries"][fate], count, "{fate}: {json}");
            }
            assert_eq!(json["notes"], Value::Array(Vec::new()), "{json}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_a_socket_does_not_take_at_once_follows() {
    let (home, authority) = (Home::default(), Authority::default());
    let (files, ca) = (Files::of(&authority), file(&authority));
    let server = secured(&home, &files).await;
    let (address, ca) = (server.http(), ca.path().display());
    // More than a kernel takes for one connection.
    let words = "--members 2 --messages 150 --in-flight 150 --size 90000 --json -";
    let run = run(&format!("fanout --url wss://{address} --ca-file {ca} {words}")).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let json = run.json();
    assert_eq!(json["deliveries"]["received"], 300, "{json}");
    assert_eq!(json["messages"]["given_up"], 0, "{json}");
    server.stop().await;
}

#[tokio::test]
async fn members_who_read_late_get_it_over_tls_too() {
    let (home, authority) = (Home::default(), Authority::default());
    let (files, ca) = (Files::of(&authority), file(&authority));
    let server = secured(&home, &files).await;
    let words = "--dialect chat.v1 --members 6 --slow 2 --messages 200 --size 40000 --in-flight 2";
    let (address, ca) = (server.http(), ca.path().display());
    let run = run(&format!("slow --url wss://{address} --ca-file {ca} --json - {words}")).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let slow = &run.json()["slow"];
    let number = |name: &str| slow[name].as_u64().expect("a number");
    assert_eq!(number("received_late") + number("told_to_page"), 400, "{slow}");
    server.stop().await;
}

#[tokio::test]
async fn a_server_of_a_stranger_is_refused_unless_that_is_wanted() {
    let (home, authority) = (Home::default(), Authority::default());
    let files = Files::of(&authority);
    let server = secured(&home, &files).await;
    let stranger = file(&Authority::default());
    let url = format!("wss://{}", server.http());
    let words = format!("connect --connections 3 --url {url} --ca-file");
    let words = format!("{words} {}", stranger.path().display());
    refused(&words, 1, &["0 of 3 connections", "3 × TLS", "UnknownIssuer", "--ca-file"]).await;

    let run = run(&format!("connect --connections 3 --url {url} --insecure --json -")).await;
    let json = run.json();
    assert_eq!((run.code, &json["connections"]["made"]), (Some(0), &3.into()), "{run:?}");
    assert!(json["notes"][0].as_str().is_some_and(|note| note.contains("INSECURE")), "{json}");
    assert!(run.stderr.contains("certificate was not checked"), "{run:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_server_without_tls_is_explained() {
    let home = Home::default();
    let server = server(&home).await;
    let words = format!("connect --connections 2 --insecure --url wss://{}", server.http());
    refused(&words, 1, &["0 of 2 connections", "2 × TLS", "does the server speak TLS"]).await;
    server.stop().await;
}
