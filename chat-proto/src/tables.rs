//! What the tables of `PROTOCOL.md` list; a test holds the two together.

/// Each request's `type` and the `type` of its reply.
pub const REQUESTS: &[(&str, &str)] = &[
    ("hello", "welcome"),
    ("auth", "authenticated"),
    ("join", "joined"),
    ("leave", "left"),
    ("message", "ack"),
    ("history", "page"),
    ("members", "members"),
    ("rooms", "rooms"),
    ("typing", "ack"),
    ("ping", "pong"),
    ("pong", ""),
];

/// Each server frame's `type` and whether it is a reply, an event or control.
pub const SERVER_FRAMES: &[(&str, &str)] = &[
    ("welcome", "reply"),
    ("authenticated", "reply"),
    ("joined", "reply"),
    ("left", "reply"),
    ("ack", "reply"),
    ("page", "reply"),
    ("members", "reply"),
    ("rooms", "reply"),
    ("pong", "reply"),
    ("error", "reply"),
    ("message", "durable event"),
    ("join", "ephemeral event"),
    ("leave", "ephemeral event"),
    ("typing", "ephemeral event"),
    ("presence", "ephemeral event"),
    ("gap", "control"),
    ("hole", "control"),
    ("auth_expiring", "control"),
    ("bye", "control"),
    ("ping", "control"),
];
