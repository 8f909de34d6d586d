//! Why there is no report, in words for whoever asked for one.
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::tally::Reasons;

#[derive(Debug)]
pub(crate) enum Failed {
    /// The command line is not understood; the text is whole.
    Usage(String),
    /// Two settings do not fit.
    Settings(String),
    Url {
        url: String,
        why: String,
    },
    /// This process may not have as many open files as connections are wanted.
    Files {
        needed: u64,
        allowed: u64,
        why: Option<io::Error>,
    },
    NoProcess(u32),
    /// Some connections were not made, and without them the rest would say nothing.
    Connecting {
        url: String,
        made: u64,
        wanted: u32,
        reasons: Reasons,
    },
    /// Some members could not join.
    Joining {
        joined: u64,
        wanted: u32,
        reasons: Reasons,
    },
    Write(PathBuf, io::Error),
    /// The system refuses something that this can't do without.
    System(io::Error),
    /// A thread has panicked.
    Thread,
}

impl Failed {
    /// Tells whether the command line is to be changed.
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            Self::Usage(_) | Self::Settings(_) | Self::Url { .. } | Self::NoProcess(_) => true,
            Self::Files { .. }
            | Self::Connecting { .. }
            | Self::Joining { .. }
            | Self::Write(..)
            | Self::System(_)
            | Self::Thread => false,
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text.trim_end()),
            Self::Settings(text) => f.write_str(text),
            Self::Url { url, why } => write!(f, "--url {url}: {why}"),
            Self::Files { needed, allowed, why } => {
                write!(
                    f,
                    "{needed} open files are needed, one for each connection and some more, but \
                     this process may have {allowed}: {} are missing; raise the limit (`ulimit \
                     -Hn`, LimitNOFILE=) or ask for fewer connections",
                    needed - allowed
                )?;
                why.as_ref().map_or(Ok(()), |error| write!(f, " ({error})"))
            }
            Self::NoProcess(pid) => {
                write!(f, "--pid {pid}: /proc has no such process, or it can't be read")
            }
            Self::Connecting { url, made, wanted, reasons } => {
                write!(f, "{made} of {wanted} connections to {url} were made; {reasons}")
            }
            Self::Joining { joined, wanted, reasons } => {
                write!(f, "{joined} of {wanted} members have joined; {reasons}")
            }
            Self::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            Self::System(error) => write!(f, "cannot start: {error}"),
            Self::Thread => f.write_str("a thread has failed; what it said stands above"),
        }
    }
}

impl std::error::Error for Failed {}
