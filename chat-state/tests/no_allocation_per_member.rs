//! What the Hub allocates does not depend on how many are in a room.
#[path = "../benches/world/mod.rs"]
mod world;

use allocation_counter::{AllocationInfo, measure};

use world::reader::Reader;
use world::{Returner, World, free, member};

const SMALL: u32 = 1000;
const LARGE: u32 = 30_000;

/// Measures what the metered calls allocate.
fn allocated(act: impl FnOnce(world::Meter<'_>)) -> AllocationInfo {
    let mut sum = AllocationInfo::default();
    act(&mut |call| sum += measure(call));
    sum
}

/// Measures as many calls as there are places in a chunk of the roster and some more, so that
/// whatever grows in steps does.
fn of_many(members: u32, act: impl Fn(&mut World, u32, world::Meter<'_>)) -> Vec<AllocationInfo> {
    let mut world = World::with_room(members);
    (0..600).map(|n| allocated(|meter| act(&mut world, n, meter))).collect()
}

#[test]
fn a_message_allocates_the_same_in_rooms_of_any_size() {
    let message = |members| of_many(members, |world, _, meter| world.message(meter));
    let (small, large) = (message(SMALL), message(LARGE));
    for (small, large) in small.iter().zip(&large) {
        assert_eq!((small.count_total, small.bytes_total), (large.count_total, large.bytes_total));
        assert!(small.count_total <= 2, "the drafts and the entry: {small:?}");
    }
}

#[test]
fn entering_and_leaving_allocate_little_in_rooms_of_any_size() {
    let come_and_go = |members| {
        of_many(members, |world, n, meter| {
            let conn = world.newcomer();
            match n % 3 {
                0 => world.join_during_broadcast(conn, meter),
                1 => world.join(conn, meter),
                _ => world.leave(member(n), meter),
            }
        })
    };
    for members in [SMALL, LARGE] {
        for allocated in come_and_go(members) {
            assert!(allocated.count_total <= 16, "{members} members: {allocated:?}");
        }
    }
}

#[test]
fn feeding_and_resuming_allocate_the_same_in_rooms_of_any_size() {
    let (small, large) = (SMALL, LARGE);
    let [small, large] = [small, large].map(|members| {
        let mut world = World::with_room(members);
        let fed = allocated(|meter| world.catch_up(member(1), 20, meter));
        let resumed = allocated(|meter| world.resume(&mut Returner::new(member(2)), 20, meter));
        (fed.count_total, resumed.count_total)
    });
    assert!(large.0 <= small.0 + 2, "{small:?} {large:?}");
    assert!(large.1 <= small.1 + 8, "{small:?} {large:?}");
}

#[test]
fn a_heartbeat_allocates_only_what_it_tells() {
    let mut world = World::with_sessions(SMALL);
    let asked = allocated(|meter| world.heartbeat(meter));
    // The queue of the actions, and the timers that are armed anew.
    assert!(asked.count_total <= u64::from(SMALL), "{asked:?}");
}

#[test]
fn a_client_that_keeps_up_allocates_little_for_an_entry() {
    let mut reader = Reader::new();
    reader.receive(&mut free);
    for _ in 0..100 {
        let received = allocated(|meter| reader.receive(meter));
        assert!(received.count_total <= 4, "{received:?}");
    }
}
