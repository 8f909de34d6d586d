//! The page loses its server, its connection or itself, and goes on: nothing is lost, repeated or
//! claimed to be sent that is not.
use chat_proto::{RoomName, Seq};
use chat_tests::browser::{DESKTOP, Driver, PHONE, PLAIN_HOST, Tab, page};
use chat_tests::process::{Home, Log, Server, Spec};
use chat_tests::trims;
use chat_tokio::log::{RoomBatch, RoomLog, SqliteLog, SqliteOptions};
use fantoccini::Locator;
use serde_json::{Value, json};

/// Whose session a tab has, as it is remembered for a reload.
const SESSION: &str = "return JSON.parse(sessionStorage.getItem('chat.tab')).resume.session";
const PENDING: &str = "return document.querySelectorAll('#messages [data-pending]').length";
const HOLES: &str = "return document.querySelectorAll('#messages .hole').length";

const OLDER: &str = "Older messages are not kept.";
const WAITING: &str = "Waiting for the connection";

/// A server that can be taken away and comes back with the same data at the same address, which is
/// the only one that the pages know.
struct Place {
    home: Home,
    spec: Spec,
}

impl Place {
    async fn open(spec: Spec) -> (Self, Server) {
        let (home, spec) = (Home::default(), spec.log(Log::Sqlite));
        let server = Server::start(&home, &spec).await;
        let spec = spec.listen(&server.http().to_string());
        (Self { home, spec }, server)
    }

    /// Says these things while nobody listens, and forgets everything before a place.
    async fn write_and_trim(&self, messages: u64, before: u64) {
        let room = || RoomName::new("lobby").expect("a room");
        let path = self.home.data().join("chat.sqlite");
        assert!(path.exists(), "{} is the log of the server", path.display());
        let log = SqliteLog::open(&path, &SqliteOptions::default()).expect("the log opens");
        let drafts = (0..messages).map(|number| trims::draft(1, number)).collect();
        let batch = RoomBatch { room: room(), drafts };
        log.append(vec![batch]).await.remove(0).expect("it is taken");
        let oldest = log.trim(room(), Seq::new(before).expect("a place")).await.expect("trimmed");
        assert_eq!(oldest.get(), before);
    }

    async fn again(&self) -> Server {
        Server::start(&self.home, &self.spec).await
    }
}

fn is_subsequence(part: &[&str], whole: &[String]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|text| whole.any(|other| other == text))
}

#[tokio::test]
async fn what_was_typed_while_the_server_was_dead_arrives_once_and_in_order() {
    let (place, server) = Place::open(Spec::default().workers(2)).await;
    let driver = Driver::start().await;
    let ada = driver.open("ada", DESKTOP).await;
    let bob = driver.open("bob", PHONE).await;
    ada.enter(&server, "Ada", "lobby").await;
    bob.enter(&server, "Bob", "lobby").await;
    ada.say("a1").await;
    bob.messages(&[("Ada", "a1")]).await;
    bob.say("b1").await;
    ada.messages(&[("Ada", "a1"), ("Bob", "b1")]).await;
    // In the middle of things: whether some of these are in the log is not known to anybody.
    for text in ["a2", "a3", "a4"] {
        ada.say(text).await;
    }
    bob.say("b2").await;
    server.kill().await;
    ada.disconnected().await;
    bob.disconnected().await;
    for text in ["a5", "a6"] {
        ada.say(text).await;
    }
    bob.say("b3").await;
    ada.screenshot("reconnecting.png").await;
    bob.screenshot("reconnecting-phone.png").await;

    let _server = place.again().await;
    ada.connected().await;
    bob.connected().await;
    for tab in [&ada, &bob] {
        tab.until(PENDING, &json!(0)).await;
        let count = "return document.querySelectorAll('#messages [data-seq]').length";
        tab.until(count, &json!(9)).await;
        assert_eq!(tab.run(HOLES).await, json!(0), "nothing is said to be lost");
        assert_eq!(tab.seqs().await, (1..=9).collect::<Vec<u64>>());
    }
    let texts = ada.texts().await;
    assert_eq!(texts, bob.texts().await);
    assert!(is_subsequence(&["a1", "a2", "a3", "a4", "a5", "a6"], &texts), "{texts:?}");
    assert!(is_subsequence(&["b1", "b2", "b3"], &texts), "{texts:?}");
    // And it goes on from there.
    ada.say("a7").await;
    bob.see("#messages [data-seq='10']").await;
    assert_eq!(bob.texts().await.last().map(String::as_str), Some("a7"));
    ada.close().await;
    bob.close().await;
}

