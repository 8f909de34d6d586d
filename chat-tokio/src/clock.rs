//! The only place that reads a clock.
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use chat_proto::Timestamp;
use chat_state::{Mono, Now};

/// Spells a time for people: RFC 3339 in UTC, to the second.
#[cfg(any(feature = "jwt", feature = "tls"))]
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;
    let seconds = i64::try_from(at.0 / 1000).ok();
    let at = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let text = at.and_then(|at| at.format(&Rfc3339).ok());
    text.unwrap_or_else(|| "after the year 9999".to_owned())
}

/// Reads both clocks, the monotonic one from its own start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts a clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Reads both clocks.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mono = self.start.elapsed();
        Now { mono: Mono(mono.as_millis() as u64), wall: Timestamp(wall.as_millis() as u64) }
    }

    /// Returns the time since this clock was started, as finely as the system tells it.
    #[must_use]
    pub fn since_start(&self) -> std::time::Duration {
        self.start.elapsed()
    }

    /// Returns when a deadline is due.
    #[must_use]
    pub fn instant(&self, deadline: Mono) -> Instant {
        self.start + std::time::Duration::from_millis(deadline.0)
    }
}
