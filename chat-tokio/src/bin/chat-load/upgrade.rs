//! The handshake: one request, one reply.
use chat_proto::SUBPROTOCOL;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::plan::{Dialect, Target};

/// The key is there to tell a WebSocket server from others, so one does for all connections.
const KEY: &str = "Y2hhdC1sb2FkIGhlbGxvIQ==";

/// A reply longer than this is no handshake.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What has come of the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Incomplete,
    /// With the bytes that it took.
    Upgraded(usize),
    Refused(String),
}

/// Returns the request of a connection.
pub(crate) fn request(target: &Target, dialect: Dialect, name: &str) -> String {
    let (path, subprotocol) = match dialect {
        Dialect::Basic => {
            let before = if target.path.contains('?') { '&' } else { '?' };
            (format!("{}{before}username={name}", target.path), String::new())
        }
        Dialect::V1 => (target.path.clone(), format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n")),
    };
    let host = &target.host;
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{subprotocol}\r\n"
    )
}

/// Reads the reply at the beginning of a buffer.
pub(crate) fn reply(buffer: &[u8], dialect: Dialect) -> Reply {
    let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") else {
        return match buffer.len() > HEAD_BYTES_MAX {
            true => Reply::Refused("no WebSocket server answers there".into()),
            false => Reply::Incomplete,
        };
    };
    let head = String::from_utf8_lossy(&buffer[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        return Reply::Refused(format!("no WebSocket there: the server answers `{status}`"));
    }
    let headers: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
        .collect();
    let header = |wanted| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
    if header("sec-websocket-accept") != Some(derive_accept_key(KEY.as_bytes()).as_str()) {
        return Reply::Refused("no WebSocket there: the reply does not fit the request".into());
    }
    match (dialect, header("sec-websocket-protocol")) {
        (Dialect::Basic, None) | (Dialect::V1, Some(SUBPROTOCOL)) => Reply::Upgraded(end + 4),
        (Dialect::V1, None) => {
            Reply::Refused(format!("wrong subprotocol: the server does not speak `{SUBPROTOCOL}`"))
        }
        (_, Some(other)) => {
            Reply::Refused(format!("wrong subprotocol: the server wants to speak `{other}`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply_with(headers: &str) -> String {
        let accept = derive_accept_key(KEY.as_bytes());
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-ACCEPT: {accept}{headers}\r\n\r\n"
        )
    }

    #[test]
    fn frames_may_follow_the_reply_at_once() {
        let text = reply_with("");
        let bytes = [text.as_bytes(), b"\x81\x00"].concat();
        assert_eq!(reply(&bytes, Dialect::Basic), Reply::Upgraded(text.len()));
        for cut in 0..text.len() {
            assert_eq!(reply(&bytes[..cut], Dialect::Basic), Reply::Incomplete);
        }
        let text = reply_with("\r\nSec-WebSocket-Protocol: chat.v1");
        assert_eq!(reply(text.as_bytes(), Dialect::V1), Reply::Upgraded(text.len()));
    }

    #[test]
    fn a_refusal_says_why() {
        let refused = |text: &str, dialect| match reply(text.as_bytes(), dialect) {
            Reply::Refused(why) => why,
            other => panic!("{text}: {other:?}"),
        };
        let not_found = "HTTP/1.1 404 Not Found\r\n\r\n";
        assert!(refused(not_found, Dialect::Basic).contains("404 Not Found"));
        assert!(refused(&reply_with(""), Dialect::V1).contains("does not speak `chat.v1`"));
        let other = reply_with("\r\nSec-WebSocket-Protocol: soap");
        assert!(refused(&other, Dialect::Basic).contains("`soap`"));
        assert!(refused(&other, Dialect::V1).contains("`soap`"));
        let stranger = "HTTP/1.1 101 x\r\nsec-websocket-accept: y\r\n\r\n";
        assert!(refused(stranger, Dialect::V1).contains("does not fit"));
        assert!(refused(&"x".repeat(20_000), Dialect::V1).contains("no WebSocket server"));
    }
}