/// Notes in a tab every change of who is in the room.
const WATCH_MEMBERS: &str = "window.seen = []; new MutationObserver((changes) => { \
     for (const { addedNodes, removedNodes } of changes) window.seen.push([addedNodes.length, \
     removedNodes.length]); }).observe(document.querySelector('#members'), { childList: true });";

#[tokio::test]
async fn a_reload_keeps_the_session_and_others_do_not_notice() {
    let (_place, server) = Place::open(Spec::default()).await;
    let driver = Driver::start().await;
    let ada = driver.open("ada", DESKTOP).await;
    let bob = driver.open("bob", DESKTOP).await;
    bob.enter(&server, "Bob", "lobby").await;
    ada.enter(&server, "Ada", "lobby").await;
    ada.say("before").await;
    bob.messages(&[("Ada", "before")]).await;
    let members = "return [...document.querySelectorAll('#members [data-user]')].length";
    bob.until(members, &json!(2)).await;
    let session = ada.run(SESSION).await;
    bob.run(WATCH_MEMBERS).await;

    ada.fill("#composer", "half a sen").await;
    ada.0.refresh().await.expect("the page loads again");
    ada.connected().await;
    // What was shown before the reload is fetched again, and what was typed is there.
    ada.messages(&[("Ada", "before")]).await;
    ada.until("return document.querySelector('#composer').value", &json!("half a sen")).await;
    assert_eq!(ada.run(SESSION).await, session);
    ada.until(members, &json!(2)).await;
    ada.say("after").await;
    let both = [("Ada", "before"), ("Ada", "after")];
    bob.messages(&both).await;
    ada.messages(&both).await;
    assert_eq!(bob.run("return window.seen").await, json!([]), "others saw a leave or a join");
    let users = "return [...new Set([...document.querySelectorAll('#messages [data-user]')] \
         .map(m => m.dataset.user))].length";
    assert_eq!(bob.run(users).await, json!(1), "she is the same user");
    let own = "return document.querySelectorAll('#messages .own').length";
    assert_eq!(ada.run(own).await, json!(2), "and knows her own messages");

    // The proof that the watch sees something: who leaves for good does leave.
    ada.click("#rooms .leave").await;
    bob.until("return window.seen.length > 0", &json!(true)).await;
    ada.assert_quiet().await;
    bob.assert_quiet().await;
    ada.close().await;
    bob.close().await;
}

#[tokio::test]
async fn a_message_sent_offline_is_pending_then_sent_even_over_a_reload() {
    let (place, server) = Place::open(Spec::default()).await;
    let driver = Driver::start().await;
    let ada = driver.open("ada", DESKTOP).await;
    ada.enter(&server, "Ada", "lobby").await;
    ada.say("now").await;
    ada.messages(&[("Ada", "now")]).await;
    server.kill().await;
    ada.disconnected().await;
    ada.say("later").await;
    ada.say("much later").await;
    ada.pending(&[("later", "queued", WAITING), ("much later", "queued", WAITING)]).await;
    ada.messages(&[("Ada", "now")]).await;
    let status = "return document.querySelector('#status-text').textContent.slice(0, 12)";
    ada.until(status, &json!("Reconnecting")).await;
    ada.screenshot("pending.png").await;

    let server = place.again().await;
    ada.connected().await;
    let all = [("Ada", "now"), ("Ada", "later"), ("Ada", "much later")];
    ada.messages(&all).await;
    ada.pending(&[]).await;

    // What is on its way when the page itself is loaded again is not forgotten.
    server.kill().await;
    ada.disconnected().await;
    ada.say("at last").await;
    ada.pending(&[("at last", "queued", WAITING)]).await;
    let _server = place.again().await;
    ada.0.refresh().await.expect("the page loads again");
    ada.connected().await;
    ada.pending(&[]).await;
    ada.messages(&[&all[..], &[("Ada", "at last")]].concat()).await;
    ada.close().await;
}

