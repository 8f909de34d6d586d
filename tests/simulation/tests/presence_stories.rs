//! Join and leave notices: at once in a small room, gathered in a large one.
use chat_proto::{LeaveReason, LimitValues, RoomName, ServerFrame};
use chat_simulation::world::{Kind, LogMood, Preset, Setup, World, story_with};

fn with(hubs: usize, limits: LimitValues) -> World {
    World::with_limits(Setup { hubs, preset: Preset::Default }, limits)
}

/// Limits without a budget, so that many sessions can join at once.
fn large(notice_members: u32, members_listed: u32) -> LimitValues {
    LimitValues { notice_members, members_listed, messages_per_10s: 0, ..LimitValues::default() }
}

#[test]
fn a_small_room_is_told_at_once_and_a_larger_one_once_a_second() {
    story_with(
        with(1, large(2, 200)),
        "v1 a\n a joins den\n v1 b\n b joins den\n v1 c\n c joins den\n v1 d\n d joins den
         wait 999\n wait 1\n d leaves den\n c leaves den\n wait 1000\n b leaves den",
        "a: welcome a
         a: joined den at 0 with 1(a)
         b: welcome b
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         c: welcome c
         c: joined den at 0 with 3(a,b,c)
         d: welcome d
         d: joined den at 0 with 4(a,b,c,d)
         a: [den] members 4(a,b,c,d)
         b: [den] members 4(a,b,c,d)
         c: [den] members 4(a,b,c,d)
         d: [den] members 4(a,b,c,d)
         d: left den
         c: left den
         a: [den] members 2(a,b)
         b: [den] members 2(a,b)
         a: [den] leave b (Left)
         b: left den",
    );
}

#[test]
fn a_room_that_is_too_large_to_list_is_told_its_count() {
    story_with(
        with(1, large(0, 1)),
        "v1 a\n a joins den\n wait 1000\n v1 b\n b joins den\n wait 1000
         b leaves den\n wait 1000",
        "a: welcome a
         a: joined den at 0 with 1(a)
         b: welcome b
         b: joined den at 0 with 2(a)
         a: [den] 2 present
         b: [den] 2 present
         b: left den
         a: [den] members 1(a)",
    );
}

#[test]
fn a_basic_member_that_was_away_for_a_moment_is_not_told_that_it_left() {
    story_with(
        with(1, large(0, 200)),
        "basic w\n w joins den\n basic a\n a joins den\n wait 1000\n a leaves den\n a joins den
         wait 1000",
        "w: [den] join: w joined the room
         a: [den] join: a joined the room
         w: [den] join: a joined the room
         a: [den] join: a joined the room
         w: [den] join: a joined the room
         w: [den] leave: a left the room",
    );
}

#[test]
fn a_basic_member_is_told_of_several_in_one_notice() {
    story_with(
        with(1, large(1, 200)),
        "basic w\n w joins den\n basic a\n a joins den\n wait 1000\n basic b\n b joins den
         basic c\n c joins den\n basic d\n d joins den\n a cut\n wait 1000",
        "w: [den] join: w joined the room
         a: [den] join: a joined the room
         w: [den] join: a joined the room
         b: [den] join: b joined the room
         c: [den] join: c joined the room
         d: [den] join: d joined the room
         b: [den] join: b and 2 others joined the room
         b: [den] leave: a left the room
         c: [den] join: b and 2 others joined the room
         c: [den] leave: a left the room
         d: [den] join: b and 2 others joined the room
         d: [den] leave: a left the room
         w: [den] join: b and 2 others joined the room
         w: [den] leave: a left the room",
    );
}

