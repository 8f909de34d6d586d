//! The HTTP part over real sockets.
mod support;

use std::sync::Arc;
use std::time::Duration;

use chat_tokio::accept::{HttpLimits, join_reuseport, listen_reuseport, serve_http};
use chat_tokio::http::{CONTENT_SECURITY_POLICY_VALUE, Hosts, Origins, Page, Ready, router};
use chat_tokio::server::attach::{Attach, AttachError, NewConnection, Refused};
use support::{
    Server, UPGRADE, close_code, connect, default_server, exchange, get, header, read_frame, serve,
    state, status, websocket, within,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn upgrade(server: &Server, path: &str, more: &str) -> String {
    get(server, path, &format!("{UPGRADE}{more}")).await
}

#[tokio::test]
async fn only_listed_origins_connect() {
    let listed = Origins::Listed(vec!["https://good".parse().unwrap()]);
    let state = chat_tokio::http::HttpState { origins: listed.into(), ..state() };
    let server = serve(state, Page::Embedded, HttpLimits::default()).await;
    for (origin, expected) in [
        ("", 101),
        ("Origin: https://good\r\n", 101),
        ("Origin: https://evil\r\n", 403),
        ("Origin: https://good.evil.com\r\n", 403),
        ("Origin: https://evilgood.com\r\n", 403),
        ("Origin: http://good\r\n", 403),
        ("Origin: https://good:444\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: https://good\r\nOrigin: https://good\r\n", 400),
    ] {
        let answer = upgrade(&server, "/ws", origin).await;
        assert_eq!(status(&answer), expected, "{origin}{answer}");
        assert!(expected != 403 || answer.contains("--allow-origin"), "{answer}");
    }
}

#[tokio::test]
async fn the_same_host_connects_by_default() {
    let server = default_server().await;
    let own = format!("Origin: http://{}\r\n", server.address);
    assert_eq!(status(&upgrade(&server, "/ws", &own).await), 101);
    assert_eq!(status(&upgrade(&server, "/ws", "Origin: http://127.0.0.1\r\n").await), 403);
}

#[tokio::test]
async fn a_name_that_is_not_the_servers_is_refused() {
    let hosts = Hosts::Listed(vec!["chat.example".into()]).into();
    let listed = serve(
        chat_tokio::http::HttpState { hosts, ..state() },
        Page::Embedded,
        HttpLimits::default(),
    )
    .await;
    let default = default_server().await;
    for (host, path, by_default, with_list) in [
        ("attacker.example", "/", 421, 421),
        ("attacker.example", "/ws", 421, 421),
        ("attacker.example", "/healthz", 200, 200),
        ("attacker.example", "/readyz", 503, 503),
        ("chat.example:80", "/", 421, 200),
        ("CHAT.example", "/", 421, 200),
        ("localhost:1", "/", 200, 200),
        ("10.1.2.3", "/", 200, 200),
        ("[2001:db8::1]:80", "/", 200, 200),
    ] {
        for (server, expected) in [(&default, by_default), (&listed, with_list)] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let answer = exchange(&mut connect(server).await, request.as_bytes()).await;
            assert_eq!(status(&answer), expected, "{host} {path}");
            assert!(expected != 421 || answer.contains("--allow-host"), "{answer}");
        }
    }
}

