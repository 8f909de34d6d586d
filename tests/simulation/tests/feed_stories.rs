//! What a connection is sent in bulk: catch-up, joins, pages and lists share one credit account.
use chat_proto::{LeaveReason, LimitValues, RoomName, Seq};
use chat_simulation::world::{Kind, Link, LogMood, Preset, Setup, World, story, story_with};

/// Nobody is slowed down, and little is kept in memory, so that the log has to be read.
fn limits() -> LimitValues {
    LimitValues {
        messages_per_10s: 0,
        user_messages_per_10s: 0,
        address_messages_per_10s: 0,
        recent_entries: 8,
        ..LimitValues::default()
    }
}

fn one_hub(limits: LimitValues) -> World {
    World::with_limits(Setup { hubs: 1, preset: Preset::Default }, limits)
}

fn world() -> World {
    one_hub(limits())
}

fn room(n: usize) -> RoomName {
    RoomName::new(&format!("room {n}")).expect("a name")
}

/// A session that is cut off from `rooms` rooms before `entries` entries are said in each.
fn behind(world: &mut World, rooms: usize, entries: usize) -> usize {
    let reader = world.connect(0, Kind::V1, "reader");
    let writer = world.connect(0, Kind::V1, "writer");
    for n in 0..rooms {
        world.join(reader, &room(n), 0);
        world.join(writer, &room(n), 0);
    }
    world.settle();
    world.cut(reader, LeaveReason::Disconnected);
    world.settle();
    for n in 0..rooms {
        for _ in 0..entries {
            world.say(writer, &room(n), None, &"x".repeat(100));
        }
        world.settle();
    }
    reader
}

/// Resumes a session that reads nothing.
fn resume_without_reading(world: &mut World, reader: usize) -> usize {
    world.new_peers_read = false;
    let resumed = world.resume(0, reader);
    world.new_peers_read = true;
    resumed
}

#[test]
fn a_client_that_resumes_far_behind_and_does_not_read_is_sent_one_credit() {
    for rooms in [10, 60] {
        let mut world = world();
        let reader = behind(&mut world, rooms, 100);
        let resumed = resume_without_reading(&mut world, reader);
        world.pass(5000);
        let conn = &world.conns[resumed];
        assert_eq!(conn.link, Link::Open, "{rooms} rooms");
        let high = world.limits.outbox_high_bytes as usize;
        assert!(conn.port.bytes > 1000, "it was sent {} bytes", conn.port.bytes);
        assert!(
            conn.port.bytes <= high,
            "{rooms} rooms: sent {} bytes without a drain",
            conn.port.bytes
        );
        world.conns[resumed].reading = true;
        world.flush();
        world.settle();
        let positions = world.conns[resumed].view.positions();
        assert_eq!(positions.len(), rooms);
        let at_the_end = Seq::new(100).expect("small");
        assert!(positions.values().all(|position| position.seq == at_the_end));
    }
}

#[test]
fn a_congested_client_is_sent_nothing_that_was_missed() {
    let mut world = world();
    let reader = behind(&mut world, 10, 100);
    let resumed = resume_without_reading(&mut world, reader);
    world.pass(1000);
    let before = world.conns[resumed].port.bytes;
    let id = world.conns[resumed].id();
    world.tell(0, chat_state::Event::Congested { conn: id });
    world.settle();
    world.pass(5000);
    assert_eq!(world.conns[resumed].port.bytes, before);
}

#[test]
fn the_lists_that_follow_a_resume_share_the_credit() {
    let mut world = world();
    let reader = world.connect(0, Kind::V1, "reader");
    let members: Vec<usize> =
        (0..60).map(|n| world.connect(0, Kind::V1, &format!("m{n}"))).collect();
    for n in 0..100 {
        world.join(reader, &room(n), 0);
        for member in &members {
            world.join(*member, &room(n), 0);
        }
        world.settle();
    }
    world.cut(reader, LeaveReason::Disconnected);
    world.settle();
    let resumed = resume_without_reading(&mut world, reader);
    let conn = &world.conns[resumed];
    let high = world.limits.outbox_high_bytes as usize;
    assert!(conn.port.bytes <= high, "sent {} bytes without a drain", conn.port.bytes);
    assert_eq!(conn.link, Link::Open);
}

