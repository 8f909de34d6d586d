//! How long the Hub and the Client take: `cargo bench -p chat-state --bench hub`.
//!
//! A time is that of one call of the Hub, or of two for a message, up to its actions; what a
//! transport and a log do is not in it.
#[path = "world/peers.rs"]
mod peers;
mod world;

use std::cell::RefCell;

use chat_state::{ConnId, Peers};
use divan::{Bencher, black_box};

use world::reader::Reader;
use world::{Returner, World, free, member};

const SIZES: [u32; 4] = [10, 1000, 100_000, 1_000_000];

fn main() {
    divan::main();
}

/// From the frame to the append, and from the log's answer to the broadcast.
#[divan::bench(args = SIZES, sample_size = 16)]
fn message(bencher: Bencher<'_, '_>, members: u32) {
    let mut world = World::with_room(members);
    bencher.bench_local(|| world.message(&mut free));
}

/// Whoever has joined leaves before the next one does.
#[divan::bench(args = SIZES, sample_size = 1, sample_count = 2000)]
fn join(bencher: Bencher<'_, '_>, members: u32) {
    joins(bencher, World::with_room(members), |world, conn| world.join(conn, &mut free));
}

/// So many other Hubs have members in the room, and have told who they are.
#[divan::bench(args = [1, 64], sample_size = 1, sample_count = 2000)]
fn join_with_peers(bencher: Bencher<'_, '_>, count: u64) {
    let mut world = World::new(Peers::Some);
    peers::Peers::new(count, &mut world);
    let first = world.newcomer();
    world.join(first, &mut free);
    joins(bencher, world, |world, conn| world.join(conn, &mut free));
}

/// The room is not open on this Hub, and each peer has members in it and tells who they are.
#[divan::bench(args = [1, 64], sample_size = 1, sample_count = 2000)]
fn first_join_with_peers(bencher: Bencher<'_, '_>, count: u64) {
    let mut world = World::new(Peers::Some);
    let peers = RefCell::new(peers::Peers::new(count, &mut world));
    let open = move |world: &mut World, conn| peers.borrow_mut().open(world, conn, &mut free);
    joins(bencher, world, open);
}

#[divan::bench(args = [1, 64], sample_size = 1, sample_count = 2000)]
fn join_of_a_peers_member(bencher: Bencher<'_, '_>, count: u64) {
    let mut world = World::new(Peers::Some);
    let mut peers = peers::Peers::new(count, &mut world);
    let first = world.newcomer();
    world.join(first, &mut free);
    bencher.bench_local(|| peers.join(&mut world, &mut free));
}

/// A message comes before each join, and is in its time.
#[divan::bench(args = SIZES, sample_size = 1, sample_count = 2000)]
fn message_and_join(bencher: Bencher<'_, '_>, members: u32) {
    joins(bencher, World::with_room(members), |world, conn| {
        world.join_during_broadcast(conn, &mut free);
    });
}

fn joins(bencher: Bencher<'_, '_>, world: World, join: impl Fn(&mut World, ConnId)) {
    let world = RefCell::new(world);
    let last = RefCell::new(None::<ConnId>);
    let newcomer = || {
        let mut world = world.borrow_mut();
        if let Some(conn) = last.take() {
            world.leave(conn, &mut free);
        }
        let conn = world.newcomer();
        last.replace(Some(conn));
        conn
    };
    let join = |conn| join(&mut world.borrow_mut(), conn);
    bencher.with_inputs(newcomer).bench_local_values(join);
}

/// Whoever has left comes back before the next one leaves.
#[divan::bench(args = SIZES, sample_size = 1, sample_count = 2000)]
fn leave(bencher: Bencher<'_, '_>, members: u32) {
    let world = RefCell::new(World::with_room(members));
    let places = RefCell::new((1..members).cycle().step_by(7));
    let last = RefCell::new(None::<ConnId>);
    let leaver = || {
        if let Some(conn) = last.take() {
            world.borrow_mut().join(conn, &mut free);
        }
        let conn = places.borrow_mut().next().map_or(member(1), member);
        last.replace(Some(conn));
        conn
    };
    let leave = |conn| world.borrow_mut().leave(conn, &mut free);
    bencher.with_inputs(leaver).bench_local_values(leave);
}

/// One who has missed so many entries is fed with them. The time is that of missing them, too.
#[divan::bench(args = [1, 10, 100], sample_size = 1)]
fn miss_and_catch_up(bencher: Bencher<'_, '_>, missed: u64) {
    let mut world = World::with_room(1000);
    bencher.bench_local(|| world.catch_up(member(1), missed, &mut free));
}

/// One who has lost its connection and missed 20 entries goes on with another. The time is that of
/// losing it and missing them, too.
#[divan::bench(args = SIZES, sample_size = 1)]
fn lose_and_resume(bencher: Bencher<'_, '_>, members: u32) {
    let mut world = World::with_room(members);
    let mut returner = Returner::new(member(1));
    bencher.bench_local(|| world.resume(&mut returner, 20, &mut free));
}

/// All sessions are asked for a sign of life, and give it.
#[divan::bench(args = [10_000], sample_size = 1)]
fn heartbeats(bencher: Bencher<'_, '_>, sessions: u32) {
    let mut world = World::with_room(sessions);
    bencher.bench_local(|| world.heartbeat(&mut free));
}

#[divan::bench(sample_size = 16)]
fn client_receives_entry(bencher: Bencher<'_, '_>) {
    let mut reader = Reader::new();
    bencher.bench_local(|| black_box(&mut reader).receive(&mut free));
}
