//! The bytes of a frame, made once and shared by all who get it.
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use serde::Serialize;

/// Room for the longest header of an unmasked WebSocket frame.
const HEADER_MAX: usize = 10;

/// A server's frame, encoded: the same buffer serves a WebSocket, a line and a bare text.
///
/// Layout: WebSocket header, JSON, one line feed. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded {
    bytes: Bytes,
    header: u8,
}

impl Encoded {
    /// Encodes a value as JSON.
    pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        let mut buffer = Vec::with_capacity(256);
        buffer.resize(HEADER_MAX, 0);
        let json = serde_json::to_vec(value).expect("frames have string keys");
        buffer.extend_from_slice(&json);
        Self::finish(buffer)
    }

    /// Wraps a text that is one JSON value without a line feed.
    #[must_use]
    pub fn text_frame(text: &str) -> Self {
        debug_assert!(!text.contains('\n'), "it would be two lines");
        let mut buffer = Vec::with_capacity(HEADER_MAX + text.len() + 1);
        buffer.resize(HEADER_MAX, 0);
        buffer.extend_from_slice(text.as_bytes());
        Self::finish(buffer)
    }

    /// Writes the header that fits the payload, directly before it.
    ///
    /// FIN and opcode "text", no mask, length in 7, 16 or 64 bits:
    /// [RFC 6455 §5.2](https://www.rfc-editor.org/rfc/rfc6455#section-5.2).
    fn finish(mut buffer: Vec<u8>) -> Self {
        const FIN_TEXT: u8 = 0x81;
        let length = buffer.len() - HEADER_MAX;
        buffer.push(b'\n');
        let mut header = [0; HEADER_MAX];
        let used = if length < 126 {
            header[HEADER_MAX - 2..].copy_from_slice(&[FIN_TEXT, length as u8]);
            2
        } else if let Ok(short) = u16::try_from(length) {
            header[HEADER_MAX - 4..HEADER_MAX - 2].copy_from_slice(&[FIN_TEXT, 126]);
            header[HEADER_MAX - 2..].copy_from_slice(&short.to_be_bytes());
            4
        } else {
            header[..2].copy_from_slice(&[FIN_TEXT, 127]);
            header[2..].copy_from_slice(&(length as u64).to_be_bytes());
            HEADER_MAX
        };
        buffer[..HEADER_MAX].copy_from_slice(&header);
        let bytes = Bytes::from(buffer).slice(HEADER_MAX - used..);
        Self { bytes, header: used as u8 }
    }

    /// Returns one whole WebSocket text frame, header included.
    #[must_use]
    pub fn websocket(&self) -> Bytes {
        self.bytes.slice(..self.bytes.len() - 1)
    }

    /// Returns the text and a line feed.
    #[must_use]
    pub fn line(&self) -> Bytes {
        self.bytes.slice(usize::from(self.header)..)
    }

    /// Returns the text alone.
    #[must_use]
    pub fn text(&self) -> Bytes {
        self.bytes.slice(usize::from(self.header)..self.bytes.len() - 1)
    }

    /// Returns the text alone.
    ///
    /// # Panics
    /// Never: what was encoded was text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = &self.bytes[usize::from(self.header)..self.bytes.len() - 1];
        core::str::from_utf8(text).expect("made from text")
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Encoded").field(&self.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn the_header_has_the_payload_length_in_its_shortest_form() {
        for (length, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text: String = core::iter::repeat_n('x', length).collect();
            let encoded = Encoded::text_frame(&text);
            let frame = encoded.websocket();
            assert_eq!(&frame[..header.len()], header, "{length}");
            assert_eq!(&frame[header.len()..], text.as_bytes());
            assert_eq!(encoded.as_str(), text);
            assert_eq!(encoded.text(), text.as_bytes());
            assert_eq!(encoded.line().last(), Some(&b'\n'));
            assert_eq!(encoded.line().len(), length + 1);
        }
    }
}
