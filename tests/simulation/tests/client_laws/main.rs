//! Laws of the Client: invariants under any events, and progress once the faults end.
mod app;
mod chaos;
mod server;
mod world;

use std::collections::BTreeSet;

use chat_state::client::{Config, Event, State, Stats};
use proptest::prelude::*;

use crate::world::{Step, World, room};

/// Small limits, so that scripts reach them.
fn config() -> Config {
    Config {
        history: 3,
        outbox_entries: 12,
        queries: 4,
        rooms: 2,
        buffered_entries: 4,
        ..Config::default()
    }
}

/// Generates events of a server without faults.
fn usual() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u8>().prop_map(Step::Join),
        1 => any::<u8>().prop_map(Step::Leave),
        8 => any::<u8>().prop_map(Step::Send),
        1 => any::<u8>().prop_map(Step::Query),
        1 => Just(Step::Wake),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(n, many)| Step::Others(n, many)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(n, many)| Step::Gap(n, many)),
        1 => Just(Step::Ping),
        12 => any::<u8>().prop_map(Step::Serve),
        12 => any::<u8>().prop_map(Step::Deliver),
        3 => any::<u8>().prop_map(Step::Cut),
        4 => any::<u16>().prop_map(|ms| Step::Pass(ms / 8)),
        1 => any::<u16>().prop_map(Step::Pass),
    ]
}

fn faulty() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => usual(),
        2 => any::<u8>().prop_map(Step::Fault),
        1 => Just(Step::Mangle),
    ]
}

/// The same over days.
fn slow() -> impl Strategy<Value = Step> {
    prop_oneof![20 => faulty(), 1 => any::<u8>().prop_map(Step::Hours)]
}

fn script(step: impl Strategy<Value = Step>) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step, 0..150)
}

/// Runs a script in two rooms, and then ends all faults.
fn run(script: &[Step]) -> World {
    let mut world = World::new(config());
    world.step(&Step::Join(0));
    world.step(&Step::Join(1));
    script.iter().for_each(|step| world.step(step));
    world.heal();
    world
}

/// Checks that the log holds each message at most once, and in the order of sending.
fn check_sends(world: &World) {
    for room in (0..3).map(room) {
        let Some(log) = world.server.logs.of_room(&room).next() else { continue };
        let keys: Vec<_> = log.entries.iter().filter_map(|entry| entry.key.clone()).collect();
        assert!(keys.is_sorted(), "{keys:?} are out of order");
        let once: BTreeSet<_> = keys.iter().collect();
        assert_eq!(once.len(), keys.len(), "{keys:?} has a duplicate");
    }
    assert_eq!(world.client.unsettled(), 0);
}

/// Checks that every acknowledged message is in the log.
fn check_acks(world: &World) {
    for (room, key, ticket) in world.sent.iter().filter(|(_, _, ticket)| world.is_acked(*ticket)) {
        let log = world.server.logs.of_room(room).next().expect("the room has a log");
        assert!(log.entries.iter().any(|entry| entry.key.as_ref() == Some(key)), "{ticket:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// If only connections fail, nothing is lost, and every message reaches the log.
    #[test]
    fn lost_connections_lose_repeat_and_reorder_nothing(script in script(usual())) {
        let world = run(&script);
        check_sends(&world);
        check_acks(&world);
        prop_assert!(world.app.rooms.values().all(|view| !view.lost));
    }

    #[test]
    fn a_server_with_faults_repeats_and_reorders_nothing(script in script(faulty())) {
        let world = run(&script);
        check_sends(&world);
        check_acks(&world);
    }

    /// A log remembers the key of a message for a day, and the Client counts on no more. What was
    /// said before a long silence is beyond the history that it is given.
    #[test]
    fn a_message_is_not_sent_again_after_its_key_is_forgotten(
        before in script(faulty()), served in 0..3_u8, after in script(slow())
    ) {
        let mut world = run(&before);
        world.step(&Step::Send(0));
        for step in [Step::Serve(served), Step::Cut(0), Step::Others(0, 11), Step::Hours(255)] {
            world.step(&step);
        }
        after.iter().for_each(|step| world.step(step));
        world.heal();
        check_sends(&world);
        check_acks(&world);
    }

    /// A guest gets another user id with each session, so its earlier keys do not count.
    #[test]
    fn a_lost_session_repeats_nothing(
        script in script(prop_oneof![20 => faulty(), 1 => Just(Step::LoseSession)])
    ) {
        let world = run(&script);
        if world.app.rooms.values().all(|view| !view.lost) {
            check_sends(&world);
        }
        check_acks(&world);
    }

    #[test]
    fn a_client_follows_a_log_that_is_trimmed_or_replaced(
        script in script(prop_oneof![
            20 => faulty(),
            1 => (any::<u8>(), any::<u8>()).prop_map(|(n, many)| Step::Trim(n, many)),
            1 => any::<u8>().prop_map(Step::ReplaceLog),
        ])
    ) {
        check_sends(&run(&script));
    }

    #[test]
    fn a_stop_settles_and_forgets_everything(script in script(faulty())) {
        let mut world = World::new(config());
        script.iter().for_each(|step| world.step(step));
        world.handle(Event::Stop);
        prop_assert_eq!(world.client.unsettled(), 0);
        prop_assert!(world.app.rooms.is_empty());
        prop_assert_eq!(world.stats(), Stats::default());
        let stopped = matches!(world.client.state(), State::Stopped { .. });
        prop_assert!(stopped);
        prop_assert_eq!(world.client.poll_timeout(), None);
        // The Client can start again.
        world.step(&Step::Join(0));
        world.step(&Step::Send(0));
        world.heal();
        check_sends(&world);
    }

    /// Whatever a server sends, entries are delivered in order, each ticket is settled once and
    /// every queue stays within its bound (see `ClientAdapter` and `App::take`). Once the server
    /// behaves, the Client catches up.
    #[test]
    fn a_client_recovers_from_any_server(
        script in script(prop_oneof![10 => faulty(), 12 => chaos::event().prop_map(Step::Anything)])
    ) {
        let mut world = World::new(config());
        script.iter().for_each(|step| world.step(step));
        world.begin_anew();
        world.step(&Step::Join(0));
        world.step(&Step::Send(0));
        world.heal();
        check_sends(&world);
    }
}
