//! What a client of `chat.v1` may rely on, one behaviour at a time.
use chat_proto::LimitValues;
use chat_simulation::world::{Preset, Setup, World, story, story_with};

fn with(limits: LimitValues) -> World {
    World::with_limits(Setup { hubs: 1, preset: Preset::Default }, limits)
}

#[test]
fn the_ack_comes_before_the_event_and_both_after_the_log() {
    story(
        "v1 a\n a joins lobby\n log holds\n a says lobby hi\n log answer 0",
        "a: welcome a\n a: joined lobby at 0 with 1(a)\n a: ack 1\n a: [lobby] 1<a>hi",
    );
}

#[test]
fn a_key_names_a_send() {
    story(
        "v1 a\n a joins lobby\n a keys lobby k one\n a keys lobby k one\n a keys lobby k two",
        "a: welcome a
         a: joined lobby at 0 with 1(a)
         a: ack 1
         a: [lobby] 1<a>one
         a: ack 1 again
         a: error idempotency_conflict",
    );
}

#[test]
fn an_unknown_outcome_is_shown_to_everybody_once_it_is_known() {
    story(
        "v1 a\n v1 b on 1\n a joins lobby\n b joins lobby\n log unknown-taken\n a keys lobby k x
         log prompt\n a keys lobby k x",
        "a: welcome a\n b: welcome b
         a: joined lobby at 0 with 1(a)
         a: [lobby] join b
         b: joined lobby at 0 with 1(b)
         b: [lobby] members 2(b,a)
         a: error unknown_outcome
         a: ack 1 again",
    );
}

#[test]
fn a_message_behind_its_join_waits_for_the_room() {
    story(
        "v1 a\n log holds\n a joins lobby 5\n a says lobby early\n log answer 0\n log answer 0",
        "a: welcome a
         a: joined lobby at 0 with 1(a)
         a: ack 1
         a: [lobby] 1<a>early",
    );
}

#[test]
fn leaving_before_the_join_is_done_answers_both() {
    story(
        "v1 a\n log holds\n a joins lobby\n a leaves lobby\n log answer 0\n log prompt
         a joins lobby",
        "a: welcome a
         a: error not_member
         a: left lobby
         a: joined lobby at 0 with 1(a)",
    );
}

#[test]
fn joining_again_answers_with_history_and_tells_nobody() {
    story(
        "v1 a\n v1 b\n a joins lobby\n b joins lobby\n a says lobby x\n a joins lobby 1",
        "a: welcome a\n b: welcome b
         a: joined lobby at 0 with 1(a)
         a: [lobby] join b
         b: joined lobby at 0 with 2(a,b)
         a: ack 1
         a: [lobby] 1<a>x
         b: [lobby] 1<a>x
         a: joined lobby at 1 with 2(b,a) 1<a>x",
    );
}

#[test]
fn a_member_whose_second_join_fails_stays_a_member() {
    story_with(
        with(LimitValues { recent_entries: 1, ..LimitValues::default() }),
        "v1 a\n a joins lobby\n a says lobby 1\n a says lobby 2\n log holds\n a joins lobby 2
         a asks members lobby\n log fail 0\n log prompt\n a says lobby 3",
        "a: welcome a
         a: joined lobby at 0 with 1(a)
         a: ack 1
         a: [lobby] 1<a>1
         a: ack 2
         a: [lobby] 2<a>2
         a: error log_unavailable
         a: members 1(a)
         a: ack 3
         a: [lobby] 3<a>3",
    );
}

#[test]
fn a_join_behind_a_full_outbox_is_answered_once_the_client_reads() {
    story_with(
        with(LimitValues { outbox_high_bytes: 1024, outbox_bytes: 4096, ..LimitValues::default() }),
        &format!(
            "v1 a\n v1 b\n a joins lobby\n b joins lobby\n log holds\n b joins den\n b stalls
             a says lobby {0}\n log answer 1\n a says lobby {0}\n log answer 1\n log prompt
             a joins den\n {1} b reads",
            "y".repeat(600),
            "a says den z\n".repeat(60)
        ),
        &full_outbox_story(),
    );
}