/// Opens a tab in the same browser and goes there.
async fn open_beside(tab: &Tab, script: &str) {
    let before = tab.0.windows().await.expect("windows");
    tab.run(script).await;
    let opened = async {
        loop {
            let windows = tab.0.windows().await.expect("windows");
            if let Some(new) = windows.into_iter().find(|window| !before.contains(window)) {
                return new;
            }
        }
    };
    let new = chat_tests::wait::within("the new window", opened).await;
    tab.0.switch_to_window(new).await.expect("it is there");
}

#[tokio::test]
async fn two_tabs_and_a_duplicated_one_do_not_fight_for_a_session() {
    let (_place, server) = Place::open(Spec::default()).await;
    tabs_do_not_fight(&page(&server), true).await;
}

/// Without TLS there are no locks, so the tabs have to ask each other.
#[tokio::test]
async fn nor_do_they_where_there_are_no_locks() {
    let spec = Spec::default().flag("--allow-host", PLAIN_HOST);
    let (_place, server) = Place::open(spec).await;
    let url = format!("http://{PLAIN_HOST}:{}/", server.http().port());
    tabs_do_not_fight(&url, false).await;
}

async fn tabs_do_not_fight(url: &str, has_locks: bool) {
    let driver = Driver::start().await;
    let tab = driver.open("ada", DESKTOP).await;
    tab.enter_at(url, "Ada", "lobby").await;
    assert_eq!(tab.run("return 'locks' in navigator").await, json!(has_locks));
    let first = tab.0.window().await.expect("a window");
    tab.say("one").await;
    tab.messages(&[("Ada", "one")]).await;
    let mut sessions = vec![tab.run(SESSION).await];

    // A second tab of the same person, and a duplicate, which gets a copy of the first one's
    // memory: that is what a window opened by a script gets, too.
    let (beside, copied) =
        ("window.open(location.href, '_blank', 'noopener')", "window.open(location.href)");
    for (script, has_copy) in [(beside, false), (copied, true)] {
        tab.0.switch_to_window(first.clone()).await.expect("it is there");
        tab.connected().await;
        open_beside(&tab, script).await;
        if has_copy {
            let tells =
                "return (window.opener?.sessionStorage.getItem('chat.tab') ?? null) !== null";
            assert_eq!(tab.run(tells).await, json!(true), "the window was opened by the first one");
        }
        tab.connected().await;
        sessions.push(tab.run(SESSION).await);
        let said = format!("from {}", sessions.len());
        tab.say(&said).await;
        tab.see("#messages [data-seq] .content").await;
        tab.pending(&[]).await;
    }
    let (mut distinct, expected) = (sessions.clone(), 3);
    distinct.sort_by_key(Value::to_string);
    distinct.dedup();
    assert_eq!(distinct.len(), expected, "each tab has a session of its own: {sessions:?}");

    // All of them are there, and say so to each other.
    let all = ["one", "from 2", "from 3"].map(|text| ("Ada", text));
    let mut seen = Vec::new();
    for window in tab.0.windows().await.expect("windows") {
        tab.0.switch_to_window(window).await.expect("it is there");
        tab.messages(&all).await;
        tab.connected().await;
        let session = tab.run(SESSION).await;
        tab.0.refresh().await.expect("the page loads again");
        tab.connected().await;
        assert_eq!(tab.run(SESSION).await, session, "a reload keeps the session of the tab");
        tab.messages(&all).await;
        let mut severe = tab.severe().await;
        // Without TLS the browser says that it does not heed this header.
        severe.retain(|line| has_locks || !line.contains("Cross-Origin-Opener-Policy"));
        assert!(severe.is_empty(), "the console has {severe:#?}");
        seen.push(session);
    }
    seen.sort_by_key(Value::to_string);
    assert_eq!(seen, distinct, "no tab has begun anew");
    tab.close().await;
}

