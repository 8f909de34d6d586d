//! What a burst to idle members leaves.
use chat_tests::process::{Home, Server, Spec};
use serde_json::Value;

use crate::tool::{DIALECTS, against, server};

fn number(json: &Value, name: &str) -> f64 {
    json[name].as_f64().unwrap_or_else(|| panic!("{name} of {json}"))
}

#[tokio::test]
async fn a_burst_comes_to_all_and_its_memory_is_told() {
    let home = Home::default();
    let server = server(&home).await;
    let pid = server.pid().expect("it runs");
    // Senders that have idled for longer than they wait for a message have lost none.
    for (dialect, seconds) in DIALECTS.into_iter().zip([0.1, 3.2]) {
        let words = "--connections 8 --rooms 2 --burst 20 --size 200 --quiet 0.1";
        let words = format!("{words} --seconds {seconds}");
        let words = format!("{words} --threads 2 --dialect {dialect} --pid {pid}");
        let run = against(server.http(), "idle", &words).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        let json = run.json();
        // Both times 20 to each room: one member sends and reads, three read later.
        for (fate, count) in [("offered", 80), ("received", 80), ("lost", 0)] {
            assert_eq!(json["deliveries"][fate], count, "{fate}: {json}");
        }
        for (name, count) in [("members", 6), ("offered", 240), ("received_late", 240)] {
            assert_eq!(json["slow"][name], count, "{name}: {json}");
        }
        let (memory, burst) = (&json["server_memory"], &json["server_memory"]["burst"]);
        let (idle, peak) = (number(memory, "bytes_after"), number(burst, "bytes_at_the_peak"));
        assert!(peak >= idle, "{memory}");
        let after = number(burst, "bytes_per_connection_after_the_quiet");
        let times = after / number(burst, "bytes_per_connection_idle");
        assert!((number(burst, "times_idle") - times).abs() < 1e-6, "{memory}");
        assert!(number(&json["deliveries"], "measured_seconds") >= seconds, "{json}");
        assert_eq!(json["messages"]["given_up"], 0, "{json}");
    }
    server.stop().await;
}

#[tokio::test]
async fn whoever_does_not_read_a_burst_fills_the_servers_buffers() {
    let home = Home::default();
    let spec = Spec::default().limit("outbox_high_bytes", 16_384).limit("outbox_bytes", 16_384);
    let server = Server::start(&home, &spec).await;
    // Far less than a kernel takes for a member that may have long segments.
    let words = "--connections 8 --rooms 2 --burst 400 --size 1000 --seconds 0.1 --quiet 0.1";
    let run = against(server.http(), "idle", words).await;
    let json = run.json();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(json["slow"]["cut_off"]["count"], 6, "{json}");
    assert_eq!(json["deliveries"]["received"], 1600, "{json}");
    server.stop().await;
}
