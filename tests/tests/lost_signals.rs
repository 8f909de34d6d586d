//! What one lost signal costs two workers that share thousands of rooms: it is made up for, with
//! signals about all rooms together and not about each one.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::{LimitValues, Request, RoomName, ServerFrame};
use chat_state::{HubId, Lost, Signal, SignalTo, TimeValues};
use chat_tests::client::{V1Client, name};
use chat_tests::scrape::Scrape;
use chat_tests::wait::{eventually, within};
use chat_tokio::Server;
use chat_tokio::broker::{Broker, LocalBroker, SignalSink};
use chat_tokio::clock::Clock;
use futures_util::future::join_all;
use tokio::sync::watch;

/// The rooms of a group have the same two members, one on each worker.
const GROUPS: usize = 96;
const ROOMS_OF_A_GROUP: usize = 125;
const ROOMS: usize = GROUPS * ROOMS_OF_A_GROUP;

/// Signals that one loss may cause, leases included that are renewed meanwhile. A digest lists 256
/// rooms, so all rooms fit 47 digests. One signal for each room would be 12 000.
const SIGNALS_MAX: usize = 500;

/// The room whose signal is lost.
const ROOM: &str = "room 0 0";

fn room(group: usize, n: usize) -> String {
    format!("room {group} {n}")
}

/// A broker that loses one signal when the test wants it, and reports that signals were lost
/// without knowing which.
struct Lossy {
    broker: LocalBroker,
    clock: Clock,
    seen: watch::Sender<Seen>,
}

#[derive(Default)]
struct Seen {
    sinks: BTreeMap<HubId, Arc<dyn SignalSink>>,
    followers: BTreeMap<RoomName, BTreeSet<HubId>>,
    /// Decides which signal to the followers of [`ROOM`] is lost next.
    to_lose: Option<fn(&Signal) -> bool>,
    /// When a signal was lost.
    lost_at: Duration,
    /// Signals since then, in order.
    sent: Vec<Sent>,
}

struct Sent {
    at: Duration,
    from: HubId,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Lease,
    Request,
    Digest,
    /// The digest that ends a requested list of all rooms.
    LastDigest,
    Rosters,
    Change,
}

impl What {
    fn of(to: &SignalTo, signal: &Signal) -> Self {
        match signal {
            Signal::Alive { .. } => Self::Lease,
            Signal::AskRosters { .. } | Signal::AskDigest { .. } => Self::Request,
            Signal::Digest(digest) => match (to, &digest.covers) {
                (SignalTo::Hub(_), Some(covers)) if covers.upto.is_none() => Self::LastDigest,
                (_, Some(_) | None) => Self::Digest,
            },
            Signal::Rosters { .. } => Self::Rosters,
            Signal::Committed { .. }
            | Signal::Came { .. }
            | Signal::Went { .. }
            | Signal::Typing { .. }
            | Signal::Resumed { .. }
            | Signal::Revoked(_)
            | Signal::Spent { .. }
            | Signal::Sessions { .. }
            | Signal::Grown { .. } => Self::Change,
        }
    }
}

impl Lossy {
    fn new() -> Self {
        let seen = watch::Sender::new(Seen::default());
        Self { broker: LocalBroker::default(), clock: Clock::start(), seen }
    }

    /// Returns how many workers have members in a room.
    fn workers_in(&self, room: &str) -> usize {
        self.seen.borrow().followers.get(&name(room)).map_or(0, BTreeSet::len)
    }

    /// Waits for a signal.
    async fn sent(&self, what: What) {
        let mut seen = self.seen.subscribe();
        let sent = seen.wait_for(|seen| seen.sent.iter().any(|sent| sent.what == what));
        within(format!("{what:?}"), sent).await.map(drop).expect("the broker is there");
    }

