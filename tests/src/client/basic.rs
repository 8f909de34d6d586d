//! A client of the `basic` dialect. It sends raw JSON: existing pages don't use our types either.
use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::socket::Socket;

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

/// One `basic` connection.
#[derive(Debug)]
pub struct BasicClient {
    /// The connection, for what a well-behaved page would not do.
    pub socket: Socket,
    name: String,
}

impl BasicClient {
    /// Connects under a name, which is percent-encoded here.
    ///
    /// # Panics
    /// If the handshake fails.
    pub async fn connect(server: SocketAddr, name: &str) -> Self {
        Self { socket: Socket::open(server, &query(name), None).await, name: name.into() }
    }

    /// Connects with a query as it is, to be known as `name`.
    ///
    /// # Panics
    /// If the handshake fails.
    pub async fn connect_query(server: SocketAddr, query: &str, name: &str) -> Self {
        Self { socket: Socket::open(server, query, None).await, name: name.into() }
    }

    /// Connects with a receive buffer as small as the system allows.
    ///
    /// # Panics
    /// If the handshake fails.
    pub async fn connect_narrow(server: SocketAddr, name: &str) -> Self {
        Self { socket: Socket::open_narrow(server, &query(name)).await, name: name.into() }
    }

    /// Returns the name under which the others know it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a `join`, and does not wait for anything.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn send_join(&mut self, room: &str) {
        self.socket.send_text(&json!({"type": "join", "room": room}).to_string()).await;
    }

    /// Joins a room and reads its own notice, which has to be the next frame.
    ///
    /// # Panics
    /// If anything else comes.
    pub async fn join(&mut self, room: &str) {
        self.send_join(room).await;
        self.expect(&Shape::join(room, &self.name.clone())).await;
    }

    /// Sends a `leave`, to which there is no answer.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn leave(&mut self) {
        self.socket.send_text(r#"{"type":"leave"}"#).await;
    }

    /// Sends a `message`, and does not wait for anything.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn say(&mut self, content: &str) {
        self.socket.send_text(&json!({"type": "message", "content": content}).to_string()).await;
    }

    /// Reads the next frame.
    ///
    /// # Panics
    /// If the connection ends, nothing comes in time, or the frame has another shape.
    pub async fn next(&mut self) -> Shape {
        let text = self.socket.next_text().await;
        let Some(text) = text else {
            panic!("{}: the connection ended: {:?}", self.name, self.socket.ending().await);
        };
        match Shape::parse(&text) {
            Ok(shape) => shape,
            Err(why) => panic!("{} got a frame of another shape: {why}", self.name),
        }
    }

    /// Reads the next frame, which has to be this one.
    ///
    /// # Panics
    /// If it is another.
    pub async fn expect(&mut self, expected: &Shape) {
        let got = self.next().await;
        assert_eq!(&got, expected, "{} got another frame than expected", self.name);
    }

    /// Reads frames until this one has come, and returns those before it.
    ///
    /// # Panics
    /// If it does not come in time.
    pub async fn until(&mut self, expected: &Shape) -> Vec<Shape> {
        let mut before = Vec::new();
        loop {
            let got = self.next().await;
            if &got == expected {
                return before;
            }
            before.push(got);
        }
    }

    /// Proves that nothing is on its way to this member: says something in its room, which has to
    /// be the next frame. (One connection's frames are handled in order.)
    ///
    /// # Panics
    /// If another frame comes first.
    pub async fn expect_nothing_before_echo(&mut self, room: &str, content: &str) {
        self.say(content).await;
        self.expect(&Shape::message(room, &self.name.clone(), content)).await;
    }
}

fn query(name: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("username", name);
    // `+` for a space is understood by most, `%20` by all.
    format!("?{}", query.finish().replace('+', "%20"))
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

    #[test]
    fn names_are_percent_encoded() {
        assert_eq!(query("Ada é&"), "?username=Ada%20%C3%A9%26");
    }
}
