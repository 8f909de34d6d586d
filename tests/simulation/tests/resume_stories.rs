//! Going on with a session: what everybody is told.
use chat_proto::{LeaveReason, LimitValues, RoomName, Seq};
use chat_simulation::world::{
    BrokerMood, Kind, LogMood, Preset, Setup, Step, World, story, story_with,
};

fn world(limits: LimitValues) -> World {
    World::with_limits(Setup { hubs: 2, preset: Preset::Default }, limits)
}

#[test]
fn what_was_missed_follows_and_nobody_saw_it_go() {
    story(
        "v1 a\n v1 b\n a joins den\n b joins den\n a says den one\n b cut\n a says den two
         a says den three\n wait 9999\n c resumes b\n a says den four\n wait 20000",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: ack 1
         a: [den] 1<a>one
         b: [den] 1<a>one
         a: ack 2
         a: [den] 2<a>two
         a: ack 3
         a: [den] 3<a>three
         c: welcome b again den to 3
         c: [den] members 2(a,b)
         c: [den] 2<a>two
         c: [den] 3<a>three
         a: ack 4
         a: [den] 4<a>four
         c: [den] 4<a>four
         a: ping",
    );
}

#[test]
fn on_another_hub_nobody_sees_it_go_either() {
    story(
        "v1 a\n v1 b\n v1 x on 1\n a joins den\n b joins den\n x joins den\n b cut\n a says den one
         c resumes b on 1\n a asks members den\n x asks members den\n wait 20000
         a asks members den",
        "a: welcome a
         b: welcome b
         x: welcome x
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: [den] join x
         b: [den] join x
         x: joined den at 0 with 1(x)
         x: [den] members 3(x,a,b)
         a: ack 1
         a: [den] 1<a>one
         x: [den] 1<a>one
         c: welcome b again den to 1
         c: [den] members 3(x,b,a)
         c: [den] 1<a>one
         a: members 3(a,x,b)
         x: members 3(x,b,a)
         a: members 3(a,x,b)",
    );
}

#[test]
fn after_the_grace_others_see_it_go_and_come() {
    story(
        "v1 a\n v1 b\n a joins den\n b joins den\n b cut\n wait 10000\n a says den one
         wait 200000\n c resumes b\n a asks members den",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: [den] leave b (Disconnected)
         a: ack 1
         a: [den] 1<a>one
         a: ping
         a: ping
         a: ping
         a: ping den=1
         a: ping
         a: ping
         a: ping
         a: ping den=1
         a: [den] join b
         c: welcome b den to 1
         c: [den] members 2(a,b)
         c: [den] 1<a>one
         a: members 2(a,b)",
    );
}

#[test]
fn whoever_says_goodbye_is_gone_at_once() {
    story(
        "v1 a\n v1 b\n a joins den\n b joins den\n b goes\n a asks members den",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: [den] leave b (Left)
         a: members 1(a)",
    );
}

#[test]
fn the_old_connection_is_fenced() {
    story(
        "v1 a\n v1 b\n a joins den\n b joins den\n c resumes b\n b says den late\n c says den now
         d resumes c on 1\n c says den late\n d says den now",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         b: closed 4300 superseded
         c: welcome b again den to 0
         c: [den] members 2(a,b)
         a: [den] 1<b>now
         c: ack 1
         c: [den] 1<b>now
         c: closed 4300 superseded
         d: welcome b den to 1
         d: [den] members 1(b)
         d: [den] members 2(b,a)
         a: [den] 2<b>now
         d: ack 2
         d: [den] 2<b>now",
    );
}

#[test]
fn a_repeated_key_is_answered_as_before_after_a_resume() {
    story(
        "v1 a\n a joins den\n a keys den k1 hi\n a cut\n b resumes a on 1\n b keys den k1 hi
         b keys den k1 other",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>hi
         b: welcome a den to 1
         b: [den] members 1(a)
         b: ack 1 again
         b: error idempotency_conflict",
    );
}

#[test]
fn a_trimmed_log_is_not_recovered_in_part() {
    story(
        "v1 a\n v1 b\n a joins den\n b joins den\n b cut\n a says den one\n a says den two
         a says den three\n log trims den 1\n a leaves den\n wait 10000\n c resumes b
         c joins den 9",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: ack 1
         a: [den] 1<a>one
         a: ack 2
         a: [den] 2<a>two
         a: ack 3
         a: [den] 3<a>three
         a: left den
         c: welcome b again den lost: Truncated
         c: joined den at 3 with 1(b) 3<a>three",
    );
}

