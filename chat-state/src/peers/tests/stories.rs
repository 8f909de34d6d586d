use super::*;

#[test]
fn members_and_rooms_of_peers_are_known_at_once_or_within_the_census_interval() {
    let mut world = World::new(3);
    let (den, attic) = (room(1), room(2));
    world.came(0, &den, 1);
    world.came(0, &den, 2);
    world.came(1, &den, 3);
    world.came(2, &attic, 4);
    world.pass(10);
    let shown = &world.hub(1).shown[&den];
    assert_eq!(shown.values().collect::<Vec<_>>(), [&Members::from([1, 2])]);
    world.pass(1000);
    world.assert_converged();
    world.went(0, &den, 1);
    world.went(2, &attic, 4);
    world.pass(1010);
    world.assert_converged();
}

#[test]
fn an_idle_cluster_sends_leases_and_digests_only() {
    let mut world = World::new(2);
    (0..12_000).for_each(|n| world.came(n % 2, &room(n), 1));
    (0..12_000).for_each(|n| world.came((n + 1) % 2, &room(n), 2));
    world.pass(100_000);
    world.assert_converged();
    let from = world.now / 1000 + 1;
    world.pass(61_000);
    // In 12 renewals a Hub says 12 times that it lives and lists 12 000 rooms, 256 in one signal.
    let sent = world.published_in(from..from + 60);
    assert!(sent <= 2 * (12 + 12 * 4), "{sent}");
    world.assert_converged();
}

#[test]
fn the_rooms_of_a_large_hub_recover_from_one_loss_with_few_signals() {
    let mut world = World::new(2);
    for n in 0..12_000 {
        world.came(0, &room(n), 1);
        world.came(1, &room(n), 2);
    }
    world.pass(70_000);
    let begun = world.now / 1000;
    world.set_head(0, &room(7), 9);
    // Both the member and the entry are news that Hub 1 misses.
    world.faults.lose_every = 1;
    world.came(0, &room(7), 3);
    world.faults.lose_every = 0;
    let checked = world.hub(1).checked;
    world.lost(1, Lost::All);
    world.pass(1500);
    assert_eq!(world.hub(1).checked - checked, 12_000);
    assert_eq!(world.head(1, &room(7)), 9);
    world.assert_converged();
    let sent = world.published_in(begun..begun + 2);
    assert!(sent < 150, "{sent}");
}

#[test]
fn losses_that_keep_coming_do_not_feed_themselves() {
    let mut world = World::new(2);
    for n in 0..3000 {
        world.came(0, &room(n), 1);
        world.came(1, &room(n), 2);
    }
    world.pass(10_000);
    let begun = world.now / 1000;
    for _ in 0..600 {
        world.lost(0, Lost::All);
        world.lost(1, Lost::All);
        world.pass(100);
    }
    let recoveries = 7;
    let each = 2 * (1 + 3000_usize.div_ceil(256));
    let sent = world.published_in(begun..begun + 60);
    assert!(sent <= recoveries * each + 60, "{sent}");
}

#[test]
fn only_affected_rooms_are_recovered_if_they_are_known() {
    let mut world = World::new(2);
    for n in 0..1000 {
        world.came(0, &room(n), 1);
        world.came(1, &room(n), 2);
    }
    world.pass(12_000);
    world.faults.lose_every = 1;
    world.came(0, &room(5), 3);
    world.went(0, &room(6), 1);
    world.faults.lose_every = 0;
    let (checked, begun) = (world.hub(1).checked, world.now / 1000);
    world.lost(1, Lost::Rooms([5, 6].map(room).into()));
    world.pass(50);
    assert_eq!(world.hub(1).checked - checked, 2);
    world.assert_converged();
    assert!(world.published_in(begun..begun + 1) < 10);
}

