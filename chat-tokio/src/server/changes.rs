//! What may change while a server runs.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chat_proto::Limits;

use super::Handle;
use crate::auth::Authenticator;
use crate::http::{Hosts, Origins};

/// What is to change; what is `None` stays as it is.
#[derive(Default)]
pub struct Changes {
    /// The limits. They count for what comes from then on; who is above a lower one already, such
    /// as a member of more rooms, stays.
    pub limits: Option<Limits>,
    /// Which pages may connect. Connections that are there stay.
    pub origins: Option<Origins>,
    /// By which names the server may be called.
    pub hosts: Option<Hosts>,
    /// Who decides whose a credential is. Sessions that a key has let in which this one does not
    /// have ([`Authenticator::keys`]) are closed with 4001.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// What else takes effect then, such as certificates that were read: it can't fail any more.
    pub others: Vec<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("limits", &self.limits)
            .field("origins", &self.origins)
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

/// Why nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReconfigureError {
    /// The server was started without an authenticator: that can't change while it runs.
    Open,
}

impl fmt::Display for ReconfigureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("a server that takes no credentials can't begin to"),
        }
    }
}

impl std::error::Error for ReconfigureError {}

impl Handle {
    /// Changes what may change while the server runs: all of it, or nothing. Resolves when it
    /// counts on every worker.
    ///
    /// # Errors
    /// Says what can't be; nothing has changed then.
    pub async fn reconfigure(&self, changes: Changes) -> Result<(), ReconfigureError> {
        let Changes { limits, origins, hosts, authenticator, others } = changes;
        let gate = match authenticator {
            None => None,
            Some(to) => Some((self.shared.gate.as_ref().ok_or(ReconfigureError::Open)?, to)),
        };
        if let Some(origins) = origins {
            self.shared.origins.set(origins.over(self.shared.secure).into());
        }
        if let Some(hosts) = hosts {
            self.shared.hosts.set(hosts.into());
        }
        others.into_iter().for_each(|take_effect| take_effect());
        if let Some(limits) = limits {
            self.shared.frame_bytes.set(limits.frame_bytes);
            self.shared.message_bytes.store(limits.message_bytes, Ordering::Relaxed);
            for worker in &self.shared.handles {
                worker.reconfigure(limits.clone()).await;
            }
        }
        if let Some((gate, authenticator)) = gate {
            gate.replace(authenticator).await;
        }
        Ok(())
    }
}
