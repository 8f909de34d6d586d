//! The signals that end the server, and the one that has it read its settings again.
use std::io;

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Read the settings again (SIGHUP).
    Reload,
    /// End.
    End(Ending),
}

/// A signal that asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Interrupt,
    Terminate,
}

impl Ending {
    /// Returns the exit code of a process that such a signal has ended.
    pub(crate) fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Listens for the signals, from its creation on.
#[cfg(unix)]
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::End(Ending::Interrupt),
            _ = self.terminate.recv() => Signal::End(Ending::Terminate),
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}

/// Listens for the console's Ctrl-C.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::End(Ending::Interrupt),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Signals {
    /// Waits for one that asks to end; others change nothing any more.
    pub(crate) async fn ending(&mut self) -> Ending {
        loop {
            if let Signal::End(ending) = self.next().await {
                return ending;
            }
        }
    }
}
