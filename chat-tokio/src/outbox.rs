//! The bounded queue towards one connection.
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Frames that wait for one connection, each already in the form that its transport wants.
///
/// Pushing never waits; the owner checks [`Outbox::remaining`] against its limits. A transport for
/// bytes reads it as a [`Buf`] (several frames in one vectored write); one for messages takes
/// whole frames with [`Outbox::pop`]. It does one or the other, not both.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Most of the time there is one at most, which needs no memory of its own.
    first: Option<Bytes>,
    /// Those after the first.
    rest: VecDeque<Bytes>,
    /// Bytes of the first frame that are gone already.
    sent: usize,
    /// Bytes still to go.
    bytes: usize,
}

impl Outbox {
    /// Appends one frame.
    pub fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        if self.first.is_none() {
            self.first = Some(frame);
        } else {
            self.rest.push_back(frame);
        }
    }

    /// Takes the first frame.
    ///
    /// # Panics
    /// In debug builds, when a part of it is gone.
    pub fn pop(&mut self) -> Option<Bytes> {
        debug_assert!(!self.is_mid_frame(), "frames are taken whole or as bytes, not both");
        let frame = self.pop_first()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// Returns the length of the first frame in bytes.
    #[must_use]
    pub fn first_len(&self) -> Option<usize> {
        self.first.as_ref().map(Bytes::len)
    }

    /// Tells whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Tells whether the first frame is half gone: nothing else may be written now.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.sent > 0
    }

    /// Drops all that waits, except the rest of a frame whose beginning is gone.
    pub fn clear(&mut self) {
        self.rest.clear();
        if !self.is_mid_frame() {
            self.first = None;
        }
        self.bytes = self.first.as_ref().map_or(0, |frame| frame.len() - self.sent);
        self.shrink();
    }

    fn pop_first(&mut self) -> Option<Bytes> {
        let first = self.first.take()?;
        if !self.rest.is_empty() {
            self.first = self.rest.pop_front();
            self.shrink();
        }
        Some(first)
    }

    fn shrink(&mut self) {
        // Idle connections are many, and seldom have two frames waiting.
        if self.rest.is_empty() && self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
    }
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.first.as_ref().map_or(&[], |frame| &frame[self.sent..])
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (slice, frame) in slices.iter_mut().zip(self.first.iter().chain(&self.rest)) {
            let from = if used == 0 { self.sent } else { 0 };
            *slice = IoSlice::new(&frame[from..]);
            used += 1;
        }
        used
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.bytes, "cannot advance {count} of {} bytes", self.bytes);
        self.bytes -= count;
        while let Some(first) = &self.first {
            let left = first.len() - self.sent;
            if count < left {
                self.sent += count;
                break;
            }
            count -= left;
            self.sent = 0;
            self.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(frames: &[&'static str]) -> Outbox {
        let mut outbox = Outbox::default();
        for frame in frames {
            outbox.push(Bytes::from_static(frame.as_bytes()));
        }
        outbox
    }

    #[test]
    fn any_split_of_the_bytes_gives_the_same_bytes() {
        let frames = ["abc", "d", "", "efgh"];
        let whole = frames.concat();
        for step in 1..=whole.len() {
            let (mut outbox, mut seen) = (of(&frames), Vec::new());
            while outbox.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 3];
                let used = outbox.chunks_vectored(&mut slices);
                let flat: Vec<u8> = slices[..used].iter().flat_map(|s| s.to_vec()).collect();
                let n = step.min(flat.len());
                seen.extend_from_slice(&flat[..n]);
                outbox.advance(n);
            }
            assert_eq!(seen, whole.as_bytes(), "in steps of {step}");
            assert!(outbox.is_empty() && !outbox.is_mid_frame());
        }
    }

    #[test]
    fn clearing_keeps_the_rest_of_a_frame_that_has_begun() {
        let mut outbox = of(&["abc", "def"]);
        outbox.advance(1);
        outbox.clear();
        assert_eq!((outbox.remaining(), outbox.chunk()), (2, &b"bc"[..]));
        outbox.advance(2);
        outbox.push(Bytes::from_static(b"x"));
        outbox.clear();
        assert!(outbox.is_empty());
    }
}
