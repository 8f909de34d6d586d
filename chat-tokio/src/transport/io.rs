//! What the transports over bytes have in common.
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::outbox::Outbox;

/// Bytes that one poll may take from the kernel without having a frame to show for it. Then others
/// get their turn. 4 KiB of the smallest WebSocket frames are 680, parsed in less than half a
/// millisecond.
pub(super) const POLL_BYTES_MAX: usize = 4096;

/// Bytes that are discarded of a peer that goes on talking after it was told the end. A socket
/// closed with unread bytes resets the connection, and the reset can overtake the close frame.
pub(super) const DRAIN_BYTES_MAX: usize = 1024 * 1024;

/// Frames in one vectored write: more save no system call worth the stack.
const SLICES_MAX: usize = 64;

/// Writes once: `first`, if any, and then as much of the outbox as fits into one call.
pub(super) fn poll_write_once<IO: AsyncWrite + Unpin>(
    io: &mut IO,
    cx: &mut Context<'_>,
    first: &[u8],
    outbox: &Outbox,
) -> Poll<io::Result<usize>> {
    if first.is_empty() && outbox.first_len() == Some(outbox.remaining()) && !outbox.is_mid_frame()
    {
        // The usual case, without the array.
        let written = ready!(Pin::new(io).poll_write(cx, outbox.chunk()))?;
        return checked(written);
    }
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let mut used = 0;
    if !first.is_empty() {
        slices[0] = IoSlice::new(first);
        used = 1;
    }
    used += outbox.chunks_vectored(&mut slices[used..]);
    let written = ready!(Pin::new(io).poll_write_vectored(cx, &slices[..used]))?;
    checked(written)
}

fn checked(written: usize) -> Poll<io::Result<usize>> {
    Poll::Ready(if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) })
}

/// Reads and discards until the peer's end, `left` bytes or an error.
pub(super) fn poll_drain<IO: AsyncRead + Unpin>(
    io: &mut IO,
    cx: &mut Context<'_>,
    left: &mut usize,
) -> Poll<()> {
    let mut budget = POLL_BYTES_MAX;
    let mut bytes = [0; 1024];
    while *left > 0 {
        if budget == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(&mut bytes);
        if ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer)).is_err() {
            break;
        }
        let count = buffer.filled().len();
        if count == 0 {
            break;
        }
        *left = left.saturating_sub(count);
        budget = budget.saturating_sub(count);
    }
    Poll::Ready(())
}
