//! Real talk over connections that are cut, stalled, delayed and left half open all the time: no
//! line is lost, repeated or out of order for anybody, and every send is settled exactly once.
use std::net::SocketAddr;
use std::sync::Arc;

use chat_proto::LimitValues;
use chat_state::TimeValues;
use chat_tests::irc::{self, Script};
use chat_tests::proxy::{Mix, Plan, Proxy};
use chat_tests::replay::{on_this_thread, replay_steadily};
use chat_tokio::Server;
use chat_tokio::client::{Client, Options, Times};
use chat_tokio::log::{MemoryLog, RoomLog, SqliteLog, SqliteOptions};

/// Connections that have to be cut for the test to say anything.
const CUTS: u64 = 200;

fn options() -> Options {
    Client::options().times(Times {
        connect_ms: 1000,
        hello_ms: 1000,
        request_ms: 1000,
        backoff_base_ms: 10,
        backoff_max_ms: 100,
        resume_spread_ms: 10,
        probe_ms: 250,
        grace_ms: 50,
        retry_min_ms: 5,
        ..Times::default()
    })
}

fn run(script: &Script, seed: u64, workers: usize, log: Arc<dyn RoomLog>) {
    on_this_thread(async {
        // Half-open connections are noticed by silence: it must not take long to be suspicious.
        let times =
            TimeValues { heartbeat_ms: 250, heartbeat_dead_ms: 1000, ..TimeValues::default() }
                .build()
                .expect("within bounds");
        // The logs know nothing of limits on how fast somebody may talk.
        let limits = LimitValues { messages_per_10s: 0, ..LimitValues::default() }
            .build()
            .expect("within bounds");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::builder().log(log).workers(workers).limits(limits).times(times);
        let server = server.listen(any).start().expect("a server");
        let direct = server.local_addr().expect("it listens");
        // A client sends less than it gets.
        let mix = Mix { mean_bytes: [450, 32 * 1024], ..Mix::default() };
        let proxy = Proxy::start(direct, Plan::Seeded(seed, mix));
        let heal = || proxy.heal();
        let figures =
            replay_steadily((proxy.address(), direct, workers), script, options, heal).await;
        let counters = proxy.counters();
        println!("{figures:?}\n{counters:?}");
        assert!(counters.cuts() >= CUTS, "the proxy has cut too little: {counters:?}");
        assert!(counters.half_open_clients > 0 && counters.half_open_servers > 0);
        assert!(counters.stalls_to_client > 0 && counters.stalls_to_server > 0);
        assert!(figures.resumed >= CUTS / 2, "{figures:?}");
        assert!(figures.lines > 500, "this is no log of a busy room");
    });
}

fn sqlite() -> (tempfile::TempDir, Arc<dyn RoomLog>) {
    let dir = tempfile::tempdir().expect("a folder");
    let log = SqliteLog::open(dir.path().join("log"), &SqliteOptions::default());
    (dir, Arc::new(log.expect("a log")))
}

#[test]
fn one_worker_memory() {
    run(&irc::script("ubuntu-2004-12-25.txt"), 1, 1, Arc::new(MemoryLog::default()));
}

#[test]
fn one_worker_sqlite() {
    let (_dir, log) = sqlite();
    run(&irc::script("ubuntu-2017-09-02.txt"), 2, 1, log);
}

#[test]
fn two_workers_memory() {
    run(&irc::script("ubuntu-2010-08-15.txt"), 3, 2, Arc::new(MemoryLog::default()));
}

#[test]
fn two_workers_sqlite() {
    let (_dir, log) = sqlite();
    run(&irc::script("ubuntu-2017-07-15.txt"), 4, 2, log);
}
