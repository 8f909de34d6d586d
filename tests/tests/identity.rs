//! Who may come in, over real sockets: tokens, headers, cookies, and their ends.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::{Request, SUBPROTOCOL, ServerFrame, Token, UserId};
use chat_state::{Revoke, TokenId};
use chat_tests::client::{Ending, Socket, V1Client, name};
use chat_tests::process::{Home, Server, Spec};
use chat_tests::wait::within;
use chat_tokio::auth::jwt::{Hmac, Issuer, Jwt, Key, Keys, SigningKey, TokenSpec};
use chat_tokio::client::{Delivery, State};

const SECRET: &str = "a secret of more than 32 bytes, for tests";
const V1: (&str, Option<&str>) = ("", Some(SUBPROTOCOL));
const BASIC: (&str, Option<&str>) = ("", None);

/// A token that counts for some seconds.
fn token(user: &str, seconds: u64) -> String {
    spec(user, seconds).sign(&signing_key()).expect("a token")
}

fn signing_key() -> SigningKey {
    SigningKey::secret(SECRET.as_bytes(), Hmac::Sha256).expect("long enough")
}

fn spec(user: &str, seconds: u64) -> TokenSpec {
    TokenSpec {
        issuer: "us".into(),
        audience: "chat".into(),
        user: user.into(),
        id: Some(format!("token of {user}")),
        lifetime: Duration::from_secs(seconds),
        ..TokenSpec::default()
    }
}

/// The reference server in one of the modes with tokens.
async fn server(home: &Home, mode: &str, more: &[(&str, &str)]) -> Server {
    let secret = home.data().with_file_name("secret");
    std::fs::write(&secret, SECRET).expect("a file");
    let mut spec = Spec::default()
        .flag("--auth", mode)
        .flag("--jwt-secret-file", secret.to_str().expect("a plain path"))
        .flag("--jwt-issuer", "us")
        .flag("--jwt-audience", "chat")
        .flag("--jwt-leeway", "0");
    for (flag, value) in more {
        spec = spec.flag(flag, value);
    }
    Server::start(home, &spec).await
}

fn hello(token: Option<&str>) -> Request {
    let token = token.map(|token| Token(token.into()));
    let name = Some(chat_proto::DisplayName::new("Chosen").expect("a name"));
    Request::Hello { name, token, features: vec![], resume: None }
}