#[test]
fn too_much_to_catch_up_with_is_not_recovered() {
    let limits = LimitValues { behind_entries: 5, ..LimitValues::default() };
    story_with(
        world(limits),
        "v1 a\n v1 b\n a joins den\n b joins den\n b cut\n a says den 1\n a says den 2
         a says den 3\n a says den 4\n a says den 5\n c resumes b\n c cut\n a says den 6
         d resumes c from den 0\n d joins den 3",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: ack 1
         a: [den] 1<a>1
         a: ack 2
         a: [den] 2<a>2
         a: ack 3
         a: [den] 3<a>3
         a: ack 4
         a: [den] 4<a>4
         a: ack 5
         a: [den] 5<a>5
         c: welcome b again den to 5
         c: [den] members 2(a,b)
         c: [den] 1<a>1
         c: [den] 2<a>2
         c: [den] 3<a>3
         c: [den] 4<a>4
         c: [den] 5<a>5
         a: ack 6
         a: [den] 6<a>6
         d: welcome b again den lost: TooFar
         d: joined den at 6 with 2(a,b) 4<a>4 5<a>5 6<a>6 more-before",
    );
}

#[test]
fn another_log_is_not_recovered() {
    story(
        "v1 a\n a joins den\n a says den one\n a cut\n wait 20000\n log replaced den\n b resumes a
         b joins den 9",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>one
         b: welcome a again den lost: EpochChanged
         b: joined den at 0 with 1(a)",
    );
}

#[test]
fn a_hub_that_lags_behind_the_position_asks_the_log() {
    story(
        "v1 a\n v1 b on 1\n a joins den\n b joins den\n broker drops\n a says den one
         a says den two
         a cut\n c resumes a on 1\n b says den three
         wait 20",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 1(b)
         b: [den] members 2(b,a)
         a: ack 1
         a: [den] 1<a>one
         a: ack 2
         a: [den] 2<a>two
         b: ack 3
         b: [den] 1<a>one
         b: [den] 2<a>two
         b: [den] 3<b>three
         c: welcome a again den to 3
         c: [den] members 2(b,a)
         c: [den] 3<b>three",
    );
}

#[test]
fn a_position_that_the_log_does_not_have_is_of_another_log() {
    story(
        "v1 a\n a joins den\n a says den one\n a cut\n b resumes a from den 7\n b joins den 9",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>one
         b: welcome a again den lost: EpochChanged
         b: joined den at 1 with 1(a) 1<a>one",
    );
}

#[test]
fn a_log_that_does_not_answer_delays_the_welcome_not_for_ever() {
    story(
        "v1 a\n a joins den\n a says den one\n a cut\n wait 20000\n log holds\n b resumes a
         b asks ping\n wait 5000\n log prompt\n b joins den 9",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>one
         b: error hello_expected
         b: welcome a again den lost: Unavailable
         b: joined den at 1 with 1(a) 1<a>one",
    );
}

#[test]
fn a_full_room_has_no_place_for_one_that_was_away_too_long() {
    let limits = LimitValues { members: 2, ..LimitValues::default() };
    story_with(
        world(limits),
        "v1 a\n v1 b\n a joins den\n b joins den\n b cut\n v1 x\n x joins den\n c resumes b\n c cut
         wait 10000\n x joins den\n d resumes c",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         x: welcome x
         x: error room_full
         c: welcome b again den to 0
         c: [den] members 2(a,b)
         a: [den] leave b (Disconnected)
         a: [den] join x
         x: joined den at 0 with 2(a,x)
         d: welcome b again den lost: NotMember",
    );
}

#[test]
fn a_late_signal_does_not_fence_the_newer_connection() {
    story(
        "v1 a\n a joins den\n a cut\n broker holds\n b resumes a on 1\n b cut\n c resumes b
         broker prompt\n c says den here\n wait 20000\n c asks members den",
        "a: welcome a
         a: joined den at 0 with 1(a)
         b: welcome a den to 0
         b: [den] members 1(a)
         c: welcome a again den to 0
         c: [den] members 1(a)
         c: ack 1
         c: [den] 1<a>here
         c: members 1(a)",
    );
}

