//! Joins and leaves by many at once: no ghost stays, no notice is doubled or lost.
use std::collections::BTreeMap;

use chat_tests::client::{BasicClient, Shape, V1Client};
use chat_tests::process::Spec;
use chat_tests::wait::eventually;
use tokio::task::JoinSet;

use crate::{on_workers, serve};

on_workers! {
    a_storm_of_joins_and_leaves_leaves_no_ghost
    a_storm_of_connections_leaves_no_ghost
}

/// Members hop between two rooms. An observer in each sees for every one of them: join, leave,
/// join, leave …
async fn a_storm_of_joins_and_leaves_leaves_no_ghost(spec: Spec) {
    const HOPPERS: usize = 12;
    const HOPS: usize = 40;
    let running = serve(spec).await;
    let http = running.server.http();
    let mut tasks = JoinSet::new();
    let mut observers = Vec::new();
    for room in ["left", "right"] {
        let mut observer = BasicClient::connect(http, &format!("observer {room}")).await;
        observer.join(room).await;
        observers.push((room, observer));
    }
    for n in 0..HOPPERS {
        tasks.spawn(async move {
            let name = format!("hopper{n}");
            let mut hopper = BasicClient::connect(http, &name).await;
            for hop in 0..HOPS {
                let room = if hop % 2 == 0 { "left" } else { "right" };
                hopper.send_join(room).await;
                hopper.until(&Shape::join(room, &name)).await;
            }
            hopper.leave().await;
            hopper.say("outside a room").await;
            let end = format!("end of {n}");
            hopper.send_join(&end).await;
            hopper.until(&Shape::join(&end, &name)).await;
            hopper
        });
    }
    let hoppers = tasks.join_all().await;
    assert_eq!(hoppers.len(), HOPPERS);
    for (room, observer) in &mut observers {
        let mut visits: BTreeMap<String, usize> = BTreeMap::new();
        let mut inside: BTreeMap<String, bool> = BTreeMap::new();
        for _ in 0..HOPPERS * HOPS {
            let frame = observer.next().await;
            assert_eq!(frame.room, *room);
            let inside = inside.entry(frame.username.clone()).or_default();
            match frame.kind.as_str() {
                "join" => *visits.entry(frame.username).or_default() += 1,
                "leave" => {}
                other => panic!("a {other} from outside a room"),
            }
            assert_eq!(*inside, frame.kind == "leave", "a notice came twice or is missing");
            *inside = frame.kind == "join";
        }
        assert!(inside.values().all(|inside| !inside), "ghosts: {inside:?}");
        assert!(visits.len() == HOPPERS && visits.values().all(|&n| n == HOPS / 2), "{visits:?}");
        observer.expect_nothing_before_echo(room, "the storm is over").await;
    }
}

/// Connections come, join, say something and are cut. At the end the room's list is as before.
async fn a_storm_of_connections_leaves_no_ghost(spec: Spec) {
    const VISITORS: usize = 120;
    let running = serve(spec).await;
    let http = running.server.http();
    let mut observer = BasicClient::connect(http, "observer").await;
    observer.join("lobby").await;
    let mut tasks = JoinSet::new();
    for n in 0..VISITORS {
        tasks.spawn(async move {
            let name = format!("visitor{n}");
            let mut visitor = BasicClient::connect(http, &name).await;
            visitor.send_join("lobby").await;
            match n % 4 {
                0 => visitor.socket.reset(),
                1 => visitor.socket.close().await,
                2 => {
                    visitor.until(&Shape::join("lobby", &name)).await;
                    visitor.socket.reset();
                }
                _ => {
                    visitor.say("hello and goodbye").await;
                    visitor.until(&Shape::message("lobby", &name, "hello and goodbye")).await;
                    visitor.socket.close().await;
                }
            }
        });
    }
    tasks.join_all().await;
    let (mut watcher, _) = V1Client::hello(http, "watcher").await;
    eventually("the visitors to be gone from the room list", async || {
        let rooms = watcher.rooms().await;
        (rooms.len() == 1 && rooms[0].members == 1).then_some(())
    })
    .await;
    observer.say("the storm is over").await;
    let end = Shape::message("lobby", "observer", "the storm is over");
    let mut frames = observer.until(&end).await;
    let mut inside: BTreeMap<String, bool> = BTreeMap::new();
    let mut said = 0;
    loop {
        for frame in frames.drain(..) {
            let inside = inside.entry(frame.username.clone()).or_default();
            match frame.kind.as_str() {
                "message" => said += 1,
                kind => {
                    assert_eq!(*inside, kind == "leave", "a notice is doubled: {frame:?}");
                    *inside = kind == "join";
                }
            }
        }
        // Notices of members of another worker may come after our own last word.
        if inside.values().all(|inside| !inside) && said == VISITORS / 4 {
            break;
        }
        frames.push(observer.next().await);
    }
    assert!(inside.len() >= VISITORS / 2, "whoever saw its own notice was seen");
}
