//! The room of operators' orders has what holds, and does not grow for ever.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chat_proto::{Body, DisplayName, ErrorCode, RoomName, ServerFrame, UserId};
use chat_state::Draft;
use chat_tests::client::{Ending, V1Client};
use chat_tests::wait::eventually;
use chat_tokio::Server;
use chat_tokio::clock::Clock;
use chat_tokio::log::{MemoryLog, RoomBatch, RoomLog, SqliteAccess, SqliteLog, SqliteOptions};
use chat_tokio::server::{Ban, BanError, Handle};

use crate::faulty::{FORGET_ANSWER, Faulty, REFUSE, STOP, Shared};
use crate::support::{Served, hello_with, known, refused, token, welcomed};

/// Orders after which it is written anew, beyond what holds.
const GROWN_MAX: u64 = 1000;

fn room() -> RoomName {
    RoomName::server("~server").expect("a name")
}

fn serve(log: Arc<dyn RoomLog>) -> Served {
    known(Server::builder().workers(2).log(log))
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("an id")
}

async fn ban(handle: &Handle, name: &str) -> Result<(), BanError> {
    handle.ban(Ban { user: user(name), room: None, until: None }).await
}

async fn banned(handle: &Handle) -> Vec<String> {
    let bans = handle.bans().await.expect("the log can be read");
    bans.into_iter().map(|ban| ban.user.to_string()).collect()
}

async fn entries(handle: &Handle) -> u64 {
    let head = handle.head(&room()).await.expect("the log can be read");
    head.last.next().get() - head.first.get()
}

/// Waits until there are so many.
async fn has(handle: &Handle, count: u64) {
    eventually(format!("{count} entries"), async || (entries(handle).await == count).then_some(()))
        .await;
}

/// Orders that a server has left in the log.
async fn write(log: &dyn RoomLog, orders: &[&str]) {
    for order in orders {
        let appended = log.append(vec![batch(order)]).await;
        appended.into_iter().next().expect("one answer").expect("the log takes it");
    }
}

fn batch(order: &str) -> RoomBatch {
    let body = Body::Message { content: order.into(), reply_to: None };
    let username = DisplayName::new("service.server").expect("a name");
    let ts = Clock::start().now().wall;
    let draft = Draft { user: user("service.server"), username, key: None, ts, body };
    RoomBatch { room: room(), drafts: vec![draft] }
}

/// At the end ada and bob are kept out.
const ORDERS: [&str; 4] = [
    r#"{"ban":{"user":"ada","room":null,"until":null}}"#,
    r#"{"ban":{"user":"eve","room":null,"until":null}}"#,
    r#"{"ban":{"user":"bob","room":null,"until":null}}"#,
    r#"{"unban":{"user":"eve","room":null}}"#,
];

