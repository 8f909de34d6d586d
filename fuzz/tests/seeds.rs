//! The seeds of `websocket`, which are too binary to be typed: what a client may write, and what it
//! may not.
use std::fs;
use std::path::{Path, PathBuf};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const LAST: u8 = 0x80;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
/// The first byte without it begins fragments.
const FIN: u8 = 0x80;
/// In the second byte.
const MASKED: u8 = 0x80;

/// Messages of up to 512 bytes, and the outbox is drained.
const USUAL: u8 = 4;
const LONGEST_16: u8 = 1;
const LONGEST_64K: u8 = 7;
const PEER_ENDS: u8 = 8;
const GIVEN_UP: u8 = 16;

// A step of the script: what is done, and what goes through.
const LATER: u8 = 0;
const ONE: u8 = 1;
const THREE: u8 = 3;
const SOME: u8 = 5;
const ALL: u8 = 7;
const SEND_125: u8 = 4 << 3;
const SEND_FIVE: u8 = 11 << 3;
const PINGS: u8 = 16 << 3;
const FLUSH: u8 = 20 << 3;
const LISTEN: u8 = 24 << 3;
const HANG_UP: u8 = 31 << 3;

/// How a connection behaves, before the bytes of the wire; `already` came with the head.
fn plan(flags: u8, already: u8, script: &[u8], wire: &[&[u8]]) -> Vec<u8> {
    let mut data = vec![flags, already, 9, script.len() as u8];
    data.extend_from_slice(script);
    data.extend(wire.concat());
    data
}

fn whole(wire: &[&[u8]]) -> Vec<u8> {
    plan(USUAL, 0, &[LISTEN | LATER, LISTEN | ONE, LISTEN | THREE], wire)
}

/// A masked frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(MASKED | short as u8),
        longer => {
            frame.push(MASKED | 126);
            frame.extend_from_slice(&(longer as u16).to_be_bytes());
        }
    }
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let text = frame(TEXT, b"{\"type\":\"list\"}");
    let long = frame(TEXT, &[b'a'; 512]);
    let fragments = [
        frame(TEXT ^ FIN, "h\u{e9}llo".as_bytes()[..2].into()),
        frame(LAST ^ FIN, &"h\u{e9}llo".as_bytes()[2..4]),
        frame(LAST, b"lo"),
    ];
    let [first, middle, last] = fragments.each_ref().map(Vec::as_slice);
    let empty = frame(LAST ^ FIN, b"");
    vec![
        ("text", whole(&[&text])),
        ("text_empty", whole(&[&frame(TEXT, b"")])),
        ("text_twice_then_end", plan(USUAL | PEER_ENDS, 0, &[ALL], &[&text, &text])),
        ("text_with_the_head", plan(USUAL, 30, &[LISTEN | SOME], &[&text, &text])),
        ("text_longest", whole(&[&long])),
        ("text_longest_then_short", plan(USUAL, 0, &[LISTEN | ALL], &[&long, &text])),
        ("text_half_then_end", plan(USUAL | PEER_ENDS, 0, &[LISTEN | THREE], &[&text[..9]])),
        ("text_too_long", whole(&[&frame(TEXT, &[b'a'; 513])])),
        (
            "text_long_length",
            whole(&[&[TEXT, MASKED | 127, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 9]]),
        ),
        ("announced_too_long", whole(&[&[TEXT, MASKED | 126, 0xFF, 0xFF, 1, 2, 3, 4]])),
        ("announced_exabytes", whole(&[&[TEXT, MASKED | 127, 255, 255, 255, 255, 0, 0, 0, 0]])),
        ("fragments", whole(&[first, middle, last])),
        ("fragments_around_ping", whole(&[first, &frame(PING, b"p"), middle, last])),
        ("fragments_empty", whole(&[first, &empty, &empty, middle, &empty, last])),
        ("fragments_never_begun", whole(&[last])),
        ("fragments_interrupted", whole(&[first, &text])),
        ("fragments_unfinished", plan(USUAL | PEER_ENDS, 0, &[LISTEN | ONE], &[first, middle])),
        ("fragments_too_long", plan(LONGEST_16, 0, &[ALL], &[first, &frame(LAST, &[b'a'; 16])])),
        ("fragments_cut_a_char", whole(&[first, &frame(LAST, b"")])),
        ("bad_utf8", whole(&[&frame(TEXT, b"\xFF"), &text])),
        ("surrogate", whole(&[&frame(TEXT, b"\xED\xA0\x80")])),
        ("binary", whole(&[&frame(BINARY, b"\0"), &text])),
        ("reserved_bit", whole(&[&frame(TEXT | 0x40, b"hi"), &text])),
        ("reserved_opcode", whole(&[&frame(0x83, b"hi")])),
        ("reserved_control", whole(&[&frame(0x8B, b"hi")])),
        ("unmasked", whole(&[b"\x81\x02hi", &text])),
    ]
}

