//! What the log's answers decide, also if they are late or lost.
use chat_simulation::world::{Preset, Setup, World, story, story_with};

fn two_hubs() -> World {
    World::new(Setup { hubs: 2, preset: Preset::Default })
}

#[test]
fn an_invented_position_does_not_delay_a_resume_that_came_before_it() {
    story(
        "v1 a\n v1 b\n v1 c\n a joins den\n b joins den\n b cut\n log replaced den\n lost 0
         wait 1000\n v1 d\n d joins den\n c joins den\n c cut\n log holds\n e resumes b
         f resumes c from den 1000\n log answer 0",
        "a: welcome a
         b: welcome b
         c: welcome c
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: closed 4202 log_replaced
         d: welcome d
         d: joined den at 0 with 3(d,a,b)
         c: joined den at 0 with 4(d,c,a,b)
         d: [den] join c
         e: welcome b again den lost: EpochChanged",
    );
}

#[test]
fn a_late_append_to_a_replaced_log_closes_nobody_in_the_new_one() {
    story(
        "v1 a\n v1 b\n a joins den\n log holds-answers\n a says den old\n log takes
         log replaced den\n lost 0\n wait 1000\n b joins den\n log answer 0\n b says den new",
        "a: welcome a
         b: welcome b
         a: joined den at 0 with 1(a)
         a: closed 4202 log_replaced
         b: joined den at 0 with 2(b,a)
         b: ack 1
         b: [den] 1<b>new",
    );
}

#[test]
fn a_join_is_refused_if_the_log_does_not_answer() {
    story(
        "v1 a\n log holds\n a joins den\n log loses 0\n wait 9999\n wait 1
         log prompt\n a joins den",
        "a: welcome a
         a: error log_unavailable
         a: joined den at 0 with 1(a)",
    );
}

#[test]
fn a_lost_answer_to_a_head_question_is_asked_for_again() {
    story_with(
        two_hubs(),
        "v1 a\n v1 x on 1\n a joins den\n x joins den\n broker drops\n a says den one\n log holds
         lost 1\n wait 1000\n log loses 0\n wait 10000\n log prompt\n wait 500\n wait 20",
        "a: welcome a
         x: welcome x
         a: joined den at 0 with 1(a)
         a: [den] join x
         x: joined den at 0 with 1(x)
         x: [den] members 2(x,a)
         a: ack 1
         a: [den] 1<a>one
         x: [den] 1<a>one",
    );
}

#[test]
fn a_position_above_the_head_of_a_hub_is_decided_by_the_head_of_the_log() {
    story_with(
        two_hubs(),
        "v1 a on 1\n v1 b on 1\n v1 c on 1\n v1 x\n a joins den\n b joins den\n c joins den
         x joins den\n broker drops\n a says den one\n b cut\n c cut\n claim den 5\n d resumes b
         e resumes c from den 2\n wait 20",
        "a: welcome a
         b: welcome b
         c: welcome c
         x: welcome x
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: [den] join c
         b: [den] join c
         c: joined den at 0 with 3(a,b,c)
         a: [den] join x
         b: [den] join x
         c: [den] join x
         x: joined den at 0 with 1(x)
         x: [den] members 4(x,c,a,b)
         a: ack 1
         a: [den] 1<a>one
         b: [den] 1<a>one
         c: [den] 1<a>one
         e: welcome c again den lost: EpochChanged
         d: welcome b again den to 1
         d: [den] members 4(x,b,c,a)
         x: [den] 1<a>one",
    );
}