#[tokio::test]
async fn what_the_server_refuses_is_shown_with_its_reason() {
    let (mut place, server) = Place::open(Spec::default()).await;
    let driver = Driver::start().await;
    let ada = driver.open("ada", DESKTOP).await;
    ada.enter(&server, "Ada", "lobby").await;
    server.kill().await;
    ada.disconnected().await;
    let long = "x".repeat(200);
    ada.say(&long).await;
    ada.say("short").await;
    // The one that comes back takes less than the one before did.
    place.spec = place.spec.limit("message_bytes", 100);
    let server = place.again().await;
    ada.connected().await;
    ada.messages(&[("Ada", "short")]).await;
    let why = "Not sent: it is longer than the server takes.";
    ada.pending(&[(&long, "failed", why)]).await;
    ada.screenshot("failed.png").await;
    // Trying again does not help; what helps is to say something else.
    ada.click("[data-pending] .state button:nth-of-type(1)").await;
    ada.pending(&[(&long, "failed", why)]).await;
    ada.click("[data-pending] .state button:nth-of-type(2)").await;
    ada.pending(&[]).await;

    // Who says too much at once is told so; it is sent as soon as the server takes it.
    server.kill().await;
    ada.disconnected().await;
    place.spec = place.spec.limit("messages_per_10s", 4);
    let texts: Vec<String> = (1..=6).map(|n| format!("number {n}")).collect();
    for text in &texts {
        ada.say(text).await;
    }
    let _server = place.again().await;
    ada.connected().await;
    let slowed = "return [...document.querySelectorAll('#messages [data-pending] .state-text')] \
         .some(m => m.textContent === 'Waiting: too many messages at once.')";
    ada.until(slowed, &json!(true)).await;
    ada.screenshot("slowed.png").await;
    let mut all = vec![("Ada", "short")];
    all.extend(texts.iter().map(|text| ("Ada", text.as_str())));
    ada.messages(&all).await;
    ada.pending(&[]).await;
    ada.close().await;
}

#[tokio::test]
async fn what_the_server_has_lost_is_shown_as_missing() {
    let (place, server) = Place::open(Spec::default()).await;
    let driver = Driver::start().await;
    let ada = driver.open("ada", PHONE).await;
    ada.enter(&server, "Ada", "lobby").await;
    for text in ["one", "two", "three"] {
        ada.say(text).await;
    }
    ada.messages(&[("Ada", "one"), ("Ada", "two"), ("Ada", "three")]).await;
    server.kill().await;
    ada.disconnected().await;
    ada.say("four").await;
    // Places 4 to 8 are written, and all up to 6 is forgotten.
    place.write_and_trim(5, 7).await;
    let _server = place.again().await;
    ada.connected().await;
    ada.pending(&[]).await;
    let all = "return [...document.querySelectorAll('#messages [data-seq], #messages .hole')] \
         .map(m => m.dataset.seq ?? [m.dataset.from, m.dataset.to, m.textContent])";
    let says = "3 messages are missing: the server no longer has them.";
    ada.until(all, &json!(["1", "2", "3", ["4", "6", says], "7", "8", "9"])).await;
    assert_eq!(ada.texts().await.last().map(String::as_str), Some("four"));
    ada.screenshot("missing.png").await;
    // Who comes anew is not told of a beginning that is none.
    ada.0.refresh().await.expect("the page loads again");
    ada.connected().await;
    ada.until("return document.querySelector('#older').textContent", &json!(OLDER)).await;
    assert_eq!(ada.seqs().await, [7, 8, 9]);
    ada.close().await;
}

#[tokio::test]
async fn a_room_that_refuses_is_shown_as_refusing() {
    let (_place, server) = Place::open(Spec::default().limit("rooms", 1)).await;
    let driver = Driver::start().await;
    let ada = driver.open("ada", DESKTOP).await;
    ada.enter(&server, "Ada", "lobby").await;
    ada.0.goto(&format!("{}#another", page(&server))).await.expect("the page loads");
    ada.see("#rooms [data-room='another'].trouble").await;
    let error = ada.0.find(Locator::Css("#room-error-text")).await.expect("it says so");
    assert_eq!(error.text().await.expect("a text"), "Could not join: you are in too many rooms.");
    ada.close().await;
}
