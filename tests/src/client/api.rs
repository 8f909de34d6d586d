//! A client of the API for backends and operators: one connection for each request.
use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::within;

/// Asks a server's API.
#[derive(Clone, Debug)]
pub struct ApiClient {
    address: SocketAddr,
    authorization: String,
}

/// An answer of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The body; null if it is empty or no JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl ApiClient {
    /// Asks with this key.
    #[must_use]
    pub fn new(address: SocketAddr, key: &str) -> Self {
        Self { address, authorization: format!("Bearer {key}") }
    }

    /// Asks with any `Authorization`; an empty one is not sent.
    #[must_use]
    pub fn authorized(address: SocketAddr, authorization: &str) -> Self {
        Self { address, authorization: authorization.to_owned() }
    }

    /// Returns where the API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks for something.
    ///
    /// # Panics
    /// If there is no answer in time.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// Asks for something to be done.
    ///
    /// # Panics
    /// If there is no answer in time.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[JSON], &body.to_string()).await
    }

    /// Sends any request.
    ///
    /// # Panics
    /// If there is no answer in time.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if !self.authorization.is_empty() {
            request += &format!("Authorization: {}\r\n", self.authorization);
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = async {
            let mut stream = TcpStream::connect(self.address).await.expect("the API listens");
            // It may refuse and close before it has read all.
            let _ = stream.write_all(request.as_bytes()).await;
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            String::from_utf8(bytes).expect("text")
        };
        let answer = within(format!("{method} {path}"), answer).await;
        let (head, text) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let headers = head.lines().filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        let body = serde_json::from_str(text).unwrap_or_default();
        Answer { status, headers: headers.collect(), body, text: text.to_owned() }
    }
}

impl Answer {
    /// Returns the body of what was done.
    ///
    /// # Panics
    /// If it was not.
    #[track_caller]
    #[must_use]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text);
        self.body
    }

    /// Checks that it is a problem of this status, and returns what it says.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    #[must_use]
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        let kind = self.headers.get("content-type").map(String::as_str);
        assert_eq!(kind, Some("application/problem+json"), "{}", self.text);
        assert_eq!(self.body["status"], status, "{}", self.text);
        assert_eq!(self.body["type"], "about:blank");
        self.body["detail"].as_str().expect("a detail").to_owned()
    }
}

/// The header of a body that is JSON.
pub const JSON: (&str, &str) = ("Content-Type", "application/json");
