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

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chat_proto::Token;
use chat_state::{AuthError, Grant, KeyId, Revoke};
use tokio::sync::Semaphore;

pub(crate) use self::revoked::Revocations;
use crate::clock::Clock;
use crate::live::Live;
use crate::server::SERVICE_PREFIX;
use crate::worker::WorkerHandle;

/// What [`Authenticator::authenticate`] answers, when it is ready.
pub type AuthFuture = Pin<Box<dyn Future<Output = Result<Grant, AuthError>> + Send>>;

/// Decides whose a credential is.
pub trait Authenticator: Send + Sync + 'static {
    /// Checks a credential. It must not block; what takes longer than the deadline of the server
    /// counts as [`AuthError::Unavailable`], and the future is dropped.
    fn authenticate(&self, credentials: &Token) -> AuthFuture;

    /// Returns the keys whose credentials count at the moment. A session that one has let in
    /// ([`Grant::key`]) ends once it is gone from here: that is looked at after each check, and
    /// when another authenticator takes this one's place.
    fn keys(&self) -> Vec<KeyId> {
        Vec::new()
    }
}

/// Checks that run at a time, over all workers; further ones wait for their turn, within the
/// deadline.
const CHECKS_MAX: usize = 256;

/// How long a check may take, with the wait for its turn. The Hub waits a little longer.
pub(crate) const CHECK_TIME_MAX: Duration = Duration::from_secs(9);

/// The authority as workers see it: bounded, in time, and after what was revoked.
pub(crate) struct Gate {
    authenticator: Live<dyn Authenticator>,
    turns: Arc<Semaphore>,
    revoked: Arc<Revocations>,
    clock: Clock,
    /// The keys that count, as far as was seen.
    keys: Mutex<BTreeSet<KeyId>>,
    /// Who is told when one counts no more.
    workers: OnceLock<Vec<WorkerHandle>>,
}

impl Gate {
    pub(crate) fn new(
        authenticator: Arc<dyn Authenticator>,
        clock: Clock,
        revoked: Arc<Revocations>,
    ) -> Self {
        Self {
            keys: Mutex::new(authenticator.keys().into_iter().collect()),
            authenticator: Live::new(authenticator),
            turns: Arc::new(Semaphore::new(CHECKS_MAX)),
            revoked,
            clock,
            workers: OnceLock::new(),
        }
    }

    /// Names the workers whose sessions end when a key counts no more.
    pub(crate) fn set_workers(&self, workers: Vec<WorkerHandle>) {
        // A server sets them once, when it starts.
        let _ = self.workers.set(workers);
    }

    /// Checks a credential.
    pub(crate) fn check(self: &Arc<Self>, credentials: Token) -> AuthFuture {
        let gate = Arc::clone(self);
        Box::pin(async move {
            let checked = tokio::time::timeout(CHECK_TIME_MAX, gate.ask(&credentials)).await;
            let grant = checked.unwrap_or(Err(AuthError::Unavailable))?;
            let service = grant.user.as_str().starts_with(SERVICE_PREFIX);
            if service || gate.revoked.has(&grant, gate.clock.now().wall) {
                return Err(AuthError::Invalid);
            }
            Ok(grant)
        })
    }

    async fn ask(self: &Arc<Self>, credentials: &Token) -> Result<Grant, AuthError> {
        let _turn = self.turns.acquire().await.map_err(|_| AuthError::Unavailable)?;
        loop {
            let authenticator = self.authenticator.get();
            let grant = authenticator.authenticate(credentials).await;
            // What another one has let in meanwhile counts no more.
            if Arc::ptr_eq(&authenticator, &self.authenticator.get()) {
                let gone = self.gone();
                if !gone.is_empty() {
                    tokio::spawn(Arc::clone(self).end(gone));
                }
                return grant;
            }
        }
    }

    /// From now on another one decides. Sessions whose keys it does not have are ended.
    pub(crate) async fn replace(self: &Arc<Self>, authenticator: Arc<dyn Authenticator>) {
        self.authenticator.set(authenticator);
        let gone = self.gone();
        if !gone.is_empty() {
            Arc::clone(self).end(gone).await;
        }
    }

    /// Looks which keys count no more.
    fn gone(&self) -> Vec<KeyId> {
        // Looked at under the lock, so that the last one to look has the newest.
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let counting: BTreeSet<KeyId> = self.authenticator.get().keys().into_iter().collect();
        let gone = keys.difference(&counting).copied().collect();
        *keys = counting;
        gone
    }

    async fn end(self: Arc<Self>, gone: Vec<KeyId>) {
        tracing::info!(keys = gone.len(), "keys count no more: whom they let in is closed");
        for worker in self.workers.get().into_iter().flatten() {
            for key in &gone {
                worker.revoke(Revoke::Key(*key)).await;
            }
        }
    }
}
