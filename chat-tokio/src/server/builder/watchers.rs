//! The listener for metrics.
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::thread::JoinHandle;

use super::workers::Common;
use super::{Builder, StartError};
use crate::accept::listen_reuseport;
use crate::{http, metrics};

impl Builder {
    /// Tells whether metrics are served at the address of the page.
    pub(super) fn has_metrics_beside(&self) -> bool {
        // Of port 0 the system makes two.
        self.metrics_listen.is_some_and(|address| address.port() != 0)
            && self.metrics_listen == self.listen
    }

    pub(super) fn bind_metrics(&self) -> Result<Option<(SocketAddr, StdListener)>, StartError> {
        let Some(asked) = self.metrics_listen.filter(|_| !self.has_metrics_beside()) else {
            return Ok(None);
        };
        let failed = |error| StartError::Listen { address: asked, error };
        let listener = listen_reuseport(asked, 1).map_err(failed)?.pop();
        let listener = listener.ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
        Ok(Some((listener.local_addr().map_err(failed)?, listener)))
    }

    pub(super) fn serve_metrics(
        &self,
        listener: StdListener,
        common: &Common,
    ) -> Result<JoinHandle<()>, StartError> {
        let [first, ..] = &*common.shared.handles else {
            unreachable!("there is at least one worker")
        };
        let mut state = self.http_state(common, first);
        state.metrics = Some(common.metrics.clone());
        let stop = common.life.stop();
        metrics::start(listener, http::watchers(&state), stop).map_err(StartError::Thread)
    }
}
