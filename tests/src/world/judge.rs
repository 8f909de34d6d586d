//! What has to hold of connections when a script has been played.
use chat_proto::{CloseCode, Dialect};

use super::conn::Link;
use super::driver::World;
use super::script::{Script, Step};
use super::setup::Preset;

/// Each close has its cause.
///
/// # Panics
/// If one has not.
pub fn closes_have_causes(world: &World, script: &Script) {
    let replaced = script.steps.iter().any(|s| matches!(s, Step::Replace { .. }));
    let trimmed = script.steps.iter().any(|s| matches!(s, Step::Trim { .. }));
    for (index, conn) in world.conns.iter().enumerate() {
        let dialect = conn.decoder.dialect();
        let newer = world.conns[index + 1..].iter().any(|other| other.root == conn.root);
        let Link::Closed(code) = conn.link else { continue };
        let right = match code {
            CloseCode::HelloExpected => dialect == Dialect::V1,
            CloseCode::TooBig => dialect == Dialect::Basic,
            CloseCode::Overloaded => {
                dialect == Dialect::Basic || script.setup.preset == Preset::Tiny
            }
            CloseCode::Draining => world.deadline(conn.hub).is_some(),
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

/// No connection is open whose session goes on with a newer one on the same Hub.
///
/// # Panics
/// If one is.
pub(super) fn older_ones_are_fenced(world: &World) {
    for (index, conn) in world.conns.iter().enumerate() {
        let newer = world.conns[index + 1..].iter();
        let mut newer = newer.filter(|other| other.view.welcome && other.hub == conn.hub);
        let fenced = newer.any(|other| other.root == conn.root);
        assert!(!fenced || conn.link != Link::Open, "{} was not fenced", conn.name);
    }
}
