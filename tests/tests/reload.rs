//! Settings that are read again while the server runs (SIGHUP), with people connected.
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chat_proto::{ErrorCode, Request, SUBPROTOCOL, ServerFrame, Token};
use chat_tests::client::{Ending, Socket, V1Client, name};
use chat_tests::process::{Home, Server, Spec};
use chat_tests::wait::eventually;
use chat_tokio::auth::jwt::{Hmac, SigningKey, TokenSpec};
use serde_json::json;

const DONE: &str = "the settings are read again: ";
const REFUSED: &str = "the settings can't be read again, nothing has changed: ";

/// A server whose file can be written anew.
struct Test {
    home: Home,
    server: Server,
    config: PathBuf,
}

impl Test {
    async fn start(workers: u32, config: &str) -> Self {
        Self::start_in(Home::default(), workers, config).await
    }

    async fn start_in(home: Home, workers: u32, config: &str) -> Self {
        Self::start_as(home, Spec::default().workers(workers), config).await
    }

    async fn start_as(home: Home, spec: Spec, config: &str) -> Self {
        let path = home.data().with_file_name("chat.toml");
        fs::write(&path, config).expect("a file");
        let spec = spec.flag("--config", path.to_str().expect("a plain path"));
        let server = Server::start(&home, &spec).await;
        Self { home, server, config: path }
    }

    fn http(&self) -> SocketAddr {
        self.server.http()
    }

    /// Lets the server read this, and waits for what it says of it.
    async fn reload(&self, config: &str) -> String {
        fs::write(&self.config, config).expect("a file");
        self.hang_up().await
    }

    /// Asks the server to read its settings, and waits for what it says of them.
    async fn hang_up(&self) -> String {
        let answers = |said: &str| said.matches(DONE).count() + said.matches(REFUSED).count();
        let before = answers(&self.home.stderr());
        self.server.hang_up();
        eventually("what the server says of its settings", async || {
            // Meanwhile it goes on as ever.
            drop(V1Client::connect(self.http()).await);
            let said = self.home.stderr();
            let last = said.lines().rfind(|line| line.contains(DONE) || line.contains(REFUSED));
            (answers(&said) > before).then(|| last.expect("a line").to_owned())
        })
        .await
    }
}

fn join(room: &str) -> Request {
    Request::Join { room: name(room), history: 0 }
}

#[tokio::test]
async fn limits_count_at_once_for_those_who_are_there() {
    let test = Test::start(2, "[limits]\nrooms = 2\nmessage_bytes = 100\n").await;
    // With two workers some are on each.
    let mut all = Vec::new();
    for n in 0..6 {
        let mut client = V1Client::hello(test.http(), &format!("m{n}")).await.0;
        client.join("a", 0).await;
        client.join("b", 0).await;
        let error = client.refused(&join("c")).await;
        assert_eq!(error.code, ErrorCode::TooManyRooms);
        assert!(error.message.ends_with("(2 at most)"), "{}", error.message);
        all.push(client);
    }
    let said = test.reload("[limits]\nrooms = 3\nmessage_bytes = 10\n").await;
    assert!(
        said.ends_with(&format!("{DONE}changed: limits.message_bytes, limits.rooms")),
        "{said}"
    );
    for client in &mut all {
        client.join("c", 0).await;
        let long = chat_tests::client::message("a", None, "more than ten bytes");
        assert_eq!(client.refused(&long).await.code, ErrorCode::TooLarge);
    }
    let (_, welcome) = V1Client::hello(test.http(), "new").await;
    assert_eq!((welcome.limits.rooms, welcome.limits.message_bytes), (3, 10));
    // Who is above a lower limit stays where they are.
    test.reload("[limits]\nrooms = 1\n").await;
    for client in &mut all {
        client.say("c", "still here").await;
        assert_eq!(client.refused(&join("d")).await.code, ErrorCode::TooManyRooms);
    }
    test.server.stop().await;
}