#[test]
fn a_resume_opens_a_few_rooms_at_a_time() {
    let mut world = world();
    let reader = world.connect(0, Kind::V1, "reader");
    for n in 0..100 {
        world.join(reader, &room(n), 0);
    }
    world.settle();
    world.cut(reader, LeaveReason::Left);
    world.settle();
    assert_eq!(world.hubs[0].stats().rooms, 0, "the rooms are forgotten");
    world.log.mood = LogMood::Holds;
    let resumed = world.resume(0, reader);
    assert!(world.hubs[0].stats().rooms <= 8, "{:?}", world.hubs[0].stats());
    world.log.mood = LogMood::Prompt;
    while let Some((hub, event)) = world.log.answer(0) {
        world.tell(hub, event);
        world.settle();
    }
    assert_eq!(world.conns[resumed].view.positions().len(), 100, "all are recovered");
}

#[test]
fn a_resume_costs_more_the_more_rooms_it_names() {
    let mut world = one_hub(LimitValues { messages_per_10s: 20, ..limits() });
    let reader = world.connect(0, Kind::V1, "reader");
    for n in 0..30 {
        world.join(reader, &room(n), 0);
    }
    world.pass(60_000);
    world.cut(reader, LeaveReason::Left);
    world.settle();
    let resumed = world.resume(0, reader);
    let (n, said) = (room(0), "x".to_owned());
    for _ in 0..20 {
        world.say(resumed, &n, None, &said);
    }
    world.settle();
    let refused = |line: &&String| line.contains("rate_limited");
    let refused = world.conns[resumed].view.lines.iter().filter(refused).count();
    assert_eq!(refused, 4, "`hello` costs half a message, and each of the rooms a tenth");
}

#[test]
fn a_message_behind_a_join_that_fails_is_refused_and_not_appended() {
    story(
        "v1 a\n log holds\n a joins den\n a says den early\n log fail 0\n log prompt
         a joins den\n a pages den latest 0 5",
        "a: welcome a
         a: error log_unavailable
         a: error not_member
         a: joined den at 0 with 1(a)
         a: page",
    );
}

#[test]
fn a_message_behind_a_join_is_appended_once_the_session_is_a_member() {
    story(
        "v1 a\n log holds\n a joins den\n a says den early\n log prompt",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>early",
    );
}

#[test]
fn a_message_behind_a_join_that_is_left_is_refused() {
    story(
        "v1 a\n log holds\n a joins den\n a says den early\n a leaves den\n log prompt
         a joins den\n a pages den latest 0 5",
        "a: welcome a
         a: error not_member
         a: error not_member
         a: left den
         a: joined den at 0 with 1(a)
         a: page",
    );
}

#[test]
fn a_session_that_never_was_is_not_resumed() {
    story(
        "v1 a\n a joins den\n a goes\n b resumes a\n b says den x",
        "a: welcome a
         a: joined den at 0 with 1(a)
         b: welcome a den to 0
         b: [den] members 1(a)
         b: ack 1
         b: [den] 1<a>x",
    );
}

#[test]
fn a_page_around_a_place_leaves_out_what_is_furthest_if_its_bytes_are_few() {
    let words = ["x".repeat(600), "y".repeat(600), "z".repeat(600)];
    let [x, y, z] = &words;
    for recent_entries in [1, 100] {
        story_with(
            one_hub(LimitValues { recent_entries, page_bytes: 1024, ..limits() }),
            &format!(
                "v1 a\n a joins den\n a says den {x}\n a says den {y}\n a says den {z}
                 a pages den around 3 3\n a pages den around 2 3\n a pages den around 9 9"
            ),
            &format!(
                "a: welcome a
                 a: joined den at 0 with 1(a)
                 a: ack 1\n a: [den] 1<a>{x}
                 a: ack 2\n a: [den] 2<a>{y}
                 a: ack 3\n a: [den] 3<a>{z}
                 a: page 3<a>{z} more-before
                 a: page 2<a>{y} more-before more-after
                 a: page 3<a>{z} more-before"
            ),
        );
    }
}

#[test]
fn around_a_place_beyond_the_end_are_the_newest_entries() {
    story_with(
        one_hub(LimitValues { recent_entries: 1, ..limits() }),
        "v1 a\n a joins den\n a says den 1\n a says den 2\n a says den 3\n a says den 4
         a pages den around 30 2\n a pages den around 4 3\n a pages den around 1 3",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1\n a: [den] 1<a>1
         a: ack 2\n a: [den] 2<a>2
         a: ack 3\n a: [den] 3<a>3
         a: ack 4\n a: [den] 4<a>4
         a: page 3<a>3 4<a>4 more-before
         a: page 2<a>2 3<a>3 4<a>4 more-before
         a: page 1<a>1 2<a>2 3<a>3 more-after",
    );
}
