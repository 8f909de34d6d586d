//! A client of the plain-lines port: one JSON object a line.
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::wait::within;

/// One connection to the lines port.
#[derive(Debug)]
pub struct LinesClient {
    reader: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl LinesClient {
    /// Connects.
    ///
    /// # Panics
    /// If it can't.
    pub async fn connect(server: SocketAddr) -> Self {
        let tcp = within("a connection", TcpStream::connect(server)).await.expect("it connects");
        tcp.set_nodelay(true).expect("an option of TCP");
        let (reader, writer) = tcp.into_split();
        Self { reader: BufReader::new(reader).lines(), writer }
    }

    /// Sends bytes as they are, line feeds included or not.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        within("bytes to be sent", self.writer.write_all(bytes)).await.expect("they are taken");
    }

    /// Sends one line.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn send(&mut self, line: &str) {
        self.send_raw(format!("{line}\n").as_bytes()).await;
    }

    /// Reads the next line; `None` at the end.
    ///
    /// # Panics
    /// If nothing comes in time, or no text.
    pub async fn next(&mut self) -> Option<String> {
        within("a line", self.reader.next_line()).await.expect("lines of text")
    }

    /// Sends what is left and tells that nothing more will come.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn shutdown(&mut self) {
        within("the end to be sent", self.writer.shutdown()).await.expect("it is taken");
    }
}