#[tokio::test]
async fn a_request_to_the_api_does_what_the_signal_does() {
    let spec = Spec::default().workers(2).api();
    let test = Test::start_as(Home::default(), spec, "[limits]\nrooms = 2\n").await;
    let api = test.server.api();
    let mut all = Vec::new();
    for n in 0..6 {
        let mut client = V1Client::hello(test.http(), &format!("m{n}")).await.0;
        client.join("a", 0).await;
        client.join("b", 0).await;
        assert_eq!(client.refused(&join("c")).await.code, ErrorCode::TooManyRooms);
        all.push(client);
    }
    let wanted = "[limits]\nrooms = 3\nmessage_bytes = 10\n";
    fs::write(&test.config, wanted).expect("a file");
    let outcome = api.post("/v1/reload", &json!({})).await.ok();
    assert_eq!(outcome, json!({"outcome": "changed: limits.message_bytes, limits.rooms"}));
    for client in &mut all {
        client.join("c", 0).await;
    }
    // What services say has the same limit.
    let long = json!({"content": "more than ten bytes"});
    assert!(api.post("/v1/rooms/a/messages", &long).await.problem(413).contains("10"));
    fs::write(&test.config, "[limits]\nrooms = 0\n").expect("a file");
    let refused = api.post("/v1/reload", &json!({})).await.problem(422);
    assert!(refused.contains("limit `rooms` is 0"), "{refused}");
    // The signal finds what the request has left.
    let said = test.reload(wanted).await;
    assert!(said.ends_with(&format!("{DONE}no option has changed")), "{said}");
    test.server.stop().await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_why() {
    let good = "[limits]\nrooms = 2\n";
    let test = Test::start(1, good).await;
    let (mut ada, _) = V1Client::member(test.http(), "ada", "lobby").await;
    for (bad, why) in [
        ("[limits]\nrooms = 0\nmembers = 5\n", "limit `rooms` is 0, but has to be from 1 to 65536"),
        ("[limits]\nroms = 3\n", "unknown key `limits.roms`"),
        ("allow_origin = ['nonsense']\n[limits]\nrooms = 3\n", "`allow_origin` is"),
        ("[limits\n", "chat.toml line 1"),
        ("auth = 'jwt'\njwt_issuer = 3 3\n", "chat.toml line 2"),
    ] {
        let said = test.reload(bad).await;
        assert!(said.contains(REFUSED) && said.contains(why), "{said}");
        let (_, welcome) = V1Client::hello(test.http(), "bob").await;
        assert_eq!((welcome.limits.rooms, welcome.limits.members), (2, 1_000_000));
        ada.say("lobby", "all as before").await;
    }
    fs::remove_file(&test.config).expect("it is there");
    let said = test.hang_up().await;
    assert!(said.contains(REFUSED) && said.contains("cannot read"), "{said}");
    let said = test.reload(good).await;
    assert!(said.ends_with("no option has changed"), "{said}");
}

#[tokio::test]
async fn what_needs_a_restart_is_told_and_the_rest_takes_effect() {
    let test = Test::start(1, "").await;
    let config = "log_level = 'debug'\nleave_grace = 3\n[limits]\nrooms = 5\n";
    // The command line has `workers` and `log`, and wins now as it did at the start.
    let config = format!("workers = 7\nlog = 'sqlite'\n{config}");
    for changed in ["changed: limits.rooms", "no option has changed"] {
        let said = test.reload(&config).await;
        let restart = "; a restart is needed for: leave_grace, log_level";
        assert!(said.ends_with(&format!("{DONE}{changed}{restart}")), "{said}");
        assert!(said.contains("WARN"), "{said}");
    }
    let (_, welcome) = V1Client::hello(test.http(), "ada").await;
    assert_eq!(welcome.limits.rooms, 5);
    let said = test.reload("[limits]\nrooms = 5\n").await;
    assert!(said.ends_with("no option has changed") && said.contains("INFO"), "{said}");
}

#[tokio::test]
async fn pages_of_another_origin_may_connect_from_then_on() {
    let test = Test::start(2, "").await;
    let origin = [("Origin", "https://chat.example")];
    let open =
        async || Socket::open_with(test.http(), ("", Some(SUBPROTOCOL)), &origin).await.err();
    // Often enough for each worker.
    for _ in 0..8 {
        assert_eq!(open().await, Some(403));
    }
    test.reload("allow_origin = ['https://chat.example']\n").await;
    for _ in 0..8 {
        assert_eq!(open().await, None);
    }
    test.reload("").await;
    for _ in 0..8 {
        assert_eq!(open().await, Some(403));
    }
}

/// One of three secrets: three bytes again and again, which are four letters in base64.
fn secret(n: u8) -> [u8; 33] {
    let three = [b'a' + n, b'b', b'c'];
    std::array::from_fn(|at| three[at % 3])
}

fn jwk(kid: &str, n: u8) -> serde_json::Value {
    let encoded = ["YWJj", "YmJj", "Y2Jj"][usize::from(n)].repeat(11);
    json!({"kty": "oct", "kid": kid, "alg": "HS256", "k": encoded})
}

fn token(kid: &str, n: u8, user: &str) -> String {
    let key = SigningKey::secret(&secret(n), Hmac::Sha256).expect("long enough");
    let spec = TokenSpec {
        issuer: "us".into(),
        audience: "chat".into(),
        user: user.into(),
        kid: Some(kid.into()),
        lifetime: Duration::from_secs(600),
        ..TokenSpec::default()
    };
    spec.sign(&key).expect("a token")
}

async fn enter(server: SocketAddr, token: &str) -> (V1Client, ServerFrame) {
    let mut client = V1Client::connect(server).await;
    let token = Some(Token(token.into()));
    let hello = Request::Hello { name: None, token, features: Vec::new(), resume: None };
    let answer = client.request(&hello).await;
    (client, answer)
}

async fn entered(server: SocketAddr, token: &str) -> V1Client {
    let (mut client, answer) = enter(server, token).await;
    assert!(matches!(answer, ServerFrame::Welcome(_)), "{answer:?}");
    client.join("lobby", 0).await;
    client
}

/// A server with a set of two keys, the set's file, and the settings.
async fn with_keys(workers: u32) -> (Test, PathBuf, String) {
    let home = Home::default();
    let set = home.data().with_file_name("set.json");
    let text = json!({"keys": [jwk("one", 0), jwk("two", 1)]}).to_string();
    fs::write(&set, text).expect("a file");
    let config = format!(
        "auth = 'jwt'\njwt_issuer = 'us'\njwt_audience = 'chat'\njwks = '{}'\n",
        set.display()
    );
    (Test::start_in(home, workers, &config).await, set, config)
}

#[tokio::test]
async fn whom_a_key_let_in_goes_with_the_key() {
    let (test, set, _) = with_keys(2).await;
    let (one, two) = (token("one", 0, "ada"), token("two", 1, "bob"));
    let mut ada = Vec::new();
    for _ in 0..4 {
        ada.push(entered(test.http(), &one).await);
    }
    let mut bob = entered(test.http(), &two).await;
    fs::write(&set, json!({"keys": [jwk("two", 1), jwk("three", 2)]}).to_string()).expect("a file");
    let said = test.hang_up().await;
    assert!(said.ends_with("no option has changed"), "{said}");
    for client in &mut ada {
        assert_eq!(client.socket.ending().await, Ending::Closed(4001));
    }
    bob.say("lobby", "my key is still there").await;
    let (mut late, answer) = enter(test.http(), &one).await;
    let ServerFrame::Error(error) = answer else { panic!("{answer:?}") };
    assert_eq!(error.code, ErrorCode::Unauthorized);
    assert_eq!(late.socket.ending().await, Ending::Closed(4001));
    entered(test.http(), &token("three", 2, "eve")).await;
    let log = test.home.stderr();
    assert!(log.contains("keys count no more") && !log.contains("YWJj"), "{log}");
}

#[tokio::test]
async fn keys_that_cannot_be_read_change_nothing() {
    let (test, set, config) = with_keys(1).await;
    let mut ada = entered(test.http(), &token("one", 0, "ada")).await;
    fs::write(&set, "{}").expect("a file");
    let said = test.reload(&format!("{config}[limits]\nrooms = 3\n")).await;
    assert!(said.contains(REFUSED) && said.contains("--jwks"), "{said}");
    ada.say("lobby", "it still counts").await;
    for room in ["b", "c", "d"] {
        ada.join(room, 0).await;
    }
    // A server that knows people can't become one that does not while it runs.
    let open = "auth = 'open'\n[limits]\nrooms = 4\n";
    fs::write(&set, json!({"keys": [jwk("one", 0)]}).to_string()).expect("a file");
    let said = test.reload(open).await;
    assert!(said.contains("changed: limits.rooms; a restart is needed for: auth, j"), "{said}");
    let (_, answer) = enter(test.http(), "x").await;
    assert!(matches!(answer, ServerFrame::Error(_)), "{answer:?}");
    ada.say("lobby", "and this one, too").await;
}

#[tokio::test]
async fn a_set_that_changes_by_itself_ends_them_with_the_next_check() {
    let (test, set, _) = with_keys(1).await;
    let mut ada = entered(test.http(), &token("one", 0, "ada")).await;
    let changed = json!({"keys": [jwk("two", 1)], "comment": "of another length"}).to_string();
    fs::write(&set, changed).expect("a file");
    // It is looked at once a second, when a token comes.
    let two = token("two", 1, "bob");
    eventually("the set to be read again", async || {
        drop(entered(test.http(), &two).await);
        test.home.stderr().contains("keys count no more").then_some(())
    })
    .await;
    assert_eq!(ada.socket.ending().await, Ending::Closed(4001));
}
