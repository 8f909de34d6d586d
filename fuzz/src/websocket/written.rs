//! What a server may write (RFC 6455 §5), read by a parser of its own.

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Text(&'a [u8]),
    Ping,
    Pong,
    /// The code, or none if the frame is empty.
    Close(Option<u16>),
}

/// Splits what was written into whole frames and the beginning of another.
///
/// # Panics
/// When a frame is not one that a server may write, or something follows a close.
pub(super) fn parse(mut bytes: &[u8]) -> (Vec<Frame<'_>>, &[u8]) {
    let mut frames = Vec::new();
    while let Some((opcode, payload, rest)) = split(bytes) {
        assert!(!matches!(frames.last(), Some(Frame::Close(_))), "a frame follows a close");
        frames.push(frame(opcode, payload));
        bytes = rest;
    }
    if let Some(Frame::Close(_)) = frames.last() {
        assert!(bytes.is_empty(), "bytes follow a close");
    }
    (frames, bytes)
}

/// Returns the first byte and the payload of the first frame, and what follows it; `None` if it is
/// not whole.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match second {
        0..=125 => (u64::from(second), rest),
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            let length = u16::from_be_bytes(*length);
            assert!(length > 125, "the length is not the shortest");
            (u64::from(length), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            let length = u64::from_be_bytes(*length);
            assert!(length > 65_535, "the length is not the shortest");
            (length, rest)
        }
        128.. => panic!("a server does not mask: {second:#x}"),
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((first, payload, rest))
}

fn frame(first: u8, payload: &[u8]) -> Frame<'_> {
    assert!(first == 0x81 || payload.len() <= 125, "a control frame is too long");
    match first {
        0x81 => Frame::Text(payload),
        0x88 => Frame::Close(close_code(payload)),
        0x89 => Frame::Ping,
        0x8A => Frame::Pong,
        _ => panic!("no frame of a server begins with {first:#x}"),
    }
}

fn close_code(payload: &[u8]) -> Option<u16> {
    if payload.is_empty() {
        return None;
    }
    let (code, reason) = payload.split_first_chunk().expect("a close without a whole code");
    let code = u16::from_be_bytes(*code);
    // §7.4: the others are not for the wire, or mean nothing.
    assert!(matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999), "close code {code}");
    assert!(str::from_utf8(reason).is_ok(), "the reason is not UTF-8");
    Some(code)
}