    /// Waits until each worker has renewed its lease, which it does in any case.
    async fn leases_renewed(&self) {
        let from = self.seen.borrow().sent.len();
        let mut seen = self.seen.subscribe();
        let renewed = seen.wait_for(|seen| {
            let leases = seen.sent[from..].iter().filter(|sent| sent.what == What::Lease);
            leases.map(|sent| sent.from).collect::<BTreeSet<_>>().len() == 2
        });
        within("two leases", renewed).await.map(drop).expect("the broker is there");
    }

    /// Returns the number of signals, and tells what they were.
    fn told(&self, of_what: &str) -> usize {
        let seen = self.seen.borrow();
        let mut kinds = BTreeMap::<What, usize>::new();
        seen.sent.iter().for_each(|sent| *kinds.entry(sent.what).or_default() += 1);
        let until = |at: Duration| seen.sent.partition_point(|sent| sent.at < at);
        let in_a_second = |(n, sent): (usize, &Sent)| until(sent.at + Duration::from_secs(1)) - n;
        let most = seen.sent.iter().enumerate().map(in_a_second).max().unwrap_or(0);
        println!("{of_what}: {} signals, at most {most} in 1 s, {kinds:?}", seen.sent.len());
        seen.sent.len()
    }
}

impl Broker for Lossy {
    fn connect(&self, hub: HubId, sink: Arc<dyn SignalSink>) {
        self.seen.send_modify(|seen| drop(seen.sinks.insert(hub, sink.clone())));
        self.broker.connect(hub, sink);
    }

    fn disconnect(&self, hub: HubId) {
        self.seen.send_modify(|seen| drop(seen.sinks.remove(&hub)));
        self.broker.disconnect(hub);
    }

    fn follow(&self, hub: HubId, room: &RoomName) {
        let followers = |seen: &mut Seen| {
            seen.followers.entry(room.clone()).or_default().insert(hub);
        };
        self.seen.send_modify(followers);
        self.broker.follow(hub, room);
    }

    fn unfollow(&self, hub: HubId, room: &RoomName) {
        self.seen.send_modify(|seen| {
            seen.followers.get_mut(room).map(|followers| followers.remove(&hub));
        });
        self.broker.unfollow(hub, room);
    }

    fn publish(&self, from: HubId, to: &SignalTo, signal: Signal) {
        let mut deaf = Vec::new();
        self.seen.send_modify(|seen| {
            let now = self.clock.since_start();
            let is_of_room = matches!(to, SignalTo::Followers(room) if *room == name(ROOM));
            if is_of_room && seen.to_lose.take_if(|to_lose| to_lose(&signal)).is_some() {
                let hubs = seen.followers[&name(ROOM)].iter().filter(|hub| **hub != from);
                deaf.extend(hubs.map(|hub| seen.sinks[hub].clone()));
                (seen.lost_at, seen.sent) = (now, Vec::new());
                return;
            }
            seen.sent.push(Sent { at: now, from, what: What::of(to, &signal) });
        });
        if deaf.is_empty() {
            return self.broker.publish(from, to, signal);
        }
        deaf.iter().for_each(|sink| sink.lost(Lost::All));
    }
}

/// Two members that share the rooms of a group, one on each worker.
struct Pair([V1Client; 2]);

impl Pair {
    /// Which worker gets a connection is up to the system, so the second member comes again until
    /// it is not with the first one.
    async fn join(server: SocketAddr, broker: &Lossy, group: usize) -> Self {
        let first_room = room(group, 0);
        let (mut ada, _) = V1Client::member(server, "Ada", &first_room).await;
        let mut bob = eventually("the other worker", async || {
            let (mut bob, _) = V1Client::member(server, "Bob", &first_room).await;
            if broker.workers_in(&first_room) == 2 {
                return Some(bob);
            }
            bob.leave(&first_room).await;
            None
        })
        .await;
        for member in [&mut ada, &mut bob] {
            let mut replies = Vec::new();
            for n in 1..ROOMS_OF_A_GROUP {
                let request = Request::Join { room: name(&room(group, n)), history: 0 };
                replies.push(member.send(&request).await);
            }
            for reply in replies {
                let reply = member.reply(&reply).await;
                assert!(matches!(reply, ServerFrame::Joined(_)), "{reply:?}");
            }
        }
        Self([ada, bob])
    }

