//! What backends ask, and what they are told.
use super::{Builder, StartError};
use crate::server::thread::Life;

#[cfg(feature = "api")]
impl Builder {
    pub(super) fn start_api(
        &self,
        handle: crate::server::Handle,
        life: &Life,
    ) -> Result<Option<crate::api::Listening>, StartError> {
        let Some(options) = &self.api else { return Ok(None) };
        let address = options.listen;
        let mut listeners = crate::accept::listen_reuseport(address, 1)
            .map_err(|error| StartError::Listen { address, error })?;
        let Some(listener) = listeners.pop() else { return Ok(None) };
        let router = crate::api::router(handle, options.keys.clone(), options.reload.clone());
        let started = crate::api::start(listener, router, life.stopping.clone());
        started.map(Some).map_err(StartError::Thread)
    }
}

#[cfg(feature = "webhooks")]
impl Builder {
    /// Listens to the log and the broker for what a backend is to be told.
    pub(super) fn tap(
        &self,
        mut seams: super::workers::Seams,
        clock: crate::clock::Clock,
        life: &Life,
    ) -> Result<super::workers::Seams, StartError> {
        use std::sync::Arc;

        use crate::webhooks::{self, TappedBroker, TappedLog};
        let Some(options) = &self.webhooks else { return Ok(seams) };
        let (hooks, receiving) = webhooks::channel(&options.events);
        seams.log = Arc::new(TappedLog { log: seams.log, hooks: hooks.clone() });
        seams.broker = Arc::new(TappedBroker::new(seams.broker, hooks.clone(), clock));
        seams.hooks = Some(hooks);
        let sending = (options.clone(), options.client().map_err(StartError::Webhooks)?);
        let started = webhooks::start(sending, receiving, clock, life.stopping.clone());
        seams.telling = Some(started.map_err(StartError::Thread)?);
        Ok(seams)
    }
}