#[test]
fn what_a_silent_peer_said_ends_with_its_lease() {
    let mut world = World::new(3);
    for n in 0..1000 {
        world.came(0, &room(n), 1);
        world.came(1, &room(n), 2);
    }
    world.pass(3000);
    world.kill(0);
    world.pass(15_000);
    assert_eq!((world.hub(1).cluster.len(), world.hub(1).cluster.count(&room(3))), (2, 1));
    world.pass(6000);
    world.assert_converged();
    assert_eq!(world.hub(1).ended.len(), 1);
}

#[test]
fn the_parts_of_an_ended_peer_are_dropped_some_at_a_time_and_its_slot_is_reused_after_that() {
    let mut world = World::new(2);
    for n in 0..1000 {
        world.came(0, &room(n), 1);
        world.came(1, &room(n), 2);
    }
    world.pass(3000);
    let shown = |world: &mut World| world.hub(1).shown.values().flatten().count();
    assert_eq!(shown(&mut world), 1000);
    world.start(0);
    world.pass(0);
    assert!(shown(&mut world) >= 700, "{}", shown(&mut world));
    world.start(0);
    world.pass(30);
    assert_eq!(world.hub(1).ended.len(), 2);
    let ended = &world.hub(1).ended;
    assert_ne!(ended[0], ended[1]);
    world.pass(200);
    assert_eq!(shown(&mut world), 0);
    world.assert_converged();
}

#[test]
fn a_restarted_hub_starts_afresh_although_its_numbers_are_lower() {
    let mut world = World::new(2);
    let den = room(1);
    world.came(1, &den, 100);
    (0..50).for_each(|n| world.came(0, &den, n));
    world.pass(600_000);
    world.start(0);
    world.came(0, &den, 7);
    world.pass(10);
    assert_eq!(world.hub(1).shown[&den].values().flatten().collect::<Vec<_>>(), [&7]);
    world.pass(1100);
    world.assert_converged();
}

#[test]
fn a_signal_of_an_older_incarnation_is_ignored() {
    let mut world = World::new(2);
    let den = room(1);
    world.came(1, &den, 1);
    world.pass(10);
    world.faults.delay_ms_max = 3000;
    world.came(0, &den, 2);
    world.faults.delay_ms_max = 0;
    world.start(0);
    world.pass(5000);
    world.assert_converged();
    assert_eq!(world.hub(1).cluster.count(&den), 0);
}

#[test]
fn a_reply_that_is_older_than_a_change_already_seen_is_not_taken() {
    let settings = Settings {
        me: HubId { node: 1, incarnation: 1 },
        peers: Peers::Some,
        census_ms: 1000,
        grace_ms: GRACE_MS,
        rooms_max: 10,
    };
    let (mut cluster, mut out) = (Cluster::new(settings), Vec::new());
    let (now, den) = (Mono(0), room(1));
    cluster.opened(now, &den);
    let slot = cluster.heard(now, HubId { node: 2, incarnation: 1 }, &mut out).expect("a peer");
    let stamp = |version, after| Stamp { version, after };
    let whole = |version| Register { room: room(1), version };
    assert_eq!(cluster.came(slot, &den, stamp(7, 6)), Change::Missed);
    assert!(!cluster.whole(slot, &whole(6), 3));
    assert!(cluster.whole(slot, &whole(7), 4));
    assert!(!cluster.whole(slot, &whole(7), 4), "it is known");
    assert_eq!(cluster.went(slot, &den, stamp(9, 7)), Change::Applied);
    assert_eq!(cluster.came(slot, &den, stamp(8, 7)), Change::Stale);
    assert_eq!(cluster.count(&den), 3);
    // The first member after the room was closed and opened there is all of the part.
    assert_eq!(cluster.came(slot, &den, stamp(20, 0)), Change::First);
    assert_eq!(cluster.count(&den), 1);
}

