//! Members that peers have.
use super::*;

#[test]
fn the_leave_of_a_member_whose_join_was_lost_is_not_told() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.reported(PEER, part(&[2]));
    stage.forget_told();
    stage.said(PEER, went(3));
    assert_eq!((stage.told(1), stage.view().count), (Vec::new(), 2));
}

#[test]
fn other_members_of_the_same_number_are_shown_anew() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.reported(PEER, part(&[2]));
    stage.forget_told();
    stage.reported(PEER, part(&[2]));
    assert_eq!(stage.told(1), [""; 0]);
    stage.reported(PEER, part(&[4]));
    assert_eq!(stage.told(1), ["members 2(U1,U4)"]);
}

#[test]
fn a_member_that_moves_between_peers_has_neither_come_nor_gone() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.said(PEER, came(2));
    stage.forget_told();
    stage.said(OTHER, came(2));
    assert_eq!(stage.view().count, 2);
    stage.said(PEER, went(2));
    assert_eq!((stage.told(1), stage.view().count), (Vec::new(), 2));
    stage.join(2);
    stage.said(OTHER, went(2));
    assert_eq!((stage.told(1), stage.view().count), (Vec::new(), 2));
    assert_eq!(stage.armed, None);
}

#[test]
fn a_member_that_is_away_here_moves_to_a_peer_without_a_leave() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.join(2);
    stage.lose(2);
    stage.forget_told();
    stage.said(PEER, came(2));
    assert_eq!((stage.told(1), stage.view().count), (Vec::new(), 2));
    assert_eq!(stage.back, [id(2)]);
    let gone = Say::Went { id: id(2), member: member(2), reason: LeaveReason::Disconnected };
    assert_eq!(stage.said, [gone]);
}

#[test]
fn the_members_of_a_peer_that_leaves_have_time_to_come_back() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.reported(PEER, part(&[2, 3, 4]));
    stage.forget_told();
    stage.peer_leaves(PEER);
    stage.said(OTHER, came(2));
    stage.join(3);
    assert_eq!((stage.told(1), stage.view().count), (Vec::new(), 4));
    stage.pass(9_999);
    assert_eq!(stage.told(1), [""; 0]);
    stage.pass(1);
    assert_eq!(stage.told(1), ["members 3(U1,U3,U2)"]);
    // It may return.
    stage.said(PEER, came(4));
    assert_eq!(stage.told(1), ["join U4"]);
}

#[test]
fn a_peer_that_leaves_and_is_back_at_once_keeps_its_members() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.reported(PEER, part(&[2]));
    stage.peer_leaves(PEER);
    stage.reported(PEER, part(&[2]));
    stage.pass(20_000);
    assert_eq!(stage.view().count, 2);
}

#[test]
fn what_a_peer_reported_ends_with_it() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.reported(PEER, part(&[2, 3]));
    stage.reported(OTHER, part(&[3]));
    stage.forget_told();
    stage.call(|audience, cx| audience.end_peer(cx, PEER));
    assert_eq!((stage.told(1), stage.view().count), (Vec::new(), 2));
    stage.pass(1000);
    assert_eq!(stage.told(1), ["members 2(U1,U3)"]);
    // A later peer of the same slot begins anew.
    stage.said(PEER, came(5));
}

#[test]
fn a_report_of_too_many_members_is_cut() {
    let mut stage = Stage::new(Rules { listed: 2, ..RULES });
    stage.join(1);
    for peer in [PEER, OTHER] {
        let named = part(&[2, 3, 4, 5]).members;
        stage.reported(peer, Part { count: u64::MAX, members: named });
    }
    let view = stage.view();
    assert_eq!(view.members.len(), 2);
    assert_eq!(view.count, 1 + 2 * u64::from(u32::MAX) - 2);
}

/// A list costs the members that it names: the names come out of one index, so that each of them
/// is looked at once however many peers there are and whatever they have in common.
#[test]
fn a_join_beside_64_peers_looks_at_the_listed_members_only() {
    let mut stage = Stage::new(Rules { notice_members: 0, ..RULES });
    for peer in 0..64_u32 {
        // Every member is reported by two peers.
        let members: Vec<u32> = (peer * 100..peer * 100 + 200).map(|n| 1000 + n).collect();
        stage.reported(PeerSlot(peer), part(&members));
    }
    (0..300).for_each(|n| stage.join(n));
    assert_eq!(stage.view().count, 300 + 65 * 100);
    stage.pass(60_000);
    // With some members behind, the list has to be made anew.
    (0..150).for_each(|n| stage.lag(n));
    let looked_up = std::cell::Cell::new(0);
    let who = |conn: ConnId| {
        looked_up.set(looked_up.get() + 1);
        (id(conn.slot), member(conn.slot))
    };
    let (mut out, room) = (Vec::new(), RoomName::new("den").expect("a room"));
    let (now, rules) = (stage.now, stage.rules);
    let mut cx = Context { room: &room, now, rules, who: &who, out: &mut out };
    stage.audience.enter(&mut cx, attendee(500), Told::View);
    stage.audience.go_live(&mut cx, conn(500));
    assert_eq!(stage.audience.view(&cx).members.len(), 200);
    assert!(looked_up.get() <= 201, "{} look-ups", looked_up.get());
    assert_eq!(stage.audience.elsewhere.list().count(), 65 * 100, "each is indexed once");
}
