//! What is counted, in groups that share what they are set up with.
use std::hint::black_box;
use std::sync::Arc;

use chat_proto::{Decoder, Dialect, Entry, ServerFrame, Token};
use chat_state::{Identity, Peers};

use crate::frames::{self, Case};
use crate::meter::{all_is_set_up, counted_call, report};
use crate::peers;
use crate::world::reader::Reader;
use crate::world::{Returner, World, free, member};

const SIZES: [(&str, u32); 4] = [
    ("room of 1000000", 1_000_000),
    ("room of 100000", 100_000),
    ("room of 1000", 1000),
    ("room of 10", 10),
];
/// Calls that one count is the mean of: what grows in steps is paid by many.
const CALLS: u64 = 64;

/// The longest first.
pub(crate) fn names() -> Vec<&'static str> {
    let sizes = SIZES.iter().map(|(name, _)| *name);
    sizes.chain(["sessions", "peers", "frames", "client"]).collect()
}

pub(crate) fn run(group: &str) {
    match (group, SIZES.iter().find(|(name, _)| *name == group)) {
        ("frames", _) => count_frames(),
        ("sessions", _) => count_sessions(),
        ("peers", _) => count_peers(),
        ("client", _) => count_client(),
        (name, Some((_, members))) => count_room(name, *members),
        (name, None) => panic!("there is no group {name:?}"),
    }
}

fn count_room(name: &str, members: u32) {
    let mut world = World::with_room(members);
    let mut newcomers = || -> Vec<_> { (0..CALLS).map(|_| world.newcomer()).collect() };
    let (newcomers, others) = (newcomers(), newcomers());
    let known = world.newcomer_as(Identity::Wanted { credentials: Some(Token("a.b.c".into())) });
    world.join(known, &mut free);
    all_is_set_up();
    let name = |what: &str| format!("{name}: {what}");
    for _ in 0..CALLS {
        world.message(&mut counted_call);
    }
    report(&name("message, from its frame to the broadcast"), CALLS);
    for _ in 0..CALLS {
        world.message_of(known, &mut counted_call);
    }
    report(&name("message of a user known by a token"), CALLS);
    for conn in &newcomers {
        world.join(*conn, &mut counted_call);
    }
    report(&name("join"), CALLS);
    for conn in &others {
        world.join_during_broadcast(*conn, &mut counted_call);
    }
    report(&name("join during a broadcast"), CALLS);
    // From the middle, so that others take the places.
    let leavers = (1..members).step_by((members as usize / CALLS as usize).max(1));
    let leavers: Vec<_> = leavers.take(CALLS as usize).map(member).collect();
    for conn in &leavers {
        world.leave(*conn, &mut counted_call);
    }
    report(&name("leave"), leavers.len() as u64);
    for _ in 0..CALLS {
        world.catch_up(newcomers[0], 100, &mut counted_call);
    }
    report(&name("catch-up of 100 entries"), CALLS);
    let mut returner = Returner::new(newcomers[1]);
    for _ in 0..CALLS {
        world.resume(&mut returner, 20, &mut counted_call);
    }
    report(&name("resume, 20 entries missed"), CALLS);
}

fn count_sessions() {
    const SESSIONS: u32 = 10_000;
    let mut world = World::with_room(SESSIONS);
    all_is_set_up();
    // Every fourth one tells where rooms end.
    for _ in 0..4 {
        world.heartbeat(&mut counted_call);
    }
    report("heartbeat of one of 10000 sessions", 4 * u64::from(SESSIONS));
}

fn count_peers() {
    let mut world = World::new(Peers::Some);
    let mut peers = peers::Peers::new(64, &mut world);
    let newcomers: Vec<_> = (0..CALLS).map(|_| world.newcomer()).collect();
    all_is_set_up();
    for conn in &newcomers {
        peers.open(&mut world, *conn, &mut counted_call);
        world.leave(*conn, &mut free);
    }
    report("64 peers: first join, and what all peers answer", CALLS);
    for conn in &newcomers {
        world.join(*conn, &mut counted_call);
    }
    report("64 peers: join", CALLS);
    for _ in 0..CALLS {
        peers.join(&mut world, &mut counted_call);
    }
    report("64 peers: join of a peer's member", CALLS);
}

fn count_client() {
    let mut reader = Reader::new();
    all_is_set_up();
    for _ in 0..CALLS {
        reader.receive(&mut counted_call);
    }
    report("client receives an entry", CALLS);
}

fn count_frames() {
    all_is_set_up();
    for dialect in [Dialect::V1, Dialect::Basic] {
        let in_dialect = |what: &str| format!("{what} {dialect:?}:");
        for Case { name, value } in frames::server_frames() {
            // The first time the entries inside are encoded, too.
            if value.encode(dialect).is_none() {
                continue;
            }
            let call = &mut || drop(black_box(value.encode(dialect)));
            count(&format!("{} {name}", in_dialect("encode")), call);
        }
        let entries: Vec<Arc<Entry>> = (0..CALLS).map(|n| Arc::new(frames::entry(n))).collect();
        let mut fresh = entries.iter();
        let call = &mut || {
            let entry = fresh.next().expect("one for each call");
            drop(black_box(entry.encoded(dialect).websocket()));
        };
        count(&format!("{} message, WebSocket header included", in_dialect("encode")), call);
        for Case { name, value: (_, text) } in
            frames::client_texts().iter().filter(|case| case.value.0 == dialect)
        {
            count(&format!("{} {name}", in_dialect("decode")), &mut || decode(dialect, text));
        }
    }
    for Case { name, value: (dialect, text) } in frames::bad_texts() {
        count(&format!("refuse {name}"), &mut || decode(dialect, &text));
    }
    let texts = frames::server_frames().into_iter().filter_map(|Case { name, value }| {
        Some((name, value.encode(Dialect::V1)?.as_str().to_owned()))
    });
    let message = frames::entry(42).encoded(Dialect::V1).as_str().to_owned();
    for (name, text) in texts.chain([("message", message)]) {
        let call = &mut || drop(black_box(ServerFrame::decode(black_box(&text))));
        count(&format!("client decodes: {name}"), call);
    }
}

fn decode(dialect: Dialect, text: &str) {
    drop(black_box(Decoder::new(dialect).decode(black_box(text))));
}

fn count(name: &str, call: &mut dyn FnMut()) {
    for _ in 0..CALLS {
        counted_call(call);
    }
    report(name, CALLS);
}
