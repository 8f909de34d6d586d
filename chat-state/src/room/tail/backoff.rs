//! The wait before a failed question is asked again.

/// The longest wait between two attempts.
const RETRY_MAX_MS: u64 = 30_000;

/// Counts failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff(u8);

impl Backoff {
    pub(super) fn after_failure(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the wait: `retry_ms` after the first failure, doubled by each further one.
    pub(super) fn wait_ms(self, retry_ms: u64) -> u64 {
        let doublings = self.0.saturating_sub(1).min(32);
        retry_ms.max(1).saturating_mul(1 << doublings).min(RETRY_MAX_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn the_wait_doubles_up_to_thirty_seconds() {
        let mut backoff = Backoff::default();
        let mut next = || {
            backoff = backoff.after_failure();
            backoff.wait_ms(500)
        };
        let waits: Vec<u64> = (0..9).map(|_| next()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        (0..1000).for_each(|_| assert_eq!(next(), 30_000));
    }

    #[test]
    fn a_retry_never_follows_at_once() {
        assert_eq!(Backoff::default().after_failure().wait_ms(0), 1);
    }
}
