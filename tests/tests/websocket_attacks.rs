//! Bytes that no honest client sends, over a real socket.
mod support;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use chat_tests::client::raw::{CONTINUE, CONTINUE_END, TEXT, TEXT_BEGIN};
use chat_tests::hostile::{broken_frames, floods};
use chat_tokio::transport::{Inbound, Transport, WebSocket};
use support::{close_code, default_server, frame, read_frame, websocket, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

#[tokio::test]
async fn a_broken_rule_is_told_by_its_code() {
    let server = default_server().await;
    let ends = [
        ("close", frame(0x88, b"\x03\xe8bye"), 1000),
        ("close without a code", frame(0x88, b""), 1005),
    ];
    for (what, bytes, code) in broken_frames().into_iter().chain(ends) {
        let mut stream = websocket(&server).await;
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(close_code(&mut stream).await, Some(code), "{what}");
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
    const PINGS: u32 = 5000;
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
    assert!(pongs < PINGS / 50, "one answer for many: {pongs}");
}

/// A peer that always has more of the same to say, and takes all that it is told.
struct Endless {
    part: Vec<u8>,
    read: Arc<AtomicU64>,
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = into.remaining().min(self.part.len());
        into.put_slice(&self.part[..count]);
        self.part.rotate_left(count);
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The clock stands still while there is something to do, so what counts is what is read, not how
/// fast this machine is.
#[tokio::test(start_paused = true)]
async fn a_flood_is_read_ever_more_slowly() {
    // Seven pauses, each twice as long as the one before, take 1.27 s; then come those of 1.28 s.
    const SECONDS: u64 = 60;
    const POLLS: u64 = 7 + (SECONDS * 1000 - 1270) / 1280 + 2;
    for flood in floods().into_iter().filter(|flood| !flood.ends) {
        let read = Arc::new(AtomicU64::new(0));
        let peer = Endless { part: flood.part, read: Arc::clone(&read) };
        let mut socket = WebSocket::new(peer, &flood.begin, 16_384);
        let reads = async {
            loop {
                let inbound = poll_fn(|cx| socket.poll_recv(cx)).await;
                assert_eq!(inbound, Inbound::Alive, "{}", flood.what);
            }
        };
        let end = tokio::time::timeout(Duration::from_secs(SECONDS), reads).await;
        assert!(end.is_err(), "it goes on for ever");
        let read = read.load(Ordering::Relaxed);
        let most = POLLS * 4096;
        assert!(read <= most, "{}: {read} bytes were read, {most} may be", flood.what);
        assert!(read >= most / 2, "{}: it is read on, {read} bytes", flood.what);
    }
}
