//! Whether the server takes new clients.
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

/// Whether the server takes new clients; shared by all who ask.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// Says why the server is not ready, or `Ok`.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn check(&self) -> Result<(), &'static str> {
        match self.0.load(Ordering::Acquire) {
            READY => Ok(()),
            DRAINING => Err("draining: the server is leaving service"),
            _ => Err("starting"),
        }
    }

    pub(crate) fn set_ready(&self) {
        let _ = self.0.compare_exchange(STARTING, READY, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn set_draining(&self) {
        self.0.store(DRAINING, Ordering::Release);
    }
}
