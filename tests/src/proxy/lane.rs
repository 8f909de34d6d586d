//! One way of a connection: bytes in, the same bytes out, later.
use std::collections::VecDeque;
use std::future::pending;
use std::io;

use bytes::{Buf, Bytes};
use chat_state::Mono;
use chat_tokio::clock::Clock;
use tokio::net::TcpStream;
use tokio::time::timeout_at;

/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;

/// Bytes that are on their way at most: what more is sent waits in the kernel.
const QUEUE_BYTES_MAX: usize = 64 * 1024;

/// What a step has brought.
#[derive(Debug)]
pub(super) enum Progress {
    /// So many bytes went on; may be none.
    Forwarded(u64),
    /// All was forwarded and nothing more will come.
    Ended,
    /// One of the two sides can't be talked to any more.
    Broken,
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    /// What is on its way, and when it arrives.
    queue: VecDeque<(Mono, Bytes)>,
    queued: usize,
    delay_ms: u64,
    /// When it goes on.
    stalled: Option<Mono>,
    /// The source has ended.
    ended: bool,
    /// That was told.
    over: bool,
}

impl Lane {
    /// Tells whether [`Progress::Ended`] was its last word.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn delay(&mut self, ms: u64) {
        self.delay_ms = ms;
    }

    pub(super) fn stall_until(&mut self, until: Mono) {
        self.stalled = Some(until);
    }

    pub(super) fn go_on(&mut self) {
        self.stalled = None;
    }

    /// Waits for something to do and does it: dropping it on the way loses nothing. It forwards
    /// `limit` bytes at most, which is not 0.
    pub(super) async fn step(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        limit: u64,
        clock: Clock,
    ) -> Progress {
        let now = clock.now().mono;
        if let Some(until) = self.stalled.filter(|until| *until > now) {
            wait(clock, until).await;
            return Progress::Forwarded(0);
        }
        self.stalled = None;
        let due = self.queue.front().map(|(due, _)| *due);
        if due.is_none() && self.ended {
            self.over = true;
            return Progress::Ended;
        }
        let result = tokio::select! {
            result = from.readable(), if !self.ended && self.queued < QUEUE_BYTES_MAX => {
                result.and_then(|()| self.read(from, clock))
            }
            result = to.writable(), if due.is_some_and(|due| due <= now) => {
                result.and_then(|()| self.write(to, limit))
            }
            () = wait(clock, due.unwrap_or(now)), if due.is_some_and(|due| due > now) => Ok(0),
        };
        match result {
            Ok(count) => Progress::Forwarded(count as u64),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Forwarded(0),
            Err(_) => Progress::Broken,
        }
    }

    fn read(&mut self, from: &TcpStream, clock: Clock) -> io::Result<usize> {
        let mut buffer = [0; READ_BYTES];
        let count = from.try_read(&mut buffer)?;
        self.ended = count == 0;
        if count > 0 {
            let arrival = clock.now().mono.plus(self.delay_ms);
            // A shorter delay must not let later bytes overtake earlier ones.
            let last = self.queue.back().map_or(arrival, |(due, _)| *due);
            self.queue.push_back((arrival.max(last), Bytes::copy_from_slice(&buffer[..count])));
            self.queued += count;
        }
        Ok(0)
    }

    fn write(&mut self, to: &TcpStream, limit: u64) -> io::Result<usize> {
        let Some((_, bytes)) = self.queue.front_mut() else { return Ok(0) };
        let most = bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        let count = to.try_write(&bytes[..most])?;
        bytes.advance(count);
        if bytes.is_empty() {
            self.queue.pop_front();
        }
        self.queued -= count;
        Ok(count)
    }
}

async fn wait(clock: Clock, until: Mono) {
    let never = pending::<()>();
    // Only the time can end it.
    let _ = timeout_at(clock.instant(until).into(), never).await;
}
