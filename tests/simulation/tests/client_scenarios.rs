//! Runs the scenarios of `chat-proto/vectors/scenarios` against the Client. The page's client runs
//! the same files; `chat-proto/vectors/README.md` says what they mean.
use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use chat_proto::{Body, DisplayName, Key, RoomName, Seq, ServerFrame, Timestamp, Token};
use chat_state::client::{
    Action, Actions, Client, Config, Delivery, Event, LinkId, Outcome, State, Ticket,
};
use chat_state::{Mono, Now};
use serde_json::{Value, json};

#[test]
fn every_scenario_holds() {
    let mut ran = 0;
    for (path, scenario) in scenarios() {
        play(&path, &scenario);
        ran += 1;
    }
    assert!(ran >= 25, "only {ran} scenarios");
}

#[test]
fn every_scenario_says_what_it_is_about() {
    for (path, scenario) in scenarios() {
        let stem = Path::new(&path).file_stem().and_then(|stem| stem.to_str()).expect("a name");
        assert_eq!(scenario["name"], stem.replace('_', " "), "{path}");
        assert!(scenario["about"].as_str().is_some_and(|about| about.ends_with('.')), "{path}");
        let expects = list(&scenario, "steps").iter().any(|step| !list(step, "expect").is_empty());
        assert!(expects, "{path} expects nothing");
    }
}

#[test]
fn what_they_do_not_ask_for_holds() {
    more_scenarios().iter().for_each(|(path, scenario)| play(path, scenario));
}

/// What the scenarios that all clients share do not ask for.
fn more_scenarios() -> [(String, Value); 3] {
    let sends = |n: &str| {
        let send = json!({"room": "lobby", "key": n, "content": "hi", "ticket": 1});
        let id = format!("$m{n}");
        let frame = json!({"type": "message", "id": id, "room": "lobby", "key": n});
        json!({"do": {"send": send}, "expect": [{"client": frame}]})
    };
    let settled = json!({"settled": {"ticket": 1, "outcome": "acked"}});
    let ack = |n: &str, seq: u64, expect: &[&Value]| {
        let ack = json!({"type": "ack", "id": format!("$m{n}"), "room": "lobby", "seq": seq});
        json!({"server": ack, "expect": expect})
    };
    let entry = |n: &str, user: &str, seq: u64, expect: &[&Value]| {
        let entry = json!({
            "type": "message", "room": "lobby", "seq": seq, "ts": 1, "user": user, "username": user,
            "content": "hi", "key": n,
        });
        json!({"server": entry, "expect": expect})
    };
    let shown = |seq: u64| json!({"entry": {"room": "lobby", "seq": seq}});

    // As many as may be in flight, and more, one after the other.
    let mut many = in_the_lobby();
    for seq in 1..100 {
        let n = seq.to_string();
        many.push(sends(&n));
        many.push(ack(&n, seq, &[&settled]));
        many.push(entry(&n, "u_ada", seq, &[&shown(seq)]));
    }
    let mut others = in_the_lobby();
    others.push(sends("k"));
    others.push(entry("k", "u_bob", 1, &[&shown(1)]));
    others.push(ack("k", 2, &[&settled]));
    others.push(entry("k", "u_ada", 2, &[&shown(2)]));
    let mut counted = in_the_lobby();
    for attempt in [2, 3] {
        let hello = json!({"type": "hello", "resume": {"session": "s1", "attempt": attempt}});
        counted.push(json!({"closed": null}));
        counted.push(json!({"pass_ms": 1000, "expect": [{"open": true}]}));
        counted.push(json!({"opened": true, "expect": [{"client": hello}]}));
    }
    [("many requests", many), ("another user's key", others), ("connections", counted)].map(
        |(name, steps)| {
            let config = json!({"name": "Ada", "history": 50});
            (name.into(), json!({"config": config, "random": 0.5, "steps": steps}))
        },
    )
}

/// The beginning of a scenario: `Ada` is the only member of an empty room.
fn in_the_lobby() -> Vec<Value> {
    let hello = json!({"type": "hello", "id": "$hello"});
    let welcome = json!({
        "type": "welcome", "id": "$hello", "session": "s1", "user": "u_ada", "name": "Ada",
        "resumed": false, "durability": "disk", "heartbeat_ms": 25000, "limits": {},
        "features": [],
    });
    let join = json!({"type": "join", "id": "$join", "room": "lobby"});
    let joined = json!({
        "type": "joined", "id": "$join", "room": "lobby", "epoch": "e1", "head": 0,
        "members": {"count": 1, "members": [{"user": "u_ada", "username": "Ada"}]}, "events": [],
        "has_more_before": false,
    });
    vec![
        json!({"do": {"start": true}, "expect": [{"open": true}]}),
        json!({"opened": true, "expect": [{"client": hello}]}),
        json!({"server": welcome, "state": "online"}),
        json!({"do": {"join": "lobby"}, "expect": [{"client": join}]}),
        json!({"server": joined, "expect": [{"joined": {"room": "lobby"}}]}),
    ]
}

