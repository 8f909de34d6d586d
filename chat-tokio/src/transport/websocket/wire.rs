//! What tungstenite reads from and writes to.
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::control::Control;

/// One poll's view of the IO, for tungstenite.
///
/// Reads go through, up to a budget. Writes are collected: tungstenite makes only whole control
/// frames here, and when they may go out is decided where the outbox is known.
#[derive(Debug)]
pub(super) struct Wire<'a, 'c, IO> {
    pub(super) io: &'a mut IO,
    pub(super) cx: &'a mut Context<'c>,
    pub(super) control: &'a mut Control,
    /// Bytes that this poll may still read.
    pub(super) budget: usize,
    /// Whether it wanted more than that.
    pub(super) exhausted: bool,
}

impl<IO: AsyncRead + Unpin> Read for Wire<'_, '_, IO> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.budget == 0 {
            self.exhausted = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let room = into.len().min(self.budget);
        let mut buffer = ReadBuf::new(&mut into[..room]);
        match Pin::new(&mut *self.io).poll_read(self.cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                let count = buffer.filled().len();
                self.budget -= count;
                Ok(count)
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<IO> Write for Wire<'_, '_, IO> {
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        self.control.put(frame);
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
