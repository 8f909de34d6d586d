//! What a server writes to its log, and what never: over a process that logs all it can.
use std::time::Duration;

use chat_proto::{Request, ServerFrame, Token};
use chat_tests::client::{BasicClient, Socket, V1Client, message};
use chat_tests::process::{Home, Server, Spec};
use chat_tests::scrape::{Scrape, get};
use chat_tests::wait::eventually;
use chat_tokio::auth::jwt::{Hmac, SigningKey, TokenSpec};

const BODY: &str = "what-nobody-else-may-read";
const TOKEN: &str = "a-token-that-opens-doors";

async fn talk(server: &Server) {
    let mut mallory = V1Client::connect(server.http()).await;
    let token = Some(Token(TOKEN.into()));
    let hello = Request::Hello { name: None, token, features: vec![], resume: None };
    mallory.refused(&hello).await;
    let (mut ada, _) = V1Client::hello(server.http(), "Ada").await;
    ada.join("lobby", 0).await;
    ada.say("lobby", BODY).await;
    ada.refused(&message("elsewhere", None, BODY)).await;
    // A request's id may hold what turns the direction of writing, and is cut at no line's end.
    let turned = "{\"type\":\"ping\",\"id\":\"x\u{202e}\u{2028}y\"}";
    ada.request_text(turned, "x\u{202e}\u{2028}y").await;
    // These are no names; the texts that say so must not break the line, either.
    for room in ["a\\u001b[31m", "a\\nFAKE", "\\u202ea"] {
        let join = format!(r#"{{"type":"join","id":"j","room":"{room}"}}"#);
        assert!(matches!(ada.request_text(&join, "j").await, ServerFrame::Error(_)));
    }
    ada.request_text(&format!(r#"{{"type":"\nFAKE{BODY}","id":"t"}}"#), "t").await;
    let mut bob = BasicClient::connect(server.http(), "Bob").await;
    bob.join("lobby").await;
    bob.say(BODY).await;
    ada.next_entry().await;
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("Authorization", bearer.as_str())];
    let query = ("?username=x%1b%5b31m%0aFAKE", None);
    let refused = Socket::open_with(server.http(), query, &headers).await;
    assert_eq!(refused.err(), Some(400));
    get(server.http(), &format!("/nothing?{BODY}")).await;
}

#[tokio::test]
async fn a_log_at_its_finest_has_no_text_no_token_and_no_broken_line() {
    let home = Home::default();
    let spec = Spec::default().flag("--log-level", "trace").flag("--trace-sample", "1");
    let server = Server::start(&home, &spec).await;
    talk(&server).await;
    server.stop().await;
    let log = home.stderr();
    assert!(log.contains("request"), "there are lines: {log}");
    for secret in [BODY, TOKEN] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    let bad = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{2028}');
    assert!(!log.contains(bad), "control characters are escaped");
    for line in log.lines() {
        assert!(line.starts_with("20") && !line.starts_with("FAKE"), "no line of its own: {line}");
    }
    let spans: Vec<&str> = log.lines().filter(|line| line.contains(": close time")).collect();
    let span =
        |parts: &[&str]| spans.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(span(&["type=\"hello\"", "session=", "reply=\"welcome\""]), "{spans:#?}");
    assert!(span(&["type=\"join\"", "room=lobby", "reply=\"joined\"", "id=2"]), "{spans:#?}");
    assert!(span(&["type=\"message\"", "room=lobby", "reply=\"ack\""]), "{spans:#?}");
    assert!(span(&["type=\"message\"", "room=elsewhere", "reply=\"not_member\""]), "{spans:#?}");
    assert!(span(&["type=\"ping\"", "id=x\\u{202e}\\u{2028}y", "reply=\"pong\""]), "{spans:#?}");
}

#[tokio::test]
async fn a_token_that_lets_in_is_not_in_the_log_either() {
    let home = Home::default();
    let file = home.data().with_file_name("secret");
    let secret = "a secret of more than 32 bytes, for tests";
    std::fs::write(&file, secret).expect("a file");
    let mut spec = Spec::default().flag("--log-level", "trace").flag("--trace-sample", "1");
    let file = file.to_str().expect("a plain path");
    for (flag, value) in [
        ("--auth", "jwt"),
        ("--jwt-secret-file", file),
        ("--jwt-issuer", "us"),
        ("--jwt-audience", "chat"),
    ] {
        spec = spec.flag(flag, value);
    }
    let server = Server::start(&home, &spec).await;
    let key = SigningKey::secret(secret.as_bytes(), Hmac::Sha256).expect("long enough");
    let token = TokenSpec {
        issuer: "us".into(),
        audience: "chat".into(),
        user: "ada".into(),
        lifetime: Duration::from_secs(60),
        ..TokenSpec::default()
    };
    let token = token.sign(&key).expect("a token");
    let mut ada = V1Client::connect(server.http()).await;
    let credentials = Some(Token(token.as_str().into()));
    let hello = Request::Hello { name: None, token: credentials, features: vec![], resume: None };
    assert!(matches!(ada.request(&hello).await, ServerFrame::Welcome(_)));
    ada.join("lobby", 0).await;
    ada.request(&Request::Auth { token: Token(token.as_str().into()) }).await;
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let bob = Socket::open_with(server.http(), ("", None), &headers).await.expect("it is let in");
    bob.close().await;
    // One that is refused is as secret: it may be only too early.
    let signature = token.rsplit('.').next().expect("three parts");
    let mut late = V1Client::connect(server.http()).await;
    let wrong = Some(Token(format!("{token}x").into()));
    late.refused(&Request::Hello { name: None, token: wrong, features: vec![], resume: None })
        .await;
    server.stop().await;
    let log = home.stderr();
    assert!(log.contains("a token is refused"), "{log}");
    for part in [signature, secret, "eyJ"] {
        assert!(!log.contains(part), "{part} is in the log");
    }
}

#[tokio::test]
async fn one_of_so_many_requests_has_a_span() {
    for (sample, spans) in [("0", 0), ("1/4", 3)] {
        let home = Home::default();
        let server = Server::start(&home, &Spec::default().flag("--trace-sample", sample)).await;
        let (mut ada, _) = V1Client::hello(server.http(), "Ada").await;
        for _ in 0..13 {
            ada.request(&Request::Ping).await;
        }
        server.stop().await;
        let log = home.stderr();
        let closed = log.lines().filter(|line| line.contains("reply=\"pong\"")).count();
        assert_eq!(closed, spans, "{log}");
    }
}

#[tokio::test]
async fn the_metrics_of_a_server_are_where_it_says() {
    let home = Home::default();
    let server = Server::start(&home, &Spec::default().metrics()).await;
    let (mut ada, _) = V1Client::member(server.http(), "Ada", "lobby").await;
    ada.say("lobby", "hi").await;
    let delivered = "chat_deliveries_total{dialect=\"chat.v1\"}";
    eventually("the delivery", async || {
        (Scrape::of(server.metrics()).await.value(delivered) == 1.0).then_some(())
    })
    .await;
    assert_eq!(get(server.http(), "/metrics").await.0, 404);
    assert_eq!(get(server.metrics(), "/readyz").await, (200, "ready\n".to_owned()));
    server.stop().await;
}
