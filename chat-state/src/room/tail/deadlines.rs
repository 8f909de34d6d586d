//! Handling the deadlines of a tail.
use alloc::vec::Vec;

use super::state::Tail;
use super::{Cx, Effect, TailTimer};

impl<T> Tail<T> {
    /// Handles a deadline. Spurious calls are harmless.
    pub(crate) fn timer_due(&mut self, cx: Cx<'_>, timer: TailTimer, out: &mut Vec<Effect<T>>) {
        match timer {
            TailTimer::Append => self.append_due(cx, out),
            TailTimer::Open => self.open_due(cx, out),
            TailTimer::Hole => self.hole_due(cx, out),
            TailTimer::Head => self.head_due(cx, out),
        }
    }
}