#[tokio::test]
async fn the_handshake_negotiates_dialect_and_name() {
    let server = default_server().await;
    for (path, more, protocol, hello) in [
        ("/ws", "", None, "Basic anonymous"),
        ("/ws?username=", "", None, "Basic anonymous"),
        ("/ws?username=ada%20%C3%A9&x=1", "", None, "Basic ada é"),
        ("/ws", "Sec-WebSocket-Protocol: other\r\n", None, "Basic anonymous"),
        ("/ws?username=~", "Sec-WebSocket-Protocol: x, chat.v1\r\n", Some("chat.v1"), "V1 -"),
    ] {
        let mut stream = connect(&server).await;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{UPGRADE}{more}\r\n", server.address);
        let answer = exchange(&mut stream, request.as_bytes()).await;
        assert_eq!(status(&answer), 101, "{answer}");
        assert_eq!(header(&answer, "sec-websocket-protocol"), protocol);
        assert_eq!(header(&answer, "sec-websocket-extensions"), None);
        assert_eq!(header(&answer, "server"), None);
        let accept = header(&answer, "sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "RFC 6455 §1.3");
        assert_eq!(read_frame(&mut stream).await, Some((0x81, hello.into())));
    }
    let answer = upgrade(&server, "/ws?username=~root", "").await;
    assert_eq!(status(&answer), 400);
    assert!(answer.contains("reserved"), "{answer}");
}

#[tokio::test]
async fn a_frame_that_came_with_the_handshake_is_not_lost() {
    let server = default_server().await;
    let mut stream = connect(&server).await;
    let mut request =
        format!("GET /ws HTTP/1.1\r\nHost: {}\r\n{UPGRADE}\r\n", server.address).into_bytes();
    request.extend(support::frame(0x81, b"early"));
    assert_eq!(status(&exchange(&mut stream, &request).await), 101);
    read_frame(&mut stream).await.unwrap();
    assert_eq!(read_frame(&mut stream).await, Some((0x81, b"early".to_vec())));
}

#[tokio::test]
async fn a_bad_handshake_is_refused_with_its_reason() {
    let server = default_server().await;
    let without = |part: &str| {
        UPGRADE.split_inclusive("\r\n").filter(|line| !line.starts_with(part)).collect::<String>()
    };
    let key = |key: &str| format!("{}Sec-WebSocket-Key: {key}\r\n", without("Sec-WebSocket-Key"));
    let version = without("Sec-WebSocket-Version") + "Sec-WebSocket-Version: 8\r\n";
    for (headers, expected) in [
        (String::new(), 426),
        (without("Upgrade"), 426),
        (without("Connection"), 400),
        (without("Sec-WebSocket-Version"), 426),
        (without("Sec-WebSocket-Key"), 400),
        (key("dGhlIHNhbXBsZSBub25jZQ="), 400),
        (key("dGhlIHNhbXBsZSBub25jZR=="), 400),
        (key("dGhlIHNhbXBsZSBub25j"), 400),
        (key("dGhlIHNhbXBsZSBub25jZ!=="), 400),
        (version, 426),
    ] {
        let answer = get(&server, "/ws", &headers).await;
        assert_eq!(status(&answer), expected, "{headers}{answer}");
    }
    let answer = get(&server, "/ws", &without("Sec-WebSocket-Version")).await;
    assert_eq!(header(&answer, "sec-websocket-version"), Some("13"));
    let post =
        format!("POST /ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}Content-Length: 0\r\n\r\n");
    assert_eq!(status(&exchange(&mut connect(&server).await, post.as_bytes()).await), 405);
}

struct Refuses(AttachError, bool);

impl Attach for Refuses {
    fn attach(&self, connection: NewConnection) -> Result<(), Refused> {
        Err(Refused { why: self.0, connection })
    }

    fn would_attach(&self) -> Result<(), AttachError> {
        if self.1 { Err(self.0) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_full_server_says_so() {
    let full =
        |early| chat_tokio::http::HttpState::new(Arc::new(Refuses(AttachError::Full, early)));
    let server = serve(full(true), Page::None, HttpLimits::default()).await;
    assert_eq!(status(&upgrade(&server, "/ws", "").await), 503);
    let server = serve(full(false), Page::None, HttpLimits::default()).await;
    let mut stream = connect(&server).await;
    let request = format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n");
    assert_eq!(status(&exchange(&mut stream, request.as_bytes()).await), 101);
    assert_eq!(close_code(&mut stream).await, Some(4101));
}

#[tokio::test]
async fn health_and_readiness() {
    let state = state();
    let server = serve(state.clone(), Page::Embedded, HttpLimits::default()).await;
    for (ready, code, body) in [
        (None, 503, "starting"),
        (Some(Ready::Ready), 200, "ready"),
        (Some(Ready::Draining), 503, "draining"),
    ] {
        if let Some(ready) = ready {
            state.readiness.set(ready);
        }
        let answer = get(&server, "/readyz", "").await;
        assert!(status(&answer) == code && answer.contains(body), "{answer}");
        assert_eq!(status(&get(&server, "/healthz", "").await), 200);
    }
}

#[tokio::test]
async fn the_page_comes_with_its_policy_and_a_tag() {
    let server = default_server().await;
    let answer = get(&server, "/", "").await;
    assert_eq!(status(&answer), 200);
    for (name, value) in [
        ("content-security-policy", CONTENT_SECURITY_POLICY_VALUE),
        ("content-type", "text/html; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cache-control", "no-cache"),
    ] {
        assert_eq!(header(&answer, name), Some(value), "{name}");
    }
    assert_eq!(header(&answer, "server"), None);
    let tag = header(&answer, "etag").unwrap();
    let again = get(&server, "/", &format!("If-None-Match: \"x\", W/{tag}\r\n")).await;
    assert_eq!(status(&again), 304);
    assert!(again.ends_with("\r\n\r\n"));
    assert_eq!(status(&get(&server, "/", "If-None-Match: \"x\"\r\n").await), 200);
    let mut stream = connect(&server).await;
    let head = exchange(&mut stream, b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((status(&head), header(&head, "etag")), (200, Some(tag)));
    let post = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(status(&exchange(&mut stream, post).await), 405, "on the same connection");
    assert_eq!(status(&get(&server, "/nothing.js", "").await), 404);
}

const TRAVERSALS: &[&str] = &[
    "/../",
    "/..%2f",
    "/%2e%2e/",
    "//etc/passwd",
    "/\\..\\",
    "/%00",
    "/static/%252e",
    "/.",
    "/../Cargo.toml",
    "/..%2fCargo.toml",
    "/%2e%2e/Cargo.toml",
    "/x/../../Cargo.toml",
    "/..%5cCargo.toml",
    "/index.html%00.js",
    "/tests/",
    "/.hidden",
    "/sub/%2e%2e/index.html",
];

#[tokio::test]
async fn no_path_leads_out_of_the_page() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.html"), "mine").unwrap();
    std::fs::write(folder.path().join(".hidden"), "secret").unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join("link")).unwrap();
    for page in [Page::Embedded, Page::Folder(folder.path().into())] {
        let server = serve(state(), page, HttpLimits::default()).await;
        for path in TRAVERSALS.iter().chain(&["/link"]) {
            let code = status(&get(&server, path, "").await);
            assert!(code == 404 || code == 400, "{path}: {code}");
        }
    }
}

#[tokio::test]
async fn a_users_own_page_is_served_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| std::fs::write(folder.path().join(name), name).unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    for name in ["index.html", "sub/index.html", "a b.mjs", "x.wasm", "f.woff2"] {
        write(name);
    }
    let server = serve(state(), Page::Folder(folder.path().into()), HttpLimits::default()).await;
    for (path, body, kind) in [
        ("/", "index.html", "text/html"),
        ("/sub/", "sub/index.html", "text/html"),
        ("/a%20b.mjs", "a b.mjs", "application/javascript"),
        ("/x.wasm", "x.wasm", "application/wasm"),
        ("/f.woff2", "f.woff2", "font/woff2"),
    ] {
        let answer = get(&server, path, "").await;
        assert!(status(&answer) == 200 && answer.ends_with(body), "{path}: {answer}");
        assert_eq!(header(&answer, "content-type"), Some(kind), "{path}");
        assert_eq!(header(&answer, "content-security-policy"), None);
    }
    write("late.js");
    assert_eq!(status(&get(&server, "/late.js", "").await), 200);
    assert_eq!(status(&upgrade(&server, "/ws", "").await), 101);
}

#[tokio::test]
async fn slow_heads_are_cut_off_by_the_deadline() {
    let limits = HttpLimits { head_time: Duration::from_millis(200), ..HttpLimits::default() };
    let server = serve(state(), Page::Embedded, limits).await;
    for begin in
        ["", "GET / HTTP/1.1\r\nHost: localhost\r\nX-", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"]
    {
        let mut stream = connect(&server).await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The end of the stream is what is waited for.
        let _ = within(stream.read_to_end(&mut answer)).await;
    }
    // A handshake in time is not bound by it afterwards.
    let mut stream = websocket(&server).await;
    let mut silent = connect(&server).await;
    assert_eq!(within(silent.read(&mut [0])).await.unwrap_or(0), 0);
    stream.write_all(&support::frame(0x81, b"still here")).await.unwrap();
    assert_eq!(read_frame(&mut stream).await, Some((0x81, b"still here".to_vec())));
}

#[tokio::test]
async fn stopping_ends_idle_connections_but_no_websocket() {
    // Far beyond the patience of a test, so that it is not the deadline that ends them.
    let limits = HttpLimits { head_time: Duration::from_secs(600), ..HttpLimits::default() };
    let server = serve(state(), Page::Embedded, limits).await;
    let mut socket = websocket(&server).await;
    let mut idle = connect(&server).await;
    let answer = exchange(&mut idle, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(status(&answer), 200);
    drop(server);
    assert_eq!(within(idle.read(&mut [0])).await.unwrap_or(0), 0);
    socket.write_all(&support::frame(0x81, b"still here")).await.unwrap();
    assert_eq!(read_frame(&mut socket).await, Some((0x81, b"still here".to_vec())));
}

#[tokio::test]
async fn heads_are_bounded() {
    let server = default_server().await;
    let many = "X: y\r\n".repeat(10_000);
    let long = format!("X: {}\r\n", "y".repeat(1024 * 1024));
    let spaces = format!("Sec-WebSocket-Protocol: {}\r\n", " ".repeat(64 * 1024));
    for more in [many, "X: y\r\n".repeat(80), long, spaces] {
        let code = status(&get(&server, "/ws", &more).await);
        // 0: the server closed while it was still being talked to.
        assert!(code == 431 || code == 0, "{code}");
    }
    assert_eq!(status(&get(&server, "/healthz", "").await), 200);
}

#[tokio::test]
async fn connections_beyond_the_cap_are_closed() {
    let limits = HttpLimits { connections: 2, ..HttpLimits::default() };
    let server = serve(state(), Page::Embedded, limits).await;
    // A WebSocket does not count.
    let _socket = websocket(&server).await;
    let mut kept = [connect(&server).await, connect(&server).await];
    for stream in &mut kept {
        let answer = exchange(stream, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(status(&answer), 200);
    }
    let mut third = connect(&server).await;
    assert_eq!(within(third.read(&mut [0])).await.unwrap_or(0), 0);
    let [first, _second] = kept;
    drop(first);
    within(async {
        while status(&get(&server, "/healthz", "").await) != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn a_port_is_shared_among_workers_and_with_nobody_else() {
    let any = "127.0.0.1:0".parse().unwrap();
    let listeners = listen_reuseport(any, 3).unwrap();
    let address = listeners[0].local_addr().unwrap();
    assert!(listeners.iter().all(|one| one.local_addr().unwrap() == address));
    for count in [1, 2] {
        let again = listen_reuseport(address, count).unwrap_err();
        assert_eq!(again.kind(), std::io::ErrorKind::AddrInUse, "another server of this kind");
    }
    drop(listeners);
    let other = std::net::TcpListener::bind(address).unwrap();
    let again = listen_reuseport(address, 2).unwrap_err();
    assert_eq!(again.kind(), std::io::ErrorKind::AddrInUse, "another program");
    drop(other);
    listen_reuseport(address, 2).unwrap();
}

#[test]
fn a_port_is_shared_with_a_server_that_shares_it_too() {
    let any = "127.0.0.1:0".parse().unwrap();
    let first = join_reuseport(any, 2).unwrap();
    let address = first[0].local_addr().unwrap();
    let second = join_reuseport(address, 2).unwrap();
    assert_eq!(second[1].local_addr().unwrap(), address);
    let alone = listen_reuseport(address, 2).unwrap_err();
    assert_eq!(alone.kind(), std::io::ErrorKind::AddrInUse, "it does not share");
    drop((first, second));
    let alone = listen_reuseport(address, 1).unwrap();
    let joining = join_reuseport(address, 1).unwrap_err();
    assert_eq!(joining.kind(), std::io::ErrorKind::AddrInUse, "it is not shared with");
    drop(alone);
}

/// What the kernel has accepted is answered, also if the server has not seen it when it stops.
#[tokio::test]
async fn who_waits_when_the_listener_closes_is_served() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let early: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let router = router(state(), Page::Embedded).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let stopped = std::future::ready(());
    tokio::spawn(serve_http(
        listener,
        router,
        HttpLimits::default(),
        chat_tokio::accept::Admission::default(),
        stopped,
    ));
    for stream in early {
        stream.set_nonblocking(true).unwrap();
        let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
        assert_eq!(status(&exchange(&mut stream, request.as_bytes()).await), 200);
    }
}