/// A whole room is lost and comes back, in ever new sessions: a frame or two for each member that
/// comes, not one for each pair.
#[test]
fn a_room_that_comes_back_costs_a_frame_or_two_for_each_member() {
    const MEMBERS: usize = 300;
    const ALONE: usize = 64;
    let lobby = RoomName::new("lobby").expect("a name");
    let mut world = with(1, large(64, 200));
    let watchers = [Kind::V1, Kind::Basic].map(|kind| world.connect(0, kind, "watcher"));
    watchers.iter().for_each(|watcher| world.join(*watcher, &lobby, 0));
    let mut before = 0;
    for round in 0..3 {
        let kinds = [Kind::V1, Kind::V1, Kind::Basic].into_iter().cycle();
        let crowd: Vec<(usize, Kind)> = kinds
            .enumerate()
            .take(MEMBERS)
            .map(|(n, kind)| (world.connect(0, kind, &format!("c{round}-{n}")), kind))
            .collect();
        crowd.iter().for_each(|(conn, _)| world.join(*conn, &lobby, 0));
        world.settle();
        world.pass(5000);
        for (conn, _) in crowd.iter().filter(|(_, kind)| *kind == Kind::V1) {
            let peer = &world.conns[*conn].view;
            assert_eq!(peer.rooms[&lobby].count, MEMBERS as u64 + 2, "{}", peer.name);
        }
        crowd.iter().for_each(|(conn, _)| world.cut(*conn, LeaveReason::Disconnected));
        world.settle();
        world.pass(20_000);
        assert_eq!(world.conns[watchers[0]].view.rooms[&lobby].count, 2);
        let told = world.conns.iter().map(|conn| notices(&conn.view.lines)).sum::<usize>();
        // Each of the first is told to all before it. Then all are told once, or those of `basic`
        // twice: of those who came and of those who went.
        let most = ALONE * ALONE / 2 + 3 * (MEMBERS + 2);
        assert!(told - before <= most, "{} notices of {most} in round {round}", told - before);
        before = told;
    }
    world.all_leave();
}

/// How many of the lines tell of comings and goings.
fn notices(lines: &[String]) -> usize {
    let told = |line: &&String| {
        ["] join ", "] leave ", "] members ", " present", "the room"]
            .iter()
            .any(|part| line.contains(part))
    };
    lines.iter().filter(told).count()
}

#[test]
fn a_member_that_lagged_is_told_who_is_there_when_it_is_back() {
    let lobby = RoomName::new("lobby").expect("a name");
    let mut world = with(1, LimitValues { outbox_high_bytes: 1024, ..large(64, 200) });
    let slow = world.connect(0, Kind::V1, "slow");
    let other = world.connect(0, Kind::V1, "other");
    [slow, other].iter().for_each(|conn| world.join(*conn, &lobby, 0));
    world.settle();
    world.conns[slow].reading = false;
    (0..30).for_each(|n| world.say(other, &lobby, None, &format!("m{n}{}", "x".repeat(100))));
    world.settle();
    assert!(world.conns[slow].port.is_congested);
    let new = world.connect(0, Kind::V1, "new");
    world.join(new, &lobby, 0);
    world.settle();
    world.conns[slow].reading = true;
    world.say(other, &lobby, None, "m30");
    world.settle();
    let is_told = |frame: &ServerFrame| match frame {
        ServerFrame::Members { id: None, view, .. } => view.count == 3,
        _ => false,
    };
    let frames = &world.conns[slow].view.frames;
    assert!(frames.iter().any(is_told), "{:#?}", world.conns[slow].view.lines);
    assert_eq!(world.conns[slow].view.rooms[&lobby].count, 3);
}

/// The second join is no reply yet, so the member still has to be told what it missed before it.
#[test]
fn a_member_that_lagged_is_told_who_is_there_although_its_second_join_fails() {
    let lobby = RoomName::new("lobby").expect("a name");
    let limits = LimitValues { outbox_high_bytes: 1024, recent_entries: 1, ..large(64, 200) };
    let mut world = with(1, limits);
    let slow = world.connect(0, Kind::V1, "slow");
    let other = world.connect(0, Kind::V1, "other");
    [slow, other].iter().for_each(|conn| world.join(*conn, &lobby, 0));
    world.settle();
    world.conns[slow].reading = false;
    (0..30).for_each(|n| world.say(other, &lobby, None, &format!("m{n}{}", "x".repeat(100))));
    world.settle();
    assert!(world.conns[slow].port.is_congested);
    let new = world.connect(0, Kind::V1, "new");
    world.join(new, &lobby, 0);
    world.settle();
    // It reads again. The log has what it missed, and does not answer.
    world.log.mood = LogMood::Holds;
    world.conns[slow].reading = true;
    world.flush();
    world.settle();
    world.join(slow, &lobby, 20);
    world.settle();
    while let Some((hub, event)) = world.log.fail(0) {
        world.tell(hub, event);
        world.settle();
    }
    world.log.mood = LogMood::Prompt;
    world.pass(60_000);
    let peer = &world.conns[slow].view;
    assert!(peer.lines.iter().any(|line| line.contains("log_unavailable")), "{:#?}", peer.lines);
    assert_eq!(peer.rooms[&lobby].count, 3, "{:#?}", peer.lines);
}
