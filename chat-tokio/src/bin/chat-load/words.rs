//! The texts of both dialects: those that are sent, and as much of those that come as is needed.
use serde_json::Value;

use super::frame;
use super::plan::{Dialect, Plan};
use super::stamp::{STAMP_BYTES, Stamp, write_digits};

/// Returns what a connection says first, if the dialect has such a thing.
pub(crate) fn hello(dialect: Dialect, name: &str) -> Option<String> {
    match dialect {
        Dialect::Basic => None,
        Dialect::V1 => Some(format!(r#"{{"type":"hello","id":"hello","name":"{name}"}}"#)),
    }
}

pub(crate) fn join(plan: &Plan, room: u32) -> String {
    let room = plan.room_name(room);
    match plan.dialect {
        Dialect::Basic => format!(r#"{{"type":"join","room":"{room}"}}"#),
        Dialect::V1 => format!(r#"{{"type":"join","id":"join","room":"{room}"}}"#),
    }
}

/// A message of one sender, framed once; for each send only digits change.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Where the number stands again, as an id and in a key.
    numbers: Vec<usize>,
    stamp: usize,
    sender: u32,
}

impl Template {
    pub(crate) fn new(plan: &Plan, room: u32, sender: u32) -> Self {
        let stamp = Stamp { sender, number: 0, sent_ns: 0 };
        let mut content = vec![0; STAMP_BYTES];
        stamp.write(&mut content);
        let mut letters = Letters(plan.seed ^ u64::from(sender));
        content.extend((STAMP_BYTES..plan.content_bytes).map(|_| letters.next()));
        let content = String::from_utf8_lossy(&content);
        let room = plan.room_name(room);
        let (text, before): (String, &[&str]) = match plan.dialect {
            Dialect::Basic => (format!(r#"{{"type":"message","content":"{content}"}}"#), &[]),
            Dialect::V1 => (
                format!(r#"{{"type":"message","id":"{ZEROS}","key":"k{ZEROS}","#)
                    + &format!(r#""room":"{room}","content":"{content}"}}"#),
                &[r#""id":""#, r#""key":"k"#],
            ),
        };
        let find = |what: &str| text.find(what).expect("it was written above") + what.len();
        let mut numbers: Vec<usize> = before.iter().map(|before| find(before)).collect();
        let mut bytes = Vec::new();
        let head = frame::write(frame::TEXT, text.as_bytes(), &mut bytes);
        numbers.iter_mut().for_each(|place| *place += head);
        Self { stamp: head + find("\"content\":\""), bytes, numbers, sender }
    }

    /// Appends the frame of one message.
    pub(crate) fn write(&mut self, number: u32, sent_ns: u64, out: &mut Vec<u8>) {
        for &place in &self.numbers {
            write_digits(&mut self.bytes[place..place + 8], number.into());
        }
        let stamp = Stamp { sender: self.sender, number, sent_ns };
        stamp.write(&mut self.bytes[self.stamp..self.stamp + STAMP_BYTES]);
        out.extend(&self.bytes);
    }
}

/// As many as a number has digits.
const ZEROS: &str = "00000000";

/// Letters without end, the same for the same seed.
struct Letters(u64);

impl Letters {
    /// A linear congruence, of which the upper bits are good enough for text.
    fn next(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        b'a' + ((self.0 >> 33) % 26) as u8
    }
}

/// What a server says besides deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Welcome,
    Joined,
    JoinNotice,
    LeaveNotice,
    Ack,
    Ping,
    /// So many entries are to be paged for, or gone.
    Gap(u64),
    Bye(String),
    Error {
        id: Option<String>,
        code: String,
        retry_after_ms: Option<u64>,
    },
    /// Nothing that is counted.
    Other,
}

/// Reads a frame that is no delivery.
pub(crate) fn read(payload: &[u8]) -> Said {
    match kind(payload) {
        Some(b"ack") => Said::Ack,
        Some(b"join") => Said::JoinNotice,
        Some(b"leave") => Said::LeaveNotice,
        Some(b"welcome") => Said::Welcome,
        Some(b"joined") => Said::Joined,
        Some(b"ping") => Said::Ping,
        Some(b"gap" | b"hole" | b"bye" | b"error") => {
            serde_json::from_slice(payload).map_or(Said::Other, |frame| read_rare(&frame))
        }
        _ => Said::Other,
    }
}

/// Returns the type of a frame. Inside of a string the quotes would have a backslash before them.
fn kind(payload: &[u8]) -> Option<&[u8]> {
    const TAG: &[u8] = br#""type":""#;
    let rest = match payload.get(1..) {
        Some(rest) if rest.starts_with(TAG) => &rest[TAG.len()..],
        _ => &payload[memchr::memmem::find(payload, TAG)? + TAG.len()..],
    };
    rest.split(|byte| *byte == b'"').next()
}

fn read_rare(frame: &Value) -> Said {
    let text = |name: &str| frame[name].as_str().map(str::to_owned);
    let number = |name: &str| frame[name].as_u64();
    match frame["type"].as_str() {
        Some("gap" | "hole") => match (number("from"), number("to")) {
            (Some(from), Some(to)) if from <= to => Said::Gap(to - from + 1),
            _ => Said::Other,
        },
        Some("bye") => Said::Bye(text("code").unwrap_or_default()),
        Some("error") => Said::Error {
            id: text("id"),
            code: text("code").unwrap_or_default(),
            retry_after_ms: number("retry_after_ms"),
        },
        _ => Said::Other,
    }
}

/// The answer to a heartbeat of `chat.v1`.
pub(crate) const PONG: &str = r#"{"type":"pong"}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_by_their_type() {
        for (text, expected) in [
            (r#"{"type":"ack","id":"1","room":"r","seq":1}"#, Said::Ack),
            (r#"{"room":"r","type":"join","username":"\"type\":\"leave"}"#, Said::JoinNotice),
            (r#"{"type":"leave","room":"r"}"#, Said::LeaveNotice),
            (r#"{"type":"gap","room":"r","from":3,"to":5}"#, Said::Gap(3)),
            (r#"{"type":"gap","room":"r","from":3,"to":2}"#, Said::Other),
            (r#"{"type":"bye","code":"draining"}"#, Said::Bye("draining".into())),
            (
                r#"{"type":"error","id":"00000007","code":"rate_limited","retry_after_ms":20}"#,
                Said::Error {
                    id: Some("00000007".into()),
                    code: "rate_limited".into(),
                    retry_after_ms: Some(20),
                },
            ),
            (r#"{"type":"rooms"}"#, Said::Other),
            ("", Said::Other),
        ] {
            assert_eq!(read(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn the_dialect_is_that_of_the_protocol() {
        assert_eq!(Dialect::V1.name(), "chat.v1");
    }
}
