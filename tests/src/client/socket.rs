//! A WebSocket as it is: messages in, messages out, nothing answered by itself but pings.
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::wait::within;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a close frame, whose code this is (1005: it had none).
    Closed(u16),
    /// Without one.
    Cut(String),
}

/// One WebSocket connection.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    ending: Option<Ending>,
}

impl Socket {
    /// Connects.
    ///
    /// # Panics
    /// If the handshake fails.
    pub async fn open(server: SocketAddr, query: &str, subprotocol: Option<&str>) -> Self {
        let tcp = within("a connection", TcpStream::connect(server)).await.expect("it connects");
        Self::over(tcp, server, query, subprotocol).await
    }

    /// Connects with a receive buffer as small as the system allows, so that a reader that stops
    /// is noticed after few bytes.
    ///
    /// # Panics
    /// If the handshake fails.
    pub async fn open_narrow(server: SocketAddr, query: &str) -> Self {
        Self::open_buffered(server, query, 1024).await
    }

    /// Connects with a receive buffer of this many bytes. The system takes twice as many.
    ///
    /// # Panics
    /// If the handshake fails.
    pub async fn open_buffered(server: SocketAddr, query: &str, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a small buffer");
        let tcp = within("a connection", socket.connect(server)).await.expect("it connects");
        Self::over(tcp, server, query, None).await
    }

    /// Connects with headers of one's own, or returns the status of the refusal.
    ///
    /// # Errors
    /// The status, if the server does not take the handshake.
    ///
    /// # Panics
    /// If it answers with something else.
    pub async fn open_with(
        server: SocketAddr,
        (query, subprotocol): (&str, Option<&str>),
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let tcp = within("a connection", TcpStream::connect(server)).await.expect("it connects");
        let uri = format!("ws://{server}/ws{query}");
        let mut request = uri.into_client_request().expect("a request");
        let protocol = subprotocol.map(|name| ("Sec-WebSocket-Protocol", name));
        for (name, value) in headers.iter().copied().chain(protocol) {
            let value = HeaderValue::from_str(value).expect("a header");
            request.headers_mut().append(name, value);
        }
        match within("the handshake", client_async_with_config(request, tcp, None)).await {
            Ok((stream, _)) => Ok(Self { stream, ending: None }),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    async fn over(
        tcp: TcpStream,
        server: SocketAddr,
        query: &str,
        subprotocol: Option<&str>,
    ) -> Self {
        tcp.set_nodelay(true).expect("an option of TCP");
        let uri = format!("ws://{server}/ws{query}");
        let mut request = uri.into_client_request().expect("a request");
        if let Some(name) = subprotocol {
            let name = HeaderValue::from_str(name).expect("a header");
            request.headers_mut().insert("Sec-WebSocket-Protocol", name);
        }
        // A thousand of these may live in one test: small buffers.
        let config =
            WebSocketConfig::default().read_buffer_size(8 * 1024).write_buffer_size(8 * 1024);
        let handshake = client_async_with_config(request, tcp, Some(config));
        let (stream, answer) = within("the handshake", handshake).await.expect("it is accepted");
        let chosen = answer.headers().get("Sec-WebSocket-Protocol");
        assert_eq!(chosen.map(HeaderValue::as_bytes), subprotocol.map(str::as_bytes));
        Self { stream, ending: None }
    }

    /// Sends any message.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn send(&mut self, message: Message) {
        self.try_send(message).await.expect("the connection takes a message");
    }

    /// Sends any message, or says why it can't.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn try_send(&mut self, message: Message) -> Result<(), Error> {
        within("the connection to take a message", self.stream.send(message)).await
    }

    /// Sends a text frame.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn send_text(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    /// Sends many text frames with one flush: a burst.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn send_burst<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        for text in texts {
            let fed = self.stream.feed(Message::text(text));
            within("the connection to take a message", fed).await.expect("it takes it");
        }
        within("the burst to be flushed", self.stream.flush()).await.expect("it is flushed");
    }

    /// Waits without a deadline for the next message that is no close; `None` at the end.
    pub async fn next(&mut self) -> Option<Message> {
        if self.ending.is_some() {
            return None;
        }
        match self.stream.next().await {
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or(1005, |frame| frame.code.into());
                self.ending = Some(Ending::Closed(code));
                // The answer to the close is sent by reading on.
                while let Some(Ok(_)) = self.stream.next().await {}
                None
            }
            Some(Ok(message)) => Some(message),
            Some(Err(error)) => {
                self.ending = Some(Ending::Cut(error.to_string()));
                None
            }
            None => {
                self.ending = Some(Ending::Cut("end of stream".into()));
                None
            }
        }
    }

    /// Waits for the next text frame, past pings and pongs; `None` at the end.
    ///
    /// # Panics
    /// If nothing comes in time, or a binary frame.
    pub async fn next_text(&mut self) -> Option<Utf8Bytes> {
        within("a text frame", self.next_text_untimed()).await
    }

    /// As [`Socket::next_text`], without a deadline.
    ///
    /// # Panics
    /// If a binary frame comes.
    pub async fn next_text_untimed(&mut self) -> Option<Utf8Bytes> {
        loop {
            match self.next().await? {
                Message::Text(text) => return Some(text),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("the server sent {other:?}"),
            }
        }
    }

    /// Reads until the connection ends and says how it ended.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn ending(&mut self) -> Ending {
        within("the end of the connection", async {
            while self.next().await.is_some() {}
            self.ending.clone().expect("it has ended")
        })
        .await
    }

    /// Returns the stream below, for a test that reads and writes at the same time.
    #[must_use]
    pub fn into_stream(self) -> WebSocketStream<TcpStream> {
        self.stream
    }

    /// Says goodbye and waits for the answer.
    ///
    /// # Panics
    /// If the server does not answer the close.
    pub async fn close(mut self) {
        if self.stream.close(None).await.is_ok() {
            self.ending().await;
        }
    }

    /// Cuts the connection with a TCP reset, as a crash or a lost network does.
    ///
    /// # Panics
    /// If the socket does not let itself be reset.
    pub fn reset(self) {
        let tcp = self.stream.get_ref();
        tcp.set_zero_linger().expect("an option of TCP");
    }
}
