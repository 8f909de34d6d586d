//! Hosts and origins as attackers spell them, over real sockets.
mod support;

use chat_tokio::accept::HttpLimits;
use chat_tokio::http::{Hosts, HttpState, Origins, Page};
use support::{Server, UPGRADE, connect, exchange, header, serve, state, status};

/// A server that is called `chat.example`, for the pages of that host or of listed origins.
async fn server(origins: Origins) -> Server {
    let hosts = Hosts::Listed(vec!["chat.example".into()]).into();
    let state = HttpState { hosts, origins: origins.into(), ..state() };
    serve(state, Page::Embedded, HttpLimits::default()).await
}

/// Sends a request as it is; lines end with a line feed here.
async fn ask(server: &Server, head: &str) -> String {
    let request = head.replace('\n', "\r\n") + "\r\n";
    exchange(&mut connect(server).await, request.as_bytes()).await
}

#[tokio::test]
async fn no_spelling_of_another_host_is_taken() {
    let server = server(Origins::SameHost).await;
    for good in ["chat.example", "chat.example:8080", "Chat.Example", "[::1]:80", "127.0.0.1"] {
        let answer = ask(&server, &format!("GET / HTTP/1.1\nHost: {good}\n")).await;
        assert_eq!(status(&answer), 200, "{good}: {answer}");
    }
    for bad in [
        "chat.example.evil.example",
        "evilchat.example",
        "evil.chat.example",
        "chat.example.",
        "chat.example:80:80",
        "chat.example:",
        "chat.example:x",
        "chat.example@evil.example",
        "evil.example@chat.example",
        "chat.example,evil.example",
        "chat.example evil.example",
        "chat.example/",
        "xn--cht-hoa.example",
        "127.0.0.1.evil.example",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "[::1%25lo]",
        "[::1].evil.example",
        "::1",
        "",
    ] {
        for path in ["/", "/ws", "/index.html"] {
            let answer = ask(&server, &format!("GET {path} HTTP/1.1\nHost: {bad}\n")).await;
            assert!(matches!(status(&answer), 400 | 421), "{bad} {path}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_request_has_one_host() {
    let server = server(Origins::SameHost).await;
    for (head, expected) in [
        ("GET / HTTP/1.1\n", 400),
        ("GET / HTTP/1.1\nHost: chat.example\nHost: chat.example\n", 400),
        ("GET / HTTP/1.1\nHost: chat.example\nHost: evil.example\n", 400),
        ("GET / HTTP/1.0\n", 400),
        ("GET / HTTP/1.0\nHost: chat.example\n", 200),
        // The target can name a host of its own.
        ("GET http://chat.example/ HTTP/1.1\nHost: chat.example\n", 200),
        ("GET http://CHAT.example/ HTTP/1.1\nHost: chat.example\n", 200),
        ("GET http://evil.example/ HTTP/1.1\nHost: chat.example\n", 400),
        ("GET http://evil.example/ HTTP/1.1\nHost: evil.example\n", 421),
        ("GET http://chat.example/ HTTP/1.1\nHost: evil.example\n", 400),
        ("GET http://chat.example@evil.example/ HTTP/1.1\nHost: chat.example\n", 400),
        ("GET http://evil.example@chat.example/ HTTP/1.1\nHost: chat.example\n", 400),
        ("GET http://chat.example:81/ HTTP/1.1\nHost: chat.example\n", 400),
        ("GET http://evil.example/ HTTP/1.0\n", 400),
        ("CONNECT evil.example:80 HTTP/1.1\nHost: chat.example\n", 400),
        ("CONNECT chat.example:80 HTTP/1.1\nHost: chat.example:80\n", 404),
        ("OPTIONS * HTTP/1.1\nHost: evil.example\n", 421),
        ("OPTIONS * HTTP/1.1\nHost: chat.example\n", 404),
    ] {
        let answer = ask(&server, head).await;
        assert_eq!(status(&answer), expected, "{head}{answer}");
    }
}

#[tokio::test]
async fn no_spelling_of_another_origin_connects() {
    let same = server(Origins::SameHost).await;
    let listed = server(Origins::Listed(vec!["https://chat.example".parse().unwrap()])).await;
    for (origin, same_host, in_list) in [
        ("", 101, 101),
        ("Origin: https://chat.example\n", 101, 101),
        ("Origin: https://chat.example:443\n", 101, 101),
        ("Origin: HTTPS://Chat.Example\n", 101, 101),
        // Behind a proxy that ends TLS the scheme is not known.
        ("Origin: http://chat.example\n", 101, 403),
        ("Origin: https://chat.example:8443\n", 403, 403),
        ("Origin: https://chat.example.\n", 403, 403),
        ("Origin: https://chat.example.evil.example\n", 403, 403),
        ("Origin: https://evilchat.example\n", 403, 403),
        ("Origin: https://evil.chat.example\n", 403, 403),
        ("Origin: https://chat.example@evil.example\n", 403, 403),
        ("Origin: https://evil.example@chat.example\n", 403, 403),
        ("Origin: https://chat.example/\n", 403, 403),
        ("Origin: https://chat.example/.evil.example\n", 403, 403),
        ("Origin: https://chat.example\\.evil.example\n", 403, 403),
        ("Origin: https://chat.example#.evil.example\n", 403, 403),
        ("Origin: https://chat.example evil.example\n", 403, 403),
        ("Origin: https://evil.example https://chat.example\n", 403, 403),
        ("Origin: https://xn--cht-hoa.example\n", 403, 403),
        ("Origin: https://ch\u{430}t.example\n", 403, 403),
        ("Origin: ftp://chat.example:80\n", 403, 403),
        ("Origin: file://\n", 403, 403),
        ("Origin: chat.example\n", 403, 403),
        ("Origin: null\n", 403, 403),
        ("Origin: NULL\n", 403, 403),
        ("Origin:\n", 403, 403),
        ("Origin: https://chat.example\nOrigin: https://chat.example\n", 400, 400),
        ("Origin: https://chat.example\norigin: https://evil.example\n", 400, 400),
    ] {
        for (server, expected) in [(&same, same_host), (&listed, in_list)] {
            let upgrade = UPGRADE.replace("\r\n", "\n");
            let head = format!("GET /ws HTTP/1.1\nHost: chat.example\n{origin}{upgrade}");
            let answer = ask(server, &head).await;
            assert_eq!(status(&answer), expected, "{origin}{answer}");
        }
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let server = server(Origins::SameHost).await;
    let evil = UPGRADE.replace("\r\n", "\n") + "Origin: https://evil.example\n";
    for (head, expected) in [
        ("GET / HTTP/1.1\nHost: chat.example\n", 200),
        ("GET /nothing HTTP/1.1\nHost: chat.example\n", 404),
        ("POST / HTTP/1.1\nHost: chat.example\n", 405),
        ("POST /ws HTTP/1.1\nHost: chat.example\n", 405),
        ("GET /ws HTTP/1.1\nHost: chat.example\n", 426),
        (&format!("GET /ws HTTP/1.1\nHost: chat.example\n{evil}"), 403),
        ("GET / HTTP/1.1\nHost: evil.example\n", 421),
        ("GET / HTTP/1.1\n", 400),
        ("GET /healthz HTTP/1.1\nHost: evil.example\n", 200),
        ("POST /healthz HTTP/1.1\nHost: evil.example\n", 405),
        ("GET /readyz HTTP/1.1\nHost: evil.example\n", 503),
    ] {
        let answer = ask(&server, head).await;
        assert_eq!(status(&answer), expected, "{head}{answer}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(header(&answer, name), Some(value), "{name}: {head}{answer}");
        }
        let policy = header(&answer, "content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'"), "{head}{answer}");
        assert!(policy.contains("frame-ancestors 'none'"), "{head}{answer}");
        assert_eq!(header(&answer, "server"), None, "{head}{answer}");
        assert_eq!(header(&answer, "x-powered-by"), None, "{head}{answer}");
    }
}
