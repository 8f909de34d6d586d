//! Who is told what, and when.
use super::*;

#[test]
fn a_small_room_is_told_of_each_change_at_once() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.join(2);
    assert_eq!(stage.told(1), ["join U2"]);
    stage.leave(2, LEFT);
    assert_eq!(stage.told(1), ["leave U2"]);
    assert_eq!(stage.armed, None);
    assert_eq!(stage.said, [came(1), came(2), went(2)]);
}

#[test]
fn a_large_room_is_told_of_all_changes_together() {
    let mut stage = Stage::new(Rules { notice_members: 2, ..RULES });
    (1..=4).for_each(|n| stage.join(n));
    stage.leave(2, LEFT);
    assert_eq!(stage.told(1), ["join U2"]);
    stage.pass(999);
    assert_eq!(stage.told(1), [""; 0]);
    stage.pass(1);
    let told = ["members 3(U1,U4,U3)", "U3 and 1 others came", "U2 and 0 others went"];
    assert_eq!(stage.told(1), told);
    stage.leave(4, LEFT);
    assert_eq!(stage.told(1), ["leave U4"]);
}

#[test]
fn a_room_of_40_000_gathers_for_two_seconds() {
    let mut stage = Stage::new(RULES);
    stage.reported(PEER, Part { count: 40_000, members: Vec::new() });
    stage.join(1);
    stage.said(PEER, came(7));
    stage.pass(1999);
    assert_eq!(stage.told(1), [""; 0]);
    stage.pass(1);
    assert_eq!(stage.told(1), ["40002 present", "U7 and 0 others came"]);
}

#[test]
fn a_member_that_lagged_is_told_who_is_there_if_that_has_changed() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.join(2);
    stage.lag(1);
    stage.go_live(1);
    assert_eq!(stage.told(1), ["join U2"]);
    stage.lag(1);
    stage.join(3);
    assert_eq!(stage.told(1), [""; 0]);
    stage.go_live(1);
    assert_eq!(stage.told(1), ["members 3(U2,U3,U1)"]);
}

#[test]
fn a_member_whose_second_join_fails_is_told_what_it_missed_while_it_lagged() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.lag(1);
    stage.join(2);
    // It joins again, and the history can't be read: no reply has told it anything.
    stage.go_live(1);
    assert_eq!(stage.told(1), ["members 2(U2,U1)"]);
}

#[test]
fn a_member_that_joins_again_knows_who_is_there_from_the_reply() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.lag(1);
    stage.join(2);
    stage.join_again(1);
    stage.go_live(1);
    assert_eq!(stage.told(1), [""; 0]);
    assert_eq!(stage.screens[&1], 2);
}

#[test]
fn a_member_that_lags_while_changes_are_gathered_is_told_of_them() {
    let mut stage = Stage::new(Rules { notice_members: 1, ..RULES });
    stage.join(1);
    stage.join(2);
    stage.join(3);
    stage.lag(1);
    stage.pass(1000);
    assert_eq!(stage.told(1), [""; 0]);
    stage.go_live(1);
    assert_eq!(stage.told(1), ["members 3(U3,U2,U1)"]);
}

#[test]
fn a_lone_member_that_lagged_is_told_that_a_peer_counts_others() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.reported(PEER, Part { count: 3, members: Vec::new() });
    stage.lag(1);
    // One of the members that were not named moves here and is behind as well.
    stage.enter(2);
    stage.said(PEER, went(2));
    stage.go_live(1);
    assert_eq!(stage.screens[&1], 4);
}

#[test]
fn a_resumed_member_is_told_who_is_there_when_it_is_live() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.call(|audience, cx| audience.enter(cx, attendee(2), Told::Nothing));
    assert_eq!(stage.told(2), [""; 0]);
    stage.go_live(2);
    assert_eq!(stage.told(2), ["members 2(U1,U2)"]);
    let mut large = Stage::new(Rules { listed: 1, ..RULES });
    large.join(1);
    large.call(|audience, cx| audience.enter(cx, attendee(2), Told::Nothing));
    large.go_live(2);
    assert_eq!(large.told(2), ["2 present"]);
}

#[test]
fn a_leave_is_told_after_the_drafts_and_before_the_next_join() {
    let mut stage = Stage::new(RULES);
    (1..=3).for_each(|n| stage.join(n));
    stage.forget_told();
    let unanswered = Farewell::Told(LeaveReason::Left, Drafts::Unanswered);
    stage.leave(2, unanswered);
    stage.leave(3, unanswered);
    assert_eq!((stage.told(1), stage.view().count), (Vec::new(), 3));
    stage.join(3);
    assert_eq!(stage.told(1), ["leave U3", "join U3"]);
    stage.call(|audience, cx| audience.answered(cx, |_| Drafts::Unanswered));
    assert_eq!(stage.told(1), [""; 0]);
    stage.call(|audience, cx| audience.answered(cx, |_| Drafts::Answered));
    assert_eq!(stage.told(1), ["leave U2"]);
    assert_eq!(stage.said, [went(3), came(3), went(2)]);
}

#[test]
fn a_member_that_comes_back_in_time_was_never_seen_to_go() {
    let mut stage = Stage::new(RULES);
    stage.join(1);
    stage.join(2);
    stage.forget_told();
    stage.lose(2);
    assert!(stage.audience.is_away(id(2)));
    assert_eq!((stage.audience.taken(), stage.view().count), (2, 2));
    stage.join(2);
    assert_eq!(stage.back, [id(2)]);
    stage.end_away(2);
    assert_eq!((stage.told(1), &stage.said[..]), (Vec::new(), &[][..]));
    stage.lose(2);
    stage.end_away(2);
    assert_eq!(stage.told(1), ["leave U2"]);
    assert_eq!(stage.audience.taken(), 1);
}

#[test]
fn nobody_sees_a_graceful_shutdown() {
    let mut stage = Stage::new(RULES);
    (1..=3).for_each(|n| stage.join(n));
    stage.forget_told();
    stage.leave(2, Farewell::Silent);
    assert_eq!((stage.view().count, stage.audience.taken()), (3, 2));
    // It comes back on a peer.
    stage.said(PEER, came(2));
    assert_eq!((stage.told(1), stage.view().count), (Vec::new(), 3));
    stage.leave(3, Farewell::Silent);
    stage.leave(1, Farewell::Silent);
    assert!(stage.audience.is_empty());
    assert!(stage.said.is_empty(), "the owner tells peers of the shutdown");
    stage.rest();
}

#[test]
fn the_members_of_a_hidden_room_do_not_see_each_other() {
    let mut stage = Stage::with(Audience::new(Visibility::Hidden, 200), RULES);
    stage.join(1);
    stage.join(2);
    stage.lag(1);
    stage.join(3);
    stage.go_live(1);
    stage.lose(2);
    assert!(stage.audience.is_away(id(2)) && stage.audience.taken() == 3);
    stage.join(2);
    assert_eq!(stage.back, [id(2)]);
    stage.leave(2, Farewell::Silent);
    stage.leave(3, Farewell::Told(LeaveReason::Left, Drafts::Unanswered));
    stage.said(PEER, came(9));
    stage.lose(1);
    stage.end_away(1);
    assert!(stage.audience.is_empty());
    assert_eq!((stage.view().count, stage.armed, stage.said.len()), (0, None, 0));
    assert!((1..=3).all(|n| stage.told(n).is_empty()));
}
