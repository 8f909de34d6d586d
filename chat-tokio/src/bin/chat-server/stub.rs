//! Stands in for the library's server: takes the address and waits.
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::Limits;
use chat_tokio::log::RoomLog;

pub(crate) struct Server {
    listener: Option<TcpListener>,
    lines: Option<TcpListener>,
}

#[derive(Default)]
pub(crate) struct Builder {
    listen: Option<SocketAddr>,
    lines: Option<SocketAddr>,
}

#[derive(Debug)]
pub(crate) struct StartError(SocketAddr, io::Error);

impl StartError {
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        Some(self.0)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}", self.0)
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.1)
    }
}

impl Server {
    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    pub(crate) fn lines_addr(&self) -> Option<SocketAddr> {
        self.lines.as_ref()?.local_addr().ok()
    }

    pub(crate) async fn shutdown(&self) {}
}

impl Builder {
    pub(crate) fn log(self, _: Arc<dyn RoomLog>) -> Self {
        self
    }
    pub(crate) fn limits(self, _: Limits) -> Self {
        self
    }
    pub(crate) fn workers(self, _: usize) -> Self {
        self
    }
    pub(crate) fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }
    pub(crate) fn listen_lines(mut self, address: SocketAddr) -> Self {
        self.lines = Some(address);
        self
    }
    pub(crate) fn web_dir(self, _: PathBuf) -> Self {
        self
    }
    pub(crate) fn allow_origins(self, _: Vec<String>) -> Self {
        self
    }
    pub(crate) fn handshake_timeout(self, _: Duration) -> Self {
        self
    }
    pub(crate) fn drain_timeout(self, _: Duration) -> Self {
        self
    }
    pub(crate) fn start(self) -> Result<Server, StartError> {
        let bind = |address: Option<SocketAddr>| {
            address
                .map(|address| TcpListener::bind(address).map_err(|e| StartError(address, e)))
                .transpose()
        };
        Ok(Server { listener: bind(self.listen)?, lines: bind(self.lines)? })
    }
}