/// The runner itself is put to the test: a scenario that is wrong has to fail.
#[test]
fn a_wrong_expectation_fails() {
    for wrong in [
        json!([{"do": {"start": true}}]),
        json!([{"do": {"start": true}, "expect": [{"open": true}, {"open": true}]}]),
        json!([{"do": {"start": true}, "expect": [{"open": true}], "state": "online"}]),
        json!([
            {"do": {"start": true}, "expect": [{"open": true}]},
            {"opened": true, "expect": [{"client": {"type": "hello", "name": "Bob"}}]}
        ]),
        json!([
            {"do": {"start": true}, "expect": [{"open": true}]},
            {"opened": true, "expect": [{"client": {"type": "hello", "name": null}}]}
        ]),
        json!([{"pass_ms": 5, "expect": [{"entry": {"room": "lobby", "seq": 1}}]}]),
    ] {
        let scenario = json!({"config": {"name": "Ada", "history": 50}, "random": 0.5});
        let run = catch_unwind(|| {
            let mut run = Run::new(&scenario);
            for step in wrong.as_array().expect("steps") {
                run.step("wrong", step);
            }
        });
        assert!(run.is_err(), "{wrong} holds");
    }
}

fn play(path: &str, scenario: &Value) {
    let mut run = Run::new(scenario);
    for (number, step) in list(scenario, "steps").iter().enumerate() {
        let place = format!("{path} step {number}");
        run.step(&place, step);
    }
}

fn scenarios() -> Vec<(String, Value)> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = manifest.join("../../chat-proto/vectors/scenarios");
    let files = fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("readable").path()).collect();
    paths.sort();
    let load = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("readable");
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        (name, value)
    };
    paths.into_iter().map(load).collect()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("`{name}` is no string in {value}"))
}

/// One client, its clock and the variables of the scenario.
struct Run {
    client: Client,
    now: Now,
    random: u64,
    link: LinkId,
    variables: BTreeMap<String, Value>,
}

impl Run {
    fn new(scenario: &Value) -> Self {
        let config = &scenario["config"];
        let name = config["name"].as_str().map(|name| DisplayName::new(name).expect("a name"));
        let history = config["history"].as_u64().expect("a number");
        let random = scenario["random"].as_f64().expect("a fraction");
        Self {
            client: Client::new(Config {
                name,
                history: u32::try_from(history).expect("a small number"),
                ..Config::default()
            }),
            now: Now { mono: Mono(5000), wall: Timestamp(1_700_000_000_000) },
            random: (random * 2_f64.powi(64)) as u64,
            link: LinkId(0),
            variables: BTreeMap::new(),
        }
    }

    fn step(&mut self, place: &str, step: &Value) {
        let mut out = Actions::new();
        match step["pass_ms"].as_u64() {
            Some(ms) => self.pass(ms, &mut out),
            None => {
                let event = self.event(place, step);
                self.client.handle(self.now, self.random, event, &mut out);
            }
        }
        let got: Vec<Value> = out.iter().filter_map(|action| self.seen(action)).collect();
        for kind in [true, false] {
            let of_kind = |value: &&Value| is_of_the_network(value) == kind;
            let expected: Vec<&Value> = list(step, "expect").iter().filter(of_kind).collect();
            let got: Vec<&Value> = got.iter().filter(of_kind).collect();
            let fit = expected.len() == got.len()
                && expected.iter().zip(&got).all(|(expected, got)| self.fits(expected, got));
            assert!(fit, "{place}: {step}\nexpected {expected:#?}\ngot {got:#?}");
        }
        if let Some(state) = step["state"].as_str() {
            assert_eq!(name_of(&self.client.state()), state, "{place}: {step}");
        }
    }

    fn event(&mut self, place: &str, step: &Value) -> Event {
        let link = self.link;
        if step["do"].is_object() {
            return self.application(place, &step["do"]);
        }
        if let Some(true) = step["opened"].as_bool() {
            return Event::Opened { link };
        }
        if let Some(text) = step["text"].as_str() {
            ServerFrame::decode(text).expect_err("it is no frame");
            return Event::Malformed { link };
        }
        if step["server"].is_object() {
            let frame = self.substituted(&step["server"]);
            let frame = ServerFrame::decode(&frame.to_string());
            let frame = frame.unwrap_or_else(|e| panic!("{place}: {e}"));
            return Event::Received { link, frame };
        }
        let closed = step.as_object().and_then(|step| step.get("closed"));
        let closed = closed.unwrap_or_else(|| panic!("{place}: what is {step}?"));
        let code = closed.as_u64().map(|code| u16::try_from(code).expect("a close code"));
        Event::Closed { link, code }
    }

