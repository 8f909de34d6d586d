use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Came { hub: usize, room: usize, member: u32 },
    Went { hub: usize, room: usize, member: u32 },
    Restart { hub: usize },
    Lost { hub: usize },
    Say { hub: usize, room: usize, head: u64 },
    Pass { ms: u64 },
    Faults { lose_every: u64, repeat_every: u64, delay_ms_max: u64 },
}

const HUBS: usize = 3;
const ROOMS: usize = 5;

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..HUBS, 0..ROOMS, 0..4_u32);
    prop_oneof![
        6 => place().prop_map(|(hub, room, member)| Step::Came { hub, room, member }),
        5 => place().prop_map(|(hub, room, member)| Step::Went { hub, room, member }),
        1 => (0..HUBS).prop_map(|hub| Step::Restart { hub }),
        1 => (0..HUBS).prop_map(|hub| Step::Lost { hub }),
        2 => (0..HUBS, 0..ROOMS, 1..99_u64)
            .prop_map(|(hub, room, head)| Step::Say { hub, room, head }),
        4 => prop_oneof![0..50_u64, 0..3000_u64, 0..40_000_u64].prop_map(|ms| Step::Pass { ms }),
        2 => (0..6_u64, 0..6_u64, prop_oneof![Just(0), 0..2000_u64]).prop_map(
            |(lose_every, repeat_every, delay_ms_max)| {
                Step::Faults { lose_every, repeat_every, delay_ms_max }
            }
        ),
    ]
}

fn run(steps: Vec<Step>) -> World {
    let mut world = World::new(HUBS);
    for step in steps {
        match step {
            Step::Came { hub, room: n, member } => world.came(hub, &room(n), member),
            Step::Went { hub, room: n, member } => world.went(hub, &room(n), member),
            Step::Restart { hub } => world.start(hub),
            Step::Lost { hub } => world.lost(hub, Lost::All),
            Step::Say { hub, room: n, head } => {
                if world.hub(hub).rooms.contains_key(&room(n)) {
                    let head = head.max(world.head(hub, &room(n)));
                    world.set_head(hub, &room(n), head);
                }
            }
            Step::Pass { ms } => world.pass(ms),
            Step::Faults { lose_every, repeat_every, delay_ms_max } => {
                world.faults = Faults { lose_every, repeat_every, delay_ms_max };
            }
        }
    }
    world
}

proptest! {
    /// Whatever was lost, repeated, reordered or restarted, all Hubs know the truth some time after
    /// the faults have stopped, and then say nothing but leases and digests.
    #[test]
    fn hubs_converge_and_fall_silent(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = run(steps);
        world.faults = Faults::default();
        // A lease, what is still on its way, and a few rounds of digests.
        world.pass(40_000);
        world.assert_converged();
        for n in 0..ROOMS {
            let hub = |hub: usize| world.hubs[hub].as_ref().expect("it runs");
            let open = |n_hub: &usize| hub(*n_hub).rooms.contains_key(&room(n));
            let heads: Vec<u64> =
                (0..HUBS).filter(open).map(|hub| world.head(hub, &room(n))).collect();
            prop_assert!(heads.windows(2).all(|pair| pair[0] == pair[1]), "{heads:?}");
        }
        let from = world.now / 1000 + 1;
        world.pass(31_000);
        let most = HUBS * 2 * 6;
        let sent = world.published_in(from..from + 30);
        prop_assert!(sent <= most, "{sent} signals in 30 s");
    }
}
