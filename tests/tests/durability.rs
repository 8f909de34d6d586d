//! What was acked is there after the process was taken away, in its place and once.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chat_proto::{Epoch, Joined, RequestId, Seq, ServerFrame};
use chat_simulation::history_check::{Logged, Outcome, Run, Send, Shown, check};
use chat_tests::client::{V1Client, message};
use chat_tests::irc::Dice;
use chat_tests::process::{Home, Log, Server, Spec};
use chat_tests::wait::within;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

const ROOM: &str = "lobby";

/// Counts acks over all senders, and tells when enough have come.
#[derive(Default)]
struct Progress {
    acks: AtomicUsize,
    enough: AtomicUsize,
    reached: Notify,
}

impl Progress {
    fn acked(&self) {
        let acks = self.acks.fetch_add(1, Ordering::SeqCst) + 1;
        if acks == self.enough.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
    }
}

/// Sends as fast as a window of unanswered sends allows, until the connection ends. It reads what
/// the room says too: nobody may be shown what is lost later.
async fn sender(
    (mut client, joined): (V1Client, Joined),
    name: String,
    round: usize,
    progress: Arc<Progress>,
) -> (Vec<Send>, Run) {
    const WINDOW: usize = 16;
    let mut sends: Vec<Send> = Vec::new();
    let member = format!("{name} in round {round}");
    let mut run = Run { member, after: joined.head.get(), to: None, shown: Vec::new() };
    let mut answered = 0;
    loop {
        while sends.len() < answered + WINDOW {
            let number = sends.len();
            let send = planned(&name, round, number, format!("{name} says {number} in {round}"));
            let request = message(ROOM, send.key.as_deref(), &send.content);
            let id = RequestId::new(&format!("send {number}")).expect("an id");
            let text = Message::text(request.encode(Some(&id)));
            // Recorded first: what could not be sent whole may have arrived nevertheless.
            sends.push(send);
            if client.socket.try_send(text).await.is_err() {
                return (sends, run);
            }
        }
        match client.next_untimed().await {
            None => return (sends, run),
            Some(ServerFrame::Ack { id: Some(id), seq: Some(seq), .. }) => {
                let number = id.as_str().strip_prefix("send ").and_then(|n| n.parse().ok());
                let number: usize = number.expect("one of our ids");
                sends[number].outcome = Outcome::Acked(seq.get());
                answered += 1;
                progress.acked();
            }
            Some(ServerFrame::Entry(entry)) => {
                let Logged { seq, client, content, .. } = Logged::from(&*entry);
                run.shown.push(Shown { seq: Some(seq), client, content });
            }
            Some(
                ServerFrame::Join { .. }
                | ServerFrame::Leave { .. }
                | ServerFrame::Presence { .. }
                | ServerFrame::Members { id: None, .. },
            ) => {}
            Some(other) => panic!("unexpected: {other:?}"),
        }
    }
}

fn planned(name: &str, round: usize, number: usize, content: String) -> Send {
    let key = Some(format!("{name}/{round}/{number}"));
    Send { client: name.into(), content, key, outcome: Outcome::Unknown }
}

/// Lets senders loose, and takes the server away after so many acks.
async fn one_round(server: Server, round: usize, enough: usize) -> Vec<(Vec<Send>, Run)> {
    const SENDERS: usize = 4;
    let progress = Arc::new(Progress::default());
    progress.enough.store(enough, Ordering::SeqCst);
    let mut members = Vec::new();
    for n in 0..SENDERS {
        let name = format!("sender{n}");
        members.push((V1Client::member(server.http(), &name, ROOM).await, name));
    }
    let mut senders = JoinSet::new();
    for (member, name) in members {
        senders.spawn(sender(member, name, round, Arc::clone(&progress)));
    }
    within(format!("ack {enough} of round {round}"), async {
        tokio::select! {
            () = progress.reached.notified() => {}
            Some(end) = senders.join_next() => panic!("a sender ended: {end:?}"),
        }
    })
    .await;
    server.kill().await;
    within("the senders to notice", senders.join_all()).await
}

