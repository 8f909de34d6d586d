//! What can be wrong with the settings, in words for whoever starts the server.
use std::fmt;
use std::path::PathBuf;

use chat_proto::LimitsError;

/// Which source gave a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: it is the default.
    Default,
    /// A line of the file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Why the settings are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The command line is not understood; the text is whole and ends with a hint at the usage.
    Usage(String),
    /// The file can't be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What named it.
        origin: Origin,
        /// What the system says.
        error: String,
    },
    /// The file is not TOML.
    Syntax {
        /// Where.
        origin: Origin,
        /// What the parser says.
        error: String,
    },
    /// The file has a key that no option has.
    UnknownKey {
        /// Where.
        origin: Origin,
        /// The key with its table.
        key: String,
        /// What to write instead, if something is near.
        hint: Option<String>,
    },
    /// The environment has a `CHAT_` variable that no option has.
    UnknownVariable {
        /// The variable.
        name: String,
        /// What to write instead, if something is near.
        hint: Option<String>,
    },
    /// A value is not one that the option allows.
    Invalid {
        /// What gave it.
        origin: Origin,
        /// The option, as the file spells it.
        key: String,
        /// The value as it was given.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// An option does not go with the others.
    Conflict {
        /// What gave it, if anything did.
        origin: Origin,
        /// The option, as the file spells it.
        key: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A limit is out of its bounds, or doesn't fit another one.
    Limit {
        /// Which one, and its bounds.
        error: LimitsError,
        /// What gave it.
        origin: Origin,
        /// Its flag, with the dashes.
        flag: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text.trim_end()),
            Self::Unreadable { path, origin, error } => {
                write!(f, "cannot read {} (named by {origin}): {error}", path.display())
            }
            Self::Syntax { origin, error } => write!(f, "{origin}: {error}"),
            Self::UnknownKey { origin, key, hint } => {
                write!(f, "unknown key `{key}` in {origin}")?;
                write_hint(f, hint.as_deref())
            }
            Self::UnknownVariable { name, hint } => {
                write!(f, "unknown environment variable `{name}`")?;
                write_hint(f, hint.as_deref())
            }
            Self::Invalid { origin: Origin::File { path, line }, key, value, allowed } => {
                let path = path.display();
                write!(f, "{path} line {line}: `{key}` is `{value}`, but has to be {allowed}")
            }
            Self::Invalid { origin, key: _, value, allowed } => {
                write!(f, "{origin} is `{value}`, but has to be {allowed}")
            }
            Self::Conflict { origin: Origin::Default, key, why } => write!(f, "`{key}`: {why}"),
            Self::Conflict { origin: Origin::File { path, line }, key, why } => {
                write!(f, "{} line {line}: `{key}`: {why}", path.display())
            }
            Self::Conflict { origin, key: _, why } => write!(f, "{origin}: {why}"),
            Self::Limit { error, origin: Origin::Default, flag } => {
                write!(f, "{error} (nobody set it; do so, e.g. with {flag})")
            }
            Self::Limit { error, origin, flag: _ } => write!(f, "{error} (set by {origin})"),
        }
    }
}

impl std::error::Error for ConfigError {}

fn write_hint(f: &mut fmt::Formatter<'_>, hint: Option<&str>) -> fmt::Result {
    match hint {
        Some(hint) => write!(f, "; {hint}"),
        None => f.write_str("; see --help for all options"),
    }
}

/// Finds the candidate that somebody most likely meant.
pub(super) fn nearest<'a, T: AsRef<str> + 'a>(
    word: &str,
    candidates: impl IntoIterator<Item = T>,
) -> Option<T> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate.as_ref()), candidate))
        .filter(|(likeness, _)| *likeness > LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Below it a suggestion is more often wrong than right.
const LIKENESS_MIN: f64 = 0.8;
