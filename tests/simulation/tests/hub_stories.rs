//! What a Hub knows by itself, and how it learns what it has missed: of the log, and of other Hubs.
use chat_proto::LimitValues;
use chat_simulation::world::{Preset, Setup, World, story, story_with};

fn with(limits: LimitValues) -> World {
    World::with_limits(Setup { hubs: 1, preset: Preset::Default }, limits)
}

#[test]
fn the_newest_entries_are_at_hand_while_the_log_can_not_be_read() {
    story_with(
        with(LimitValues { recent_entries: 2, ..LimitValues::default() }),
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
        with(LimitValues { recent_bytes: 1024, ..LimitValues::default() }),
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
         a: [den] members 3(a,y,x)
         a: [den] join z
         x: [den] join z
         y: [den] join z
         z: joined den at 0 with 4(x,y,z,a)",
    );
}

#[test]
fn where_the_log_ends_is_asked_again_if_it_could_not_tell() {
    story_with(
        with(LimitValues::default()),
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

#[test]
fn a_page_of_another_log_is_not_shown() {
    story_with(
        with(LimitValues { recent_entries: 1, ..LimitValues::default() }),
        "v1 a\n a joins den\n a says den 1\n a says den 2\n log replaced den
         a pages den latest 0 2",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>1
         a: ack 2
         a: [den] 2<a>2
         a: closed 4202 log_replaced",
    );
}

#[test]
fn what_an_earlier_join_has_asked_of_the_log_is_not_taken_for_a_later_one() {
    story_with(
        with(LimitValues { recent_entries: 1, ..LimitValues::default() }),
        "v1 a\n v1 b\n a joins den\n a says den 1\n a says den 2\n a says den 3\n log holds
         b joins den 3\n b joins den 2\n log answer 0\n log answer 0",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>1
         a: ack 2
         a: [den] 2<a>2
         a: ack 3
         a: [den] 3<a>3
         b: error log_unavailable
         a: [den] join b
         b: joined den at 3 with 2(a,b) 2<a>2 3<a>3 more-before",
    );
}

#[test]
fn a_long_hole_is_read_part_by_part_without_a_pause() {
    let setup = Setup { hubs: 2, preset: Preset::Default };
    story_with(
        World::with_limits(setup, LimitValues { recent_entries: 2, ..LimitValues::default() }),
        "v1 a\n v1 b on 1\n a joins den\n b joins den\n broker drops\n a says den 1\n a says den 2
         a says den 3\n a says den 4\n a says den 5\n broker prompt\n a says den 6\n wait 20",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 1(b)
         b: [den] members 2(b,a)
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
         a: ack 6
         a: [den] 6<a>6
         b: [den] 1<a>1
         b: [den] 2<a>2
         b: [den] 3<a>3
         b: [den] 4<a>4
         b: [den] 5<a>5
         b: [den] 6<a>6",
    );
}

#[test]
fn the_end_of_the_log_is_told_to_other_hubs_after_an_unknown_outcome() {
    story(
        "v1 a\n v1 b on 1\n a joins den\n b joins den\n log unknown-taken\n a says den x
         log prompt\n wait 20",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 1(b)
         b: [den] members 2(b,a)
         a: error unknown_outcome
         a: [den] 1<a>x
         b: [den] 1<a>x",
    );
}

#[test]
fn a_duplicate_shows_at_once_what_was_missed_of_it() {
    story(
        "v1 a on 1\n v1 c\n a joins den\n c joins den\n broker drops\n a keys den k hi\n a cut
         b resumes a from den 0\n broker prompt\n b keys den k hi\n wait 20",
        "a: welcome a
         c: welcome c
         a: joined den at 0 with 1(a)
         a: [den] join c
         c: joined den at 0 with 1(c)
         c: [den] members 2(c,a)
         a: ack 1
         a: [den] 1<a>hi
         b: welcome a again den to 0
         b: [den] members 2(c,a)
         b: ack 1 again
         b: [den] 1<a>hi
         c: [den] 1<a>hi",
    );
}

#[test]
fn who_has_lost_the_connection_is_listed() {
    story(
        "v1 a\n v1 b\n v1 c\n a joins den\n b joins den\n b cut\n a asks members den
         c joins den",
        "a: welcome a
         b: welcome b
         c: welcome c
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: members 2(a,b)
         a: [den] join c
         c: joined den at 0 with 3(a,c,b)",
    );
}

#[test]
fn a_leave_is_told_after_all_that_was_said() {
    story(
        "v1 a\n v1 b\n a joins den\n b joins den\n log holds\n a says den x\n a says den y
         a says den z\n a leaves den\n log answer 0\n log answer 0",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: left den
         a: ack 1
         b: [den] 1<a>x
         a: ack 2
         a: ack 3
         b: [den] 2<a>y
         b: [den] 3<a>z
         b: [den] leave a (Left)",
    );
}

#[test]
fn a_lost_connection_is_no_way_to_a_new_budget() {
    story_with(
        with(LimitValues { messages_per_10s: 3, ..LimitValues::default() }),
        "v1 a\n v1 b\n a joins den\n a says den x\n a says den y\n a cut\n b cut
         c resumes a\n c says den z",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>x
         a: ack 2
         a: [den] 2<a>y
         c: welcome a again den to 2
         c: [den] members 1(a)
         c: error rate_limited in 3334",
    );
}

#[test]
fn once_it_was_read_that_entries_are_gone_no_page_says_that_they_are_there() {
    story_with(
        with(LimitValues { recent_entries: 1, ..LimitValues::default() }),
        "v1 a\n a joins den\n a says den 1\n a says den 2\n a says den 3\n log trims den 1
         a pages den latest 0 1\n a pages den before 3 5\n a pages den latest 0 1",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>1
         a: ack 2
         a: [den] 2<a>2
         a: ack 3
         a: [den] 3<a>3
         a: page 3<a>3 more-before
         a: page more-after
         a: page 3<a>3",
    );
}

#[test]
fn an_append_that_hangs_is_given_up_while_others_are_answered() {
    story(
        "v1 a\n a joins den\n a joins attic\n log holds\n a says den x\n a says attic y
         log answer 1\n wait 30000",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: joined attic at 0 with 1(a)
         a: ack 1
         a: [attic] 1<a>y
         a: ping
         a: error unknown_outcome",
    );
}
