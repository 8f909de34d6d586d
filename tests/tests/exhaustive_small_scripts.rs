//! Every script of up to four steps of two peers and a room, held against the model.
use chat_proto::{Dialect, LeaveReason, RoomName};
use chat_tests::world::{Kind, Model, Preset, Setup, World};

const STEPS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Do {
    Join(usize),
    Leave(usize),
    Say(usize),
    Cut(usize),
}

const ALL: [Do; 8] = [
    Do::Join(0),
    Do::Join(1),
    Do::Leave(0),
    Do::Leave(1),
    Do::Say(0),
    Do::Say(1),
    Do::Cut(0),
    Do::Cut(1),
];

#[test]
fn two_of_chat_v1() {
    all_scripts([Dialect::V1, Dialect::V1], 1);
}

#[test]
fn two_of_basic() {
    all_scripts([Dialect::Basic, Dialect::Basic], 1);
}

#[test]
fn one_of_each() {
    all_scripts([Dialect::V1, Dialect::Basic], 1);
}

#[test]
fn one_of_each_on_two_hubs() {
    all_scripts([Dialect::V1, Dialect::Basic], 2);
}

fn all_scripts(dialects: [Dialect; 2], hubs: usize) {
    for n in 0..ALL.len().pow(STEPS as u32) {
        let script: Vec<Do> =
            (0..STEPS).map(|i| ALL[n / ALL.len().pow(i as u32) % ALL.len()]).collect();
        play(&script, dialects, hubs);
    }
}

/// All prefixes of the script are checked on the way, so shorter scripts are covered.
fn play(script: &[Do], dialects: [Dialect; 2], hubs: usize) {
    let room = RoomName::new("lobby").expect("a plain value");
    let mut world = World::new(Setup { hubs, preset: Preset::Default });
    let mut model = Model::new([("ada", dialects[0]), ("bob", dialects[1])], hubs);
    let kind = |dialect| match dialect {
        Dialect::Basic => Kind::Basic,
        Dialect::V1 => Kind::V1,
    };
    let a = world.connect(0, kind(dialects[0]), "ada");
    let b = world.connect(hubs - 1, kind(dialects[1]), "bob");
    let mut cut = [false; 2];
    for (i, step) in script.iter().enumerate() {
        let (Do::Join(who) | Do::Leave(who) | Do::Say(who) | Do::Cut(who)) = *step;
        if cut[who] {
            continue;
        }
        let conn = [a, b][who];
        match step {
            Do::Join(_) => {
                world.join(conn, &room, 0);
                model.join(who);
            }
            Do::Leave(_) => {
                world.leave(conn, &room);
                model.leave(who);
            }
            Do::Say(_) => {
                let text = format!("m{i}");
                world.say(conn, &room, None, &text);
                model.say(who, &text);
            }
            Do::Cut(_) => {
                world.cut(conn, LeaveReason::Left);
                model.cut(who);
                cut[who] = true;
            }
        }
        world.settle();
        for (who, conn) in [a, b].into_iter().enumerate() {
            let told = &world.conns[conn].view.lines;
            assert!(
                told == model.told(who),
                "{script:?} after {i}: {who} was told {told:#?}, not {:#?}",
                model.told(who)
            );
        }
    }
    world.all_leave();
}