fn full_outbox_story() -> String {
    let y = "y".repeat(600);
    let mut told = format!(
        "a: welcome a\n b: welcome b
         a: joined lobby at 0 with 1(a)
         a: [lobby] join b
         b: joined lobby at 0 with 2(a,b)
         a: ack 1\n a: [lobby] 1<a>{y}
         a: ack 2\n a: [lobby] 2<a>{y}
         a: joined den at 0 with 1(a)"
    );
    for seq in 1..=60 {
        told.push_str(&format!("\n a: ack {seq}\n a: [den] {seq}<a>z"));
    }
    told.push_str("\n a: [den] join b");
    told.push_str(&format!("\n b: [lobby] 1<a>{y}\n b: [lobby] 2<a>{y}"));
    told.push_str("\n b: joined den at 60 with 2(a,b) more-before\n");
    told
}

#[test]
fn who_lags_behind_a_trimmed_log_is_told_of_the_hole() {
    story_with(
        with(LimitValues { outbox_high_bytes: 1024, recent_entries: 1, ..LimitValues::default() }),
        &format!(
            "v1 a\n v1 b\n a joins lobby\n b joins lobby\n b stalls\n {0}{0}
             a says lobby 3\n a says lobby 4\n a says lobby 5\n log trims lobby 2\n b reads",
            format_args!("a says lobby {}\n", "y".repeat(600)),
        ),
        &format!(
            "a: welcome a\n b: welcome b
             a: joined lobby at 0 with 1(a)
             a: [lobby] join b
             b: joined lobby at 0 with 2(a,b)
             a: ack 1\n a: [lobby] 1<a>{0}
             a: ack 2\n a: [lobby] 2<a>{0}
             a: ack 3\n a: [lobby] 3<a>3
             a: ack 4\n a: [lobby] 4<a>4
             a: ack 5\n a: [lobby] 5<a>5
             b: [lobby] 1<a>{0}
             b: [lobby] 2<a>{0}
             b: [lobby] hole 3..3
             b: [lobby] 4<a>4
             b: [lobby] 5<a>5",
            "y".repeat(600)
        ),
    );
}

#[test]
fn a_replaced_log_closes_with_4202_and_what_was_said_goes_to_the_new_one() {
    story(
        "v1 a\n v1 b\n a joins lobby\n a says lobby old\n log replaced lobby\n log holds
         a says lobby new\n a says lobby newer\n log answer 0\n log answer 0\n b joins lobby 9
         log prompt",
        "a: welcome a\n b: welcome b
         a: joined lobby at 0 with 1(a)
         a: ack 1
         a: [lobby] 1<a>old
         a: ack 1
         a: closed 4202 log_replaced
         b: joined lobby at 2 with 2(b,a) 1<a>new 2<a>newer",
    );
}

#[test]
fn an_old_signal_while_a_room_opens_is_not_shown() {
    story(
        "v1 a\n v1 b on 1\n a joins lobby\n broker holds\n b joins lobby\n a says lobby old
         b leaves lobby\n log replaced lobby\n log holds\n b joins lobby\n broker prompt
         log prompt",
        "a: welcome a\n b: welcome b
         a: joined lobby at 0 with 1(a)
         b: joined lobby at 0 with 1(b)
         a: ack 1
         a: [lobby] 1<a>old
         b: left lobby
         a: [lobby] join b
         a: [lobby] leave b (Left)
         a: [lobby] join b
         b: joined lobby at 0 with 2(b,a)",
    );
}

#[test]
fn a_v1_peer_is_pinged_every_25_s_and_dead_35_s_after_its_last_sign_of_life() {
    story(
        "v1 a\n wait 24999\n wait 1\n a stalls\n wait 34999\n wait 1",
        "a: welcome a
         a: ping
         a: closed 4201 heartbeat_timeout",
    );
}