    fn application(&self, place: &str, what: &Value) -> Event {
        let room = |name| RoomName::new(text(what, name)).expect("a room's name");
        let (what_kind, value) = what.as_object().and_then(|what| what.iter().next()).expect(place);
        match what_kind.as_str() {
            "start" => Event::Start,
            "stop" => Event::Stop,
            "wake" => Event::Wake,
            "join" => Event::Join { room: room("join") },
            "leave" => Event::Leave { room: room("leave") },
            "token" => Event::Token { token: value.as_str().map(|token| Token(token.into())) },
            "send" => Event::Send {
                ticket: Ticket(value["ticket"].as_u64().expect(place)),
                room: RoomName::new(text(value, "room")).expect(place),
                key: Key::new(text(value, "key")).expect(place),
                content: text(value, "content").into(),
                reply_to: value["reply_to"].as_u64().and_then(Seq::new),
            },
            other => panic!("{place}: nobody can do {other}"),
        }
    }

    /// Lets time pass, and fires what is due at its own time.
    fn pass(&mut self, ms: u64, out: &mut Actions) {
        let end = self.now.mono.plus(ms);
        while let Some(due) = self.client.poll_timeout().filter(|due| *due <= end) {
            self.advance_to(due);
            self.client.handle_timeout(self.now, self.random, out);
        }
        self.advance_to(end);
    }

    fn advance_to(&mut self, to: Mono) {
        let ms = to.since(self.now.mono);
        self.now.mono = self.now.mono.plus(ms);
        self.now.wall.0 += ms;
    }

    /// Puts what the scenario can expect into its words.
    fn seen(&mut self, action: &Action) -> Option<Value> {
        Some(match action {
            Action::Open { link } => {
                self.link = *link;
                json!({"open": true})
            }
            Action::Transmit { link, id, request } => {
                assert_eq!(*link, self.link, "it is sent over the present link");
                let frame = request.encode(id.as_ref());
                json!({"client": serde_json::from_str::<Value>(&frame).expect("JSON")})
            }
            Action::Close { link, code } => {
                assert_eq!(*link, self.link, "the present link is closed");
                json!({"close": code})
            }
            Action::NeedToken => json!({"need_token": true}),
            Action::Deliver(delivery) => return delivered(delivery),
        })
    }

    /// Tells whether a value fits what was expected of it; binds variables.
    fn fits(&mut self, expected: &Value, got: &Value) -> bool {
        match expected {
            Value::Object(fields) => fields.iter().all(|(name, field)| {
                let got = got.get(name).unwrap_or(&Value::Null);
                self.fits(field, got)
            }),
            Value::String(text) if text.starts_with('$') => {
                let known = self.variables.entry(text.clone()).or_insert_with(|| got.clone());
                known == got && !got.is_null()
            }
            other => other == got,
        }
    }

    fn substituted(&self, value: &Value) -> Value {
        match value {
            Value::String(text) if text.starts_with('$') => {
                self.variables.get(text).unwrap_or_else(|| panic!("{text} is not bound")).clone()
            }
            Value::Object(fields) => {
                let field =
                    |(name, value): (&String, &Value)| (name.clone(), self.substituted(value));
                Value::Object(fields.iter().map(field).collect())
            }
            Value::Array(values) => values.iter().map(|value| self.substituted(value)).collect(),
            other => other.clone(),
        }
    }
}

fn is_of_the_network(value: &Value) -> bool {
    ["open", "client", "close"].iter().any(|kind| value.get(kind).is_some())
}

fn delivered(delivery: &Delivery) -> Option<Value> {
    Some(match delivery {
        Delivery::Joined { room, fresh, .. } => {
            json!({"joined": {"room": room, "fresh": fresh}})
        }
        Delivery::Left { room, .. } => json!({"left": {"room": room}}),
        Delivery::Entry(entry) => {
            let content = match &entry.body {
                Body::Message { content, .. } => Some(content.to_string()),
                _ => None,
            };
            json!({"entry": {"room": entry.room, "seq": entry.seq, "content": content}})
        }
        Delivery::Lost { room, from, to } => {
            json!({"lost": {"room": room, "from": from, "to": to}})
        }
        Delivery::Reset { room, epoch } => json!({"reset": {"room": room, "epoch": epoch}}),
        Delivery::Settled { ticket, outcome } => {
            let mut settled = match outcome {
                Outcome::Acked { seq, duplicate, .. } => {
                    json!({"outcome": "acked", "seq": seq, "duplicate": duplicate})
                }
                Outcome::Refused(error) => json!({"outcome": "refused", "code": error.code}),
                Outcome::Unknown(error) => json!({"outcome": "unknown", "code": error.code}),
                Outcome::Expired => json!({"outcome": "expired"}),
                Outcome::Stopped => json!({"outcome": "stopped"}),
                other => panic!("no scenario asks for {other:?}"),
            };
            settled["ticket"] = json!(ticket.0);
            json!({"settled": settled})
        }
        Delivery::State(_)
        | Delivery::Welcome(_)
        | Delivery::Members { .. }
        | Delivery::Presence { .. }
        | Delivery::MemberJoined { .. }
        | Delivery::MemberLeft { .. }
        | Delivery::Typing { .. } => return None,
    })
}

fn name_of(state: &State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Connecting => "connecting",
        State::Online => "online",
        State::Waiting { .. } => "waiting",
        State::Stopped { .. } => "stopped",
    }
}
