//! Who is silent instead of saying `hello` keeps nobody out.
use std::net::SocketAddr;

use chat_proto::{DisplayName, Request, SUBPROTOCOL, ServerFrame};
use chat_tests::client::{BasicClient, LinesClient, V1Client, raw};
use chat_tests::process::{Home, Server, Spec};
use chat_tests::wait::{eventually, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, Sender};

/// Connects and says nothing; tells with which code it was closed.
async fn silent(server: SocketAddr, ends: &Sender<u16>) {
    let upgrade = raw::upgrade(server, "", Some(SUBPROTOCOL));
    let mut stream = within("a handshake", upgrade).await.expect("it is accepted");
    let ends = ends.clone();
    tokio::spawn(async move {
        while let Ok((opcode, payload)) = raw::read_frame_untimed(&mut stream).await {
            if let (raw::CLOSE, [high, low, ..]) = (opcode, &*payload) {
                // The test may be over.
                let _ = ends.try_send(u16::from_be_bytes([*high, *low]));
            }
        }
    });
}

#[tokio::test]
async fn the_oldest_that_has_not_said_hello_makes_place() {
    let home = Home::default();
    let spec = Spec::default()
        .workers(2)
        .lines()
        // No deadline makes place here.
        .flag("--handshake-timeout", "600")
        .flag("--max-connections-before-hello", "3");
    let server = Server::start(&home, &spec).await;
    let (ends, mut ended) = mpsc::channel(64);
    // Those of `basic` have nothing to say first.
    let mut pages = Vec::new();
    for n in 0..5 {
        pages.push(BasicClient::connect(server.http(), &format!("page{n}")).await);
    }
    let mut lines = LinesClient::connect(server.lines()).await;
    for _ in 0..2 {
        silent(server.http(), &ends).await;
    }
    let mut honest = Vec::new();
    for n in 0..10 {
        silent(server.http(), &ends).await;
        let mut ada = V1Client::connect(server.http()).await;
        let code = within("one to make place", ended.recv()).await;
        assert_eq!(code, Some(4101));
        let name = DisplayName::new(&format!("ada{n}")).ok();
        let hello = Request::Hello { name, token: None, features: Vec::new(), resume: None };
        let answer = ada.request(&hello).await;
        assert!(matches!(answer, ServerFrame::Welcome(_)), "{answer:?}");
        honest.push(ada);
    }
    // Nobody else was closed: neither they, nor those of `basic`.
    for ada in &mut honest {
        ada.join("lobby", 0).await;
        ada.say("lobby", "still here").await;
    }
    for (n, page) in pages.iter_mut().enumerate() {
        page.join(&format!("den{n}")).await;
    }
    lines.send(r#"{"type":"join","room":"attic"}"#).await;
    assert!(lines.next().await.is_some_and(|line| line.contains("attic")));
    assert!(ended.try_recv().is_err(), "one for each that came");
    let said = home.stderr();
    let told = said.lines().filter(|line| line.contains("that have not said hello")).count();
    assert_eq!(told, 1, "it is told once: {said}");
}

#[tokio::test]
async fn connections_that_speak_http_are_as_many_as_the_flag_says() {
    let home = Home::default();
    let spec = Spec::default().workers(1).flag("--max-http-connections", "2");
    let server = Server::start(&home, &spec).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        kept.push(asks(server.http()).await.expect("it is answered"));
    }
    assert!(asks(server.http()).await.is_none(), "it is closed");
    // Whichever ends, there is room for another one.
    kept.pop();
    eventually("a place", async || asks(server.http()).await.map(drop)).await;
}

/// Asks for something and keeps the connection; `None` if it is closed instead of answered.
async fn asks(server: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(server).await.expect("it listens");
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut bytes = [0; 12];
    within("an answer or the end", stream.read_exact(&mut bytes)).await.ok()?;
    assert_eq!(&bytes, b"HTTP/1.1 200");
    Some(stream)
}
