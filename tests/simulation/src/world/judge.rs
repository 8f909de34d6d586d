//! What has to hold of connections when a script has been played.
use std::collections::BTreeMap;
use std::sync::Arc;

use chat_proto::{CloseCode, Dialect, Entry, ErrorCode, ServerFrame};

use super::conn::{Conn, Link};
use super::driver::World;
use super::input::room_name;
use super::script::{Script, Step};
use super::setup::Preset;

/// Each close has its cause.
///
/// # Panics
/// If one has not.
pub fn closes_have_causes(world: &World, script: &Script) {
    let replaced = script.steps.iter().any(|s| matches!(s, Step::Replace { .. }));
    let trimmed = script.steps.iter().any(|s| matches!(s, Step::Trim { .. }));
    let is_revoked = script.steps.iter().any(|s| matches!(s, Step::Revoke { .. }));
    let is_ordered = script.steps.iter().any(|s| matches!(s, Step::Order { .. }));
    for (index, conn) in world.conns.iter().enumerate() {
        let dialect = conn.dialect();
        let newer = world.conns[index + 1..].iter().any(|other| other.root == conn.root);
        let Link::Closed(code) = conn.link else { continue };
        let right = match code {
            CloseCode::HelloExpected => dialect == Dialect::V1 && !conn.view.welcome,
            CloseCode::TooBig => dialect == Dialect::Basic,
            CloseCode::Overloaded => {
                let is_tiny = script.setup.preset == Preset::Tiny;
                dialect == Dialect::Basic || is_tiny || conn.user.is_some()
            }
            CloseCode::Unauthorized => conn.user.is_some() || is_revoked,
            CloseCode::AuthExpired => conn.user.is_some(),
            CloseCode::Removed => is_ordered,
            CloseCode::Draining => world.hubs[conn.hub].deadline().is_some(),
            CloseCode::RateLimited => script.setup.preset == Preset::Tiny,
            CloseCode::HeartbeatTimeout => true,
            CloseCode::LogReplaced => replaced,
            CloseCode::SlowConsumer => trimmed,
            CloseCode::Superseded => newer,
            other => panic!("{} was closed with {other}", conn.name),
        };
        assert!(right, "{} was closed with {code}", conn.name);
    }
}

/// Each ack names the place and the time of an entry of its sender. Of all acks of an entry one is
/// the first; the others, as conflicts, are about a key that was there.
///
/// # Panics
/// If it is not so.
pub fn repeats_get_the_first_reply(world: &World) {
    let mut firsts = BTreeMap::new();
    for conn in &world.conns {
        let mine = |entry: &&Arc<Entry>| *entry.username == *conn.view.name;
        for frame in &conn.view.frames {
            match frame {
                ServerFrame::Ack { room, seq: Some(seq), ts: Some(ts), duplicate, .. } => {
                    let at = usize::try_from(seq.get() - 1).expect("a short log");
                    let entries = world.log.of_room(room).filter_map(|log| log.entries.get(at));
                    // Logs that were replaced may have had an entry at the same place and time.
                    let its: Vec<_> = entries.filter(|e| mine(e) && e.ts == *ts).collect();
                    assert!(!its.is_empty(), "{frame:?} of {}", conn.name);
                    let has_key = its.iter().any(|entry| entry.key.is_some());
                    assert!(has_key || !duplicate, "no key: {frame:?}");
                    let count: &mut usize =
                        firsts.entry((&conn.view.name, room, *seq, *ts)).or_default();
                    *count += usize::from(!duplicate);
                    assert!(*count <= its.len(), "a first reply again: {frame:?}");
                }
                ServerFrame::Error(error) if error.code == ErrorCode::IdempotencyConflict => {
                    let names: Vec<_> = (0..8).map(room_name).collect();
                    let logs = names.iter().flat_map(|name| world.log.of_room(name));
                    let mut entries = logs.flat_map(|log| log.entries.iter().filter(mine));
                    assert!(entries.any(|entry| entry.key.is_some()), "no key: {frame:?}");
                }
                _ => {}
            }
        }
    }
}

/// No connection is open whose session goes on with a newer one on the same Hub.
///
/// # Panics
/// If one is.
pub(super) fn older_ones_are_fenced(world: &World) {
    // One whose resume was refused, for want of a budget, may have begun anew: then it has a
    // session of its own, which nobody goes on with.
    let welcome = |line: &&String| line.starts_with("welcome ");
    let goes_on = |line: &String| welcome(&line) && line.contains(" again");
    for (index, conn) in world.conns.iter().enumerate() {
        let first = conn.view.lines.iter().find(welcome);
        if index != conn.root && first.is_some_and(|line| !goes_on(line)) {
            continue;
        }
        let newer = world.conns[index + 1..].iter();
        let is_same = |other: &&Conn| other.root == conn.root && other.user == conn.user;
        let mut newer = newer.filter(|other| is_same(other) && other.hub == conn.hub);
        let fenced = newer.any(|other| other.view.lines.iter().any(goes_on));
        assert!(
            !fenced || conn.link != Link::Open,
            "{} was not fenced: {:?}",
            conn.name,
            world
                .conns
                .iter()
                .filter(|c| c.root == conn.root)
                .map(|c| (&c.name, c.hub, c.link, &c.view.lines))
                .collect::<Vec<_>>()
        );
    }
}
