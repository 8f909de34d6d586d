//! The guarantees of the protocol, over scripts of anything that can happen.
//!
//! What has to hold at any time is checked by the world itself, frame by frame, in every one of
//! these tests. `PROPTEST_CASES` sets how many scripts are played.
use std::collections::BTreeSet;

use chat_proto::{
    Body, CloseCode, Dialect, HistoryRange, LeaveReason, LimitValues, RoomName, Seq, ServerFrame,
};
use chat_simulation::world::{
    BrokerMood, Kind, Link, LogMood, Preset, RoomLog, Script, Setup, Step, World,
    closes_have_causes, page_by_filter, repeats_get_the_first_reply, run, story_with,
};
use chat_state::Stats;
use proptest::prelude::*;

fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = asked.unwrap_or(1000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn lobby() -> RoomName {
    RoomName::new("lobby").expect("a name")
}

fn one_hub(limits: LimitValues) -> World {
    World::with_limits(Setup { hubs: 1, preset: Preset::Default }, limits)
}

/// All logs that the rooms of a script have had.
fn all_logs(world: &World) -> Vec<RoomLog> {
    let rooms = ["lobby", "den", "attic"].map(|room| RoomName::new(room).expect("a name"));
    rooms.iter().flat_map(|room| world.log.of_room(room).cloned()).collect()
}

/// Scripts of joins and messages around a log that takes its time.
fn joins_while_the_log_answers() -> impl Strategy<Value = Script> {
    let step = (0..16_u8, any::<[u8; 3]>()).prop_map(|(what, [conn, a, b])| match what {
        0..=3 => Step::Join { conn, room: a % 4, history: b % 6 },
        4 => Step::Leave { conn, room: 0 },
        5..=8 => Step::Say { conn, room: 0, key: 0, size: b },
        9 => Step::Log { mood: LogMood::Holds },
        10 => Step::Log { mood: LogMood::HoldsAnswers },
        11 => Step::Carry { mood: if a < 128 { BrokerMood::Holds } else { BrokerMood::Prompt } },
        12 => Step::Deliver { n: a },
        13 => Step::Trim { room: 0, keep: a % 4 },
        _ => Step::Answer { n: a },
    });
    (1..=2_usize, any::<bool>(), proptest::collection::vec(step, 0..60)).prop_map(
        |(hubs, short, steps)| {
            let kinds = [Kind::V1, Kind::V1, Kind::V1, Kind::Basic];
            let arrive = (0..4).map(|i| Step::Connect { hub: i, kind: kinds[usize::from(i)] });
            let preset = if short { Preset::ShortRing } else { Preset::Default };
            Script { setup: Setup { hubs, preset }, steps: arrive.chain(steps).collect() }
        },
    )
}

/// Scripts of lost connections and resumes, around a log and a broker that misbehave.
fn losses_and_resumes() -> impl Strategy<Value = Script> {
    let step = (0..32_u8, any::<[u8; 4]>()).prop_map(|(what, [conn, a, b, c])| match what {
        0..=6 => Step::Say { conn, room: a % 8, key: b % 4, size: c },
        7..=9 => Step::Join { conn, room: a % 8, history: b % 6 },
        10 => Step::Leave { conn, room: a % 8 },
        11..=15 => Step::Cut { conn },
        16..=21 => Step::Resume { conn, hub: a },
        22 => Step::Log { mood: LogMood::Holds },
        23 => Step::Log { mood: LogMood::HoldsAnswers },
        24 => Step::Log { mood: LogMood::Prompt },
        25 => Step::Carry { mood: if a < 128 { BrokerMood::Holds } else { BrokerMood::Drops } },
        26 => Step::Carry { mood: BrokerMood::Prompt },
        27 => Step::Deliver { n: a },
        28 => Step::Trim { room: a % 8, keep: b % 8 },
        29 => Step::Pass { ms: u16::from_le_bytes([a, b]) },
        30 if a % 8 == 0 => Step::Replace { room: b },
        _ => Step::Answer { n: a },
    });
    (1..=3_usize, 0..3_u8, proptest::collection::vec(step, 0..120)).prop_map(
        |(hubs, preset, steps)| {
            let kinds = [Kind::V1, Kind::V1, Kind::V1, Kind::Basic];
            let arrive = (0..4).map(|i| Step::Connect { hub: i, kind: kinds[usize::from(i)] });
            let preset = match preset {
                0 => Preset::ShortRing,
                1 => Preset::Default,
                _ => Preset::Tiny,
            };
            Script { setup: Setup { hubs, preset }, steps: arrive.chain(steps).collect() }
        },
    )
}

proptest! {
    #![proptest_config(config())]

    /// Each room has one order; each session gets a contiguous run of it and keeps its own.
    #[test]
    fn g1_order(script in Script::any(150)) {
        let world = run(&script);
        for log in all_logs(&world) {
            let places: Vec<u64> = log.entries.iter().map(|e| e.seq.get()).collect();
            prop_assert_eq!(places, (1..=log.last()).collect::<Vec<_>>());
        }
    }

    /// What is acked or shown is in the log, and what was refused is not.
    #[test]
    fn g2_ack(script in Script::any(100)) {
        run(&script);
    }

    /// A key of a user names one entry of a room, however often and by whichever connection of the
    /// session it is sent.
    #[test]
    fn g3_once(script in losses_and_resumes()) {
        let world = run(&script);
        for log in all_logs(&world) {
            // Which session it was and which of its keys stands in the text, whatever else does.
            let said = log.entries.iter().filter_map(|entry| match &entry.body {
                Body::Message { content, .. } => content.strip_prefix('k'),
                other => panic!("nobody asked for {other:?}"),
            });
            let sends: Vec<&str> =
                said.map(|text| text.split(',').next().unwrap_or_default()).collect();
            let once: BTreeSet<&str> = sends.iter().copied().collect();
            prop_assert_eq!(sends.len(), once.len(), "{}: {:?}", log.room, sends);
        }
        repeats_get_the_first_reply(&world);
    }

    /// Whatever happened to signals and the log, after it every member has everything.
    #[test]
    fn g4_no_silent_loss(script in Script::any(200)) {
        run(&script);
    }

    /// Whoever resumes is in each room again with all that was missed, or is told that it is not;
    /// what an older connection of its session says counts no more.
    #[test]
    fn g5_resume(script in losses_and_resumes()) {
        run(&script);
    }

    /// The history of a join ends where live events begin, whatever is committed meanwhile.
    #[test]
    fn g6_atomic_join(script in joins_while_the_log_answers()) {
        run(&script);
    }

    /// Pages are what a filter over the log gives, in both directions.
    #[test]
    fn g7_history(
        (entries, keep, bytes) in (0..30_u8, 0..40_u64, prop_oneof![Just(1024_u32), Just(131_072)]),
        asked in proptest::collection::vec((0..4_u8, 0..34_u64, 1..12_u32), 1..8),
        short in any::<bool>(),
    ) {
        let recent_entries = if short { 2 } else { 256 };
        let mut world = one_hub(LimitValues {
            page_bytes: bytes,
            recent_entries,
            history: 8,
            ..LimitValues::default()
        });
        let author = world.connect(0, Kind::V1, "ada");
        world.join(author, &lobby(), 0);
        for n in 0..entries {
            world.say(author, &lobby(), None, &format!("m{n}{}", "x".repeat(usize::from(n) * 20)));
        }
        world.leave(author, &lobby());
        world.settle();
        world.log.trim(&lobby(), keep);
        world.join(author, &lobby(), 0);
        for (kind, at, limit) in asked {
            let at = Seq::new(at).expect("small");
            let range = match kind {
                0 => HistoryRange::Latest,
                1 => HistoryRange::Before(at),
                2 => HistoryRange::After(at),
                _ => HistoryRange::Around(at),
            };
            world.history(author, &lobby(), range, limit);
            world.settle();
            let Some(ServerFrame::Page(page)) = world.conns[author].view.frames.last() else {
                panic!("no page");
            };
            let got: Vec<u64> = page.events.iter().map(|e| e.seq.get()).collect();
            let flags = (page.has_more_before, page.has_more_after);
            let (log, limit) = (world.log.room(&lobby()), limit.min(8));
            let (want, more) = page_by_filter(log, range, limit, bytes as usize);
            prop_assert_eq!((got, flags), (want, more), "{:?} {} bytes {}", range, limit, bytes);
        }
    }

    /// Limits are kept by whatever script, and everything is answered.
    #[test]
    fn g9_bounded_in_any_script(mut script in Script::any(200)) {
        script.setup.preset = Preset::Tiny;
        run(&script);
    }

    /// In any window a session has at most its burst and what the rate gives, over all verbs.
    #[test]
    fn g10_fair(
        per_window in 1..12_u32,
        asked in proptest::collection::vec((0..4000_u64, 0..4_u8), 1..80),
    ) {
        let limits = LimitValues { messages_per_10s: per_window, ..LimitValues::default() };
        let mut world = one_hub(limits);
        let a = world.connect(0, Kind::V1, "ada");
        world.join(a, &lobby(), 0);
        world.settle();
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for (n, (gap, verb)) in asked.into_iter().enumerate() {
            world.pass(gap);
            let before = world.conns[a].view.lines.len();
            let cost = match verb {
                0 => { world.say(a, &lobby(), None, &format!("m{n}")); 1000 }
                1 => { world.history(a, &lobby(), HistoryRange::Latest, 1); 500 }
                2 => { world.join(a, &lobby(), 0); 500 }
                _ => { world.leave(a, &RoomName::new("den").expect("a name")); 100 }
            };
            world.settle();
            let over = |line: &String| line.starts_with("error rate_limited");
            if !world.conns[a].view.lines[before..].iter().any(over) {
                taken.push((world.now.mono.0, cost));
            }
        }
        fair(&taken, u64::from(per_window), 0)?;
    }

    /// A `basic` peer is slowed down, and nothing of what it says is refused.
    #[test]
    fn g10_fair_to_basic(
        per_window in 1..12_u32,
        asked in proptest::collection::vec(0..2000_u64, 1..60),
    ) {
        let mut world =
            one_hub(LimitValues { basic_messages_per_10s: per_window, ..LimitValues::default() });
        let a = world.connect(0, Kind::Basic, "ada");
        world.join(a, &lobby(), 0);
        world.settle();
        let start = world.now.mono.0;
        let wall = world.now.wall.0;
        let count = asked.len();
        for (n, gap) in asked.into_iter().enumerate() {
            world.pass(gap);
            world.say(a, &lobby(), None, &format!("m{n}"));
            world.settle();
        }
        world.pass(10_000 * (count as u64 + 1));
        let log = world.log.room(&lobby());
        prop_assert_eq!(log.last(), count as u64);
        let taken: Vec<_> = log.entries.iter().map(|e| (start + e.ts.0 - wall, 1000)).collect();
        // The frame that shows that it is over the budget was read before it could be known.
        fair(&taken, u64::from(per_window), 1000)?;
    }

    /// Once everybody has come and gone, each member knows how many are there. What was gathered,
    /// lost or left out on the way does not matter.
    #[test]
    fn g11_presence(mut script in losses_and_resumes(), tiny in any::<bool>()) {
        script.setup.preset = if tiny { Preset::Tiny } else { Preset::ShortRing };
        run(&script);
    }

    /// Each close has its cause; nothing comes after it, and nothing late counts.
    #[test]
    fn g12_close(script in Script::any(200)) {
        closes_have_causes(&run(&script), &script);
    }

    /// A drain is announced, spread, complete, and tells nobody that others have left.
    #[test]
    fn g13_drain(
        kinds in proptest::collection::vec(any::<bool>(), 1..12),
        // Shorter than the time after which an append is given up; or no time at all.
        ms in prop_oneof![1 => Just(0), 9 => 1..30_000_u64],
        (spoken, answered) in (0..6_usize, any::<bool>()),
    ) {
        let mut world = World::new(Setup { hubs: 2, preset: Preset::Default });
        let conns: Vec<usize> = kinds.iter().enumerate().map(|(i, v1)| {
            world.connect(0, if *v1 { Kind::V1 } else { Kind::Basic }, &format!("c{i}"))
        }).collect();
        let watcher = world.connect(1, Kind::V1, "watcher");
        for conn in conns.iter().chain([&watcher]) {
            world.join(*conn, &lobby(), 0);
        }
        world.settle();
        world.log.mood = LogMood::Holds;
        for conn in conns.iter().take(spoken) {
            world.say(*conn, &lobby(), None, &format!("m{conn}"));
            world.settle();
        }
        world.drain(0, ms);
        world.settle();
        byes_are_spread(&world, &conns);
        world.pass(ms * 9 / 10);
        if answered {
            world.log.mood = LogMood::Prompt;
            while let Some((hub, event)) = world.log.answer(0) {
                world.tell(hub, event);
                world.settle();
            }
            world.pass(ms / 10 + 1);
            // Without any time nobody is left to be answered.
            let mine = |c: &&usize| ms > 0 && world.conns[**c].dialect() == Dialect::V1;
            let due = conns.iter().take(spoken).filter(mine).count();
            let acked = |c: &&usize| {
                let lines = &world.conns[**c].view.lines;
                lines.iter().any(|line| line.starts_with("ack"))
            };
            prop_assert_eq!(conns.iter().filter(acked).count(), due);
        } else {
            world.pass(ms / 10 + 1);
        }
        for conn in &conns {
            prop_assert_eq!(world.conns[*conn].closed(), Some(CloseCode::Draining));
        }
        world.log.mood = LogMood::Prompt;
        while let Some((hub, event)) = world.log.answer(0) {
            world.tell(hub, event);
            world.settle();
        }
        let told = |line: &String| line.contains("leave");
        prop_assert!(!world.conns.iter().any(|c| c.view.lines.iter().any(told)));
        prop_assert!(world.hubs[0].is_drained());
        world.heal();
        world.cut(watcher, LeaveReason::Disconnected);
        world.all_leave();
        prop_assert_eq!(world.hubs[0].stats(), Stats::default());
    }

    /// The same events give the same actions, byte for byte.
    #[test]
    fn g15_deterministic(script in Script::any(120)) {
        let (one, other) = (World::trace_of(&script), World::trace_of(&script));
        let differs = one.lines().zip(other.lines()).find(|(a, b)| a != b);
        prop_assert_eq!(differs, None);
        prop_assert_eq!(one.len(), other.len());
    }
}

/// Every stated limit is reached, answered, and left again.
#[test]
fn g9_bounded() {
    members_and_rooms_are_bounded();
    waiting_requests_are_bounded();
    drafts_of_a_room_are_bounded();
    contents_are_bounded();
    held_entries_are_bounded();
    an_outbox_is_bounded();
}

fn members_and_rooms_are_bounded() {
    let limits = LimitValues { rooms: 1, rooms_total: 2, members: 1, connections: 3, ..big() };
    story_with(
        one_hub(limits),
        "v1 a\n v1 b\n v1 c\n mute d
         a joins lobby\n a joins den\n b joins lobby\n b joins den\n c joins attic
         a leaves lobby\n c joins attic\n b cut\n v1 e",
        "a: welcome a\n b: welcome b\n c: welcome c\n d: closed 4101 overloaded
         a: joined lobby at 0 with 1(a)
         a: error too_many_rooms
         b: error room_full
         b: joined den at 0 with 1(b)
         c: error rooms_exhausted
         a: left lobby
         c: joined attic at 0 with 1(c)
         e: welcome e",
    );
}

fn waiting_requests_are_bounded() {
    let mut world = one_hub(LimitValues { in_flight: 4, ..big() });
    let a = world.connect(0, Kind::V1, "a");
    world.join(a, &lobby(), 0);
    world.settle();
    world.log.mood = LogMood::Holds;
    world.say(a, &lobby(), None, "m0");
    world.settle();
    (1..10).for_each(|n| world.say(a, &lobby(), None, &format!("m{n}")));
    world.settle();
    assert_eq!((world.conns[a].port.is_paused, world.conns[a].input.len()), (true, 6));
    // The first was offered alone, the others wait for its answer.
    answer_one(&mut world);
    assert!(world.conns[a].port.is_paused, "3 of 4 are due");
    answer_one(&mut world);
    assert_eq!((world.conns[a].port.is_paused, world.conns[a].input.len()), (true, 2));
    world.heal();
    assert_eq!(world.log.room(&lobby()).last(), 11, "ten and the last word");
}

fn answer_one(world: &mut World) {
    let (hub, event) = world.log.answer(0).expect("a batch waits");
    world.tell(hub, event);
    world.settle();
}

fn drafts_of_a_room_are_bounded() {
    let mut world = one_hub(LimitValues { room_drafts: 4, ..big() });
    let a = world.connect(0, Kind::V1, "a");
    let b = world.connect(0, Kind::Basic, "b");
    let all = [a, b];
    all.iter().for_each(|conn| world.join(*conn, &lobby(), 0));
    world.settle();
    world.log.mood = LogMood::Holds;
    // One is on its way, four wait, and the rest is refused.
    world.say(a, &lobby(), None, "m0");
    world.settle();
    (1..7).for_each(|n| world.say(a, &lobby(), None, &format!("m{n}")));
    world.settle();
    let refused = |line: &&String| *line == "error log_unavailable";
    assert_eq!(world.conns[a].view.lines.iter().filter(refused).count(), 2);
    // The other dialect can't be refused: it is not read.
    (7..12).for_each(|n| world.say(b, &lobby(), None, &format!("m{n}")));
    world.settle();
    assert_eq!((world.conns[b].port.is_paused, world.conns[b].input.len()), (true, 4));
    world.heal();
    assert_eq!(world.log.room(&lobby()).last(), 5 + 5 + 1);
}

fn contents_are_bounded() {
    story_with(
        one_hub(LimitValues { message_bytes: 4, ..big() }),
        "v1 a\n a joins lobby\n a says lobby 12345\n a says lobby 1234",
        "a: welcome a\n a: joined lobby at 0 with 1(a)\n a: error too_large
         a: ack 1\n a: [lobby] 1<a>1234",
    );
}

/// Signals behind a lost one are held up to a bound, and what is beyond it is read from the log.
fn held_entries_are_bounded() {
    let mut world = World::new(Setup { hubs: 2, preset: Preset::Default });
    let author = world.connect(0, Kind::V1, "a");
    let reader = world.connect(1, Kind::V1, "b");
    let all = [author, reader];
    all.iter().for_each(|conn| world.join(*conn, &lobby(), 0));
    world.settle();
    world.broker.mood = BrokerMood::Drops;
    world.say(author, &lobby(), None, "m0");
    world.settle();
    world.broker.mood = BrokerMood::Prompt;
    for n in 1..2000 {
        world.pass(20);
        // The log is slow just now, so the hole stays open.
        world.log.mood = if n == 1 { LogMood::Holds } else { LogMood::Prompt };
        world.say(author, &lobby(), None, &format!("m{n}"));
        world.settle();
        if n == 1 {
            answer_one(&mut world);
            world.log.mood = LogMood::Holds;
            world.pass(20);
        }
    }
    world.heal();
    assert_eq!(world.log.room(&lobby()).last(), 2001);
}

fn an_outbox_is_bounded() {
    let limits = LimitValues { outbox_high_bytes: 1024, outbox_bytes: 4096, ..big() };
    let mut world = one_hub(limits);
    let a = world.connect(0, Kind::V1, "a");
    let slow = world.connect(0, Kind::V1, "b");
    let basic = world.connect(0, Kind::Basic, "c");
    let all = [a, slow, basic];
    all.iter().for_each(|conn| world.join(*conn, &lobby(), 0));
    world.settle();
    world.conns[slow].reading = false;
    world.conns[basic].reading = false;
    for n in 0..100 {
        world.say(a, &lobby(), None, &format!("m{n}"));
        world.settle();
        world.bounds_hold();
    }
    // One is fed later; the other, which can't be, is cut off by its adapter.
    assert_eq!(world.conns[slow].link, Link::Open);
    assert_eq!(world.conns[basic].link, Link::Gone);
    world.heal();
    world.all_leave();
}

/// The default limits without a budget, so that one limit is looked at at a time.
fn big() -> LimitValues {
    LimitValues { messages_per_10s: 0, ..LimitValues::default() }
}

/// At most a whole window's budget at once, and the rate after it.
fn fair(taken: &[(u64, u64)], per_window: u64, slack: u64) -> Result<(), TestCaseError> {
    for (i, (from, _)) in taken.iter().enumerate() {
        let mut cost = 0;
        for (to, more) in &taken[i..] {
            cost += more;
            let most = per_window * 1000 * (10_000 + to - from) / 10_000 + 1 + slack;
            prop_assert!(cost <= most, "{cost} of {most} from {from} to {to}");
        }
    }
    Ok(())
}

fn byes_are_spread(world: &World, conns: &[usize]) {
    let mut delays = Vec::new();
    for conn in conns {
        let conn = &world.conns[*conn];
        let bye = conn.view.frames.iter().find_map(|frame| match frame {
            ServerFrame::Bye { reconnect, after_ms, .. } => Some((*reconnect, *after_ms)),
            _ => None,
        });
        if conn.dialect() == Dialect::V1 {
            let (reconnect, after_ms) = bye.expect("everybody is told");
            assert!(reconnect);
            delays.push(after_ms);
        }
    }
    assert!(delays.is_sorted_by(|a, b| a < b), "{delays:?}");
}
