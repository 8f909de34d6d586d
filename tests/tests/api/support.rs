//! A server in this process, with its API.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::{ErrorCode, Request, ServerFrame, Token};
use chat_tests::client::{ApiClient, Ending, V1Client};
use chat_tests::process::{self, API_KEY, Home, Log, Spec};
use chat_tokio::api::{ApiKeys, ApiOptions, Reload};
use chat_tokio::auth::jwt::{Hmac, Issuer, Jwt, Key, Keys, SigningKey, TokenSpec};
use chat_tokio::{Builder, Server};

/// Any port of this machine.
pub(crate) fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The other key that the API takes.
pub(crate) const OTHER_KEY: &str = "another-key-of-more-than-32-characters";

/// A server whose workers, authority and log are those of the builder.
pub(crate) struct Served {
    pub(crate) server: Server,
    pub(crate) chat: SocketAddr,
    pub(crate) api: ApiClient,
}

pub(crate) fn serve(builder: Builder) -> Served {
    with_reload(builder, None)
}

pub(crate) fn with_reload(builder: Builder, reload: Option<Arc<dyn Reload>>) -> Served {
    let keys = ApiKeys::new([API_KEY, OTHER_KEY]).expect("good keys");
    let options = ApiOptions { listen: any(), keys, reload };
    let server = builder.listen(any()).api(options).start().expect("a server");
    let chat = server.local_addr().expect("it listens");
    let api = ApiClient::new(server.api_addr().expect("it listens"), API_KEY);
    Served { server, chat, api }
}

pub(crate) fn served(workers: usize) -> Served {
    serve(Server::builder().workers(workers))
}

const SECRET: &str = "a secret of more than 32 bytes, for tests";

/// A token that allows all rooms.
pub(crate) fn token(user: &str) -> String {
    let spec = TokenSpec {
        issuer: "us".into(),
        audience: "chat".into(),
        user: user.into(),
        id: Some(format!("token-of-{user}")),
        lifetime: Duration::from_secs(600),
        ..TokenSpec::default()
    };
    let key = SigningKey::secret(SECRET.as_bytes(), Hmac::Sha256).expect("long enough");
    spec.sign(&key).expect("a token")
}

/// A server that knows its users by their tokens.
pub(crate) fn known_users(workers: usize) -> Served {
    known(Server::builder().workers(workers))
}

/// The same of any builder.
pub(crate) fn known(builder: Builder) -> Served {
    let key = Key::secret(SECRET.as_bytes(), Hmac::Sha256).expect("long enough");
    let (name, audience) = ("us".into(), "chat".into());
    let issuer = Issuer { name, audience, leeway_s: 0, keys: Keys::Fixed(vec![key]) };
    let authority = Arc::new(Jwt::new(vec![issuer]));
    serve(builder.authenticator(authority))
}

/// What a user says first.
pub(crate) fn hello(user: &str) -> Request {
    hello_with(&token(user))
}

/// What somebody says first who has this token.
pub(crate) fn hello_with(token: &str) -> Request {
    let token = Some(Token(token.into()));
    Request::Hello { name: None, token, features: vec![], resume: None }
}

/// A session of a user.
pub(crate) async fn welcomed(chat: SocketAddr, user: &str) -> V1Client {
    let mut client = V1Client::connect(chat).await;
    match client.request(&hello(user)).await {
        ServerFrame::Welcome(_) => client,
        other => panic!("no welcome, but {other:?}"),
    }
}

/// Refused at the door: why, and how the connection ends.
pub(crate) async fn refused(chat: SocketAddr, user: &str) -> (ErrorCode, Ending) {
    let mut client = V1Client::connect(chat).await;
    let error = client.refused(&hello(user)).await;
    (error.code, client.socket.ending().await)
}

/// The reference server, which knows its users and keeps its log on disk.
pub(crate) async fn process(home: &Home) -> process::Server {
    process::Server::start(home, &known_spec(home)).await
}

/// How it is started.
pub(crate) fn known_spec(home: &Home) -> Spec {
    let secret = home.data().with_file_name("secret");
    std::fs::write(&secret, SECRET).expect("a file");
    let spec = Spec::default().workers(2).log(Log::Sqlite).api();
    spec.flag("--auth", "jwt")
        .flag("--jwt-secret-file", secret.to_str().expect("a plain path"))
        .flag("--jwt-issuer", "us")
        .flag("--jwt-audience", "chat")
}