fn controls() -> Vec<(&'static str, Vec<u8>)> {
    let text = frame(TEXT, b"hi");
    let ping = frame(PING, &[b'p'; 125]);
    let busy = [SEND_FIVE | THREE, FLUSH | THREE, PINGS | ONE, LISTEN | LATER, FLUSH | ONE];
    let pings = ping.repeat(40);
    vec![
        ("ping", whole(&[&ping])),
        ("ping_too_long", whole(&[&frame(PING, &[b'p'; 126])])),
        ("ping_in_pieces", whole(&[&frame(PING ^ FIN, b"p"), &frame(LAST, b"p")])),
        ("pong", whole(&[&frame(PONG, b""), &text])),
        ("pings_flood", plan(USUAL, 0, &[LISTEN | ALL], &[&pings, &text])),
        ("pings_while_busy", plan(USUAL, 0, &busy, &[&ping, &text, &ping, &text])),
        ("pings_then_given_up", plan(USUAL | GIVEN_UP, 0, &busy, &[&ping, &text, &ping])),
        ("close_empty", whole(&[&frame(CLOSE, b""), &text])),
        ("close_normal", whole(&[&close(1000, b"bye")])),
        ("close_going_away", whole(&[&text, &close(1001, &[b'r'; 123]), &text])),
        ("close_private", whole(&[&close(4999, b"")])),
        ("close_beyond_private", whole(&[&close(5000, b"")])),
        ("close_no_status", whole(&[&close(1005, b"")])),
        ("close_reserved", whole(&[&close(2999, b"")])),
        ("close_zero", whole(&[&close(0, b"")])),
        ("close_half_a_code", whole(&[&frame(CLOSE, b"\x03")])),
        ("close_bad_utf8", whole(&[&close(1000, b"\xFF")])),
        ("close_while_busy", plan(USUAL, 0, &busy, &[&ping, &text, &close(1000, b"bye")])),
        ("close_then_given_up", plan(USUAL | GIVEN_UP, 0, &busy, &[&ping, &close(1000, b"")])),
    ]
}

fn sendings() -> Vec<(&'static str, Vec<u8>)> {
    let text = frame(TEXT, b"hi");
    let texts = text.repeat(30);
    let script = [SEND_125 | ONE, FLUSH | ONE, LISTEN | THREE, LISTEN | LATER];
    let hangs_up = [LISTEN | ONE, SEND_FIVE | SOME, FLUSH | SOME, PINGS | ONE, HANG_UP | SOME];
    let violation = [&texts[..], &frame(BINARY, b"")].concat();
    vec![
        ("sends", plan(USUAL, 0, &script, &[&texts])),
        ("sends_until_violation", plan(USUAL, 0, &script, &[&violation])),
        ("sends_in_vain", plan(USUAL | GIVEN_UP, 0, &script, &[&violation])),
        ("sends_until_end", plan(USUAL | PEER_ENDS, 0, &script, &[&texts])),
        ("hangs_up", plan(USUAL, 0, &hangs_up, &[&texts, &close(1000, b"")])),
        ("hangs_up_half_written", plan(USUAL | GIVEN_UP, 0, &hangs_up, &[&texts])),
        ("long_fragments", plan(LONGEST_64K, 0, &[LISTEN | ALL], &[&long_message()])),
    ]
}

/// Longer than what one turn reads.
fn long_message() -> Vec<u8> {
    let piece = frame(LAST ^ FIN, &[b'a'; 1000]);
    [frame(TEXT ^ FIN, b""), piece.repeat(9), frame(LAST, b"end")].concat()
}

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    [messages(), controls(), sendings()].concat()
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/websocket")
}

#[test]
fn the_seeds_are_in_the_corpus() {
    for (name, bytes) in seeds() {
        let file = corpus().join(name);
        let found = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(found == bytes, "{name} is not what is made here");
    }
}

#[test]
#[ignore = "it writes into the corpus"]
fn write_the_seeds() {
    for (name, bytes) in seeds() {
        fs::write(corpus().join(name), bytes).unwrap();
    }
}
