//! WebSocket frames in a buffer, without a copy.

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// What stands at the beginning of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head<'a> {
    Frame {
        opcode: u8,
        payload: &'a [u8],
        /// Bytes of the whole frame.
        bytes: usize,
    },
    Incomplete,
    Broken(&'static str),
}

/// Reads one frame of a server. A message in several fragments is refused: a chat server has no
/// reason for them, and to put them together would cost a copy.
pub(crate) fn read(buffer: &[u8]) -> Head<'_> {
    let &[first, second, ..] = buffer else { return Head::Incomplete };
    let (fin, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
    if reserved != 0 {
        return Head::Broken("a frame with reserved bits");
    }
    if !fin || opcode == 0 {
        return Head::Broken("a message in several fragments");
    }
    if second & 0x80 != 0 {
        return Head::Broken("a masked frame");
    }
    let (head, length) = match second {
        126 => match buffer {
            &[_, _, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
            _ => return Head::Incomplete,
        },
        127 => match buffer.get(2..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => {
                let length = u64::from_be_bytes(*bytes);
                (10, usize::try_from(length).unwrap_or(usize::MAX))
            }
            None => return Head::Incomplete,
        },
        length => (2, usize::from(length)),
    };
    if length > FRAME_BYTES_MAX {
        return Head::Broken("a frame that is too long");
    }
    match buffer.get(head..head + length) {
        Some(payload) => Head::Frame { opcode, payload, bytes: head + length },
        None => Head::Incomplete,
    }
}

/// Appends one frame of a client and returns how long its head is.
///
/// A client has to mask. The mask is zero, so that the payload can be changed where it stands; it
/// costs the server the same as any other.
pub(crate) fn write(opcode: u8, payload: &[u8], out: &mut Vec<u8>) -> usize {
    let begin = out.len();
    out.push(0x80 | opcode);
    match payload.len() {
        length @ ..126 => out.push(0x80 | length as u8),
        length @ ..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    let head = out.len() - begin;
    out.extend(payload);
    head
}

/// The longest frame that is taken: the read buffer holds it with its head.
pub(crate) const FRAME_BYTES_MAX: usize = 240 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let head = write(TEXT, payload, &mut bytes);
        // A server does not mask.
        bytes.drain(head - 4..head);
        bytes[1] &= 0x7f;
        bytes
    }

    #[test]
    fn a_frame_of_any_length_is_read_once_it_is_whole() {
        for length in [0, 1, 125, 126, 127, 0xffff, 0x1_0000] {
            let payload = vec![b'x'; length];
            let bytes = server_frame(&payload);
            let whole = Head::Frame { opcode: TEXT, payload: &payload, bytes: bytes.len() };
            assert_eq!(read(&bytes), whole, "{length}");
            for cut in [0, 1, 2, 3, 9, bytes.len() - 1] {
                if cut < bytes.len() {
                    assert_eq!(read(&bytes[..cut]), Head::Incomplete, "{length} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn what_a_server_must_not_send_is_refused() {
        for (bytes, word) in [
            (&[0x01, 0][..], "fragments"),
            (&[0x80, 0], "fragments"),
            (&[0xc1, 0], "reserved"),
            (&[0x81, 0x80, 0, 0, 0, 0], "masked"),
            (&[0x81, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "too long"),
        ] {
            let Head::Broken(what) = read(bytes) else { panic!("{bytes:?} is taken") };
            assert!(what.contains(word), "{what}");
        }
    }
}
