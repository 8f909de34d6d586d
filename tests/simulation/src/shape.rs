//! The frames that a `basic` client gets.
use serde_json::{Map, Value};

/// The four fields that a `basic` client gets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// `join`, `leave` or `message`.
    pub kind: String,
    /// Which room.
    pub room: String,
    /// Who.
    pub username: String,
    /// The text, or the notice.
    pub content: String,
}

impl Shape {
    /// Reads a frame, and refuses all that is not exactly the contract's shape.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Map<String, Value> =
            serde_json::from_str(text).map_err(|e| format!("no JSON object ({e}): {text:?}"))?;
        if fields.len() != 4 {
            return Err(format!("{} fields instead of four: {text}", fields.len()));
        }
        let field = |name: &str| match fields.get(name) {
            Some(Value::String(value)) => Ok(value.clone()),
            other => Err(format!("`{name}` is {other:?}: {text}")),
        };
        let shape = Self {
            kind: field("type")?,
            room: field("room")?,
            username: field("username")?,
            content: field("content")?,
        };
        let kind = shape.kind.as_str();
        match kind {
            "message" => Ok(shape),
            "join" | "leave" if shape.others().is_some() => Ok(shape),
            "join" | "leave" => Err(format!("the notice does not fit: {text}")),
            _ => Err(format!("`type` is {kind:?}: {text}")),
        }
    }

    /// Returns how many a notice is about beside the one that it names; `None` if it is none.
    #[must_use]
    pub fn others(&self) -> Option<u64> {
        let what = match self.kind.as_str() {
            "join" => " joined the room",
            "leave" => " left the room",
            _ => return None,
        };
        let others = self.content.strip_prefix(&self.username)?.strip_suffix(what)?;
        if others.is_empty() {
            return Some(0);
        }
        let (number, plural) = others.strip_prefix(" and ")?.split_once(" other")?;
        let number: u64 = number.parse().ok()?;
        let fits = number > 0 && plural == if number == 1 { "" } else { "s" };
        fits.then_some(number)
    }

    /// Makes a message.
    #[must_use]
    pub fn message(room: &str, username: &str, content: &str) -> Self {
        Self {
            kind: "message".into(),
            room: room.into(),
            username: username.into(),
            content: content.into(),
        }
    }

    /// Makes the notice of somebody who joined.
    #[must_use]
    pub fn join(room: &str, username: &str) -> Self {
        let content = format!("{username} joined the room");
        Self { kind: "join".into(), ..Self::message(room, username, &content) }
    }

    /// Makes the notice of somebody who left.
    #[must_use]
    pub fn leave(room: &str, username: &str) -> Self {
        let content = format!("{username} left the room");
        Self { kind: "leave".into(), ..Self::message(room, username, &content) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_four_fields_and_a_notice_that_fits() {
        let good = r#"{"type":"join","room":"r","username":"a","content":"a joined the room"}"#;
        assert_eq!(Shape::parse(good), Ok(Shape::join("r", "a")));
        let several = concat!(
            r#"{"type":"leave","room":"r","username":"a","#,
            r#""content":"a and 2 others left the room"}"#
        );
        assert_eq!(Shape::parse(several).map(|shape| shape.others()), Ok(Some(2)));
        for bad in [
            "",
            "[]",
            r#"{"type":"ping"}"#,
            r#"{"type":"typing","room":"r","username":"a","content":""}"#,
            r#"{"type":"message","room":"r","username":"a"}"#,
            r#"{"type":"message","room":"r","username":"a","content":7}"#,
            r#"{"type":"message","room":"r","username":"a","content":"","seq":1}"#,
            r#"{"type":"join","room":"r","username":"a","content":"b joined the room"}"#,
            &several.replace("2 others", "1 others"),
            &several.replace("2 others", "0 others"),
            &format!("{good}\n{good}"),
        ] {
            assert!(Shape::parse(bad).is_err(), "{bad}");
        }
    }
}