async fn killed_under_load(workers: u32) {
    const ROUNDS: usize = 20;
    let home = Home::default();
    let spec = Spec::default().workers(workers).log(Log::Sqlite).limit("messages_per_10s", 0);
    let mut dice = Dice(u64::from(workers));
    let mut sends = Vec::new();
    let mut runs = Vec::new();
    let mut epoch: Option<Epoch> = None;
    let mut highest = Seq::ZERO;
    for round in 0..ROUNDS {
        let server = Server::start(&home, &spec).await;
        let (guard, joined) = V1Client::member(server.http(), "guard", ROOM).await;
        assert_eq!(*epoch.get_or_insert(joined.epoch.clone()), joined.epoch, "round {round}");
        assert!(joined.head >= highest, "round {round}: acked up to {highest}: {joined:?}");
        // The moment differs: after the first acks, or deep in the stream.
        let enough = 1 + dice.below(if round % 4 == 0 { 4 } else { 300 });
        let ended = one_round(server, round, enough as usize).await;
        drop(guard);
        for (sent, run) in ended {
            for send in &sent {
                if let Outcome::Acked(seq) = send.outcome {
                    highest = highest.max(Seq::new(seq).expect("a place"));
                }
            }
            sends.extend(sent);
            runs.push(run);
        }
    }
    let server = Server::start(&home, &spec).await;
    let (mut reader, _) = V1Client::member(server.http(), "reader", ROOM).await;
    let log: Vec<Logged> =
        reader.history(ROOM).await.iter().map(|entry| Logged::from(&**entry)).collect();
    let acked = sends.iter().filter(|send| matches!(send.outcome, Outcome::Acked(_))).count();
    assert!(acked >= ROUNDS && sends.len() > acked, "{acked} of {} were acked", sends.len());
    check(&sends, &runs, &log).unwrap_or_else(|violation| panic!("{violation}"));
    server.stop().await;
}

#[tokio::test]
async fn acked_messages_survive_kill_9_under_load_on_one_worker() {
    killed_under_load(1).await;
}

#[tokio::test]
async fn acked_messages_survive_kill_9_under_load_on_two_workers() {
    killed_under_load(2).await;
}

/// The history as it is on the wire, without the ids of the requests.
async fn raw_history(server: SocketAddr) -> Vec<Value> {
    let (mut reader, _) = V1Client::member(server, "reader", ROOM).await;
    let entries = reader.history(ROOM).await;
    let json = |entry: &Arc<chat_proto::Entry>| serde_json::to_value(&**entry).expect("JSON");
    entries.iter().map(json).collect()
}

#[tokio::test]
async fn the_history_is_identical_after_a_stop_and_a_start() {
    let home = Home::default();
    let spec = Spec::default().log(Log::Sqlite);
    let server = Server::start(&home, &spec).await;
    let (mut ada, joined) = V1Client::member(server.http(), "Ada Lövelace", ROOM).await;
    for n in 1..=250 {
        let content = format!("line {n} \u{202e}\u{1}\"\\ 🦀 {}", "x".repeat(n));
        let key = (n % 2 == 0).then(|| format!("key {n}"));
        let reply = ada.request(&message(ROOM, key.as_deref(), &content)).await;
        assert!(matches!(reply, ServerFrame::Ack { seq: Some(_), .. }), "{reply:?}");
    }
    let before = raw_history(server.http()).await;
    assert_eq!(before.len(), 250);
    drop(ada);
    server.stop().await;
    let server = Server::start(&home, &spec).await;
    let after = raw_history(server.http()).await;
    assert!(before == after, "the history has changed");
    let (mut ada, again) = V1Client::member(server.http(), "Ada Lövelace", ROOM).await;
    assert_eq!((again.epoch, again.head.get()), (joined.epoch, 250));
    assert_eq!(ada.say(ROOM, "it goes on").await.get(), 251);
    server.stop().await;
}

/// The other side: a log in memory says so, begins anew, and does not claim to go on.
#[tokio::test]
async fn a_log_in_memory_begins_anew_with_another_epoch() {
    let home = Home::default();
    let server = Server::start(&home, &Spec::default()).await;
    let (mut ada, welcome) = V1Client::hello(server.http(), "ada").await;
    assert_eq!(welcome.durability, chat_proto::Durability::Memory);
    let first = ada.join(ROOM, 0).await;
    ada.say(ROOM, "soon forgotten").await;
    server.stop().await;
    let server = Server::start(&home, &Spec::default()).await;
    let (_ada, second) = V1Client::member(server.http(), "ada", ROOM).await;
    assert_eq!(second.head, Seq::ZERO);
    assert_ne!(first.epoch, second.epoch, "another log is another epoch");
    let (_bob, welcome) = V1Client::hello(server.http(), "bob").await;
    assert_eq!(welcome.durability, chat_proto::Durability::Memory);
    let sqlite = Server::start(&Home::default(), &Spec::default().log(Log::Sqlite)).await;
    let (_eve, welcome) = V1Client::hello(sqlite.http(), "eve").await;
    assert_eq!(welcome.durability, chat_proto::Durability::Disk);
}
