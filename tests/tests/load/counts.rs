//! Small runs in both dialects, whose counts are known beforehand.
use chat_tests::process::{Home, Server, Spec};
use serde_json::Value;

use crate::tool::{DIALECTS, Run, against, server};

/// Expects a report without faults.
fn well(run: &Run) -> Value {
    let json = run.json();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(json["well"], true, "{json}");
    assert_eq!(json["ended"], "as planned", "{json}");
    json
}

fn pick(json: &Value, names: &[&str]) -> Vec<u64> {
    let number = |name: &&str| json[*name].as_u64().unwrap_or_else(|| panic!("{name} of {json}"));
    names.iter().map(number).collect()
}

/// What a delivery can become.
const FATES: [&str; 5] = ["offered", "received", "lost", "repeated", "out_of_order"];

#[tokio::test]
async fn connections_are_counted() {
    let home = Home::default();
    let server = server(&home).await;
    for dialect in DIALECTS {
        let words = format!("--dialect {dialect} --connections 20 --threads 3 --connecting 4");
        let json = well(&against(server.http(), "connect", &words).await);
        let connections = &json["connections"];
        assert_eq!(pick(connections, &["wanted", "made"]), [20, 20]);
        assert_eq!(pick(&connections["failed"], &["count"]), [0]);
        assert_eq!(pick(&connections["closed"], &["count"]), [0]);
        assert_eq!(pick(&connections["time_us"], &["count"]), [20]);
        assert_eq!(json["dialect"], dialect);
    }
    server.stop().await;
}