#[test]
fn a_budget_outlives_its_connection() {
    let limits = LimitValues { messages_per_10s: 3, ..LimitValues::default() };
    story_with(
        world(limits),
        "v1 a\n a joins den\n a says den one\n a says den two\n a cut\n b resumes a
         b says den three",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>one
         a: ack 2
         a: [den] 2<a>two
         b: welcome a again den to 2
         b: [den] members 1(a)
         b: error rate_limited in 3334",
    );
}

#[test]
fn a_drain_shows_nobody_going() {
    story(
        "v1 a\n v1 b on 1\n a joins den\n b joins den\n drain 0 1000\n wait 1000\n c resumes a on 1
         b asks members den\n wait 20000\n b asks members den",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 1(b)
         b: [den] members 2(b,a)
         a: bye draining 0
         a: closed 4100 draining
         c: welcome a again den to 0
         c: [den] members 2(b,a)
         b: members 2(b,a)
         b: members 2(b,a)",
    );
}

#[test]
fn a_resume_that_waits_for_the_log_outlives_the_beginning_of_a_drain() {
    let mut world = World::new(Setup { hubs: 2, preset: Preset::Default });
    let den = RoomName::new("den").expect("a name");
    let [bob, ada, cara] =
        [(1, "bob"), (1, "ada"), (0, "cara")].map(|(hub, name)| world.connect(hub, Kind::V1, name));
    [ada, bob, cara].iter().for_each(|conn| world.join(*conn, &den, 0));
    world.settle();
    world.cut(ada, LeaveReason::Disconnected);
    // The second Hub does not know of the entry that ada has seen elsewhere.
    world.broker.mood = BrokerMood::Drops;
    world.say(cara, &den, None, "one");
    world.settle();
    world.log.mood = LogMood::Holds;
    let mut rooms = world.conns[ada].view.positions();
    rooms.get_mut(&den).expect("it was there").seq = Seq::ZERO.next();
    let again = world.resume_from(1, ada, rooms);
    world.drain(1, 30_000);
    world.settle();
    world.log.mood = LogMood::Prompt;
    while let Some((hub, event)) = world.log.answer(0) {
        world.tell(hub, event);
        world.settle();
    }
    world.pass(5000);
    let told = &world.conns[again].view.lines;
    assert!(told.contains(&"welcome ada again den to 1".into()), "{told:?}");
}

#[test]
fn every_fourth_ping_tells_where_rooms_end() {
    story(
        "v1 a\n v1 b\n a joins den\n b joins den\n b joins lobby\n a says den one\n wait 100000",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         b: joined lobby at 0 with 1(b)
         a: ack 1
         a: [den] 1<a>one
         b: [den] 1<a>one
         a: ping
         a: ping
         a: ping
         a: ping den=1
         b: ping
         b: ping
         b: ping
         b: ping den=1 lobby=0",
    );
}

#[test]
fn whoever_is_too_far_behind_is_told_to_page() {
    let limits =
        LimitValues { behind_entries: 5, outbox_high_bytes: 1024, ..LimitValues::default() };
    let mut world = world(limits);
    let [a, b] = ["a", "b"].map(|name| world.connect(0, Kind::V1, name));
    let den = RoomName::new("den").expect("a name");
    [a, b].into_iter().for_each(|conn| world.join(conn, &den, 0));
    world.settle();
    world.conns[b].reading = false;
    for _ in 0..12 {
        world.say(a, &den, None, &"x".repeat(600));
        world.settle();
    }
    world.conns[b].reading = true;
    world.apply(Step::Pass { ms: 1 });
    world.say(a, &den, None, "y");
    world.settle();
    let places = |kind: &str| -> Vec<String> {
        let lines = world.conns[b].view.lines.iter().filter(|line| line.contains(kind));
        lines.map(|line| line.chars().take(24).collect()).collect()
    };
    assert_eq!(places("gap"), ["[den] gap 3..12"]);
    assert_eq!(places("<a>y"), ["[den] 13<a>y"]);
    assert_eq!(world.conns[b].view.positions()[&den].seq.get(), 13);
}
