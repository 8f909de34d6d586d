//! A WebSocket by hand: bytes out, frames in. For what no library lets one send.
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::within;

/// First bytes of frames: the last fragment of a kind has the highest bit.
pub const TEXT: u8 = 0x81;
/// The first fragment of a text.
pub const TEXT_BEGIN: u8 = 0x01;
/// A fragment in the middle.
pub const CONTINUE: u8 = 0x00;
/// The last fragment.
pub const CONTINUE_END: u8 = 0x80;
/// A close.
pub const CLOSE: u8 = 0x88;
/// A ping.
pub const PING: u8 = 0x89;

/// Makes a masked frame; the mask is zero, so that the payload shows as it is.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..126 => bytes.push(0x80 | n as u8),
        n @ 126..65_536 => {
            bytes.push(0xFE);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0xFF);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// Connects and upgrades; `query` is what follows `/ws`.
///
/// # Errors
/// If the connection fails, or the server answers with anything but 101.
pub async fn upgrade(
    server: SocketAddr,
    query: &str,
    subprotocol: Option<&str>,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let protocol = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    let request = format!(
        "GET /ws{query} HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
        protocol.unwrap_or_default()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if head.starts_with(b"HTTP/1.1 101 ") {
        return Ok(stream);
    }
    let told = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    Err(io::Error::other(told))
}

/// Reads one frame of the server; `None` at the end.
///
/// # Panics
/// If nothing comes in time.
pub async fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    within("a frame", read_frame_untimed(stream)).await.ok()
}

/// As [`read_frame`], without a deadline.
///
/// # Errors
/// At the end of the connection.
pub async fn read_frame_untimed(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let length = match head[1] {
        126 => usize::from(stream.read_u16().await?),
        127 => usize::try_from(stream.read_u64().await?).map_err(io::Error::other)?,
        n => usize::from(n),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok((head[0], payload))
}

/// Reads on until a close frame: its code (1005: it has none) and its reason. `None` if the end
/// came without one.
///
/// # Panics
/// If nothing comes in time, or the reason is no text.
pub async fn close(stream: &mut TcpStream) -> Option<(u16, String)> {
    loop {
        let (first, payload) = read_frame(stream).await?;
        if first == CLOSE {
            return Some(match payload.split_at_checked(2) {
                Some((code, reason)) => (
                    u16::from_be_bytes([code[0], code[1]]),
                    String::from_utf8(reason.to_vec()).expect("a reason is a text"),
                ),
                None => (1005, String::new()),
            });
        }
    }
}

/// Reads on until a close frame; its code. `None` if the end came without one.
///
/// # Panics
/// As [`close`].
pub async fn close_code(stream: &mut TcpStream) -> Option<u16> {
    close(stream).await.map(|(code, _)| code)
}
