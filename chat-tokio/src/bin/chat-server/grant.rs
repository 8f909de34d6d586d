//! What a token grants, in words for people and as JSON for programs.
use std::fmt::Write;

use chat_proto::{DisplayName, Timestamp};
use chat_state::{Grant, RoomRights, TokenId};
use chat_tokio::clock::{Clock, rfc3339};
use chat_tokio::escape::Escaped;
use serde_json::{Value, json};

/// One line for each thing. What comes from the token is shown in one line, whatever it holds.
pub(crate) fn lines(grant: &Grant) -> String {
    let name = grant.name.as_ref().map_or("(the user chooses)", DisplayName::as_str);
    let rooms = patterns(grant).map_or_else(|| "all".to_owned(), |all| list(&all));
    let rate = match grant.messages_per_10s {
        None => "that of the server".to_owned(),
        Some(0) => "none".to_owned(),
        Some(n) => n.to_string(),
    };
    let id = grant.token_id.as_ref().map_or("(none: it can't be revoked alone)", TokenId::as_str);
    let issued = grant.issued.map_or_else(|| "(it does not say)".to_owned(), rfc3339);
    let expires = grant.expires.map_or_else(
        || "never".to_owned(),
        |at| format!("{} (in {}, the leeway included)", rfc3339(at), words(left_s(at))),
    );
    let mut text = String::new();
    for (what, value) in [
        ("user", grant.user.as_str()),
        ("name", name),
        ("rooms", &rooms),
        ("roles", &list(&grant.roles)),
        ("messages per 10 s", &rate),
        ("token id", id),
        ("issued", &issued),
        ("expires", &expires),
    ] {
        writeln!(text, "{:<19}{}", format!("{what}:"), Escaped(value))
            .expect("a string takes any text");
    }
    text
}

/// The same; what the token does not say is `null`.
pub(crate) fn json(grant: &Grant) -> String {
    let value: Value = json!({
        "user": grant.user.as_str(),
        "name": grant.name.as_ref().map(DisplayName::as_str),
        "rooms": patterns(grant),
        "roles": grant.roles,
        "limits": {"messages_per_10s": grant.messages_per_10s},
        "id": grant.token_id.as_ref().map(TokenId::as_str),
        "issued": grant.issued.map(rfc3339),
        "expires": grant.expires.map(rfc3339),
        "expires_in_s": grant.expires.map(left_s),
    });
    format!("{value}\n")
}

/// The patterns of the rooms that it allows; `None`: all rooms.
fn patterns(grant: &Grant) -> Option<Vec<String>> {
    match &grant.rooms {
        RoomRights::Any => None,
        RoomRights::Matching(all) => {
            Some(all.iter().map(|pattern| pattern.as_str().to_owned()).collect())
        }
    }
}

fn list(texts: &[String]) -> String {
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

fn left_s(end: Timestamp) -> u64 {
    end.0.saturating_sub(Clock::start().now().wall.0) / 1000
}

/// A time in its two largest units.
fn words(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, ..) => format!("{hours} h {minutes} min"),
        (..) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_proto::UserId;

    #[test]
    fn times_are_told_in_two_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (7260, "2 h 1 min"),
            (86_400, "1 d 0 h"),
            (31_536_000, "365 d 0 h"),
        ] {
            assert_eq!(words(seconds), text);
        }
    }

    #[test]
    fn what_a_token_says_stays_in_its_line() {
        let grant = Grant::new(UserId::new("ada").unwrap());
        assert_eq!(lines(&grant).lines().count(), 8);
        let grant = Grant { roles: vec!["a\nuser: root\u{1b}[2J".to_owned()], ..grant };
        let text = lines(&grant);
        assert_eq!(text.lines().count(), 8, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let read: Value = serde_json::from_str(&json(&grant)).unwrap();
        assert_eq!((&read["user"], &read["rooms"]), (&json!("ada"), &Value::Null));
    }
}
