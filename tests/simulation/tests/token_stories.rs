//! What peers with credentials are told: grants that end, are renewed, narrowed and revoked.
use std::collections::BTreeMap;

use chat_proto::{CloseCode, LeaveReason, RoomName, Token as Credentials, UserId};
use chat_simulation::world::{AuthorityMood, Kind, LogMood, Preset, Rooms, Setup, Step, World};
use chat_state::{Order, Revoke, Whom};

fn world(hubs: usize) -> World {
    World::new(Setup { hubs, preset: Preset::Default })
}

fn lobby() -> RoomName {
    RoomName::new("lobby").expect("a name")
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("an id")
}

/// A peer of `chat.v1` that is in the lobby, by a credential that counts for so long.
fn member(world: &mut World, name: &str, ms: Option<u64>) -> usize {
    let with = world.issue(name, name, ms, Rooms::Any);
    let index = world.sign_in(0, Kind::V1, name, &with);
    enter(world, index);
    index
}

fn enter(world: &mut World, index: usize) {
    world.join(index, &lobby(), 0);
    world.settle();
}

/// A guest in the lobby, who sees what others see.
fn guest(world: &mut World, hub: usize) -> usize {
    let index = world.connect(hub, Kind::V1, "guest");
    enter(world, index);
    index
}

fn say(world: &mut World, index: usize, text: &str) {
    world.say(index, &lobby(), None, text);
    world.settle();
}

/// What a peer was told since it was asked last.
fn news(world: &mut World, index: usize) -> Vec<String> {
    std::mem::take(&mut world.conns[index].view.lines)
}

fn renewed(world: &mut World, index: usize, with: &Credentials) -> Vec<String> {
    news(world, index);
    world.renew(index, with);
    world.settle();
    news(world, index)
}

#[test]
fn a_grant_that_ends_closes_its_connection_and_keeps_the_session() {
    let mut world = world(1);
    let (a, b) = (member(&mut world, "ada", Some(5000)), guest(&mut world, 0));
    say(&mut world, a, "m1");
    world.pass(4999);
    assert_eq!(world.conns[a].closed(), None);
    world.pass(1);
    assert_eq!(world.conns[a].closed(), Some(CloseCode::AuthExpired));
    let told = news(&mut world, a).len();
    say(&mut world, b, "m2");
    assert_eq!((news(&mut world, a).len(), told > 0), (0, true), "nothing comes after it");
    // Others see it go after the time in which it may come back.
    news(&mut world, b);
    world.pass(9999);
    assert_eq!(news(&mut world, b), [""; 0]);
    world.pass(1);
    assert_eq!(news(&mut world, b), ["[lobby] leave ada (Disconnected)"]);

    let fresh = world.issue("ada", "ada", None, Rooms::Any);
    let again = world.resume_with(0, a, &fresh);
    let lines = news(&mut world, again);
    assert_eq!(lines[0], "welcome ada again lobby to 2");
    assert_eq!(lines[2], "[lobby] 2<guest>m2", "what was acked stays, what was missed comes");
    world.heal();
}

#[test]
fn what_is_sent_by_a_grant_that_has_ended_is_not_taken() {
    let mut world = world(1);
    let a = member(&mut world, "ada", Some(5000));
    world.sleep(5000);
    // The Hub has not run its timers yet.
    say(&mut world, a, "m1");
    assert_eq!(world.conns[a].closed(), Some(CloseCode::AuthExpired));
    assert_eq!(world.log.room(&lobby()).last(), 0);
    world.heal();
}

#[test]
fn a_renewed_grant_goes_on_and_a_refused_renewal_changes_nothing() {
    let mut world = world(1);
    let a = member(&mut world, "ada", Some(5000));
    let ok = world.issue("ada", "ada", Some(20_000), Rooms::Any);
    let other = world.issue("bob", "bob", Some(90_000), Rooms::Any);
    let stale = world.issue("ada", "ada", Some(0), Rooms::Any);
    let nobody = Credentials("nobody's".into());
    world.pass(3000);
    assert_eq!(renewed(&mut world, a, &ok).len(), 1);
    world.pass(5000);
    for refused in [&other, &stale, &nobody] {
        assert_eq!(renewed(&mut world, a, refused), ["error unauthorized"]);
    }
    world.tokens.mood = AuthorityMood::Unavailable;
    assert_eq!(renewed(&mut world, a, &ok), ["error auth_unavailable"]);
    // One that is never answered is given up, and does not put off the end.
    world.tokens.mood = AuthorityMood::Holds;
    assert_eq!(renewed(&mut world, a, &ok), [""; 0]);
    assert_eq!(renewed(&mut world, a, &ok), ["error auth_unavailable"], "one at a time");
    world.pass(9999);
    world.pass(1);
    assert_eq!(news(&mut world, a).last().expect("it is told"), "error auth_unavailable");
    assert_eq!(world.conns[a].closed(), None);
    say(&mut world, a, "m1");
    world.pass(1999);
    assert_eq!(world.conns[a].closed(), None, "the end is that of the fresh grant");
    world.pass(1);
    assert_eq!(world.conns[a].closed(), Some(CloseCode::AuthExpired));
    assert_eq!(world.log.room(&lobby()).last(), 1);
    world.heal();
}