#[test]
fn one_that_is_not_read_is_not_dead() {
    let limits = LimitValues { in_flight: 1, recent_entries: 1, ..LimitValues::default() };
    // Each message is given up after 30 s, and until then nothing is read from its sender.
    story_with(
        with(limits),
        "v1 a\n a joins lobby\n log holds\n a says lobby 1\n a says lobby 2\n a says lobby 3
         wait 100000\n log prompt\n wait 10000\n a asks ping",
        "a: welcome a
         a: joined lobby at 0 with 1(a)
         a: ping
         a: error unknown_outcome
         a: ping
         a: error unknown_outcome
         a: ping
         a: error unknown_outcome
         a: ping lobby=0
         a: [lobby] 1<a>1
         a: [lobby] 2<a>2
         a: [lobby] 3<a>3
         a: pong",
    );
}

#[test]
fn hello_has_ten_seconds_and_comes_first() {
    story(
        "mute a\n wait 9999\n wait 1\n mute b\n b asks ping
         upgrades c\n wait 10000\n c asks ping",
        "a: closed 4201 heartbeat_timeout
         b: error hello_expected
         b: closed 4000 hello_expected
         c: welcome c
         c: pong",
    );
}

#[test]
fn typing_is_passed_on_every_3_s_at_most_and_a_message_ends_it() {
    story(
        "v1 a\n v1 b\n a joins den\n b joins den\n a types den
         a types den\n a stops den\n a types den
         wait 3000\n a types den\n a says den x\n a types den",
        "a: welcome a\n b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 2(a,b)
         a: ack\n b: [den] a types
         a: ack
         a: ack\n b: [den] a stops typing
         a: ack
         a: ack\n b: [den] a types
         a: ack 1\n a: [den] 1<a>x\n b: [den] 1<a>x
         a: ack\n b: [den] a types",
    );
}

#[test]
fn the_room_list_counts_all_hubs() {
    story(
        "v1 a\n v1 b on 1\n v1 c on 1\n a joins lobby\n b joins lobby\n c joins den\n wait 1000
         a asks rooms\n c leaves den\n wait 1000\n a asks rooms",
        "a: welcome a\n b: welcome b\n c: welcome c
         a: joined lobby at 0 with 1(a)
         a: [lobby] join b
         b: joined lobby at 0 with 1(b)
         b: [lobby] members 2(b,a)
         c: joined den at 0 with 1(c)
         a: rooms den:1 lobby:2
         c: left den
         a: rooms lobby:2",
    );
}

#[test]
fn a_missing_change_of_another_hubs_members_is_made_good() {
    story(
        "v1 a\n v1 b on 1\n v1 c on 1\n v1 d on 1\n a joins den\n b joins den\n broker drops
         c joins den\n broker prompt\n d joins den\n a asks members den",
        "a: welcome a\n b: welcome b\n c: welcome c\n d: welcome d
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 1(b)
         b: [den] members 2(b,a)
         b: [den] join c
         c: joined den at 0 with 3(b,c,a)
         a: [den] join d
         a: [den] members 4(a,c,b,d)
         b: [den] join d
         c: [den] join d
         d: joined den at 0 with 4(b,c,d,a)
         a: members 4(a,c,b,d)",
    );
}

#[test]
fn a_lost_last_message_is_found_by_itself() {
    story(
        "v1 a\n v1 b on 1\n a joins den\n b joins den\n broker drops\n a says den x\n wait 5100",
        "a: welcome a\n b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 1(b)
         b: [den] members 2(b,a)
         a: ack 1
         a: [den] 1<a>x
         b: [den] 1<a>x",
    );
}

