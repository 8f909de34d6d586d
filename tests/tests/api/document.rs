//! The document that describes the API, held against what it answers.
use std::collections::BTreeSet;

use chat_tests::client::{ApiClient, V1Client};
use serde_json::{Value, json};

use crate::support::{Served, served};

/// Every path and method there is.
const ROUTES: &[&str] = &[
    "delete /v1/bans",
    "get /v1/bans",
    "get /v1/rooms",
    "get /v1/rooms/{room}",
    "get /v1/rooms/{room}/history",
    "get /v1/rooms/{room}/members",
    "get /v1/sessions",
    "get /v1/stats",
    "get /v1/users/{user}/history",
    "get /v1/users/{user}/sessions",
    "post /v1/bans",
    "post /v1/close",
    "post /v1/drain",
    "post /v1/reload",
    "post /v1/revoke",
    "post /v1/rooms/{room}/kick",
    "post /v1/rooms/{room}/messages",
    "post /v1/users/{user}/messages",
];

async fn document(api: &ApiClient) -> Value {
    api.get("/openapi.json").await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_names_every_route() {
    let Served { server: _server, api, .. } = served(1);
    let document = document(&api).await;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let mut routes = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            routes.insert(format!("{method} {path}"));
            assert!(operation["summary"].is_string(), "{method} {path} says what it does");
            assert!(operation["responses"]["default"].is_object(), "{method} {path}");
        }
    }
    assert_eq!(routes, ROUTES.iter().map(|route| (*route).to_owned()).collect());
    assert_eq!(document["security"], json!([{"key": []}]));
    assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    // Each of them is there, and wants a key.
    let nobody = ApiClient::authorized(api.address(), "");
    for route in ROUTES {
        let (method, path) = route.split_once(' ').expect("two words");
        let path = path.replace("{room}", "lobby").replace("{user}", "ada");
        let answer = nobody.ask(&method.to_uppercase(), &path, &[], "").await;
        let _ = answer.problem(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_has_the_shape_that_it_states() {
    let Served { server: _server, chat, api } = served(2);
    let (_ada, _) = V1Client::member(chat, "ada", "lobby").await;
    let (mut bob, _) = V1Client::member(chat, "bob", "other").await;
    bob.say("other", "hi").await;
    let document = document(&api).await;
    for (route, path, body, status) in [
        (
            "post /v1/rooms/{room}/messages",
            "/v1/rooms/lobby/messages",
            Some(json!({"content": "hi", "key": "k"})),
            201,
        ),
        (
            "post /v1/rooms/{room}/messages",
            "/v1/rooms/lobby/messages",
            Some(json!({"content": "hi", "key": "k"})),
            200,
        ),
        (
            "post /v1/rooms/{room}/messages",
            "/v1/rooms/lobby/messages",
            Some(json!({"content": "ho", "key": "k"})),
            409,
        ),
        (
            "post /v1/users/{user}/messages",
            "/v1/users/ada/messages",
            Some(json!({"content": "hi", "reply_to": 1})),
            201,
        ),
        ("get /v1/users/{user}/history", "/v1/users/ada/history", None, 200),
        ("get /v1/rooms", "/v1/rooms", None, 200),
        ("get /v1/rooms", "/v1/rooms?limit=1", None, 200),
        ("get /v1/rooms/{room}", "/v1/rooms/lobby", None, 200),
        ("get /v1/rooms/{room}/history", "/v1/rooms/other/history", None, 200),
        ("get /v1/rooms/{room}/members", "/v1/rooms/lobby/members", None, 200),
        ("get /v1/sessions", "/v1/sessions?limit=1", None, 200),
        ("get /v1/users/{user}/sessions", "/v1/users/ada/sessions", None, 200),
        ("post /v1/bans", "/v1/bans", Some(json!({"user": "x", "room": "r", "seconds": 9})), 201),
        ("post /v1/bans", "/v1/bans", Some(json!({"user": "y"})), 201),
        ("get /v1/bans", "/v1/bans", None, 200),
        ("get /v1/stats", "/v1/stats", None, 200),
        ("post /v1/reload", "/v1/reload", None, 501),
        ("get /v1/sessions", "/v1/sessions?limit=0", None, 400),
    ] {
        let answer = match body {
            Some(body) => api.post(path, &body).await,
            None if route.starts_with("post") => api.post(path, &json!({})).await,
            None => api.get(path).await,
        };
        assert_eq!(answer.status, status, "{route}: {}", answer.text);
        let (method, template) = route.split_once(' ').expect("two words");
        let responses = &document["paths"][template][method]["responses"];
        let response = responses.get(status.to_string()).unwrap_or(&responses["default"]);
        let kind = answer.headers["content-type"].split(';').next().expect("a type").to_owned();
        let schema = &response["content"][&kind]["schema"];
        assert!(schema.is_object(), "{route} {status} {kind}: {response}");
        if let Err(why) = fits(&document, schema, &answer.body) {
            panic!("{route} {status}: {why}\n{}", answer.text);
        }
    }
}

/// Tells whether a value has the shape of a schema. What the schema does not name is not allowed.
fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.strip_prefix('#').ok_or("a reference elsewhere")?;
        let schema = document.pointer(pointer).ok_or(format!("no {name}"))?;
        return fits(document, schema, value);
    }
    if let Some(any) = schema["oneOf"].as_array() {
        let one = any.iter().any(|schema| fits(document, schema, value).is_ok());
        return if one { Ok(()) } else { Err(format!("{value} is none of {any:?}")) };
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&kind) {
        return Err(format!("{value} is no {kinds:?}"));
    }
    match value {
        Value::Array(values) => {
            values.iter().try_for_each(|value| fits(document, &schema["items"], value))
        }
        Value::Object(fields) => {
            let required = schema["required"].as_array().into_iter().flatten();
            for name in required.filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    return Err(format!("`{name}` is missing in {value}"));
                }
            }
            let named = &schema["properties"];
            let others = &schema["additionalProperties"];
            for (name, value) in fields {
                match (named.get(name), others.is_object()) {
                    (Some(schema), _) => fits(document, schema, value)?,
                    (None, true) => fits(document, others, value)?,
                    // An object without any properties is said to be free.
                    (None, false) if named.is_null() => {}
                    (None, false) => return Err(format!("`{name}` is not named")),
                }
            }
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

#[test]
fn the_check_refuses_what_does_not_fit() {
    let document = json!({"s": {"type": "object", "required": ["a"], "properties": {
        "a": {"type": "integer"}, "b": {"type": ["array", "null"], "items": {"type": "string"}}}}});
    let schema = json!({"$ref": "#/s"});
    assert_eq!(fits(&document, &schema, &json!({"a": 1, "b": ["x"]})), Ok(()));
    for wrong in [json!({}), json!({"a": "1"}), json!({"a": 1, "b": [1]}), json!({"a": 1, "c": 1})]
    {
        assert!(fits(&document, &schema, &wrong).is_err(), "{wrong}");
    }
}
