//! Who may ask, and what is answered to bad requests.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chat_tests::client::{ApiClient, JSON};
use chat_tests::process::API_KEY;
use chat_tokio::Server;
use serde_json::json;

use crate::support::{OTHER_KEY, Served, served, with_reload};

#[tokio::test(flavor = "multi_thread")]
async fn only_a_key_lets_in() {
    let served = served(1);
    let address = served.server.api_addr().expect("it listens");
    for (authorization, detail) in [
        (String::new(), "a key is wanted"),
        (format!("Bearer {}", &API_KEY[1..]), "not one of this server's"),
        (format!("Bearer {API_KEY}x"), "not one of this server's"),
        (format!("Bearer {}", API_KEY.to_uppercase()), "not one of this server's"),
        ("Bearer ".into(), "a key is wanted"),
        (format!("Basic {API_KEY}"), "a key is wanted"),
        (API_KEY.into(), "a key is wanted"),
    ] {
        let api = ApiClient::authorized(address, &authorization);
        for (method, path) in [("GET", "/v1/stats"), ("POST", "/v1/drain")] {
            let answer = api.ask(method, path, &[], "").await;
            assert!(answer.problem(401).contains(detail), "{authorization}: {}", answer.text);
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            assert!(!answer.text.contains(&API_KEY[1..]), "{}", answer.text);
        }
    }
    for authorization in [format!("bearer {API_KEY}"), format!("Bearer {OTHER_KEY}")] {
        let answer = ApiClient::authorized(address, &authorization).get("/v1/stats").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert!(answer.headers["content-security-policy"].starts_with("default-src 'none'"));
        assert_eq!(answer.headers["referrer-policy"], "no-referrer");
    }
    // The people's listener has nothing of it.
    let people = ApiClient::new(served.chat, API_KEY);
    for path in ["/v1/stats", "/openapi.json", "/admin/", "/admin/admin.js"] {
        assert_eq!(people.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_is_told_what_is_wrong() {
    let Served { server: _server, api, .. } = served(1);
    for (path, status, detail) in [
        ("/v1/nothing", 404, "nothing is served there"),
        ("/v1/rooms?limit=0", 400, "from 1 to 1000"),
        ("/v1/rooms?limit=1001", 400, "from 1 to 1000"),
        ("/v1/rooms?limit=many", 400, "limit"),
        ("/v1/rooms?limits=1", 400, "limits"),
        ("/v1/rooms?after=%20", 400, "it is empty"),
        ("/v1/rooms/~server/history", 400, "reserved"),
        ("/v1/rooms/%FF", 400, "UTF-8"),
        ("/v1/rooms/lobby/history?before=1&after=1", 400, "only one of"),
        ("/v1/rooms/lobby/history?before=9007199254740992", 400, "2^53"),
        ("/v1/rooms/@Ada", 400, "no user id follows"),
        ("/v1/users/Ada/sessions", 400, "not allowed"),
        ("/v1/users/@ada/history", 400, "not allowed"),
        ("/v1/users/ada/history?before=1&after=1", 400, "only one of"),
        ("/v1/sessions?after=x", 400, "an earlier answer"),
        ("/v1/close", 405, ""),
    ] {
        let answer = api.get(path).await;
        assert!(answer.problem(status).contains(detail), "{path}: {}", answer.text);
    }
    let long = "x".repeat(8193);
    let bad_key = "k".repeat(65);
    let too_long_a_user = format!("/v1/users/{}/messages", "u".repeat(65));
    for (path, body, status, detail) in [
        ("/v1/rooms/lobby/messages", json!({}), 422, "missing field `content`"),
        ("/v1/rooms/lobby/messages", json!({"content": ""}), 400, "empty"),
        ("/v1/rooms/lobby/messages", json!({"content": "\0"}), 400, "NUL"),
        ("/v1/rooms/lobby/messages", json!({"content": long}), 413, "8192"),
        ("/v1/rooms/lobby/messages", json!({"content": "a", "sevrice": "x"}), 422, "sevrice"),
        ("/v1/rooms/lobby/messages", json!({"content": "a", "service": "X"}), 400, "`service`"),
        ("/v1/rooms/lobby/messages", json!({"content": "a", "username": "@x"}), 422, "reserved"),
        ("/v1/rooms/lobby/messages", json!({"content": "a", "key": bad_key}), 422, "64 bytes"),
        ("/v1/rooms/~server/messages", json!({"content": "a"}), 400, "reserved"),
        ("/v1/users/Ada/messages", json!({"content": "a"}), 400, "not allowed"),
        ("/v1/users/%20/messages", json!({"content": "a"}), 400, "not allowed"),
        (&*too_long_a_user, json!({"content": "a"}), 400, "longer than 64 bytes"),
        ("/v1/users/ada/messages", json!({"content": ""}), 400, "empty"),
        ("/v1/rooms/lobby/kick", json!({}), 400, "exactly one of `user` and `session`"),
        ("/v1/rooms/lobby/kick", json!({"session": "1"}), 400, "16 hex digits"),
        ("/v1/close", json!({"user": "ada", "session": "00"}), 400, "exactly one"),
        ("/v1/revoke", json!({"token": ""}), 400, "128 bytes"),
        ("/v1/bans", json!({"user": "ada", "seconds": 0}), 400, "at least 1"),
        ("/v1/bans", json!({"user": "Ada"}), 422, "not allowed"),
        ("/v1/reload", json!({}), 501, "nothing to reload"),
    ] {
        let answer = api.post(path, &body).await;
        assert!(answer.problem(status).contains(detail), "{path} {body}: {}", answer.text);
    }
    let raw = async |headers: &[(&str, &str)], body: &str| {
        api.ask("POST", "/v1/rooms/lobby/messages", headers, body).await
    };
    assert!(raw(&[JSON], "{").await.problem(400).contains("JSON"));
    assert!(raw(&[], r#"{"content":"a"}"#).await.problem(415).contains("Content-Type"));
    let huge = format!(r#"{{"content":"{}"}}"#, "x".repeat(9 << 20));
    let _ = raw(&[JSON], &huge).await.problem(413);
    let unban = api.ask("DELETE", "/v1/bans?user=ada", &[], "").await;
    assert!(unban.problem(404).contains("no such ban"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_done_or_refused_with_its_reason() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let reload = move || {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        let result = if first { Ok("changed: rooms") } else { Err("line 3: rooms is no number") };
        std::future::ready(result.map(str::to_owned).map_err(str::to_owned))
    };
    let served = with_reload(Server::builder(), Some(Arc::new(reload)));
    let done = served.api.post("/v1/reload", &json!({})).await.ok();
    assert_eq!(done, json!({"outcome": "changed: rooms"}));
    let refused = served.api.post("/v1/reload", &json!({})).await;
    assert_eq!(refused.problem(422), "line 3: rooms is no number");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}