async fn v1(server: SocketAddr, token: &str) -> V1Client {
    let mut client = V1Client::connect(server).await;
    match client.request(&hello(Some(token))).await {
        ServerFrame::Welcome(_) => client,
        other => panic!("no welcome, but {other:?}"),
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn open(server: SocketAddr, how: (&str, Option<&str>), header: &str) -> Socket {
    Socket::open_with(server, how, &[("Authorization", header)]).await.expect("a connection")
}

const JOIN: &str = r#"{"type":"join","room":"lobby"}"#;

#[tokio::test]
async fn a_token_lets_in_and_nothing_else_does() {
    let home = Home::default();
    let server = server(&home, "jwt", &[]).await;
    let address = server.http();
    let ada = token("ada", 600);

    let mut client = V1Client::connect(address).await;
    let ServerFrame::Welcome(welcome) = client.request(&hello(Some(&ada))).await else { panic!() };
    assert_eq!((welcome.user.as_str(), welcome.name.as_str()), ("ada", "Chosen"));

    let socket = open(address, V1, &bearer(&ada)).await;
    let answer = V1Client::over(socket).request(&hello(None)).await;
    assert!(matches!(answer, ServerFrame::Welcome(welcome) if welcome.user.as_str() == "ada"));

    // In `basic` the name is the token's, whatever the address says.
    let mut basic = open(address, ("?username=mallory", None), &bearer(&ada)).await;
    basic.send_text(JOIN).await;
    let notice = basic.next_text().await.expect("a notice");
    assert!(notice.contains(r#""username":"ada""#), "{notice}");

    let forged = format!("{}x", &ada[..ada.len() - 1]);
    for bad in [None, Some("x"), Some(forged.as_str())] {
        let mut client = V1Client::connect(address).await;
        let id = client.send(&hello(bad)).await;
        let ServerFrame::Error(error) = client.reply(&id).await else { panic!() };
        assert_eq!(error.code, chat_proto::ErrorCode::Unauthorized);
        assert!(!error.message.contains(bad.unwrap_or("?")), "{error:?}");
        assert_eq!(client.socket.ending().await, Ending::Closed(4001));
    }
    let query = format!("?username=ada&token={ada}&access_token={ada}");
    let in_query = Socket::open_with(address, (&query, None), &[]).await;
    for basic in [in_query, Socket::open_with(address, BASIC, &[("Cookie", "chat_token=x")]).await]
    {
        let mut basic = basic.expect("a connection");
        basic.send_text(JOIN).await;
        assert_eq!(basic.ending().await, Ending::Closed(4001));
    }
    for header in ["Basic YTpi", "Bearer", "Bearer ", "x"] {
        let refused = Socket::open_with(address, V1, &[("Authorization", header)]).await;
        assert_eq!(refused.err(), Some(400), "{header}");
    }
    let (a, b) = (bearer(&ada), bearer("x"));
    let twice = [("Authorization", &*a), ("Authorization", &*b)];
    assert_eq!(Socket::open_with(address, V1, &twice).await.err(), Some(400));
}

#[tokio::test]
async fn a_cookie_counts_for_pages_of_the_same_site_only() {
    let home = Home::default();
    let server = server(&home, "cookie", &[]).await;
    let address = server.http();
    let cookie = format!("a=b; chat_token={}; c=d", token("ada", 600));
    let own = format!("http://{address}");
    let twice = format!("chat_token=x; {cookie}");
    for (headers, status) in [
        (vec![("Cookie", &*cookie)], 403),
        (vec![("Cookie", &*cookie), ("Origin", "https://evil.example")], 403),
        (vec![("Cookie", &*cookie), ("Origin", "null")], 403),
        (vec![("Cookie", &*cookie), ("Origin", &*own), ("Origin", &*own)], 400),
        (vec![("Cookie", &*twice), ("Origin", &*own)], 400),
    ] {
        for how in [V1, BASIC] {
            let refused = Socket::open_with(address, how, &headers).await;
            assert_eq!(refused.err(), Some(status), "{headers:?}");
        }
    }
    let headers = [("Cookie", &*cookie), ("Origin", &*own)];
    let socket = Socket::open_with(address, V1, &headers).await.expect("a connection");
    let answer = V1Client::over(socket).request(&hello(None)).await;
    assert!(matches!(answer, ServerFrame::Welcome(welcome) if welcome.user.as_str() == "ada"));
    let mut basic = Socket::open_with(address, BASIC, &headers).await.expect("a connection");
    basic.send_text(JOIN).await;
    let notice = basic.next_text().await.expect("a notice");
    assert!(notice.contains(r#""username":"ada""#), "{notice}");
    // A program without a cookie needs no origin.
    let socket = open(address, V1, &bearer(&token("bob", 600))).await;
    let answer = V1Client::over(socket).request(&hello(None)).await;
    assert!(matches!(answer, ServerFrame::Welcome(welcome) if welcome.user.as_str() == "bob"));
}

#[tokio::test]
async fn a_token_ends_while_its_connection_is_open() {
    let home = Home::default();
    let server = server(&home, "jwt", &[]).await;
    let address = server.http();
    let mut basic = open(address, BASIC, &bearer(&token("bob", 3))).await;
    basic.send_text(JOIN).await;
    let mut client = v1(address, &token("ada", 3)).await;
    let ServerFrame::AuthExpiring { expires_in_ms } = client.next().await else { panic!() };
    assert!((1..=1500).contains(&expires_in_ms), "{expires_in_ms}");
    // Somebody else's is not taken, and costs nothing.
    let theirs = Request::Auth { token: Token(token("bob", 600).into()) };
    assert_eq!(client.refused(&theirs).await.code, chat_proto::ErrorCode::Unauthorized);
    let fresh = Request::Auth { token: Token(token("ada", 5).into()) };
    let ServerFrame::Authenticated { expires_in_ms, .. } = client.request(&fresh).await else {
        panic!()
    };
    assert!(expires_in_ms.is_some_and(|ms| (3000..=5000).contains(&ms)), "{expires_in_ms:?}");
    // Past the end of the first one, by another's clock: `basic` has no way to renew.
    assert_eq!(basic.ending().await, Ending::Closed(4003));
    client.join("lobby", 0).await;
    assert_eq!(client.socket.ending().await, Ending::Closed(4003));
}

#[tokio::test]
async fn no_token_is_ever_logged() {
    let home = Home::default();
    let server = server(&home, "cookie", &[("--log-level", "trace")]).await;
    let address = server.http();
    let made: Vec<String> = ["a", "b", "c", "d"].iter().map(|user| token(user, 600)).collect();
    let [in_hello, in_header, in_cookie, in_query] = &made[..] else { panic!() };
    let mut client = v1(address, in_hello).await;
    let renewed = Request::Auth { token: Token(in_hello.as_str().into()) };
    client.request(&renewed).await;
    let mut basic = open(address, BASIC, &bearer(in_header)).await;
    basic.send_text(JOIN).await;
    basic.next_text().await.expect("a notice");
    let (cookie, own) = (format!("chat_token={in_cookie}"), format!("http://{address}"));
    let headers = [("Cookie", &*cookie), ("Origin", &*own)];
    let socket = Socket::open_with(address, V1, &headers).await.expect("a connection");
    V1Client::over(socket).request(&hello(None)).await;
    let query = format!("?token={in_query}");
    let mut wrong = Socket::open_with(address, (&query, None), &[]).await.expect("a connection");
    wrong.send_text(JOIN).await;
    assert_eq!(wrong.ending().await, Ending::Closed(4001));
    let mut broken = V1Client::connect(address).await;
    broken.request(&hello(Some(&format!("{in_hello}SECRET123")))).await;
    server.stop().await;
    let said = home.stderr();
    assert!(said.contains("TRACE") || said.contains("DEBUG"), "the level has an effect: {said}");
    assert!(!said.contains("SECRET123"));
    for token in &made {
        for part in token.split('.').skip(1) {
            assert!(!said.contains(part), "{part}\n{said}");
        }
    }
}

/// A server in this process, whose handle revokes.
fn within_this_process() -> (chat_tokio::Server, SocketAddr) {
    let key = Key::secret(SECRET.as_bytes(), Hmac::Sha256).expect("long enough");
    let (name, audience) = ("us".into(), "chat".into());
    let issuer = Issuer { name, audience, leeway_s: 0, keys: Keys::Fixed(vec![key]) };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = chat_tokio::Server::builder().listen(any).workers(3);
    let server = server.authenticator(Arc::new(Jwt::new(vec![issuer]))).start().expect("a server");
    let address = server.local_addr().expect("it listens");
    (server, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_ends_at_once_on_every_worker() {
    let (server, address) = within_this_process();
    let (ada, bob) = (token("ada", 600), token("bob", 600));
    let mut of_ada = Vec::new();
    for _ in 0..12 {
        of_ada.push(v1(address, &ada).await);
    }
    let mut of_bob = v1(address, &bob).await;
    let user = Revoke::User(UserId::new("ada").expect("an id"));
    within("the workers to be told", server.handle().revoke(&user)).await.expect("a log");
    for mut client in of_ada {
        assert_eq!(client.socket.ending().await, Ending::Closed(4001));
    }
    let mut again = V1Client::connect(address).await;
    again.refused(&hello(Some(&ada))).await;
    assert_eq!(again.socket.ending().await, Ending::Closed(4001));
    of_bob.join("lobby", 0).await;

    let id = TokenId::new("token of bob").expect("short");
    server.handle().revoke(&Revoke::Token(id)).await.expect("a log");
    assert_eq!(of_bob.socket.ending().await, Ending::Closed(4001));
    let mut again = V1Client::connect(address).await;
    again.refused(&hello(Some(&bob))).await;

    // Of a session, only that one ends.
    let eve = token("eve", 600);
    let mut kept = v1(address, &eve).await;
    let mut client = V1Client::connect(address).await;
    let ServerFrame::Welcome(welcome) = client.request(&hello(Some(&eve))).await else { panic!() };
    server.handle().revoke(&Revoke::Session(welcome.session)).await.expect("a log");
    assert_eq!(client.socket.ending().await, Ending::Closed(4001));
    kept.join("lobby", 0).await;
    v1(address, &eve).await;
}

/// It outlives its first token by far, on one connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_brings_fresh_tokens_by_itself() {
    let (_server, address) = within_this_process();
    let (made, mut count) = tokio::sync::mpsc::channel(16);
    let tokens = move || {
        let told = made.try_send(());
        std::future::ready(told.ok().map(|()| Token(token("ada", 4).into())))
    };
    let url = format!("ws://{address}/ws");
    let options = chat_tokio::client::Client::options().tokens(tokens);
    let (client, mut events) = options.start(&url).expect("an address");
    for n in 0..4 {
        within(format!("token {n}"), count.recv()).await.expect("the client goes on");
    }
    let mut welcomes = 0;
    while let Some(event) = events.try_next() {
        match event {
            Delivery::Welcome(welcome) => {
                assert_eq!(welcome.user.as_str(), "ada");
                welcomes += 1;
            }
            Delivery::State(State::Connecting | State::Online) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(welcomes, 1, "the first connection goes on");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_allows_the_rooms_that_it_names() {
    let (_server, address) = within_this_process();
    let rooms = Some(vec!["lobby".into(), "team-*".into()]);
    let spec = TokenSpec { rooms, ..spec("ada", 600) };
    let mut client = v1(address, &spec.sign(&signing_key()).expect("a token")).await;
    client.join("Team-A", 0).await;
    let refused = client.refused(&Request::Join { room: name("secret"), history: 5 }).await;
    assert_eq!(refused.code, chat_proto::ErrorCode::Forbidden);
}

#[tokio::test]
async fn each_issuer_proves_its_own_tokens_only() {
    let home = Home::default();
    let beside = |name: &str| home.data().with_file_name(name);
    std::fs::write(beside("secret"), SECRET).expect("a file");
    let public = include_str!("../../chat-tokio/tests/keys/ed.pub.pem");
    std::fs::write(beside("public"), public).expect("a file");
    let us = format!("secret_file = {:?}", beside("secret"));
    let them = format!("public_key = {:?}", beside("public"));
    let table = |name, keys| format!("[[issuer]]\nname = '{name}'\naudience = 'chat'\n{keys}\n");
    let file = beside("issuers.toml");
    std::fs::write(&file, table("us", &us) + &table("them", &them)).expect("a file");
    let settings = Spec::default()
        .flag("--auth", "jwt")
        .flag("--jwt-issuers", file.to_str().expect("a plain path"));
    let server = Server::start(&home, &settings).await;

    let private = include_bytes!("../../chat-tokio/tests/keys/ed.pem");
    let private = SigningKey::private_pem(private).expect("a key");
    let sign = |issuer: &str, user: &str, key: &SigningKey| {
        let token = TokenSpec { issuer: issuer.into(), ..spec(user, 600) };
        token.sign(key).expect("a token")
    };
    let mut ada = v1(server.http(), &sign("us", "ada", &signing_key())).await;
    let mut bob = v1(server.http(), &sign("them", "bob", &private)).await;
    for (issuer, key) in [("us", &private), ("them", &signing_key()), ("nobody", &private)] {
        let mut eve = V1Client::connect(server.http()).await;
        let id = eve.send(&hello(Some(&sign(issuer, "eve", key)))).await;
        let ServerFrame::Error(error) = eve.reply(&id).await else {
            panic!("a token of {issuer} is taken that another has signed")
        };
        assert_eq!(error.code, chat_proto::ErrorCode::Unauthorized, "{issuer}");
    }

    // Who is taken out of the file is gone with all whom it has let in.
    std::fs::write(&file, table("us", &us)).expect("a file");
    server.hang_up();
    assert_eq!(bob.socket.ending().await, Ending::Closed(4001));
    ada.join("lobby", 0).await;
    server.stop().await;
}
