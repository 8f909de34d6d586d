//! Bytes that no honest client sends, over a real socket.
mod support;

use support::{close_code, default_server, frame, read_frame, websocket, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TEXT: u8 = 0x81;
const TEXT_BEGIN: u8 = 0x01;
const CONTINUE: u8 = 0x00;
const CONTINUE_END: u8 = 0x80;

#[tokio::test]
async fn a_broken_rule_is_told_by_its_code() {
    let server = default_server().await;
    let mut announced = vec![TEXT, 0xFF];
    announced.extend(i64::MAX.to_be_bytes());
    announced.extend([0; 4]);
    let table: &[(&str, Vec<u8>, u16)] = &[
        ("unmasked", vec![TEXT, 2, b'h', b'i'], 1002),
        ("rsv1 (compression)", frame(TEXT | 0x40, b"hi"), 1002),
        ("rsv2", frame(TEXT | 0x20, b"hi"), 1002),
        ("rsv3", frame(TEXT | 0x10, b"hi"), 1002),
        ("reserved data opcode", frame(0x83, b"hi"), 1002),
        ("reserved control opcode", frame(0x8B, b"hi"), 1002),
        ("fragmented ping", frame(0x09, b"hi"), 1002),
        ("control of 126 bytes", frame(0x89, &[b'x'; 126]), 1002),
        ("continuation of nothing", frame(CONTINUE_END, b"hi"), 1002),
        ("text inside a text", [frame(TEXT_BEGIN, b"a"), frame(TEXT, b"b")].concat(), 1002),
        ("close of one byte", frame(0x88, &[3]), 1002),
        ("close with a bad reason", frame(0x88, b"\x03\xe8\xff"), 1007),
        ("binary", frame(0x82, b"hi"), 1003),
        ("not UTF-8", frame(TEXT, b"\xc3\x28"), 1007),
        ("surrogate", frame(TEXT, b"\xed\xa0\x80"), 1007),
        ("half a character at the end", frame(TEXT, b"\xc3"), 1007),
        ("one byte too long", frame(TEXT, &[b'x'; 16_385]), 1009),
        ("70 000 bytes", frame(TEXT, &[b'x'; 70_000]), 1009),
        (
            "too long in two fragments",
            [frame(TEXT_BEGIN, &[b'x'; 9000]), frame(CONTINUE_END, &[b'x'; 9000])].concat(),
            1009,
        ),
        ("2^63-1 bytes announced", announced, 1009),
        ("close with a code that may not be sent", frame(0x88, b"\x03\xed"), 1002),
        ("close", frame(0x88, b"\x03\xe8bye"), 1000),
        ("close without a code", frame(0x88, b""), 1005),
    ];
    for (what, bytes, code) in table {
        let mut stream = websocket(&server).await;
        stream.write_all(bytes).await.unwrap();
        assert_eq!(close_code(&mut stream).await, Some(*code), "{what}");
        assert_eq!(within(stream.read(&mut [0])).await.unwrap_or(0), 0, "{what}: then the end");
    }
}

#[tokio::test]
async fn the_server_closes_with_its_code_and_waits_for_the_answer() {
    let server = default_server().await;
    let mut stream = websocket(&server).await;
    stream.write_all(&frame(TEXT, b"bye")).await.unwrap();
    assert_eq!(read_frame(&mut stream).await, Some((0x88, b"\x10\x04draining".to_vec())));
    // What was on its way is read and dropped.
    stream.write_all(&frame(TEXT, b"late")).await.unwrap();
    stream.write_all(&frame(0x88, b"\x10\x04")).await.unwrap();
    assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn input_byte_by_byte_is_understood() {
    let server = default_server().await;
    let mut stream = websocket(&server).await;
    let text = "zwölf 🦀";
    let half = text.len() - 2;
    let bytes = [
        frame(TEXT, text.as_bytes()),
        // A character split over fragments, with a ping between them.
        frame(TEXT_BEGIN, &text.as_bytes()[..half]),
        frame(0x89, b"ping"),
        frame(CONTINUE_END, &text.as_bytes()[half..]),
    ]
    .concat();
    for byte in bytes {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(read_frame(&mut stream).await, Some((0x81, text.into())));
    assert_eq!(read_frame(&mut stream).await, Some((0x8A, b"ping".to_vec())));
    assert_eq!(read_frame(&mut stream).await, Some((0x81, text.into())));
}

#[tokio::test]
async fn endless_empty_fragments_are_cut_off() {
    let server = default_server().await;
    for fragment in [frame(CONTINUE, b""), frame(CONTINUE, b"x")] {
        let mut stream = websocket(&server).await;
        let flood = fragment.repeat(1000);
        stream.write_all(&frame(TEXT_BEGIN, b"a")).await.unwrap();
        let (mut reads, mut writes) = stream.split();
        let floods = async {
            // One million; the server stops listening long before.
            for _ in 0..1000 {
                if writes.write_all(&flood).await.is_err() {
                    break;
                }
            }
        };
        let hears = async {
            let mut close = [0; 4];
            within(reads.read_exact(&mut close)).await.unwrap();
            close
        };
        tokio::select! {
            close = hears => assert_eq!((close[0], &close[2..]), (0x88, &b"\x03\xf1"[..])),
            () = async { floods.await; std::future::pending().await } => {}
        }
    }
}

#[tokio::test]
async fn a_flood_of_pings_hurts_nobody_and_its_latest_is_answered() {
    const PINGS: u32 = 20_000;
    let server = default_server().await;
    let mut stream = websocket(&server).await;
    let mut neighbour = websocket(&server).await;
    let mut flood = Vec::new();
    for i in 0..PINGS {
        flood.extend(frame(0x89, &i.to_be_bytes()));
    }
    let (mut reads, mut writes) = stream.split();
    let sends = async {
        writes.write_all(&flood).await.unwrap();
        writes.write_all(&frame(TEXT, b"after")).await.unwrap();
    };
    let hears = async {
        let (mut pongs, mut latest) = (0, 0);
        loop {
            let mut head = [0; 2];
            within(reads.read_exact(&mut head)).await.unwrap();
            let mut payload = vec![0; usize::from(head[1])];
            within(reads.read_exact(&mut payload)).await.unwrap();
            if head[0] == 0x81 {
                break (pongs, latest);
            }
            (pongs, latest) = (pongs + 1, u32::from_be_bytes(payload.try_into().unwrap()));
        }
    };
    let talks = async {
        for i in 0..50 {
            let text = format!("{i}");
            neighbour.write_all(&frame(TEXT, text.as_bytes())).await.unwrap();
            assert_eq!(read_frame(&mut neighbour).await, Some((0x81, text.into())));
        }
    };
    let (_, (pongs, latest), ()) = tokio::join!(sends, hears, talks);
    assert_eq!(latest, PINGS - 1, "the latest ping is answered");
    assert!(pongs < PINGS / 10, "one answer for many: {pongs}");
}
