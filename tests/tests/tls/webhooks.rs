//! Webhooks that go over https.
use std::net::SocketAddr;
use std::time::Duration;

use chat_tests::client::V1Client;
use chat_tests::process::{Home, Server, Spec};
use chat_tests::tls::Authority;
use chat_tests::wait::{eventually, within};
use chat_tokio::webhooks::{WebhookEvent, WebhookOptions, WebhookRetries, WebhookSecret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Someone who is told over TLS.
struct Receiver {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Receiver {
    async fn of(authority: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, acceptor: authority.acceptor() }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/hook", self.listener.local_addr().unwrap().port())
    }

    /// Takes the next event; its head and body. An error is that of the handshake.
    async fn take(&self) -> std::io::Result<String> {
        within("an attempt", async {
            let (tcp, _) = self.listener.accept().await.unwrap();
            let mut tls = self.acceptor.accept(tcp).await?;
            let mut read = Vec::new();
            while !read.ends_with(b"}}") {
                read.push(tls.read_u8().await?);
            }
            let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            tls.write_all(answer).await?;
            tls.shutdown().await?;
            Ok(String::from_utf8(read).unwrap())
        })
        .await
    }
}

fn serve(options: WebhookOptions) -> (chat_tokio::Server, SocketAddr) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = chat_tokio::Server::builder().listen(any).webhooks(options).start().unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

#[tokio::test]
async fn whom_the_authority_knows_is_told_and_nobody_else() {
    let (known, stranger) = (Authority::default(), Authority::default());
    let receiver = Receiver::of(&known).await;
    let options = |authority: &Authority| {
        let secret = WebhookSecret::parse(SECRET).unwrap();
        let options = WebhookOptions::new(&receiver.url(), secret).unwrap();
        assert!(options.is_private());
        let (retry, events) = (Duration::from_millis(1), vec![WebhookEvent::Message]);
        WebhookOptions { retry, events, roots: Some(authority.roots()), ..options }
    };
    let (server, chat) = serve(options(&known));
    let (mut ada, _) = V1Client::member(chat, "ada", "lobby").await;
    ada.say("lobby", "over TLS").await;
    let told = receiver.take().await.unwrap();
    assert!(told.starts_with("POST /hook HTTP/1.1\r\n"), "{told}");
    assert!(told.contains("webhook-signature: v1,") && told.contains("over TLS"), "{told}");
    drop(server);

    // Somebody else's certificate: not a byte of the event is sent, and eight attempts are enough.
    let (server, chat) = serve(options(&stranger));
    let (mut ada, _) = V1Client::member(chat, "ada", "lobby").await;
    ada.say("lobby", "a secret").await;
    for _ in 0..8 {
        receiver.take().await.unwrap_err();
    }
    let counts = eventually("the end of the attempts", async || {
        let counts = server.handle().totals().await.webhooks.unwrap();
        (counts.waiting == 0).then_some(counts)
    });
    let counts = counts.await;
    assert_eq!((counts.sent, counts.failed, counts.gone, counts.dropped), (0, 1, 0, 0));
    let retried = WebhookRetries { connection: 7, ..WebhookRetries::default() };
    assert_eq!(counts.retried, retried);
}

#[tokio::test]
async fn the_settings_name_the_authority_and_the_log_says_what_is_wrong() {
    let (home, known, stranger) = (Home::default(), Authority::default(), Authority::default());
    let receiver = Receiver::of(&known).await;
    let file = |name: &str, text: &str| {
        let path = home.data().with_file_name(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let spec = Spec::default().flag("--webhook-url", &receiver.url());
    let spec = spec.flag("--webhook-secret-file", &file("secret", SECRET));
    let spec = spec.flag("--webhook-events", "message");
    let good = spec.clone().flag("--webhook-ca", &file("good.pem", known.pem()));
    let server = Server::start(&home, &good).await;
    let (mut ada, _) = V1Client::member(server.http(), "ada", "lobby").await;
    ada.say("lobby", "over TLS").await;
    assert!(receiver.take().await.unwrap().contains("over TLS"));
    server.stop().await;
    assert!(!home.stderr().contains("WARN"), "{}", home.stderr());

    let bad = spec.flag("--webhook-ca", &file("bad.pem", stranger.pem()));
    let server = Server::start(&home, &bad).await;
    let (mut ada, _) = V1Client::member(server.http(), "ada", "lobby").await;
    ada.say("lobby", "a secret").await;
    receiver.take().await.unwrap_err();
    receiver.take().await.unwrap_err();
    let log = home.stderr();
    let told = "the webhook's receiver takes no events: they wait";
    assert!(log.contains("UnknownIssuer") && log.matches(told).count() == 1, "{log}");
    server.stop().await;
}
