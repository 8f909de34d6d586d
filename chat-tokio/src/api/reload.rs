//! Reading the settings again.
use std::future::Future;
use std::pin::Pin;

/// What [`Reload::reload`] answers: what has changed, or why nothing has.
pub type ReloadFuture = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// Reads the settings again, checks them, and lets them count. A closure that makes such a future
/// is one.
pub trait Reload: Send + Sync + 'static {
    /// Begins it. A second call may come before the first is done.
    fn reload(&self) -> ReloadFuture;
}

impl<F, Fut> Reload for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<String, String>> + Send + 'static,
{
    fn reload(&self) -> ReloadFuture {
        Box::pin(self())
    }
}
