//! One server takes the place of another on the same port while everybody goes on talking.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use chat_proto::DisplayName;
use chat_simulation::history_check::{Logged, Outcome, Run, Send, Shown, check};
use chat_tests::client::{V1Client, name};
use chat_tests::process::{Home, Log, Server, Spec};
use chat_tests::wait::within;
use chat_tokio::client::{Acked, Client, Delivery, Events, Times};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const ROOM: &str = "lobby";

/// How far a member has come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    welcomes: u32,
    acks: u64,
    /// The last entry that it was shown.
    shown: u64,
}

/// Somebody who says one thing after the other until told to stop, and reads all the time.
struct Member {
    name: String,
    client: Client,
    progress: Arc<watch::Sender<Progress>>,
    shown: Arc<Mutex<Vec<Shown>>>,
    talks: JoinHandle<Vec<Send>>,
}

impl Member {
    async fn start(server: SocketAddr, number: usize, stop: watch::Receiver<bool>) -> Self {
        let called = format!("member{number}");
        let times = Times { backoff_base_ms: 100, backoff_max_ms: 1000, ..Times::default() };
        let options = Client::options()
            .name(DisplayName::new(&called).expect("a name"))
            .times(times)
            .history(0);
        let (client, events) = options.start(&format!("ws://{server}/ws")).expect("an address");
        let progress = Arc::new(watch::Sender::new(Progress::default()));
        let shown = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(read(events, Arc::clone(&progress), Arc::clone(&shown)));
        let room = name(ROOM);
        client.join(&room).await.expect("it lives");
        let talks = talk(client.clone(), called.clone(), Arc::clone(&progress), stop);
        let talks = tokio::spawn(talks);
        Self { name: called, client, progress, shown, talks }
    }

    async fn until(&self, what: &str, reached: impl Fn(&Progress) -> bool) -> Progress {
        let mut progress = self.progress.subscribe();
        let what = format!("{} to {what} ({:?})", self.name, self.progress.borrow());
        *within(what, progress.wait_for(reached)).await.expect("it is there")
    }

    /// Waits for some more acks.
    async fn goes_on(&self) {
        let acks = self.progress.borrow().acks;
        self.until("be acked", |progress| progress.acks >= acks + 3).await;
    }
}

async fn talk(
    client: Client,
    called: String,
    progress: Arc<watch::Sender<Progress>>,
    stop: watch::Receiver<bool>,
) -> Vec<Send> {
    let room = name(ROOM);
    let mut sends = Vec::new();
    while !*stop.borrow() {
        let content = format!("{called} says {}", sends.len());
        // Whoever comes back in time has the key of the first attempt: nothing stays in doubt.
        let Acked { seq, .. } = client.send(&room, content.as_str()).await.expect(&content);
        let outcome = Outcome::Acked(seq.get());
        sends.push(Send { client: called.clone(), content, key: None, outcome });
        progress.send_modify(|progress| progress.acks += 1);
    }
    sends
}

async fn read(
    mut events: Events,
    progress: Arc<watch::Sender<Progress>>,
    shown: Arc<Mutex<Vec<Shown>>>,
) {
    let mut joined = false;
    while let Some(event) = events.next().await {
        match event {
            Delivery::Entry(entry) => {
                let Logged { seq, client, content, .. } = Logged::from(&*entry);
                let one = Shown { seq: Some(seq), client, content };
                shown.lock().expect("nobody panics with it").push(one);
                progress.send_modify(|progress| progress.shown = seq);
            }
            Delivery::Welcome(_) => progress.send_modify(|progress| progress.welcomes += 1),
            Delivery::Joined { fresh, .. } => {
                assert_eq!(fresh, !joined, "its position was lost");
                joined = true;
            }
            Delivery::State(_)
            | Delivery::Members { .. }
            | Delivery::MemberJoined { .. }
            | Delivery::MemberLeft { .. } => {}
            other => panic!("unexpected: {other:?}"),
        }
    }
}

/// What a member was shown: all from its first entry to the last one of the log.
fn run(member: String, shown: Vec<Shown>, last: u64) -> Run {
    let first = shown.first().and_then(|shown| shown.seq).expect("it was shown something");
    Run { member, after: first - 1, to: Some(last), shown }
}

async fn log_of(server: SocketAddr) -> Vec<Logged> {
    let (mut reader, _) = V1Client::member(server, "reader", ROOM).await;
    let history = reader.history(ROOM).await;
    // The clients draw their keys themselves.
    history.iter().map(|entry| Logged { key: None, ..Logged::from(&**entry) }).collect()
}

async fn judge(members: Vec<Member>, log: Vec<Logged>) {
    let last = log.len() as u64;
    let (mut sends, mut runs) = (Vec::new(), Vec::new());
    for member in members {
        member.until("be shown all", |progress| progress.shown == last).await;
        sends.extend(member.talks.await.expect("it has told all"));
        let shown = std::mem::take(&mut *member.shown.lock().expect("nobody panics with it"));
        runs.push(run(member.name, shown, last));
        member.client.close().await;
    }
    assert_eq!(sends.len() as u64, last, "each was acked once");
    check(&sends, &runs, &log).unwrap_or_else(|violation| panic!("{violation}"));
}

async fn rolled(workers: u32) {
    const RESTARTS: usize = 2;
    let home = Home::default();
    let mut spec = Spec::default().workers(workers).log(Log::Sqlite);
    spec = spec.limit("messages_per_10s", 0).flag("--share-port", "yes");
    spec = spec.flag("--drain-timeout", "2");
    let mut old = Server::start(&home, &spec).await;
    let address = old.http();
    let spec = spec.listen(&address.to_string());
    let (stop, stopped) = watch::channel(false);
    let mut members = Vec::new();
    for number in 0..6 {
        members.push(Member::start(address, number, stopped.clone()).await);
    }
    for restart in 1..=RESTARTS {
        let new = Server::start(&home, &spec).await;
        assert_eq!(new.http(), address);
        // These come while both listen.
        for number in 0..6 {
            let number = restart * 100 + number;
            members.push(Member::start(address, number, stopped.clone()).await);
        }
        for member in &members {
            member.goes_on().await;
        }
        let before: Vec<u32> = members.iter().map(|m| m.progress.borrow().welcomes).collect();
        old.terminate();
        let status = old.ended().await;
        assert_eq!(status.code(), Some(0), "restart {restart}: {status}");
        for member in &members {
            member.goes_on().await;
        }
        let moved = members.iter().zip(before).filter(|(m, n)| m.progress.borrow().welcomes > *n);
        assert!(moved.count() >= 6, "restart {restart}: who was at the old one has moved");
        old = new;
    }
    stop.send_replace(true);
    for member in &mut members {
        let end = async {
            while !member.talks.is_finished() {
                tokio::task::yield_now().await;
            }
        };
        within(format!("{} to have said its last", member.name), end).await;
    }
    judge(members, log_of(address).await).await;
    old.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_repeated_or_reordered_over_two_restarts() {
    rolled(1).await;
}

#[tokio::test]
async fn nothing_is_lost_with_two_workers_each() {
    rolled(2).await;
}