#[test]
fn a_part_that_does_not_arrive_is_requested_again_and_not_for_ever() {
    let mut world = World::new(2);
    let den = room(1);
    world.came(0, &den, 1);
    world.pass(2000);
    world.came(1, &den, 2);
    world.pass(100);
    // Hub 1 hears of changes and never gets an answer.
    world.faults.lose_every = 1;
    world.came(0, &den, 3);
    world.faults.lose_every = 0;
    world.came(0, &den, 4);
    let signal = world.flying.pop().expect("of member 4");
    assert!(world.flying.is_empty());
    let begun = world.now / 1000 + 1;
    let node = HubId { node: 0, incarnation: 1 };
    world.deliver(signal.to, node, signal.signal);
    world.kill(0);
    world.pass(15_000);
    let sent = world.published_in(begun..begun + 14);
    // Two further requests, three renewals with a digest, and one digest of what has changed.
    assert!((3..=10).contains(&sent), "{sent}");
}

#[test]
fn members_of_a_hub_that_shuts_down_have_time_to_come_back_elsewhere() {
    let mut world = World::new(2);
    let den = room(1);
    world.came(0, &den, 1);
    world.came(1, &den, 2);
    world.pass(2000);
    world.set_service(0, Service::Draining);
    world.close(0, &den);
    world.pass(2000);
    // Its members are still shown, and the owner knows that they have to come back.
    assert_eq!(world.hub(1).left.len(), 1);
    assert_eq!(world.hub(1).shown[&den].len(), 1);
    world.set_service(0, Service::Stopped);
    // What it says after that does not renew its lease.
    world.pass(9000);
    assert_eq!((world.hub(1).shown[&den].len(), world.hub(1).ended.len()), (1, 0));
    world.kill(0);
    world.pass(1000);
    assert_eq!((world.hub(1).shown[&den].len(), world.hub(1).ended.len()), (0, 1));
    world.assert_converged();
}

#[test]
fn many_opened_rooms_are_requested_together() {
    let mut world = World::new(2);
    (0..5000).for_each(|n| world.came(0, &room(n), 1));
    world.pass(10_000);
    let begun = world.now / 1000;
    for n in 0..5000 {
        world.came(1, &room(n), 2);
    }
    world.pass(2500);
    world.assert_converged();
    let own = 5000;
    let sent = world.published_in(begun..begun + 3) - own;
    assert!(sent < 150, "{sent}");
}

#[test]
fn rooms_of_peers_are_bounded() {
    let settings = Settings {
        me: HubId { node: 1, incarnation: 1 },
        peers: Peers::Some,
        census_ms: 1000,
        grace_ms: GRACE_MS,
        rooms_max: 3,
    };
    let (mut cluster, mut out) = (Cluster::new(settings), Vec::new());
    let slot = cluster.heard(Mono(0), HubId { node: 2, incarnation: 1 }, &mut out);
    let slot = slot.expect("a peer");
    let line = |n| DigestLine { room: room(n), version: 9, count: 1, head: None };
    let digest = Digest { at: 9, covers: None, lines: (0..9).map(line).collect() };
    cluster.digest(slot, &digest, &mut out);
    assert_eq!(cluster.rooms(), 3);
}

#[test]
fn a_hub_without_peers_checks_heads_after_a_loss_and_says_nothing() {
    let settings = Settings {
        me: HubId { node: 1, incarnation: 1 },
        peers: Peers::None,
        census_ms: 1000,
        grace_ms: GRACE_MS,
        rooms_max: 3,
    };
    let (mut cluster, mut out) = (Cluster::new(settings), Vec::new());
    assert_eq!(cluster.due(), None);
    cluster.lost(Mono(0), Lost::Rooms(Vec::from([room(1)])));
    cluster.turn(Mono(0), &mut out);
    assert!(out.contains(&Effect::Check(Vec::from([room(1)]))), "{out:?}");
    cluster.lost(Mono(0), Lost::All);
    cluster.turn(Mono(1000), &mut out);
    assert!(matches!(out.last(), Some(Effect::CheckAfter { after: None, .. })), "{out:?}");
    cluster.checked(Mono(1000), None);
    assert_eq!(cluster.due(), None);
}