const REVOCATIONS: [&str; 2] =
    [r#"{"revoke_user":{"user":"max"}}"#, r#"{"revoke_token":{"token":"token-of-tom"}}"#];

async fn keeps_out_ada_and_bob(served: &Served) {
    assert_eq!(banned(&served.server.handle()).await, ["ada", "bob"]);
    assert_eq!(refused(served.chat, "ada").await, (ErrorCode::Forbidden, Ending::Closed(4301)));
    welcomed(served.chat, "eve").await;
}

async fn enters(served: &Served, token: &str) -> bool {
    let mut client = V1Client::connect(served.chat).await;
    match client.request(&hello_with(token)).await {
        ServerFrame::Welcome(_) => true,
        ServerFrame::Error(error) => {
            assert_eq!(error.code, ErrorCode::Unauthorized);
            false
        }
        other => panic!("{other:?}"),
    }
}

/// A server that starts writes anew what holds, and the next one has nothing to do.
async fn is_written_anew_at_the_start(open: impl Fn() -> Arc<dyn RoomLog>) {
    let (older, of_tom) = (token("max"), token("tom"));
    write(&*open(), &ORDERS).await;
    write(&*open(), &REVOCATIONS).await;
    // What was made after the order counts, and has to count after it was written anew.
    let mut earlier = batch(r#"{"revoke_user":{"user":"zoe"}}"#);
    earlier.drafts[0].ts.0 -= 10_000;
    let appended = open().append(vec![earlier]).await;
    assert!(matches!(appended[..], [Ok(_)]));
    let newer = token("zoe");
    for _ in 0..3 {
        let next = serve(open());
        // One of bans, one of revocations.
        has(&next.server.handle(), 2).await;
        keeps_out_ada_and_bob(&next).await;
        let head = next.server.handle().head(&room()).await.expect("the log can be read");
        assert_eq!(head.last.get(), 7 + 2, "it is written once");
        assert!(enters(&next, &newer).await);
        assert!(!enters(&next, &older).await && !enters(&next, &of_tom).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_is_written_anew_at_the_start_in_memory() {
    let log = Arc::new(MemoryLog::new());
    is_written_anew_at_the_start(|| log.clone()).await;
}

fn sqlite(home: &Path) -> Arc<dyn RoomLog> {
    opened(home, SqliteAccess::Shared)
}

fn opened(home: &Path, access: SqliteAccess) -> Arc<dyn RoomLog> {
    let mut options = SqliteOptions::default();
    options.access = access;
    Arc::new(SqliteLog::open(home.join("rooms.db"), &options).expect("a log"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_is_written_anew_at_the_start_on_disk() {
    let home = tempfile::tempdir().expect("a directory");
    is_written_anew_at_the_start(|| sqlite(home.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_written_anew_while_the_server_runs() {
    let log = Arc::new(MemoryLog::new());
    let served = serve(log.clone());
    let handle = served.server.handle();
    for name in ["ada", "bob"] {
        ban(&handle, name).await.expect("the log takes it");
    }
    for _ in 0..GROWN_MAX {
        ban(&handle, "eve").await.expect("the log takes it");
        handle.unban(&user("eve"), None).await.expect("the log takes it");
        assert!(entries(&handle).await <= GROWN_MAX + 1);
    }
    keeps_out_ada_and_bob(&served).await;
    keeps_out_ada_and_bob(&serve(log)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_refuses_or_forgets_to_answer_keeps_what_it_has() {
    let log = Arc::new(Faulty::default());
    write(&*log, &ORDERS).await;
    for fault in [REFUSE, FORGET_ANSWER] {
        log.fault.store(fault, Ordering::Relaxed);
        keeps_out_ada_and_bob(&serve(log.clone())).await;
        log.fault.store(0, Ordering::Relaxed);
        keeps_out_ada_and_bob(&serve(log.clone())).await;
    }
    let last = serve(log);
    has(&last.server.handle(), 1).await;
    keeps_out_ada_and_bob(&last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trim_that_fails_or_is_cut_short_changes_nothing_that_holds() {
    let log = Arc::new(Shared::default());
    write(&*log, &ORDERS).await;
    // With the first failure all of it is left and stands behind it once more; with the second one
    // the ban of ada is gone from its first place.
    for (fault, left) in [(REFUSE, 5), (STOP, 4)] {
        log.trims.store(fault, Ordering::Relaxed);
        let cut = serve(log.clone());
        has(&cut.server.handle(), left).await;
        keeps_out_ada_and_bob(&cut).await;
    }
    log.trims.store(0, Ordering::Relaxed);
    let last = serve(log.clone());
    has(&last.server.handle(), 1).await;
    keeps_out_ada_and_bob(&last).await;
    assert_eq!(last.server.handle().head(&room()).await.expect("a head").last.get(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_comes_in_between_is_not_lost() {
    let log = Arc::new(Shared::default());
    write(&*log, &ORDERS).await;
    let mia = batch(r#"{"ban":{"user":"mia","room":null,"until":null}}"#);
    *log.between.lock().expect("nobody panics with it") = Some(mia);
    // What was written does not count, since it does not know of mia: it was of no use.
    let first = serve(log.clone());
    has(&first.server.handle(), 6).await;
    assert_eq!(refused(first.chat, "ada").await.0, ErrorCode::Forbidden);
    eventually("the ban to be followed", async || {
        let mut client = V1Client::connect(first.chat).await;
        let answer = client.request(&crate::support::hello("mia")).await;
        matches!(answer, ServerFrame::Error(_)).then_some(())
    })
    .await;
    drop(first);
    for _ in 0..2 {
        let next = serve(log.again());
        has(&next.server.handle(), 1).await;
        assert_eq!(banned(&next.server.handle()).await, ["ada", "bob", "mia"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_start_at_once_on_one_file_agree() {
    let home = tempfile::tempdir().expect("a directory");
    write(&*sqlite(home.path()), &ORDERS).await;
    let (one, other) = (serve(sqlite(home.path())), serve(sqlite(home.path())));
    let both = [one.server.handle(), other.server.handle()];
    // Each in turn, or both at once.
    for n in 0..20 {
        let (a, b) = (format!("a{n}"), format!("b{n}"));
        let (a, b) = tokio::join!(ban(&both[0], &a), ban(&both[1], &b));
        a.and(b).expect("the log takes both");
    }
    let all = banned(&both[0]).await;
    assert_eq!(all.len(), 42);
    assert_eq!(all, banned(&both[1]).await);
    drop((one, other));
    let last = serve(sqlite(home.path()));
    has(&last.server.handle(), 1).await;
    assert_eq!(all, banned(&last.server.handle()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_done_to_its_end_though_nobody_waits_for_it() {
    let home = tempfile::tempdir().expect("a directory");
    // Nobody else has it, so nobody looks again at what it has.
    let served = serve(opened(home.path(), SqliteAccess::Exclusive));
    let handle = served.server.handle();
    assert_eq!(banned(&handle).await, [""; 0]);
    tokio::select! {
        biased;
        _ = ban(&handle, "ada") => panic!("the disk has not answered yet"),
        () = std::future::ready(()) => {}
    }
    eventually("the ban", async || {
        let mut client = V1Client::connect(served.chat).await;
        let answer = client.request(&crate::support::hello("ada")).await;
        matches!(answer, ServerFrame::Error(_)).then_some(())
    })
    .await;
}
