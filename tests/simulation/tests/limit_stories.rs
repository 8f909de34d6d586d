//! Limits and edges: what is just within them, and what is just beyond.
use chat_proto::LimitValues;
use chat_simulation::world::{Preset, Setup, World, story, story_with};

fn with(limits: LimitValues) -> World {
    World::with_limits(Setup { hubs: 1, preset: Preset::Default }, limits)
}

#[test]
fn an_empty_page_says_on_which_side_the_entries_are() {
    story(
        "v1 a\n a joins den\n a pages den latest 0 5\n a says den 1\n a pages den before 1 5
         a pages den after 1 5\n a says den 2\n a pages den before 1 5\n a pages den after 2 5
         a pages den before 2 5\n a pages den after 1 5\n log trims den 2\n v1 b on 1\n b joins den
         b pages den latest 0 5\n b pages den before 2 5\n b pages den after 1 5",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: page
         a: ack 1
         a: [den] 1<a>1
         a: page more-after
         a: page more-before
         a: ack 2
         a: [den] 2<a>2
         a: page more-after
         a: page more-before
         a: page 1<a>1 more-after
         a: page 2<a>2 more-before
         b: welcome b
         a: [den] join b
         b: joined den at 2 with 1(b) more-before
         b: [den] members 2(b,a)
         b: page 1<a>1 2<a>2
         b: page 1<a>1 more-after
         b: page 2<a>2 more-before",
    );
}

#[test]
fn a_page_of_one_entry_that_is_not_at_hand_is_read() {
    story_with(
        with(LimitValues { recent_entries: 1, ..LimitValues::default() }),
        "v1 a\n a joins den\n a says den 1\n a says den 2\n a says den 3\n a pages den before 2 1
         a pages den after 0 1\n a pages den around 2 1",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>1
         a: ack 2
         a: [den] 2<a>2
         a: ack 3
         a: [den] 3<a>3
         a: page 1<a>1 more-after
         a: page 1<a>1 more-after
         a: page 2<a>2 more-before more-after",
    );
}

#[test]
fn a_room_is_full_whatever_its_members_are_doing() {
    story_with(
        with(LimitValues { members: 2, outbox_high_bytes: 1024, ..LimitValues::default() }),
        &format!(
            "v1 a\n v1 b\n v1 c\n a joins den\n b joins den\n c joins den\n b stalls
             a says den {0}\n a says den {0}\n c joins den\n b cut\n c joins den
             wait 10000\n c joins den\n d resumes b\n a leaves den\n c leaves den\n log holds
             a joins den\n c joins den\n d joins den\n log prompt",
            "y".repeat(600)
        ),
        &format!(
            "a: welcome a
             b: welcome b
             c: welcome c
             a: joined den at 0 with 1(a)
             a: [den] join b
             b: joined den at 0 with 2(a,b)
             c: error room_full
             a: ack 1
             a: [den] 1<a>{0}
             a: ack 2
             a: [den] 2<a>{0}
             c: error room_full
             c: error room_full
             a: [den] leave b (Disconnected)
             a: [den] join c
             c: joined den at 2 with 2(a,c) more-before
             d: welcome b again den lost: NotMember
             a: left den
             c: [den] leave a (Left)
             c: left den
             d: error room_full
             a: joined den at 2 with 1(a) more-before
             a: [den] join c
             c: joined den at 2 with 2(a,c) more-before",
            "y".repeat(600)
        ),
    );
}

#[test]
fn a_room_is_full_whatever_hub_its_members_are_on() {
    let setup = Setup { hubs: 3, preset: Preset::Default };
    let limits = LimitValues { members: 2, ..LimitValues::default() };
    story_with(
        World::with_limits(setup, limits),
        "v1 a\n v1 b on 1\n v1 c on 1\n v1 d\n v1 e on 2\n a joins den\n b joins den
         c joins den\n d joins den\n wait 1000\n e joins den\n b leaves den\n d joins den
         wait 1000\n c joins den",
        "a: welcome a
         b: welcome b
         c: welcome c
         d: welcome d
         e: welcome e
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 1(b)
         b: [den] members 2(b,a)
         c: error room_full
         d: error room_full
         e: error room_full
         a: [den] leave b (Left)
         b: left den
         a: [den] join d
         d: joined den at 0 with 2(a,d)
         c: error room_full",
    );
}

#[test]
fn a_content_has_so_many_bytes_and_no_more() {
    let limits = LimitValues { message_bytes: 10, ..LimitValues::default() };
    story_with(
        with(limits),
        "v1 a\n a joins den\n a says den 0123456789\n a says den 01234567890\n a says den x",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>0123456789
         a: error too_large
         a: ack 2
         a: [den] 2<a>x",
    );
}

#[test]
fn a_room_that_nobody_is_in_yet_is_not_listed() {
    story(
        "v1 a\n v1 b\n log holds\n a joins den\n b asks rooms\n log prompt\n b asks rooms",
        "a: welcome a
         b: welcome b
         b: rooms
         a: joined den at 0 with 1(a)
         b: rooms den:1",
    );
}

