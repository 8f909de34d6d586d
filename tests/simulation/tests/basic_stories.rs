//! What a page of the `basic` dialect may rely on.
use std::fmt::Write;

use chat_proto::LimitValues;
use chat_simulation::world::{Preset, Setup, World, story, story_with};

fn small(limits: LimitValues) -> World {
    World::with_limits(Setup { hubs: 1, preset: Preset::Default }, limits)
}

#[test]
fn a_joiner_gets_its_own_notice_and_a_sender_its_own_message() {
    story(
        "basic a\n basic b\n a joins lobby\n b joins lobby\n a says lobby hi",
        "a: [lobby] join: a joined the room
         a: [lobby] join: b joined the room
         b: [lobby] join: b joined the room
         a: [lobby] <a> hi
         b: [lobby] <a> hi",
    );
}

#[test]
fn whoever_leaves_gets_no_notice_of_it() {
    story(
        "basic a\n basic b\n a joins lobby\n b joins lobby\n a leaves lobby\n b says lobby gone",
        "a: [lobby] join: a joined the room
         a: [lobby] join: b joined the room
         b: [lobby] join: b joined the room
         b: [lobby] leave: a left the room
         b: [lobby] <b> gone",
    );
}

#[test]
fn join_leaves_the_room_before() {
    story(
        "basic a\n basic b\n a joins lobby\n b joins lobby\n a joins den
         a says ignored here\n b says ignored there",
        "a: [lobby] join: a joined the room
         a: [lobby] join: b joined the room
         b: [lobby] join: b joined the room
         a: [den] join: a joined the room
         b: [lobby] leave: a left the room
         a: [den] <a> here
         b: [lobby] <b> there",
    );
}

#[test]
fn joining_the_current_room_again_does_nothing() {
    story(
        "basic a\n a joins lobby\n a joins lobby\n a joins LOBBY\n a says lobby once",
        "a: [lobby] join: a joined the room
         a: [lobby] <a> once",
    );
}

#[test]
fn what_cannot_be_done_is_dropped_and_the_connection_goes_on() {
    story(
        r#"basic a
           a says lobby outside
           a leaves lobby
           a sends {"type":"join","room":""}
           a sends {"type":"join"}
           a sends {"type":"dance"}
           a sends {]
           a sends 7
           a joins lobby
           a sends {"type":"message","content":"","room":"elsewhere","username":"eve"}"#,
        "a: [lobby] join: a joined the room
         a: [lobby] <a>",
    );
}

#[test]
fn a_join_that_finds_no_place_does_not_cost_the_current_room() {
    story_with(
        small(LimitValues { rooms_total: 1, ..LimitValues::default() }),
        "basic a\n basic b\n a joins lobby\n b joins lobby\n a joins den
         b says lobby still here?",
        "a: [lobby] join: a joined the room
         a: [lobby] join: b joined the room
         b: [lobby] join: b joined the room
         a: [lobby] <b> still here?
         b: [lobby] <b> still here?",
    );
}

#[test]
fn one_who_is_cut_off_leaves_like_any_other() {
    story(
        "basic a\n basic b\n a joins lobby\n b joins lobby\n a cut",
        "a: [lobby] join: a joined the room
         a: [lobby] join: b joined the room
         b: [lobby] join: b joined the room
         b: [lobby] leave: a left the room",
    );
}

#[test]
fn an_emptied_room_is_forgotten() {
    let world = story_with(
        World::new(Setup { hubs: 1, preset: Preset::Default }),
        "basic a\n a joins lobby\n a says lobby x\n a leaves lobby",
        "a: [lobby] join: a joined the room\n a: [lobby] <a> x",
    );
    assert_eq!(world.hubs[0].stats().rooms, 0);
}

#[test]
fn a_content_beyond_the_limit_closes_with_1009() {
    story_with(
        small(LimitValues { message_bytes: 4, ..LimitValues::default() }),
        "basic a\n a joins lobby\n a says lobby 1234\n a says lobby 12345",
        "a: [lobby] join: a joined the room\n a: [lobby] <a> 1234\n a: closed 1009 too_big",
    );
}