#[test]
fn a_late_answer_to_a_renewal_after_the_end_is_ignored() {
    let mut world = world(1);
    let a = member(&mut world, "ada", Some(5000));
    let fresh = world.issue("ada", "ada", None, Rooms::Any);
    world.tokens.mood = AuthorityMood::Holds;
    renewed(&mut world, a, &fresh);
    world.pass(5000);
    assert_eq!(world.conns[a].closed(), Some(CloseCode::AuthExpired));
    world.apply(Step::Identify { n: 0 });
    assert_eq!(news(&mut world, a).len(), 1, "it was warned");
    world.heal();
}

#[test]
fn a_narrower_grant_ends_a_stay_that_it_does_not_allow() {
    let mut world = world(1);
    let a = member(&mut world, "ada", None);
    let lobby_only = world.issue("ada", "ada", None, Rooms::Lobby);
    assert_eq!(renewed(&mut world, a, &lobby_only).len(), 1);
    assert_eq!(world.conns[a].closed(), None);
    let den = RoomName::new("den").expect("a name");
    world.join(a, &den, 0);
    world.settle();
    assert_eq!(news(&mut world, a), ["error forbidden"]);
    let all = world.issue("ada", "ada", None, Rooms::Any);
    renewed(&mut world, a, &all);
    world.join(a, &den, 0);
    world.settle();
    world.renew(a, &lobby_only);
    world.settle();
    assert_eq!(world.conns[a].closed(), Some(CloseCode::AuthExpired));
    let again = world.resume_with(0, a, &lobby_only);
    assert_eq!(news(&mut world, again)[0], "welcome ada again den lost: NotMember lobby to 0");
    world.heal();
}

#[test]
fn what_is_revoked_leaves_at_once_and_is_forgotten() {
    let mut world = world(2);
    let (a, b) = (member(&mut world, "ada", None), guest(&mut world, 1));
    say(&mut world, a, "m1");
    news(&mut world, b);
    world.revoke(1, Revoke::User(user("ada")));
    world.settle();
    assert_eq!(world.conns[a].closed(), Some(CloseCode::Unauthorized));
    assert_eq!(news(&mut world, b), ["[lobby] leave ada (Disconnected)"]);
    let refused = world.resume(0, a);
    assert_eq!(world.conns[refused].closed(), Some(CloseCode::Unauthorized));
    // A credential that is issued later counts, but the session has ended.
    let fresh = world.issue("ada", "ada", None, Rooms::Any);
    let again = world.resume_with(0, a, &fresh);
    assert_eq!(news(&mut world, again)[0], "welcome ada lobby to 1");
    world.heal();
}

#[test]
fn what_is_revoked_or_banned_leaves_at_once_although_it_can_not_be_resumed_here() {
    let ban = Order::Ban { user: user("ada"), room: None, until: None };
    let close = |code| Order::Close { whom: Whom::User(user("ada")), code };
    for order in [None, Some(ban), Some(close(CloseCode::Removed))] {
        let mut world = world(2);
        let (a, b) = (member(&mut world, "ada", None), guest(&mut world, 0));
        let with = world.issue("ada", "ada", None, Rooms::Any);
        // The session goes on elsewhere and is in no room there, so it is not kept here.
        world.cut(a, LeaveReason::Disconnected);
        world.settle();
        world.conns[a].view.rooms = BTreeMap::new();
        world.resume_with(1, a, &with);
        assert_eq!(world.hubs[0].stats().away, 0);
        news(&mut world, b);
        let reason = match &order {
            None => "Disconnected",
            Some(_) => "Removed",
        };
        match order {
            None => world.revoke(0, Revoke::User(user("ada"))),
            Some(order) => world.order(&order),
        }
        world.settle();
        assert_eq!(news(&mut world, b), [format!("[lobby] leave ada ({reason})")]);
        world.heal();
    }
}

#[test]
fn a_client_is_warned_after_its_welcome() {
    let mut world = world(1);
    let a = member(&mut world, "ada", None);
    world.cut(a, LeaveReason::Disconnected);
    world.settle();
    world.pass(11_000);
    world.log.mood = LogMood::Holds;
    let short = world.issue("ada", "ada", Some(1000), Rooms::Any);
    let again = world.resume_with(0, a, &short);
    world.pass(600);
    assert_eq!(news(&mut world, again), [""; 0], "the log is silent");
    world.apply(Step::Answer { n: 0 });
    let lines = news(&mut world, again);
    assert_eq!(lines[0], "welcome ada again lobby to 0");
    assert_eq!(lines[1], "AuthExpiring { expires_in_ms: 400 }");
    world.heal();
}

/// The code 4002 stays unused: malformed frames cost as much as messages.
#[test]
fn many_malformed_frames_lead_to_4129() {
    let mut world = world(1);
    let a = member(&mut world, "ada", None);
    for _ in 0..10_000 {
        if world.conns[a].closed().is_some() {
            break;
        }
        world.raw(a, r#"{"type":"dance","id":7}"#);
        world.settle();
    }
    assert_eq!(world.conns[a].closed(), Some(CloseCode::RateLimited));
}