    /// Waits until both workers count the members of all rooms right: two of each room, and
    /// `members` of the room whose signals get lost.
    async fn see_all(&mut self, members: u64) {
        for client in &mut self.0 {
            eventually("the right counts", async || {
                let rooms = client.rooms().await;
                let expected = |room: &RoomName| if *room == name(ROOM) { members } else { 2 };
                let right = rooms.iter().all(|summary| summary.members == expected(&summary.room));
                (rooms.len() == ROOMS && right).then_some(())
            })
            .await;
        }
    }

    /// Waits until both have got a message.
    async fn both_get(&mut self, content: &str) {
        for client in &mut self.0 {
            let entry = client.next_entry().await;
            assert!(format!("{:?}", entry.body).contains(content), "{entry:?}");
        }
    }
}

/// Two workers whose signals pass a lossy broker. They find losses by nothing but its reports: the
/// log is not polled.
fn start(broker: Arc<Lossy>) -> Server {
    let limits = LimitValues {
        messages_per_10s: 0,
        address_messages_per_10s: 0,
        rooms_listed: 1000,
        ..LimitValues::default()
    };
    let times = TimeValues { poll_ms: 24 * 60 * 60 * 1000, ..TimeValues::default() };
    let any = || SocketAddr::from(([127, 0, 0, 1], 0));
    let builder = Server::builder().workers(2).broker(broker).listen(any()).metrics_listen(any());
    let builder = builder.limits(limits.build().expect("within bounds"));
    builder.times(times.build().expect("within bounds")).start().expect("it starts")
}

#[tokio::test]
async fn a_lost_signal_among_12000_rooms_is_recovered_with_few_signals() {
    let broker = Arc::new(Lossy::new());
    let server = start(broker.clone());
    let address = server.local_addr().expect("it listens");
    let watchers = server.metrics_addr().expect("it listens");
    let joining = (0..GROUPS).map(|group| Pair::join(address, &broker, group));
    let mut pairs = join_all(joining).await;
    let pair = &mut pairs[0];
    pair.see_all(2).await;
    broker.told("joins");
    broker.leases_renewed().await;

    let reads = async || Scrape::of(watchers).await.value(r#"chat_log_reads_total{result="ok"}"#);
    let recovered = async |pair: &mut Pair, what: &str, reads_before: f64, members: u64| {
        broker.sent(What::LastDigest).await;
        eventually("the ends of all rooms to be read", async || {
            (reads().await >= reads_before + ROOMS as f64).then_some(())
        })
        .await;
        pair.see_all(members).await;
        let took = broker.clock.since_start() - broker.seen.borrow().lost_at;
        println!("{what}: settled after {:.2} s", took.as_secs_f64());
        // A storm that the recovery sets off would come by now.
        broker.leases_renewed().await;
        let signals = broker.told(what);
        assert!(signals <= SIGNALS_MAX, "{what} caused {signals} signals");
    };
    let lose = |to_lose| broker.seen.send_modify(|seen| seen.to_lose = Some(to_lose));

    let before = reads().await;
    lose(|signal| matches!(signal, Signal::Committed { .. }));
    pair.0[0].say(ROOM, "lost on the way").await;
    pair.both_get("lost on the way").await;
    recovered(pair, "a lost entry", before, 2).await;

    let before = reads().await;
    lose(|signal| matches!(signal, Signal::Came { .. }));
    let (mut eve, _) = V1Client::member(address, "Eve", ROOM).await;
    recovered(pair, "a lost join", before, 3).await;
    eve.say(ROOM, "from the one who was missed").await;
    pair.both_get("from the one who was missed").await;
    drop(server);
}