#[test]
fn a_message_that_the_log_did_not_take_closes_the_connection() {
    story(
        "basic a\n a joins lobby\n log refuses\n a says lobby x",
        "a: [lobby] join: a joined the room\n a: closed 4101 overloaded",
    );
    story("basic a\n log refuses\n a joins lobby", "a: closed 4101 overloaded");
}

#[test]
fn a_message_said_in_a_room_that_could_not_be_opened_does_not_vanish_in_silence() {
    story(
        "basic a\n log holds\n a joins lobby\n a says lobby x\n a joins den\n log fail 0",
        "a: closed 4101 overloaded",
    );
}

#[test]
fn it_is_dead_after_60_s_of_silence_and_not_before() {
    story(
        "basic a\n basic b\n a stalls\n wait 59999\n a reads\n a stalls\n b joins lobby\n wait 1
         wait 200000\n b says lobby alive",
        "b: [lobby] join: b joined the room
         a: closed 4201 heartbeat_timeout
         b: [lobby] <b> alive",
    );
}

#[test]
fn both_dialects_meet_in_one_room_on_two_hubs() {
    story(
        "basic a\n v1 b on 1\n a joins lobby\n b joins lobby\n a says lobby hi\n b says lobby ho
         b leaves lobby",
        "b: welcome b
         a: [lobby] join: a joined the room
         a: [lobby] join: b joined the room
         b: joined lobby at 0 with 1(b)
         b: [lobby] members 2(b,a)
         a: [lobby] <a> hi
         b: [lobby] 1<a>hi
         a: [lobby] <b> ho
         b: ack 2
         b: [lobby] 2<b>ho
         a: [lobby] leave: b left the room
         b: left lobby",
    );
}

/// Who sends what can't be read, over and over, is read ever more slowly, also where messages have
/// no limit; in `chat.v1` it is told of each.
#[test]
fn a_flood_of_junk_is_read_ever_more_slowly() {
    for (comes, joins) in
        [("basic", "a: [den] join: a joined the room"), ("v1", "a: joined den at 0 with 1(a)")]
    {
        let limits = LimitValues {
            messages_per_10s: 0,
            address_messages_per_10s: 0,
            ..LimitValues::default()
        };
        let world = World::with_limits(Setup { hubs: 1, preset: Preset::Default }, limits);
        let mut script = format!("v1 b\n{comes} a\n{}", "a sends {\n".repeat(501));
        for doubling in [0, 1, 2, 3, 4, 5, 6, 6] {
            let ms = 20 << doubling;
            let _ = write!(script, "a joins den\nwait {}\nb asks ping\nwait 1\n", ms - 1);
            script.push_str("a leaves den\na sends {\n");
        }
        // Nothing else counts against it, and after a while it is forgiven.
        let _ = write!(script, "wait 12000\n{}a joins den", "a sends {\n".repeat(500));
        let (mut expected, told) = ("b: welcome b\n".to_owned(), "a: error bad_frame\n");
        let told = if comes == "v1" { told } else { "" };
        let left = if comes == "v1" { "a: left den\n" } else { "" };
        expected.push_str(if comes == "v1" { "a: welcome a\n" } else { "" });
        expected.push_str(&told.repeat(501));
        for _ in 0..8 {
            let _ = write!(expected, "b: pong\n{joins}\n{left}{told}");
        }
        let _ = write!(expected, "{}{joins}", told.repeat(500));
        story_with(world, &script, &expected);
    }
}

/// A peer that sends a text of another protocol now and then is left in peace.
#[test]
fn what_is_not_known_here_slows_nobody_down() {
    let script = format!("basic a\n{}a joins den", "a sends {\nwait 20\n".repeat(1000));
    story(&script, "a: [den] join: a joined the room");
}
