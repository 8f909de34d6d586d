//! Key sets that come over https.
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::{Request, ServerFrame, Token};
use chat_tests::client::V1Client;
use chat_tests::process::{Home, Server, Spec};
use chat_tests::tls::Authority;
use chat_tests::wait::within;
use chat_tokio::accept::{Admission, HttpLimits, serve_https};
use chat_tokio::auth::jwt::{Jwks, JwksSource, SigningKey, TokenSpec};
use chat_tokio::http::{HttpState, Page, router};
use tokio::net::TcpListener;

/// The public half of `ed.pem`.
const SET: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
    "kid": "k", "x": "4GKlR9mrUlXiVdfF-CTjP8QVHv7imkjpCQ34ChCwRZw"}]}"#;
const PRIVATE: &[u8] = include_bytes!("../../../chat-tokio/tests/keys/ed.pem");

/// Serves the set under a certificate of this authority; its address.
async fn serve(authority: &Authority) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("keys.json"), SET).unwrap();
    let inner = chat_tokio::Server::builder().start().unwrap();
    let state = HttpState::new(Arc::new(inner.handle()));
    let router = router(state, Page::Folder(dir.path().to_owned())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let identity = authority.identity();
    tokio::spawn(async move {
        // It lives as long as it is served.
        let _dir = dir;
        serve_https(
            listener,
            identity,
            router,
            HttpLimits::default(),
            Admission::default(),
            pending(),
        )
        .await;
    });
    format!("https://localhost:{}/keys.json", address.port())
}

#[tokio::test]
async fn a_set_counts_if_its_server_is_known() {
    let (known, stranger) = (Authority::default(), Authority::default());
    let url = serve(&known).await;
    let set = |url: &str| Jwks::new(JwksSource::new(url).unwrap());
    within("the set", set(&url).roots(known.roots()).load()).await.unwrap();

    let refused = within("a refusal", set(&url).roots(stranger.roots()).load()).await;
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("invalid peer certificate: UnknownIssuer"), "{why}");
    // The system's authorities do not know it either, and another name is another server.
    within("a refusal", set(&url).load()).await.unwrap_err();
    let named = url.replace("localhost", "[::ffff:127.0.0.1]");
    let refused = within("a refusal", set(&named).roots(known.roots()).load()).await;
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("not valid for name"), "{why}");
}

#[tokio::test]
async fn the_server_lets_in_whom_such_a_set_proves() {
    let (home, known, stranger) = (Home::default(), Authority::default(), Authority::default());
    let url = serve(&known).await;
    let file = |name: &str, text: &str| {
        let path = home.data().with_file_name(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (good, bad) = (file("good.pem", known.pem()), file("bad.pem", stranger.pem()));
    let spec = Spec::default().flag("--auth", "jwt").flag("--jwks", &url);
    let spec = spec.flag("--jwt-issuer", "us").flag("--jwt-audience", "chat");
    let trusting = Server::start(&home, &spec.clone().flag("--jwks-ca", &good)).await;
    let token = TokenSpec {
        issuer: "us".into(),
        audience: "chat".into(),
        user: "ada".into(),
        kid: Some("k".into()),
        lifetime: Duration::from_secs(600),
        ..TokenSpec::default()
    };
    let token = Token(token.sign(&SigningKey::private_pem(PRIVATE).unwrap()).unwrap().into());
    let hello = Request::Hello { name: None, token: Some(token), features: vec![], resume: None };

    let mut client = V1Client::connect(trusting.http()).await;
    match client.request(&hello).await {
        ServerFrame::Welcome(welcome) => assert_eq!(welcome.user.as_str(), "ada"),
        other => panic!("no welcome, but {other:?}"),
    }
    let wary = Server::start(&home, &spec.flag("--jwks-ca", &bad)).await;
    let mut client = V1Client::connect(wary.http()).await;
    let id = client.send(&hello).await;
    let ServerFrame::Error(error) = client.reply(&id).await else {
        panic!("a stranger is trusted")
    };
    assert_eq!(error.code, chat_proto::ErrorCode::AuthUnavailable);
    assert!(home.stderr().contains("UnknownIssuer"), "the reason is in the log");
}