#[test]
fn members_that_left_while_signals_were_lost_are_no_ghosts() {
    story(
        "v1 a\n v1 b on 1\n a joins den\n b joins den\n broker drops\n b cut\n wait 10000\n
         broker prompt
         a asks members den\n lost 0\n a asks members den",
        "a: welcome a\n b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 1(b)
         b: [den] members 2(b,a)
         a: members 2(a,b)
         a: [den] members 1(a)
         a: members 1(a)",
    );
}

#[test]
fn what_was_trimmed_before_it_came_is_a_hole_or_the_end() {
    story(
        "v1 a\n v1 b on 1\n basic c on 1\n a joins den\n b joins den\n c joins den\n broker drops
         a says den x\n log trims den 0\n broker prompt\n a says den y\n wait 20",
        "a: welcome a\n b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 1(b)
         b: [den] members 2(b,a)
         a: [den] join c
         b: [den] join c
         c: [den] join: c joined the room
         a: ack 1\n a: [den] 1<a>x
         a: ack 2\n a: [den] 2<a>y
         a: [den] leave c (Disconnected)
         b: [den] hole 1..1
         b: [den] leave c (Disconnected)
         b: [den] 2<a>y
         c: closed 4101 overloaded",
    );
}

#[test]
fn members_of_a_drained_hub_are_gone_once_they_had_time_to_come_back() {
    story(
        "v1 a\n v1 b on 1\n a joins den\n b joins den\n drain 1 10000\n wait 1
         a asks members den\n wait 11000\n a asks members den",
        "a: welcome a\n b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 1(b)
         b: [den] members 2(b,a)
         b: bye draining 0
         b: closed 4100 draining
         a: members 2(a,b)
         a: [den] members 1(a)
         a: members 1(a)",
    );
}

#[test]
fn a_drain_without_end_is_a_drain() {
    story(
        "v1 a\n drain 0 18446744073709551615\n wait 1",
        "a: welcome a\n a: bye draining 0\n a: closed 4100 draining",
    );
}

#[test]
fn an_append_that_was_given_up_is_shown_on_all_hubs_once_it_is_done() {
    story(
        "v1 a\n v1 b on 1\n a joins den\n b joins den\n wait 20000\n log holds\n a says den x
         a leaves den\n wait 30000\n log answer 0\n log prompt\n wait 20",
        "a: welcome a\n b: welcome b
         a: joined den at 0 with 1(a)
         a: [den] join b
         b: joined den at 0 with 1(b)
         b: [den] members 2(b,a)
         a: left den
         a: ping
         a: ping
         a: error unknown_outcome
         b: ping
         b: [den] leave a (Left)
         b: ping
         b: [den] 1<a>x",
    );
}

#[test]
fn an_old_answer_does_not_end_one_who_joined_again() {
    let limits =
        LimitValues { outbox_high_bytes: 1024, recent_entries: 1, ..LimitValues::default() };
    let long = format!("a says lobby {}\n", "y".repeat(600));
    let long_held = format!("{long} log answer 1\n");
    let (text, y) = (
        format!(
            "v1 a\n v1 b\n a joins lobby\n b joins lobby\n b stalls\n {long}{long}{long}{long}
             log holds\n b reads\n b joins lobby\n b stalls
             {long_held}{long_held}{long_held}{long_held} b reads\n log answer 0\n log prompt"
        ),
        "y".repeat(600),
    );
    let mut told = String::from(
        "a: welcome a\n b: welcome b
         a: joined lobby at 0 with 1(a)
         a: [lobby] join b
         b: joined lobby at 0 with 2(a,b)\n",
    );
    let shown = |who: &str, seq| format!("{who}: [lobby] {seq}<a>{y}\n");
    let acked = |seq| format!("a: ack {seq}\n{}", shown("a", seq));
    told.extend((1..=4).map(acked));
    told.extend((1..=2).map(|seq| shown("b", seq)));
    told.extend((5..=8).map(acked));
    // The join waits for the answer to the read that it has made useless.
    told.push_str("b: joined lobby at 8 with 2(a,b) more-before\n");
    story_with(with(limits), &text, &told);
}
