//! A client of the `basic` dialect. It sends raw JSON: existing pages don't use our types either.
use std::net::SocketAddr;

use chat_simulation::shape::Shape;
use serde_json::json;

use super::socket::Socket;

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
    fn names_are_percent_encoded() {
        assert_eq!(query("Ada é&"), "?username=Ada%20%C3%A9%26");
    }
}
