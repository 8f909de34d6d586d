//! What a Hub knows by itself, and how it learns what it has missed: of the log, and of other Hubs.
use chat_proto::Limits;
use chat_tests::world::{Preset, Setup, World, story, story_with};

fn with(limits: Limits) -> World {
    World::with_limits(Setup { hubs: 1, preset: Preset::Default }, limits)
}

#[test]
fn the_newest_entries_are_at_hand_while_the_log_can_not_be_read() {
    story_with(
        with(Limits { recent_entries: 2, ..Limits::default() }),
        "v1 a\n v1 b\n a joins den\n a says den 1\n a says den 2\n a says den 3\n log holds
         a pages den latest 0 2\n a pages den after 1 1\n a pages den before 3 1\n b joins den 2
         a pages den latest 0 3\n a asks ping\n log prompt",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>1
         a: ack 2
         a: [den] 2<a>2
         a: ack 3
         a: [den] 3<a>3
         a: page 2<a>2 3<a>3 more-before
         a: page 2<a>2 more-before more-after
         a: page 2<a>2 more-before more-after
         a: [den] join b
         b: joined den at 3 with 2(a,b) 2<a>2 3<a>3 more-before
         a: pong
         a: page 1<a>1 2<a>2 3<a>3",
    );
}

#[test]
fn only_so_many_bytes_are_at_hand() {
    let (y, z) = ("y".repeat(512), "z".repeat(512));
    story_with(
        with(Limits { recent_bytes: 1024, ..Limits::default() }),
        &format!(
            "v1 a\n v1 b\n v1 c\n a joins den\n a says den x\n a says den {y}\n a says den {z}
             log holds\n b joins den 2\n c joins den 3\n a asks ping\n log prompt"
        ),
        &format!(
            "a: welcome a
             b: welcome b
             c: welcome c
             a: joined den at 0 with 1(a)
             a: ack 1
             a: [den] 1<a>x
             a: ack 2
             a: [den] 2<a>{y}
             a: ack 3
             a: [den] 3<a>{z}
             a: [den] join b
             b: joined den at 3 with 2(a,b) 2<a>{y} 3<a>{z} more-before
             a: pong
             a: [den] join c
             b: [den] join c
             c: joined den at 3 with 3(a,b,c) 1<a>x 2<a>{y} 3<a>{z}"
        ),
    );
}

#[test]
fn as_many_members_but_others_are_shown_anew() {
    story(
        "v1 a\n v1 x on 1\n v1 y on 1\n v1 z on 1\n a joins den\n x joins den\n broker drops
         x leaves den\n y joins den\n z joins den\n broker prompt\n z leaves den",
        "a: welcome a
         x: welcome x
         y: welcome y
         z: welcome z
         a: joined den at 0 with 1(a)
         a: [den] join x
         x: joined den at 0 with 1(x)
         x: [den] members 2(x,a)
         x: left den
         y: joined den at 0 with 1(y)
         y: [den] join z
         z: joined den at 0 with 2(y,z)
         a: [den] leave z (Left)
         a: [den] members 2(a,y)
         y: [den] leave z (Left)
         z: left den",
    );
}

#[test]
fn members_are_asked_for_again_if_the_answer_was_lost() {
    story(
        "v1 a\n v1 x on 1\n v1 y on 1\n v1 z on 1\n a joins den\n x joins den\n broker drops
         y joins den\n broker holds\n z joins den\n broker deliver 0\n broker lose 0
         broker prompt\n wait 999\n z leaves den\n wait 1\n z joins den",
        "a: welcome a
         x: welcome x
         y: welcome y
         z: welcome z
         a: joined den at 0 with 1(a)
         a: [den] join x
         x: joined den at 0 with 1(x)
         x: [den] members 2(x,a)
         x: [den] join y
         y: joined den at 0 with 3(x,y,a)
         x: [den] join z
         y: [den] join z
         z: joined den at 0 with 4(x,y,z,a)
         a: [den] join z
         a: [den] leave z (Left)
         x: [den] leave z (Left)
         y: [den] leave z (Left)
         z: left den
         a: [den] join z
         a: [den] members 4(a,y,x,z)
         x: [den] join z
         y: [den] join z
         z: joined den at 0 with 4(x,y,z,a)",
    );
}

#[test]
fn where_the_log_ends_is_asked_again_if_it_could_not_tell() {
    story_with(
        with(Limits::default()),
        // The log does not answer, and then can not say where it ends. The second answer is to the
        // same question, asked again: the message has not got there yet.
        "v1 a\n a joins lobby\n log holds\n a says lobby hi\n wait 30000\n log fail 1\n wait 500
         log answer 1\n a asks ping\n log answer 0\n wait 20\n log answer 0",
        "a: welcome a
         a: joined lobby at 0 with 1(a)
         a: ping
         a: error unknown_outcome
         a: pong
         a: [lobby] 1<a>hi",
    );
}