#[tokio::test]
async fn everybody_hears_of_those_who_join_after_them() {
    let home = Home::default();
    let server = server(&home).await;
    for (dialect, notices) in DIALECTS.into_iter().zip([2 * 15, 2 * 10]) {
        for joining in ["", "--joining 1"] {
            let words = format!("--dialect {dialect} --rooms 2 --members 5 {joining}");
            let joins = &well(&against(server.http(), "join", &words).await)["joins"];
            assert_eq!(pick(joins, &["rooms", "members", "joined"]), [2, 5, 10]);
            assert_eq!(pick(joins, &["notices", "notices_expected"]), [notices; 2], "{dialect}");
            assert_eq!(pick(&joins["time_us"], &["count"]), [10]);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn every_message_comes_once_to_every_member() {
    let home = Home::default();
    let server = server(&home).await;
    for dialect in DIALECTS {
        for pace in ["--in-flight 8", "--in-flight 1 --threads 3", "--rate 5000 --threads 2"] {
            let words = format!("--dialect {dialect} --rooms 2 --members 5 --messages 50 {pace}");
            let json = well(&against(server.http(), "fanout", &words).await);
            assert_eq!(pick(&json["deliveries"], &FATES), [500, 500, 0, 0, 0], "{pace}");
            assert_eq!(pick(&json["deliveries"], &["measured"]), [500]);
            assert_eq!(pick(&json["latency_us"], &["count"]), [500]);
            assert_eq!(pick(&json["messages"], &["sent"]), [100]);
            assert_eq!(json["latency_us"]["of"], "all measured deliveries");
            match dialect {
                "basic" => assert_eq!(json["messages"]["acked"], Value::Null),
                _ => assert_eq!(pick(&json["messages"], &["acked"]), [100]),
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn several_senders_have_numbers_of_their_own() {
    let home = Home::default();
    let server = server(&home).await;
    for dialect in DIALECTS {
        let words = "--rooms 3 --members 4 --senders 4 --messages 25 --size 2000 --threads 2";
        let words = format!("--dialect {dialect} {words}");
        let json = well(&against(server.http(), "fanout", &words).await);
        assert_eq!(pick(&json["deliveries"], &FATES), [1200, 1200, 0, 0, 0]);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_run_for_a_time_accounts_for_all_it_has_sent() {
    let home = Home::default();
    let server = server(&home).await;
    let pid = server.pid().expect("it runs");
    for dialect in DIALECTS {
        let words =
            format!("--dialect {dialect} --members 5 --seconds 0.3 --warmup 0.1 --pid {pid}");
        let json = well(&against(server.http(), "fanout", &words).await);
        let sent = json["messages"]["sent"].as_u64().expect("a number");
        assert!(sent > 0, "{json}");
        assert_eq!(pick(&json["deliveries"], &FATES), [sent * 5, sent * 5, 0, 0, 0]);
        for who in ["server", "chat_load"] {
            assert!(json["cpu"][who]["user_seconds"].is_f64(), "{json}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_a_server_refuses_is_not_lost() {
    let home = Home::default();
    let server = Server::start(&home, &Spec::default().limit("messages_per_10s", 20)).await;
    let words = "--dialect chat.v1 --members 3 --messages 25 --in-flight 4";
    let run = against(server.http(), "fanout", words).await;
    let json = run.json();
    assert_eq!(run.code, Some(3), "{run:?}");
    assert_eq!(pick(&json["deliveries"], &FATES), [75, 75, 0, 0, 0]);
    let refused = pick(&json["messages"]["refused"]["reasons"], &["rate_limited"])[0];
    assert!(refused > 0, "{json}");
    assert_eq!(pick(&json["messages"], &["sent", "acked"]), [25 + refused, 25]);
    assert!(json["notes"][0].as_str().is_some_and(|note| note.contains("--messages-per-10s 0")));
    server.stop().await;
}

#[tokio::test]
async fn idle_connections_tell_what_they_cost() {
    let home = Home::default();
    let server = server(&home).await;
    let pid = server.pid().expect("it runs");
    for dialect in DIALECTS {
        for rooms in [0, 2] {
            let words = "--connections 8 --seconds 0.1";
            let words = format!("{words} --dialect {dialect} --rooms {rooms} --pid {pid}");
            let json = well(&against(server.http(), "idle", &words).await);
            assert_eq!(pick(&json["connections"], &["made"]), [8]);
            let memory = &json["server_memory"];
            assert!(memory["bytes_before"].as_u64().is_some_and(|bytes| bytes > 0), "{json}");
            assert!(memory["bytes_per_connection"].is_f64(), "{json}");
            assert!(json["cpu"]["server"]["percent"].is_f64(), "{json}");
            match rooms {
                0 => assert_eq!(json["joins"], Value::Null),
                _ => assert_eq!(pick(&json["joins"], &["joined", "members"]), [8, 4]),
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_and_costs_the_others_nothing() {
    let home = Home::default();
    let spec = Spec::default().limit("outbox_high_bytes", 4096).limit("outbox_bytes", 16_384);
    let server = Server::start(&home, &spec).await;
    let words = "--members 6 --slow 2 --messages 1500 --size 4000 --in-flight 2";
    let json = well(&against(server.http(), "slow", words).await);
    assert_eq!(pick(&json["deliveries"], &FATES), [6000, 6000, 0, 0, 0]);
    let slow = &json["slow"];
    assert_eq!(pick(slow, &["members", "offered", "repeated"]), [2, 3000, 0]);
    assert_eq!(pick(&slow["cut_off"], &["count"]), [2], "{slow}");
    assert_eq!(pick(&json["connections"]["closed"], &["count"]), [0]);
    server.stop().await;
}

#[tokio::test]
async fn who_reads_late_gets_all_of_it_or_is_told() {
    let home = Home::default();
    let spec = Spec::default().limit("messages_per_10s", 0).limit("outbox_high_bytes", 4096);
    let server = Server::start(&home, &spec).await;
    let words = "--dialect chat.v1 --members 6 --slow 2 --messages 1500 --size 4000 --in-flight 2";
    let json = well(&against(server.http(), "slow", words).await);
    assert_eq!(pick(&json["deliveries"], &FATES), [6000, 6000, 0, 0, 0]);
    let slow = &json["slow"];
    let [received, to_page] = pick(slow, &["received_late", "told_to_page"])[..] else { panic!() };
    assert_eq!(received + to_page, 3000, "{slow}");
    assert_eq!(pick(&slow["cut_off"], &["count"]), [0], "{slow}");
    server.stop().await;
}