#[test]
fn typing_is_not_passed_on_among_many() {
    story_with(
        with(LimitValues { typing_members: 2, ..LimitValues::default() }),
        "v1 a\n v1 b\n v1 c\n a joins den\n b joins den\n a types den\n wait 2999\n a types den
         wait 1\n a types den\n a stops den\n a stops den\n c joins den\n wait 3000\n a types den
         c leaves den\n a types den",
        "a: welcome a
         b: welcome b
         c: welcome c
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: ack
         b: [den] a types
         a: ack
         a: ack
         b: [den] a types
         a: ack
         b: [den] a stops typing
         a: ack
         a: [den] join c
         b: [den] join c
         c: joined den at 0 with 3(a,b,c)
         a: ack
         a: [den] leave c (Left)
         b: [den] leave c (Left)
         c: left den
         a: ack
         b: [den] a types",
    );
}

#[test]
fn verbs_cost_what_they_are_worth() {
    story_with(
        with(LimitValues { messages_per_10s: 2, ..LimitValues::default() }),
        "v1 a\n a joins den\n a says den x\n a asks rooms\n wait 10000
         a asks rooms\n a asks members den\n a pages den latest 0 1\n a joins den\n a asks ping
         wait 20000\n a types den\n a leaves den\n a asks ping\n a joins den\n a says den y
         a asks rooms\n wait 1000\n a asks ping\n a asks ping\n a asks ping",
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: ack 1
         a: [den] 1<a>x
         a: error rate_limited in 2500
         a: rooms den:1
         a: members 1(a)
         a: page 1<a>x
         a: joined den at 1 with 1(a) more-before
         a: error rate_limited in 500
         a: ping
         a: ack
         a: left den
         a: pong
         a: joined den at 1 with 1(a) more-before
         a: ack 2
         a: [den] 2<a>y
         a: error rate_limited in 1500
         a: pong
         a: pong
         a: pong",
    );
}

#[test]
fn a_position_right_before_the_oldest_entry_is_recovered() {
    story(
        "v1 a\n v1 b\n a joins den\n b joins den\n a says den 1\n b cut\n a says den 2
         a says den 3\n log trims den 2\n c resumes b on 1",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: ack 1
         a: [den] 1<a>1
         b: [den] 1<a>1
         a: ack 2
         a: [den] 2<a>2
         a: ack 3
         a: [den] 3<a>3
         c: welcome b den to 3
         c: [den] members 1(b)
         c: [den] 2<a>2
         c: [den] 3<a>3
         c: [den] members 2(b,a)",
    );
}

#[test]
fn a_drain_takes_a_day_if_there_is_one_and_no_longer() {
    story(
        "v1 a\n v1 b\n basic c\n drain 0 86400000",
        "a: welcome a
         b: welcome b
         a: bye draining 0
         a: closed 4100 draining
         b: bye draining 20160666",
    );
    story(
        "v1 a\n v1 b\n v1 c\n drain 0 864000000",
        "a: welcome a
         b: welcome b
         c: welcome c
         a: bye draining 0
         a: closed 4100 draining
         b: bye draining 20160666
         c: bye draining 40321333",
    );
}

#[test]
fn a_drain_leaves_the_last_part_for_late_answers() {
    story(
        "v1 a\n v1 b\n v1 c\n drain 0 1000\n wait 232\n wait 1\n wait 233\n wait 1",
        "a: welcome a
         b: welcome b
         c: welcome c
         a: bye draining 0
         a: closed 4100 draining
         b: bye draining 899
         c: bye draining 1799
         b: closed 4100 draining
         c: closed 4100 draining",
    );
}

#[test]
fn no_list_of_members_is_longer_whatever_hub_they_are_on() {
    let setup = Setup { hubs: 2, preset: Preset::Default };
    let limits = LimitValues { members_listed: 2, ..LimitValues::default() };
    story_with(
        World::with_limits(setup, limits),
        "v1 a\n v1 b\n v1 c on 1\n a joins den\n b joins den\n c joins den\n a asks members den
         c asks members den",
        "a: welcome a
         b: welcome b
         c: welcome c
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: [den] join c
         b: [den] join c
         c: joined den at 0 with 1(c)
         c: [den] 3 present
         a: members 3(a,b)
         c: members 3(c,a)",
    );
}

#[test]
fn that_typing_has_ended_does_not_put_off_the_next_beginning() {
    story(
        "v1 a\n v1 b\n a joins den\n b joins den\n a types den\n wait 2000\n a stops den
         a types den\n wait 1000\n a types den",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: ack
         b: [den] a types
         a: ack
         b: [den] a stops typing
         a: ack
         a: ack
         b: [den] a types",
    );
}

#[test]
fn nobody_enters_a_room_of_a_server_that_leaves_service() {
    story(
        "v1 a\n v1 b\n b joins attic\n drain 0 10000\n b joins den\n b joins attic",
        "a: welcome a
         b: welcome b
         b: joined attic at 0 with 1(b)
         a: bye draining 0
         a: closed 4100 draining
         b: bye draining 4500
         b: error draining
         b: error draining",
    );
}

#[test]
fn a_pong_costs_little() {
    let pongs = "a sends {\"type\":\"pong\"}\n".repeat(20);
    story_with(
        with(LimitValues { messages_per_10s: 2, ..LimitValues::default() }),
        &format!("v1 a\n a joins den\n {pongs} a asks rooms"),
        "a: welcome a
         a: joined den at 0 with 1(a)
         a: rooms den:1",
    );
}
