//! Every script of up to five steps of two peers and a room, held against the model.
use chat_proto::{Dialect, LeaveReason, RoomName};
use chat_simulation::world::{Kind, Model, Preset, Setup, World};

const STEPS: usize = 5;

#[derive(Clone, Copy, Debug)]
enum Do {
    Join,
    Leave,
    Say,
    /// Closes the connection on purpose.
    Go,
    /// Loses the connection (`chat.v1`).
    Lose,
    /// Goes on with the session (`chat.v1`).
    Back,
}

/// What becomes of a peer's connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Open,
    Lost,
    Gone,
}

#[test]
fn two_of_chat_v1() {
    all_scripts([Dialect::V1, Dialect::V1], 1);
}

#[test]
fn two_of_chat_v1_on_two_hubs() {
    all_scripts([Dialect::V1, Dialect::V1], 2);
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

/// What a peer can do next.
fn choices(link: Link, dialect: Dialect) -> &'static [Do] {
    match (link, dialect) {
        (Link::Open, Dialect::V1) => &[Do::Join, Do::Leave, Do::Say, Do::Go, Do::Lose, Do::Back],
        (Link::Open, Dialect::Basic) => &[Do::Join, Do::Leave, Do::Say, Do::Go],
        (Link::Lost, _) => &[Do::Back],
        (Link::Gone, _) => &[],
    }
}

fn after(link: Link, step: Do) -> Link {
    match step {
        Do::Go => Link::Gone,
        Do::Lose => Link::Lost,
        Do::Back => Link::Open,
        Do::Join | Do::Leave | Do::Say => link,
    }
}

fn all_scripts(dialects: [Dialect; 2], hubs: usize) {
    let mut played = 0;
    let mut open = vec![(Vec::new(), [Link::Open; 2])];
    while let Some((script, links)) = open.pop() {
        let mut ends = script.len() == STEPS;
        if !ends {
            let before = open.len();
            for who in 0..2 {
                for step in choices(links[who], dialects[who]) {
                    let (mut script, mut links) = (script.clone(), links);
                    script.push((who, *step));
                    links[who] = after(links[who], *step);
                    open.push((script, links));
                }
            }
            ends = open.len() == before;
        }
        // All prefixes of a script are checked on the way, so shorter ones are covered.
        if ends {
            play(&script, dialects, hubs);
            played += 1;
        }
    }
    assert!(played > 1000, "{played} scripts");
}

fn play(script: &[(usize, Do)], dialects: [Dialect; 2], hubs: usize) {
    let room = RoomName::new("lobby").expect("a plain value");
    let mut world = World::new(Setup { hubs, preset: Preset::Default });
    let mut model = Model::new([("ada", dialects[0]), ("bob", dialects[1])], hubs);
    let kind = |dialect| match dialect {
        Dialect::Basic => Kind::Basic,
        Dialect::V1 => Kind::V1,
    };
    let homes = [0, hubs - 1];
    let a = world.connect(homes[0], kind(dialects[0]), "ada");
    let b = world.connect(homes[1], kind(dialects[1]), "bob");
    // The connections of each peer, the newest last.
    let mut conns = [vec![a], vec![b]];
    for (i, (who, step)) in script.iter().copied().enumerate() {
        let conn = *conns[who].last().expect("it has one");
        match step {
            Do::Join => {
                world.join(conn, &room, 0);
                model.join(who);
            }
            Do::Leave => {
                world.leave(conn, &room);
                model.leave(who);
            }
            Do::Say => {
                let text = format!("m{i}");
                world.say(conn, &room, None, &text);
                model.say(who, &text);
            }
            Do::Go => {
                world.cut(conn, LeaveReason::Left);
                model.cut(who);
            }
            Do::Lose => {
                world.cut(conn, LeaveReason::Disconnected);
                model.lose(who);
            }
            Do::Back => {
                conns[who].push(world.resume(homes[who], conn));
                model.back(who);
            }
        }
        world.settle();
        for (who, conns) in conns.iter().enumerate() {
            let told = conns.iter().flat_map(|conn| &world.conns[*conn].view.lines);
            assert!(
                told.clone().eq(model.told(who)),
                "{script:?} after {i}: {who} was told {:#?}, not {:#?}",
                told.collect::<Vec<_>>(),
                model.told(who)
            );
        }
    }
    world.all_leave();
}
