//! Who connects: the cut between a credential and what it grants.
//!
//! A server without an [`Authenticator`] is *open*: everybody chooses a name. With one, it decides
//! over every credential, wherever that came from: the `token` of `hello`, an `Authorization`
//! header, a cookie. The rules that follow from a grant are the Hub's.
//!
//! *Invariant:* a credential is never logged, and not kept once it is checked.
#[cfg(feature = "jwt")]
pub mod jwt;
mod revoked;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chat_proto::{Timestamp, Token};
use chat_state::{AuthError, Grant, Revoke};
use tokio::sync::Semaphore;

use self::revoked::Revoked;
use crate::clock::Clock;
use crate::server::SERVICE_PREFIX;

/// What [`Authenticator::authenticate`] answers, when it is ready.
pub type AuthFuture = Pin<Box<dyn Future<Output = Result<Grant, AuthError>> + Send>>;

/// Decides whose a credential is.
pub trait Authenticator: Send + Sync + 'static {
    /// Checks a credential. It must not block; what takes longer than the deadline of the server
    /// counts as [`AuthError::Unavailable`], and the future is dropped.
    fn authenticate(&self, credentials: &Token) -> AuthFuture;
}

/// Checks that run at a time, over all workers; further ones wait for their turn, within the
/// deadline.
const CHECKS_MAX: usize = 256;

/// How long a check may take, with the wait for its turn. The Hub waits a little longer.
pub(crate) const CHECK_TIME_MAX: Duration = Duration::from_secs(9);

/// The authority as workers see it: bounded, in time, and after what was revoked.
pub(crate) struct Gate {
    authenticator: Arc<dyn Authenticator>,
    turns: Arc<Semaphore>,
    revoked: Arc<Mutex<Revoked>>,
    clock: Clock,
}

impl Gate {
    pub(crate) fn new(authenticator: Arc<dyn Authenticator>, clock: Clock) -> Self {
        Self {
            authenticator,
            turns: Arc::new(Semaphore::new(CHECKS_MAX)),
            revoked: Arc::default(),
            clock,
        }
    }

    /// Checks a credential.
    pub(crate) fn check(&self, credentials: Token) -> AuthFuture {
        let (authenticator, turns) = (self.authenticator.clone(), self.turns.clone());
        let (revoked, clock) = (self.revoked.clone(), self.clock);
        Box::pin(async move {
            let checked = tokio::time::timeout(CHECK_TIME_MAX, async {
                let _turn = turns.acquire().await.map_err(|_| AuthError::Unavailable)?;
                authenticator.authenticate(&credentials).await
            });
            let grant = checked.await.unwrap_or(Err(AuthError::Unavailable))?;
            let mut revoked = revoked.lock().unwrap_or_else(PoisonError::into_inner);
            let service = grant.user.as_str().starts_with(SERVICE_PREFIX);
            if service || revoked.has(&grant, clock.now().wall) {
                return Err(AuthError::Invalid);
            }
            Ok(grant)
        })
    }

    /// From now on this is refused.
    pub(crate) fn revoke(&self, what: &Revoke) {
        self.note_revoked(what, self.clock.now().wall);
    }

    /// Since that time this is refused.
    pub(crate) fn note_revoked(&self, what: &Revoke, since: Timestamp) {
        let now = self.clock.now().wall;
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).note(what, since, now);
    }
}
